"""Cells whose output includes their carry."""

import dataclasses
import functools
from typing import Any

import jax

from jaxrnn.cells.gated import GatedCell
from jaxrnn.types import Cell, Params, Tree, pytree


def with_states(cell: Cell) -> Cell:
    """A cell of the same steps whose output is (y, the carry after the step)."""
    fields = {f.name: getattr(cell, f.name) for f in dataclasses.fields(cell)}  # pyright: ignore[reportArgumentType]
    return _with_states(type(cell))(**fields)


@functools.lru_cache
def _with_states(kind: type[Any]) -> type[Any]:
    class WithStates(kind):
        if issubclass(kind, GatedCell):

            def output(self, carry: Tree) -> Tree:
                return super().output(carry), carry

        else:

            def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, Tree]:
                carry, y = super().step(params, carry, x, noise)
                return carry, (y, carry)

    return pytree(WithStates)
