"""The loop of a gated cell as a scan: its products, and the arrays in which it keeps gates."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.cells.gated import GatedCell, Gates
from jaxrnn.cells.gates import is_apart
from jaxrnn.linear import affine, over_rows
from jaxrnn.primitives.scan_in_place import scan_in_place
from jaxrnn.types import Params, Tree


class Z(NamedTuple):
    """Pre-activations of all gates, or the arrays in their place; None if no gate is of that kind.

    Attributes:
      sums: zx + zh [..., n*H] of the n gates that read the sum.
      x, h: zx and zh of the gates that are apart.
    """

    sums: Any = None
    x: Any = None
    h: Any = None


class Loop:
    """A scan; another kind of loop overrides `scan`, its two products, and the way gates are joined."""

    def scan(
        self, f: Callable[..., tuple[Tree, Tree, Tree]], carry: Tree, arrays: Tree, xs: Tree, reverse: bool = False
    ) -> tuple[Tree, Tree, Tree]:
        """See `scan_in_place`. The carry is (arrays [*batch_shape, ...], sums over the batch)."""
        return scan_in_place(f, carry, arrays, xs, reverse)

    @property
    def without_derivative(self) -> "Loop":
        """The loop for a run without a derivative: it may leave out what only a derivative reads."""
        return self

    def join(self, gates: Sequence[jax.Array]) -> Any:
        """Joins n arrays [..., H] into one [..., n*H]."""
        return None if not gates else gates[0] if len(gates) == 1 else jnp.concatenate(gates, -1)

    def split(self, joined: Any, H: int) -> list[jax.Array]:
        """The inverse of `join`."""
        return [] if joined is None else list(jax.lax.split(joined, [H] * (joined.shape[-1] // H), joined.ndim - 1))

    def columns(self, cell: GatedCell, x: jax.Array | None) -> tuple[Tree, Tree]:
        """Splits [..., G*H], or None, into the columns of gates that read a sum and those of gates that are apart."""
        apart = [is_apart(f) for f in cell.gates.values()]
        if x is None or not any(apart):
            return x, None
        runs = [(other, len(list(gates))) for other, gates in itertools.groupby(apart)]
        pieces = jax.lax.split(x, [n * (x.shape[-1] // cell.G) for _, n in runs], x.ndim - 1)
        found = [[z for z, (other, _) in zip(pieces, runs, strict=True) if other == kind] for kind in (False, True)]
        return self.join(found[0]), self.join(found[1])

    def input_product(self, cell: GatedCell, params: Params, xs: jax.Array) -> Z:
        """xs @ w_x, of all steps."""
        return jax.tree.map(lambda w: affine(xs, w, dtype=cell.dtype), Z(*self.columns(cell, params["w_x"])))

    def with_bias(self, cell: GatedCell, params: Params, products: Z) -> Z:
        """The input part zx: the products plus b."""
        return self._plus(products, Z(*self.columns(cell, params.get("b"))))

    def recurrent_product(self, cell: GatedCell, params: Params, hs: jax.Array) -> Z:
        """The hidden part zh of all steps, from the states that the steps read."""
        if cell.heads > 1:
            return self.product(cell, params)(hs)
        sums, apart = self.columns(cell, params["w_h"])
        zh = jax.tree.map(lambda w: affine(hs, w, dtype=cell.dtype), Z(sums, None, apart))
        sums, apart = self.columns(cell, params.get("b_h"))
        return self._plus(zh, Z(sums, None, apart))

    def _plus(self, z: Z, bias: Z) -> Z:
        if not jax.tree.leaves(bias):
            return z
        return jax.tree.map(lambda x, b: x + over_rows(b.astype(x.dtype), x), z, bias)

    def product(self, cell: GatedCell, params: Params) -> Callable[[jax.Array], Z]:
        """The map h -> zh, within the loop."""

        def run(h: jax.Array) -> Z:
            sums, apart = self.columns(cell, cell.recurrent_product(params, h))
            return Z(sums, None, apart)

        return run

    def transposed_product(self, cell: GatedCell, params: Params) -> Callable[[Gates], jax.Array]:
        """The map from the derivatives of all gates to that of h, within the loop."""
        run = cell.recurrent_transposed(params)
        return lambda d: run(jnp.concatenate([z[1] if isinstance(z, tuple) else z for z in d], -1))

    def pre_activations(self, cell: GatedCell, zx: Z, zh: Z) -> list[Any]:
        """The sum zx + zh of each gate, or the pair if it is apart."""
        return self.gates(cell, Z(jax.tree.map(jnp.add, zx.sums, zh.sums), zx.x, zh.h))

    def gates(self, cell: GatedCell, z: Z) -> list[Any]:
        """The array [..., H] of each gate, or the pair of arrays if it is apart."""
        sums, x, h = (iter(self.split(each, cell.H)) for each in z)
        return [(next(x), next(h)) if is_apart(f) else next(sums) for f in cell.gates.values()]

    def stored(self, gates: Gates) -> Z:
        """The inverse of `gates`."""
        apart = [z for z in gates if isinstance(z, tuple)]
        sums = [z for z in gates if not isinstance(z, tuple)]
        return Z(self.join(sums), self.join([zx for zx, _ in apart]), self.join([zh for _, zh in apart]))


SCAN = Loop()
