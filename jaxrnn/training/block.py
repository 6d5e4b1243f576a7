"""Many steps of training, and the validation after them, in one compiled call."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.data.rows import Batch, rows_of, shuffled_rows, take, window
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.training.calibration import statistics, with_statistics
from jaxrnn.training.evaluate import EVALUATION_BATCH, over_rows
from jaxrnn.training.placement import spread
from jaxrnn.training.state import TrainState
from jaxrnn.training.step import Loss, Metrics, make_train_step
from jaxrnn.types import Gradient, Model, Params


class Best(NamedTuple):
    """The best parameters so far, by a score, the lower the better; `step` says when, 0: before any finite score."""

    score: jax.Array
    step: jax.Array
    params: Params


def no_best(params: Params) -> Best:
    """What there is before the first validation."""
    largest = jnp.finfo(jnp.result_type(float)).max  # no infinity, at which `jax.debug_infs` would stop
    return Best(jnp.full((), largest), jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))


class Progress(NamedTuple):
    """All that a run carries from block to block.

    Attributes:
      state: as after the last step.
      best: None without validation.
      first_bad: int32, the first step whose loss or gradient was not finite; 0: none so far. From that step on the
        state stands still as it was before it, and what is measured is NaN. None: training goes on whatever happens.
      evaluated: the parameters that evaluation uses after the last block; None: those of the state.
    """

    state: TrainState
    best: Best | None
    first_bad: jax.Array | None = None
    evaluated: Params | None = None

    def learnt(self, diverged: bool) -> Params:
        """The best parameters; without a finite validation the last ones, or, if the run diverged, the first ones."""
        last = self.state.params if self.evaluated is None else self.evaluated
        return last if self.best is None or not (diverged or int(self.best.step)) else self.best.params


class Report(NamedTuple):
    """What a block measured: `train` a value for each step (NaN for those not taken), `validation` one value each."""

    train: dict[str, jax.Array]
    validation: dict[str, jax.Array]


EvalParams = Callable[[Any, Params], Params]
"""(optimizer state, params) -> the parameters that evaluation uses, as `optax.contrib.schedule_free_eval_params`."""


class Task(NamedTuple):
    """What is trained, and how; the same for all blocks of a run.

    `axes`, `validation_axes` say where each array of the data has its rows (see `data.rows`); `axes` is None if the
    data are batches, one for each step. `stream` is how many steps of time an optimizer step reads of a stream; None if
    the data are no streams. `mesh`: the rows of each batch are spread over its devices. `monitor`, `mode`: the measure
    of the validation by which parameters are the best, and whether that is "min" or "max". `eval_params`: the
    parameters that evaluation uses, from the optimizer's state and the parameters; None: the parameters.
    """

    model: Model
    loss: Loss
    optimizer: optax.GradientTransformation
    metrics: Metrics | None
    gradient: Gradient | None
    axes: dict[str, int] | None
    validation_axes: dict[str, int] | None
    batch_size: int
    stream: int | None
    mesh: jax.sharding.Mesh | None = None
    monitor: str = "loss"
    mode: str = "min"
    eval_params: EvalParams | None = None

    def evaluated(self, state: TrainState) -> Params:
        """The parameters that evaluation uses, but for the statistics of batch normalisation."""
        if self.eval_params is None:
            return state.params
        found = self.eval_params(state.opt_state, state.params)
        checks.same_tree("eval_params", found, state.params)
        return jax.tree.map(lambda x, like: jnp.asarray(x).astype(like.dtype), found, state.params)


def some_rows(task: Task, data: Any, count: int, which: int) -> Batch:
    """A batch to look at: a dict's first `count` rows, of streams their first window; of batches the one at `which`."""
    if task.axes is None:
        return jax.tree.map(lambda x: x[which], data)
    batch = take(data, task.axes, jnp.arange(min(count, rows_of(data))))
    return batch if task.stream is None else window(batch, task.axes, jnp.zeros((), jnp.int32), task.stream)


Block = Callable[[Progress, Any, Any, jax.Array, jax.Array], tuple[Progress, Report]]


ORDER = 2**32 - 1
"""Folded into a run's key for the order of its data; the steps fold in 0, 1, ..."""


