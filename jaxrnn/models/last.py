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
    """The entries of xs [T, *batch_shape, ...] at each row's last valid step; zeros for a row without any."""
    if valid is None:
        return xs[-1]
    at = last_true(valid)[-1]
    return zero_unless(at >= 0, at_steps(xs, jnp.maximum(at, 0)[None])[0])


def last() -> Last:
    """The output at each row's last valid step: [T, *batch_shape, D] -> [*batch_shape, D].

    Zeros for a row of length 0. Models after it in a `chain` get no time axis, lengths, mask or resets.

    Returns:
      A Model without parameters and carry.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> carry, ys = jaxrnn.last().apply({}, jnp.arange(6.0).reshape(3, 2, 1), lengths=[3, 1])
      >>> ys[:, 0].tolist()
      [4.0, 1.0]
    """
    return Last()
