"""A loop over time in one kernel: `scan_in_place` for accelerators, as a primitive that knows how to be vmapped.

The body is that of one row. Rows are vmapped, by whoever calls and by the user: where nothing that is shared differs
along the mapped axis, it is one more axis of rows, and otherwise, as where each member of a sweep has weights of its
own, an axis of members. A kernel is launched once for all of them, with members and blocks of rows as its grid.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Primitive, jaxpr_as_fun, subjaxprs
from jax.interpreters import ad, batching, mlir, partial_eval, xla

from jaxrnn.kernels import room
from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.devices import gpu
from jaxrnn.kernels.levels import Level, Levels
from jaxrnn.kernels.program import Counts, Program
from jaxrnn.kernels.shared_units import UNITS
from jaxrnn.programs import consts_first, jvp_of, split_invariant
from jaxrnn.shapes import array_type
from jaxrnn.types import Tree


def persistent_loop(
    f: Callable[[Tree, Tree, Tree, Any], tuple[Tree, Tree, Any]],
    rows: Tree,
    carry: Tree,
    arrays: Tree,
    xs: Any,
    reverse: bool = False,
) -> tuple[Tree, Tree, Any]:
    """`scan_in_place`, of one row, in one kernel.

    Args:
      f: (rows, carry, entry, x) -> (carry, entry, y), entries of the same shapes and dtypes. What it closes over is
        shared by all rows.
      rows: what is the same at all steps, but not for all rows.
      carry: the carry before the first step.
      arrays: a tree of [T, ...].
      xs: a tree of [T, ...].
      reverse: from the last step to the first.

    Returns:
      (carry, arrays, ys).
    """
    trees = rows, carry, arrays, xs
    first = jax.tree.map(lambda a: a[0], (arrays, xs))
    program, shapes = jax.make_jaxpr(f, return_shape=True)(rows, carry, *first)
    before, step = split_invariant(consts_first(program), len(program.consts))
    shared = jaxpr_as_fun(before)(*program.consts)
    counts = Counts(len(shared), *(len(jax.tree.leaves(tree)) for tree in trees))
    operands = [*shared, *jax.tree.leaves(trees)]
    results = _persistent.bind(*operands, program=Program(step, counts, reverse), levels=())
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _abstract(*operands: Any, program: Program, levels: tuple[Level, ...]) -> Any:
    sizes, results = tuple(level.size for level in levels), program.results
    T = program.counts.steps(operands)
    carry = [array_type((*sizes, *x.shape), x.dtype) for x in results.carry]
    return [*carry, *(array_type((T, *sizes, *x.shape), x.dtype) for x in (*results.entries, *results.xs))]


def _batch(axis: Any, operands: Any, axes: Any, *, program: Program, levels: tuple[Level, ...]) -> Any:
    if all(each is None for each in axes):
        results = _persistent.bind(*operands, program=program, levels=levels)
        return results, [None] * len(results)
    places = map(int, program.counts.over_time)
    moved = [
        x if each is None else jnp.moveaxis(x, each, place)
        for x, each, place in zip(operands, axes, places, strict=True)
    ]
    level = Level(axis.size, tuple(each is not None for each in axes), UNITS if axis.name == UNITS else "")
    results = _persistent.bind(*moved, program=program, levels=(level, *levels))
    return results, [0] * program.counts.carry + [1] * (len(results) - program.counts.carry)


def _plain(*operands: Any, program: Program, levels: tuple[Level, ...]) -> list[Any]:
    """The same as `jax.lax.scan`, for what a kernel can't do: derivatives of the loop."""
    counts, f = program.counts, jaxpr_as_fun(program.step)

    def run(*operands: Any) -> list[Any]:
        parts = counts.parts(operands)

        def body(carry: Any, at_t: Any) -> tuple[Any, Any]:
            results = f(*parts.shared, *parts.rows, *carry, *at_t[0], *at_t[1])
            return results[: counts.carry], results[counts.carry :]

        carry, stacked = jax.lax.scan(body, parts.carry, (parts.entries, parts.xs), reverse=program.reverse)
        return [*carry, *stacked]

    outs = [0] * counts.carry + [1] * (len(program.step.out_avals) - counts.carry)
    for level in reversed(levels):
        axes = [time if mapped else None for time, mapped in zip(map(int, counts.over_time), level.mapped, strict=True)]
        run = jax.vmap(run, axes, outs, axis_size=level.size, axis_name=level.name or None)
    return run(*operands)


