"""The output at the end of each row."""

import jax
import jax.numpy as jnp

from jaxrnn.masks import zero_unless
from jaxrnn.models.pooling import Pooling
from jaxrnn.types import pytree
from jaxrnn.validity import at_steps, last_true


@pytree
class Last(Pooling):
    """See `last`."""

    def pooled(self, xs: jax.Array, valid: jax.Array | None) -> jax.Array:
        return at_last_step(xs, valid)


def at_last_step(xs: jax.Array, valid: jax.Array | None) -> jax.Array:
    """xs [T, *batch_shape, ...] at each row's last valid step: [*batch_shape, ...]; zeros for a row without any."""
    if valid is None:
        return xs[-1]
    at = last_true(valid)[-1]
    return zero_unless(at >= 0, at_steps(xs, jnp.maximum(at, 0)[None])[0])


def last() -> Last:
    """The output at each row's last valid step: [T, *batch_shape, D] -> [*batch_shape, D].

    Zeros for a row of length 0. What follows it in a `chain` sees no time axis, lengths, mask or resets any more.

    Returns:
      A Model without parameters and carry.
    """
    return Last()
