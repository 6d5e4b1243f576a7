"""Hidden units that are added so that a kernel's arrays have a size that it can have, and taken away again.

An added unit is a copy of the last one that no other unit reads: in its rows w_h is zero, and all else is repeated. So
it is as finite as that unit is, adds nothing to any product, and no derivative comes back from it. That holds where the
equations work unit by unit, as `update` says of itself; some, such as layer normalisation, do not.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.types import Inputs, Params, Tree


def has_units(x: Any, H: int) -> bool:
    """Whether this is an array [..., H] of numbers."""
    return jnp.shape(x)[-1:] == (H,) and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def with_units(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, H: int) -> tuple[Any, Any, Any, Any]:
    """The same four with H hidden units."""
    added = H - cell.H

    def repeated(x: Any) -> Any:
        if not has_units(x, cell.H):
            return x
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, added)], mode="edge")

    def gates(x: jax.Array) -> jax.Array:
        """[..., G*H]."""
        return repeated(x.reshape(*x.shape[:-1], cell.G, cell.H)).reshape(*x.shape[:-1], cell.G * H)

    engine = {name: gates(params[name]) for name in ("w_x", "w_h", "b", "b_h") if name in params}
    engine["w_h"] = jnp.pad(engine["w_h"], [(0, added), (0, 0)])
    wider = dataclasses.replace(jax.tree.map(repeated, cell), H=H)
    steps = inputs.steps._replace(noise=jax.tree.map(repeated, inputs.steps.noise))
    inputs = Inputs(steps, jax.tree.map(repeated, inputs.initial))
    return wider, engine | jax.tree.map(repeated, own_params(params)), jax.tree.map(repeated, carry), inputs


def unstacked(params: Params) -> Params:
    """A cell's own parameters [n, H] as n arrays [H]: a kernel can't take rows out of an array that it has loaded."""
    own = own_params(params)
    return params | jax.tree.map(lambda x: tuple(x) if jnp.ndim(x) > 1 else x, own)


def without_units(carry: Tree, like: Tree, H: int) -> Tree:
    """A carry with the units that it had before, `like` this one."""
    return jax.tree.map(lambda x, before: x[..., :H] if has_units(before, H) else x, carry, like)
