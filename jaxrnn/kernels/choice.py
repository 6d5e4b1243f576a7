"""Chooses the loop for a cell and says why."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.bptt.clipping import Limits
from jaxrnn.cells.gated import GatedCell
from jaxrnn.float_leaves import floats
from jaxrnn.kernels import equations, loop
from jaxrnn.kernels.program import KINDS, Unfit
from jaxrnn.kernels.target import LoopChoice, Target, target_of
from jaxrnn.kernels.units import has_units, units
from jaxrnn.linear import state_dtype
from jaxrnn.types import Cell, Inputs, Params, Tree

MEASURED: frozenset[str] = frozenset()
"""Platforms on which the kernel was measured to be faster than the scan. For these, `ReverseScan.run` has to call this
module under "auto", too."""


def run(
    asked: str, cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, target: Target | None
) -> tuple[Tree, Any] | None:
    """Runs the cell, or returns None if a scan should.

    Args:
      asked: "auto", "scan" or "persistent".
      cell, params, carry, inputs, limits: as for `jaxrnn.bptt.gated.run`.
      target: the device, which lists the choices; None: the one at hand.

    Raises:
      ValueError: "persistent" is asked for, and one kernel can't run the cell.
    """
    on = target_of() if target is None else target
    choice = _choose(asked, cell, params, carry, inputs, limits, on)
    on.choices.append((f"{type(cell).__name__}{cell.features}", choice))
    if choice.loop == "scan":
        return None
    assert isinstance(cell, GatedCell)
    return loop.run(cell, params, carry, inputs, limits, on)


def _choose(
    asked: str, cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, on: Target
) -> LoopChoice:
    if asked == "scan":
        return LoopChoice("scan", "asked for")
    if asked == "auto" and on.platform == "cpu":
        return LoopChoice("scan", "a CPU has no kernel of its own")
    try:
        check(cell, params, carry, inputs, limits, on)
    except Unfit as obstacle:
        if asked == "auto":
            return LoopChoice("scan", str(obstacle))
        wanted = "'auto' or 'scan' for this cell and these inputs"
        raise ValueError(f"loop: expected {wanted}, got 'persistent': {obstacle}") from obstacle
    fits = "it can be interpreted" if on.platform == "cpu" else "it fits on the chip"
    if asked == "auto" and on.platform not in MEASURED:
        return LoopChoice("scan", f"kernels have not been measured on {on.platform} yet, though {fits}")
    return LoopChoice("persistent", fits if asked == "auto" else f"asked for, and {fits}")


def check(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, target: Target) -> None:
    """Raises `Unfit` if this loop can't be one kernel."""
    if target.platform not in KINDS:
        raise Unfit(f"there is no kernel for {target.platform}")
    if not isinstance(cell, GatedCell):
        needed = "a GatedCell, whose only products are x @ w_x and h @ w_h"
        raise Unfit(f"a kernel needs {needed}, not {type(cell).__name__}")
    if type(cell).output is not GatedCell.output:
        raise Unfit("a kernel puts out h alone, not the carry after each step")
    if not jax.sharding.get_abstract_mesh().empty:
        raise Unfit("arrays on a mesh of devices are not shared out among kernels")
    if state_dtype(params["w_h"].dtype) == np.float64 and target.platform != "cpu":
        raise Unfit("kernels compute in float32, not in float64")
    if target.platform == "tpu" and cell.dtype == np.float16:
        raise Unfit("there are no float16 products")
    batch_shape = inputs.steps.x.shape[1:-1]
    if 0 in batch_shape:
        raise Unfit(f"there are no rows, {batch_shape}")
    dtypes = [getattr(x, "dtype", float) for x in jax.tree.leaves((params, carry, inputs.steps.noise))]
    if any(jnp.issubdtype(dtype, jax.dtypes.extended) for dtype in dtypes):
        raise Unfit("a kernel can't hold random keys, in the carry, noise or parameters")
    for name, tree, time in (("carry", carry, 0), ("noise", inputs.steps.noise, 1)):
        shapes = [x.shape for x in jax.tree.leaves(tree)]
        if any(shape[time : time + len(batch_shape)] != batch_shape for shape in shapes):
            raise Unfit(f"its {name} does not begin with the axes of the batch, {batch_shape}: {shapes}")
    equations.check(cell, params, carry, inputs)
    shared = [x for x in floats(carry) if not has_units(x, cell.H, inputs.batch_axes)]
    if cell.heads > 1 and (limits.norm is not None or (limits.value is not None and shared)):
        raise Unfit("what clip_norm and clip_value limit is of all heads together, of which each is a kernel's own")
    if target.platform != "cpu":
        _lower(cell, params, carry, inputs, limits, target)


def _lower(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, target: Target) -> None:
    """Builds and lowers both kernels; raises if they do not fit or Pallas does not support an operation in them."""

    def gradient(params: Params, carry: Tree, inputs: Inputs) -> Any:
        hs, pull = jax.vjp(lambda params: loop.run(cell, params, carry, inputs, limits, target)[1], params)
        return pull(jnp.zeros_like(hs))

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (params, carry, inputs))
    try:
        with target.described():
            jax.jit(gradient).trace(*shapes).lower(lowering_platforms=(target.platform,))
    except Unfit as obstacle:
        K, wide = cell.H // cell.heads, units(cell)
        padded = f", its {K} units being padded to {wide}" if wide != K else ""
        raise Unfit(f"{obstacle}{padded}") from obstacle
    except Exception as error:  # any error of a compiler
        raise Unfit(f"Pallas can't compile its equations: {str(error).partition(' Please file')[0]}") from error
