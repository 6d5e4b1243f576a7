"""The results of a sweep: a table of its members."""

import csv
import dataclasses
import json
from typing import Any

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.sweeps.space import Member
from jaxrnn.sweeps.trained import Trained
from jaxrnn.training.state import TrainState


@dataclasses.dataclass(frozen=True, repr=False)
class Results:
    """The members of a sweep, in the order of its space.

    Results can be pickled, with the parameters of all members. `build` also works after pickling if the task's `build`
    is a function of a module that can be imported.

    Attributes:
      members: the hyperparameters of each.
      columns: NumPy arrays [M] by name: "score" (it ranks members: the best validation of `monitor`, or without
        validation the final one of all training data; NaN for members that diverged), "steps" taken, "best_step",
        "first_bad" (the first step whose loss or gradient was not finite; 0: none), "rung" (the last one reached).
      train, validation: curves [M, steps] and [M, validations] by name; NaN where a member did not run.
      validation_steps: the number of steps before each validation.
      rungs: for each rung its last step and the score [M] of each member there.
      notes: the choices made by the sweep, and the reasons.
      compiles: the number of compiled programs.
      mode: whether the lowest score is the best, "min", or the highest, "max".
      monitor: the measure that ranks members.
      not_saved: the reason why the last save into a run_dir failed; empty if it did not fail.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.sgd(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs}, batch_size=8)
      >>> space = jaxrnn.grid(lr=[0.1, 0.01, 0.001])
      >>> results = jaxrnn.sweep(task, space, key=jax.random.key(1), steps=20, strategy="vmap", progress=False)
      >>> len(results), results.train["loss"].shape
      (3, (3, 20))
      >>> model, loss, optimizer = results.build(results.best)
      >>> carry, ys = model.apply(results.params(results.best), xs)
    """

    members: tuple[Member, ...]
    columns: dict[str, np.ndarray]
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    validation_steps: np.ndarray
    rungs: tuple[tuple[int, np.ndarray], ...]
    notes: tuple[str, ...]
    compiles: int
    mode: str
    trained: Trained
    monitor: str = "loss"
    not_saved: str = ""

    def __len__(self) -> int:
        return len(self.members)

    @property
    def diverged(self) -> np.ndarray:
        """The members that diverged, bool [M]: a loss or gradient was not finite, or no score after some steps was."""
        unscored = ~np.isfinite(self.columns["score"]) & (self.columns["steps"] > 0)
        return (self.columns["first_bad"] > 0) | unscored

    @property
    def order(self) -> np.ndarray:
        """Member numbers, the best score first, diverged members last."""
        score = np.where(self.diverged, np.nan, self.columns["score"] * (1 if self.mode == "min" else -1))
        return np.lexsort((np.where(np.isnan(score), np.inf, score), np.isnan(score), -self.columns["rung"]))

    @property
    def best(self) -> int:
        """The number of the best member.

        Raises:
          ValueError: all members diverged.
        """
        first = int(self.order[0])
        if self.diverged[first] or np.isnan(self.columns["score"][first]):
            raise ValueError("results: expected a member that did not diverge, got none")
        return first

    def params(self, member: int) -> Any:
        """The parameters of a member: those of its best validation, or its last ones without validation."""
        return self.trained.params(self._checked(member))

    def state(self, member: int) -> TrainState:
        """A member's training state after its last step, for `jaxrnn.fit(state=...)`."""
        return self.trained.state(self._checked(member), int(self.columns["steps"][member]))

    def build(self, member: int) -> Any:
        """The (model, loss, optimizer) of a member, as made by its task's `build`."""
        return self.trained.built(self.members[self._checked(member)])

    def key(self, member: int) -> jax.Array:
        """The key with which `jaxrnn.fit` trains this member alone."""
        return self.trained.key(self._checked(member))

    def _checked(self, member: int) -> int:
        if not checks.is_integer(member) or not 0 <= member < len(self):
            raise ValueError(f"member: expected an integer from 0 to {len(self) - 1}, got {member!r}")
        return int(member)

    @property
    def table(self) -> dict[str, np.ndarray]:
        """All columns, hyperparameters first, sorted by `order`."""
        names = dict.fromkeys(name for member in self.members for name in member)
        rows = {"member": np.arange(len(self))}
        rows |= {name: _column([member.get(name) for member in self.members]) for name in names}
        return {name: column[self.order] for name, column in (rows | self.columns).items()}

    def to_pandas(self) -> Any:
        """`table` as a pandas DataFrame."""
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.table)

    def to_csv(self, path: checks.PathLike) -> None:
        """Writes `table` as CSV."""
        path, table = checks.path("path", path), self.table
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))

    def to_json(self, path: checks.PathLike) -> None:
        """Writes `table`, the curves and the notes as JSON; NaN becomes null."""
        path = checks.path("path", path)
        found = {"table": self.table, "train": self.train, "validation": self.validation}
        found |= {"validation_steps": self.validation_steps, "notes": self.notes, "compiles": self.compiles}
        path.write_text(json.dumps(_plain(found), indent=1) + "\n")

    def __repr__(self) -> str:
        return f"Results of {len(self)} members\n{self.show(10)}"

    def show(self, rows: int = 10) -> str:
        """The first rows of the table, as text."""
        checks.not_negative_int("rows", rows)
        table = {name: column[:rows].tolist() for name, column in self.table.items()}
        cells = [[name, *(_shown(x) for x in column)] for name, column in table.items()]
        widths = [max(map(len, column)) for column in cells]
        lines = ["  ".join(x.rjust(w) for x, w in zip(line, widths, strict=True)) for line in zip(*cells, strict=True)]
        return "\n".join(lines)


def _column(values: list[Any]) -> np.ndarray:
    if all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values):
        return np.asarray(values)
    column = np.empty(len(values), object)
    column[:] = [x if isinstance(x, (int, float, str)) else getattr(x, "__name__", checks.short(x)) for x in values]
    return column


def _shown(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _plain(value) for name, value in x.items()}
    if isinstance(x, np.ndarray):
        return _plain(x.tolist())
    if isinstance(x, (list, tuple)):
        return [_plain(value) for value in x]
    return None if isinstance(x, float) and not np.isfinite(x) else x
