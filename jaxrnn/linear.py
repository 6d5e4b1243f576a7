"""The affine map that all products of the library go through."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.primitives.matmul import matmul

FLOAT32 = np.dtype(np.float32)
"""The default dtype of parameters."""


def state_dtype(params_dtype: checks.DTypeLike) -> checks.DTypeLike:
    """The dtype of sums and states for parameters of a dtype: float32, or float64 for float64."""
    return jnp.float64 if params_dtype == jnp.float64 else jnp.float32


def affine(
    x: jax.Array, w: jax.Array, b: jax.Array | None = None, *, dtype: checks.DTypeLike | None = None
) -> jax.Array:
    """x @ w + b, over the last axis.

    The gradient of `w` is one plain matrix product over all rows, vmapped or not: see `jaxrnn.primitives.matmul`.

    Args:
      x: [..., D].
      w: [D, K].
      b: [K], or None.
      dtype: the factors are rounded to it (bfloat16, float16); the sum is accumulated in float32 at least.

    Returns:
      [..., K], in the dtype of `w`, float32 at least.
    """
    accumulated = state_dtype(w.dtype)
    factors = w.dtype if dtype is None else dtype
    out = matmul(x.astype(factors), w.astype(factors), accumulated)
    return out if b is None else out + over_rows(b.astype(accumulated), out)


def in_dtype(tree: Any, dtype: checks.DTypeLike) -> Any:
    """The tree with its floating-point arrays in a dtype; Python numbers stay, as they adapt to any dtype."""

    def cast(x: Any) -> Any:
        known = getattr(x, "dtype", None)
        return jnp.asarray(x).astype(dtype) if known is not None and jnp.issubdtype(known, jnp.floating) else x

    return jax.tree.map(cast, tree)


def over_rows(v: jax.Array, like: jax.Array) -> jax.Array:
    """A vector [K] (or more axes) with the rank of `like` [..., K], so that it broadcasts over rows explicitly."""
    return v.reshape((1,) * (like.ndim - v.ndim) + v.shape)
