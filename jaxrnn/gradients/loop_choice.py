"""Which loop a cell gets, and why."""

import contextlib
import contextvars
import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import jax
from jax.extend.backend import get_backend

from jaxrnn.gradients import kernel_loop
from jaxrnn.gradients.limits import Limits
from jaxrnn.types import Cell, Inputs, Params, Tree

LOOPS = ("auto", "scan", "persistent")
MEASURED: frozenset[str] = frozenset()
"""Platforms on which the persistent kernel was measured to be faster than the scan: so far none."""


class LoopChoice(NamedTuple):
    """A loop, and why it was chosen.

    Attributes:
      loop: "scan" or "persistent".
      reason: for people.
      shares: how many blocks of the kernel share the hidden units, or those of a head.
    """

    loop: Literal["scan", "persistent"]
    reason: str
    shares: int = 1


class Noted(NamedTuple):
    """The platform that loops are chosen for, and which cell got which so far."""

    platform: str
    choices: list[tuple[str, LoopChoice]]


_noted: contextvars.ContextVar[Noted | None] = contextvars.ContextVar("noted", default=None)
_call = jax.make_user_context(default_value=0)
"""Which call of `noted` it is: functions that are jitted within are traced anew, and their programs kept apart."""
_calls = itertools.count(1)


@contextlib.contextmanager
def noted(on: str | None) -> Iterator[list[tuple[str, LoopChoice]]]:
    """Lists all choices made within; None: for the platform that JAX computes on."""
    found = Noted(_platform() if on is None else on, [])
    token = _noted.set(found)
    try:
        with _call(next(_calls)):
            yield found.choices
    finally:
        _noted.reset(token)


def choose(loop: str, cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> LoopChoice:
    """The loop for a cell on the platform that JAX computes on."""
    noted, given = _noted.get(), (cell, params, carry, inputs, limits)
    if noted is None:
        return _choose(loop, *given, _platform(), explained=False)
    choice = _choose(loop, *given, noted.platform, explained=True)
    noted.choices.append((f"{type(cell).__name__}{cell.features}", choice))
    return choice


def _choose(
    loop: str, cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, on: str, explained: bool
) -> LoopChoice:
    if loop == "scan":
        return LoopChoice("scan", "asked for")
    if loop == "auto" and on == "cpu":
        return LoopChoice("scan", "a CPU has no kernel of its own")
    measured = on in MEASURED
    if loop == "auto" and not measured and not explained:
        return LoopChoice("scan", "not measured")
    shares, obstacle = kernel_loop.fit(cell, params, carry, inputs, limits, on)
    if obstacle is not None and loop == "persistent":
        raise ValueError(
            f"loop: expected 'auto' or 'scan' for this cell and these inputs, got 'persistent': {obstacle}"
        )
    if obstacle is not None:
        return LoopChoice("scan", obstacle)
    fits = "it fits on the chip" if on != "cpu" else "it can be interpreted"
    fits += f", {shares} blocks share its units" * (shares > 1)
    if loop == "auto" and not measured:
        return LoopChoice("scan", f"kernels have not been measured on {on} yet, though {fits}")
    return LoopChoice("persistent", fits if loop == "auto" else f"asked for, and {fits}", shares)


def _platform() -> str:
    """That of the default backend, as `jax.jit` lowers for it."""
    backend = jax.default_backend()
    if backend != "gpu":
        return backend
    return "rocm" if "rocm" in get_backend().platform_version.lower() else "cuda"
