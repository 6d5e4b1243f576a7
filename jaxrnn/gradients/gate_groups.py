"""The gates of a cell by what its equations see of their pre-activations: the sum zx + zh alone, or each of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, Gates
from jaxrnn.product import Part, columns
from jaxrnn.types import Params, Tree


class Z(NamedTuple):
    """Pre-activations by group: for the n gates of a group an array [..., n*H], or a tuple of n arrays [..., H].

    Attributes:
      sums: zx + zh of the summed gates.
      zx, zh: of the others.
    """

    sums: Any
    zx: Any
    zh: Any


class GateGroups(NamedTuple):
    """Which gates are in which group.

    Attributes:
      H: hidden features.
      summed: gates of which the equations see zx + zh alone.
      apart: the others.
      joined: whether a loop reads and writes one array for all gates of a group, or one for each gate.
    """

    H: int
    summed: tuple[int, ...]
    apart: tuple[int, ...]
    joined: bool = True

    def listed(self, z: Z) -> list[jax.Array]:
        """Tuples to one list."""
        return [*z.sums, *z.zx, *z.zh]

    def grouped(self, listed: Sequence[jax.Array]) -> Z:
        """One list to tuples."""
        summed, apart = len(self.summed), len(self.summed) + len(self.apart)
        return Z(tuple(listed[:summed]), tuple(listed[summed:apart]), tuple(listed[apart:]))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The columns of a loop's arrays, of an array [..., G*H]: first those of summed gates, then the others."""
        if not self.joined:
            return tuple(((g * self.H, (g + 1) * self.H),) for g in self.summed + self.apart)
        return self._columns(self.summed), self._columns(self.apart)

    def by_group(self, parts: Sequence[Any]) -> tuple[Any, Any]:
        """Such columns: (those of the summed gates, those of the others)."""
        if not self.joined:
            return tuple(parts[: len(self.summed)]), tuple(parts[len(self.summed) :])
        summed, apart = parts
        return summed, apart

    def _columns(self, gates: tuple[int, ...]) -> Part:
        if gates and gates == tuple(range(gates[0], gates[0] + len(gates))):
            return ((gates[0] * self.H, (gates[-1] + 1) * self.H),)
        return tuple((g * self.H, (g + 1) * self.H) for g in gates)

    def split(self, x: jax.Array | None) -> tuple[Any, Any]:
        """[..., G*H] -> the columns of the summed gates and those of the others; None -> a pair of trees of None."""
        return self.by_group([None if x is None else columns(x, part) for part in self.parts])

    def in_order(self, x: jax.Array) -> jax.Array:
        """[..., G*H] with the columns of the summed gates first."""
        order = self.summed + self.apart
        return x if order == tuple(sorted(order)) else jnp.concatenate([columns(x, part) for part in self.parts], -1)

    def gates(self, z: Z) -> Z:
        """A loop's arrays to tuples."""
        if not self.joined:
            return z
        return Z(*(tuple(x[..., i : i + self.H] for i in range(0, x.shape[-1], self.H)) for x in z))

    def arrays(self, z: Z, like: jax.Array) -> Z:
        """Tuples to a loop's arrays; `like` is any array of the same leading axes and dtype."""
        if not self.joined:
            return z
        return Z(*(_joined(list(x), like) for x in z))

    def equations(self, z: Z) -> tuple[Gates, Gates]:
        """Tuples to the (zx, zh) that `GatedCell.update` takes: a sum stands for zx, beside a zero zh."""
        zx = dict(zip(self.summed + self.apart, z.sums + z.zx, strict=True))
        zh = dict(zip(self.summed + self.apart, tuple(map(jnp.zeros_like, z.sums)) + z.zh, strict=True))
        return tuple(zx[g] for g in sorted(zx)), tuple(zh[g] for g in sorted(zh))


def _joined(gates: list[jax.Array], like: jax.Array) -> jax.Array:
    return jnp.concatenate(gates, -1) if gates else like[..., :0]


def gate_groups(
    cell: GatedCell, own: Params, carry: Tree, z: jax.Array, noise: Tree, *, joined: bool = True
) -> GateGroups:
    """Traces one step to see how its equations use their pre-activations, each of which is like z [..., H]."""
    zs = (z,) * cell.G
    jaxpr = jax.make_jaxpr(type(cell).advance)(cell, own, carry, zs, zs, noise).jaxpr
    first, G = len(jax.tree.leaves((cell, own, carry))), cell.G

    def is_summed(gate: int) -> bool:
        pair = jaxpr.invars[first + gate], jaxpr.invars[first + G + gate]
        users = [eqn for eqn in jaxpr.eqns if any(v is z for v in eqn.invars for z in pair)]
        returned = any(v is z for v in jaxpr.outvars for z in pair)
        sums = [eqn.primitive.name == "add" and all(any(v is z for v in eqn.invars) for z in pair) for eqn in users]
        return not returned and sums == [True]

    summed = tuple(g for g in range(G) if is_summed(g))
    return GateGroups(cell.H, summed, tuple(g for g in range(G) if g not in summed), joined)
