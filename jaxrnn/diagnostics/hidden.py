"""The loss's derivative with respect to the state at each step."""

from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.arguments import checked_options
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.backward import backward
from jaxrnn.diagnostics.layer import OutputLoss, in_time, record_cell
from jaxrnn.float_leaves import cotangent
from jaxrnn.types import Cell, Params, Tree


def hidden_gradients(
    cell: Cell,
    params: Params,
    xs: Tree,
    loss: OutputLoss,
    *,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> Tree:
    """dL/dh[t] for all t: the loss's gradient when backpropagation through time reaches step t.

    dL/dcarry[t-1] = (d step[t] / dcarry[t-1])^T (dL/dcarry[t], dL/dy[t])

    The gradient vanishes where it shrinks by a factor from each step to the one before, and explodes where it grows. It
    is the sum over all outputs from y[t] on; `gradient_norm_by_lag` separates them. Memory: O(T).

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar, of the outputs [T, *batch_shape, H].
      carry, lengths, resets, reverse, key: as for `unroll`.

    Returns:
      A tree like the carry, [T, *batch_shape, ...]: entry t is the derivative with respect to the carry after x[t] was
      read. Zero on padding; None for leaves without a derivative, such as integers. It includes y[t] itself if y[t] is
      a function of that carry: for every gated cell; for a plain cell if y[t] is a leaf of the carry.

    Raises:
      ValueError, TypeError: as `unroll` does; the loss is not a function or returns no scalar.

    References:
      Bengio, Simard and Frasconi 1994, Learning long-term dependencies with gradient descent is difficult, IEEE
      Transactions on Neural Networks 5(2); Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> xs = jax.numpy.ones((20, 2, 3))
      >>> def loss(ys):
      ...     return ys[-1].sum()
      >>> gradients = jaxrnn.diagnostics.hidden_gradients(cell, cell.init(jax.random.key(0)), xs, loss)
      >>> gradients.h.shape, gradients.c.shape
      ((20, 2, 8), (20, 2, 8))
    """
    checks.function("loss", loss, "ys")
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    return _hidden_gradients(cell, params, loss, options)


@compiled
def _hidden_gradients(cell: Cell, params: Params, loss: OutputLoss, options: dict[str, Any]) -> Tree:
    layer = record_cell(cell, params, loss, options)
    return in_time(cotangent(layer.after, backward(layer, {})[0]), options["reverse"])
