"""Training from the first step to the last."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxrnn import checks
from jaxrnn.data.rows import Batch, check_symbols, checked_data, checked_layout, same_axes
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.training.batches import Read, longest_run
from jaxrnn.training.block import EvalParams, Progress, Report, Task, no_best
from jaxrnn.training.checkpoint import RunDirectory
from jaxrnn.training.diagnose import probe
from jaxrnn.training.feed import Feed, InMemory, checked_stream, feeding
from jaxrnn.training.history import History, in_order
from jaxrnn.training.identity import identity
from jaxrnn.training.placement import anywhere, everywhere
from jaxrnn.training.programs import Programs
from jaxrnn.training.state import Optimizer, TrainState, checked_optimizer, train_state
from jaxrnn.training.step import Loss, Metrics
from jaxrnn.types import Gradient, Model, Params

SAVE_SECONDS = 30.0
"""A run with a directory is saved this often, and at its end."""


@dataclasses.dataclass(frozen=True, repr=False)
class FitResult:
    """What `fit` returns.

    Attributes:
      params: the parameters of the best validation, or the last ones without validation; they share no buffer with
        `state`.
      state: the state after the last step, for `fit(state=...)` and `make_train_step`.
      history: what was measured.
      best_step: the step at which `params` stood.
      read: how the data were read, such as "320 rows of 101 steps".
      monitor: the measure by which `params` are the best.
    """

    params: Params
    state: TrainState
    history: History
    best_step: int
    read: str = ""
    monitor: str = "loss"

    def __repr__(self) -> str:
        count, at = sum(x.size for x in jax.tree.leaves(self.params)), self.history.validation_steps
        found = self.history.validation.get(self.monitor, np.zeros(0))[at == self.best_step]
        best = "".join(f", validation {self.monitor} {x:.4g}" for x in found[:1])
        return f"FitResult({count} parameters of step {self.best_step}{best}; {self.read}; {self.history})"


def fit(
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    data: dict[str, Any] | Iterable[Batch],
    *,
    steps: int,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    metrics: Metrics | None = None,
    validation: dict[str, Any] | None = None,
    block: int = 100,
    monitor: str = "loss",
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    params: Params = None,
    state: TrainState | None = None,
    eval_params: EvalParams | None = None,
    gradient: Gradient | None = None,
    stream: int | None = None,
    time_major: bool | None = None,
    per_row: Sequence[str] = (),
    diagnose_every: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    run_dir: Any = None,
    progress: bool = True,
) -> FitResult:
    """Trains a model: blocks of steps, each block one compiled call, all of one shape one compile.

    The statistics that a `batch_norm` uses in evaluation are computed anew at the end of each block, before validation,
    by the parameters as they are then: over the first 1,024 rows of a dict (of streams their first k steps), or a
    block's last batch of an iterable. Call `calibrate` afterwards for the statistics of all data.

    Args:
      model: the model.
      loss: (ys, batch) -> scalar; `batch` is a dict with the entries of `data`. It gets time first, ys [T, B, ...],
        whatever `time_major` is.
      optimizer: any optax transformation, for instance
        `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))` to clip the gradient. See `make_train_step` for
        those that read the loss, too.
      data: a dict of arrays that hold all rows: "xs" [T, N, ...], and what the loss needs: sequences [T, N, ...], the
        rest [N, ...]; "lengths" [N], "resets" [T, N] and "xs_mask" [T, N] also go to the model, as `lengths`, `resets`
        and `mask`. Minibatches are drawn from it without replacement, shuffled anew in each epoch, inside the compiled
        program. Or an iterable of batches, each such a dict, with the same entries and dtypes; training ends when it
        does. A resumed run skips as many batches as it has seen. Consecutive batches of one shape go into one compiled
        call; each shape, of at most 32, compiles once (`jaxrnn.data.bucketed` makes few of them,
        `jaxrnn.data.prefetch` reads ahead). An attribute `run` of the iterable says after how many batches the shape
        may change, so that no call is compiled for more.
      steps: how many steps the run has in all, those of `state` included.
      key: for parameters, order and dropout; the same key gives the same run. None with a `state`, which has one.
      batch_size: rows in a minibatch; only for a dict.
      metrics: further functions (ys, batch) -> scalar to measure at each step, by name.
      validation: a dict like `data`; after each `block` steps and at the end the loss and the metrics are measured on
        the outputs of all its rows, without noise, as `evaluate` does.
      block: steps in one compiled call, or fewer where the shape of the batches changes; and from one validation to the
        next.
      monitor, mode: the best parameters are those of the lowest ("min") or highest ("max") validation "loss", or
        another one of the `metrics`. A validation that is NaN is never the best.
      patience: stop after this many validations without a better one. None: never.
      params: parameters to start from, instead of freshly drawn ones.
      state: a state to go on from, such as `result.state` of another run: its parameters, optimizer, schedule, key and
        number of steps. An iterable goes on where it stands.
      eval_params: (optimizer state, params) -> the parameters that validation uses and `FitResult.params` are, such as
        `optax.contrib.schedule_free_eval_params`, or a moving average out of the optimizer's state. None: the
        parameters themselves.
      gradient: how to differentiate through time; None for what the layers were built with.
      stream: k: the rows of the data are streams. Each optimizer step reads the next k steps of all rows (a dict's,
        T // k of them a pass; or a batch of k steps), the carry passes on from step to step and from batch to batch,
        without a gradient, "resets" start episodes, and a new pass through a dict begins with the initial carry. A row
        that has ended (see "lengths") adds nothing to the loss from there on. None: each row is a sequence of its own.
      time_major: False: sequences in `data` and `validation` are [N, T, ...]. None: [T, N, ...], and data that look as
        if their rows came first are refused; True: [T, N, ...], however they look.
      per_row: entries of the data that are one value a row, [N, ...], though their shape is that of a sequence.
      diagnose_every: look at the gradient after every so many steps, as `gradient_statistics` does: at all of it,
        whatever `gradient` is, on the first 8 rows of a dict (of streams on their first k steps, from the initial
        carry) or on a batch of an iterable: `History.diagnostics`, `History.plot_diagnostics`. None: never.
      mesh: a `jax.sharding.Mesh` of one axis: data-parallel training. Each device has the parameters and reads its
        share of each minibatch's rows; the gradient is that of all rows. With several processes (`jax.distributed`) the
        mesh may have the devices of all; each then makes the same call with the same data. None: one device.
      run_dir: a directory. The run is saved there every half minute, at its end and when it is interrupted (Ctrl-C
        lets the block under way end first). A second call with the same arguments goes on where the last save stands,
        and ends with the parameters of an uninterrupted run; with more steps than before it continues a finished one.
        Other arguments than before are an error, as far as they can be told: the loss is known by its name, an
        optimizer by its first update. Three saves are kept, each with the SHA-256 of its files: one that was damaged or
        cut off gives way to the one before, with a warning that names the file.
      progress: show a progress bar.

    Returns:
      A FitResult. A loss or gradient that is not finite ends the run after its block with a warning, and is in the
      history; the best parameters are kept, or, before the first validation, those that it began with. If no validation
      was finite, the last ones are returned, with a warning.

    Raises:
      ValueError, TypeError: an argument does not fit, and which, before anything is compiled.
    """
    if any(
        isinstance(x, Tracer) for x in jax.tree.leaves((key, params, state, data if isinstance(data, dict) else ()))
    ):
        raise TypeError(
            "fit: expected a call outside of jax.jit, jax.vmap and the like, got traced arguments; jaxrnn.sweep trains "
            "many models at once, jaxrnn.training.make_train_step makes a step for a loop of your own"
        )
    checks.positive_int("steps", steps)
    checks.positive_int("block", block)
    checks.flag("progress", progress)
    checks.one_of("mode", mode, ("min", "max"))
    checks.one_of("monitor", monitor, ("loss", *checks.metrics(metrics)))
    if eval_params is not None:
        checks.function("eval_params", eval_params, "opt_state", "params")
    if patience is not None:
        checks.positive_int("patience", patience)
        if validation is None:
            raise ValueError("validation: expected a dict of arrays with patience, got None")
    layout = checked_layout(time_major, per_row)
    every = None if diagnose_every is None else checks.positive_int("diagnose_every", diagnose_every)
    length = min(block, steps, every or steps, longest_run(data) or block)
    stream, mesh, optimizer = checked_stream(stream, model), checks.mesh("mesh", mesh), checked_optimizer(optimizer)
    feed = feeding(data, batch_size, length, stream, mesh, layout, model)
    held_out, held_out_axes = None, None
    if validation is not None:
        held_out, held_out_axes = checked_data("validation", validation, layout)
        check_symbols("validation", validation, held_out, model)
        if isinstance(feed, InMemory):
            same_axes(feed.arrays, held_out, layout, stream)
    task = Task(
        model, loss, optimizer, metrics, gradient, feed.axes, held_out_axes, batch_size or 0, stream, mesh,
        monitor, mode, eval_params,
    )  # fmt: skip
    if state is None:
        start = train_state(model, optimizer, key=key, params=params, streams=None if stream is None else feed.rows)
    else:
        if steps <= int(checks.instance("state", state, TrainState, "such as result.state").step):
            raise ValueError(f"steps: expected more in all than the {state.step} that the state has taken, got {steps}")
        start = _going_on(model, optimizer, state, key, params, None if stream is None else feed.rows)
    copied = None if eval_params is None else jax.tree.map(jnp.copy, start.params)
    now = Progress(start, None if validation is None else no_best(start.params), evaluated=copied)
    history = History(start=int(start.step))

    with contextlib.ExitStack() as stack:
        if mesh is not None:
            stack.enter_context(jax.set_mesh(mesh))
        directory = None
        if run_dir is not None:
            read = feed.arrays if isinstance(feed, InMemory) else data
            about = identity(task, start, params if state is None else start.params, read, held_out)
            directory = stack.enter_context(contextlib.closing(RunDirectory(run_dir, about)))
            now, history = directory.restore(now) or (now, history)
        first = int(now.state.step)
        if first > steps:
            raise ValueError(f"steps: expected at least the {first} that the run in run_dir has taken, got {steps}")
        feed.skip(first - history.start)
        now, held_out = everywhere((now, held_out), mesh)
        history.stopped = _reason_to_stop(history, task, patience)
        bar = stack.enter_context(tqdm(total=steps, initial=first, unit="step", disable=not progress))
        run = _Run(task, Programs.of(task, length), feed, held_out, block, every, patience, directory, bar)
        now = run.train(now, history, steps)
    if history.stopped == "diverged":
        warnings.warn(
            f"fit: the loss or gradient was not finite at step {history.first_bad_step} "
            "(a class or symbol out of range gives NaN, too)",
            stacklevel=2,
        )
    elif now.best is not None and not int(now.best.step) and len(history.validation_steps):
        warnings.warn(f"fit: no validation had a finite {monitor}; the last parameters are returned", stacklevel=2)
    found, diverged = now.learnt(history.stopped == "diverged"), history.stopped == "diverged"
    step = int(now.best.step) if now.best is not None and (diverged or int(now.best.step)) else history.steps
    return FitResult(jax.tree.map(jnp.copy, found), now.state, history, step, feed.read_as, monitor)


def _going_on(
    model: Model, optimizer: Any, state: TrainState, key: Any, params: Params, streams: int | None
) -> TrainState:
    """A state to begin with, checked; the caller keeps his own."""
    for name, value in (("key", key), ("params", params)):
        if value is not None:
            raise ValueError(f"{name}: expected None with a state, which has its own, got {checks.short(value)}")
    fresh = jax.eval_shape(
        lambda key, params: train_state(model, optimizer, key=key, params=params, streams=streams),
        state.key,
        state.params,
    )
    if (state.carry is None) != (streams is None):
        expected = "no carry, that of a run without stream" if streams is None else "the carry of a run on streams"
        raise ValueError(f"state.carry: expected {expected}, got {checks.short(state.carry)}")
    same = jax.tree.structure(state.opt_state) == jax.tree.structure(fresh.opt_state)
    if jax.tree.structure(state.params) == jax.tree.structure(fresh.params) and not same:
        raise ValueError(
            f"state.opt_state: expected that of this optimizer, got another one's, {checks.short(state.opt_state)}; "
            "params=result.params and a key begin a run with a new optimizer"
        )
    checks.same_tree("state", state, fresh)
    checks.same_dtypes("state", state, fresh)
    return jax.tree.map(lambda x: jnp.array(x, copy=True), state)


@dataclasses.dataclass
class _Run:
    """What a run is made of, once its arguments are checked; see `fit`."""

    task: Task
    programs: Programs
    feed: Feed
    held_out: Any
    block: int
    every: int | None
    patience: int | None
    directory: RunDirectory | None
    bar: Any
    saved_at: float = dataclasses.field(default_factory=time.monotonic)
    compiled: dict[Any, Callable[..., Any]] = dataclasses.field(default_factory=dict)

    def train(self, now: Progress, history: History, steps: int) -> Progress:
        """Block by block, up to so many steps."""
        while history.steps < steps and history.stopped == "steps":
            read = self.feed.read(self._asked(history.steps, steps))
            if read.steps == 0:
                history.stopped = "data"
                break
            now, interrupted = self._take_block(now, history, read, steps)
            due = interrupted or time.monotonic() - self.saved_at > SAVE_SECONDS
            if self.directory is not None and anywhere(due, self.task.mesh):
                self._save(now, history)
            if interrupted:
                raise KeyboardInterrupt
        if self.directory is not None:
            self._save(now, history)
        return now

    def _asked(self, taken: int, steps: int) -> int:
        """Steps to the next end of a block, look at the gradient, or end of the run."""
        ends = [steps - taken, self.block - taken % self.block]
        return min(ends if self.every is None else [*ends, self.every - taken % self.every])

    def _take_block(self, now: Progress, history: History, read: Read, steps: int) -> tuple[Progress, bool]:
        """Takes the steps, and notes what they measured: (what comes after them, whether Ctrl-C was pressed)."""
        reached, mesh = history.steps + read.steps, self.task.mesh
        due = reached % self.block == 0 or reached == steps or read.ended
        bounds = everywhere((jnp.asarray(reached, jnp.int32), jnp.asarray(due)), mesh)
        program = self._program((now, read.data, self.held_out, *bounds), history)
        start = time.perf_counter()
        now, report = program(now, read.data, self.held_out, *bounds)
        interrupted = anywhere(_wait(report), mesh)
        history.run_seconds += time.perf_counter() - start
        history.extend(report.train, report.validation if due else {}, read.steps)
        if self.every is not None and history.steps % self.every == 0:
            history.look(self.programs.diagnose(now.state.params, probe(self.task, read.data)))
        history.stopped = _reason_to_stop(history, self.task, self.patience)
        self.bar.set_postfix(_shown(report.train, read.steps, history), refresh=False)
        self.bar.update(read.steps)
        return now, interrupted

    def _program(self, arguments: tuple[Any, ...], history: History) -> Callable[..., Any]:
        """Compiles the block for data of this shape, unless it was."""
        now, data, *_ = arguments
        shapes = tuple(x.shape for x in jax.tree.leaves(data))
        if shapes not in self.compiled:
            if self.every is not None:
                jax.eval_shape(self.programs.diagnose, now.state.params, probe(self.task, data))  # raises if it can't
            self.bar.set_description("compiling")
            start, block = time.perf_counter(), self.programs.block
            jitted = not jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
            self.compiled[shapes] = block.lower(*arguments).compile() if jitted else block
            history.compile_seconds += time.perf_counter() - start
            self.bar.set_description(f"training, {self.feed.read_as}")
        return self.compiled[shapes]

    def _save(self, now: Progress, history: History) -> None:
        assert self.directory is not None
        self.directory.save(history.steps, now, history)
        self.saved_at = time.monotonic()


def _wait(report: Report) -> bool:
    """Waits for a block to end, also if it is interrupted meanwhile; whether it was."""
    try:
        jax.block_until_ready(report)
    except KeyboardInterrupt:
        jax.block_until_ready(report)
        return True
    return False


def _shown(train: dict[str, Any], count: int, history: History) -> dict[str, str]:
    """What the progress bar shows: means over the block, then what the last validation found."""
    shown = {f"mean {name}": float(np.mean(train[name][:count])) for name in in_order(train)[:-1]}
    shown |= {f"validation {name}": float(history.validation[name][-1]) for name in in_order(history.validation)}
    return {name: f"{value:.4g}" for name, value in shown.items()}


def _reason_to_stop(history: History, task: Task, patience: int | None) -> str:
    if history.first_bad_step is not None:
        return "diverged"
    if patience is not None and history.since_best(task.monitor, task.mode) >= patience:
        return "patience"
    return "steps"
