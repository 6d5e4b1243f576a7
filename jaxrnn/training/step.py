"""One step of training."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.training.state import TrainState
from jaxrnn.types import Gradient, Model, Params, Tree

Batch = dict[str, Any]
Loss = Callable[[Any, Batch], jax.Array]
Metrics = Mapping[str, Loss]
TrainStep = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(
    model: Model,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    metrics: Metrics | None = None,
    gradient: Gradient | None = None,
) -> TrainStep:
    """A pure function (state, batch) -> (state, metrics) that takes one step of gradient descent.

    Jit it with the state donated, so that it is updated in place: `jax.jit(train_step, donate_argnums=0)`.

    On streams (a state of `train_state(streams=B)`) each batch goes on where the one before it ended: the carry is
    handed over, and no gradient goes back through it. The function then takes a third argument `fresh`, bool: True
    where a new pass through the stream begins, from the model's initial carry.

    The steps leave the statistics that a `batch_norm` uses in evaluation as they are: call `jaxrnn.training.calibrate`
    before that.

    Args:
      model: the model.
      loss: (ys, batch) -> scalar.
      optimizer: any optax transformation; clip by putting `optax.clip_by_global_norm` before it in an `optax.chain`.
      metrics: further functions (ys, batch) -> scalar, by name.
      gradient: how to differentiate through time; None for what the layers were built with.

    Returns:
      The function. Its metrics are "loss", those of `metrics`, and "gradient_norm": the norm of the gradient before the
      optimizer, and so before clipping.

    Raises:
      ValueError, TypeError: an argument does not fit, and which.
    """
    checks.instance("optimizer", optimizer, optax.GradientTransformation, "such as optax.adam(1e-3)")
    evaluate = objective(model, loss, metrics, gradient)

    def train_step(
        state: TrainState, batch: Batch, fresh: jax.Array | bool = False
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        checks.instance("state", state, TrainState, "make one with jaxrnn.training.train_state")
        key = jax.random.fold_in(state.key, state.step)

        def start(params: Params) -> Tree:
            if state.carry is None:
                return None
            initial = model.initial_carry(params, jnp.shape(batch["xs"])[1:2])
            checks.same_tree("state.carry", state.carry, initial)
            return jax.tree.map(lambda a, b: jnp.where(fresh, a, b), initial, state.carry)

        def objective_of(params: Params) -> tuple[jax.Array, tuple[dict[str, jax.Array], Tree]]:
            value, values, carry = evaluate(params, batch, key, start(params))
            return value, (values, carry)

        (_, (values, carry)), grads = jax.value_and_grad(objective_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        values["gradient_norm"] = optax.tree.norm(grads)
        carry = None if state.carry is None else carry
        return TrainState(state.step + 1, params, opt_state, state.key, carry), values

    return train_step


def objective(
    model: Model, loss: Loss, metrics: Metrics | None = None, gradient: Gradient | None = None
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array], Tree]]:
    """A function (params, batch, key, carry) -> (loss, {"loss": ..., and the metrics}, carry), arguments checked."""
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...])")
    checks.callable_("loss", loss)
    metrics = checks.metrics(metrics)
    if gradient is not None:
        checks.instance("gradient", gradient, Gradient)

    def evaluate(
        params: Any, batch: Batch, key: jax.Array | None, carry: Tree = None
    ) -> tuple[jax.Array, dict[str, jax.Array], Tree]:
        checks.entry("batch", batch, "xs")
        options = {name: batch.get(name) for name in ("lengths", "resets")}
        carry, ys = model.apply(params, model.reads(batch), carry=carry, key=key, gradient=gradient, **options)
        values = {"loss": checks.scalar("loss", loss(ys, batch))}
        values |= {name: checks.scalar(f"metrics[{name!r}]", f(ys, batch)) for name, f in metrics.items()}
        return values["loss"], values, carry

    return evaluate
