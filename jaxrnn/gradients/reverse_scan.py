"""Backpropagation through time as an explicit reverse scan: the default."""

from typing import Any

from jaxrnn.gated import GatedCell
from jaxrnn.gradients import gated_rule, plain_rule
from jaxrnn.types import Cell, Gradient, Inputs, Params, Tree, pytree


@pytree
class ReverseScan(Gradient):
    """See `reverse_scan`."""

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        if isinstance(cell, GatedCell):
            return gated_rule.run(cell, params, carry, inputs)
        return plain_rule.run(cell, params, carry, inputs)


def reverse_scan() -> ReverseScan:
    """Backpropagation through time written out: an explicit reverse `lax.scan` that carries dL/dcarry.

    The same gradient as `autodiff()`, second derivatives included. For gated cells the input product is one product
    before the loop and each weight's gradient one product after it. For cells of any other step the reverse loop
    repeats the step, and the parameters' gradient does so once more, for all steps in parallel: slower than
    `autodiff()`. Reverse mode only: `jax.jvp` and `jax.jacfwd` of the unroll itself need `autodiff()`, and so does a
    step that closes over a value that is differentiated; forward mode over a gradient (a Hessian-vector product) works.
    Memory: O(T).

    References:
      Werbos 1990, Backpropagation through time: what it does and how to do it, Proceedings of the IEEE 78(10).
    """
    return ReverseScan()
