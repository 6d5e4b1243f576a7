"""The reference: jax.grad through lax.scan."""

from typing import Any

import jax

from jaxrnn.gradients.masks import enter, select, zero_unless
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree


@pytree
class Autodiff(Gradient):
    """See `autodiff`."""

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
            before = enter(carry, inputs.initial, step.reset)
            after, y = cell.step(params, before, step.x, step.noise)
            return select(step.valid, after, before), zero_unless(step.valid, y)

        return jax.lax.scan(body, carry, inputs.steps)


def autodiff() -> Autodiff:
    """Differentiates the `lax.scan` of the cell's step by JAX itself.

    The reference that the others are checked against, and the only one that forward mode (`jax.jvp`, `jax.jacfwd`)
    passes through. Memory: O(T).
    """
    return Autodiff()
