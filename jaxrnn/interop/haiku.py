"""Haiku's weights.

Haiku's matrices stand on the right of x and h, as here; its modules have these entries and equations::

  VanillaRNN  linear {w [D, H], b}, linear_1 {w_1 [H, H], b_1}:
              h' = relu(x w + b + h w_1 + b_1)               as `jaxrnn.elman`
  LSTM        linear {w [D + H, 4*H], b}, gates in the order i, g, f, o:
              f = sigmoid(z_f + 1)                           as `jaxrnn.lstm`, but for the 1
  GRU         w_i [D, 3*H], w_h [H, 3*H], b, gates in the order z, r, a:
              a = tanh(x w_i + (r * h) w_h + b)
              h' = (1 - z) * h + z * a                       as `jaxrnn.gru(reset_after=False)` with -z
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gates import Activation
from jaxrnn.cells.gru import ResetBeforeGRU, gru
from jaxrnn.cells.lstm import LSTM
from jaxrnn.functions import unwrapped
from jaxrnn.interop.weights import blocks, check_shapes, checked_cell, columns, in_numpy, one_bias
from jaxrnn.saving import as_it_is
from jaxrnn.types import Cell, Params, leaf, pytree

IGFO = (0, 2, 1, 3)
"""The order i, g, f, o of the gates i, f, g, o; it is its own inverse."""


def shifted_sigmoid(z: jax.Array) -> jax.Array:
    """sigmoid(z + 1), the forget gate of `hk.LSTM`."""
    return jax.nn.sigmoid(z + 1.0)


@pytree
class ShiftedLSTM(LSTM):
    """`jaxrnn.lstm` with the forget gate sigmoid(z + 1): as in Haiku, the shift is not part of the bias."""

    forget_bias: Any = leaf(default=0.0)

    @property
    def gates(self) -> dict[str, Activation]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return dict(super().gates) | {"f": shifted_sigmoid}


def from_haiku(params: Mapping[str, Any], name: str) -> tuple[Cell, Params]:
    """Takes over the weights of an `hk.VanillaRNN`, `hk.LSTM` or `hk.GRU`, exactly.

    Args:
      params: the parameters from `hk.transform(...).init`.
      name: the module's name, such as "lstm": its entries are "lstm/linear" and so on. The entries decide which of the
        three it is; a module of two linear layers, the second one square, looks like a VanillaRNN.

    Returns:
      (cell, params). `hk.LSTM` becomes a cell of its own, with the forget gate sigmoid(z + 1). The state of a Haiku
      LSTM is LSTMState(hidden, cell), in the order of LSTMCarry.

    Raises:
      ValueError: an entry is missing, unknown or of another shape; the message names it.

    Example:
      >>> import haiku, jax
      >>> import jaxrnn
      >>> def step(x):
      ...     lstm = haiku.LSTM(8)
      ...     return lstm(x, lstm.initial_state(None))[0]
      >>> variables = haiku.transform(step).init(jax.random.key(0), jax.numpy.ones(3))
      >>> cell, params = jaxrnn.interop.from_haiku(variables, "lstm")
      >>> params["w_x"].shape
      (3, 32)
    """
    checks.instance("params", params, Mapping)
    checks.instance("name", name, str)
    for module, entries in params.items():
        checks.instance(f"params[{module!r}]", entries, Mapping)
    flat = {
        f"{module}/{entry}".removeprefix(f"{name}/"): x
        for module, entries in params.items()
        if module == name or module.startswith(f"{name}/")
        for entry, x in entries.items()
    }
    for entry, x in flat.items():
        if not hasattr(x, "shape"):
            raise TypeError(f"params['{name}/{entry}']: expected an array, got {checks.short(x)}")
    matrices = [entry for entry in ("w_i", "w_h", "linear/w", "linear_1/w") if entry in flat]
    for entry in matrices:
        if len(flat[entry].shape) != 2:
            raise ValueError(f"params['{name}/{entry}']: expected a matrix, got shape {tuple(flat[entry].shape)}")
    if "w_i" in flat and "w_h" in flat:
        cell: Cell = gru(flat["w_i"].shape[0], flat["w_h"].shape[0], reset_after=False)
    elif "linear_1/w" in flat and "linear/w" in flat:
        double = "linear_1/b" in flat
        cell = elman(*flat["linear/w"].shape, activation=jax.nn.relu, hidden_bias=double)
    elif "linear/w" in flat:
        rows, H = flat["linear/w"].shape[0], flat["linear/w"].shape[1] // 4
        if not 0 < H < rows:
            raise ValueError(f"params['{name}/linear']: expected w [D + H, 4*H], got {flat['linear/w'].shape}")
        cell = ShiftedLSTM(rows - H, H)
    else:
        known = "linear, of VanillaRNN or LSTM, or w_i and w_h, of GRU"
        raise ValueError(f"params: expected entries of {name!r}, {known}, got {sorted(params)}")
    check_shapes(name, flat, jax.eval_shape(lambda: _flat(cell, cell.init(jax.random.key(0)))))
    flat = {entry: as_it_is(f"params['{name}/{entry}']", x) for entry, x in flat.items()}
    if isinstance(cell, ResetBeforeGRU):
        return cell, {ours: _inverted(columns(flat[theirs], (1, 0, 2))) for ours, theirs in GRU_NAMES.items()}
    if isinstance(cell, Elman):
        names = {"w_x": "linear/w", "b": "linear/b", "w_h": "linear_1/w", "b_h": "linear_1/b"}
        return cell, {ours: flat[theirs] for ours, theirs in names.items() if theirs in flat}
    w = columns(flat["linear/w"], IGFO)
    D = cell.features[0]
    return cell, {"w_x": w[:D], "w_h": w[D:], "b": columns(flat["linear/b"], IGFO)}


GRU_NAMES = {"w_x": "w_i", "w_h": "w_h", "b": "b"}


def to_haiku(cell: Cell, params: Params, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Makes the parameters of a Haiku module of this name with these weights.

    Args:
      cell: `elman` with relu, `lstm`, the cell that `from_haiku` makes of an `hk.LSTM`, or `gru(reset_after=False)`.
      params: its parameters. 1 is subtracted from an LSTM's forget bias, since Haiku adds 1.
      name: the module's name.

    Raises:
      ValueError, TypeError: Haiku has no such cell (its GRU resets before the product), or the parameters are not the
        cell's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> variables = jaxrnn.interop.to_haiku(cell, cell.init(jax.random.key(0)), "lstm")
      >>> variables["lstm/linear"]["w"].shape
      (11, 32)
    """
    checks.instance("name", name, str)
    checked_cell(cell, params, "Haiku", (Elman, LSTM, ShiftedLSTM, ResetBeforeGRU))
    if isinstance(cell, Elman) and unwrapped(cell.activation) is not jax.nn.relu:
        raise ValueError(f"cell: expected relu, the activation of hk.VanillaRNN, got {checks.short(cell)}")
    found: dict[str, dict[str, Any]] = {}
    for entry, x in _flat(cell, params).items():
        module, _, last = entry.rpartition("/")
        found.setdefault(f"{name}/{module}" if module else name, {})[last] = x
    return in_numpy(found)


