"""Which loop a cell gets, and why."""

from typing import Literal, NamedTuple

import jax

from jaxrnn.gradients import kernel_loop
from jaxrnn.gradients.limits import Limits
from jaxrnn.types import Cell, Inputs, Params, Tree

LOOPS = ("auto", "scan", "persistent")
MEASURED: frozenset[str] = frozenset()
"""Platforms on which the persistent kernel was measured to be faster than the scan: so far none."""


class LoopChoice(NamedTuple):
    """A loop, and why it was chosen."""

    loop: Literal["scan", "persistent"]
    reason: str


def choose(loop: str, cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, on: str) -> LoopChoice:
    """The loop for a cell on a platform: "cpu", "cuda", "tpu"."""
    if loop == "scan":
        return LoopChoice("scan", "asked for")
    if loop == "auto" and on not in MEASURED:
        return LoopChoice("scan", f"a persistent kernel was not measured to be faster on {on}")
    obstacle = kernel_loop.why_not(cell, params, carry, inputs, limits, on)
    if obstacle is None:
        return LoopChoice("persistent", "asked for" if loop == "persistent" else "it fits on the chip")
    if loop == "persistent":
        raise ValueError(
            f"loop: expected 'auto' or 'scan' for this cell and these inputs, got 'persistent': {obstacle}"
        )
    return LoopChoice("scan", obstacle)


def platform() -> str:
    """That of the default backend, as `jax.jit` lowers for it."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend
