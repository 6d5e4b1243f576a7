"""Limits of the derivative on its way back through time."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks


class Limits(NamedTuple):
    """Limits of dL/dcarry at each step; None: no limit.

    Attributes:
      norm: of each row of the batch, over all parts of the carry.
      value: of each entry; applied first.
    """

    norm: checks.Number | None = None
    value: checks.Number | None = None

    def clip(self, d_carry: list[jax.Array], batch_axes: int) -> list[jax.Array]:
        """Clips dL/dcarry, a list of arrays [*batch_shape, ...]; without batch axes all entries are one row."""
        if self.value is not None:
            d_carry = [_clip(d, self.value) for d in d_carry]
        if self.norm is None or not d_carry:
            return d_carry
        rows = min([batch_axes, *(d.ndim for d in d_carry)])

        def each_row(x: jax.Array, d: jax.Array) -> jax.Array:
            return x.reshape(x.shape + (1,) * (d.ndim - rows))

        # Relative to the largest entry, since squares of large numbers are infinite.
        peaks = [jnp.max(jnp.abs(d), range(rows, d.ndim)) for d in d_carry]
        peak = jax.lax.stop_gradient(functools.reduce(jnp.maximum, peaks))
        peak = jnp.where(peak > 0, peak, jnp.ones_like(peak))
        shares = [d / each_row(peak, d) for d in d_carry]
        squares = [jnp.sum(jnp.square(jnp.abs(s)), range(rows, s.ndim)) for s in shares]
        norm = jnp.sqrt(jnp.maximum(sum(squares[1:], squares[0]), 1.0))  # at least 1, unless all are zero
        limit = _like(self.norm, norm)
        exceeds, scale = peak * norm > limit, limit / norm
        return [
            jnp.where(each_row(exceeds, d), s * each_row(scale, d), d) for s, d in zip(shares, d_carry, strict=True)
        ]


def _clip(d: jax.Array, value: checks.Number) -> jax.Array:
    """Clips entries to this absolute value; complex ones keep their angle."""
    if not jnp.iscomplexobj(d):
        return jnp.clip(d, -_like(value, d), _like(value, d))
    size = jnp.abs(d)
    exceeds = size > _like(value, size)
    return jnp.where(exceeds, d * (_like(value, size) / jnp.where(exceeds, size, jnp.ones_like(size))), d)


def _like(limit: checks.Number, d: jax.Array) -> jax.Array:
    return jnp.asarray(limit, d.dtype)
