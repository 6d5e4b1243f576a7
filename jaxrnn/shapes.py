"""What follows from structure and shapes alone, computed once for all layers that share them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import ShapedArray


def once_by_shapes(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(*trees), called once for trees of the same structure and shapes, with `jax.ShapeDtypeStruct`s for arrays."""

    @functools.lru_cache(maxsize=1024)
    def by_shapes(structure: Any, shapes: tuple[tuple[tuple[int, ...], Any], ...]) -> Any:
        return f(*jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*each) for each in shapes]))

    @functools.wraps(f)
    def run(*trees: Any) -> Any:
        leaves, structure = jax.tree.flatten(trees)
        avals = [jax.typeof(x) if not isinstance(x, jax.ShapeDtypeStruct) else x for x in leaves]
        return by_shapes(structure, tuple((x.shape, x.dtype) for x in avals))

    return run


def array_type(shape: tuple[int, ...], dtype: Any) -> Any:
    """The abstract value of an array, for a primitive's rule."""
    return ShapedArray(shape, dtype)


def placed() -> bool:
    """Whether arrays may be placed on a mesh: abstract values then say where, and JAX's own rules must tell."""
    return not jax.sharding.get_abstract_mesh().empty
