"""Layers of cells, one above the other."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.types import Cell, Gradient, Model, Params, Tree, leaf, pytree
from jaxrnn.unroll import unroll


@pytree
class Stack(Model):
    """See `stack`."""

    cells: tuple[Cell, ...] = leaf()
    gradient: Gradient | None = leaf(default=None)

    @property
    def parts(self) -> tuple[Cell, ...]:
        return self.cells

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.cells[0].features[0], self.cells[-1].features[1]

    def init(self, key: jax.Array) -> Params:
        keys = jax.random.split(key, len(self.cells))
        return {str(i): cell.init(k) for i, (cell, k) in enumerate(zip(self.cells, keys, strict=True))}

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return tuple(cell.initial_carry(params[str(i)], batch_shape) for i, cell in enumerate(self.cells))

    def apply(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Tree = None,
        lengths: Any = None,
        resets: Any = None,
        key: jax.Array | None = None,
        gradient: Gradient | None = None,
    ) -> tuple[Tree, jax.Array]:
        layers = range(len(self.cells))
        params = checks.children("params", params, [str(i) for i in layers])
        carries = [None] * len(layers) if carry is None else checks.items("carry", carry, len(layers))
        keys = [None] * len(layers) if key is None else jax.random.split(checks.key("key", key), len(layers))
        final, ys = [], xs
        for i, cell in enumerate(self.cells):
            options = {"lengths": lengths, "resets": resets, "key": keys[i], "gradient": gradient or self.gradient}
            with checks.within(f"{i}"):
                after, ys = unroll(cell, params[str(i)], ys, carries[i], **options)
            final.append(after)
        return tuple(final), ys


def stack(cells: Sequence[Cell], *, gradient: Gradient | None = None) -> Stack:
    """Layers of cells: each reads the outputs of the one before.

    Args:
      cells: the layers, the lowest first.
      gradient: how to differentiate through time; None is `reverse_scan()`.

    Returns:
      A Model with the parameters {"0": those of cells[0], ...} and the carry a tuple of the cells' carries; its outputs
      are those of the last cell.

    Raises:
      ValueError, TypeError: there are no cells, something is no cell, or the features of two layers do not fit.
    """
    cells = checks.sequence("cells", cells, Cell)
    checks.fitting("cells", cells)
    return Stack(cells, None if gradient is None else checks.instance("gradient", gradient, Gradient))