def _only_used(used: Any, equation: Any) -> tuple[list[bool], Any]:
    """What is not read again is not written: without a derivative, that is most of it."""
    if not any(used):
        return [False] * len(equation.invars), None
    program, levels = equation.params["program"], equation.params["levels"]
    used = [True] * program.counts.carry + used[program.counts.carry :]
    program, order = program.writing(used)
    levels = tuple(level._replace(mapped=tuple(level.mapped[i] for i in order)) for level in levels)
    outs = [v for v, keep in zip(equation.outvars, used, strict=True) if keep]
    invars, params = [equation.invars[i] for i in order], {"program": program, "levels": levels}
    return [True] * len(equation.invars), equation.replace(invars=invars, outvars=outs, params=params)


class Kernel(NamedTuple):
    """A kernel for one kind of device.

    Attributes:
      platform: that of the device.
      module: where its `run` is, (blocks, interpret) -> results.
      fewest, most: rows of a block, powers of two.
    """

    platform: str
    module: str
    fewest: int
    most: int

    def run(self, blocks: Blocks, interpret: bool) -> list[Any]:
        """Launches it."""
        module = importlib.import_module(f"jaxrnn.kernels.{self.module}")  # late: Pallas takes half a second to import
        return module.run(blocks, interpret)

    def block(self, axes: Levels) -> int:
        """Rows of a block: as many as there are, of which the chip has room for; where blocks wait for others, more."""
        rows = min(max(1 << (axes.size(axes.rows) - 1).bit_length(), self.fewest), self.most)
        while rows > self.fewest and room.obstacle(axes.program, rows, self.platform):
            rows //= 2
        while waiting(axes, rows) > at_once() and not room.obstacle(axes.program, 2 * rows, self.platform):
            rows *= 2
        return rows

    def obstacle(self, axes: Levels) -> str | None:
        """What does not fit on the chip; None: everything does."""
        rows = self.block(axes)
        blocks, there = waiting(axes, rows), at_once()
        if blocks > there:
            return f"{blocks} blocks would have to run at once for all its rows, where {there} can"
        return room.obstacle(axes.program, rows, self.platform)


def at_once() -> int:
    """Blocks that run at once even beside another loop of as many, such as that of a layer's other direction."""
    return gpu().multiprocessors // 2


def waiting(axes: Levels, rows: int) -> int:
    """Blocks of so many rows that have to run at once, since they wait for each other; 0: none do."""
    return 0 if axes.shares == 1 else axes.size(axes.members) * -(-axes.size(axes.rows) // rows)


def _launch(kernel: Kernel, interpret: bool, *operands: Any, program: Program, levels: tuple[Level, ...]) -> list[Any]:
    axes = Levels(program, levels)
    if axes.shares > 1 and (interpret or kernel.obstacle(axes)):
        return _plain(*operands, program=program, levels=levels)  # that of a user's vmap, which was not seen before
    return axes.results(kernel.run(axes.blocks(operands, kernel.block(axes)), interpret))


KERNELS = {
    kernel.platform: kernel for kernel in (Kernel("cuda", "triton", 16, 16), Kernel("tpu", "mosaic_tpu", 8, 128))
}
"""A tile of a Triton product has 16 rows at least, a TPU's registers have 8; not measured: see
benchmarks/README.md."""
INTERPRETED = "cuda"
"""Whose kernel is interpreted on a CPU."""


def _lowering(platform: str | None) -> Any:
    def run(*operands: Any, **params: Any) -> list[Any]:
        return _launch(KERNELS[platform or INTERPRETED], platform is None, *operands, **params)

    return mlir.lower_fun(run, multiple_results=True)


_persistent = Primitive("persistent_loop")
_persistent.multiple_results = True
_persistent.def_impl(functools.partial(xla.apply_primitive, _persistent))
_persistent.def_abstract_eval(_abstract)
batching.fancy_primitive_batchers[_persistent] = _batch
ad.primitive_jvps[_persistent] = jvp_of(_plain)
partial_eval.dce_rules[_persistent] = _only_used
mlir.register_lowering(_persistent, _lowering(None), platform="cpu")
for _platform in KERNELS:
    mlir.register_lowering(_persistent, _lowering(_platform), platform=_platform)


def kernels(jaxpr: Jaxpr) -> list[Levels]:
    """All that a program launches."""
    found = [Levels(**equation.params) for equation in jaxpr.eqns if equation.primitive is _persistent]
    return [*found, *(axes for inner in subjaxprs(jaxpr) for axes in kernels(inner))]


def obstacles(jaxpr: Jaxpr, platform: str) -> list[str]:
    """What keeps the kernels of a program from fitting on the chip."""
    return [why for axes in kernels(jaxpr) if (why := KERNELS[platform].obstacle(axes))]