def make_block(task: Task, length: int) -> Block:
    """A pure function (progress, data, validation, stop, due) -> (progress, report) of `length` steps.

    `stop` is the step at which the block ends at the latest; `due` is whether validation follows. At the end of each
    block the evaluation statistics of batch normalisation are computed.
    """
    train_step = make_train_step(task.model, task.loss, task.optimizer, metrics=task.metrics, gradient=task.gradient)
    names = ("loss", *checks.metrics(task.metrics), "gradient_norm")

    def block(
        progress: Progress, data: Any, validation: Any, stop: jax.Array, due: jax.Array
    ) -> tuple[Progress, Report]:
        state, best, first_bad, _ = progress
        number = jnp.result_type(float)

        def take_step(state: TrainState, rows_or_batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
            fresh = state.step == 0
            if task.axes is None:
                batch = rows_or_batch
            elif task.stream is None:
                batch = take(data, task.axes, rows_or_batch)
            else:
                i = state.step % (len(data["xs"]) // task.stream)
                batch, fresh = window(data, task.axes, i * task.stream, task.stream), i == 0
            state, values = train_step(state, spread(batch, task.axes, task.mesh), fresh)
            return state, {name: values[name].astype(number) for name in names}

        def guarded(state: TrainState, first_bad: Any, rows_or_batch: Any) -> Any:
            after, values = take_step(state, rows_or_batch)
            if first_bad is None:
                return after, first_bad, values
            alive, finite = first_bad == 0, jnp.isfinite(values["loss"]) & jnp.isfinite(values["gradient_norm"])
            first_bad = jnp.where(alive & ~finite, after.step, first_bad)
            moved, still = (s._replace(step=None, key=None) for s in (after, state))
            held = jax.tree.map(lambda a, b: jnp.where(alive & finite, a, b), moved, still)
            values = {name: jnp.where(alive, value, jnp.nan) for name, value in values.items()}
            return held._replace(step=after.step, key=state.key), first_bad, values

        def skip(state: TrainState, first_bad: Any, _: Any) -> Any:
            return state, first_bad, dict.fromkeys(names, jnp.full((), jnp.nan, number))

        def body(carried: Any, rows_or_batch: Any) -> tuple[Any, dict[str, jax.Array]]:
            state, first_bad = carried
            state, first_bad, values = jax.lax.cond(state.step < stop, guarded, skip, state, first_bad, rows_or_batch)
            return (state, first_bad), values

        if task.axes is None:
            batches = data
        elif task.stream is not None:
            batches = jnp.arange(length)
        else:
            key = jax.random.fold_in(state.key, ORDER)
            batches = shuffled_rows(key, state.step, length, rows_of(data), task.batch_size)
        (state, first_bad), train = jax.lax.scan(body, (state, first_bad), batches)
        params = task.evaluated(state)
        if any(True for _ in batch_norms(task.model)):
            found = statistics(task.model, params, some_rows(task, data, EVALUATION_BATCH, -1))
            params, learnt = (with_statistics(p, found) for p in (params, state.params))
            if first_bad is not None:
                learnt = jax.tree.map(lambda a, b: jnp.where(first_bad == 0, a, b), learnt, state.params)
            state = state._replace(params=learnt)
        evaluated = None if task.eval_params is None else params
        if task.validation_axes is None:
            return Progress(state, best, first_bad, evaluated), Report(train, {})
        validated = functools.partial(
            over_rows, task.model, params, task.loss, task.metrics, validation, task.validation_axes
        )
        with checks.prefix("validation"):
            nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(validated))
        values = jax.lax.cond(due, validated, lambda: nothing)
        if first_bad is not None:
            values = {name: jnp.where(first_bad == 0, value, jnp.nan) for name, value in values.items()}
        values = {name: value.astype(number) for name, value in values.items()}
        if best is None:
            return Progress(state, None, first_bad, evaluated), Report(train, values)
        score = values[task.monitor] if task.mode == "min" else -values[task.monitor]
        better = score < best.score  # False for NaN
        now = Best(score, state.step, params)
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), now, best)
        return Progress(state, best, first_bad, evaluated), Report(train, values)

    return block
