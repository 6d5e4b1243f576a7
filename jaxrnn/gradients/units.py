"""Hidden units that are added so that a kernel's arrays have a size that it can have, and taken away again.

An added unit is a copy of the last one that no other unit reads: in its rows w_h is zero, and all else is repeated. So
it is as finite as that unit is, adds nothing to any product, and no derivative comes back from it. That holds where the
equations work unit by unit, as `update` says of itself; some, such as layer normalisation, do not.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.types import Inputs, Params, Tree

_ORDERED = (
    "argmax",
    "argmin",
    "conv_general_dilated",
    "dot_general",
    "fft",
    "gather",
    "rev",
    "scatter",
    "sort",
    "top_k",
)
"""Primitives that keep the last axis and yet mix its entries; so do those that begin with "cum"."""


def with_units(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, H: int) -> tuple[Any, Any, Any, Any]:
    """The same four with H hidden units."""
    added = H - cell.H

    def repeated(x: Any) -> Any:
        x = jnp.asarray(x)
        if not x.ndim or x.shape[-1] != cell.H or jnp.issubdtype(x.dtype, jax.dtypes.extended):
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
    own = {
        name: jax.tree.map(lambda x: tuple(x) if jnp.ndim(x) > 1 else x, p) for name, p in own_params(params).items()
    }
    return params | own


def without_units(tree: Tree, wider: int, H: int) -> Tree:
    """Arrays [..., wider] cut to [..., H]; others as they are."""
    return jax.tree.map(lambda x: x[..., :H] if x.ndim and x.shape[-1] == wider else x, tree)


def mixes_units(jaxpr: Jaxpr, H: int) -> bool:
    """Whether equations on arrays [..., H] read several units for one."""

    def wide(variables: Any) -> list[bool]:
        return [v.aval.ndim > 0 and v.aval.shape[-1] == H for v in variables if hasattr(v.aval, "shape")]

    for equation in jaxpr.eqns:
        name = equation.primitive.name
        inner = [p for p in equation.params.values() if hasattr(p, "eqns") or hasattr(p, "jaxpr")]
        if inner:
            if any(mixes_units(getattr(p, "jaxpr", p), H) for p in inner):
                return True
        elif any(wide(equation.invars)) and (
            not all(wide(equation.outvars)) or name.startswith("cum") or name in _ORDERED
        ):
            return True
    return False
