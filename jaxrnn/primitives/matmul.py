"""x @ w as a primitive that stays a plain matrix product under `jax.vmap`, as does the gradient of w.

Where a `dot_general` is vmapped over x and then differentiated, the gradient of w contracts two axes: rows and the
mapped one. For such a contraction XLA's CPU compiler copies the cotangent, the largest array of a training step, into
another layout: up to a quarter of the step's time. Here the mapped axis becomes another axis of rows, and rows are
flattened.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.primitives import primitive


def matmul(x: jax.Array, w: jax.Array, dtype: Any) -> jax.Array:
    """x [..., D] @ w [D, K] -> [..., K], accumulated in `dtype`."""
    (out,) = _matmul(x, w, dtype=dtype)
    return out


def _program(x: jax.Array, w: jax.Array, *, dtype: Any) -> list[jax.Array]:
    return [jnp.matmul(x, w, preferred_element_type=dtype)]


def _shapes(x: Any, w: Any, *, dtype: Any) -> Any:
    return [((*x.shape[:-1], w.shape[-1]), jnp.dtype(dtype))]


def _batch(operands: Any, axes: Any, *, dtype: Any) -> tuple[list[jax.Array], list[int]]:
    (x, w), (x_axis, w_axis) = operands, axes
    if w_axis is not None:
        return jax.vmap(lambda x, w: _program(x, w, dtype=dtype), axes)(x, w), [0]
    if x_axis == x.ndim - 1:
        x, x_axis = jnp.moveaxis(x, x_axis, 0), 0
    return _matmul(x, w, dtype=dtype), [x_axis]


def _jvp(primals: Any, tangents: Any, *, dtype: Any) -> Any:
    (x, w), (d_x, d_w) = primals, tangents
    terms = [] if primitive.is_zero(d_x) else [matmul(d_x, w, dtype)]
    terms += [] if primitive.is_zero(d_w) else [matmul(x, d_w, dtype)]
    return _matmul(x, w, dtype=dtype), [sum(terms[1:], terms[0])]


def _transpose(d_outs: Any, x: Any, w: Any, *, dtype: Any) -> Any:
    (d_out,) = d_outs
    if primitive.is_unknown(x):
        return [None if primitive.is_zero(d_out) else matmul(d_out, w.T, dtype).astype(x.aval.dtype), None]
    if primitive.is_zero(d_out):
        return [None, None]
    rows, d_rows = _flat(x), _flat(d_out)
    d_w = jnp.tensordot(rows, d_rows, (list(range(rows.ndim - 1)),) * 2, preferred_element_type=dtype)
    return [None, d_w.astype(w.aval.dtype)]


def _flat(x: jax.Array) -> jax.Array:
    """Flattens [..., K] to [rows, K], except on a mesh, where a sharded array would be gathered first."""
    if not jax.sharding.get_abstract_mesh().empty:
        return x
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


_matmul = primitive.new("matmul", _program, shapes=_shapes, batch=_batch, jvp=_jvp, transpose=_transpose)
