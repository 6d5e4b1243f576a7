"""x @ w as a primitive that stays plain matrix products under `jax.vmap`, and so does the gradient of w.

Where a `dot_general` is vmapped over x and then differentiated, the gradient of w contracts two axes: rows and the
mapped one. For that XLA's CPU compiler copies the cotangent, the largest array of a training step, into another layout:
up to a quarter of the step's time. Here the mapped axis is one more axis of rows, and rows are flattened for it.

The columns of the product can be asked for in parts. A part is made by a copy of the columns of w, or of those of the
product, whichever is the smaller array; that is known only once all `vmap`s are done.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxrnn.shapes import array_type, placed

Part = tuple[tuple[int, int], ...]
"""Columns: from the first to before the second, for each pair."""


def product(x: jax.Array, w: jax.Array, dtype: Any) -> jax.Array:
    """x [..., D] @ w [D, K] -> [..., K], accumulated in `dtype`."""
    (out,) = products(x, w, (((0, w.shape[-1]),),), dtype)
    return out


def products(x: jax.Array, w: jax.Array, parts: tuple[Part, ...], dtype: Any) -> list[jax.Array]:
    """The columns of x [..., D] @ w [D, K] in parts, each column in one of them; accumulated in `dtype`."""
    if (
        jax.sharding.get_abstract_mesh().manual_axes
    ):  # in shard_map, where JAX's own rules track what varies over devices
        return _plain(x, w, parts=parts, dtype=dtype)
    return _products.bind(x, w, parts=parts, dtype=dtype)


def columns(x: jax.Array, part: Part) -> jax.Array:
    """Those columns of x [..., K]."""
    pieces = [x[..., start:stop] for start, stop in part]
    if not pieces:
        return x[..., :0]
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, -1)


def _plain(x: jax.Array, w: jax.Array, *, parts: tuple[Part, ...], dtype: Any) -> list[jax.Array]:
    if _rows(x) <= len(w):
        whole = jnp.matmul(x, w, preferred_element_type=dtype)
        return [columns(whole, part) for part in parts]
    return [jnp.matmul(x, columns(w, part), preferred_element_type=dtype) for part in parts]


def _rows(x: jax.Array) -> int:
    return math.prod(x.shape[:-1])


def _flat(x: jax.Array) -> jax.Array:
    """[..., K] to [rows, K], but not where it may be spread over the devices of a mesh: it would be gathered first."""
    return x if placed() else x.reshape(_rows(x), x.shape[-1])


def _abstract(x: Any, w: Any, *, parts: tuple[Part, ...], dtype: Any) -> Any:
    if placed():
        return jax.make_jaxpr(lambda x, w: _plain(x, w, parts=parts, dtype=dtype))(x, w).out_avals
    widths = [sum(stop - start for start, stop in part) for part in parts]
    return [array_type((*x.shape[:-1], width), jnp.dtype(dtype)) for width in widths]


def _batch(args: Any, axes: Any, **params: Any) -> tuple[list[jax.Array], list[int]]:
    (x, w), (x_axis, w_axis) = args, axes
    if w_axis is not None:
        found = jax.vmap(lambda x, w: _plain(x, w, **params), axes)(x, w)
        return found, [0] * len(found)
    if x_axis == x.ndim - 1:
        x, x_axis = jnp.moveaxis(x, x_axis, 0), 0
    found = products(x, w, **params)
    return found, [x_axis] * len(found)


def _jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    (x, w), (d_x, d_w) = primals, tangents
    found = products(x, w, **params)
    terms = [] if type(d_x) is ad.Zero else [products(d_x, w, **params)]
    terms += [] if type(d_w) is ad.Zero else [products(x, d_w, **params)]
    return found, [sum(each[1:], each[0]) for each in zip(*terms, strict=True)]


def _transpose(d_outs: Any, x: Any, w: Any, *, parts: tuple[Part, ...], dtype: Any) -> Any:
    given = [(part, d) for part, d in zip(parts, d_outs, strict=True) if type(d) is not ad.Zero]
    if ad.is_undefined_primal(x):
        terms = [product(d, columns(w, part).T, dtype) for part, d in given]
        return [sum(terms[1:], terms[0]).astype(x.aval.dtype) if terms else None, None]
    D, K = w.aval.shape

    def of_columns(d: jax.Array) -> jax.Array:
        rows, d_rows = _flat(x), _flat(d)
        return jnp.tensordot(rows, d_rows, (list(range(rows.ndim - 1)),) * 2, preferred_element_type=dtype)

    if _rows(x) <= D:  # as in `_plain`: cotangents or gradients are joined, whichever are smaller
        d_w = of_columns(_in_place(given, x.shape[:-1], K, dtype))
    else:
        d_w = _in_place(((part, of_columns(d)) for part, d in given), (D,), K, dtype)
    return [None, d_w.astype(w.aval.dtype)]


def _in_place(given: Iterable[tuple[Part, jax.Array]], rows: tuple[int, ...], K: int, dtype: Any) -> jax.Array:
    """[*rows, K] with the given columns, zero elsewhere."""
    pieces = {}
    for part, x in given:
        at = 0
        for start, stop in part:
            pieces[start, stop] = x[..., at : at + stop - start]
            at += stop - start
    found, at = [], 0
    for start, stop in sorted(pieces):
        found += [jnp.zeros((*rows, start - at), dtype)] * (start > at) + [pieces[start, stop]]
        at = stop
    found += [jnp.zeros((*rows, K - at), dtype)] * (at < K)
    return found[0] if len(found) == 1 else jnp.concatenate(found, -1)


_products = Primitive("rows_product")
_products.multiple_results = True
_products.def_impl(lambda x, w, **params: jax.jit(_plain, static_argnames=("parts", "dtype"))(x, w, **params))
_products.def_abstract_eval(_abstract)
batching.primitive_batchers[_products] = _batch
ad.primitive_jvps[_products] = _jvp
ad.primitive_transposes[_products] = _transpose
mlir.register_lowering(_products, mlir.lower_fun(_plain, multiple_results=True))
