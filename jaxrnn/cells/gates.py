"""Gates of a cell: their activations, with the slopes and bounds that are known of them.

A gate is declared by one of

  f            any element-wise function of the sum z = zx + zh
  identity     z itself, for equations that add to it, such as a peephole
  apart(f)     f(zx, zh, *before): its two parts, and the gates declared before it
  apart        the pair (zx, zh)
"""

import numbers
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.functions import unwrapped
from jaxrnn.types import Options, leaf, pytree

ElementWise = Callable[..., jax.Array]
"""An element-wise function: of z, or of (zx, zh, *before)."""
Bounds = tuple[float, float]


def identity(z: jax.Array) -> jax.Array:
    """Passes a gate's sum z = zx + zh to the cell's equations as it is.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> def update(params, h, gates, noise):
      ...     (z,) = gates
      ...     return 0.9 * h + 0.1 * jnp.tanh(z)
      >>> cell = jaxrnn.gated_cell(3, 8, {"z": jaxrnn.identity}, update)
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)
    """
    return z


@pytree
class Apart(Options):
    """See `apart`."""

    function: ElementWise | None = leaf(default=None)
    bounds: Bounds | None = None


Activation = Callable[..., jax.Array | Apart] | Apart
"""The declaration of a gate: a function, the result of `apart`, or `apart` itself."""


def apart(function: ElementWise, bounds: Bounds | None = None) -> Apart:
    """Declares a gate made of its two parts: function(zx, zh, *before).

    A GRU's candidate is `apart(lambda zx, zh, r, z: jnp.tanh(zx + r * zh))`. `apart` itself, in place of an activation,
    passes the pair (zx, zh) to `update`.

    Args:
      function: (zx, zh, *before) -> [..., H], element by element. `before` are the gates declared before this one. It
        may be a `jax.tree_util.Partial`, whose arguments can be traced, swept and differentiated.
      bounds: the lowest and highest value of the gate, for the diagnostics; None: unknown.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> gates = {"f": jax.nn.sigmoid, "n": jaxrnn.apart(lambda zx, zh, f: jnp.tanh(zx + f * zh), (-1.0, 1.0))}
      >>> def update(params, h, gates, noise):
      ...     f, n = gates
      ...     return (1 - f) * h + f * n
      >>> cell = jaxrnn.gated_cell(3, 8, gates, update)
      >>> cell.init(jax.random.key(0))["w_x"].shape
      (3, 16)
    """
    checks.callable_("function", function)
    return Apart(function, None if bounds is None else _checked_bounds(bounds))


def _checked_bounds(bounds: Any) -> Bounds:
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2 and all(isinstance(x, numbers.Real) for x in bounds)
    if not pair or not bounds[0] < bounds[1]:
        raise ValueError(f"bounds: expected a pair of numbers, the lower one first, got {checks.short(bounds)}")
    return float(bounds[0]), float(bounds[1])


def is_pair(activation: object) -> bool:
    """Tells whether a gate reaches `update` as its two parts."""
    return activation is apart or (isinstance(activation, Apart) and activation.function is None)


class Known(NamedTuple):
    """The slope and the bounds of an activation, as far as they are known.

    Attributes:
      slope: its derivative as a function of its output; None: the derivative needs the input.
      bounds: the lowest and highest output; None: unbounded or unknown.
    """

    slope: Callable[[jax.Array], jax.Array] | None
    bounds: Bounds | None


_SIGMOID = Known(lambda a: a * (1.0 - a), (0.0, 1.0))
_TANH = Known(lambda a: 1.0 - a * a, (-1.0, 1.0))
_INFINITY = float("inf")
KNOWN: tuple[tuple[Activation, Known], ...] = (
    (jax.nn.sigmoid, _SIGMOID),
    (jax.lax.logistic, _SIGMOID),
    (jnp.tanh, _TANH),
    (jax.lax.tanh, _TANH),
    (jax.nn.relu, Known(lambda a: (a > 0).astype(a.dtype), (0.0, _INFINITY))),
    (jnp.exp, Known(lambda a: a, (0.0, _INFINITY))),
    (jax.lax.exp, Known(lambda a: a, (0.0, _INFINITY))),
    (identity, Known(jnp.ones_like, None)),
    (jax.nn.hard_tanh, Known(None, (-1.0, 1.0))),
    (jax.nn.soft_sign, Known(None, (-1.0, 1.0))),
    (jax.nn.hard_sigmoid, Known(None, (0.0, 1.0))),
    (jax.nn.relu6, Known(None, (0.0, 6.0))),
    (jax.nn.softplus, Known(None, (0.0, _INFINITY))),
)


def known(activation: Activation) -> Known:
    """Looks an activation up; for most, nothing is known."""
    if isinstance(activation, Apart):
        return Known(None, activation.bounds)
    activation = unwrapped(activation)
    return next((found for candidate, found in KNOWN if candidate is activation), Known(None, None))


def is_apart(activation: object) -> bool:
    """Tells whether a gate is declared by its two parts."""
    return activation is apart or isinstance(activation, Apart)


@jax.custom_jvp
def _kept(slope: jax.Array, z: jax.Array, a: jax.Array) -> jax.Array:
    del slope, z
    return a


@_kept.defjvp
def _kept_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (slope, _, a), (_, d_z, _) = primals, tangents
    return a, slope * d_z


def activated(activations: Iterable[Any], z: Iterable[Any], kept: Iterable[Any] | None = None) -> list[Any]:
    """Computes the gates.

    Args:
      activations: one for each gate.
      z: for each gate its pre-activation [..., H], or the pair (zx, zh) if it is `apart`.
      kept: the arrays that `outputs` chose at these pre-activations. Where an activation's slope follows from its
        output, the kept output and the slope are used, and z is not read.
    """
    gates: list[Any] = []
    for activation, at, a in zip(activations, z, z if kept is None else kept, strict=True):
        if is_pair(activation):
            gates.append(at)
        elif is_apart(activation):
            gates.append(activation.function(*at, *gates))
        elif kept is not None and (slope := known(activation).slope) is not None:
            gates.append(_kept(slope(a), at, a))
        else:
            gates.append(activation(at))
    return gates


def outputs(activations: Iterable[Activation], z: Iterable[Any], gates: Iterable[Any]) -> list[Any]:
    """The array kept of each gate for its derivative: the output if that gives the slope, else the pre-activation."""
    return [at if known(f).slope is None else a for f, at, a in zip(activations, z, gates, strict=True)]
