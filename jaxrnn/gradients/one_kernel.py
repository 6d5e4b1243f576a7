"""A small loop as one kernel of XLA's CPU backend."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, subjaxprs

LARGEST = 2**18
"""Entries of the largest weight matrix of a loop that is compiled into one kernel."""


def one_kernel(loop: Callable[..., list[Any]], otherwise: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """The loop, compiled into one kernel where that is faster, and `otherwise` elsewhere.

    XLA's CPU backend runs each operation of a loop's body as a kernel of its own, which costs about 0.2 us: with one
    row and 64 units that is more than half of the time. Its own remedy, `xla_cpu_small_while_loop_byte_threshold`, is
    a flag of the process; the attributes below ask for the same for one loop. A compiler that does not know them
    compiles the loop as any other. Inside one kernel a product of matrices is a plain loop, so this is for products of
    one row, as measured in benchmarks/README.md.
    """

    def run(*operands: Any, body: ClosedJaxpr, **params: Any) -> list[Any]:
        if not _is_small(body.jaxpr):
            return otherwise(*operands, body=body, **params)
        program = jax.make_jaxpr(functools.partial(loop, body=body, **params))(*operands)
        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            return jax.jit(jaxpr_as_fun(program))(*operands)

    return run


def _is_small(jaxpr: Jaxpr) -> bool:
    """Whether all products are of one row, and of small matrices."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "rows_product"):
            x, w = (v.aval.shape for v in equation.invars)  # pyright: ignore[reportAttributeAccessIssue]
            if math.prod(x) != x[-1] or math.prod(w) > LARGEST:
                return False
    return all(_is_small(inner) for inner in subjaxprs(jaxpr))
