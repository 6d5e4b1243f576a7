"""Backpropagation through time as an explicit reverse scan: the default."""

from typing import Any, Literal

import jax

from jaxrnn import checks
from jaxrnn.bptt import gated, plain
from jaxrnn.bptt.clipping import Limits
from jaxrnn.cells.gated import GatedCell
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.types import Cell, Gradient, Inputs, Params, Tree, leaf, pytree

LOOPS = ("auto", "scan", "persistent")
target = jax.make_user_context(default_value=None)
"""A `jaxrnn.kernels.target.Target`: the device that loops are chosen for, which lists the choices; None: that at hand.

It is part of what `jax.jit` knows a program by: functions that are compiled for another one are traced anew.
"""


@pytree
class ReverseScan(Gradient):
    """See `reverse_scan`."""

    loop: Literal["auto", "scan", "persistent"] = "auto"
    clip_norm: Any = leaf(default=None)
    clip_value: Any = leaf(default=None)

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        given = cell, params, carry, inputs, Limits(self.clip_norm, self.clip_value)
        if self.loop == "persistent" or target.value is not None:
            from jaxrnn.kernels import choice  # late: few programs need it

            if (found := choice.run(self.loop, *given, target.value)) is not None:
                return found
        return gated.run(*given) if isinstance(cell, GatedCell) else plain.run(*given)  # pyright: ignore[reportArgumentType]


def reverse_scan(
    *, loop: Literal["auto", "scan", "persistent"] = "auto", clip_norm: Any = None, clip_value: Any = None
) -> ReverseScan:
    """Backpropagation through time written out: an explicit reverse `lax.scan` that carries dL/dcarry.

    The same gradient as `autodiff()`, second derivatives included, unless it is clipped. The default for gated cells:
    the input product is one product before the loop, and each weight's gradient one product after it. Any other cell's
    step runs again at each time on the way back; it is there to check such a cell, and to clip; its default is
    `autodiff()`. Reverse mode only: `jax.jvp` and `jax.jacfwd` of the unroll itself need `autodiff()`, and so does a
    step that closes over a value that is differentiated; forward mode over a gradient (a Hessian-vector product) works.
    Memory: O(T).

    The limits clip dL/dcarry[t], as step t+1 hands it back to step t, at every step: an exploding gradient is cut where
    it grows, so what reaches the parameters is another gradient than that of the loss. To clip the sum over all steps
    instead, use `optax.clip_by_global_norm`. Both limits are leaves of the Gradient: they can be traced and swept
    (`jnp.inf` does not limit); a traced limit below 0 is not noticed.

    Args:
      loop: "scan"; "persistent", all steps in one kernel of a GPU or TPU that keeps w_h on the chip, for gated cells
        (on a CPU it is interpreted: slow, for tests; arrays that are shared out among devices are to be used under
        `jax.set_mesh`, so that it is seen: kernels don't take them); "auto", whichever of the two is known to be
        faster, which so far is the scan: the kernel has not been measured. See `jaxrnn.diagnostics.explain`.
      clip_norm: the largest norm of dL/dcarry[t] of a row of the batch, over all parts of the carry; None: any.
      clip_value: the largest absolute value of an entry of dL/dcarry[t]; None: any. It is applied before the norm. A
        complex entry keeps its angle.

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


def default(cell: Cell) -> Gradient:
    """The gradient that a cell gets where none is given: `reverse_scan()` if it is gated, and else `autodiff()`."""
    return reverse_scan() if isinstance(cell, GatedCell) else autodiff()
