"""The first step with NaN or infinity."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_options
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.backward import backward
from jaxrnn.diagnostics.layer import Layer, OutputLoss, record_cell
from jaxrnn.float_leaves import floats
from jaxrnn.types import Cell, Params, Tree


class FirstNonFinite(NamedTuple):
    """Steps t, int32; -1: none.

    Attributes:
      forward: the first step at which the carry or the output of some row is not finite.
      backward: the first step of the backward pass at which dL/dcarry[t] of some row is not finite.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 1, activation=jax.nn.relu)
      >>> params = {"w_x": jnp.ones((1, 1)), "w_h": jnp.full((1, 1), 1e10), "b": jnp.zeros(1)}  # h[t] is about 1e10**t
      >>> found = jaxrnn.diagnostics.first_non_finite(cell, params, jnp.ones((9, 1)), jnp.sum)
      >>> int(found.forward), int(found.backward)
      (4, 4)
    """

    forward: jax.Array
    backward: jax.Array


def first_non_finite(
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
) -> FirstNonFinite:
    """Finds the first step that is NaN or infinite, in the forward pass and in the backward pass.

    If the loss itself is not finite, the backward pass is so from its first step, the last one of the forward pass.

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar.
      carry, lengths, resets, reverse, key: as for `unroll`. Under `reverse` the forward pass goes from the last step to
        the first.

    Returns:
      FirstNonFinite(forward, backward): indices t into xs.

    Raises:
      ValueError, TypeError: as `unroll` does; the loss is not a function or returns no scalar.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> xs = jnp.ones((10, 2, 3)).at[4, 1].set(jnp.nan)
      >>> found = jaxrnn.diagnostics.first_non_finite(cell, cell.init(jax.random.key(0)), xs, jnp.sum)
      >>> int(found.forward), int(found.backward)
      (4, 8)
    """
    checks.function("loss", loss, "ys")
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    return _first_non_finite(cell, params, loss, options)


@compiled
def _first_non_finite(cell: Cell, params: Params, loss: OutputLoss, options: dict[str, Any]) -> FirstNonFinite:
    layer = record_cell(cell, params, loss, options)
    found = non_finite(layer, backward(layer, {})[0])
    T = layer.inputs.T
    return jax.tree.map(lambda t: jnp.where(t < 0, t, T - 1 - t), found) if options["reverse"] else found


def non_finite(layer: Layer, d_carries: list[jax.Array]) -> FirstNonFinite:
    """The steps like `first_non_finite`, in the order in which the loop ran, from dL/dcarry[t] at all t."""
    forward, back = _bad(floats((layer.after, layer.ys))), _bad(d_carries)
    T = forward.shape[0]
    return FirstNonFinite(
        jnp.where(forward.any(), jnp.argmax(forward), -1).astype(jnp.int32),
        jnp.where(back.any(), T - 1 - jnp.argmax(jnp.flip(back)), -1).astype(jnp.int32),
    )


def _bad(arrays: list[jax.Array]) -> jax.Array:
    """Tells whether any entry is not finite, [T]."""
    return jnp.stack([~jnp.isfinite(x).reshape(len(x), -1).all(-1) for x in arrays]).any(0)
