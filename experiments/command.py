"""What the commands have in common: their options, the check of their model's gradient, runs over several seeds."""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tyro

import jaxrnn as jr

Config = TypeVar("Config", bound=Any)


def run(main: Callable[[Config], Any], smoke: Config) -> None:
    """Runs an experiment with options from the command line; `--smoke` changes their defaults to those of `smoke`."""
    given = sys.argv[1:]
    kind = type(smoke)
    main(
        tyro.cli(
            kind,
            args=[option for option in given if option != "--smoke"],
            default=smoke if "--smoke" in given else kind(),
            description=f"{kind.__doc__} With --smoke: everything small, to see in seconds that it runs.",
        )
    )


def positive(config: Any, *names: str) -> None:
    """Ends the program if one of these options is no positive integer."""
    for name in names:
        if getattr(config, name) < 1:
            raise SystemExit(f"--{name.replace('_', '-')}: expected a positive integer, got {getattr(config, name)}")


def check_gradient(model: jr.Model, params: Any, xs: Any, **options: Any) -> None:
    """Prints `jr.check_gradients` on a few sequences; ends the program if a gradient is wrong."""
    print("The gradient of this model, checked in float64:\n", flush=True)
    report = jr.check_gradients(model, params, xs, **options)
    print(f"{report}\n", flush=True)
    if not report.ok:
        raise SystemExit("the gradients disagree: not trained")


def over_seeds(train: Callable[[Config], dict[str, Any]], config: Config, score: str) -> list[dict[str, Any]]:
    """One run for each of the seeds config.seed, config.seed + 1, ...; prints the mean and the spread of `score`."""
    runs = [train(dataclasses.replace(config, seed=config.seed + i)) for i in range(config.seeds)]
    if len(runs) > 1:
        scores = np.array([found[score] for found in runs])
        spread = f"mean {scores.mean():.4f}, standard deviation {scores.std(ddof=1):.4f}"
        print(f"\n{score} over {len(runs)} seeds: {spread}, from {scores.min():.4f} to {scores.max():.4f}")
    return runs
