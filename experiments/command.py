"""The shared parts of the commands: options, the check of a model's gradient, runs over several seeds."""

import dataclasses
import itertools
import json
import pathlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, TypeVar, get_type_hints

import jax
import numpy as np
import optax
import typeguard
import tyro

import jaxrnn
from experiments import run_folder
from jaxrnn.training.checkpoint import make_writable
from jaxrnn.training.lock import Lock

Config = TypeVar("Config", bound=Any)

Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
"""An option without its default in --help: False."""
Check = Annotated[bool, tyro.conf.arg(help="First check the model's gradient, in float64.", help_behavior_hint="")]
Progress = Annotated[bool, tyro.conf.arg(help="Show no progress bar.", help_behavior_hint="")]
Resume = Annotated[bool, tyro.conf.arg(help="Go on with a run that was interrupted.", help_behavior_hint="")]
Seeds = Annotated[int, tyro.conf.arg(help="Runs, with the seeds from --seed on.")]
Out = Annotated[pathlib.Path, tyro.conf.arg(help="Folder for the results.")]


def run(main: Callable[[Config], Any], smoke: Config) -> None:
    """Runs an experiment with options from the command line; `--smoke` changes their defaults to those of `smoke`.

    Small runs go to a folder of their own, runs/smoke/..., beside the real results. `--config FILE` takes the
    defaults from the config.json of an earlier run. Values and the output folder are checked before anything is read.
    """
    given = sys.argv[1:]
    kind, smoke = type(smoke), dataclasses.replace(smoke, out=pathlib.Path("runs/smoke") / smoke.out.name)
    default = smoke if "--smoke" in given else kind()
    more = "--smoke          everything small, to see that it runs, in runs/smoke\n"
    start(main, kind, [option for option in given if option != "--smoke"], default, more)


def start(
    main: Callable[[Config], Any],
    kind: type[Config],
    args: Sequence[str] | None = None,
    default: Config | None = None,
    more: str = "",
) -> None:
    """Runs an experiment with options from the command line, which are checked first, and lists the files written.

    Args:
      main: the experiment.
      kind: the class of its options.
      args: the arguments; None: those of the command line.
      default: the defaults of the options; None: those of `kind`.
      more: lines for --help.
    """
    given = sys.argv[1:] if args is None else args
    args = [part for x in given for part in (x.split("=", 1) if x.startswith("--config=") else [x])]
    if "--config" in args:
        at = args.index("--config")
        expect("config", "the config.json of an earlier run", len(args) > at + 1, "no file")
        default, args = read_config(kind, default, pathlib.Path(args[at + 1])), args[:at] + args[at + 2 :]
    config = tyro.cli(
        kind,
        prog=f"python -m experiments.{pathlib.Path(sys.argv[0]).stem}",
        args=effective(kind, default, args),
        description=f"{kind.__doc__}\n\n{more}--config FILE    the options of an earlier run, from its config.json",
        config=(tyro.conf.FlagCreatePairsOff,),
        **({} if default is None else {"default": default}),
    )
    check(config)
    run_folder.write_config(config.out, config, "started")
    try:
        main(config)
    except KeyboardInterrupt as error:
        again = "--resume goes on" if getattr(config, "resume", None) is not None else ""
        print("\n".join(["interrupted", *getattr(error, "__notes__", ()), again]), file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, RuntimeError) as error:
        if not re.match(r"[^:\n]+: expected [^\n]+, got [^\n]+$", str(error)):
            raise
        refuse("\n".join([str(error), *getattr(error, "__notes__", ())]))  # an option that only the library could judge
    if jax.process_index() == 0:
        print(f"\n{run_folder.table(run_folder.written(config.out) or {str(config.out): 'no new files'})}")


def effective(kind: type[Config], default: Config | None, args: list[str]) -> list[str]:
    """Drops flags that change no default, and all but the last of several: --help shows one form of each flag."""
    for field in dataclasses.fields(kind):
        if get_type_hints(kind)[field.name] is bool:
            on, off = (f"--{no}{field.name.replace('_', '-')}" for no in ("", "no-"))
            idle = on if getattr(default, field.name, field.default) else off
            last = [option for option in args if option in (on, off)][-1:]
            args = [option for option in args if option not in (on, off)]
            args += [option for option in last if option != idle]
    return args


class RefusedError(SystemExit):
    """A wrong option: ends the program with exit code 2."""

    def __init__(self, text: str) -> None:
        super().__init__(2)
        self.text = text

    def __str__(self) -> str:
        return self.text


def refuse(text: str) -> NoReturn:
    """Ends the program with a message."""
    print(text, file=sys.stderr)
    raise RefusedError(text)


def expect(name: str, what: str, met: bool, got: Any) -> None:
    """Ends the program unless an option meets the condition `what`."""
    if not met:
        refuse(f"--{name.replace('_', '-')}: expected {what}, got {got}")


def positive(config: Any, *names: str) -> None:
    """Ends the program unless each of these options is a positive integer; None stands for a default."""
    for name in names:
        value = getattr(config, name)
        expect(name, "a positive integer", value is None or value >= 1, value)


LIMITS = {
    "learning_rate": (0.0, 1e3), "learning_rates": (0.0, 1e3), "dynamic_rate": (0.0, 1e3), "clip_norm": (0.0, np.inf),
    "dropout": (-1e-300, 1.0), "recurrent_dropout": (-1e-300, 1.0), "input_dropout": (-1e-300, 1.0),
    "b2": (-1e-300, 1.0), "distortion": (-1e-300, 1e3), "solved": (-1e-300, 1e3), "temperature": (-1e-300, 1e3),
    "seed": (-1, 2**32), "key": (-1, 2**32), "seeds": (0, 10_001), "hidden": (-1, 65_537), "embed": (0, 65_537),
    "batch_size": (0, 65_537), "streams": (0, 65_537), "layers": (0, 65), "steps": (-1, 10**9), "epochs": (0, 10**6),
    "block": (0, 10**6), "k": (0, 10**6), "rows": (0, 10**8), "T": (0, 10**6), "beam": (0, 10**4),
}  # fmt: skip
"""Options of these names lie between these two numbers, both excluded."""


