"""The loop as a kernel for NVIDIA GPUs, by Pallas's Triton backend: one program runs all steps of a block of rows.

What is shared is loaded once, the carry stays in registers, and what step t+1 reads is loaded before step t computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxrnn.kernels.program import Program
from jaxrnn.kernels.specs import specs

WARPS = {"float32": {32: 4, 64: 8}, "half": {32: 4, 128: 8}}
"""How many warps a block has: by the dtype of w_h and the largest of its sizes, 16 if that is larger than any here: the
fewest with which an LSTM or a GRU spills no registers on an H100, see benchmarks/README.md."""


def launch(program: Program, operands: Any, interpret: bool) -> list[Any]:
    """The results."""
    counts, reverse, step = program.counts, program.reverse, program.of_block()
    (T, rows), carried = operands[-1].shape[:2], counts.carry

    def kernel(*refs: Any) -> None:
        consts, start, arrays, xs = counts.parts(refs)
        writing = refs[len(operands) :]
        constant = [ref[...] for ref in consts]

        def load(t: Any) -> list[Any]:
            return [ref[t] for ref in (*arrays, *xs)]

        def body(i: Any, state: Any) -> Any:
            carry, at_t = state
            t = T - 1 - i if reverse else i
            following = load(jnp.maximum(t - 1, 0) if reverse else jnp.minimum(t + 1, T - 1))
            found = step([*constant, *carry, *at_t])
            for ref, x in zip(writing[carried:], found[carried:], strict=True):
                ref[t] = x
            return found[:carried], following

        carry = [ref[...] for ref in start]
        carry, _ = jax.lax.fori_loop(0, T, body, (carry, load(T - 1 if reverse else 0)))
        for ref, x in zip(writing[:carried], carry, strict=True):
            ref[...] = x

    in_specs, out_specs = specs(program, operands)
    return pl.pallas_call(
        kernel,
        program.out_shapes(operands),
        grid=(rows // program.block,),
        in_specs=in_specs,
        out_specs=out_specs,
        input_output_aliases=program.aliases(),
        interpret=interpret,
        compiler_params=None if interpret else _options(program),
        name="persistent_loop",
    )(*operands)


def _options(program: Program) -> Any:
    from jax.experimental.pallas import triton  # late: a later jax means to give this backend up

    consts, *_ = program.counts.parts(program.step.in_avals)
    weights = [x for x in consts if len(x.shape) == 2]
    units = max((max(x.shape) for x in weights), default=1)
    table = WARPS["float32" if any(x.dtype == jnp.float32 for x in weights) else "half"]
    return triton.CompilerParams(num_warps=next((n for most, n in table.items() if units <= most), 16), num_stages=1)
