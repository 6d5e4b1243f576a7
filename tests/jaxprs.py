"""Reads of traced programs."""

from collections import Counter

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxrnn.primitives.one_kernel import PRODUCTS


def equations(jaxpr):
    """All equations, those of inner programs included."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for inner in inner_jaxprs(equation):
            yield from equations(inner)


def inner_jaxprs(equation):
    for value in jax.tree.leaves(dict(equation.params), is_leaf=lambda x: isinstance(x, (Jaxpr, ClosedJaxpr))):
        if isinstance(value, (Jaxpr, ClosedJaxpr)):
            yield value


def scans(jaxpr):
    """The loops over time: JAX's own scans, and those that overwrite arrays as they go."""
    return [e for e in equations(jaxpr) if e.primitive.name in ("scan", "scan_in_place")]


def body(scan):
    return scan.params["jaxpr" if scan.primitive.name == "scan" else "body"]


def products(jaxpr):
    return [e for e in equations(jaxpr) if e.primitive.name in PRODUCTS]


def shapes(equation):
    """Of all operands and results."""
    return [v.aval.shape for v in (*equation.invars, *equation.outvars)]


def products_in_loops(jaxpr):
    return [p for s in scans(jaxpr) for p in products(body(s))]


def carry_shapes(scan):
    if "ft_in" in scan.params:  # of `jax.lax.scan` from jax 0.11 on
        consts, carry, _ = scan.params["ft_in"].unpack()
        first, count = len(list(consts.vals)), len(list(carry.vals))
    elif scan.primitive.name == "scan":
        first, count = scan.params["num_consts"], scan.params["num_carry"]
    else:
        first, count, *_ = scan.params["counts"]
    return [v.aval.shape for v in scan.invars[first : first + count]]


def arrays_containing(jaxpr, sizes):
    """The shapes of all arrays that have at least these sizes among their axes, in any order."""
    wanted = Counter(sizes)
    found = (v.aval.shape for e in equations(jaxpr) for v in e.outvars)
    return [shape for shape in found if not wanted - Counter(shape)]
