"""Callbacks and files, which observe a sweep."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.sweeps.results import Results
from jaxrnn.training.watching import CSVLogger, FileLogger, JSONLLogger, Logger, Watchers, checked_callbacks


class SweepBlock(NamedTuple):
    """The argument of a callback of `sweep`, after each block of members that run together.

    Attributes:
      members: int [n], the members' numbers.
      step: the number of steps that they have taken.
      train: by name ("loss" and others) values [n, steps of the block]; NaN where a member took no step.
      validation: by name values [n]; empty where no validation was due, or without validation data.
      results: a function without arguments that returns a copy of the `Results` so far; only while the callback runs.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs}, batch_size=8)
      >>> def stop_early(block):
      ...     return block.train["loss"].mean(1).min() < 0.5
      >>> results = jaxrnn.sweep(
      ...     task, jaxrnn.grid(lr=[1e-1, 1e-5]), key=jax.random.key(1), steps=1000, block=10, strategy="vmap",
      ...     callback=stop_early, progress=False,
      ... )
      >>> bool(results.columns["steps"].max() < 1000)
      True
    """

    members: np.ndarray
    step: int
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    results: Callable[[], Results]


SweepCallback = Callable[[SweepBlock], Any]
"""A function that is called after each block of a sweep; a true return value ends the sweep."""


class MemberRows(Logger):
    """A file with a row for each member and block.

    Args:
      file: the logger that writes it.
      taken: the steps that each member has taken; rows of later steps are removed at the start.
    """

    def __init__(self, file: FileLogger, taken: np.ndarray) -> None:
        super().__init__()
        self._file, self._taken = file, taken.copy()

    def begin(self, step: int) -> None:
        del step
        taken = {str(member): taken for member, taken in enumerate(self._taken.tolist())}

        def wanted(row: dict[str, Any]) -> bool | None:
            member = str(row.get("member"))
            return int(row["step"]) <= taken[member] if member in taken else None

        self._file.keep(wanted)

    def __call__(self, end: Any) -> None:
        means = {name: np.mean(x, 1, dtype=float) for name, x in end.train.items()}
        means |= {f"validation_{name}": np.asarray(x, float) for name, x in end.validation.items()}
        columns = {name: x.tolist() for name, x in means.items()}
        common = {"step": end.step}
        members = enumerate(end.members.tolist())
        self._file.add([common | {"member": m} | {name: x[i] for name, x in columns.items()} for i, m in members])

    def write(self, step: int, values: dict[str, Any]) -> None:
        self._file.write(step, values)

    def close(self) -> None:
        self._file.close()


def watchers(
    callback: SweepCallback | Sequence[SweepCallback] | None, folder: pathlib.Path | None, taken: np.ndarray
) -> Watchers:
    """The callbacks of a sweep, and the files in its folder."""
    files = () if folder is None else (CSVLogger(folder / "metrics.csv"), JSONLLogger(folder / "metrics.jsonl"))
    return Watchers([*(MemberRows(file, taken) for file in files), *checked(callback)], 0)


def checked(callback: Any) -> tuple[Callable[[Any], Any], ...]:
    """The argument `callback` of a sweep, checked."""
    found = checked_callbacks(callback)
    for f in found:
        if isinstance(f, Logger):
            raise TypeError(
                f"callback: expected a function of a SweepBlock, got a {type(f).__name__}, which is for one run; a "
                "sweep with a run_dir writes metrics.csv and metrics.jsonl"
            )
    if found and jax.process_count() > 1:
        raise ValueError(f"callback: expected None with {jax.process_count()} processes, got {callback}")
    return found
