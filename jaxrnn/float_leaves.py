"""The leaves of a tree that have a derivative: not integers, booleans or random keys."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.types import Tree


def floats(tree: Tree) -> list[Any]:
    """The floating-point (or complex) leaves."""
    return [x for x in jax.tree.leaves(tree) if _inexact(x)]


def paths(tree: Tree) -> list[str]:
    """The path of each floating-point leaf, such as "params/w_x", in the order of `floats`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, x in leaves if _inexact(x)]


def with_floats(tree: Tree, values: list[Any]) -> Tree:
    """The tree with its floating-point leaves replaced, in the order of `floats`."""
    rest = iter(values)
    return jax.tree.map(lambda x: next(rest) if _inexact(x) else x, tree)


def on_floats(f: Callable[..., Tree], *trees: Tree) -> tuple[Callable[..., list[Any]], list[list[Any]]]:
    """(f(first, *trees) as a function of its first argument and of the trees' floating-point leaves, those leaves).

    Its results are floating-point leaves, too.
    """

    def run(first: Any, *values: list[Any]) -> list[Any]:
        return floats(f(first, *map(with_floats, trees, values)))

    return run, [floats(tree) for tree in trees]


def cotangent(tree: Tree, values: list[Any]) -> Tree:
    """The cotangent of a tree, as a custom rule returns it: `values` at its floating-point leaves, None elsewhere."""
    rest = iter(values)
    return jax.tree.map(lambda x: next(rest) if _inexact(x) else None, tree)


def _inexact(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    return jnp.issubdtype(jnp.result_type(x) if dtype is None else dtype, jnp.inexact)
