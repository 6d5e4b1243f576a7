"""Equal layers of one cell as a loop over layers."""

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.driver import run_layer
from jaxrnn.types import Call, Cell, Gradient, Model, Params, Tree, leaf, pytree


@pytree
class Repeat(Model):
    """See `repeat`."""

    n: int
    cell: Cell = leaf()
    gradient: Gradient | None = leaf(default=None)

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.cell.features

    def init(self, key: jax.Array) -> Params:
        layers = [self.cell.init(k) for k in jax.random.split(checks.key("key", key), self.n)]
        return jax.tree.map(lambda *rows: jnp.stack(rows), *layers)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return jax.vmap(lambda p: self.cell.initial_carry(p, batch_shape))(params)

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, Tree]:
        checked_params(self, params)
        xs, gradient = checks.array("xs", xs), call.gradient or self.gradient
        initial = self.initial_carry(params, xs.shape[1:-1])
        carry = initial if carry is None else checks.array_tree("carry", carry, initial)
        keys = None if call.key is None else jax.random.split(call.key, self.n)

        def layer(xs: jax.Array, each: Tree) -> tuple[jax.Array, Tree]:
            p, c, key = each
            after, ys = run_layer(self.cell, p, xs, c, call._replace(key=key), gradient=gradient)
            return checks.array_tree("repeat: ys", ys, xs), after

        if gradient is not None and gradient.has_effects:  # effects can't be in a loop
            finals = []
            for i in range(self.n):
                xs, after = layer(xs, jax.tree.map(lambda x, i=i: x[i], (params, carry, keys)))
                finals.append(after)
            return jax.tree.map(lambda *rows: jnp.stack(rows), *finals), xs
        ys, final = jax.lax.scan(layer, xs, (params, carry, keys))
        return final, ys


def repeat(cell: Cell, n: int, *, gradient: Gradient | None = None) -> Repeat:
    """n layers of equal cells, each of which reads the outputs of the one before, as one loop over layers.

    The same network as `stack([cell] * n)`, but its compile time does not grow with n: the layers are one program, over
    stacked parameters. Each layer's parameters are drawn separately.

    Args:
      cell: a cell with as many output features as input features.
      n: the number of layers.
      gradient: the way to differentiate through time; None: the default of the cell.

    Returns:
      A Model. Its parameters and its carry are those of the cell with an axis [n, ...] in front.

    Raises:
      ValueError, TypeError: `cell` is not a Cell, its features differ, or n is not a positive integer.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.repeat(jaxrnn.lstm(16, 16), 8)
      >>> params = model.init(jax.random.key(0))
      >>> params["w_x"].shape
      (8, 16, 64)
      >>> carry, ys = model.apply(params, jax.numpy.ones((5, 2, 16)))
      >>> ys.shape, carry.h.shape
      ((5, 2, 16), (8, 2, 16))
    """
    checks.instance("cell", cell, Cell)
    D, O = cell.features
    if D is not None and O is not None and D != O:
        raise ValueError(f"cell: expected as many output features as input features, {D}, got {O}")
    n = checks.positive_int("n", n)
    return Repeat(n, cell, None if gradient is None else checks.instance("gradient", gradient, Gradient))
