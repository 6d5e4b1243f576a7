"""How a gated cell's loop over time is run: as a scan, or as one kernel of an accelerator."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell
from jaxrnn.gradients.gate_groups import GateGroups
from jaxrnn.gradients.in_place import scan_in_place
from jaxrnn.gradients.joined_product import joined_product
from jaxrnn.heads import by_heads_transposed
from jaxrnn.kernels.persistent import persistent_loop
from jaxrnn.kernels.shared_units import of_all_units, sum_of_own_units
from jaxrnn.linear import state_dtype
from jaxrnn.product import columns
from jaxrnn.types import Params, Tree

Body = Callable[[Tree, Tree, Tree, Any], tuple[Tree, Tree, Tree, Any]]
"""(rows, carry, entry, x) -> (carry, what is added to the totals, entry, y)."""


class Loop(abc.ABC):
    """A loop, and the products within."""

    joined: bool
    """Whether it reads and writes one array for all gates of a group, see `GateGroups`."""

    @abc.abstractmethod
    def product(self, cell: GatedCell, params: Params, groups: GateGroups) -> Callable[[jax.Array], tuple[Any, Any]]:
        """h -> h @ w_h + b_h, its columns by group."""

    @abc.abstractmethod
    def transposed_product(
        self, cell: GatedCell, params: Params, groups: GateGroups
    ) -> Callable[[list[jax.Array]], jax.Array]:
        """dz, a list of gates in the order of the groups -> dz @ w_h^T."""

    def all_units(self, h: jax.Array) -> jax.Array:
        """What the product reads: h, unless its units are shared out."""
        return h

    @abc.abstractmethod
    def batch_axes(self, count: int) -> int:
        """How many axes of the batch the body sees, of so many."""

    @abc.abstractmethod
    def run(
        self,
        body: Body,
        rows: Tree,
        carry: Tree,
        totals: Tree,
        arrays: Tree,
        xs: Any,
        batch_axes: int,
        reverse: bool = False,
    ) -> tuple[Tree, Tree, Tree, Any]:
        """Runs the body over all steps.

        Args:
          body: see `Body`.
          rows: arrays [*batch_shape, ...] that all steps read.
          carry: arrays [*batch_shape, ...].
          totals: zeros, to which all steps and rows add.
          arrays: [T, *batch_shape, ...]; a step replaces its entry.
          xs: [T, *batch_shape, ...].
          batch_axes: how many axes the batch has.
          reverse: from the last step to the first.

        Returns:
          (carry, totals, arrays, ys).
        """


@dataclasses.dataclass(frozen=True)
class Scan(Loop):
    """A scan, of whole batches."""

    joined = True

    def product(self, cell: GatedCell, params: Params, groups: GateGroups) -> Callable[[jax.Array], tuple[Any, Any]]:
        return lambda h: groups.split(cell.recurrent_product(params, h))

    def transposed_product(
        self, cell: GatedCell, params: Params, groups: GateGroups
    ) -> Callable[[list[jax.Array]], jax.Array]:
        w = params["w_h"]
        if cell.heads == 1:
            w = groups.in_order(w)
            return lambda dz: joined_product(dz, w.T, dtype=cell.dtype)
        w = w if cell.dtype is None else w.astype(cell.dtype)

        def by_gate(dz: list[jax.Array]) -> jax.Array:
            pairs = zip(groups.summed + groups.apart, dz, strict=True)
            z = jnp.concatenate([d for _, d in sorted(pairs, key=lambda pair: pair[0])], -1)
            return by_heads_transposed(z.astype(w.dtype), w, state_dtype(params["w_h"].dtype))

        return by_gate

    def batch_axes(self, count: int) -> int:
        return count

    def run(
        self,
        body: Body,
        rows: Tree,
        carry: Tree,
        totals: Tree,
        arrays: Tree,
        xs: Any,
        batch_axes: int,
        reverse: bool = False,
    ) -> tuple[Tree, Tree, Tree, Any]:
        step = functools.partial(_with_totals(body), rows)
        (carry, totals), arrays, ys = scan_in_place(step, (carry, totals), arrays, xs, reverse)
        return carry, totals, arrays, ys


@dataclasses.dataclass(frozen=True)
class Persistent(Loop):
    """One kernel, of single rows; each gate has arrays and a product of its own, which a kernel can't cut or join."""

    joined = False

    def product(self, cell: GatedCell, params: Params, groups: GateGroups) -> Callable[[jax.Array], tuple[Any, Any]]:
        weights, (summed, apart) = self._weights(cell, params, groups), groups.split(params.get("b_h"))
        accumulated = state_dtype(params["w_h"].dtype)

        def run(h: jax.Array) -> tuple[Any, Any]:
            found = [_dot(h, w, accumulated) for w in weights]
            pairs = zip(found, [*summed, *apart], strict=True)
            return groups.by_group([z if bias is None else z + bias.astype(z.dtype) for z, bias in pairs])

        return run

    def transposed_product(
        self, cell: GatedCell, params: Params, groups: GateGroups
    ) -> Callable[[list[jax.Array]], jax.Array]:
        weights = [w.T for w in self._weights(cell, params, groups)]
        accumulated = state_dtype(params["w_h"].dtype)

        def run(dz: list[jax.Array]) -> jax.Array:
            first, *rest = (_dot(d, w, accumulated) for d, w in zip(dz, weights, strict=True))
            return sum(rest, first)

        return run

    def batch_axes(self, count: int) -> int:
        return 0

    def run(
        self,
        body: Body,
        rows: Tree,
        carry: Tree,
        totals: Tree,
        arrays: Tree,
        xs: Any,
        batch_axes: int,
        reverse: bool = False,
    ) -> tuple[Tree, Tree, Tree, Any]:
        def of_row(rows: Tree, carry: Tree, arrays: Tree, xs: Any) -> Any:
            return persistent_loop(_with_totals(body), rows, (carry, totals), arrays, xs, reverse)

        for _ in range(batch_axes):
            of_row = jax.vmap(of_row, (0, 0, 1, 1), (0, 1, 1))
        (carry, totals), arrays, ys = of_row(rows, carry, arrays, xs)
        return carry, jax.tree.map(lambda x: x.sum(range(batch_axes)), totals), arrays, ys

    def _weights(self, cell: GatedCell, params: Params, groups: GateGroups) -> list[jax.Array]:
        """The columns of w_h of each gate, as the product reads them."""
        w = params["w_h"] if cell.dtype is None else params["w_h"].astype(cell.dtype)
        return [columns(w, part) for part in groups.parts]


