"""Where NaN or infinity first comes up."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_options
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.backward import backward
from jaxrnn.diagnostics.layer import Layer, Loss, record_cell
from jaxrnn.float_leaves import floats
from jaxrnn.types import Cell, Params, Tree


class FirstNonFinite(NamedTuple):
    """Steps t, int32; -1 if there is none.

    Attributes:
      forward: the first at which the carry or the output of some row is not finite.
      backward: the first on the way back at which dL/dcarry[t] of some row is not finite.
    """

    forward: jax.Array
    backward: jax.Array


def first_non_finite(
    cell: Cell,
    params: Params,
    xs: Any,
    loss: Loss,
    *,
    carry: Tree = None,
    lengths: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> FirstNonFinite:
    """The first step that is NaN or infinite, on the way forward and on the way back.

    A loss that is not finite itself makes the last step of the way forward the first of the way back.

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar.
      carry, lengths, resets, reverse, key: as for `unroll`. Under `reverse` the way forward goes from the last step to
        the first.

    Returns:
      FirstNonFinite(forward, backward): indices t into xs.

    Raises:
      ValueError, TypeError: as `unroll` does; the loss is no function or returns no scalar.
    """
    checks.callable_("loss", loss)
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    return _first_non_finite(cell, params, loss, options)


@compiled
def _first_non_finite(cell: Cell, params: Params, loss: Loss, options: dict[str, Any]) -> FirstNonFinite:
    layer = record_cell(cell, params, loss, options)
    found = non_finite(layer, backward(layer, {})[0])
    T = layer.inputs.T
    return jax.tree.map(lambda t: jnp.where(t < 0, t, T - 1 - t), found) if options["reverse"] else found


def non_finite(layer: Layer, d_carries: list[jax.Array]) -> FirstNonFinite:
    """As `first_non_finite`, in the order in which the loop ran, from dL/dcarry[t] at all t."""
    forward, back = _bad(floats((layer.after, layer.ys))), _bad(d_carries)
    T = forward.shape[0]
    return FirstNonFinite(
        jnp.where(forward.any(), jnp.argmax(forward), -1).astype(jnp.int32),
        jnp.where(back.any(), T - 1 - jnp.argmax(jnp.flip(back)), -1).astype(jnp.int32),
    )


def _bad(arrays: list[jax.Array]) -> jax.Array:
    """Whether any entry is not finite, [T]."""
    return jnp.stack([~jnp.isfinite(x).reshape(len(x), -1).all(-1) for x in arrays]).any(0)
