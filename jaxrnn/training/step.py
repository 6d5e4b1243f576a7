"""One step of training."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.losses import accuracy, f1
from jaxrnn.training.state import Optimizer, TrainState, checked_optimizer
from jaxrnn.types import Batch, Gradient, Loss, Model, Params, Tree
from jaxrnn.validity import reading

Metrics = Mapping[str, Loss]
HIGHER_IS_BETTER = (accuracy, f1)


class TrainStep(Protocol):
    """The function that `make_train_step` makes."""

    def __call__(
        self, state: TrainState, batch: Batch, fresh: jax.Array | bool = False
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Takes one step; `fresh` is for training on streams."""
        ...


def make_train_step(
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    *,
    metrics: Metrics | None = None,
    gradient: Gradient | None = None,
) -> TrainStep:
    """A pure function (state, batch) -> (state, metrics) that takes one step of gradient descent.

    Jit it with the state donated, so that it is updated in place: `jax.jit(train_step, donate_argnums=0)`.

    On streams (a state of `train_state(streams=B)`) each batch continues the one before it: the carry is passed on, and
    the gradient does not go back through it. The function then takes a third argument `fresh`, bool: True where a new
    pass through the stream begins, from the model's initial carry.

    The steps do not update the statistics that a `batch_norm` uses in evaluation: call `jaxrnn.training.calibrate`
    before evaluating.

    Args:
      model: the model.
      loss: (ys, batch) -> scalar.
      optimizer: any optax transformation; to clip, put `optax.clip_by_global_norm` before it in an `optax.chain`.
        Optimizers that read more than the gradient get the value of the loss, the gradient, and the loss of this batch
        as a function of the parameters (`optax.lbfgs`, `optax.contrib.reduce_on_plateau`, ...).
      metrics: further functions (ys, batch) -> scalar, by name.
      gradient: the way to differentiate through time; None for the gradients that the layers were built with.

    Returns:
      The function. Its metrics are "loss", the entries of `metrics`, and "gradient_norm": the norm of the gradient
      before the optimizer, and so before clipping.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> model, optimizer = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1)), optax.adam(1e-2)
      >>> train_step = jaxrnn.training.make_train_step(model, jaxrnn.losses.mean_squared_error, optimizer)
      >>> train_step = jax.jit(train_step, donate_argnums=0)
      >>> state = jaxrnn.training.train_state(model, optimizer, key=jax.random.key(0))
      >>> xs = jax.numpy.ones((5, 4, 1))
      >>> for _ in range(3):
      ...     state, metrics = train_step(state, {"xs": xs, "targets": xs})
      >>> int(state.step), sorted(metrics)
      (3, ['gradient_norm', 'loss'])
    """
    take = stepping(model, loss, optimizer, metrics, gradient)

    def train_step(
        state: TrainState, batch: Batch, fresh: jax.Array | bool = False
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        state, values, _ = take(state, batch, fresh)
        return state, values

    return train_step


def stepping(
    model: Model, loss: Loss, optimizer: Optimizer, metrics: Metrics | None, gradient: Gradient | None
) -> Callable[..., tuple[TrainState, dict[str, jax.Array], Params]]:
    """A function (state, batch, fresh, scale) -> (state, metrics, gradient); `scale` is a factor of the update."""
    optimize = optax.with_extra_args_support(checked_optimizer(optimizer))
    evaluate = objective(model, loss, metrics, gradient)

    def take_step(
        state: TrainState, batch: Batch, fresh: jax.Array | bool = False, scale: jax.Array | None = None
    ) -> tuple[TrainState, dict[str, jax.Array], Params]:
        checks.instance("state", state, TrainState, "make one with jaxrnn.training.train_state")
        key = state.step_key

        def start(params: Params) -> Tree:
            if state.carry is None:
                return None
            initial = model.initial_carry(params, jnp.shape(batch["xs"])[1:2])
            checks.same_tree("state.carry", state.carry, initial)
            return jax.tree.map(lambda a, b: jnp.where(fresh, a, b), initial, state.carry)

        def objective_of(params: Params) -> tuple[jax.Array, tuple[dict[str, jax.Array], Tree]]:
            value, values, carry = evaluate(params, batch, key, start(params))
            return value, (values, carry)

        (value, (values, carry)), grads = jax.value_and_grad(objective_of, has_aux=True)(state.params)
        reads = {"value": value, "grad": grads, "value_fn": lambda params: objective_of(params)[0]}
        updates, opt_state = optimize.update(grads, state.opt_state, state.params, **reads)
        if scale is not None:
            updates = jax.tree.map(lambda u: u * scale.astype(u.dtype), updates)
        params = optax.apply_updates(state.params, updates)
        values["gradient_norm"] = optax.tree.norm(grads)
        carry = None if state.carry is None else carry
        return TrainState(state.step + 1, params, opt_state, state.key, carry), values, grads

    return take_step


def objective(
    model: Model, loss: Loss, metrics: Metrics | None = None, gradient: Gradient | None = None
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array], Tree]]:
    """A function (params, batch, key, carry) -> (loss, {"loss": ..., and the metrics}, carry), arguments checked."""
    measure = measuring(model, loss, metrics)
    if gradient is not None:
        checks.instance("gradient", gradient, Gradient)

    def evaluate(
        params: Params, batch: Batch, key: jax.Array | None, carry: Tree = None
    ) -> tuple[jax.Array, dict[str, jax.Array], Tree]:
        carry, ys = outputs(model, params, batch, carry=carry, key=key, gradient=gradient)
        values = measure(ys, batch)
        return values["loss"], values, carry

    return evaluate


