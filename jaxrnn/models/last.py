"""The output at the end of each row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.arguments import valid_steps
from jaxrnn.models.pooling import Pooling
from jaxrnn.types import pytree


@pytree
class Last(Pooling):
    """See `last`."""

    def pooled(self, xs: jax.Array, lengths: Any) -> jax.Array:
        return at_last_step(xs, lengths)


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
