"""The options that all gated cells share, and their checks."""

import dataclasses
from typing import Any, TypedDict, TypeVar

import jax

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell
from jaxrnn.initializers import Initializer
from jaxrnn.linear import FLOAT32

T = TypeVar("T", bound=GatedCell)


class GatedOptions(TypedDict, total=False):
    """Options of every gated cell; `jaxrnn.cells.gated.GatedCell` says what each does."""

    bias: bool
    input_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    dtype: Any
    param_dtype: Any
    recurrent_dropout: Any
    zoneout: Any
    learn_carry: bool
    heads: int


def checked(options: GatedOptions) -> dict[str, Any]:
    """The options, or an error that names the one that is wrong."""
    given: dict[str, Any] = dict(options)
    known = tuple(GatedOptions.__annotations__)
    for name in given:
        if name not in known:
            raise TypeError(f"{name}: expected one of the options {known}, got an unknown one")
    for name in ("input_init", "recurrent_init", "bias_init"):
        if name in given:
            checks.callable_(name, given[name])
    if given.get("recurrent_dropout") is not None:
        given["recurrent_dropout"] = checks.rate("recurrent_dropout", given["recurrent_dropout"])
    for name in ("bias", "learn_carry"):
        checks.flag(name, given.get(name, False))
    for name in ("dtype", "param_dtype"):
        if name in given and (name, given[name]) != ("dtype", None):
            given[name] = checks.float_dtype(name, given[name])
    return given


def checked_cell(cell: T) -> T:
    """The cell, or an error if heads do not divide H, or zoneout is neither one rate nor one for each of its parts."""
    if cell.H % checks.positive_int("heads", cell.heads):
        raise ValueError(f"heads: expected a divisor of H = {cell.H}, got {cell.heads}")
    if cell.zoneout is None:
        return cell
    shapes = ((), (cell.H,))
    if jax.tree.structure(cell.zoneout) == jax.tree.structure(0.0):
        rates = checks.rate("zoneout", cell.zoneout, shapes)
    else:
        carry = cell.zero_carry((), FLOAT32)
        if jax.tree.structure(cell.zoneout) != jax.tree.structure(carry):
            kinds = f"one number or a tree of numbers like the carry, {jax.tree.structure(carry)}"
            raise ValueError(f"zoneout: expected {kinds}, got {checks.short(cell.zoneout)}")
        rates = jax.tree.map(lambda rate: checks.rate("zoneout", rate, shapes), cell.zoneout)
    return dataclasses.replace(cell, zoneout=rates)
