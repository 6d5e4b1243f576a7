"""Backpropagation through time as an explicit reverse scan: the default."""

from typing import Any

from jaxrnn import checks
from jaxrnn.gated import GatedCell
from jaxrnn.gradients import gated_rule, kernel_loop, plain_rule
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loop_choice import LOOPS, choose
from jaxrnn.types import Cell, Gradient, Inputs, Params, Tree, leaf, pytree


@pytree
class ReverseScan(Gradient):
    """See `reverse_scan`."""

    loop: str = "auto"
    clip_norm: Any = leaf(default=None)
    clip_value: Any = leaf(default=None)

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        limits = Limits(self.clip_norm, self.clip_value)
        chosen = choose(self.loop, cell, params, carry, inputs, limits)
        if not isinstance(cell, GatedCell):
            return plain_rule.run(cell, params, carry, inputs, limits)
        if chosen.loop == "persistent":
            return kernel_loop.run(cell, params, carry, inputs, limits, chosen.shares)
        return gated_rule.run(cell, params, carry, inputs, limits)


def reverse_scan(*, loop: str = "auto", clip_norm: Any = None, clip_value: Any = None) -> ReverseScan:
    """Backpropagation through time written out: an explicit reverse `lax.scan` that carries dL/dcarry.

    The same gradient as `autodiff()`, second derivatives included, unless it is clipped. For gated cells the input
    product is one product before the loop and each weight's gradient one product after it. The step of any other cell
    is linearised in the forward loop, and the parameters' gradient is taken for all steps in parallel after the reverse
    one; a step that holds a `jax.custom_vjp` function is run again instead, twice. Reverse mode only: `jax.jvp` and
    `jax.jacfwd` of the unroll itself need `autodiff()`, and so does a step that closes over a value that is
    differentiated; forward mode over a gradient (a Hessian-vector product) works. Memory: O(T).

    The limits clip dL/dcarry[t], as step t+1 hands it back to step t, at every step: an exploding gradient is cut where
    it grows, so what reaches the parameters is another gradient than that of the loss. To clip the sum over all steps
    instead, use `optax.clip_by_global_norm`. Both limits are leaves of the Gradient: they can be traced and swept.

    Args:
      loop: "scan"; "persistent", all steps in one kernel of a GPU or TPU that keeps w_h on the chip, for gated cells
        (on a CPU it is interpreted: slow, for tests; where blocks share hidden units and a `jax.vmap` around asks for
        more of them than can run at once, it is a scan; arrays that are shared out among devices are to be used under
        `jax.set_mesh`, so that it is seen: kernels don't take them); "auto", whichever of the two is known to be
        faster, see `jaxrnn.explain`.
      clip_norm: the largest norm of dL/dcarry[t] of a row of the batch, over all parts of the carry; None: any.
      clip_value: the largest absolute value of an entry of dL/dcarry[t]; None: any. It is applied before the norm.
        Limits may be traced, so that they can be swept (`jnp.inf` is no limit); below 0 they are then not noticed.

    Returns:
      A Gradient.

    Raises:
      ValueError: a limit is no number above 0, or `loop` is none of the three; when it is run, "persistent" for what
        one kernel can't run.

    References:
      Werbos 1990, Backpropagation through time: what it does and how to do it, Proceedings of the IEEE 78(10); Graves
      2013, arXiv:1308.0850 (clipping derivatives inside the backward pass).
    """
    return ReverseScan(
        checks.one_of("loop", loop, LOOPS),
        None if clip_norm is None else checks.limit("clip_norm", clip_norm),
        None if clip_value is None else checks.limit("clip_value", clip_value),
    )
