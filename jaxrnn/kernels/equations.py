"""Checks that a kernel can run a cell's equations: row by row, and on the number of units that the kernel has."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, subjaxprs

from jaxrnn.cells.gated import GatedCell, own_params
from jaxrnn.cells.gates import is_apart
from jaxrnn.kernels.program import Unfit
from jaxrnn.kernels.units import FEWEST_UNITS, has_units, is_divided, units, unstacked
from jaxrnn.linear import state_dtype
from jaxrnn.primitives.jaxprs import CALLS, ELEMENTWISE, RESHAPING, mixing_primitives
from jaxrnn.types import Inputs, Params, Tree

ROWS = 2**13 + 1
"""The number of rows on which equations are traced to find out whether they mix rows: a size that no other axis has."""
ALONG_AXES = frozenset((
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin",
    "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp",
))  # fmt: skip


def check(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> None:
    """Raises `Unfit` unless equations give the same row by row, and on the number of units of a kernel."""
    divided = is_divided(cell)
    try:
        rows = _step(cell, params, carry, inputs, (ROWS,), cell.H)
        if divided and (any(map(jnp.shape, rows.consts)) or any(e.primitive.name == "iota" for e in _all(rows.jaxpr))):
            raise Unfit("its equations hold or number an array that is neither in own_params nor a Partial's argument")
        row = _step(cell, params, carry, inputs, (), units(cell))
    except Unfit:
        raise
    except Exception as error:  # any error of a user's equations
        raise Unfit(
            "its equations have to work on one row [H] of any number of units (axes from the end, such as -1), with "
            f"own parameters [n, {cell.H}] row by row (p[i], or a loop over p): {type(error).__name__}: {error}"
        ) from error
    if found := sorted({e.primitive.name for e in _all(rows.jaxpr) if not _is_row_by_row(e)}):
        raise Unfit(f"its equations mix rows of the batch, or might, by {', '.join(found)}")
    if divided and mixing_primitives(rows, cell.H):
        many = "of several heads, of which each is a kernel's own"
        few = f"so that their number has to be a power of two from {FEWEST_UNITS} on, not {cell.H}"
        raise Unfit(f"its equations mix hidden units, {many if cell.heads > 1 else few}")
    if _arithmetic(rows) != _arithmetic(row):
        raise Unfit("its equations are others for one row, or another number of units")


def _step(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, rows: tuple[int, ...], H: int) -> ClosedJaxpr:
    """The equations, traced on arrays [*rows, H]."""
    batch_axes = inputs.batch_axes

    def sized(x: Any, lead: int = 0, first: tuple[int, ...] = ()) -> Any:
        shape = first + jnp.shape(x)[lead:]
        return jax.ShapeDtypeStruct((*shape[:-1], H) if has_units(x, cell.H, lead) else shape, jnp.result_type(x))

    def step(cell: GatedCell, own: Params, carry: Tree, z: Any, noise: Tree) -> Any:
        after = cell.advance(own, carry, cell.activate(z), noise)
        for x, y in zip(jax.tree.leaves(carry), jax.tree.leaves(after), strict=True):
            if x.shape != jnp.shape(y):
                raise ValueError(f"the carry becomes {jnp.shape(y)}, of {x.shape}")
        return after, cell.hidden(after), cell.read(carry, noise)

    small = dataclasses.replace(jax.tree.map(sized, cell), H=H, heads=1)
    z = jax.ShapeDtypeStruct((*rows, H), state_dtype(params["w_h"].dtype))
    gates = [(z, z) if is_apart(f) else z for f in cell.gates.values()]
    own = jax.tree.map(sized, own_params(unstacked(params)))
    carry = jax.tree.map(lambda x: sized(x, batch_axes, rows), carry)
    noise = jax.tree.map(lambda x: sized(x, 1 + batch_axes, rows), inputs.steps.noise)
    return jax.make_jaxpr(step)(small, own, carry, gates, noise)


def _all(jaxpr: Jaxpr) -> Iterator[Any]:
    """All operations, with those of inner functions."""
    yield from jaxpr.eqns
    for inner in subjaxprs(jaxpr):
        yield from _all(inner)


def _is_row_by_row(eqn: Any) -> bool:
    """Tells whether each row of an operation's results [ROWS, ...] depends on one row, and not on its index."""
    name, params = eqn.primitive.name, eqn.params
    ins, outs = ([v.aval.shape[:1] == (ROWS,) for v in variables] for variables in (eqn.invars, eqn.outvars))
    if name == "iota":
        return params["dimension"] != 0 or not any(outs)
    if name in CALLS or not any(ins):
        return True
    if not all(outs):
        return False
    if name == "dot_general":
        (contracted, _), (batch, _) = params["dimension_numbers"]
        return ins == [True, False] and 0 not in (*contracted, *batch)
    if name in ALONG_AXES:
        return 0 not in params.get("axes", (params.get("axis"),))
    if name == "transpose":
        return params["permutation"][0] == 0
    return name in ELEMENTWISE | RESHAPING


def _arithmetic(program: ClosedJaxpr) -> list[Any]:
    """The arithmetic of equations without their shapes: their primitives and the numbers in them."""
    found: list[Any] = [str(x) for x in program.consts if jnp.shape(x) == ()]
    for eqn in _all(program.jaxpr):
        numbers = [str(v.val) for v in eqn.invars if isinstance(v, Literal) and jnp.shape(v.val) == ()]
        if eqn.primitive.name not in RESHAPING | {"transpose"}:
            found += [eqn.primitive.name, eqn.params.get("y"), *numbers]  # y: an integer exponent
    return found
