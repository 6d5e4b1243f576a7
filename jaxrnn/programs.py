"""Traced programs, taken apart, and the rules of primitives that stand for them."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal
from jax.interpreters import ad


def consts_first(program: ClosedJaxpr) -> ClosedJaxpr:
    """The program with its consts as its first arguments."""
    jaxpr = program.jaxpr
    return ClosedJaxpr(jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars]), ())


def split_invariant(body: ClosedJaxpr, count: int) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """A loop's body as what depends on its first arguments alone, and the rest, which takes its results in their place.

    Args:
      body: a program without consts.
      count: how many of its arguments are the same at all steps.
    """
    jaxpr = body.jaxpr
    invariant, before, inside = set(jaxpr.invars[:count]), [], []
    for equation in jaxpr.eqns:
        if not equation.effects and all(isinstance(v, Literal) or v in invariant for v in equation.invars):
            before.append(equation)
            invariant.update(equation.outvars)
        else:
            inside.append(equation)
    read = [v for equation in inside for v in equation.invars] + list(jaxpr.outvars)
    consts = [v for v in dict.fromkeys(v for v in read if not isinstance(v, Literal)) if v in invariant]
    prologue = jaxpr.replace(invars=jaxpr.invars[:count], eqns=before, outvars=consts)
    rest = jaxpr.replace(invars=[*consts, *jaxpr.invars[count:]], eqns=inside)
    return ClosedJaxpr(prologue, ()), ClosedJaxpr(rest, ())


def jvp_of(f: Callable[..., list[Any]]) -> Callable[..., tuple[list[Any], list[Any]]]:
    """The JVP rule of a primitive that computes what f(*operands, **params) does: that of f, by what has a tangent."""

    def rule(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
        moving = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]

        def run(*values: Any) -> list[Any]:
            operands = list(primals)
            for i, value in zip(moving, values, strict=True):
                operands[i] = value
            return f(*operands, **params)

        results, d_results = jax.jvp(run, [primals[i] for i in moving], [tangents[i] for i in moving])
        pairs = zip(results, d_results, strict=True)
        return results, [_no_tangent(x) if d.dtype == jax.dtypes.float0 else d for x, d in pairs]

    return rule


def _no_tangent(x: Any) -> Any:
    return ad.Zero(jax.typeof(x).to_tangent_aval())
