"""A loop over time whose rows are independent of each other: the computation of a kernel, and the memory it needs."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from jaxrnn.kernels.target import Room, Target
from jaxrnn.primitives.scan_in_place import Counts

SEVERAL_PRODUCTS = {
    jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3: 2.0,
    jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X6: 1.5,
    jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X9: 1.5,
}
"""Factor by which the room of float32 factors grows where a product is computed as several products of parts."""


class Unfit(Exception):  # noqa: N818
    """The reason why a loop can't be a kernel."""


class Kind(NamedTuple):
    """A kind of kernel.

    Attributes:
      name: the name of its function in `jaxrnn.kernels.pallas`.
      fewest, most: rows of a block, powers of two.
      interpreted: it is not compiled, and has no limit on memory.
    """

    name: str
    fewest: int
    most: int
    interpreted: bool = False


KINDS = {
    "cuda": Kind("cuda", 16, 16),
    "tpu": Kind("tpu", 8, 128),
    "cpu": Kind("cuda", 16, 16, interpreted=True),
}
"""A tile of a Triton product has at least 16 rows, a TPU's registers have 8; the largest blocks are not measured."""


class Program(NamedTuple):
    """A loop.

    Operands are consts, the same for all steps and rows; carry and arrays [rows, ...] and [T, rows, ...]; xs [T, rows,
    ...]. Results are the carry, the arrays, and ys [T, rows, ...]. Each has at least two axes, not counting time.

    Attributes:
      step: (*consts, *carry, *entries, *xs) -> (*carry, *entries, *ys), of one row.
      counts: the number of operands of each kind.
      block: rows of a block.
      reverse: from the last step to the first.
    """

    step: ClosedJaxpr
    counts: Counts
    block: int
    reverse: bool

    def of_block(self) -> Callable[[Sequence[Any]], list[Any]]:
        """The step of a block of rows."""
        axes = [None] * self.counts.consts + [0] * (len(self.step.in_avals) - self.counts.consts)
        f = jax.vmap(jaxpr_as_fun(self.step), axes)

        def run(values: Sequence[Any]) -> list[Any]:
            pairs = zip(values, self.step.in_avals, axes, strict=True)
            narrow = [x.reshape((*x.shape[:1], *a.shape) if axis == 0 else a.shape) for x, a, axis in pairs]
            return [x[:, None] if x.ndim == 1 else x for x in f(*narrow)]

        return run

    def out_shapes(self, operands: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
        """The shapes and dtypes of the results."""
        T, rows = operands[-1].shape[:2]
        leads = [(rows,) if i < self.counts.carry else (T, rows) for i in range(len(self.step.out_avals))]
        outs = zip(leads, self.step.out_avals, strict=True)
        return [jax.ShapeDtypeStruct((*lead, *(x.shape or (1,))), x.dtype) for lead, x in outs]

    def needs(self) -> Room:
        """The memory that a block needs on the chip, with two steps' worth of the arrays that steps read and write.

        A GPU's shared memory holds the weights, and beside them the factors of a step's products, and each result once
        it is computed: as much as Triton asks for, or a little more, see docs/benchmarks/kernel.md.
        """
        consts, carry, arrays, xs = self.counts.parts(self.step.in_avals)
        products = [e for e in self.step.jaxpr.eqns if e.primitive is jax.lax.dot_general_p]
        factors = {e.invars[0]: _bytes([e.invars[0].aval]) for e in products}
        largest = max((factors[e.invars[0]] + _bytes([e.outvars[0].aval]) for e in products), default=0)
        parts = max((SEVERAL_PRODUCTS.get(e.params["precision"], 1.0) for e in products), default=1.0)
        working = max(largest, sum(factors.values()))
        ys = self.step.out_avals[self.counts.carry + self.counts.arrays :]
        rows = _bytes(carry) + 2 * _bytes([*arrays, *xs, *ys])
        return Room(int(parts * (_bytes(consts) + self.block * working)), self.block * rows)

    def obstacle(self, target: Target) -> str | None:
        """The reason why the program does not fit on the chip; None: it fits."""
        needs, has = self.needs(), target.room
        for name, wanted, had in (("weights", needs.shared, has.shared), (f"{self.block} rows", needs.rows, has.rows)):
            if wanted > had:
                return f"its {name} need {wanted / 1024:.0f} KiB on the chip, where {had / 1024:.0f} KiB can be had"
        return None


def fitted(step: ClosedJaxpr, counts: Counts, reverse: bool, rows: int, target: Target) -> Program:
    """The program of this many rows, in blocks as large as the room allows."""
    kind = KINDS[target.platform]
    program = Program(step, counts, min(max(1 << (rows - 1).bit_length(), kind.fewest), kind.most), reverse)
    if kind.interpreted:
        return program
    while program.block > kind.fewest and program.obstacle(target):
        program = program._replace(block=program.block // 2)
    if obstacle := program.obstacle(target):
        raise Unfit(obstacle)
    target.rooms.append(program.needs())
    return program


def run(program: Program, operands: Sequence[Any], platform: str) -> list[Any]:
    """Computes the results by a kernel, and their derivatives by a scan."""
    kind = KINDS[platform]

    @jax.custom_jvp
    def launch(*operands: Any) -> list[Any]:
        from jaxrnn.kernels import pallas  # imported late: Pallas takes half a second to import

        return getattr(pallas, kind.name)(program, operands, kind.interpreted)

    @launch.defjvp
    def _(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
        # Returns the kernel's results: under `jax.vmap` the scan's have the mapped axis elsewhere.
        return launch(*primals), jax.jvp(functools.partial(_scan, program), primals, tangents)[1]

    return launch(*operands)


def _scan(program: Program, *operands: Any) -> list[Any]:
    consts, carry, arrays, xs = program.counts.parts(operands)
    f, carried = program.of_block(), program.counts.carry

    def body(carry: Any, at_t: Any) -> tuple[Any, Any]:
        results = f([*consts, *carry, *at_t])
        return results[:carried], results[carried:]

    carry, stacked = jax.lax.scan(body, carry, [*arrays, *xs], reverse=program.reverse)
    return [*carry, *stacked]


def hoisted(program: ClosedJaxpr) -> tuple[list[Any], ClosedJaxpr]:
    """Splits a program: values of its consts alone, and the rest, which reads them as its first arguments.

    The values are computed once, before the kernel: a kernel can't cut or transpose arrays that it has loaded.
    """
    jaxpr = program.jaxpr
    known, before, after = set(jaxpr.constvars), [], []
    for equation in jaxpr.eqns:
        if not equation.effects and all(isinstance(v, Literal) or v in known for v in equation.invars):
            before.append(equation)
            known.update(equation.outvars)
        else:
            after.append(equation)
    read = [v for equation in after for v in equation.invars] + list(jaxpr.outvars)
    consts = [v for v in dict.fromkeys(v for v in read if not isinstance(v, Literal)) if v in known]
    prologue = jaxpr.replace(constvars=[], invars=jaxpr.constvars, eqns=before, outvars=consts)
    rest = jaxpr.replace(constvars=[], invars=[*consts, *jaxpr.invars], eqns=after)
    return jaxpr_as_fun(ClosedJaxpr(prologue, ()))(*program.consts), ClosedJaxpr(rest, ())


def _bytes(arrays: Sequence[Any]) -> int:
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arrays)
