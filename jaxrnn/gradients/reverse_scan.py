"""Backpropagation through time as an explicit reverse scan: the default."""

from typing import Literal

import jax

from jaxrnn import checks
from jaxrnn.bptt import gated, plain
from jaxrnn.bptt.clipping import Limits
from jaxrnn.cells.gated import GatedCell
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.types import Cell, Gradient, Inputs, Params, Tree, leaf, pytree

LOOPS = ("auto", "scan", "persistent")
target = jax.make_user_context(default_value=None)
"""A `jaxrnn.kernels.target.Target`: the device that loops are chosen for; it lists the choices. None: that at hand.

`jax.jit` includes it in the key of its cache: functions that are compiled for another device are traced anew.
"""


@pytree
class ReverseScan(Gradient):
    """See `reverse_scan`."""

    loop: Literal["auto", "scan", "persistent"] = "auto"
    clip_norm: checks.Number | None = leaf(default=None)
    clip_value: checks.Number | None = leaf(default=None)

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        given = cell, params, carry, inputs, Limits(self.clip_norm, self.clip_value)
        if self.loop == "persistent" or target.value is not None:
            from jaxrnn.kernels import choice  # imported late: few programs need it

            if (found := choice.run(self.loop, *given, target.value)) is not None:
                return found
        return gated.run(*given) if isinstance(cell, GatedCell) else plain.run(*given)  # pyright: ignore[reportArgumentType]


def reverse_scan(
    *,
    loop: Literal["auto", "scan", "persistent"] = "auto",
    clip_norm: jax.typing.ArrayLike | None = None,
    clip_value: jax.typing.ArrayLike | None = None,
) -> ReverseScan:
    """Backpropagation through time written out: an explicit reverse `lax.scan` that carries dL/dcarry.

    The same gradient as `autodiff()`, second derivatives included, unless it is clipped. The default for gated cells:
    the input product is one product before the loop, and each weight's gradient one product after it. For any other
    cell the backward pass runs each step again; use it there to check such a cell, or to clip. Memory: O(T).

    Reverse mode only: `jax.jvp` and `jax.jacfwd` of the unroll itself need `autodiff()`, and so does a step that closes
    over a value that is differentiated. Forward mode over a gradient (a Hessian-vector product) works.

    The limits clip dL/dcarry[t], as step t+1 passes it back to step t, at every step: an exploding gradient is cut
    where it grows. So the parameters get another gradient than the loss's. To clip the sum over all steps instead, use
    `optax.clip_by_global_norm`. Both limits are leaves of the Gradient: they can be traced and swept (`jnp.inf` does
    not limit); a traced limit below 0 raises no error.

    Args:
      loop: "scan"; "persistent", for gated cells: all steps in one kernel of a GPU or TPU that keeps w_h on the chip;
        "auto": the faster of the two as far as measured, so far the scan, since the kernel has not been measured. On a
        CPU the kernel is interpreted, which is slow and meant for tests. Kernels don't take arrays that are sharded
        over devices; use such arrays under `jax.set_mesh`, so that they are recognised. See
        `jaxrnn.diagnostics.explain`.
      clip_norm: the largest norm of dL/dcarry[t] of a row of the batch, over all parts of the carry; None: no limit.
      clip_value: the largest absolute value of an entry of dL/dcarry[t], applied before the norm; None: no limit. A
        complex entry keeps its angle.

    Returns:
      A Gradient.

    Raises:
      ValueError: a limit is not a number above 0, or `loop` is none of the three; when it is run: one kernel can't run
        the cell under "persistent".

    References:
      Werbos 1990, Backpropagation through time: what it does and how to do it, Proceedings of the IEEE 78(10); Graves
      2013, arXiv:1308.0850 (clipping derivatives inside the backward pass).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((5, 3))
      >>> def loss(params):
      ...     return jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.reverse_scan(clip_norm=1.0))[1].sum()
      >>> jax.grad(loss)(params)["w_h"].shape
      (8, 32)
    """
    return ReverseScan(
        checks.one_of("loop", loop, LOOPS),
        None if clip_norm is None else checks.limit("clip_norm", clip_norm),
        None if clip_value is None else checks.limit("clip_value", clip_value),
    )


def default(cell: Cell) -> Gradient:
    """The gradient of a cell where none is given: `reverse_scan()` if it is gated, else `autodiff()`."""
    return reverse_scan() if isinstance(cell, GatedCell) else autodiff()
