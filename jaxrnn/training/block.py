"""Many steps of training in one compiled call, and the validation after them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.data.rows import rows_of, shuffled_rows, take, window
from jaxrnn.float_leaves import paths
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.training.calibration import statistics, with_statistics
from jaxrnn.training.evaluate import EVALUATION_BATCH, over_rows
from jaxrnn.training.placement import spread
from jaxrnn.training.state import TrainState
from jaxrnn.training.step import Metrics, stepping
from jaxrnn.types import Batch, Gradient, Loss, Model, Params, Tree


class Best(NamedTuple):
    """The best parameters so far and their score, the lower the better; `step` is 0 before any finite score."""

    score: jax.Array
    step: jax.Array
    params: Params


def no_best(params: Params) -> Best:
    """The state before the first validation."""
    largest = jnp.finfo(jnp.result_type(float)).max  # not infinity, which would trip `jax.debug_infs`
    return Best(jnp.full((), largest), jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))


class OnNonfinite(NamedTuple):
    """The policy for steps that are not finite: "stop", "skip" at most `limit` in a row, "restart" `limit` times."""

    kind: str = "stop"
    limit: int = 0


class Guard(NamedTuple):
    """The state of the policy for steps that are not finite; parts that the policy does not need are None.

    Attributes:
      failures: int32, the number of consecutive non-finite steps ("skip"), or of restarts ("restart").
      scale: the factor of the updates ("restart").
      good: the parameters and state of the optimizer to go back to ("restart").
    """

    failures: jax.Array | None = None
    scale: jax.Array | None = None
    good: Tree = None

    @classmethod
    def of(cls, state: TrainState, what: OnNonfinite) -> "Guard":
        """The guard at the start of a run."""
        if what.kind == "stop":
            return cls()
        good = jax.tree.map(jnp.copy, (state.params, state.opt_state))
        return cls(jnp.zeros((), jnp.int32), *((jnp.ones(()), good) if what.kind == "restart" else ()))

    def after(self, finite: jax.Array, what: OnNonfinite) -> tuple["Guard", jax.Array]:
        """Returns the guard after one more step, and whether the run ends there."""
        if self.failures is None:
            return self, ~finite
        failures = jnp.where(finite, 0 if what.kind == "skip" else self.failures, self.failures + 1)
        scale = None if self.scale is None else jnp.where(finite, self.scale, 0.5 * self.scale)
        return self._replace(failures=failures, scale=scale), ~finite & (failures > what.limit)


class Progress(NamedTuple):
    """Everything that a run carries from block to block.

    Attributes:
      state: the state after the last step.
      best: None without validation.
      first_bad: int32, the step at which the run ended because its loss, gradient or parameters were not finite; 0: it
        goes on. From that step on the state stays as it was before the step. A run of `fit` takes no further step; a
        member of a sweep measures NaN.
      evaluated: the parameters for evaluation after the last block; None: those of the state.
      guard: None for members of a sweep, which end at the first step that is not finite.
    """

    state: TrainState
    best: Best | None
    first_bad: jax.Array
    evaluated: Params | None = None
    guard: Guard | None = None

    @property
    def learnt(self) -> Params:
        """The best parameters, or the last ones if no validation was finite."""
        last = self.state.params if self.evaluated is None else self.evaluated
        return last if self.best is None or not int(self.best.step) else self.best.params


class Report(NamedTuple):
    """Measurements of a block.

    Attributes:
      train: a value for each step, NaN for steps that were not taken.
      validation: one value for each measure.
      causes: int32, for each step the cause if it was not finite, see `cause_of`; 0: it was finite.
      first_bad: as in `Progress`.
    """

    train: dict[str, jax.Array]
    validation: dict[str, jax.Array]
    causes: jax.Array | None = None
    first_bad: jax.Array | None = None


EvalParams = Callable[[Tree, Params], Params]
"""(optimizer state, params) -> the parameters for evaluation, such as `optax.contrib.schedule_free_eval_params`."""


class Task(NamedTuple):
    """The task of a run: model, loss, optimizer and options, the same for all blocks.

    `axes`, `validation_axes`: the axis of the rows for each array of the data (see `data.rows`); `axes` is None if the
    data are batches, one for each step. `stream`: the number of time steps that an optimizer step reads of a stream;
    None if the data are not streams. `mesh`: the rows of each batch are spread over its devices. `monitor`, `mode`: the
    measure of the validation that ranks parameters, and "min" or "max". `eval_params`: makes the parameters for
    evaluation from the optimizer's state and the parameters; None: the parameters.
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
    on_nonfinite: OnNonfinite = OnNonfinite()

    def evaluated(self, state: TrainState) -> Params:
        """The parameters for evaluation; their statistics of batch normalisation are not computed yet."""
        if self.eval_params is None:
            return state.params
        found = self.eval_params(state.opt_state, state.params)
        checks.same_tree("eval_params", found, state.params)
        return jax.tree.map(lambda x, like: jnp.asarray(x).astype(like.dtype), found, state.params)


