"""Training from the first step to the last."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxrnn import checks
from jaxrnn.data.rows import checked_data, checked_layout, same_axes
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.training.batches import longest_run
from jaxrnn.training.block import EvalParams, Guard, OnNonfinite, Progress, Task, no_best
from jaxrnn.training.checkpoint import Resume, RunDirectory
from jaxrnn.training.feed import InMemory, checked_stream, feeding
from jaxrnn.training.history import History
from jaxrnn.training.identity import identity
from jaxrnn.training.placement import everywhere
from jaxrnn.training.programs import Programs
from jaxrnn.training.run import Run
from jaxrnn.training.state import Optimizer, TrainState, checked_optimizer, train_state
from jaxrnn.training.step import Metrics, checked_monitor
from jaxrnn.training.values import check_values, what_is_wrong
from jaxrnn.training.watching import Callback, CSVLogger, JSONLLogger, Watchers, checked_callbacks
from jaxrnn.types import Batch, Gradient, Loss, Model, Params


@dataclasses.dataclass(frozen=True, repr=False)
class FitResult:
    """The result of `fit`.

    Attributes:
      params: the parameters of the best validation, or the last ones without validation; they share no buffer with
        `state`.
      state: the state after the last step, for `fit(state=...)` and `make_train_step`.
      history: the measurements, a `History`.
      best_step: the step after which the model had these `params`.
      read: how the data were read, such as "320 rows of 101 steps".
      monitor: the measure by which `params` are the best.
      bad_batch: the batch of the step at which the run ended because something was not finite; None otherwise. To
        examine that step: `jaxrnn.gradient_report(model, state.params, result.bad_batch, loss, key=state.step_key)`
        with `state = result.state`, and for a stream also `carry=state.carry`.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> arguments = model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}
      >>> result = jaxrnn.fit(*arguments, steps=20, batch_size=4, key=jax.random.key(0), progress=False)
      >>> result.read, int(result.state.step)
      ('8 rows of 5 steps', 20)
      >>> carry, ys = model.apply(result.params, xs)
      >>> more = jaxrnn.fit(*arguments, steps=30, batch_size=4, state=result.state, progress=False)
      >>> int(more.state.step)
      30
    """

    params: Params
    state: TrainState
    history: History
    best_step: int
    read: str = ""
    monitor: str = "loss"
    bad_batch: Batch | None = None

    def __repr__(self) -> str:
        count, at = sum(x.size for x in jax.tree.leaves(self.params)), self.history.validation_steps
        found = self.history.validation.get(self.monitor, np.zeros(0))[at == self.best_step]
        best = "".join(f", validation {self.monitor} {x:.4g}" for x in found[:1])
        return f"FitResult({count} parameters of step {self.best_step}{best}; {self.read}; {self.history})"


def fit(
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    data: Batch | Iterable[Batch],
    *,
    steps: int,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    metrics: Metrics | None = None,
    validation: Batch | None = None,
    block: int = 100,
    monitor: str = "loss",
    mode: Literal["min", "max"] | None = None,
    patience: int | None = None,
    params: Params = None,
    state: TrainState | None = None,
    eval_params: EvalParams | None = None,
    gradient: Gradient | None = None,
    stream: int | None = None,
    time_major: bool | None = None,
    per_row: Sequence[str] = (),
    diagnose_every: int | None = None,
    on_nonfinite: Literal["stop", "skip", "restart"] = "stop",
    nonfinite_limit: int = 10,
    callback: Callback | Sequence[Callback] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    run_dir: checks.PathLike | None = None,
    resume: Resume = "same",
    progress: bool = True,
) -> FitResult:
    """Trains a model in blocks of steps. Each block is one compiled call; blocks of one shape compile once.

    At the end of each block, before validation, `fit` computes the statistics that a `batch_norm` uses in evaluation,
    with the current parameters: over the first 1,024 rows of a dict (of streams their first k steps), or over a block's
    last batch of an iterable. Call `jaxrnn.training.calibrate` afterwards for the statistics of all data.

    Args:
      model: the model.
      loss: (ys, batch) -> scalar; `batch` is a dict with the entries of `data`. A loss gets time first, ys [T, B, ...],
        whatever `time_major` is.
      optimizer: any optax transformation, for instance
        `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))` to clip the gradient. See
        `jaxrnn.training.make_train_step` for optimizers that also read the loss.
      data: a dict of arrays that hold all rows: "xs" [T, N, ...], and entries for the loss: sequences [T, N, ...],
        others [N, ...]. The entries "lengths" [N], "resets" [T, N] and "xs_mask" [T, N] also go to the model, as
        `lengths`, `resets` and `mask`. Minibatches are drawn without replacement and shuffled anew in each epoch,
        inside the compiled program. Or an iterable of batches, each such a dict, with the same entries and dtypes;
        training ends when the iterable does. A resumed run skips the batches that it has already seen. Consecutive
        batches of one shape go into one compiled call; each of at most 32 shapes compiles once
        (`jaxrnn.data.bucketed` makes few shapes, `jaxrnn.data.prefetch` reads ahead). If the iterable has an attribute
        `run`, the number of batches after which the shape may change, no call is compiled for more batches.
      steps: the number of steps in all, those of `state` included.
      key: for parameters, order and dropout; the same key gives the same run. None with a `state`, which has a key.
      batch_size: rows in a minibatch; only for a dict.
      metrics: further functions (ys, batch) -> scalar to measure at each step, by name.
      validation: a dict like `data`. After each `block` steps and at the end, the loss and the metrics are measured on
        the outputs of all its rows, without noise, as `jaxrnn.evaluate` does.
      block: the number of steps in one compiled call and from one validation to the next; a call has fewer steps where
        the shape of the batches changes.
      monitor, mode: the best parameters are those of the lowest ("min") or highest ("max") validation "loss", or of
        another one of the `metrics`. mode=None: "min" for the loss, "max" for `jaxrnn.losses.accuracy` and `f1`; an
        error for other metrics. A validation that is not finite is never the best.
      patience: stop after this many finite validations without a better one. None: never.
      params: parameters to start from, instead of freshly drawn ones.
      state: a state to continue from, such as `result.state` of another run: its parameters, optimizer state, schedule,
        key and number of steps. An iterable continues where it stands.
      eval_params: (optimizer state, params) -> the parameters for validation and `FitResult.params`, such as
        `optax.contrib.schedule_free_eval_params`, or a moving average in the optimizer's state. None: the parameters
        themselves.
      gradient: the way to differentiate through time; None for the gradients that the layers were built with.
      stream: k: the rows of the data are streams. Each optimizer step reads the next k steps of all rows (of a dict,
        T // k times per pass; or of a batch of k steps). The carry passes on from step to step and from batch to batch,
        without a gradient; "resets" start episodes, and a new pass through a dict begins with the initial carry. A row
        past its end (see "lengths") adds nothing to the loss. None: each row is a sequence of its own.
      time_major: False: sequences in `data` and `validation` are [N, T, ...]. None: [T, N, ...], and data that look as
        if their rows came first are refused. True: [T, N, ...], without this check.
      per_row: entries with one value for each row, [N, ...], though their shape is that of a sequence.
      diagnose_every: the number of steps between two measurements of the gradient, as by
        `jaxrnn.diagnostics.gradient_statistics`: of the full gradient, whatever `gradient` is, on the first 8 rows of a
        dict (of streams on their first k steps, from the initial carry) or on a batch of an iterable. Results:
        `History.diagnostics`, `History.plot_diagnostics`. None: never.
      on_nonfinite: the policy for a step whose loss, gradient or parameters are not finite. Every policy leaves the
        step out: the state stays as before it. "stop": the run ends with a warning that names the cause, and
        `FitResult.bad_batch` is the batch. "skip": the run continues with the next batch. "restart": the parameters and
        the optimizer go back to the end of the last whole block in which all was finite, and updates are half as large
        from there on. A warning counts these steps at the end, and `History.nonfinite` lists them.
      nonfinite_limit: the number of steps in a row that "skip" leaves out, or of restarts, before the run ends as with
        "stop".
      callback: a function, or several, called with a `jaxrnn.training.BlockEnd` after each block: the step, the
        measurements, the state. A true return value ends the run. Loggers are callbacks: `jaxrnn.training.CSVLogger`,
        `JSONLLogger`, `TensorBoardLogger`, `WandbLogger`.
      mesh: a `jax.sharding.Mesh` of one axis: data-parallel training. Each device has the parameters and reads its
        share of each minibatch's rows; the gradient is that of all rows. With several processes (`jax.distributed`) the
        mesh may have the devices of all; each process then makes the same call with the same data. None: one device.
      run_dir: a directory. The run is saved there every half minute and at its end, whatever ends it: the last step,
        Ctrl-C, SIGTERM (the process then exits with code 143), an error of the data's iterator or of a callback. A
        signal waits for the end of the block; a second Ctrl-C does not wait. (Signals outside of the main thread, and
        signals with another handler, are left alone.) A second call with the same arguments continues from the last
        save, and ends with the parameters of an uninterrupted run; with more steps it continues a finished run. Three
        saves are kept, each with the SHA-256 of its files. If a save is damaged or incomplete, the run continues from
        the one before, with a warning that names the file. If a save fails, a warning says so, the run goes on, and
        saving is tried again later. A block needs memory for the state twice, so that an error in it loses nothing
        else. One process has the directory at a time. The files `metrics.csv` and `metrics.jsonl` in it have a row for
        each block.
      resume: "same": if the run in run_dir had other arguments, an error names the first difference. "anyway": the run
        goes on, and a warning names all differences. Compared are: the model, the loss, the metrics and `eval_params`,
        by their code, constants and closures; the optimizer, by its state's structure and its updates for random
        gradients at several steps; the data and the validation, by their bytes; an iterable by its attribute
        `identity`, if it has one, as `jaxrnn.data.bucketed` has; `params` and `key`. Not compared are: `steps`,
        `block`, `patience`, `diagnose_every`, `on_nonfinite`, `callback`, `mesh` and `progress`, which may change; the
        batches of an iterable without `identity`; code of libraries; the inner state of C objects; values that code
        looks up by a name in a string (`getattr`, `globals`) or outside of Python (files, the environment).
      progress: show a progress bar.

    Returns:
      A FitResult. If no validation was finite, its parameters are the last ones, with a warning.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it. Raised before anything is compiled.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> xs = jax.random.normal(jax.random.key(0), (10, 64, 1))  # T = 10 steps, N = 64 rows
      >>> data = {"xs": xs, "targets": xs.cumsum(0)}
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 16), jaxrnn.dense(16, 1))
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), data, steps=100, batch_size=32,
      ...     key=jax.random.key(1), progress=False,
      ... )
      >>> loss = result.history.train["loss"]
      >>> bool(loss[-1] < 0.5 * loss[0])
      True
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
    monitor, ranked = checked_monitor(monitor, mode, metrics)
    if eval_params is not None:
        checks.function("eval_params", eval_params, "opt_state", "params")
    if patience is not None:
        checks.positive_int("patience", patience)
        if validation is None:
            raise ValueError("validation: expected a dict of arrays with patience, got None")
    checks.one_of("on_nonfinite", on_nonfinite, ("stop", "skip", "restart"))
    checks.positive_int("nonfinite_limit", nonfinite_limit)
    checks.one_of("resume", resume, ("same", "anyway"))
    callbacks, layout = checked_callbacks(callback), checked_layout(time_major, per_row)
    every = None if diagnose_every is None else checks.positive_int("diagnose_every", diagnose_every)
    length = min(block, steps, every or steps, longest_run(data) or block)
    stream, mesh, optimizer = checked_stream(stream, model), checks.mesh("mesh", mesh), checked_optimizer(optimizer)
    feed = feeding(data, batch_size, length, stream, mesh, layout, model)
    held_out, held_out_axes = None, None
    if validation is not None:
        held_out, held_out_axes = checked_data("validation", validation, layout)
        if isinstance(feed, InMemory):
            same_axes(feed.arrays, held_out, layout, stream)
    task = Task(
        model, loss, optimizer, metrics, gradient, feed.axes, held_out_axes, batch_size or 0, stream, mesh,
        monitor, ranked, eval_params, OnNonfinite(on_nonfinite, 0 if on_nonfinite == "stop" else nonfinite_limit),
    )  # fmt: skip
    if state is None:
        start = train_state(model, optimizer, key=key, params=params, streams=None if stream is None else feed.rows)
    else:
        if steps <= int(checks.instance("state", state, TrainState, "such as result.state").step):
            raise ValueError(f"steps: expected more in all than the {state.step} that the state has taken, got {steps}")
        start = _going_on(model, optimizer, state, key, params, None if stream is None else feed.rows)
    known = {"data": feed.arrays if isinstance(feed, InMemory) else None, "validation": held_out}
    for name, arrays in known.items():
        if arrays is not None:
            check_values(name, arrays, model, start.params, loss, metrics)
    copied = None if eval_params is None else jax.tree.map(jnp.copy, start.params)
    best, guard = None if validation is None else no_best(start.params), Guard.of(start, task.on_nonfinite)
    now, history = Progress(start, best, jnp.zeros((), jnp.int32), copied, guard), History(start=int(start.step))

    with contextlib.ExitStack() as stack:
        if mesh is not None:
            stack.enter_context(jax.set_mesh(mesh))
        directory, at_hand = None, jax.process_index() == 0
        if run_dir is not None:
            read = feed.arrays if isinstance(feed, InMemory) else data
            given = params if state is None else start.params
            about = identity(task, start, given, read, held_out, layout.time_major is not False)
            directory = stack.enter_context(RunDirectory(run_dir, about, resume, task.on_nonfinite))
            now, history = directory.restore(now) or (now, history)
            if at_hand:
                files = [directory.path / name for name in ("metrics.csv", "metrics.jsonl")]
                if directory.saved is None and any(file.exists() and file.stat().st_size for file in files):
                    told = f"run_dir: {directory.path} has measurements of a run, but no save; it begins anew"
                    warnings.warn(told, stacklevel=2)
                callbacks = (CSVLogger(files[0]), JSONLLogger(files[1]), *callbacks)
        history.monitor, history.mode, begun = monitor, ranked, history.steps
        if history.steps > steps:
            raise ValueError(
                f"steps: expected at least the {history.steps} that run_dir has taken, got {steps}; "
                "another run_dir begins anew"
            )
        feed.skip(history.steps - history.start)
        now, held_out = everywhere((now, held_out), mesh)
        watchers = Watchers(callbacks, history.steps)
        stack.callback(watchers.close)
        hidden = not progress or not at_hand
        bar = stack.enter_context(tqdm(total=steps, initial=history.steps, unit="step", disable=hidden))
        programs = Programs.of(task, length, donate=directory is None)
        run = Run(
            task, programs, feed, held_out, block, every, patience, directory, watchers, bar, now, history
        )  # fmt: skip
        history.stopped = run.reason_to_stop()
        if history.stopped == "patience" and history.steps < steps:
            warnings.warn(
                f"fit: run_dir has a run that patience={patience} has ended after step {history.steps}, so no step is "
                "taken; it goes on with more patience, or none",
                stacklevel=2,
            )
        run.train(steps)
        now, bad_batch = run.now, run.last_bad_batch()
    best_step = int(now.best.step) if now.best is not None else 0
    if history.stopped == "diverged":
        bad = int(now.first_bad)
        read = ("data", feed.arrays) if isinstance(feed, InMemory) else ("bad_batch", bad_batch or {})
        why = what_is_wrong(*read, model, start.params, loss, metrics)
        carried = ", carry=state.carry" if now.state.carry is not None else ""
        look = (
            "with state = result.state, jaxrnn.gradient_report(model, state.params, result.bad_batch, loss, "
            f"key=state.step_key{carried})"
        )
        warnings.warn(
            f"fit: {history.nonfinite[bad]} was not finite at step {bad}, which was left out; the run ended there"
            f"{why}{'' if bad_batch is None else f'; {look} looks at it'}",
            stacklevel=2,
        )
    elif history.nonfinite:
        bad, count = min(history.nonfinite), len(history.nonfinite)
        warnings.warn(
            f"fit: {count} step{' was' if count == 1 else 's were'} left out (on_nonfinite={on_nonfinite!r}); the "
            f"first is step {bad}: {history.nonfinite[bad]} was not finite",
            stacklevel=2,
        )
    if history.stopped == "data" and history.steps < steps:
        warnings.warn(f"fit: data ended after {history.steps} of {steps} steps", stacklevel=2)
    now_measured = {"loss", *checks.metrics(metrics)} & {*history.validation}
    looks = [np.isfinite(history.validation[name][history.validation_steps > begun]) for name in now_measured]
    if looks and history.stopped != "diverged" and not np.all(looks):
        why = what_is_wrong("validation", held_out or {}, model, start.params, loss, metrics)
        none = now.best is not None and not best_step
        last = f"no validation had a finite {monitor}; the last parameters are returned"
        warnings.warn(f"fit: {last if none else 'a validation was not finite'}{why}", stacklevel=2)
    found = jax.tree.map(jnp.copy, now.learnt)
    return FitResult(found, now.state, history, best_step or history.steps, feed.read_as, monitor, bad_batch)


def _going_on(
    model: Model, optimizer: Optimizer, state: TrainState, key: jax.Array | None, params: Params, streams: int | None
) -> TrainState:
    """A state to start from, checked and copied, so that the caller's state stays valid."""
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
