"""The output at the end of each row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_resets, valid_steps
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Call, Params, Tree, pytree


@pytree
class Last(Stateless):
    """See `last`."""

    @property
    def keeps_time(self) -> bool:
        return False

    @property
    def needs_time(self) -> bool:
        return True

    def run(self, params: Params, carry: Tree, xs: Any, call: Call) -> tuple[Tree, jax.Array]:
        xs = checks.array("xs", xs)
        if xs.ndim < 1 or xs.shape[0] < 1:
            raise ValueError(f"xs: expected an array [T, ...] of at least one time step, got {checks.short(xs)}")
        super().run(params, carry, xs, call._replace(lengths=None, resets=None))
        if call.resets is not None:
            batch_axes = xs.ndim - 2 if call.lengths is None else np.ndim(call.lengths)
            checked_resets(call.resets, xs.shape[0], xs.shape[1 : 1 + batch_axes])
        return (), at_last_step(xs, call.lengths)

    def check(self, xs: jax.Array) -> None:
        pass

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        return xs


def at_last_step(xs: jax.Array, lengths: Any) -> jax.Array:
    """xs [T, *batch_shape, ...] at each row's last step: [*batch_shape, ...]; zeros for a row of length 0."""
    if lengths is None:
        return xs[-1]
    batch_shape = xs.shape[1 : 1 + np.ndim(lengths)]
    valid = valid_steps(lengths, xs.shape[0], batch_shape)
    is_last = valid & ~jnp.concatenate([valid[1:], jnp.zeros_like(valid[:1])])
    is_last = is_last.reshape(is_last.shape + (1,) * (xs.ndim - is_last.ndim))
    return jnp.where(is_last, xs, jnp.zeros_like(xs)).sum(0)


def last() -> Last:
    """The output at each row's last valid step: [T, *batch_shape, D] -> [*batch_shape, D].

    Zeros for a row of length 0. What follows it in a `chain` sees no time axis, lengths or resets any more.

    Returns:
      A Model without parameters and carry.
    """
    return Last()
