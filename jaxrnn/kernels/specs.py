"""Which part of each array a block of a kernel sees."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.experimental import pallas as pl

from jaxrnn.kernels.program import Program


def specs(
    program: Program, operands: Sequence[Any], step: Callable[[Any], Any] | None = None
) -> tuple[list[pl.BlockSpec], list[pl.BlockSpec]]:
    """(of the operands, of the results): one block of rows; of each step, or of all.

    Args:
      program: what is computed.
      operands: its arrays.
      step: (second index of the grid) -> the step that a block is for; None: it has an axis of all of them.
    """
    T = operands[-1].shape[0]

    def spec(x: Any, of_rows: bool, timed: bool) -> pl.BlockSpec:
        inner = x.shape[int(timed) + int(of_rows) :]
        rows, steps = (program.block,) * of_rows, ((T,) if step is None else (None,)) * timed

        def index(i: Any, t: Any = 0) -> tuple[Any, ...]:
            return (*((0 if step is None else step(t),) * timed), *((i,) * of_rows), *([0] * len(inner)))

        return pl.BlockSpec((*steps, *rows, *inner), index)

    consts, carry = program.counts.consts, program.counts.carry
    inputs = [spec(x, i >= consts, i >= consts + carry) for i, x in enumerate(operands)]
    return inputs, [spec(x, True, i >= carry) for i, x in enumerate(program.out_shapes(operands))]
