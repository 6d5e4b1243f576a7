"""What equations read for one number of a state: only what stands at the same place, in the same row, or more."""

import math
from typing import Any

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, subjaxprs

ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clamp",
    "convert_element_type", "copy", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "integer_pow", "iota", "is_finite", "le", "lgamma", "log", "log1p", "logistic",
    "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "rem", "round", "rsqrt", "select_n",
    "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
))  # fmt: skip
"""Primitives by which no unit of the state acts on another."""
RESHAPING = frozenset(
    (
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "expand_dims",
        "slice",
        "dynamic_slice",
        "split",
        "concatenate",
        "unstack",
    )
)
"""Those by which none does if the last axis, that of the units, stays whole and where it is."""
REDUCTIONS = frozenset(
    ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin")
)
CUMULATIVE = frozenset(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"))
CALLS = frozenset(("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2"))
"""Those that do what the functions in them do."""


def mixing_primitives(jaxpr: Jaxpr, H: int) -> set[str]:
    """Names of the primitives by which a unit may act on another one."""

    def keeps_units(eqn: Any) -> bool:
        with_units = [v for v in eqn.invars if v.aval.shape[-1:] == (H,) and math.prod(v.aval.shape) > 1]
        return not with_units or eqn.outvars[0].aval.shape[-1:] == (H,)

    def is_safe(eqn: Any) -> bool:
        name = eqn.primitive.name
        return name in ELEMENTWISE | CALLS or (name in RESHAPING and keeps_units(eqn))

    found = {eqn.primitive.name for eqn in jaxpr.eqns if not is_safe(eqn)}
    return found.union(*(mixing_primitives(inner, H) for inner in subjaxprs(jaxpr)))


def primitives_mixing_rows(jaxpr: Jaxpr, rows: int) -> set[str]:
    """Names of the primitives by which equations on arrays [rows, ...] may read several rows, or which one it is."""

    def of_rows(variables: Any) -> list[bool]:
        return [v.aval.shape[:1] == (rows,) for v in variables]

    def is_safe(eqn: Any) -> bool:
        name, params = eqn.primitive.name, eqn.params
        if name == "iota":
            return params["dimension"] != 0 or not any(of_rows(eqn.outvars))
        if name in CALLS or not any(of_rows(eqn.invars)):
            return True
        if not all(of_rows(eqn.outvars)):
            return False
        if name == "dot_general":
            (contracted, _), (batch, _) = params["dimension_numbers"]
            return of_rows(eqn.invars) == [True, False] and 0 not in (*contracted, *batch)
        if name in REDUCTIONS:
            return 0 not in params["axes"]
        if name in CUMULATIVE:
            return params["axis"] != 0
        if name == "transpose":
            return params["permutation"][0] == 0
        return name in ELEMENTWISE | RESHAPING

    found = {eqn.primitive.name for eqn in jaxpr.eqns if not is_safe(eqn)}
    return found.union(*(primitives_mixing_rows(inner, rows) for inner in subjaxprs(jaxpr)))


def has_own_units(program: ClosedJaxpr) -> bool:
    """Whether equations hold an array that was not handed to them, or number anything: units, perhaps."""
    return any(jnp.shape(x) != () for x in program.consts) or _numbers(program.jaxpr)


def _numbers(jaxpr: Jaxpr) -> bool:
    numbered = any(eqn.primitive.name == "iota" for eqn in jaxpr.eqns)
    return numbered or any(map(_numbers, subjaxprs(jaxpr)))


def arithmetic(program: ClosedJaxpr) -> list[Any]:
    """What equations do, but for shapes: their primitives and the numbers in them."""
    return [str(x) for x in program.consts if jnp.shape(x) == ()] + _arithmetic(program.jaxpr)


def _arithmetic(jaxpr: Jaxpr) -> list[Any]:
    found: list[Any] = []
    for eqn in jaxpr.eqns:
        numbers = [str(v.val) for v in eqn.invars if isinstance(v, Literal) and jnp.shape(v.val) == ()]
        if eqn.primitive.name not in RESHAPING | {"transpose"}:
            found += [eqn.primitive.name, eqn.params.get("y"), *numbers]  # y: an integer exponent
    return found + [x for inner in subjaxprs(jaxpr) for x in _arithmetic(inner)]