def some_rows(task: Task, data: Batch, count: int, which: int) -> Batch:
    """A sample batch: a dict's first `count` rows, the first window of streams, or the batch at index `which`."""
    if task.axes is None:
        return jax.tree.map(lambda x: x[which], data)
    batch = take(data, task.axes, jnp.arange(min(count, rows_of(data))))
    return batch if task.stream is None else window(batch, task.axes, jnp.zeros((), jnp.int32), task.stream)


def batch_of_step(task: Task, data: Batch, key: jax.Array, step: int) -> Batch:
    """The batch of a dict of arrays that step `step`, from 1, of a run with this key reads."""
    assert task.axes is not None
    if task.stream is not None:
        i = (step - 1) % (len(data["xs"]) // task.stream)
        return window(data, task.axes, jnp.asarray(i * task.stream), task.stream)
    return take(data, task.axes, order_of(task, data, key, jnp.asarray(step - 1, jnp.int32), 1).rows[0])


def all_finite(tree: Tree) -> jax.Array:
    """Tells whether all numbers of a tree are finite."""
    found = [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, found, jnp.asarray(True))


def cause_of(loss: jax.Array, grads: Params, params: Params) -> jax.Array:
    """The cause of a non-finite step as a number, int32, for `cause_in_words`."""
    leaves = [~jnp.isfinite(x).all() for x in jax.tree.leaves((grads, params))]
    first = jnp.argmax(jnp.stack([*leaves, jnp.asarray(True)])).astype(jnp.int32)
    return 1 + 2 * first + (~jnp.isfinite(loss)).astype(jnp.int32)


def cause_in_words(cause: int, params: Params) -> str:
    """The cause in words: the loss, and the first gradient or parameter that was not finite."""
    names = paths(params)
    told = [*(f"gradient of {name}" for name in names), *(f"parameter {name}" for name in names), "gradient's norm"]
    first, loss = divmod(cause - 1, 2)
    alone = loss and first == len(told) - 1
    return "loss" if alone else f"loss and {told[first]}" if loss else told[first]


Block = Callable[..., tuple[Progress, Report]]


class Order(NamedTuple):
    """The rows of the minibatches of some steps.

    Attributes:
      rows: int [steps, batch_size].
      step: int32, the number of steps taken before the first of these.
    """

    rows: jax.Array
    step: jax.Array


ORDER = 2**32 - 1
"""Folded into a run's key for the order of its data; the steps fold in 0, 1, ..."""


def order_of(task: Task, data: Batch, key: jax.Array, step: jax.Array, steps: int) -> Order:
    """The rows of the minibatches of `steps` steps, of a dict of arrays that are not streams."""
    key = jax.random.fold_in(key, ORDER)
    return Order(shuffled_rows(key, step, steps, rows_of(data), task.batch_size), jnp.copy(step))


def make_block(task: Task, length: int) -> Block:
    """A pure function (progress, data, steps, order) -> (progress, report) of at most `length` steps.

    `steps` is the number of steps to take; `order` has the rows to read, if they are known already. The end of each
    block computes the evaluation statistics of batch normalisation.
    """
    train_step = stepping(task.model, task.loss, task.optimizer, task.metrics, task.gradient)
    names = ("loss", *checks.metrics(task.metrics), "gradient_norm")

    def block(progress: Progress, data: Batch, steps: jax.Array, order: Order | None = None) -> tuple[Progress, Report]:
        state, best, first_bad, _, guard = progress
        number, stop = jnp.result_type(float), state.step + steps

        def take_step(state: TrainState, guard: Guard | None, rows_or_batch: Any) -> Any:
            fresh = state.step == 0
            if task.axes is None:
                batch = rows_or_batch
            elif task.stream is None:
                batch = take(data, task.axes, rows_or_batch)
            else:
                i = state.step % (len(data["xs"]) // task.stream)
                batch, fresh = window(data, task.axes, i * task.stream, task.stream), i == 0
            return train_step(state, spread(batch, task.axes, task.mesh), fresh, guard and guard.scale)

        def guarded(state: TrainState, first_bad: jax.Array, guard: Guard | None, rows_or_batch: Any) -> Any:
            after, values, grads = take_step(state, guard, rows_or_batch)
            norm, cause = values["gradient_norm"], jnp.zeros((), jnp.int32)
            alive, finite = first_bad == 0, jnp.isfinite(values["loss"]) & jnp.isfinite(norm) & all_finite(after.params)
            values = {name: jnp.where(alive, values[name], jnp.nan).astype(number) for name in names}
            moved, still = (s._replace(step=None, key=None) for s in (after, state))
            held = jax.tree.map(lambda a, b: jnp.where(alive & finite, a, b), moved, still)
            ends = ~finite
            if guard is not None:
                loss, learnt = values["loss"], after.params
                cause = jax.lax.cond(finite, lambda: jnp.zeros((), jnp.int32), lambda: cause_of(loss, grads, learnt))
                guard, ends = guard.after(finite, task.on_nonfinite)
                if guard.good is not None:
                    now, stays = (held.params, held.opt_state), finite | ends
                    params, opt_state = jax.tree.map(lambda a, b: jnp.where(stays, a, b), now, guard.good)
                    held = held._replace(params=params, opt_state=opt_state)
            first_bad = jnp.where(alive & ends, after.step, first_bad)
            return held._replace(step=after.step, key=state.key), first_bad, guard, (values, cause)

        def skip(state: TrainState, first_bad: jax.Array, guard: Guard | None, _: Any) -> Any:
            nothing = dict.fromkeys(names, jnp.zeros((), number))  # not read; NaN would set off jax_debug_nans
            return state, first_bad, guard, (nothing, jnp.zeros((), jnp.int32))

        def body(carried: Any, rows_or_batch: Any) -> tuple[Any, Any]:
            state, first_bad, guard = carried
            goes_on = state.step < stop
            if guard is not None:
                goes_on &= first_bad == 0
            *carried, found = jax.lax.cond(goes_on, guarded, skip, state, first_bad, guard, rows_or_batch)
            return tuple(carried), found

        if task.axes is None:
            batches = data
        elif task.stream is not None:
            batches = jnp.arange(length)
        else:
            order = order_of(task, data, state.key, state.step, length) if order is None else order
            batches = jax.lax.dynamic_slice_in_dim(order.rows, state.step - order.step, length)
        if length == 1:  # without a loop, which would slow a short step down
            *carried, found = guarded(state, first_bad, guard, jax.tree.map(lambda x: x[0], batches))
            (state, first_bad, guard), (train, causes) = carried, jax.tree.map(lambda x: x[None], found)
        else:
            (state, first_bad, guard), (train, causes) = jax.lax.scan(body, (state, first_bad, guard), batches)
        params = task.evaluated(state)
        if any(True for _ in batch_norms(task.model)):
            found = statistics(task.model, params, some_rows(task, data, EVALUATION_BATCH, -1))
            params, learnt = (with_statistics(p, found) for p in (params, state.params))
            learnt = jax.tree.map(lambda a, b: jnp.where(first_bad == 0, a, b), learnt, state.params)
            state = state._replace(params=learnt)
        evaluated = None if task.eval_params is None else params
        return Progress(state, best, first_bad, evaluated, guard), Report(train, {}, causes, first_bad)

    return block


def validate(
    task: Task, best: Best | None, progress: Progress, validation: Batch
) -> tuple[Best | None, dict[str, jax.Array]]:
    """Measures the parameters after a block; returns the best ones so far, if they are kept, and the measures."""
    params = progress.state.params if progress.evaluated is None else progress.evaluated
    assert task.validation_axes is not None
    with checks.prefix("validation"):
        found = over_rows(task.model, params, task.loss, task.metrics, validation, task.validation_axes)
    number = jnp.result_type(float)
    values = {name: jnp.where(progress.first_bad == 0, x, jnp.nan).astype(number) for name, x in found.items()}
    if best is None:
        return None, values
    score = values[task.monitor] if task.mode == "min" else -values[task.monitor]
    better, now = jnp.isfinite(score) & (score < best.score), Best(score, progress.state.step, params)
    return jax.tree.map(lambda a, b: jnp.where(better, a, b), now, best), values
