"""The loop of a gated cell as one kernel: each gate has its own arrays and product, each row its own loop."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr

from jaxrnn.bptt import gated
from jaxrnn.bptt.clipping import Limits
from jaxrnn.bptt.loop import Loop, Z
from jaxrnn.cells.gated import GatedCell, Gates
from jaxrnn.cells.gates import is_apart
from jaxrnn.kernels import program
from jaxrnn.kernels.target import Target
from jaxrnn.kernels.units import each_head
from jaxrnn.linear import state_dtype
from jaxrnn.primitives.scan_in_place import Counts
from jaxrnn.types import Inputs, Params, Tree


def run(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, target: Target
) -> tuple[Tree, jax.Array]:
    """Runs all steps like `jaxrnn.bptt.gated.run`, for a cell that `jaxrnn.kernels.choice` accepts."""
    loop = KernelLoop(target, inputs.steps.x.shape[1:-1])
    return each_head(functools.partial(gated.run, limits=limits, loop=loop), cell, params, carry, inputs)


@dataclasses.dataclass(frozen=True)
class KernelLoop(Loop):
    """A kernel. Gates are joined in a tuple, since a kernel can't concatenate or cut arrays that it has loaded.

    Attributes:
      target: the device.
      batch_shape: the axes of rows.
      keeps: whether the kernel writes what only a derivative reads: everything except the carry and h.
    """

    target: Target
    batch_shape: tuple[int, ...]
    keeps: bool = True

    @property
    def without_derivative(self) -> Loop:
        return dataclasses.replace(self, keeps=False)

    def join(self, gates: Sequence[jax.Array]) -> Any:
        return tuple(gates) or None

    def split(self, joined: Any, H: int) -> list[jax.Array]:
        return list(joined) if isinstance(joined, tuple) else super().split(joined, H)

    def columns(self, cell: GatedCell, x: jax.Array | None) -> tuple[Any, Any]:
        gates = [] if x is None else list(zip(self.split(x, x.shape[-1] // cell.G), cell.gates.values(), strict=True))
        return self.join([z for z, f in gates if not is_apart(f)]), self.join([z for z, f in gates if is_apart(f)])

    def product(self, cell: GatedCell, params: Params) -> Callable[[jax.Array], Z]:
        weights, biases = self._by_gate(cell, params["w_h"]), self._by_gate(cell, params.get("b_h"))
        dot = _dot(cell, params)

        def run(h: jax.Array) -> Z:
            zh = jax.tree.map(lambda w: dot(h, w), weights)
            return self._plus(zh, biases)

        return run

    def transposed_product(self, cell: GatedCell, params: Params) -> Callable[[Gates], jax.Array]:
        weights, dot = [w.T for w in super().split(params["w_h"], cell.H)], _dot(cell, params)

        def run(d: Gates) -> jax.Array:
            d_zh = [z[1] if isinstance(z, tuple) else z for z in d]
            first, *rest = (dot(z, w) for z, w in zip(d_zh, weights, strict=True))
            return sum(rest, first)

        return run

    def _by_gate(self, cell: GatedCell, x: jax.Array | None) -> Z:
        sums, apart = self.columns(cell, x)
        return Z(sums, None, apart)

    def scan(
        self, f: Callable[..., Any], carry: Tree, arrays: Tree, xs: Any, reverse: bool = False
    ) -> tuple[Tree, Tree, Any]:
        """Runs the loop, see `Loop.scan`. The function is traced for one row: batch axes are cut off, then put back."""
        (of_rows, totals), lead, B = carry, len(self.batch_shape), math.prod(self.batch_shape)

        def row(tree: Tree, axes: int) -> Tree:
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree)

        given = (row(of_rows, lead), totals), *row((arrays, xs), 1 + lead)
        traced, shapes = jax.make_jaxpr(f, return_shape=True)(*given)
        consts, step = program.hoisted(traced)
        counts = Counts(len(consts), *(len(jax.tree.leaves(tree)) for tree in (carry, arrays, xs)))
        if not self.keeps:  # writes only the carry and the last result; arrays are read
            outs = [*step.jaxpr.outvars[: counts.carry], step.jaxpr.outvars[-1]]
            step = ClosedJaxpr(step.jaxpr.replace(outvars=outs), ())
            counts = counts._replace(arrays=0, xs=counts.arrays + counts.xs)
        loop = program.fitted(step, counts, reverse, B, self.target)
        added = -B % loop.block

        def flat(x: jax.Array, time: int = 0) -> jax.Array:
            """Reshapes [(T,) *batch_shape, ...] to [(T,) rows, ...]; copies of the last row fill the last block."""
            x = x.reshape(*x.shape[:time], B, *(x.shape[time + lead :] or (1,)))
            return jnp.pad(x, [(0, 0)] * time + [(0, added)] + [(0, 0)] * (x.ndim - time - 1), mode="edge")

        def deep(x: jax.Array, like: Any, time: int) -> jax.Array:
            x = jax.lax.slice_in_dim(x, 0, B, axis=time)
            return x.reshape(*x.shape[:time], *self.batch_shape, *like.shape)

        operands = [x.reshape((1,) * (2 - x.ndim) + x.shape) for x in consts]
        operands += [flat(x) for x in jax.tree.leaves(of_rows)]
        operands += [jnp.zeros((B + added, *(x.shape or (1,))), x.dtype) for x in jax.tree.leaves(totals)]  # per row
        operands += [flat(x, 1) for x in jax.tree.leaves((arrays, xs))]
        found = zip(program.run(loop, operands, self.target.platform), step.out_avals, strict=True)
        results = [deep(x, like, int(i >= counts.carry)) for i, (x, like) in enumerate(found)]
        if not self.keeps:  # unread results, mapped like the others under `jax.vmap`
            shape, unread = results[-1].shape[: 1 + lead], results[-1].reshape(-1)[0]
            between = traced.out_avals[counts.carry : -1]
            results[counts.carry : -1] = [jnp.full((*shape, *x.shape), unread.astype(x.dtype)) for x in between]
        (of_rows, sums), arrays, ys = jax.tree.unflatten(jax.tree.structure(shapes), results)
        return (of_rows, jax.tree.map(lambda x, total: total + x.sum(range(lead)), sums, totals)), arrays, ys


def _dot(cell: GatedCell, params: Params) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The product x [K] @ w [K, H] in full float32, unless JAX is told otherwise: Triton's default would be tf32."""
    accumulated = state_dtype(params["w_h"].dtype)
    asked = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    factors = params["w_h"].dtype if cell.dtype is None else cell.dtype
    precision = jax.lax.Precision.HIGHEST if factors == jnp.float32 and not asked else None

    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        dimensions = (((0,), (0,)), ((), ()))
        return jax.lax.dot_general(
            x.astype(factors), w.astype(factors), dimensions, precision, preferred_element_type=accumulated
        )

    return run