def _inverted(w: Any) -> Any:
    """Negates the columns of z among the gates r, z, n: 1 - sigmoid(z) = sigmoid(-z)."""
    r, z, n = blocks(w, 3)
    return jnp.concatenate([r, -z, n], -1)


def _flat(cell: Cell, params: Params) -> dict[str, Any]:
    """Parameters by the names of Haiku's modules."""
    w_x, w_h = params["w_x"], params["w_h"]
    if isinstance(cell, ResetBeforeGRU):
        b = params["b"] if "b" in params else jnp.zeros_like(w_x[0])
        return {
            theirs: columns(_inverted(x), (1, 0, 2))
            for theirs, x in zip(GRU_NAMES.values(), (w_x, w_h, b), strict=True)
        }
    if isinstance(cell, Elman):
        b = params["b"] if "b" in params else jnp.zeros_like(w_x[0])
        return {"linear/w": w_x, "linear/b": b, "linear_1/w": w_h} | (
            {"linear_1/b": params["b_h"]} if "b_h" in params else {}
        )
    bias = one_bias(params)
    bias = jnp.zeros_like(w_x[0]) if bias is None else bias
    if not isinstance(cell, ShiftedLSTM):
        i, f, g, o = blocks(bias, 4)
        bias = jnp.concatenate([i, f - 1.0, g, o])
    return {"linear/w": columns(jnp.concatenate([w_x, w_h]), IGFO), "linear/b": columns(bias, IGFO)}
