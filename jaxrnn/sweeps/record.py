"""The measurements of a sweep so far, and their copy on disk."""

import contextlib
import dataclasses
import json
import pathlib
import re
import time
import warnings
from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.fingerprints import described, digest, fingerprint
from jaxrnn.sweeps.processes import check_same, gathered
from jaxrnn.sweeps.program import first_bad
from jaxrnn.sweeps.results import Results
from jaxrnn.sweeps.runner import Part, Runner
from jaxrnn.sweeps.space import Member
from jaxrnn.sweeps.trained import Trained
from jaxrnn.sweeps.watching import SweepBlock
from jaxrnn.training import checkpoint
from jaxrnn.training.checkpoint import Resume, folder, refuse
from jaxrnn.training.interrupts import Interrupts
from jaxrnn.training.lock import Lock
from jaxrnn.training.run import SAVE_SECONDS
from jaxrnn.training.saves import newest_intact, numbers, put_newer_aside, write_save
from jaxrnn.training.watching import Watchers
from jaxrnn.types import Tree

SAVES = "saves"
"""The folder of a sweep's saves."""
COLUMNS = ("taken", "rung", "first_bad", "best_step", "score")
"""The state of each member, arrays [M]."""


class Record(contextlib.AbstractContextManager["Record"]):
    """Curves, scores and progress of each member; saved to `run_dir` in intervals, and restored at the start."""

    def __init__(
        self,
        steps: int,
        members: list[Member],
        key: jax.Array,
        runners: list[Runner],
        run_dir: Any,
        block: int,
        rungs: list[tuple[int, int]],
        task: Any,
        resume: Resume,
    ) -> None:
        count = len(members)
        self._steps, self._members, self._runners, self._block = steps, members, runners, block
        self.taken: np.ndarray = np.zeros(count, int)
        self.rung: np.ndarray = np.zeros(count, int)
        self.first_bad: np.ndarray = np.zeros(count, int)
        self.best_step: np.ndarray = np.zeros(count, int)
        self.score: np.ndarray = np.full(count, np.nan)
        self.train: dict[str, np.ndarray] = {}
        self.validation: dict[str, np.ndarray] = {}
        self.validation_steps: list[int] = []
        self.rungs: list[tuple[int, np.ndarray]] = []
        self._path, self._about, self._saved = None, {}, time.monotonic()
        self._last: Part | None = None
        self._lock: Lock | None = None
        self.not_saved: str = ""
        with contextlib.ExitStack() as hold:
            if run_dir is not None:
                path = folder(run_dir, "a run of fit", checkpoint.SAVES)
                if jax.process_index() == 0:
                    self._lock = hold.enter_context(Lock(path))
                about = _about(members, steps, key, runners, task)
                about |= {"block": block, "rungs": [list(rung) for rung in rungs]}
                self._path, self._about = path / SAVES, json.loads(json.dumps(about))
                self._restore(self._path, resume)
            check_same("run_dir", self.taken.tolist())
            self._hold = hold.pop_all()

    def extend(self, group: int, part: Part) -> None:
        """Adds the results of some members of a group in one block."""
        numbers, count = self._runners[group].group.members[part.places], part.end - part.start
        for name, values in part.report.train.items():
            curve = self.train.setdefault(name, _unknown(values.dtype, len(self._members), self._steps))
            curve[numbers, part.start : part.end] = values[:, :count]
        validation, runner = part.report.validation, self._runners[group]
        measured = runner.sign * validation[runner.program.monitor] if validation else np.nan
        measured = np.where(np.isfinite(measured), measured, np.nan)  # what is not finite is no score
        if validation and not runner.validates:  # then it is the loss of all data at the end
            self.score[numbers] = measured
            self.best_step[numbers] = part.end
        elif validation:
            if part.end not in self.validation_steps:
                self._add_column(part.end)
            for name, values in validation.items():
                empty = _unknown(values.dtype, len(self._members), len(self.validation_steps))
                curve = self.validation.setdefault(name, empty)
                curve[numbers, self.validation_steps.index(part.end)] = values
            better = measured < np.where(np.isnan(self.score[numbers]), np.inf, self.score[numbers])
            self.score[numbers] = np.where(better, measured, self.score[numbers])
            self.best_step[numbers] = np.where(better, part.end, self.best_step[numbers])
        elif not runner.ranks:  # a loop of the user's own
            self.score[numbers] = part.report.train["loss"][:, :count].mean(1)
            self.best_step[numbers] = part.end
        self.taken[numbers], self._last = part.end, part

    def save_if_due(self) -> None:
        """Saves after the last part, if half a minute has passed."""
        if self._last is not None and jax.process_count() == 1 and self._is_due():
            self._last.store(None)
            self.save()

    @contextlib.contextmanager
    def kept(self, interrupts: Interrupts) -> Generator[None]:
        """A context that saves the sweep if an exception is raised, and adds to it where."""
        try:
            yield
        except BaseException as error:
            interrupts.hold(error)
            if self._path is not None and jax.process_count() == 1:
                if self._last is not None:
                    self._last.store(None)
                self.save("")
                if not self.not_saved:
                    error.add_note(f"run_dir: saved in {self._path.parent}")
            raise

    def exchange(self, group: int, places: np.ndarray) -> None:
        """Exchanges results of the members of a group with all other processes."""
        if jax.process_count() == 1:
            return
        runner = self._runners[group]
        arrays = {name: getattr(self, name) for name in COLUMNS}, self.train, self.validation
        mine = jax.tree.map(lambda x: x[runner.group.members[places]], arrays)
        states = jax.tree.map(lambda x: x[places], runner.states)

        def put(x: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
            x[rows] = values

        for theirs, their_places, their_states in gathered((mine, places, states)):
            rows = runner.group.members[their_places]
            jax.tree.map(lambda x, values, rows=rows: put(x, rows, values), arrays, theirs)
            jax.tree.map(lambda x, values, at=their_places: put(x, at, values), runner.states, their_states)
        if self._is_due():
            self.save()

    def _is_due(self) -> bool:
        return self._path is not None and time.monotonic() - self._saved > SAVE_SECONDS

    def _add_column(self, step: int) -> None:
        order = np.argsort([*self.validation_steps, step])
        self.validation_steps = sorted([*self.validation_steps, step])
        for name, curve in self.validation.items():
            wider = np.concatenate([curve, np.full((len(curve), 1), np.nan, curve.dtype)], axis=1)
            self.validation[name] = wider[:, order]

    def finish(self, group: int, first_bad: np.ndarray) -> None:
        """Takes over the first bad steps of a group's members at the end of a rung."""
        numbers = self._runners[group].group.members
        self.first_bad[numbers] = first_bad
        self.score[numbers[first_bad > 0]] = np.nan

    def close_rung(self, number: int, end: int, alive: np.ndarray) -> None:
        """Records the scores at the end of a rung."""
        if number == len(self.rungs):
            scores = np.full(len(self._members), np.nan)
            scores[alive] = self.score[alive]
            self.rungs.append((end, scores))

    def scores_at(self, rung: int) -> np.ndarray:
        """The scores [M] at the end of a rung; NaN for members that were not in it or diverged."""
        return self.rungs[rung][1]

    def best_score(self) -> float:
        """The best score so far."""
        sign = self._runners[0].sign
        return sign * float(np.nanmin(self.score)) if not np.isnan(self.score).all() else float("nan")

    def show(self, observers: Watchers, group: int, part: Part, notes: tuple[str, ...], task: Any) -> bool:
        """Shows a part to callbacks; returns True if one of them ends the sweep."""
        shown = [True]

        def results() -> Results:
            if not shown:
                raise RuntimeError("results: expected a call while the callback runs; keep what it returns")
            states = [jax.tree.map(np.copy, runner.states) for runner in self._runners]
            part.store(states[group])
            return self.results(notes, task, states)

        members, count = self._runners[group].group.members[part.places], part.end - part.start
        train = {name: np.asarray(values)[:, :count] for name, values in part.report.train.items()}
        measured = part.report.validation if self._runners[group].validates else {}
        validation = {name: np.asarray(values) for name, values in measured.items()}
        ends = observers.see(SweepBlock(members, part.end, train, validation, results))
        shown.clear()
        return ends

    def results(self, notes: tuple[str, ...], task: Any, states: list[Tree] | None = None) -> Results:
        """The results from all measurements; with copies of the runners' states, those of a sweep under way."""
        columns = {name: getattr(self, name).copy() for name in ("score", "taken", "best_step", "first_bad", "rung")}
        sign, monitor = self._runners[0].sign, self._runners[0].program.monitor
        if states is not None:
            for runner, state in zip(self._runners, states, strict=True):
                bad = columns["first_bad"][runner.group.members] = first_bad(state)
                columns["score"][runner.group.members[bad > 0]] = np.nan
            if monitor in self.train and not self.validation:
                unranked = np.isnan(columns["score"]) & (columns["first_bad"] == 0) & (self.taken > 0)
                for member in np.flatnonzero(unranked):
                    end = self.taken[member]
                    curve = self.train[monitor][member, max(0, end - self._block) : end]
                    columns["score"][member], columns["best_step"][member] = sign * curve.mean(), end
        columns["steps"] = columns.pop("taken")
        columns["score"] = sign * columns["score"]
        return Results(
            tuple(self._members),
            columns,
            {name: curve.copy() for name, curve in self.train.items()},
            {name: curve.copy() for name, curve in self.validation.items()},
            np.asarray(self.validation_steps, int),
            tuple((end, sign * scores) for end, scores in self.rungs),
            notes,
            sum(runner.compiles for runner in self._runners),
            self._runners[0].program.mode,
            Trained.of(task, self._runners, states),
            monitor,
            self.not_saved,
        )

    @property
    def folder(self) -> pathlib.Path | None:
        """The folder of the sweep."""
        return None if self._path is None else self._path.parent

    def save(self, then: str = " and is tried again later") -> None:
        """Writes everything to the directory; if that fails, a warning says so, and ends with `then`."""
        if self._path is None or self._lock is None:
            return
        self._saved = time.monotonic()
        try:
            self._lock.renew()
            write_save(self._path, max(numbers(self._path), default=0) + 1, self._arrays(), self._about, {})
        except Exception as error:  # the disk fails, or an array can't be written
            self.not_saved = f"after {int(self.taken.sum())} steps of all members: {error}"
            warnings.warn(f"run_dir: saving into {self._path.parent} failed {self.not_saved}{then}", stacklevel=3)
        else:
            self.not_saved = ""

    def _arrays(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in COLUMNS} | self._states()
        arrays |= {f"train/{name}": x for name, x in self.train.items()}
        arrays |= {f"validation/{name}": x for name, x in self.validation.items()}
        arrays["validation_steps"] = np.asarray(self.validation_steps, int)
        arrays["rungs/ends"] = np.asarray([end for end, _ in self.rungs], int)
        return arrays | {f"rungs/{i}": scores for i, (_, scores) in enumerate(self.rungs)}

    def _states(self) -> dict[str, Any]:
        """The leaves of the runners' states, by name."""
        trees = [jax.tree_util.tree_leaves_with_path(runner.states) for runner in self._runners]
        return {f"states/{i}{jax.tree_util.keystr(at)}": x for i, tree in enumerate(trees) for at, x in tree}

    def _restore(self, root: pathlib.Path, resume: Resume) -> None:
        found = newest_intact("run_dir", root)
        if found is None:
            return
        refuse("sweep", found.differences("sweep", self._about), resume)
        states, columns = self._states(), {name: getattr(self, name) for name in COLUMNS}
        saved = found.arrays(states | columns, more=("train/", "validation", "rungs/"))
        for name, x in saved.items():
            if name.startswith("train/") and x.shape != (len(self._members), self._steps):
                expected = f"[{len(self._members)}, {self._steps}], a value for each member and step"
                raise ValueError(f"run_dir: {name}: expected {expected}, got {[*x.shape]} in {found.folder}")
        for name in COLUMNS:
            setattr(self, name, saved[name])
        for kind in ("train", "validation"):
            found_ = {name.removeprefix(f"{kind}/"): x for name, x in saved.items() if name.startswith(f"{kind}/")}
            setattr(self, kind, found_)
        self.validation_steps = saved["validation_steps"].tolist()
        self.rungs = [(int(end), saved[f"rungs/{i}"]) for i, end in enumerate(saved["rungs/ends"])]
        leaves = iter(states)
        for runner in self._runners:
            runner.states = jax.tree.map(lambda _: saved[next(leaves)], runner.states)
        put_newer_aside(found)

    def __exit__(self, *_: object) -> None:
        self._hold.close()


def _unknown(dtype: Any, members: int, columns: int) -> np.ndarray:
    """Curves of NaN [M, columns], in the dtype that was measured; integers and booleans become float32."""
    return np.full((members, columns), np.nan, dtype if jnp.issubdtype(dtype, jnp.floating) else np.float32)


def _about(members: list[Member], steps: int, key: jax.Array, runners: list[Runner], task: Any) -> dict[str, Any]:
    """The identity of a sweep, as far as it can be compared."""
    given = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
    data = {name: given.pop(name, None) for name in ("data", "validation")}
    return {
        "members": ["{" + ", ".join(f"{name}: {_valued(x)}" for name, x in member.items()) + "}" for member in members],
        "steps": steps,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "data": digest(data),
        "ranked by": f"{runners[0].program.mode} {runners[0].program.monitor}",
    } | {name: _told(value) for name, value in given.items()}


def _told(value: Any) -> Any:
    """An argument of a task."""
    if isinstance(value, dict):
        return {name: _told(x) for name, x in value.items()}
    return described(value) if callable(value) else _valued(value)


def _valued(value: Any) -> str:
    """A value as a text that equal values share, also in another process: without addresses in memory."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    shown = getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return f"{shown} {fingerprint(value)}"
