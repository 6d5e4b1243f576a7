"""What a kernel needs on the chip, and what there is."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.kernels.program import Program
from jaxrnn.kernels.shared_units import all_units, exchanges


class Room(NamedTuple):
    """Bytes.

    Attributes:
      shared: for what all rows and steps share, such as weights.
      rows: for what belongs to a block's rows.
    """

    shared: int
    rows: int


ROOM = {"cuda": Room(224 * 1024, 192 * 1024), "tpu": Room(10 * 2**20, 4 * 2**20)}
"""By platform. A multiprocessor of an H100 has 227 KiB of shared memory, and 256 KiB of registers, of which what a step
computes needs some. A TPU kernel may have 16 MiB of VMEM by default."""


def needed(program: Program, block: int) -> Room:
    """What a block of so many rows keeps on the chip: of what a step reads and writes, also the next one's.

    What blocks hand over to each other lies beside the weights while it is multiplied.
    """
    inputs, results = program.inputs, program.results
    handed_over = max((_bytes([all_units(equation)]) for equation in exchanges(program.step)), default=0)
    carried, passing = (*inputs.rows, *inputs.carry), (*inputs.entries, *inputs.xs, *results.xs)
    return Room(_bytes(inputs.shared) + block * handed_over, block * (_bytes(carried) + 2 * _bytes(passing)))


def obstacle(program: Program, block: int, platform: str) -> str | None:
    """What does not fit on the chip; None: everything does."""
    there, wanted = ROOM[platform], needed(program, block)
    for name, bytes_, limit in (("weights", wanted.shared, there.shared), (f"{block} rows", wanted.rows, there.rows)):
        if bytes_ > limit:
            return f"its {name} need {bytes_ / 1024:.0f} KiB on the chip, where {limit / 1024:.0f} KiB can be had"
    return None


def _bytes(arrays: Sequence[Any]) -> int:
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arrays)
