"""A cell of many hidden units as several cells of some of them each, vmapped."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients.units import has_units
from jaxrnn.heads import gates_in_heads
from jaxrnn.kernels.shared_units import UNITS
from jaxrnn.types import Inputs, Params, Tree

Run = Callable[[GatedCell, Params, Tree, Inputs], tuple[Tree, jax.Array]]


def each_head(run: Run, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, jax.Array]:
    """run(cell, params, carry, inputs) -> (carry, hs), head by head; its equations must not mix units."""
    return _in_parts(run, cell, cell.heads, params, carry, inputs, params["w_h"], None)


def each_share(
    run: Run, shares: int, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs
) -> tuple[Tree, jax.Array]:
    """The same for equal shares of the units of one head, along an axis named `UNITS`.

    Each has w_h [H, G*H/shares], the columns of its own units: what it multiplies has to be gathered from all.
    """
    w_h = _first(gates_in_heads(params["w_h"], shares, cell.H // shares))
    return _in_parts(run, cell, shares, params, carry, inputs, w_h, UNITS)


def _in_parts(
    run: Run, cell: GatedCell, n: int, params: Params, carry: Tree, inputs: Inputs, w_h: jax.Array, name: Any
) -> tuple[Tree, jax.Array]:
    H, steps = cell.H, inputs.steps
    K = H // n

    def last(x: jax.Array) -> jax.Array:
        """[n, ..., K] -> [..., H]."""
        x = jnp.moveaxis(x, 0, -2)
        return x.reshape(*x.shape[:-2], H)

    engine = {name: _first(gates_in_heads(params[name], n, K)) for name in ("w_x", "b", "b_h") if name in params}
    small = dataclasses.replace(cell, H=K, heads=1)
    trees = small, own_params(params), carry, steps.noise, inputs.initial
    leaves, structure = jax.tree.flatten(trees)
    lead = [0, 0, steps.x.ndim - 2, steps.x.ndim - 1, steps.x.ndim - 2]
    units = [has_units(x, H, axes) for tree, axes in zip(trees, lead, strict=True) for x in jax.tree.leaves(tree)]
    split = [_first(x.reshape(*x.shape[:-1], n, K)) for x, of_units in zip(leaves, units, strict=True) if of_units]

    def one(engine: Params, split: list[jax.Array]) -> tuple[Tree, jax.Array]:
        rest = iter(split)
        given = [next(rest) if of_units else x for x, of_units in zip(leaves, units, strict=True)]
        cell, own, carry, noise, initial = structure.unflatten(given)
        return run(cell, engine | own, carry, Inputs(steps._replace(noise=noise), initial))

    final, hs = jax.vmap(one, axis_name=name)(engine | {"w_h": w_h}, split)
    final = jax.tree.map(lambda x, before: last(x) if has_units(before, H, lead[2]) else x[0], final, carry)
    return final, last(hs)


def _first(x: jax.Array) -> jax.Array:
    """[..., n, K] -> [n, ..., K]."""
    return jnp.moveaxis(x, -2, 0)
