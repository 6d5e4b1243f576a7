"""A small loop as one kernel of XLA's CPU backend."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxrnn.primitives.primitive import ClosedJaxpr, Jaxpr, jaxpr_as_fun, subjaxprs

LARGEST = 2**18
"""The number of entries of the largest weight matrix in a loop that is compiled into one kernel."""
PRODUCTS = ("dot_general", "matmul")
CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
# fmt: off
PLAIN = (
    "abs", "add", "add_any", "and", "broadcast_in_dim", "ceil", "clamp", "concatenate", "convert_element_type",
    "copy", "cos", "div", "dynamic_slice", "dynamic_update_slice", "eq", "exp", "expm1", "floor", "ge", "gt",
    "integer_pow", "iota", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg",
    "not", "or", "pad", "pow", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_sum", "reshape",
    "round", "rsqrt", "select_n", "sign", "sin", "slice", "split", "sqrt", "square", "squeeze", "stop_gradient", "sub",
    "tanh", "transpose", "xor",
)
# fmt: on
"""Operations that XLA can put into one kernel. It fails to compile others: sort, FFT, callbacks, library calls."""


def one_kernel(loop: Callable[..., list[Any]], otherwise: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Compiles the loop into one kernel where that is faster, and calls `otherwise` elsewhere.

    XLA's CPU backend runs each operation of a loop's body as a kernel of its own, which costs about 0.2 us: with one
    row and 64 units more than half of the time. XLA's option for this, `xla_cpu_small_while_loop_byte_threshold`, is a
    flag of the process; the attributes below ask for the same for one loop. A compiler that does not know the
    attributes compiles the loop as any other; one that does needs operations that fit into one kernel (`PLAIN`). Inside
    one kernel a product of matrices is a plain loop, so only products of one row gain, as measured in
    docs/benchmarks/log.md.
    """

    def run(*operands: Any, body: ClosedJaxpr, **params: Any) -> list[Any]:
        if not _is_small(body.jaxpr):
            return otherwise(*operands, body=body, **params)
        program = jax.make_jaxpr(functools.partial(loop, body=body, **params))(*operands)
        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            return jax.jit(jaxpr_as_fun(program))(*operands)

    return run


def _is_small(jaxpr: Jaxpr) -> bool:
    """Tells whether a loop has products, all of one row and small matrices, and otherwise only `PLAIN` operations."""
    found = list(_operations(jaxpr))
    products = [equation for equation in found if equation.primitive.name in PRODUCTS]
    if not products or not all(equation.primitive.name in PRODUCTS + PLAIN for equation in found):
        return False
    return all(_is_one_row(*(v.aval.shape for v in equation.invars)) for equation in products)


def _is_one_row(x: tuple[int, ...], *others: tuple[int, ...]) -> bool:
    return math.prod(x) == x[-1] and math.prod(others[-1]) <= LARGEST


def _operations(jaxpr: Jaxpr) -> Iterator[Any]:
    """All operations; calls of inner functions are replaced by the operations inside."""
    for equation in jaxpr.eqns:
        inner = list(subjaxprs(jaxpr.replace(eqns=[equation]))) if equation.primitive.name in CALLS else []
        if not inner:
            yield equation
        for each in inner:
            yield from _operations(each)
