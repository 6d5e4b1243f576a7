"""What a kernel needs on the chip, and what there is."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.kernels.devices import gpu
from jaxrnn.kernels.program import Program

SEVERAL_PRODUCTS = {
    jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3: 2.0,
    jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X6: 1.5,
    jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X9: 1.5,
}
"""Where a product of float32 factors is made of several, their parts take so many times the factors' room."""


class Room(NamedTuple):
    """Bytes.

    Attributes:
      shared: for what all rows and steps share, such as weights, and for its products.
      rows: for what belongs to a block's rows.
    """

    shared: int
    rows: int


def there(platform: str) -> Room:
    """What can be had. A GPU's multiprocessor also has 256 KiB of registers, of which what a step computes needs some.

    A TPU kernel may have 16 MiB of VMEM by default.
    """
    return Room(10 * 2**20, 4 * 2**20) if platform == "tpu" else Room(gpu().shared_memory, 192 * 1024)


def needed(program: Program, block: int) -> Room:
    """What a block of so many rows keeps on the chip: of what a step reads and writes, also the next one's.

    In a GPU's shared memory the factors of a step's products lie beside the weights, and each result once it is there:
    as much as Triton asks for, or a little more, see benchmarks/README.md.
    """
    inputs, results = program.inputs, program.results
    products = [e for e in program.step.jaxpr.eqns if e.primitive is jax.lax.dot_general_p]
    factors = {e.invars[0]: _bytes([e.invars[0].aval]) for e in products}
    largest = max((factors[e.invars[0]] + _bytes([e.outvars[0].aval]) for e in products), default=0)
    parts = max((SEVERAL_PRODUCTS.get(e.params["precision"], 1.0) for e in products), default=1.0)
    working = max(largest, sum(factors.values()))
    carried, passing = (*inputs.rows, *inputs.carry), (*inputs.entries, *inputs.xs, *results.xs)
    return Room(int(parts * (_bytes(inputs.shared) + block * working)), block * (_bytes(carried) + 2 * _bytes(passing)))


def obstacle(program: Program, block: int, platform: str) -> str | None:
    """What does not fit on the chip; None: everything does."""
    wanted, had = needed(program, block), there(platform)
    for name, bytes_, limit in (("weights", wanted.shared, had.shared), (f"{block} rows", wanted.rows, had.rows)):
        if bytes_ > limit:
            return f"its {name} need {bytes_ / 1024:.0f} KiB on the chip, where {limit / 1024:.0f} KiB can be had"
    return None


def _bytes(arrays: Sequence[Any]) -> int:
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arrays)
