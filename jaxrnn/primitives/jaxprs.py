"""Properties of traced programs: primitives that mix units of the state, and outputs that are the same variable."""

import math
from typing import Any

from jaxrnn.primitives.primitive import ClosedJaxpr, Jaxpr, Var, subjaxprs

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
"""Primitives that mix no units as long as the last axis, that of the units, stays whole and in its place."""
CALLS = frozenset(("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2"))
"""Primitives that call inner functions and do nothing else."""


def mixing_primitives(program: ClosedJaxpr, H: int) -> list[str]:
    """Names of the primitives by which one of H units may act on another one."""
    return sorted(_mixing(program.jaxpr, H))


def _mixing(jaxpr: Jaxpr, H: int) -> set[str]:

    def keeps_units(eqn: Any) -> bool:
        with_units = [v for v in eqn.invars if v.aval.shape[-1:] == (H,) and math.prod(v.aval.shape) > 1]
        return not with_units or eqn.outvars[0].aval.shape[-1:] == (H,)

    def is_safe(eqn: Any) -> bool:
        name = eqn.primitive.name
        return name in ELEMENTWISE | CALLS or (name in RESHAPING and keeps_units(eqn))

    found = {eqn.primitive.name for eqn in jaxpr.eqns if not is_safe(eqn)}
    return found.union(*(_mixing(inner, H) for inner in subjaxprs(jaxpr)))


def repeated_outputs(program: ClosedJaxpr, first: int) -> list[int | None]:
    """For each output after the `first` ones: the index of the first output that is the same variable, or None."""
    outputs = program.jaxpr.outvars
    place = {v: i for i, v in enumerate(outputs[:first]) if isinstance(v, Var)}
    return [place.get(v) if isinstance(v, Var) else None for v in outputs[first:]]
