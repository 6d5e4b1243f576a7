"""A cell of several heads as several cells of one head, vmapped."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients.units import has_units
from jaxrnn.heads import gates_in_heads
from jaxrnn.types import Inputs, Params, Tree

Run = Callable[[GatedCell, Params, Tree, Inputs], tuple[Tree, jax.Array]]


def each_head(run: Run, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, jax.Array]:
    """run(cell, params, carry, inputs) -> (carry, hs), head by head; its equations must not mix units."""
    n, H, steps = cell.heads, cell.H, inputs.steps
    K = H // n

    def first(x: jax.Array) -> jax.Array:
        """[..., n, K] -> [n, ..., K]."""
        return jnp.moveaxis(x, -2, 0)

    def last(x: jax.Array) -> jax.Array:
        """[n, ..., K] -> [..., H]."""
        x = jnp.moveaxis(x, 0, -2)
        return x.reshape(*x.shape[:-2], H)

    engine = {name: first(gates_in_heads(params[name], n, K)) for name in ("w_x", "b", "b_h") if name in params}
    small = dataclasses.replace(cell, H=K, heads=1)
    trees = small, own_params(params), carry, steps.noise, inputs.initial
    leaves, structure = jax.tree.flatten(trees)
    lead = [0, 0, steps.x.ndim - 2, steps.x.ndim - 1, steps.x.ndim - 2]
    units = [has_units(x, H, axes) for tree, axes in zip(trees, lead, strict=True) for x in jax.tree.leaves(tree)]
    split = [first(x.reshape(*x.shape[:-1], n, K)) for x, of_units in zip(leaves, units, strict=True) if of_units]

    def one(engine: Params, split: list[jax.Array]) -> tuple[Tree, jax.Array]:
        rest = iter(split)
        given = [next(rest) if of_units else x for x, of_units in zip(leaves, units, strict=True)]
        cell, own, carry, noise, initial = structure.unflatten(given)
        return run(cell, engine | own, carry, Inputs(steps._replace(noise=noise), initial))

    final, hs = jax.vmap(one)(engine | {"w_h": params["w_h"]}, split)
    final = jax.tree.map(lambda x, before: last(x) if has_units(before, H, lead[2]) else x[0], final, carry)
    return final, last(hs)
