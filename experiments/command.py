"""What the commands have in common: their options, the check of their model's gradient, runs over several seeds."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tyro

import jaxrnn

Config = TypeVar("Config", bound=Any)


def run(main: Callable[[Config], Any], smoke: Config) -> None:
    """Runs an experiment with options from the command line; `--smoke` changes their defaults to those of `smoke`.

    What is small goes to a folder of its own, runs/smoke/..., beside the real results.
    """
    given = sys.argv[1:]
    kind, smoke = type(smoke), dataclasses.replace(smoke, out=pathlib.Path("runs/smoke") / smoke.out.name)
    main(
        tyro.cli(
            kind,
            args=[option for option in given if option != "--smoke"],
            default=smoke if "--smoke" in given else kind(),
            description=f"{kind.__doc__} With --smoke: everything small, to see in seconds that it runs.",
        )
    )


def expect(name: str, what: str, met: bool, got: Any) -> None:
    """Ends the program if what an option should be is not met."""
    if not met:
        raise SystemExit(f"--{name.replace('_', '-')}: expected {what}, got {got}")


def positive(config: Any, *names: str) -> None:
    """Ends the program if one of these options is no positive integer; None stands for a default."""
    for name in names:
        value = getattr(config, name)
        expect(name, "a positive integer", value is None or value >= 1, value)


def check_gradient(model: jaxrnn.Model, params: Any, xs: Any, **options: Any) -> None:
    """Prints `jaxrnn.check_gradients` on a few sequences; ends the program if a gradient is wrong."""
    print("The gradient of this model, checked in float64:\n", flush=True)
    report = jaxrnn.check_gradients(model, params, xs, gradients=(jaxrnn.reverse_scan(),), **options)
    print(f"{report}\n", flush=True)
    if not report.ok:
        raise SystemExit("the gradients disagree: not trained")


def folder(config: Any) -> pathlib.Path:
    """Where a run that is alone leaves its files, or one of several."""
    return config.out if config.seeds == 1 else config.out / f"seed-{config.seed}"


def over_seeds(
    train: Callable[[Config], dict[str, Any]], config: Config, score: str, out: pathlib.Path | None = None
) -> dict[str, Any]:
    """One run for each of the seeds config.seed, config.seed + 1, ...; of several, prints the spread of `score`.

    Args:
      train: one run; returns its figures.
      config: with `seed`, `seeds` and `out`.
      score: which figure to print.
      out: where summary.json goes, if there are several seeds; None: config.out.

    Returns:
      What `summary` makes of the runs.
    """
    ((out or config.out) / "summary.json").unlink(missing_ok=True)  # of other runs
    seeds = range(config.seed, config.seed + config.seeds)
    found = summary([{"seed": seed} | train(dataclasses.replace(config, seed=seed)) for seed in seeds])
    if config.seeds > 1:
        each = [run[score] for run in found["runs"]]
        spread = f"mean {found['mean'][score]:.4f}, standard deviation {found['standard deviation'][score]:.4f}"
        print(f"\n{score} over {len(each)} seeds: {spread}, from {min(each):.4f} to {max(each):.4f}")
        write_summary(out or config.out, found)
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one run; of several {"mean", "standard deviation", "runs"}, the former two by figure."""
    if len(runs) == 1:
        return runs[0]
    names = [name for name in runs[0] if all(isinstance(run.get(name), float) for run in runs)]
    values = np.array([[run[name] for name in names] for run in runs])
    with np.errstate(invalid="ignore"):  # of runs that diverged
        moments = {"mean": values.mean(0), "standard deviation": values.std(0, ddof=1)}
    return {what: dict(zip(names, of_all.tolist(), strict=True)) for what, of_all in moments.items()} | {"runs": runs}


def by_kind(runs: list[dict[str, Any]], kind: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """`summary` of the runs of each kind."""
    kinds = dict.fromkeys(map(kind, runs))
    return {name: summary([run for run in runs if kind(run) == name]) for name in kinds}


def write_summary(folder: pathlib.Path, found: dict[str, Any]) -> None:
    """Writes summary.json: what `main` returns for several runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
