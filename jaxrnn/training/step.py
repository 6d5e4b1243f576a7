"""One step of training."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.training.state import TrainState
from jaxrnn.types import Gradient, Model

Batch = dict[str, Any]
Loss = Callable[[Any, Batch], jax.Array]
Metrics = Mapping[str, Loss]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


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

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        checks.instance("state", state, TrainState, "make one with jr.train_state")
        key = jax.random.fold_in(state.key, state.step)
        (_, values), grads = jax.value_and_grad(evaluate, has_aux=True)(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        values["gradient_norm"] = optax.tree.norm(grads)
        return TrainState(state.step + 1, params, opt_state, state.key), values

    return train_step


def objective(
    model: Model, loss: Loss, metrics: Metrics | None = None, gradient: Gradient | None = None
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
    """A function (params, batch, key) -> (loss, {"loss": ..., and the metrics}); its arguments are checked."""
    checks.instance("model", model, Model, "put cells into jr.stack([cell, ...])")
    checks.callable_("loss", loss)
    metrics = checks.metrics(metrics)
    if gradient is not None:
        checks.instance("gradient", gradient, Gradient)

    def evaluate(params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, dict[str, jax.Array]]:
        if not isinstance(batch, dict) or "xs" not in batch:
            raise ValueError(f'batch: expected a dict with the entry "xs", got {checks.short(batch)}')
        options = {name: batch.get(name) for name in ("lengths", "resets")}
        _, ys = model.apply(params, batch["xs"], key=key, gradient=gradient, **options)
        values = {"loss": _scalar("loss", loss(ys, batch))}
        values |= {name: _scalar(f"metrics[{name!r}]", f(ys, batch)) for name, f in metrics.items()}
        return values["loss"], values

    return evaluate


def _scalar(name: str, value: Any) -> jax.Array:
    value = checks.array(name, value)
    if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name}: expected a function that returns a floating-point scalar, got {checks.short(value)}")
    return value
