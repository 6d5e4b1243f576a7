"""The loop as a kernel for TPUs: a grid of blocks of rows and steps, the carry in VMEM from step to step.

What is shared has the same block at all steps and is copied to VMEM once; blocks of the other arrays are copied while
the step before computes.
"""

from typing import Any

from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as backend

from jaxrnn.kernels.program import Program
from jaxrnn.kernels.specs import specs


def launch(program: Program, operands: Any, interpret: bool) -> list[Any]:
    """The results."""
    counts, reverse, step = program.counts, program.reverse, program.of_block()
    (T, rows), carried = operands[-1].shape[:2], counts.carry

    def kernel(*refs: Any) -> None:
        consts, start, arrays, xs = counts.parts(refs)
        writing, carry, i = refs[len(operands) : len(refs) - carried], refs[len(refs) - carried :], pl.program_id(1)

        @pl.when(i == 0)
        def _() -> None:
            for ref, first in zip(carry, start, strict=True):
                ref[...] = first[...]

        found = step([ref[...] for ref in (*consts, *carry, *arrays, *xs)])
        for ref, x in zip((*carry, *writing[carried:]), found, strict=True):
            ref[...] = x

        @pl.when(i == T - 1)
        def _() -> None:
            for ref, last in zip(writing[:carried], found, strict=False):
                ref[...] = last

    in_specs, out_specs = specs(program, operands, lambda t: T - 1 - t if reverse else t)
    outs = program.out_shapes(operands)
    return pl.pallas_call(
        kernel,
        outs,
        grid=(rows // program.block, T),
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=[backend.VMEM((program.block, *x.shape[1:]), x.dtype) for x in outs[:carried]],
        input_output_aliases=program.aliases(),
        interpret=interpret,
        compiler_params=backend.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        name="persistent_loop",
    )(*operands)
