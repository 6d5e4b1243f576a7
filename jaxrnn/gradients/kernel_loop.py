"""A gated cell's loop in one kernel: whether it can be, and running it so."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients import gated_rule
from jaxrnn.gradients.each_head import each_head
from jaxrnn.gradients.element_wise import has_own_units, mixes_rows, mixing_primitives
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loops import PERSISTENT
from jaxrnn.gradients.units import unstacked, with_units, without_units
from jaxrnn.kernels.limits import ROOM
from jaxrnn.kernels.persistent import obstacles
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
    return without_units(final, carry, H), hs[..., :H]


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
    try:
        step = _step_of_rows(cell, unstacked(params), carry, inputs, state)
    except (TypeError, AttributeError, ValueError) as error:
        return f"its equations need its own parameters [n, {cell.H}] as one array, which is n of them there: {error}"
    if mixes_rows(step.jaxpr, ROWS):
        return "its equations mix rows of the batch"
    K = cell.H // cell.heads
    changed = cell.heads > 1 or units(K) != K
    if changed and has_own_units(step, cell.H):
        return f"its equations hold an array [..., {cell.H}] that is neither in own_params nor an argument of a Partial"
    if changed and mixing_primitives(step.jaxpr, cell.H):
        if cell.heads > 1:
            return "its equations mix the units of several heads, of which each is a kernel's own"
        return f"its equations mix hidden units, so that their number has to be {units(K)}, not {K}"
    if limits.norm is not None and cell.heads > 1:
        return "clip_norm is of all heads together, of which each is a kernel's own"
    return None if platform == "cpu" else _does_not_fit(cell, params, carry, inputs, limits, platform)


def _step_of_rows(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, state: Any) -> ClosedJaxpr:
    """The equations, traced on ROWS rows."""
    batch_axes = inputs.steps.x.ndim - 2

    def rows(x: Any, time: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((ROWS, *x.shape[time + batch_axes :]), x.dtype)

    def step(cell: GatedCell, own: Params, carry: Tree, zx: Any, zh: Any, noise: Tree) -> Any:
        after = cell.advance(own, carry, zx, zh, noise)
        return after, cell.hidden(after), cell.read(carry, noise)

    z = (jax.ShapeDtypeStruct((ROWS, cell.H), state),) * cell.G
    carry, noise = jax.tree.map(lambda x: rows(x, 0), carry), jax.tree.map(lambda x: rows(x, 1), inputs.steps.noise)
    return jax.make_jaxpr(step)(cell, own_params(params), carry, z, z, noise)


def _does_not_fit(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str
) -> str | None:
    def loss(params: Params, carry: Tree, inputs: Inputs) -> Any:
        _, pull = jax.vjp(lambda params: run(cell, params, carry, inputs, limits)[1], params)
        return pull(jnp.zeros((*inputs.steps.x.shape[:-1], cell.H), state_dtype(params["w_h"].dtype)))

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (params, carry, inputs))
    traced = jax.jit(loss).trace(*shapes)
    for obstacle in obstacles(traced.jaxpr.jaxpr, platform):
        return obstacle
    try:
        traced.lower(lowering_platforms=(platform,))
    except Exception as error:  # whatever a compiler has to say
        return f"Pallas can't compile its equations: {error}"
    return None
