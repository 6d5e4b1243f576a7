"""Keras's weights.

A Keras layer has kernel [D, G*H], recurrent_kernel [H, G*H] and bias, on the right of x and h as here::

  SimpleRNN               h' = activation(x W + h U + b)                                  as `jaxrnn.elman`
  LSTM                    gates i, f, c, o, bias [4*H]: i, f, g, o of `jaxrnn.lstm`
  GRU                     gates z, r, h, bias [2, 3*H]: `jaxrnn.gru` in the order r, z, n, the second row is b_h
  GRU(reset_after=False)  gates z, r, h, bias [3*H]: `jaxrnn.gru(reset_after=False)`
"""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gates import identity
from jaxrnn.cells.gru import GRU, ResetBeforeGRU, gru
from jaxrnn.cells.lstm import LSTM, lstm
from jaxrnn.interop.weights import checked_cell, columns, in_numpy, one_bias
from jaxrnn.models.bidirectional import Bidirectional, bidirectional
from jaxrnn.saving import as_it_is
from jaxrnn.types import Cell, Params

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "linear": identity, "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign, "elu": jax.nn.elu, "selu": jax.nn.selu, "silu": jax.nn.silu, "exponential": jnp.exp,
    "relu6": jax.nn.relu6, "hard_sigmoid": jax.nn.hard_sigmoid,
}  # fmt: skip
"""Keras's activations by the name in a layer's configuration."""
MERGES: dict[str | None, str | None] = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "mean", None: None}
ZRN = (1, 0, 2)
"""The order z, r, n of the gates r, z, n; it is its own inverse."""


def from_keras(layer: Any) -> tuple[Cell | Bidirectional, Params]:
    """Takes over the weights of a Keras `SimpleRNN`, `LSTM`, `GRU`, one of their cells, or `Bidirectional`, exactly.

    Args:
      layer: a built layer, so that it has weights. Keras layers read [B, T, D], as `unroll(..., time_major=False)`
        does; the output of a layer without `return_sequences` is the hidden state of the final carry here. Dropout has
        no weights and is left out.

    Returns:
      (cell, params), or (model, params) of a `Bidirectional`; its merge mode "ave" is "mean" here.

    Raises:
      ValueError: an option has no counterpart (another activation of a GRU or LSTM, `go_backwards`, `stateful`); the
        message names it.
      TypeError: `layer` is not such a layer.

    Example:
      >>> import keras
      >>> import jaxrnn
      >>> layer = keras.layers.LSTM(8, return_sequences=True)
      >>> layer.build((None, None, 3))
      >>> cell, params = jaxrnn.interop.from_keras(layer)
      >>> params["w_x"].shape
      (3, 32)
    """
    kind, config = _kind(layer), getattr(layer, "get_config", dict)()
    arrays = [as_it_is(f"layer.get_weights()[{i}]", np.asarray(x)) for i, x in enumerate(_weights(layer))]
    if kind == "Bidirectional":
        merge = MERGES[checks.one_of("layer: merge_mode", config["merge_mode"], tuple(MERGES))]
        pair: list[tuple[Cell, Params]] = []
        first = len(layer.forward_layer.get_weights())
        for part, own, back in (
            (layer.forward_layer, arrays[:first], False),
            (layer.backward_layer, arrays[first:], True),
        ):
            if part.go_backwards != back:
                raise ValueError(f"layer: expected go_backwards={back} of {part.name}, got {part.go_backwards}")
            pair.append(_cell(part, part.get_config() | {"go_backwards": False}, own))
        (forward, p), (backward, q) = pair
        return bidirectional(forward, backward, merge=merge), {"forward": p, "backward": q}  # pyright: ignore
    return _cell(layer, config, arrays)


