"""Traced programs, taken apart."""

from jax.extend.core import ClosedJaxpr, Literal


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
