"""The mean of each row's steps."""

import jax
import jax.numpy as jnp

from jaxrnn.arguments import at_least_float32
from jaxrnn.masks import zero_unless
from jaxrnn.models.pooling import Pooling
from jaxrnn.types import pytree


@pytree
class MeanOverTime(Pooling):
    """See `mean_over_time`."""

    def pooled(self, xs: jax.Array, valid: jax.Array | None) -> jax.Array:
        if not jnp.issubdtype(xs.dtype, jnp.inexact):
            xs = xs.astype(jnp.result_type(float))
        if valid is None:
            return xs.mean(0)
        total = at_least_float32(zero_unless(valid, xs)).sum(0)
        steps = jnp.maximum(valid.sum(0), 1).astype(total.dtype)
        return (total / steps.reshape(steps.shape + (1,) * (total.ndim - steps.ndim))).astype(xs.dtype)


def mean_over_time() -> MeanOverTime:
    """The mean over each row's valid steps, y = sum_t x[t] / length: [T, *batch_shape, D] -> [*batch_shape, D].

    Zeros for a row of length 0. Models after it in a `chain` get no time axis, lengths, mask or resets.

    Returns:
      A Model without parameters and carry.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> carry, ys = jaxrnn.mean_over_time().apply({}, jnp.arange(6.0).reshape(3, 2, 1), lengths=[3, 1])
      >>> ys[:, 0].tolist()
      [2.0, 1.0]
    """
    return MeanOverTime()
