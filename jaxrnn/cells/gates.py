"""Gates of a cell: their activations, and what is known of these.

A gate is declared by one of

  f            any element-wise function of the sum z = zx + zh
  identity     z itself, for equations that add to it, such as a peephole
  apart(f)     f(zx, zh, *before): its two parts, and the gates declared before it
  apart        the pair (zx, zh)
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.functions import unwrapped
from jaxrnn.types import Options, leaf, pytree

Activation = Callable[..., Any]
Bounds = tuple[float, float]


def identity(z: jax.Array) -> jax.Array:
    """The activation of a gate whose sum z = zx + zh the equations read as it is."""
    return z


@pytree
class Apart(Options):
    """See `apart`."""

    function: Activation | None = leaf(default=None)
    bounds: Bounds | None = None


def apart(function: Activation, bounds: Bounds | None = None) -> Apart:
    """Declares a gate made of its two parts: function(zx, zh, *before).

    A GRU's candidate is `apart(lambda zx, zh, r, z: jnp.tanh(zx + r * zh))`. `apart` without an argument, in the place
    of an activation, hands the pair (zx, zh) to `update`.

    Args:
      function: (zx, zh, *before) -> [..., H], element by element. `before` are the gates declared before this one. It
        may be a `jax.tree_util.Partial`, whose arguments can be traced, swept and differentiated.
      bounds: the lowest and highest value of the gate, for the diagnostics; None: they are not known.

    Raises:
      TypeError: `function` is no function.
    """
    checks.callable_("function", function)
    return Apart(function, bounds)


def is_pair(activation: Any) -> bool:
    """Tells whether a gate is handed to `update` as its two parts."""
    return activation is apart or (isinstance(activation, Apart) and activation.function is None)


class Known(NamedTuple):
    """The slope and the bounds of an activation, as far as they are known.

    Attributes:
      slope: its derivative as a function of its output; None: it takes the input.
      bounds: the lowest and highest output; None: there is none on either side.
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
    """Looks an activation up: of most, nothing is known."""
    if isinstance(activation, Apart):
        return Known(None, activation.bounds)
    activation = unwrapped(activation)
    return next((found for candidate, found in KNOWN if candidate is activation), Known(None, None))


def is_apart(activation: Any) -> bool:
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
    """The gates.

    Args:
      activations: one a gate.
      z: for each gate its pre-activation [..., H], or the pair (zx, zh) of one that is `apart`.
      kept: what `outputs` found at these pre-activations. They are not read where the output is known: it stands in
        their place, and so does the derivative that follows from it.
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
    """What to keep of each gate for its derivative: its output if the slope is known by it, else its pre-activation."""
    return [at if known(f).slope is None else a for f, at, a in zip(activations, z, gates, strict=True)]
