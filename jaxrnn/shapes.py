"""Results that depend on structure and shapes alone, computed once for all layers that share them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def once_by_shapes(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(*trees), called once for trees of the same structure and shapes, with `jax.ShapeDtypeStruct`s for arrays."""

    @functools.lru_cache(maxsize=256)
    def by_shapes(structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...], default: Any) -> Any:
        del default  # only a part of the cache's key
        return f(*jax.tree.unflatten(structure, leaves))

    @functools.wraps(f)
    def run(*trees: Any) -> Any:
        leaves, structure = jax.tree.flatten(trees)
        return by_shapes(structure, tuple(map(_shape, leaves)), jnp.result_type(float))

    return run


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    x = x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=x.weak_type)
