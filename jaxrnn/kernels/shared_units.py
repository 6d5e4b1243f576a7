"""Hidden units that several blocks share, each of which has some: what a step of a row needs of the others.

Seen from a row, the blocks are an axis named `UNITS`, along which these functions gather and scatter. A kernel does it
through memory that all blocks see, see `jaxrnn.kernels.exchange`. They are primitives of their own, since JAX's
`all_gather` wants an axis that is known while a derivative is traced, and that of `jax.vmap` is not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching

from jaxrnn.shapes import array_type

UNITS = "units that blocks share"


def of_all_units(x: jax.Array, shares: int) -> jax.Array:
    """[..., K] of each block -> [..., H] of all blocks."""
    return gather_units.bind(x, shares=shares)


def sum_of_own_units(x: jax.Array, shares: int) -> jax.Array:
    """[..., H] in each block -> [..., K], the sum of what all blocks have for its own units."""
    return scatter_units.bind(x, shares=shares)


def _gathered(axis: Any, operands: Any, axes: Any, *, shares: int) -> tuple[Any, int | None]:
    (x,), (at,) = operands, axes
    if axis.name != UNITS:
        return _each(gather_units, x, at, shares)
    if at is None:  # the same in all blocks
        x, at = jnp.repeat(x[None], shares, 0), 0
    x = jnp.moveaxis(x, at, -2)
    return x.reshape(*x.shape[:-2], -1), None


def _scattered(axis: Any, operands: Any, axes: Any, *, shares: int) -> tuple[Any, int | None]:
    (x,), (at,) = operands, axes
    if axis.name != UNITS:
        return _each(scatter_units, x, at, shares)
    x = shares * x if at is None else x.sum(at)
    return x.reshape(*x.shape[:-1], shares, -1), x.ndim - 1


def _each(primitive: Primitive, x: Any, at: int | None, shares: int) -> tuple[Any, int | None]:
    """Along another axis."""
    if at is None:
        return primitive.bind(x, shares=shares), None
    return primitive.bind(jnp.moveaxis(x, at, 0), shares=shares), 0


def _abstract_gather(x: Any, *, shares: int) -> Any:
    return array_type((*x.shape[:-1], x.shape[-1] * shares), x.dtype)


def _abstract_scatter(x: Any, *, shares: int) -> Any:
    return array_type((*x.shape[:-1], x.shape[-1] // shares), x.dtype)


gather_units, scatter_units = Primitive("gather_units"), Primitive("scatter_units")
gather_units.def_abstract_eval(_abstract_gather)
scatter_units.def_abstract_eval(_abstract_scatter)
batching.fancy_primitive_batchers[gather_units] = _gathered
batching.fancy_primitive_batchers[scatter_units] = _scattered
ad.deflinear2(gather_units, lambda d, _, *, shares: [scatter_units.bind(d, shares=shares)])
ad.deflinear2(scatter_units, lambda d, _, *, shares: [gather_units.bind(d, shares=shares)])


def exchanges(step: ClosedJaxpr) -> list[Any]:
    """The equations of a step that read other blocks."""
    return [equation for equation in step.jaxpr.eqns if equation.primitive in (gather_units, scatter_units)]


def all_units(equation: Any) -> Any:
    """Shape and dtype of what such an equation has for the units of all blocks."""
    return (equation.outvars if equation.primitive is gather_units else equation.invars)[0].aval


def evaluated(step: ClosedJaxpr, exchange: Callable[[int, Any, Any], Any], values: Any) -> list[Any]:
    """A step's results, with exchange(i, equation, x) in the place of equation i of `exchanges`."""
    jaxpr, apart = step.jaxpr, exchanges(step)
    assert not step.consts
    known = dict(zip(jaxpr.invars, values, strict=True))
    pending: list[Any] = []

    def run_pending() -> None:
        made = [v for equation in pending for v in equation.outvars]
        read = {v: None for equation in pending for v in equation.invars if not isinstance(v, Literal)}
        read = [v for v in read if v in known]
        f = jaxpr_as_fun(ClosedJaxpr(jaxpr.replace(invars=read, eqns=pending.copy(), outvars=made), ()))
        known.update(zip(made, f(*(known[v] for v in read)), strict=True))
        pending.clear()

    for equation in jaxpr.eqns:
        if equation in apart:
            run_pending()
            known[equation.outvars[0]] = exchange(apart.index(equation), equation, known[equation.invars[0]])
        else:
            pending.append(equation)
    run_pending()
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]
