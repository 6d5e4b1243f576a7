"""The reference gradient: jax.grad through lax.scan."""

import jax

from jaxrnn.masks import take_step
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree


@pytree
class Autodiff(Gradient):
    """See `autodiff`."""

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        def body(carry: Tree, step: Step) -> tuple[Tree, Tree]:
            return take_step(cell, params, carry, step, inputs.initial)

        return jax.lax.scan(body, carry, inputs.steps)


def autodiff() -> Autodiff:
    """Differentiates the `lax.scan` of the cell's step by JAX itself.

    All other gradients are checked against this one. It alone supports forward mode (`jax.jvp`, `jax.jacfwd`).
    Memory: O(T).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((5, 3))
      >>> def last(xs):
      ...     return jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.autodiff())[1][-1]
      >>> y, dy = jax.jvp(last, (xs,), (xs,))
      >>> dy.shape
      (8,)
    """
    return Autodiff()
