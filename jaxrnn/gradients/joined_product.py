"""concatenate(pieces) @ w as a primitive that joins the pieces only where one product is faster than several.

XLA's CPU compiler computes pieces of fewer than 64 numbers a row again inside the concatenation, and once more for
whoever else reads them: a quarter of the time of a sweep over small networks. Where each member of a `jax.vmap` has
weights of its own, a product for each piece costs no more than one for all.
"""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxrnn.linear import state_dtype
from jaxrnn.product import product
from jaxrnn.shapes import array_type, placed


def joined_product(pieces: Sequence[jax.Array], w: jax.Array, *, dtype: Any = None) -> jax.Array:
    """`affine` of pieces [..., K1], [..., K2], ..., side by side, and w [K1 + K2 + ..., H] -> [..., H]."""
    factors = w.dtype if dtype is None else dtype
    operands = [x.astype(factors) for x in (*pieces, w)]
    bind = _together if jax.sharding.get_abstract_mesh().manual_axes else _joined.bind  # as in `jaxrnn.product`
    return bind(*operands, dtype=state_dtype(w.dtype))


def _together(*operands: jax.Array, dtype: Any) -> jax.Array:
    *pieces, w = operands
    return product(jnp.concatenate(pieces, -1), w, dtype)


def _apart(*operands: jax.Array, dtype: Any) -> jax.Array:
    *pieces, w = operands
    stops = [sum(x.shape[-1] for x in pieces[: i + 1]) for i in range(len(pieces))]
    terms = [product(x, w[stop - x.shape[-1] : stop], dtype) for x, stop in zip(pieces, stops, strict=True)]
    return functools.reduce(operator.add, terms)


def _abstract(*operands: Any, dtype: Any) -> Any:
    if placed():
        return jax.make_jaxpr(functools.partial(_together, dtype=dtype))(*operands).out_avals[0]
    return array_type((*operands[0].shape[:-1], operands[-1].shape[-1]), jnp.dtype(dtype))


def _batch(operands: Any, axes: Any, **params: Any) -> tuple[jax.Array, int]:
    *pieces, w = operands
    if axes[-1] is not None:
        return jax.vmap(functools.partial(_apart, **params), axes)(*operands), 0
    size = next(x.shape[axis] for x, axis in zip(pieces, axes, strict=False) if axis is not None)
    moved = [batching.bdim_at_front(x, axis, size) for x, axis in zip(pieces, axes, strict=False)]
    return _joined.bind(*moved, w, **params), 0


def _jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    return jax.jvp(functools.partial(_together, **params), tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))


_joined = Primitive("joined_product")
_joined.def_impl(lambda *operands, dtype: jax.jit(_together, static_argnames="dtype")(*operands, dtype=dtype))
_joined.def_abstract_eval(_abstract)
batching.primitive_batchers[_joined] = _batch
ad.primitive_jvps[_joined] = _jvp
mlir.register_lowering(_joined, mlir.lower_fun(_together, multiple_results=False))
