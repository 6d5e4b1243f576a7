"""A loop over time whose rows have nothing to do with each other: what a kernel computes, and what it needs."""

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
"""Where a product of float32 factors is made of several, their parts take so many times the factors' room."""


class Unfit(Exception):  # noqa: N818
    """A loop can't be a kernel; says why."""


class Kind(NamedTuple):
    """A kind of kernel.

    Attributes:
      name: that of its function in `jaxrnn.kernels.pallas`.
      fewest, most: rows of a block, powers of two.
      interpreted: it is not compiled, and needs no room.
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
"""A tile of a Triton product has 16 rows at least, a TPU's registers have 8; the most are not measured."""


class Program(NamedTuple):
    """A loop.

    Operands are consts, the same for all steps and rows; carry and arrays [rows, ...] and [T, rows, ...]; xs [T, rows,
    ...]. Results are the carry, the arrays, and ys [T, rows, ...]. All have two axes at least, not counting time.

    Attributes:
      step: (*consts, *carry, *entries, *xs) -> (*carry, *entries, *ys), of one row.
      counts: how many operands are what.
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
        """Of the results."""
        T, rows = operands[-1].shape[:2]
        leads = [(rows,) if i < self.counts.carry else (T, rows) for i in range(len(self.step.out_avals))]
        outs = zip(leads, self.step.out_avals, strict=True)
        return [jax.ShapeDtypeStruct((*lead, *(x.shape or (1,))), x.dtype) for lead, x in outs]

    def needs(self) -> Room:
        """What a block keeps on the chip; of what a step reads and writes, also the next one's.

        In a GPU's shared memory the factors of a step's products lie beside the weights, and each result once it is
        there: as much as Triton asks for, or a little more, see benchmarks/README.md.
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
        """What does not fit on the chip; None: everything does."""
        needs, has = self.needs(), target.room
        for name, wanted, had in (("weights", needs.shared, has.shared), (f"{self.block} rows", needs.rows, has.rows)):
            if wanted > had:
                return f"its {name} need {wanted / 1024:.0f} KiB on the chip, where {had / 1024:.0f} KiB can be had"
        return None


def fitted(step: ClosedJaxpr, counts: Counts, reverse: bool, rows: int, target: Target) -> Program:
    """The program of so many rows, in blocks as large as there is room for."""
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
    """The results, by a kernel; their derivatives by a scan."""
    kind = KINDS[platform]

    @jax.custom_jvp
    def launch(*operands: Any) -> list[Any]:
        from jaxrnn.kernels import pallas  # late: Pallas takes half a second to import

        return getattr(pallas, kind.name)(program, operands, kind.interpreted)

    @launch.defjvp
    def _(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
        # The results are the kernel's: under `jax.vmap` they have the mapped axis elsewhere than the scan's.
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
    """What a program computes of its consts alone, and the rest of it, which takes that as its first arguments.

    A kernel can't cut or transpose what it has loaded, and need not do at each step what can be done before.
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
