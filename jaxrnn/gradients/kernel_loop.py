"""A gated cell's loop in one kernel: whether and how it can be, and running it so."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.gated import GatedCell
from jaxrnn.gradients import gated_rule
from jaxrnn.gradients.by_units import each_head, each_share
from jaxrnn.gradients.kernel_equations import MIXED, limits_all_units, unfit
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loops import PERSISTENT, Shared
from jaxrnn.gradients.units import unstacked, with_units, without_units
from jaxrnn.kernels.devices import described
from jaxrnn.kernels.persistent import KERNELS, at_once, obstacles
from jaxrnn.linear import state_dtype
from jaxrnn.types import Cell, Inputs, Params, Tree

FEWEST_UNITS = 16
"""Of a product in a Triton kernel; sizes are powers of two."""
NOT_COMPILED = "Pallas can't compile its equations"


def units(H: int) -> int:
    """Hidden units that a kernel has for H of them."""
    return max(FEWEST_UNITS, 1 << (H - 1).bit_length())


class Fit(NamedTuple):
    """How a loop is one kernel.

    Attributes:
      shares: blocks that share the hidden units of a row, or of a head of one.
      obstacle: what keeps it from being one; None: nothing.
    """

    shares: int = 1
    obstacle: str | None = None


def run(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, shares: int = 1
) -> tuple[Tree, jax.Array]:
    """As `gated_rule.run`, its units in so many shares."""
    if cell.heads > 1:
        return each_head(functools.partial(run, limits=limits, shares=shares), cell, params, carry, inputs)
    H, wider, own = cell.H, units(cell.H), unstacked(params)
    given = (cell, own, carry, inputs) if wider == H else with_units(cell, own, carry, inputs, wider)
    if shares == 1:
        final, hs = gated_rule.run(*given, limits, PERSISTENT)
    else:
        final, hs = each_share(functools.partial(gated_rule.run, limits=limits, loop=Shared(shares)), shares, *given)
    return (final, hs) if wider == H else (without_units(final, carry, H, inputs.steps.x.ndim - 2), hs[..., :H])


def fit(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str) -> Fit:
    """How this loop is one kernel on a platform ("cuda", "tpu"; "cpu": interpreted)."""
    given = params, carry, inputs
    obstacle = _obstacle(cell, *given, limits, platform)
    if obstacle is not None or platform == "cpu":
        return Fit(obstacle=obstacle)
    assert isinstance(cell, GatedCell)
    obstacle, K = _too_large(cell, *given, limits, platform), cell.H // cell.heads
    if obstacle is not None and units(K) != K:
        obstacle += f", its {K} units being padded to {units(K)}"
    if obstacle is None or platform != "cuda" or obstacle.startswith(NOT_COMPILED):
        return Fit(obstacle=obstacle)
    if limits_all_units(cell, carry, inputs, limits):
        return Fit(obstacle=f"{obstacle}, and blocks that shared its units would not see all that is clipped")
    together = unfit(cell, *given, FEWEST_UNITS, divided=True)
    if together is not None:
        return Fit(obstacle=f"{obstacle}, and blocks can't share its units: {together}")
    most = min(units(K) // FEWEST_UNITS, at_once())
    shared = None
    for shares in (2**i for i in range(1, most.bit_length())):
        shared = _too_large(cell, *given, limits, platform, shares)
        if shared is None:
            return Fit(shares)
    return Fit(obstacle=obstacle if shared is None else f"{obstacle}; if blocks share its units, {shared}")


def _obstacle(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str) -> str | None:
    """What keeps it from being a kernel, of whatever size."""
    if platform not in (*KERNELS, "cpu"):
        return f"there is no kernel for {platform}"
    if not isinstance(cell, GatedCell):
        return f"a kernel needs a GatedCell, whose only products are x @ w_x and h @ w_h, not {type(cell).__name__}"
    if not jax.sharding.get_abstract_mesh().empty:
        return "arrays on a mesh of devices are not shared out among kernels"
    if state_dtype(params["w_h"].dtype) == np.float64 and platform != "cpu":
        return "kernels compute in float32, not in float64"
    if platform == "tpu" and cell.dtype == np.float16:
        return "there are no float16 products"
    batch_shape = inputs.steps.x.shape[1:-1]
    if 0 in batch_shape:
        return f"there are no rows, {batch_shape}"
    dtypes = [getattr(x, "dtype", float) for x in jax.tree.leaves((params, carry, inputs.steps.noise))]
    if any(jnp.issubdtype(dtype, jax.dtypes.extended) for dtype in dtypes):
        return "a kernel can't hold random keys, in the carry, noise or parameters"
    for name, tree, time in (("carry", carry, 0), ("noise", inputs.steps.noise, 1)):
        shapes = [x.shape for x in jax.tree.leaves(tree)]
        if any(shape[time : time + len(batch_shape)] != batch_shape for shape in shapes):
            return f"its {name} does not begin with the axes of the batch, {batch_shape}: {shapes}"
    K = cell.H // cell.heads
    obstacle = unfit(cell, params, carry, inputs, units(K), divided=cell.heads > 1 or units(K) != K)
    if obstacle == MIXED and cell.heads > 1:
        return f"{MIXED}, of several heads, of which each is a kernel's own"
    if obstacle == MIXED:
        return f"{MIXED}, so that their number has to be a power of two from {FEWEST_UNITS} on, not {K}"
    if obstacle is None and cell.heads > 1 and limits_all_units(cell, carry, inputs, limits):
        return "what clip_norm and clip_value limit is of all heads together, of which each is a kernel's own"
    return obstacle


def _too_large(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, platform: str, shares: int = 1
) -> str | None:
    """What does not fit on the chip, or can't be lowered for it; None: all can."""

    def loss(params: Params, carry: Tree, inputs: Inputs) -> Any:
        _, pull = jax.vjp(lambda params: run(cell, params, carry, inputs, limits, shares)[1], params)
        return pull(jnp.zeros((*inputs.steps.x.shape[:-1], cell.H), state_dtype(params["w_h"].dtype)))

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (params, carry, inputs))
    with described(platform):
        traced = jax.jit(loss).trace(*shapes)
        for obstacle in obstacles(traced.jaxpr.jaxpr, platform):
            return obstacle
        try:
            traced.lower(lowering_platforms=(platform,))
        except Exception as error:  # whatever a compiler has to say
            return f"{NOT_COMPILED}: {str(error).partition(' Please file')[0]}"
    return None
