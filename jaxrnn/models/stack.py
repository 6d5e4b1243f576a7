"""Layers of cells, one above the other."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.driver import unroll
from jaxrnn.models.composite import Composite
from jaxrnn.types import Call, Cell, Gradient, Params, Tree, leaf, pytree


@pytree
class Stack(Composite):
    """See `stack`."""

    cells: tuple[Cell, ...] = leaf()
    gradient: Gradient | None = leaf(default=None)

    @property
    def parts(self) -> tuple[Cell, ...]:
        return self.cells

    def run(self, params: Params, carry: Tree, xs: Any, call: Call) -> tuple[Tree, jax.Array]:
        gradient, final, ys = call.gradient or self.gradient, [], checks.array("xs", xs)
        for name, cell, p, c, key in self.shares(params, carry, call, ys.shape[1:-1]):
            with checks.within(name):
                after, ys = unroll(cell, p, ys, c, call.lengths, call.resets, key=key, gradient=gradient)
            final.append(after)
        return tuple(final), ys


def stack(cells: Sequence[Cell], *, gradient: Gradient | None = None) -> Stack:
    """Layers of cells: each reads the outputs of the one before.

    Args:
      cells: the layers, the lowest first.
      gradient: how to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()`
        for any other.

    Returns:
      A Model with the parameters {"0": those of cells[0], ...} and the carry a tuple of the cells' carries; its outputs
      are those of the last cell.

    Raises:
      ValueError, TypeError: there are no cells, something is no cell, or the features of two layers do not fit.
    """
    cells = checks.sequence("cells", cells, Cell)
    checks.fitting("cells", cells)
    return Stack(cells, None if gradient is None else checks.instance("gradient", gradient, Gradient))
