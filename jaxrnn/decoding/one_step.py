"""A model, step by step: what all decoding loops are made of."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.models.bidirectional import reads_backward
from jaxrnn.types import Model, Params, Tree


def checked_model(model: Any) -> Model:
    """A model that can go on from step to step.

    Raises:
      ValueError, TypeError: it is no model, reads backward, or has no output at each step.
    """
    checks.instance("model", model, Model, "put cells into jr.stack([cell, ...])")
    if reads_backward(model):
        raise ValueError(f"model: expected one that reads forward, whose end need not be known, got {model!r}")
    if not model.keeps_time:
        raise ValueError(f"model: expected one with an output at each step, got {model!r}, which ends in last")
    return model


def one_step(model: Model, params: Params, carry: Tree, x: jax.Array) -> tuple[Tree, Any]:
    """Reads x[t] [*batch_shape, ...]: (carry, y[t])."""
    carry, ys = model.apply(params, x[None], carry=carry)
    return carry, ys[0]


def checked_prompt(xs: Any) -> jax.Array:
    """Symbols [T, *batch_shape], of which there is at least one."""
    xs = checks.array("xs", xs)
    if xs.ndim < 1 or xs.shape[0] < 1:
        raise ValueError(f"xs: expected an array [T, ...] of at least one symbol, got {checks.short(xs)}")
    if not jnp.issubdtype(xs.dtype, jnp.integer):
        raise TypeError(f"xs: expected integer symbols, got {checks.short(xs)}")
    return xs


def before_last(model: Model, params: Params, carry: Tree, xs: jax.Array) -> Tree:
    """The state before the last of the symbols xs [T, *batch_shape] is read; `carry` is that before the first."""
    if xs.shape[0] > 1:
        return model.apply(params, xs[:-1], carry=carry)[0]
    return model.initial_carry(params, xs.shape[1:]) if carry is None else carry
