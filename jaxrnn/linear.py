"""The affine map that all products of the library go through."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.product import Part, columns, products

FLOAT32 = np.dtype(np.float32)
"""The default dtype of parameters."""


def state_dtype(params_dtype: Any) -> Any:
    """The dtype of sums and states that go with parameters of a dtype: float32, or float64 for float64."""
    return jnp.float64 if params_dtype == jnp.float64 else jnp.float32


def affine(x: jax.Array, w: jax.Array, b: jax.Array | None = None, *, dtype: Any = None) -> jax.Array:
    """x @ w + b, over the last axis.

    The gradient of `w` is one plain matrix product over all rows, vmapped or not: see `jaxrnn.product`.

    Args:
      x: [..., D].
      w: [D, K].
      b: [K], or None.
      dtype: the factors are rounded to it (bfloat16, float16); the sum is accumulated in float32 at least.

    Returns:
      [..., K], in the dtype of `w`, float32 at least.
    """
    (out,) = affine_parts(x, w, b, (((0, w.shape[-1]),),), dtype=dtype)
    return out


def affine_parts(
    x: jax.Array, w: jax.Array, b: jax.Array | None, parts: tuple[Part, ...], *, dtype: Any = None
) -> list[jax.Array]:
    """The columns of `affine` in parts, each column in one of them."""
    accumulated = state_dtype(w.dtype)
    factors = w.dtype if dtype is None else dtype
    found = products(x.astype(factors), w.astype(factors), parts, accumulated)
    if b is None:
        return found
    b = b.astype(accumulated)
    return [out + over_rows(columns(b, part), out) for out, part in zip(found, parts, strict=True)]


def over_rows(v: jax.Array, like: jax.Array) -> jax.Array:
    """A vector [K] (or more axes) with the rank of `like` [..., K], so that it broadcasts over rows explicitly."""
    return v.reshape((1,) * (like.ndim - v.ndim) + v.shape)
