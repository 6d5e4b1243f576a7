"""Counts, means and variances, of one batch and of several."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.linear import over_rows, state_dtype
from jaxrnn.masks import zero_unless


class Moments(NamedTuple):
    """Moments of some values of D features: their number (a scalar), their mean and their variance, [D] each.

    The variance is the mean squared distance from the mean. Without values both are zero.
    """

    size: jax.Array
    mean: jax.Array
    variance: jax.Array


def moments(xs: jax.Array, valid: jax.Array | None = None) -> Moments:
    """The moments of xs [..., D] over all axes except the last, in float32 at least.

    Args:
      xs: [..., D], zero where it is not valid.
      valid: bool [...]: the values that count; None: all.
    """
    xs = xs.astype(state_dtype(xs.dtype))
    rows = tuple(range(xs.ndim - 1))
    size = jnp.asarray(xs[..., 0].size if valid is None else valid.sum(), xs.dtype)
    at_least_1 = jnp.maximum(size, 1.0)
    mean = xs.sum(rows) / at_least_1
    apart = zero_unless(valid, xs - over_rows(mean, xs))
    return Moments(size, mean, jnp.square(apart).sum(rows) / at_least_1)


def merged(a: Moments, b: Moments) -> Moments:
    """The moments of the values of both.

    References:
      Chan et al. 1983, Algorithms for computing the sample variance, The American Statistician 37(3).
    """
    size = a.size + b.size
    share = b.size / jnp.maximum(size, 1.0)
    apart = b.mean - a.mean
    mean = a.mean + share * apart
    variance = (1.0 - share) * a.variance + share * b.variance + share * (1.0 - share) * jnp.square(apart)
    return Moments(size, mean, variance)
