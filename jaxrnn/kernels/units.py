"""A gated cell in the sizes that a kernel can have: each head by itself, its units padded to a power of two.

An added unit is a copy of the last one, and no other unit reads it: its rows of w_h are zero, all other arrays are
repeated. So it adds nothing to any product, as long as that unit is finite, and no derivative comes back from it. This
holds where the equations work unit by unit.
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.cells.gated import GatedCell, own_params
from jaxrnn.types import Inputs, Params, Tree, leaf, pytree

FEWEST_UNITS = 16
"""The fewest units of a product in a Triton kernel; sizes are powers of two."""
Run = Callable[[GatedCell, Params, Tree, Inputs], tuple[Tree, jax.Array]]


def units(cell: GatedCell) -> int:
    """The number of hidden units that a kernel has for one head."""
    return max(FEWEST_UNITS, 1 << (cell.H // cell.heads - 1).bit_length())


def is_divided(cell: GatedCell) -> bool:
    """Tells whether the kernel's units differ from the cell's."""
    return cell.heads > 1 or units(cell) != cell.H


def has_units(x: Any, H: int, lead: int = 0) -> bool:
    """Tells whether an array is [..., H] of numbers, with at least `lead` axes before the units."""
    shape = jnp.shape(x)
    return len(shape) > lead and shape[-1] == H and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def each_head(run: Run, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, jax.Array]:
    """Calls run(cell, params, carry, inputs) -> (carry, hs) for each head."""
    params = unstacked(params)
    if not is_divided(cell):
        return run(cell, params, carry, inputs)
    G, H, n, wide, steps = cell.G, cell.H, cell.heads, units(cell), inputs.steps
    K = H // n

    def divided(x: jax.Array) -> jax.Array:
        """[..., H] -> [n, ..., wide]."""
        return jnp.moveaxis(_longer(x.reshape(*x.shape[:-1], n, K), wide - K, mode="edge"), -2, 0)

    def gates(x: jax.Array) -> jax.Array:
        """[..., G*H] -> [n, ..., G*wide]."""
        x = divided(x.reshape(*x.shape[:-1], G, H))
        return x.reshape(*x.shape[:-2], G * wide)

    def whole(x: jax.Array) -> jax.Array:
        """[n, ..., wide] -> [..., H]."""
        x = jnp.moveaxis(x[..., :K], 0, -2)
        return x.reshape(*x.shape[:-2], H)

    engine = {name: gates(params[name]) for name in ("w_x", "b", "b_h") if name in params}
    w_h = _longer(params["w_h"].reshape(n, K, G, K), wide - K, mode="edge").reshape(n, K, G * wide)
    engine["w_h"] = jnp.swapaxes(_longer(jnp.swapaxes(w_h, 1, 2), wide - K), 1, 2)
    trees = dataclasses.replace(cell, H=wide, heads=1), own_params(params), carry, steps.noise, inputs.initial
    leaves, structure = jax.tree.flatten(trees)
    lead = steps.x.ndim - 2
    leads = [n for tree, n in zip(trees, (0, 0, lead, lead + 1, lead), strict=True) for _ in jax.tree.leaves(tree)]
    of_units = [has_units(x, H, n) for x, n in zip(leaves, leads, strict=True)]

    def one(engine: Params, split: list[jax.Array]) -> tuple[Tree, jax.Array]:
        rest = iter(split)
        given = [next(rest) if split_ else x for x, split_ in zip(leaves, of_units, strict=True)]
        cell, own, carry, noise, initial = structure.unflatten(given)
        return run(cell, engine | own, carry, Inputs(steps._replace(noise=noise), initial))

    final, hs = jax.vmap(one)(engine, [divided(x) for x, split in zip(leaves, of_units, strict=True) if split])
    return jax.tree.map(lambda x, before: whole(x) if has_units(before, H, lead) else x[0], final, carry), whole(hs)


def _longer(x: jax.Array, added: int, **options: Any) -> jax.Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, added)], **options)


@pytree
class Rows:
    """An array [n, ...] that gives out only its rows, since a kernel can't cut an array that it has loaded."""

    rows: tuple[Any, ...] = leaf()

    def __getitem__(self, i: int) -> Any:
        return self.rows[operator.index(i)]

    def __len__(self) -> int:
        return len(self.rows)


def unstacked(params: Params) -> Params:
    """A cell's own parameters [n, H] as `Rows`."""
    return params | jax.tree.map(lambda x: Rows(tuple(x)) if jnp.ndim(x) > 1 else x, own_params(params))
