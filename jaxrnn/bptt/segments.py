"""Reading and writing blocks of time inside a loop."""

import functools

import jax
import jax.numpy as jnp

from jaxrnn.primitives.primitive import varying_alike
from jaxrnn.types import Tree


def room(y: Tree, T: int, like: Tree) -> Tree:
    """Zeros [T, ...] for the outputs y of T steps, on the devices that `like` is on."""
    zeros = jax.tree.map(lambda y: jnp.zeros((T, *y.shape), y.dtype), y)
    return varying_alike((zeros, like))[0]


def take(arrays: Tree, start: int | jax.Array, count: int) -> Tree:
    """Entries start ... start+count-1 of arrays [T, ...]."""
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, count, 0), arrays)


def put(arrays: Tree, block: Tree, start: int | jax.Array) -> Tree:
    """Writes a block over the entries of arrays [T, ...] from `start` on.

    The derivative of the whole array is passed on as it is, without a copy that has zeros in the block's place, so a
    loop over blocks keeps one array. The overwritten entries must therefore be constant, or have no derivative.
    """
    return _put(len(jax.tree.leaves(block)[0]), arrays, block, start)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _put(count: int, arrays: Tree, block: Tree, start: int | jax.Array) -> Tree:
    del count
    return jax.tree.map(lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, start, 0), arrays, block)


def _forward(count: int, arrays: Tree, block: Tree, start: int | jax.Array) -> tuple[Tree, Tree]:
    return _put(count, arrays, block, start), start


def _backward(count: int, start: int | jax.Array, d_arrays: Tree) -> tuple[Tree, Tree, None]:
    return d_arrays, take(d_arrays, start, count), None


_put.defvjp(_forward, _backward)