@dataclasses.dataclass(frozen=True)
class Shared(Persistent):
    """One kernel in which several blocks, an axis named `UNITS`, have some of the units each.

    Attributes:
      shares: how many.
    """

    shares: int

    def product(self, cell: GatedCell, params: Params, groups: GateGroups) -> Callable[[jax.Array], tuple[Any, Any]]:
        run, factors = super().product(cell, params, groups), params["w_h"].dtype if cell.dtype is None else cell.dtype
        return lambda h: run(of_all_units(h.astype(factors), self.shares))

    def transposed_product(
        self, cell: GatedCell, params: Params, groups: GateGroups
    ) -> Callable[[list[jax.Array]], jax.Array]:
        run = super().transposed_product(cell, params, groups)
        return lambda dz: sum_of_own_units(run(dz), self.shares)

    def all_units(self, h: jax.Array) -> jax.Array:
        return of_all_units(h, self.shares)


def _with_totals(body: Body) -> Callable[[Tree, Tree, Tree, Any], tuple[Tree, Tree, Any]]:
    """The body with (carry, totals) for its carry."""

    def step(rows: Tree, state: Tree, entry: Tree, x: Any) -> tuple[Tree, Tree, Any]:
        carry, totals = state
        carry, added, entry, y = body(rows, carry, entry, x)
        return (carry, jax.tree.map(jnp.add, totals, added)), entry, y

    return step


def _dot(x: jax.Array, w: jax.Array, accumulated: Any) -> jax.Array:
    """x [K] @ w [K, H], in float32 to the last bit unless JAX is told otherwise: Triton's default would be tf32."""
    asked = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    precision = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 and not asked else None
    dimensions = (((0,), (0,)), ((), ()))
    return jax.lax.dot_general(x.astype(w.dtype), w, dimensions, precision, preferred_element_type=accumulated)


SCAN, PERSISTENT = Scan(), Persistent()
