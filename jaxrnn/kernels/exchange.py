"""How blocks of a Triton kernel that share hidden units read each other's: through memory that all of them see.

A block writes what it has to hand over, says so by adding to a counter, and waits until the counter says that all of
its group have: so all blocks have to run at the same time, and no more are launched than surely do, see
`jaxrnn.kernels.persistent.at_once`. There are two places to write to, in turn: a block writes to
one again only after it has met the others at the other one, and by then all have read it. Should a block never come, as
where the program runs on a smaller device than it was compiled for, results are NaN: nothing waits for ever.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.extend.core import ClosedJaxpr

from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.program import features
from jaxrnn.kernels.shared_units import all_units, evaluated, exchanges, gather_units

PATIENCE = 2**24
"""How often a block looks whether the others are there: some seconds."""
GAVE_UP = 2**30
"""What the counter is at least once a block has waited in vain: then none waits again."""


class Exchange(NamedTuple):
    """What a kernel of such blocks needs besides its arrays.

    Attributes:
      shares: blocks in a group.
      groups: how many groups there are.
      step: the step of a block of rows.
    """

    shares: int
    groups: int
    step: ClosedJaxpr

    @property
    def memory(self) -> list[jax.ShapeDtypeStruct]:
        """A counter for each group, which begins at zero; then, for each exchange of a step, the places to write to."""
        places = []
        for equation in exchanges(self.step):
            whole, apart = all_units(equation), () if equation.primitive is gather_units else (self.shares,)
            places.append(jax.ShapeDtypeStruct((self.groups, 2, *apart, *whole.shape), whole.dtype))
        return [jax.ShapeDtypeStruct((self.groups,), jnp.int32), *places]

    def run(self, memory: Any, i: Any, values: Any) -> list[Any]:
        """Results of the block's step i, counted from 0 in the order in which they run."""
        from jax.experimental.pallas import triton  # late, as in `jaxrnn.kernels.triton`

        counter, *places = memory
        shares, count = jnp.int32(self.shares), len(places)
        member = pl.program_id(0)
        share = jax.lax.rem(member, shares)
        group = jax.lax.div(member, shares) * pl.num_programs(1) + pl.program_id(1)
        side = jax.lax.rem(i, jnp.int32(2))

        def meet(k: int) -> Any:
            """Waits for the others; whether they came."""
            triton.debug_barrier()  # all threads of this block have written
            triton.atomic_add(counter, (group,), 1)
            all_there = (i * count + k + 1) * shares

            def waits(state: Any) -> Any:
                there, looks = state
                return (there < all_there) & (looks < PATIENCE)

            def look(state: Any) -> Any:
                looks = state[1] + 1
                return triton.atomic_max(
                    counter, (group,), jnp.where(looks < PATIENCE, jnp.int32(0), jnp.int32(GAVE_UP))
                ), looks

            there, _ = jax.lax.while_loop(waits, look, (jnp.int32(0), jnp.int32(0)))
            return (there >= all_there) & (there < GAVE_UP)

        def exchange(k: int, equation: Any, x: Any) -> Any:
            place, H = places[k], places[k].shape[-1]
            own = pl.ds(share * (H // self.shares), H // self.shares)
            if equation.primitive is gather_units:
                place[group, side, :, own] = x
                came = meet(k)
                found = triton.load(place.at[group, side], volatile=True)  # never from a cache of this block's own
            else:
                place[group, side, share] = x
                came = meet(k)
                found = triton.load(place.at[group, side, :, :, own], volatile=True).sum(0)
            return jnp.where(came, found, jnp.full_like(found, jnp.nan))

        return evaluated(self.step, exchange, values)


def exchange_of(blocks: Blocks) -> Exchange:
    """That of blocks which share units."""
    program, size = blocks.program, blocks.size
    avals, shared = program.step.in_avals, program.counts.shared
    shapes = [
        (features(x.shape, True) if i < shared else (size, *features(x.shape, False))) for i, x in enumerate(avals)
    ]
    given = [jax.ShapeDtypeStruct(shape, x.dtype) for shape, x in zip(shapes, avals, strict=True)]
    groups = blocks.members // blocks.shares * (blocks.rows // size)
    return Exchange(blocks.shares, groups, jax.make_jaxpr(program.of_rows())(given))
