"""Equinox's weights.

An Equinox cell has weight_ih [G*H, D], weight_hh [G*H, H] and bias [G*H], on the left of x and h, gates in the order
i, f, g, o and r, z, n; a GRU also bias_n [H], inside of the product with r::

  LSTMCell: z = W_ih x + W_hh h + b                       as `jaxrnn.lstm`
  GRUCell:  n = tanh(W_in x + b_n + r * (W_hn h + bias_n))  as `jaxrnn.gru`, whose b_h is bias_n at n and 0 at r and z
"""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.cells.gru import GRU, gru
from jaxrnn.cells.lstm import LSTM, lstm
from jaxrnn.interop.weights import candidate_bias, check_shapes, checked_cell, one_bias
from jaxrnn.types import Cell, Params


def from_equinox(cell: Any) -> tuple[Cell, Params]:
    """Takes over the weights of an `equinox.nn.LSTMCell` or `GRUCell`, exactly.

    Args:
      cell: the Equinox cell.

    Returns:
      (cell, params). The state of an Equinox LSTM is the tuple (h, c), in the order of LSTMCarry.

    Raises:
      TypeError: `cell` is not such a cell.

    Example:
      >>> import equinox, jax
      >>> import jaxrnn
      >>> cell, params = jaxrnn.interop.from_equinox(equinox.nn.LSTMCell(3, 8, key=jax.random.key(0)))
      >>> params["w_x"].shape
      (3, 32)
    """
    equinox: Any = importlib.import_module("equinox")

    if type(cell) not in (equinox.nn.LSTMCell, equinox.nn.GRUCell):
        raise TypeError(f"cell: expected an equinox.nn.LSTMCell or GRUCell, got {checks.short(cell)}")
    G = 4 if isinstance(cell, equinox.nn.LSTMCell) else 3
    shapes = {
        "weight_ih": (G * cell.hidden_size, cell.input_size),
        "weight_hh": (G * cell.hidden_size, cell.hidden_size),
    }
    check_shapes(
        "cell",
        {name: getattr(cell, name) for name in shapes},
        {name: np.empty(shape) for name, shape in shapes.items()},
    )
    made = lstm if isinstance(cell, equinox.nn.LSTMCell) else gru
    params = {"w_x": cell.weight_ih.T, "w_h": cell.weight_hh.T}
    if cell.bias is not None:
        params["b"] = cell.bias
        if isinstance(cell, equinox.nn.GRUCell):
            assert cell.bias_n is not None
            params["b_h"] = jnp.concatenate([jnp.zeros_like(cell.bias[: 2 * cell.hidden_size]), cell.bias_n])
    return made(cell.input_size, cell.hidden_size, bias=cell.use_bias), params


def to_equinox(cell: Cell, params: Params) -> Any:
    """Makes an `equinox.nn.LSTMCell` or `GRUCell` with these weights.

    Args:
      cell: `lstm` or `gru`.
      params: its parameters. A GRU's hidden biases of r and z, and an LSTM's second bias, are added to the others.

    Raises:
      ValueError, TypeError: Equinox has no such cell, or the parameters are not the cell's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> module = jaxrnn.interop.to_equinox(cell, cell.init(jax.random.key(0)))  # an equinox.nn.GRUCell
      >>> module(jax.numpy.ones(3), jax.numpy.zeros(8)).shape
      (8,)
    """
    equinox: Any = importlib.import_module("equinox")

    checked_cell(cell, params, "Equinox", (LSTM, GRU))
    D, H = cell.features
    kind = equinox.nn.LSTMCell if isinstance(cell, LSTM) else equinox.nn.GRUCell
    values = {"weight_ih": params["w_x"].T, "weight_hh": params["w_h"].T}
    if isinstance(cell, LSTM):
        values |= {} if one_bias(params) is None else {"bias": one_bias(params)}
    else:
        b, of_n = candidate_bias(params)
        values |= {} if b is None else {"bias": b, "bias_n": jnp.zeros(H, b.dtype) if of_n is None else of_n}
    made: Any = equinox.filter_eval_shape(kind, D, H, use_bias="bias" in values, key=jax.random.key(0))
    return equinox.tree_at(lambda c: [getattr(c, name) for name in values], made, list(values.values()))
