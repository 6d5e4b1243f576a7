"""The reference: jax.grad through lax.scan."""

from typing import Any

import jax

from jaxrnn.masks import take_step
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree


@pytree
class Autodiff(Gradient):
    """See `autodiff`."""

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
            return take_step(cell, params, carry, step, inputs.initial)

        return jax.lax.scan(body, carry, inputs.steps)


def autodiff() -> Autodiff:
    """Differentiates the `lax.scan` of the cell's step by JAX itself.

    The reference that the others are checked against, and the only one that forward mode (`jax.jvp`, `jax.jacfwd`)
    passes through. Memory: O(T).
    """
    return Autodiff()
