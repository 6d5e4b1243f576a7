"""The loop as a kernel for TPUs: a grid of members, blocks of rows and steps, the carry in VMEM from step to step.

What is shared has the same block at all steps and is copied to VMEM once; blocks of the other arrays are copied while
the step before computes.
"""

from typing import Any

from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as backend

from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.specs import Time, in_specs, out_specs


def run(blocks: Blocks, interpret: bool) -> list[Any]:
    """The results, [members, rows, ...] and [T, members, rows, ...]."""
    T, step, reverse, carried = blocks.T, blocks.program.of_rows(), blocks.program.reverse, blocks.program.counts.carry

    def kernel(*refs: Any) -> None:
        reading, writing = blocks.split(refs[: len(refs) - carried])
        carry, i = refs[len(refs) - carried :], pl.program_id(2)

        @pl.when(i == 0)
        def _() -> None:
            for ref, first in zip(carry, reading.carry, strict=True):
                ref[...] = first[...]

        inputs = (*reading.shared, *reading.rows, *carry, *reading.entries, *reading.xs)
        found = step([ref[...] for ref in inputs])
        for ref, x in zip((*carry, *writing.entries, *writing.xs), found, strict=True):
            ref[...] = x

        @pl.when(i == T - 1)
        def _() -> None:
            for ref, last in zip(writing.carry, found, strict=False):
                ref[...] = last

    time = Time(T, lambda t: T - 1 - t if reverse else t)
    carry = [backend.VMEM((blocks.size, *x.shape[2:]), x.dtype) for x in blocks.parts.carry]
    return pl.pallas_call(
        kernel,
        blocks.out_shapes,
        grid=(*blocks.grid, T),
        in_specs=in_specs(blocks, time),
        out_specs=out_specs(blocks, time),
        scratch_shapes=carry,
        input_output_aliases=blocks.aliases,
        interpret=interpret,
        compiler_params=backend.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
        name="persistent_loop",
    )(*blocks.parts.listed)