def check(config: Any) -> None:
    """Ends the program if a number is out of its range, or if the output folder can't be written."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, (int, float)) and not isinstance(x, bool):
                expect(field.name, "a number that is finite", bool(np.isfinite(x)), x)
                if field.name in LIMITS:
                    within(field.name, x, LIMITS[field.name])
    try:
        make_writable(config.out)
    except OSError as error:
        expect("out", "a folder that can be written", False, f"{config.out}: {error.strerror}")


def within(name: str, x: Any, limits: tuple[float, float]) -> None:
    """Ends the program unless a number lies between these two limits."""
    low, high = limits
    whole = all(isinstance(number, int) for number in (x, low, high))
    first = "from 0" if low < 0 else f"above {low:g}"
    expected = f"from {low + 1:,} to {high - 1:,}" if whole else f"{first} and below {high:g}"
    expect(name, f"a number {expected}", low < x < high, x)


def read_config(kind: type[Config], default: Config | None, file: pathlib.Path) -> Config:
    """A configuration with the values of a config.json, as a run writes it."""
    try:
        values = json.loads(file.read_text())["config"]
    except (OSError, ValueError, KeyError, TypeError):
        values = None
    hints = get_type_hints(kind)
    fits = isinstance(values, dict) and set(values) <= set(hints)
    expect("config", f"the config.json of a run of this command, with some of {[*hints]}", fits, file)
    assert isinstance(values, dict)
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif isinstance(value, str) and "Path" in str(hints[name]):
            values[name] = pathlib.Path(value)
        try:
            typeguard.check_type(values[name], hints[name])
            fits = not isinstance(value, bool) or hints[name] is bool
        except typeguard.TypeCheckError:
            fits = False
        shown = getattr(hints[name], "__name__", str(hints[name])).replace("typing.", "")
        expect("config", f"{name} as {shown}", fits, f"{value!r} in {file}")
    return kind(**values) if default is None else dataclasses.replace(default, **values)


def run_dir(config: Any, folder: pathlib.Path) -> pathlib.Path:
    """The folder in which `jaxrnn.fit` saves: folder/run. Without --resume a run that is in it is put aside."""
    path = folder / "run"
    if path.exists() and not config.resume:
        with alone(path):
            aside = next(x for i in itertools.count(1) if not (x := folder / f"run-before-{i}").exists())
            path.rename(aside)
        print(f"{path} had a run, now in {aside}; --resume goes on with one", file=sys.stderr)
    return path


def alone(path: pathlib.Path) -> Lock:
    """Locks a folder of saves, or ends the program if another process uses it."""
    try:
        return Lock(path)
    except RuntimeError as error:
        expect("out", "a folder that no other process is using", False, error)
        raise


def steps_of(config: Any, count: int, rows: str = "rows there are") -> int:
    """Steps of training in all, on `count` rows; ends the program where the options do not fit them."""
    expect("batch_size", f"at most the {count} {rows}", config.batch_size <= count, config.batch_size)
    steps = config.epochs * count // config.batch_size
    expect("epochs", "so many that there are at least 2 steps of training", steps >= 2, f"{steps} step")
    return steps


def schedule(config: Any, steps: int) -> optax.Schedule:
    """A learning rate that rises for a twentieth of the steps, and falls as a cosine."""
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(steps // 20, 1), steps)


def costs(result: jaxrnn.training.FitResult) -> dict[str, Any]:
    """Parameters and seconds of a run."""
    return {
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
    }


def check_gradient(model: jaxrnn.Model, params: Any, xs: Any, **options: Any) -> None:
    """Prints `jaxrnn.check_gradients` on a few sequences; ends the program if a gradient is wrong."""
    print("The gradient of this model, checked in float64:\n", flush=True)
    report = jaxrnn.check_gradients(model, params, xs, gradients=(jaxrnn.reverse_scan(),), **options)
    print(f"{report}\n", flush=True)
    if not report.ok:
        raise SystemExit("the gradients disagree: not trained")


def folder(config: Any) -> pathlib.Path:
    """The folder for the files of a single run, or of one of several."""
    return config.out if config.seeds == 1 else config.out / f"seed-{config.seed}"


def over_seeds(
    train: Callable[[Config], dict[str, Any]], config: Config, score: str, out: pathlib.Path | None = None
) -> dict[str, Any]:
    """One run for each of the seeds config.seed, config.seed + 1, ...; of several, prints the spread of `score`.

    Args:
      train: one run; returns its figures.
      config: with `seed`, `seeds` and `out`.
      score: the name of the figure to print.
      out: the folder of summary.json, if there are several seeds; None: config.out.

    Returns:
      The `summary` of the runs.
    """
    ((out or config.out) / "summary.json").unlink(missing_ok=True)  # of other runs
    runs, begin = [], time.perf_counter()
    for i, seed in enumerate(range(config.seed, config.seed + config.seeds)):
        if config.seeds > 1:
            left = f", {(config.seeds / i - 1) * (time.perf_counter() - begin):.0f} s left" if i else ""
            print(f"\nseed {seed}: run {i + 1} of {config.seeds}{left}", flush=True)
        runs.append({"seed": seed} | train(dataclasses.replace(config, seed=seed)))
    found = summary(runs)
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
    """Writes summary.json: the result of `main` for several runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
