"""A loss that depends on every output."""

import jax
import jax.numpy as jnp

from jaxrnn.float_leaves import floats
from jaxrnn.types import Tree


def random_product(outputs: Tree) -> jax.Array:
    """The inner product of all floating-point outputs with fixed normal numbers."""
    leaves = floats(outputs)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    products = [jnp.vdot(jax.random.normal(k, x.shape, x.dtype), x) for k, x in zip(keys, leaves, strict=True)]
    return sum(products[1:], products[0])
