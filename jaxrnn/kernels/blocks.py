"""How the arrays of a loop are cut into blocks, one for each member and each block of rows."""

from typing import Any, NamedTuple

import jax

from jaxrnn.kernels.program import Parts, Program, features


class Blocks(NamedTuple):
    """A loop's arrays, ready to be cut.

    Attributes:
      program: what is computed.
      parts: `shared` [members, ...], `rows` and `carry` [members, rows, ...], `entries` and `xs` [T, members, rows,
        ...]; 1 in the place of members where they share it.
      members: how many there are.
      size: rows in a block, of which there is a whole number.
      shares: how many members, next to each other, share the hidden units of one.
    """

    program: Program
    parts: Parts
    members: int
    size: int
    shares: int = 1

    @property
    def T(self) -> int:
        """Steps."""
        return self.program.counts.steps(self.parts.listed)

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

    def split(self, refs: tuple[Any, ...]) -> tuple[Parts, Parts]:
        """A kernel's references, those that it reads and those that it writes."""
        count = len(self.parts.listed)
        results = self.program.results
        writing = iter(refs[count:])
        return self.program.counts.parts(refs[:count]), Parts(*([next(writing) for _ in part] for part in results))
