"""From mapped axes to members and rows, and back."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.program import Program, features
from jaxrnn.kernels.shared_units import UNITS


class Level(NamedTuple):
    """An axis that was mapped.

    Attributes:
      size: its length.
      mapped: for each operand, whether it has that axis.
      name: "" if it has none.
    """

    size: int
    mapped: tuple[bool, ...]
    name: str = ""


class Levels(NamedTuple):
    """All mapped axes, the outermost first.

    Where something that is shared differs along one, such as weights, it is an axis of members, else one of rows.
    """

    program: Program
    levels: tuple[Level, ...]

    @property
    def members(self) -> list[int]:
        """Which are axes of members."""
        count = self.program.counts.shared
        return [i for i, level in enumerate(self.levels) if any(level.mapped[:count])]

    @property
    def rows(self) -> list[int]:
        """Which are axes of rows."""
        return [i for i in range(len(self.levels)) if i not in self.members]

    @property
    def shares(self) -> int:
        """How many members, next to each other, share the hidden units of one."""
        return math.prod(level.size for level in self.levels if level.name == UNITS)

    def size(self, axes: Sequence[int]) -> int:
        """Entries along these axes together."""
        return math.prod(self.levels[i].size for i in axes)

    def blocks(self, operands: Sequence[Any], block: int) -> Blocks:
        """The operands [T if any, mapped axes ..., ...] as members and rows; the last row fills the last block."""
        program, arranged = self.program, []
        for i, (x, timed) in enumerate(zip(operands, program.counts.over_time, strict=True)):
            shared = i < program.counts.shared
            x = x.reshape((*self._lead(x, i, timed), *features(program.step.in_avals[i].shape, shared)))
            arranged.append(self._arranged(x, i, int(timed), shared, -self.size(self.rows) % block))
        parts = program.counts.parts(arranged)
        carry = [self._everywhere(x, 0) for x in parts.carry]
        entries = [self._everywhere(x, 1) for x in parts.entries]
        parts = parts._replace(carry=carry, entries=entries)
        return Blocks(program, parts, self.size(self.members), block, self.shares)

    def results(self, found: Sequence[Any]) -> list[Any]:
        """[T if any, members, rows, ...] -> [T if any, mapped axes ..., ...]."""
        order, carried = self.members + self.rows, self.program.counts.carry
        sizes, restored = tuple(self.levels[i].size for i in order), []
        for i, (x, aval) in enumerate(zip(found, self.program.step.out_avals, strict=True)):
            time = int(i >= carried)
            x = jax.lax.slice_in_dim(x, 0, self.size(self.rows), axis=time + 1)
            x = x.reshape((*x.shape[:time], *sizes, *aval.shape))
            restored.append(jnp.moveaxis(x, range(time, time + len(order)), [time + k for k in order]))
        return restored

    def _lead(self, x: Any, i: int, timed: bool) -> tuple[int, ...]:
        """The axes of an operand in front of its features, with 1 for the mapped ones that it lacks."""
        return (*x.shape[: int(timed)], *(level.size if level.mapped[i] else 1 for level in self.levels))

    def _arranged(self, x: Any, i: int, time: int, shared: bool, padding: int) -> Any:
        order, count = self.members + self.rows, len(self.levels)
        x = jnp.moveaxis(x, [time + k for k in order], range(time, time + count))
        lead, inner = x.shape[:time], x.shape[time + count :]
        split = any(self.levels[k].mapped[i] for k in self.members)
        sizes = [self.levels[k].size if split else 1 for k in self.members]
        sizes += [1 if shared else self.levels[k].size for k in self.rows]
        x = jnp.broadcast_to(x, (*lead, *sizes, *inner))
        members = self.size(self.members) if split else 1
        if shared:
            return x.reshape((members, *inner))
        x = x.reshape((*lead, members, self.size(self.rows), *inner))
        return jnp.pad(x, [(0, 0)] * (time + 1) + [(0, padding)] + [(0, 0)] * len(inner), mode="edge") if padding else x

    def _everywhere(self, x: Any, time: int) -> Any:
        """With an axis of all members."""
        return jnp.broadcast_to(x, (*x.shape[:time], self.size(self.members), *x.shape[time + 1 :]))
