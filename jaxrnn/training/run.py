"""The run of `fit`, once its arguments are checked: its blocks, and everything between them."""

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxrnn.training.batches import Read
from jaxrnn.training.block import Order, Progress, Report, Task, batch_of_step, cause_in_words
from jaxrnn.training.checkpoint import RunDirectory
from jaxrnn.training.diagnose import probe
from jaxrnn.training.feed import Feed
from jaxrnn.training.history import History, in_order
from jaxrnn.training.interrupts import Interrupts
from jaxrnn.training.placement import anywhere, everywhere, is_shared
from jaxrnn.training.programs import Programs
from jaxrnn.training.watching import BlockEnd, Watchers
from jaxrnn.types import Batch, Tree

SAVE_SECONDS = 30.0
"""Seconds between two saves of a run with a directory; it is also saved at its end."""


@dataclasses.dataclass
class Run:
    """A run: its current state, the data and programs that it needs, and its watchers."""

    task: Task
    programs: Programs
    feed: Feed
    held_out: Batch | None
    block: int
    every: int | None
    patience: int | None
    directory: RunDirectory | None
    watchers: Watchers
    bar: "tqdm[Any]"
    now: Progress
    history: History
    bad_batch: Batch | None = None
    order: Order | None = None
    ordered: int = 0
    saved_at: float = dataclasses.field(default_factory=time.monotonic)
    shown_at: float = 0.0
    compiled: dict[str | tuple[tuple[int, ...], ...], Callable[..., Tree]] = dataclasses.field(default_factory=dict)
    counts: dict[int, jax.Array] = dataclasses.field(default_factory=dict)

    def train(self, steps: int) -> None:
        """Trains up to `steps` steps. Whatever ends the run, the state after the last whole block is saved."""
        history, mesh = self.history, self.task.mesh
        with Interrupts(active=self.directory is not None, waits=is_shared(mesh)) as interrupts:
            try:
                while history.steps < steps and history.stopped == "steps":
                    read = self.feed.read(self._asked(history.steps, steps))
                    if read.steps == 0:
                        if history.steps == history.start:
                            raise ValueError("data: expected at least one batch, got an iterable without any")
                        history.stopped = "data"
                        break
                    with interrupts.held():  # Python would crash at its exit in the midst of compiling
                        program = self._program(read.data)
                        self._look(read, self._take_block(program, read, steps))
                    if anywhere(interrupts.caught is not None, mesh):
                        self._save("")
                        interrupts.leave()
                        raise KeyboardInterrupt  # another process got the signal
                    goes_on = history.steps < steps and history.stopped == "steps"
                    if self.directory is not None and anywhere(goes_on and self._is_due(), mesh):
                        self._save(" and is tried again later")
                self._save("; the result is returned, and is nowhere on disk")
                interrupts.leave()
            except BaseException as error:
                interrupts.hold(error)
                self._leave(error)
                interrupts.leave()
                raise

    def _asked(self, taken: int, steps: int) -> int:
        """The number of steps to the next end of a block, measurement of the gradient, or end of the run."""
        left = min(steps - taken, self.block - taken % self.block)
        return left if self.every is None else min(left, self.every - taken % self.every)

    def _take_block(self, program: Callable[..., tuple[Progress, Report]], read: Read, steps: int) -> int:
        """Takes the steps, records their measurements, and returns the number of steps taken."""
        history, before = self.history, self.history.steps
        reached = before + read.steps
        due = reached % self.block == 0 or reached == steps or read.ended
        count, order = self._count(read.steps), self._order(read.data)
        start = time.perf_counter()
        now, report = program(self.now, read.data, count, order)
        report = jax.tree.map(np.asarray, report)
        first_bad, validation = int(report.first_bad), {}
        if due and now.best is not None and not first_bad:
            best, validation = self.compiled["validation"](now.best, now._replace(best=None), self.held_out)
            now, validation = now._replace(best=best), jax.tree.map(np.asarray, validation)
        history.run_seconds += time.perf_counter() - start
        taken = first_bad - before if first_bad else read.steps
        causes = report.causes[:taken]
        bad = np.flatnonzero(causes).tolist() if causes.any() else ()
        nonfinite = {before + i + 1: cause_in_words(int(causes[i]), now.state.params) for i in bad}
        if now.guard is not None and now.guard.good is not None and reached % self.block == 0 and not causes.any():
            good = jax.tree.map(jnp.copy, (now.state.params, now.state.opt_state))
            now = now._replace(guard=now.guard._replace(good=good))
        measured = {name: x[:taken] for name, x in report.train.items()}
        self.now = now
        history.nonfinite |= nonfinite
        history.extend(measured, validation)
        history.stopped = "diverged" if first_bad else self.out_of_patience()
        if first_bad and self.task.axes is None:
            self.bad_batch = jax.tree.map(lambda x: x[taken - 1], read.data)
        return taken

    def _look(self, read: Read, taken: int) -> None:
        """Shows the state after a block to diagnostics, callbacks and the progress bar."""
        history = self.history
        if self.every is not None and history.steps % self.every == 0 and history.stopped != "diverged":
            history.look(self.programs.diagnose(self.now.state.params, probe(self.task, read.data)))
        if self.watchers and self.watchers.see(BlockEnd.of(history, self.now.state, taken)):
            history.stopped = "callback" if history.stopped == "steps" else history.stopped
        last = history.stopped != "steps" or history.steps == self.bar.total
        if not self.bar.disable and (last or time.monotonic() - self.shown_at > self.bar.mininterval):
            self.bar.set_postfix(_shown(history, taken), refresh=False)
            self.shown_at = time.monotonic()
        self.bar.update(taken)

    def _program(self, data: Batch) -> Callable[..., Tree]:
        """Compiles the block for data of this shape, unless it is compiled already."""
        shapes = tuple(x.shape for x in jax.tree.leaves(data))
        if shapes not in self.compiled:
            if self.every is not None:
                jax.eval_shape(self.programs.diagnose, self.now.state.params, probe(self.task, data))  # may raise
            self.bar.set_description("compiling")
            start = time.perf_counter()
            programs: dict[Any, Any] = {
                shapes: (self.programs.block, self.now, data, self._count(0), self._order(data)),
            }
            if self.now.best is not None and not self.compiled:
                progress = self.now._replace(best=None)
                programs["validation"] = (self.programs.validate, self.now.best, progress, self.held_out)
            self.compiled |= _compiled(programs)
            self.history.compile_seconds += time.perf_counter() - start
            self.bar.set_description(f"training, {self.feed.read_as}")
            self.bar.unpause()  # its rate is that of training, without compiling
        return self.compiled[shapes]

    def _order(self, data: Batch) -> Order | None:
        """The order of the data for at least a block; None if the data are batches or streams."""
        if self.task.axes is None or self.task.stream is not None:
            return None
        if self.history.steps + self.feed.length > self.ordered:
            self.order = self.programs.order(data, self.now.state.key, self.now.state.step)
            self.ordered = self.history.steps + self.programs.ahead
        return self.order

    def _count(self, steps: int) -> jax.Array:
        """The number of steps of a block, on the device; equal numbers share an array."""
        if steps not in self.counts:
            self.counts[steps] = everywhere(jnp.asarray(steps, jnp.int32), self.task.mesh)
        return self.counts[steps]

    def reason_to_stop(self) -> str:
        """The reason why the run ends at its current step; "steps" if it goes on."""
        return "diverged" if int(self.now.first_bad) else self.out_of_patience()

    def out_of_patience(self) -> str:
        """The reason like `reason_to_stop`, for a run in which everything is finite."""
        best = self.now.best
        if self.patience is None or best is None:
            return "steps"
        return "patience" if self.history.since_best(self.task.monitor, int(best.step)) >= self.patience else "steps"

    def last_bad_batch(self) -> Batch | None:
        """The batch of the step at which the run ended because it was not finite; None otherwise."""
        if self.history.stopped != "diverged" or self.task.axes is None:
            return self.bad_batch
        data = self.feed.read(1).data
        return batch_of_step(self.task, data, self.now.state.key, int(self.now.first_bad))

    def _is_due(self) -> bool:
        return time.monotonic() - self.saved_at > SAVE_SECONDS

    def _save(self, then: str) -> None:
        """Saves the run; if saving fails, a warning says so and ends with `then`, and the run goes on."""
        if self.directory is None:
            return
        self.saved_at = time.monotonic()
        try:
            self.directory.save(self.now, self.history)
        except Exception as error:  # the disk fails, or an array can't be written
            self.history.not_saved = f"after step {self.history.steps}: {error}"
            text = f"run_dir: saving into {self.directory.path} failed {self.history.not_saved}{then}"
            warnings.warn(text, stacklevel=4)
        else:
            self.history.not_saved = ""
        anywhere(False, self.task.mesh)  # all processes wait until the save is there

    def _leave(self, error: BaseException) -> None:
        """Saves the state before an exception propagates, and adds to the exception where it was saved."""
        if self.directory is None:
            return
        if is_shared(self.task.mesh):  # other processes may be at other steps
            pass
        elif int(self.now.state.step) == self.history.steps:  # else a user's signal handler has come between them
            self._save("")
        if self.directory.saved is not None:
            told = f"run_dir: saved after step {self.directory.saved} in {self.directory.path}"
            error.add_note(told)
            if isinstance(error, SystemExit):
                tqdm.write(told)


def _compiled(programs: dict[Any, Any]) -> dict[Any, Callable[..., Any]]:
    """Jitted functions, compiled for their arguments' shapes; functions as they are while jit is switched off.

    All are traced before one is compiled, since tracing finds what is wrong.
    """
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        return {name: function for name, (function, *_) in programs.items()}
    lowered = [(name, function.lower(*arguments)) for name, (function, *arguments) in programs.items()]
    return {name: program.compile() for name, program in lowered}


def _shown(history: History, count: int) -> dict[str, str]:
    """Numbers for the progress bar: means over the block, then the last validation."""
    shown = {f"mean {name}": float(np.mean(history.train[name][-count:])) for name in in_order(history.train)[:-1]}
    shown |= {f"validation {name}": float(history.validation[name][-1]) for name in in_order(history.validation)}
    return {name: f"{value:.4g}" for name, value in shown.items()}
