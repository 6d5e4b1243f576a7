"""Hidden units that are added so that a kernel's arrays have a size that it can have, and taken away again.

An added unit is a copy of the last one that no other unit reads: in its rows w_h is zero, and all else is repeated. So
it adds nothing to any product, as long as that unit is finite, and no derivative comes back from it. That holds where
the equations work unit by unit, as `update` says of itself; some, such as layer normalisation, do not.
"""

import dataclasses
import operator
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.types import Inputs, Params, Tree


def has_units(x: Any, H: int, lead: int = 0) -> bool:
    """Whether this is an array [..., H] of numbers, behind so many axes of other things."""
    shape = jnp.shape(x)
    return len(shape) > lead and shape[-1] == H and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def with_units(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, H: int) -> tuple[Any, Any, Any, Any]:
    """The same four with H hidden units."""
    added, batch_axes = H - cell.H, inputs.steps.x.ndim - 2

    def repeated(x: Any, lead: int = 0) -> Any:
        if not has_units(x, cell.H, lead):
            return x
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, added)], mode="edge")

    def gates(x: jax.Array) -> jax.Array:
        """[..., G*H]."""
        return repeated(x.reshape(*x.shape[:-1], cell.G, cell.H)).reshape(*x.shape[:-1], cell.G * H)

    engine = {name: gates(params[name]) for name in ("w_x", "w_h", "b", "b_h") if name in params}
    engine["w_h"] = jnp.pad(engine["w_h"], [(0, added), (0, 0)])
    wider = dataclasses.replace(jax.tree.map(repeated, cell), H=H)

    def rows(tree: Tree, time: int) -> Tree:
        return jax.tree.map(lambda x: repeated(x, time + batch_axes), tree)

    inputs = Inputs(inputs.steps._replace(noise=rows(inputs.steps.noise, 1)), rows(inputs.initial, 0))
    return wider, engine | jax.tree.map(repeated, own_params(params)), rows(carry, 0), inputs


@jax.tree_util.register_pytree_node_class
class Rows:
    """An array [n, ...] of which nothing can be had but its rows: a kernel can't cut one that it has loaded."""

    def __init__(self, rows: Any):
        self._rows = tuple(rows)

    def __getitem__(self, i: int) -> Any:
        return self._rows[operator.index(i)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return self._rows, None

    @classmethod
    def tree_unflatten(cls, _: None, rows: Any) -> "Rows":
        return cls(rows)


def unstacked(params: Params) -> Params:
    """A cell's own parameters [n, H] as `Rows`."""
    own = own_params(params)
    return params | jax.tree.map(lambda x: Rows(x) if jnp.ndim(x) > 1 else x, own)


def without_units(carry: Tree, like: Tree, H: int, batch_axes: int) -> Tree:
    """A carry with the units that it had before, `like` this one."""
    return jax.tree.map(lambda x, before: x[..., :H] if has_units(before, H, batch_axes) else x, carry, like)
