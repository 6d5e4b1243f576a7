"""Which part of each array a program of a kernel sees."""

from typing import Any, NamedTuple

from jax.experimental import pallas as pl

from jaxrnn.kernels.blocks import Blocks


class Time(NamedTuple):
    """How a kernel goes through time.

    Attributes:
      T: steps.
      step: (grid indices) -> which step's entry a block holds; None: a block holds all of them.
    """

    T: int
    step: Any = None


def in_specs(blocks: Blocks, time: Time) -> list[pl.BlockSpec]:
    """Of `blocks.parts`."""
    parts, size = blocks.parts, blocks.size
    shared = [_spec(x, (), time) for x in parts.shared]
    rows = [_spec(x, (size,), time) for x in (*parts.rows, *parts.carry)]
    return shared + rows + [_spec(x, (size,), time, timed=True) for x in (*parts.entries, *parts.xs)]


def out_specs(blocks: Blocks, time: Time) -> list[pl.BlockSpec]:
    """Of the results."""
    carry = blocks.program.counts.carry
    return [_spec(x, (blocks.size,), time, timed=i >= carry) for i, x in enumerate(blocks.out_shapes)]


def _spec(x: Any, rows: tuple[int, ...], time: Time, timed: bool = False) -> pl.BlockSpec:
    """Of an array [T if timed, members or 1, rows if any, ...]: one member's, one block of rows."""
    lead = int(timed)
    shared, inner = x.shape[lead] == 1, x.shape[lead + 1 + len(rows) :]
    steps = () if not timed else (time.T,) if time.step is None else (None,)

    def index(m: Any, i: Any, *t: Any) -> tuple[Any, ...]:
        at = () if not timed else (0,) if time.step is None else (time.step(*t),)
        return (*at, 0 if shared else m, *([i] if rows else []), *([0] * len(inner)))

    return pl.BlockSpec((*steps, None, *rows, *inner), index)
