"""The activations of a cell's gates over time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_options
from jaxrnn.cells.gated import GatedCell
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.layer import Layer, in_time, run_cell
from jaxrnn.masks import enter
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.types import Cell, Params, Step, Tree

if TYPE_CHECKING:
    from jaxtyping import Float

MARGIN = 0.05
"""The share of its range, from either end, within which a gate counts as saturated."""


class GateStatistics(NamedTuple):
    """One gate over time, over all rows that have not ended and all units; each [T], NaN where all rows have ended.

    Attributes:
      mean: mean activation.
      low, high: share of activations within the margin of the lower, the upper end of the gate's range.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8, forget_bias=100.0)
      >>> gates = jaxrnn.diagnostics.gate_statistics(cell, cell.init(jax.random.key(0)), jax.numpy.ones((3, 2, 3)))
      >>> gates["f"].mean.tolist(), gates["f"].high.tolist(), gates["f"].low.tolist()
      ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    """

    mean: "Float[jax.Array, 'T']"
    low: "Float[jax.Array, 'T']"
    high: "Float[jax.Array, 'T']"

    @property
    def saturated(self) -> "Float[jax.Array, 'T']":
        """The share at either end, where the gate passes hardly any gradient."""
        return self.low + self.high


def gate_statistics(
    cell: Cell,
    params: Params,
    xs: Tree,
    *,
    margin: float = MARGIN,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> dict[str, GateStatistics]:
    """Mean and saturated share of each gate at each step.

    A sigmoid gate is saturated below 0.05 or above 0.95, tanh below -0.9 or above 0.9. For an activation without an
    upper bound, such as relu, it is the share at or below the lower bound: silent units.

    Args:
      cell: a gated cell that names its gates: `lstm` (i, f, g, o), `gru` (r, z, n), `elman` (h) and `ctrnn` (the rate
        r) with an activation of known range, `gated_cell` with `gate_values`.
      params, xs: as for `unroll`.
      margin: the share of a gate's range, at each end, that counts as saturated: above 0 and at most 0.5.
      carry, lengths, resets, reverse, key: as for `unroll`.

    Returns:
      {gate: GateStatistics}.

    Raises:
      ValueError, TypeError: as `unroll` does; the margin is out of range; the cell names no gates.

    References:
      Karpathy, Johnson and Fei-Fei 2016, Visualizing and understanding recurrent networks, arXiv:1506.02078.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> gates = jaxrnn.diagnostics.gate_statistics(cell, cell.init(jax.random.key(0)), jax.numpy.ones((5, 2, 3)))
      >>> sorted(gates), gates["f"].saturated.shape
      (['f', 'g', 'i', 'o'], (5,))
    """
    checks.above("margin", margin, 0.0)
    if not isinstance(margin, Tracer) and margin > 0.5:
        raise ValueError(f"margin: expected a number of at most 0.5, got {margin}")
    return _gate_statistics(cell, params, margin, checked_options(cell, xs, carry, lengths, resets, reverse, key))


@compiled
def _gate_statistics(cell: Cell, params: Params, margin: float, options: dict[str, Any]) -> dict[str, GateStatistics]:
    found = gates(run_cell(cell, params, options), margin)
    if not found:
        raise ValueError(f"cell: expected a gated cell that names its gates, got {checks.short(cell)}")
    return in_time(found, options["reverse"])


def gates(layer: Layer, margin: float = MARGIN) -> dict[str, GateStatistics]:
    """Statistics like `gate_statistics`, in the order in which the loop ran; empty for a cell that names no gates."""
    cell, params = layer.cell, layer.params
    if not isinstance(cell, GatedCell):
        return {}

    bounds = {}

    def values(before: Tree, step: Step) -> dict[str, jax.Array]:
        carry = enter(before, layer.inputs.initial, step.reset)
        named = cell.named_gates(params, carry, step.x, step.noise)
        bounds.update({name: limits for name, (_, limits) in named.items()})
        return {name: a for name, (a, limits) in named.items() if limits is not None}

    valid = layer.inputs.steps.valid

    def statistics(name: str, at_t: jax.Array) -> GateStatistics:
        low, high = bounds[name]
        edge = margin * (high - low) if np.isfinite(high - low) else 0.0
        counted = jnp.ones(at_t.shape[:-1], bool) if valid is None else valid
        count = (counted.reshape(len(at_t), -1).sum(-1) * at_t.shape[-1]).astype(at_t.dtype)

        def mean(x: jax.Array) -> jax.Array:
            x = jnp.where(counted[..., None], x.astype(at_t.dtype), 0.0)
            return x.reshape(len(x), -1).sum(-1) / count

        return GateStatistics(mean(at_t), mean(at_t <= low + edge), mean(at_t >= high - edge))

    found = jax.vmap(values)(layer.before, layer.inputs.steps)
    return {name: statistics(name, at_t) for name, at_t in found.items()}
