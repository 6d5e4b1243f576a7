"""How the arrays of a loop are cut into blocks, one for each member and each block of rows."""

from typing import Any, NamedTuple

import jax
from jax.experimental import pallas as pl

from jaxrnn.kernels.program import Parts, Program, features


class Blocks(NamedTuple):
    """A loop's arrays, ready to be cut.

    Attributes:
      program: what is computed.
      parts: `shared` [members, ...], `rows` and `carry` [members, rows, ...], `entries` and `xs` [T, members, rows,
        ...]; 1 in the place of members where they share it.
      members: how many there are.
      size: rows in a block, of which there is a whole number.
    """

    program: Program
    parts: Parts
    members: int
    size: int

    @property
    def T(self) -> int:
        """Steps."""
        return self.parts.entries[0].shape[0]

    @property
    def rows(self) -> int:
        """Rows of a member."""
        return self.parts.carry[0].shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Members, blocks of rows."""
        return self.members, self.rows // self.size

    @property
    def out_shapes(self) -> list[jax.ShapeDtypeStruct]:
        """Of the results."""
        results, lead = self.program.results, (self.members, self.rows)
        carry = [jax.ShapeDtypeStruct((*lead, *features(x.shape, False)), x.dtype) for x in results.carry]
        stacked = [
            jax.ShapeDtypeStruct((self.T, *lead, *features(x.shape, False)), x.dtype)
            for x in (*results.entries, *results.xs)
        ]
        return [*carry, *stacked]

    @property
    def aliases(self) -> dict[int, int]:
        """Entries are overwritten."""
        counts = self.program.counts
        return {counts.shared + counts.rows + counts.carry + i: counts.carry + i for i in range(counts.entries)}

    def in_specs(self, time: "Time") -> list[pl.BlockSpec]:
        """Of `parts`."""
        parts = self.parts
        shared = [_spec(x, (), time) for x in parts.shared]
        rows = [_spec(x, (self.size,), time) for x in (*parts.rows, *parts.carry)]
        return shared + rows + [_spec(x, (self.size,), time, timed=True) for x in (*parts.entries, *parts.xs)]

    def out_specs(self, time: "Time") -> list[pl.BlockSpec]:
        """Of the results."""
        carry = self.program.counts.carry
        return [_spec(x, (self.size,), time, timed=i >= carry) for i, x in enumerate(self.out_shapes)]

    def split(self, refs: tuple[Any, ...]) -> tuple[Parts, Parts]:
        """A kernel's references, those that it reads and those that it writes."""
        count = len(self.parts.listed)
        results = self.program.results
        writing = iter(refs[count:])
        return self.program.counts.parts(refs[:count]), Parts(*([next(writing) for _ in part] for part in results))


class Time(NamedTuple):
    """How a kernel goes through time.

    Attributes:
      T: steps.
      step: (grid indices) -> which step's entry a block holds; None: a block holds all of them.
    """

    T: int
    step: Any = None


def _spec(x: Any, rows: tuple[int, ...], time: Time, timed: bool = False) -> pl.BlockSpec:
    """Of an array [T if timed, members or 1, rows if any, ...]: one member's, one block of rows."""
    lead = int(timed)
    shared, inner = x.shape[lead] == 1, x.shape[lead + 1 + len(rows) :]
    steps = () if not timed else (time.T,) if time.step is None else (None,)

    def index(m: Any, i: Any, *t: Any) -> tuple[Any, ...]:
        at = () if not timed else (0,) if time.step is None else (time.step(*t),)
        return (*at, 0 if shared else m, *([i] if rows else []), *([0] * len(inner)))

    return pl.BlockSpec((*steps, None, *rows, *inner), index)
