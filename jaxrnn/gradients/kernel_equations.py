"""Which equations a kernel can run: of single rows, which do not see each other, and of as many units as it has."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients.element_wise import arithmetic, has_own_units, mixing_primitives, primitives_mixing_rows
from jaxrnn.gradients.inexact import floats
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.units import has_units, unstacked
from jaxrnn.linear import state_dtype
from jaxrnn.types import Inputs, Params, Tree

ROWS = 2**13 + 1
"""Rows that equations are traced on, to see whether they mix them: as many as nothing else has."""
MIXED = "its equations mix hidden units"


def unfit(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, H: int, divided: bool) -> str | None:
    """What keeps the equations from running row by row, and on H units if `divided`; None: nothing."""
    try:
        rows = _step(cell, params, carry, inputs, (ROWS,), cell.H)
        if divided and has_own_units(rows):
            return "its equations hold or number an array that is neither in own_params nor a Partial's argument"
        row = _step(cell, params, carry, inputs, (), H)
    except Exception as error:  # whatever a user's equations raise
        return (
            "its equations have to work on one row [H] of any number of units (axes from the end, such as -1), with "
            f"own parameters [n, {cell.H}] row by row (p[i], or a loop over p): {type(error).__name__}: {error}"
        )
    if found := primitives_mixing_rows(rows.jaxpr, ROWS):
        return f"its equations mix rows of the batch, or might, by {', '.join(sorted(found))}"
    if divided and mixing_primitives(rows.jaxpr, cell.H):
        return MIXED
    if arithmetic(rows) != arithmetic(row):
        return "its equations are others for one row, or another number of units"
    return None


def limits_all_units(cell: GatedCell, carry: Tree, inputs: Inputs, limits: Limits) -> bool:
    """Whether a limit is on several units together, or on a part of the carry that all units share."""
    shared = [x for x in floats(carry) if not has_units(x, cell.H, inputs.steps.x.ndim - 2)]
    return limits.norm is not None or (limits.value is not None and bool(shared))


def _step(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, rows: tuple[int, ...], H: int) -> ClosedJaxpr:
    """The equations, traced on arrays [*rows, H]."""
    batch_axes = inputs.steps.x.ndim - 2

    def sized(x: Any, lead: int = 0, first: tuple[int, ...] = ()) -> Any:
        shape = first + jnp.shape(x)[lead:]
        return jax.ShapeDtypeStruct((*shape[:-1], H) if has_units(x, cell.H, lead) else shape, jnp.result_type(x))

    def step(cell: GatedCell, own: Params, carry: Tree, zx: Any, zh: Any, noise: Tree) -> Any:
        after = cell.advance(own, carry, zx, zh, noise)
        for x, y in zip(jax.tree.leaves(carry), jax.tree.leaves(after), strict=True):
            if x.shape != jnp.shape(y):
                raise ValueError(f"the carry becomes {jnp.shape(y)}, of {x.shape}")
        return after, cell.hidden(after), cell.read(carry, noise)

    small = dataclasses.replace(jax.tree.map(sized, cell), H=H, heads=1)
    z = (jax.ShapeDtypeStruct((*rows, H), state_dtype(params["w_h"].dtype)),) * cell.G
    own = jax.tree.map(sized, own_params(unstacked(params)))
    carry = jax.tree.map(lambda x: sized(x, batch_axes, rows), carry)
    noise = jax.tree.map(lambda x: sized(x, 1 + batch_axes, rows), inputs.steps.noise)
    return jax.make_jaxpr(step)(small, own, carry, z, z, noise)
