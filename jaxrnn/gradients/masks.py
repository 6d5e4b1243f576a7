"""What padding and resets do to one step."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.types import Tree


def select(mask: jax.Array | None, on_true: Tree, on_false: Tree) -> Tree:
    """Row by row where(mask, on_true, on_false), for trees of arrays [*batch_shape, ...]; no mask means all true."""
    if mask is None:
        return on_true
    return jax.tree.map(lambda a, b: jnp.where(_over(mask, a), a, b), on_true, on_false)


def zero_unless(mask: jax.Array | None, tree: Tree) -> Tree:
    """`tree` where the mask holds, zero elsewhere."""
    if mask is None:
        return tree
    return jax.tree.map(lambda a: jnp.where(_over(mask, a), a, jnp.zeros_like(a)), tree)


def enter(carry: Tree, initial: Tree, reset: jax.Array | None) -> Tree:
    """The carry that a step reads: the initial one in the rows where an episode starts."""
    return carry if reset is None else select(reset, initial, carry)


def _over(mask: jax.Array, x: Any) -> jax.Array:
    """A mask [*batch_shape] that broadcasts over the features of x [*batch_shape, ...]."""
    return mask.reshape(mask.shape + (1,) * (jnp.ndim(x) - mask.ndim))