def outputs(model: Model, params: Params, batch: Batch, **options: Any) -> tuple[Tree, Tree]:
    """Returns (carry, ys) of a batch; the batch's entries become options of `Model.apply`."""
    checks.entry("batch", batch, "xs")
    return model.apply(params, model.reads(batch), **reading(batch), **options)


def measuring(
    model: Model, loss: Loss, metrics: Metrics | None = None
) -> Callable[[Tree, Batch], dict[str, jax.Array]]:
    """A function (ys, batch) -> {"loss": ..., and the metrics}, arguments checked."""
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...])")
    measures = {"loss": checked_loss("loss", loss)}
    measures |= {f"metrics[{name!r}]": f for name, f in checks.metrics(metrics).items()}
    for name, f in measures.items():
        checked_loss(name, f)

    def measure(ys: Tree, batch: Batch) -> dict[str, jax.Array]:
        values = [checks.scalar(name, f(ys, batch)) for name, f in measures.items()]
        return dict(zip(("loss", *checks.metrics(metrics)), values, strict=True))

    return measure


def checked_monitor(monitor: str, mode: str | None, metrics: Metrics | None) -> tuple[str, str]:
    """The measure that ranks parameters, and "min" or "max", which None leaves to measures whose direction is known."""
    known = checks.metrics(metrics)
    checks.one_of("monitor", monitor, ("loss", *known))
    measure = inspect.unwrap(known[monitor]) if monitor != "loss" else None
    while isinstance(measure, functools.partial):
        measure = measure.func
    if mode is None and (measure is None or measure in HIGHER_IS_BETTER):
        return monitor, "max" if measure in HIGHER_IS_BETTER else "min"
    if mode is None:
        raise ValueError(f'mode: expected "min" or "max" with monitor={monitor!r}, got None')
    checks.one_of("mode", mode, ("min", "max"))
    return monitor, mode


def checked_loss(name: str, loss: Loss) -> Loss:
    """A function of outputs and a batch, which gets them time first."""
    checks.function(name, loss, "ys", "batch")
    partial = inspect.unwrap(loss)
    if isinstance(partial, functools.partial) and partial.keywords.get("time_major") is False:
        raise ValueError(
            f"{name}: expected a function of outputs with time first, which is what it gets whatever the data were, "
            "got one with time_major=False"
        )
    return loss
