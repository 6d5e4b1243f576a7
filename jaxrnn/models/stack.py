"""Layers of cells, one above the other."""

from collections.abc import Sequence

import jax

from jaxrnn import checks
from jaxrnn.arguments import checked_inputs, steps_and_rows
from jaxrnn.driver import run_layer
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

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        with checks.within("0"):
            final, ys = [], checked_inputs(self.cells[0], xs)
        _, batch_shape = steps_and_rows(ys)
        for name, cell, p, c, key in self.shares(params, carry, call, batch_shape):
            with checks.within(name):
                after, ys = run_layer(cell, p, ys, c, call._replace(key=key), gradient=self.gradient)
            final.append(after)
        return tuple(final), ys


def stack(*cells: Cell | Sequence[Cell], gradient: Gradient | None = None) -> Stack:
    """Layers of cells: each reads the outputs of the one before.

    Args:
      *cells: the layers, the lowest first: each an argument, or all in one list.
      gradient: the way to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()` for any
        other.

    Returns:
      A Model with the parameters {"0": parameters of cells[0], ...} and the carry a tuple of the cells' carries; its
      are those of the last cell.

    Raises:
      ValueError, TypeError: there are no cells, an argument is not a Cell, or the features of two layers do not fit.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.stack(jaxrnn.lstm(3, 8), jaxrnn.lstm(8, 8))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2, 3)))
      >>> ys.shape, len(carry)
      ((5, 2, 8), 2)
    """
    found: tuple[Cell, ...] = checks.sequence("cells", checks.in_one_list(cells), Cell)
    checks.fitting("cells", found)
    return Stack(found, None if gradient is None else checks.instance("gradient", gradient, Gradient))