def to_keras(cell: Cell | Bidirectional, params: Params) -> list[np.ndarray]:
    """Makes the weights for `set_weights` of a Keras layer of the same sizes and options.

    Args:
      cell: `elman` (a SimpleRNN), `lstm`, `gru` (a GRU with `reset_after=True`; without a bias `use_bias=False`),
        `gru(reset_after=False)`, or a `jaxrnn.bidirectional` of two of one kind.
      params: its parameters. A hidden bias that Keras does not have is added to the other bias.

    Raises:
      ValueError, TypeError: Keras has no such cell, or the parameters are not the cell's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> weights = jaxrnn.interop.to_keras(cell, cell.init(jax.random.key(0)))  # for keras.layers.LSTM(8).set_weights
      >>> [w.shape for w in weights]
      [(3, 32), (8, 32), (32,)]
    """
    if isinstance(cell, Bidirectional):
        return to_keras(cell.forward, params["forward"]) + to_keras(cell.backward, params["backward"])
    checked_cell(cell, params, "Keras", (Elman, LSTM, GRU, ResetBeforeGRU))
    if isinstance(cell, (Elman, LSTM)):
        bias = one_bias(params)
        return in_numpy([params["w_x"], params["w_h"], *([] if bias is None else [bias])])
    b, b_h = params.get("b"), params.get("b_h")
    weights = [columns(params[name], ZRN) for name in ("w_x", "w_h")]
    if b is None and b_h is None:
        return in_numpy(weights)
    if isinstance(cell, ResetBeforeGRU):
        return in_numpy([*weights, columns(b, ZRN)])
    some = b if b is not None else b_h
    both = [jnp.zeros_like(some) if x is None else x for x in (b, b_h)]
    return in_numpy([*weights, jnp.stack([columns(x, ZRN) for x in both])])


def _kind(layer: Any) -> str:
    kind = type(layer)
    name = kind.__name__.removesuffix("Cell")
    if not kind.__module__.startswith("keras.") or name not in ("SimpleRNN", "LSTM", "GRU", "Bidirectional"):
        raise TypeError(f"layer: expected a Keras SimpleRNN, LSTM, GRU or Bidirectional, got {checks.short(layer)}")
    return name


def _weights(layer: Any) -> list[Any]:
    found = layer.get_weights()
    if not found:
        raise ValueError(
            "layer: expected one that is built, got one without weights; layer.build((B, T, D)) makes them"
        )
    return found


def _cell(layer: Any, config: dict[str, Any], arrays: list[jax.Array]) -> tuple[Cell, Params]:
    keras: Any = importlib.import_module("keras")

    kind = _kind(layer)
    if config.get("go_backwards"):
        raise ValueError("layer: expected one that reads forward, got go_backwards=True; unroll has reverse=True")
    if config.get("stateful"):
        raise ValueError("layer: expected one that keeps no state, got stateful=True; unroll takes and returns a carry")
    for name in ("activation", "recurrent_activation"):
        f = getattr(layer, name, None)
        if f is not None and f is not keras.activations.get(config[name] if config[name] in [*ACTIVATIONS] else None):
            raise ValueError(f"layer: expected one of Keras's own functions as {name}, {(*ACTIVATIONS,)}, got {f!r}")
    w_x, w_h, *bias = arrays
    D, H = w_x.shape[0], w_h.shape[0]
    activation = checks.one_of("layer: activation", config["activation"], tuple(ACTIVATIONS))
    if kind == "SimpleRNN":
        cell: Cell = elman(D, H, activation=ACTIVATIONS[activation], bias=bool(bias))
        return cell, {"w_x": w_x, "w_h": w_h} | dict(zip("b", bias, strict=False))
    for name, only in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if config[name] != only:
            raise ValueError(f"layer: expected {name}={only!r}, which {kind.lower()} has here, got {config[name]!r}")
    if kind == "LSTM":
        return lstm(D, H, bias=bool(bias)), {"w_x": w_x, "w_h": w_h} | dict(zip("b", bias, strict=False))
    params = {"w_x": columns(w_x, ZRN), "w_h": columns(w_h, ZRN)}
    cell = gru(D, H, reset_after=config["reset_after"], bias=bool(bias))
    if not bias:
        return cell, params
    if not config["reset_after"]:
        return cell, params | {"b": columns(bias[0], ZRN)}
    return cell, params | {name: columns(b, ZRN) for name, b in zip(("b", "b_h"), bias[0], strict=True)}
