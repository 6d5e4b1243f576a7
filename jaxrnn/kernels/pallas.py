"""The loop as a Pallas kernel: for NVIDIA GPUs, by its Triton backend, and for TPUs, by Mosaic."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxrnn.kernels.program import Program

WARPS = {"float32": {32: 4, 64: 8}, "half": {32: 4, 128: 8}}
"""The number of warps of a block, by the dtype of w_h and the largest of its sizes; 16 for sizes above all of these:
the fewest with which an LSTM or a GRU spills no registers on an H100, see docs/benchmarks/kernel.md."""


def cuda(program: Program, operands: Sequence[Any], interpret: bool) -> list[Any]:
    """Runs all steps of a block of rows in one program of the grid; returns the results.

    Shared arrays are loaded once, the carry is in registers, and the inputs of step t+1 are loaded before step t
    computes.
    """
    T, carried, reverse, step = operands[-1].shape[0], program.counts.carry, program.reverse, program.of_block()

    def kernel(*refs: Any) -> None:
        consts, start, arrays, xs = program.counts.parts(refs)
        constant, written = [ref[...] for ref in consts], refs[len(operands) :]

        def load(t: Any) -> list[Any]:
            return [ref[t] for ref in (*arrays, *xs)]

        def body(i: Any, state: Any) -> Any:
            carry, at_t = state
            t = T - 1 - i if reverse else i
            following = load(jnp.maximum(t - 1, 0) if reverse else jnp.minimum(t + 1, T - 1))
            found = step([*constant, *carry, *at_t])
            for ref, x in zip(written[carried:], found[carried:], strict=True):
                ref[t] = x
            return found[:carried], following

        carry = [ref[...] for ref in start]
        carry, _ = jax.lax.fori_loop(0, T, body, (carry, load(T - 1 if reverse else 0)))
        for ref, x in zip(written[:carried], carry, strict=True):
            ref[...] = x

    return _call(kernel, program, operands, interpret, None if interpret else _warps(program), None)


def tpu(program: Program, operands: Sequence[Any], interpret: bool) -> list[Any]:
    """Runs a grid of blocks of rows and of steps, with the carry in VMEM throughout; returns the results.

    Shared arrays have the same block at all steps and are copied to VMEM once; blocks of the other arrays are copied
    while the step before computes.
    """
    from jax.experimental.pallas import tpu as backend

    T, step = operands[-1].shape[0], program.of_block()

    def kernel(*refs: Any) -> None:
        consts, start, arrays, xs = program.counts.parts(refs)
        written = refs[len(operands) :]
        carry = written[: program.counts.carry]

        @pl.when(pl.program_id(1) == 0)
        def _() -> None:
            for ref, first in zip(carry, start, strict=True):
                ref[...] = first[...]

        for ref, x in zip(written, step([ref[...] for ref in (*consts, *carry, *arrays, *xs)]), strict=True):
            ref[...] = x

    params = backend.CompilerParams(dimension_semantics=("parallel", "arbitrary"))
    return _call(kernel, program, operands, interpret, params, lambda t: T - 1 - t if program.reverse else t)


def _call(
    kernel: Any,
    program: Program,
    operands: Sequence[Any],
    interpret: bool,
    params: Any,
    step: Callable[[Any], Any] | None,
) -> list[Any]:
    """Runs the kernel for all blocks: one program for each `step` (index of the grid); None: one for all steps."""
    counts, outs, (T, rows) = program.counts, program.out_shapes(operands), operands[-1].shape[:2]

    def spec(x: Any, of_rows: bool, timed: bool) -> pl.BlockSpec:
        inner = x.shape[int(timed) + int(of_rows) :]

        def index(i: Any, t: Any = 0) -> tuple[Any, ...]:
            return (*((0 if step is None else step(t),) * timed), *((i,) * of_rows), *([0] * len(inner)))

        steps = (T,) if step is None else (None,)
        return pl.BlockSpec((*steps * timed, *(program.block,) * of_rows, *inner), index)

    first = counts.consts + counts.carry
    found = pl.pallas_call(
        kernel,
        outs,
        grid=(rows // program.block,) if step is None else (rows // program.block, T),
        in_specs=[spec(x, i >= counts.consts, i >= first) for i, x in enumerate(operands)],
        out_specs=[spec(x, True, i >= counts.carry) for i, x in enumerate(outs)],
        input_output_aliases={first + i: counts.carry + i for i in range(counts.arrays)},  # arrays are overwritten
        interpret=interpret,
        compiler_params=params,
        name="persistent_loop",
    )(*operands)
    return list(found)


def _warps(program: Program) -> Any:
    from jax.experimental.pallas import triton  # imported late: a later jax will drop this backend

    consts, *_ = program.counts.parts(program.step.in_avals)
    weights = [x for x in consts if len(x.shape) == 2]
    units = max((max(x.shape) for x in weights), default=1)
    table = WARPS["float32" if any(x.dtype == jnp.float32 for x in weights) else "half"]
    return triton.CompilerParams(num_warps=next((n for most, n in table.items() if units <= most), 16), num_stages=1)
