"""A gated cell's loop in one kernel: whether it can be, and running it so."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients import gated_rule
from jaxrnn.gradients.each_head import each_head
from jaxrnn.gradients.element_wise import arithmetic, has_own_units, mixes_rows, mixing_primitives
from jaxrnn.gradients.inexact import floats
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loops import PERSISTENT
from jaxrnn.gradients.units import has_units, unstacked, with_units, without_units
from jaxrnn.kernels.absent import described
from jaxrnn.kernels.persistent import obstacles
from jaxrnn.kernels.room import ROOM
from jaxrnn.linear import state_dtype
from jaxrnn.types import Cell, Inputs, Params, Tree

ROWS = 2**13 + 1
"""Rows that equations are traced on, to see whether they mix them: as many as nothing else has."""
FEWEST_UNITS = 16
"""Of a product in a Triton kernel; sizes are powers of two."""


def units(H: int) -> int:
    """Hidden units that a kernel has for H of them."""
    return max(FEWEST_UNITS, 1 << (H - 1).bit_length())


def run(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> tuple[Tree, jax.Array]:
    """As `gated_rule.run`."""
    if cell.heads > 1:
        return each_head(functools.partial(run, limits=limits), cell, params, carry, inputs)
    H, wider, params = cell.H, units(cell.H), unstacked(params)
    if wider == H:
        return gated_rule.run(cell, params, carry, inputs, limits, PERSISTENT)
    final, hs = gated_rule.run(*with_units(cell, params, carry, inputs, wider), limits, PERSISTENT)
    return without_units(final, carry, H, inputs.steps.x.ndim - 2), hs[..., :H]


def why_not(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str) -> str | None:
    """What keeps this loop from being one kernel on a platform ("cuda", "tpu"; "cpu": interpreted); None: nothing."""
    if platform not in (*ROOM, "cpu"):
        return f"there is no kernel for {platform}"
    if not isinstance(cell, GatedCell):
        return f"a kernel needs a GatedCell, whose only products are x @ w_x and h @ w_h, not {type(cell).__name__}"
    if not jax.sharding.get_abstract_mesh().empty:
        return "arrays on a mesh of devices are not shared out among kernels"
    state = state_dtype(params["w_h"].dtype)
    if state == np.float64:
        return "kernels compute in float32, not in float64"
    batch_shape = inputs.steps.x.shape[1:-1]
    if 0 in batch_shape:
        return f"there are no rows, {batch_shape}"
    for name, tree, time in (("carry", carry, 0), ("noise", inputs.steps.noise, 1)):
        shapes = [x.shape for x in jax.tree.leaves(tree)]
        if any(shape[time : time + len(batch_shape)] != batch_shape for shape in shapes):
            return f"its {name} does not begin with the axes of the batch, {batch_shape}: {shapes}"
    K = cell.H // cell.heads
    changed = cell.heads > 1 or units(K) != K
    try:
        rows = _step(cell, params, carry, inputs, (ROWS,), cell.H)
        if changed and has_own_units(rows, cell.H):
            return f"its equations hold an array [..., {cell.H}] that is neither in own_params nor a Partial's argument"
        row = _step(cell, params, carry, inputs, (), units(K))
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        return (
            "its equations have to work on one row [H] of any number of units (axes from the end, such as -1), with "
            f"own parameters [n, {cell.H}] row by row (p[i], or a loop over p): {error}"
        )
    if mixes_rows(rows.jaxpr, ROWS):
        return "its equations mix rows of the batch"
    if changed and mixing_primitives(rows.jaxpr, cell.H):
        if cell.heads > 1:
            return "its equations mix the units of several heads, of which each is a kernel's own"
        return f"its equations mix hidden units, so that their number has to be {units(K)}, not {K}"
    if arithmetic(rows) != arithmetic(row):
        return "its equations are others for one row, or another number of units"
    if cell.heads > 1 and limits != Limits():
        shared = [x for x in floats(carry) if not has_units(x, cell.H, len(batch_shape))]
        if limits.norm is not None or shared:
            return "what clip_norm and clip_value limit is of all heads together, of which each is a kernel's own"
    if platform == "tpu" and cell.dtype == np.float16:
        return "there are no float16 products"
    return None if platform == "cpu" else _does_not_fit(cell, params, carry, inputs, limits, platform)


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


def _does_not_fit(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str
) -> str | None:
    def loss(params: Params, carry: Tree, inputs: Inputs) -> Any:
        _, pull = jax.vjp(lambda params: run(cell, params, carry, inputs, limits)[1], params)
        return pull(jnp.zeros((*inputs.steps.x.shape[:-1], cell.H), state_dtype(params["w_h"].dtype)))

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (params, carry, inputs))
    with described(platform):
        traced = jax.jit(loss).trace(*shapes)
        for obstacle in obstacles(traced.jaxpr.jaxpr, platform):
            return obstacle
        try:
            traced.lower(lowering_platforms=(platform,))
        except Exception as error:  # whatever a compiler has to say
            return f"Pallas can't compile its equations: {error}"
    return None
