"""Limits of the derivative on its way back through time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Limits(NamedTuple):
    """What dL/dcarry is clipped to at each step; None: not at all.

    Attributes:
      norm: of each row of the batch, over all parts of the carry.
      value: of each entry; comes first.
    """

    norm: Any = None
    value: Any = None

    def clip(self, d_carry: list[jax.Array], batch_axes: int) -> list[jax.Array]:
        """Clips dL/dcarry, a list of arrays [*batch_shape, ...]; without such axes they are one row."""
        if self.value is not None:
            d_carry = [jnp.clip(d, -_like(self.value, d), _like(self.value, d)) for d in d_carry]
        if self.norm is None or not d_carry:
            return d_carry
        rows = min([batch_axes, *(d.ndim for d in d_carry)])
        squares = [jnp.sum(d * d, range(rows, d.ndim)) for d in d_carry]
        square = sum(squares[1:], squares[0])
        limit = _like(self.norm, square)
        scale = jnp.where(square > limit**2, limit * jax.lax.rsqrt(jnp.maximum(square, limit**2)), 1.0)
        return [d * scale.reshape(scale.shape + (1,) * (d.ndim - rows)) for d in d_carry]


def _like(limit: Any, d: jax.Array) -> jax.Array:
    return jnp.asarray(limit, d.dtype)
