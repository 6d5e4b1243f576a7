"""PyTorch's weights.

A PyTorch layer has, for each layer k and direction, weight_ih_l{k} [G*H, D], weight_hh_l{k} [G*H, H], bias_ih_l{k} and
bias_hh_l{k} [G*H], gates in the order i, f, g, o and r, z, n; with `proj_size` also weight_hr_l{k} [P, H]::

  z = W_ih x + b_ih + W_hh h + b_hh                    RNN: h' = tanh(z) or relu(z); LSTM: as `jaxrnn.lstm`
  n = tanh(W_in x + b_in + r * (W_hn h + b_hn))        GRU: h' = (1 - z) * n + z * h, as `jaxrnn.gru`
  h' = W_hr (o * tanh(c'))                             LSTM with proj_size

So w_x = W_ih^T, w_h = W_hh^T, b = b_ih, b_h = b_hh, w_p = W_hr^T: cells have `hidden_bias=True`.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gated import GatedCell
from jaxrnn.cells.gru import GRU, gru
from jaxrnn.cells.lstm import LSTM, ProjectedLSTM, lstm
from jaxrnn.functions import unwrapped
from jaxrnn.interop.weights import cells_of, check_shapes, checked_cell, in_numpy
from jaxrnn.models.bidirectional import bidirectional
from jaxrnn.models.chain import chain
from jaxrnn.models.stack import stack
from jaxrnn.saving import as_it_is, opened
from jaxrnn.types import Cell, Model, Params

ACTIVATIONS: dict[str, Callable[..., jax.Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu}


class Source(NamedTuple):
    """Arrays by name; `read` reads one of them."""

    arrays: dict[str, Any]
    read: Callable[[str], np.ndarray]


def from_torch(source: Any, *, prefix: str = "", nonlinearity: str | None = None) -> tuple[Model | Cell, Params]:
    """Takes over the weights of a `torch.nn.RNN`, `LSTM`, `GRU` or one of their cells, exactly.

    Args:
      source: the module; or its `state_dict()`, whose values may be NumPy arrays; or the path of a safetensors file. No
        other files are read: torch's .pt files are pickles, which can run any code.
      prefix: the prefix of the names within a larger state_dict or file, such as "encoder.lstm."; other names are
        ignored.
      nonlinearity: "tanh" or "relu" for an `RNN` from arrays or a file; a module has the information itself.

    Returns:
      (model, params): a `jaxrnn.stack` of a cell for each layer, or with both directions a `jaxrnn.chain` of
      `jaxrnn.bidirectional`; for a torch cell, a Cell. Gradients transpose in the same way. For a torch module with
      `batch_first=True`, call `model.apply(..., time_major=False)`. `dropout` between layers has no weights and is left
      out.

    Raises:
      ValueError, TypeError: an entry is missing, unknown or of another shape; the message names it.
      FileNotFoundError: `source` is the path of a file that does not exist.

    Example:
      >>> import numpy as np
      >>> import jaxrnn
      >>> shapes = {"weight_ih_l0": (32, 3), "weight_hh_l0": (32, 8), "bias_ih_l0": (32,), "bias_hh_l0": (32,)}
      >>> state = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}  # of torch.nn.LSTM(3, 8)
      >>> model, params = jaxrnn.interop.from_torch(state)
      >>> model, params["0"]["w_x"].shape
      (Stack(cells=(LSTM(D=3, H=8, hidden_bias=True),)), (3, 32))
    """
    found, said = _opened(source, prefix), getattr(source, "nonlinearity", None)
    if hasattr(source, "state_dict") and not type(source).__module__.startswith("torch.nn."):
        raise TypeError(
            f"source: expected a module of torch.nn or a state_dict, got a {type(source).__name__}, whose forward may "
            "be another; hand in the module of torch.nn that it has, or its state_dict()"
        )
    if nonlinearity is not None:
        checks.one_of("nonlinearity", nonlinearity, tuple(ACTIVATIONS))
        if said not in (None, nonlinearity):
            raise ValueError(f"nonlinearity: expected {said!r}, the module's own, or None, got {nonlinearity!r}")
    names = found.arrays
    if "weight_ih" in names:
        model: Model | Cell = _cell(names, "", said or nonlinearity)
    else:
        directions = ("", "_reverse") if "weight_ih_l0_reverse" in names else ("",)
        layers: list[list[Cell]] = []
        while not layers or f"weight_ih_l{len(layers)}" in names:
            layers.append([_cell(names, f"_l{len(layers)}{way}", said or nonlinearity) for way in directions])
        model = stack([cell for (cell,) in layers]) if len(directions) == 1 else chain(
            [bidirectional(*pair) for pair in layers]
        )  # fmt: skip
    expected = jax.eval_shape(lambda: _named(model, model.init(jax.random.key(0))))
    check_shapes("source", names, expected)
    read = {name: as_it_is(f"source[{name!r}]", found.read(name)) for name in expected}
    return model, _params(model, read)


def to_torch(model: Model | Cell, params: Params) -> dict[str, np.ndarray]:
    """Makes the `state_dict` of a PyTorch module of the same sizes from the weights.

    To load it: `module.load_state_dict({name: torch.from_numpy(x) for name, x in state.items()})`.

    Args:
      model: a cell (for `torch.nn.LSTMCell` and so on), a `jaxrnn.stack` of cells, `jaxrnn.bidirectional`, or a
        `jaxrnn.chain` of these: of `elman` with tanh or relu, `lstm`, also with `proj_size`, or `gru`.
      params: its parameters.

    Returns:
      Arrays by PyTorch's names. A single missing bias becomes zero; if both are missing, there is no bias, as with
      `bias=False`. bfloat16 becomes float32, which `torch.from_numpy` reads and a bfloat16 module takes back exactly.

    Raises:
      ValueError, TypeError: PyTorch has no such cell, or the parameters are not the model's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.stack(jaxrnn.lstm(3, 8))
      >>> state = jaxrnn.interop.to_torch(model, model.init(jax.random.key(0)))  # for torch.nn.LSTM(3, 8)
      >>> state["weight_ih_l0"].shape
      (32, 3)
    """
    layers = cells_of(model)
    checked_params(model, params)
    alike = set()
    for cell, _ in (place for layer in layers for place in layer):
        if isinstance(cell, Elman) and unwrapped(cell.activation) not in ACTIVATIONS.values():
            raise ValueError(f"model: expected tanh or relu, which PyTorch's RNN has, got {checks.short(cell)}")
        own: Any = getattr(cell, "inner", cell)
        biased = isinstance(own, GatedCell) and (own.bias or own.hidden_bias)
        sizes = getattr(own, "H", None), getattr(cell, "P", None)
        alike.add((type(cell), sizes, biased, unwrapped(getattr(cell, "activation", None)), len(layers[0])))
    if len(alike) > 1 or len({len(layer) for layer in layers}) > 1:
        raise ValueError(
            "model: expected cells of one kind, H, activation and bias, in the same directions, as a PyTorch module "
            f"has them, got {checks.short(model)}"
        )
    named = in_numpy(_named(model, params))
    return {name: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x for name, x in named.items()}


def _cell(names: Mapping[str, Any], suffix: str, nonlinearity: str | None) -> Cell:
    """The cell that fits weights of these names and shapes."""
    for name in (f"weight_ih{suffix}", f"weight_hh{suffix}"):
        if name not in names:
            raise ValueError(
                f"source: expected an entry {name!r}, got {sorted(names)}; prefix= chooses one module of several"
            )
        if len(names[name].shape) != 2:
            raise ValueError(f"source[{name!r}]: expected a matrix, got shape {tuple(names[name].shape)}")
    rows, D = names[f"weight_ih{suffix}"].shape
    projection = names.get(f"weight_hr{suffix}")
    if projection is not None and len(projection.shape) != 2:
        raise ValueError(f"source['weight_hr{suffix}']: expected a matrix, got shape {tuple(projection.shape)}")
    H = (names[f"weight_hh{suffix}"] if projection is None else projection).shape[-1]
    biased = f"bias_ih{suffix}" in names
    options: Any = {"bias": biased, "hidden_bias": biased}
    made = {1: elman, 3: gru, 4: lstm}.get(rows // H if H and rows % H == 0 else 0)
    if made is None or not D:
        raise ValueError(
            f"source['weight_ih{suffix}']: expected 1, 3 or 4 times H = {H} rows, for RNN, GRU or LSTM, got "
            f"shape {(rows, D)}"
        )
    if made is not elman:
        if nonlinearity is not None:
            raise ValueError(f"nonlinearity: expected None for a GRU or LSTM, got {nonlinearity!r}")
        return lstm(D, H, proj_size=projection.shape[0], **options) if projection is not None else made(D, H, **options)
    if nonlinearity is None:
        raise ValueError("nonlinearity: expected 'tanh' or 'relu' for an RNN that is no module, got None")
    return elman(D, H, activation=ACTIVATIONS[nonlinearity], **options)


def _places(model: Model | Cell) -> list[tuple[Cell, str, tuple[str, ...]]]:
    """The places (cell, ending of PyTorch's names, path of its parameters) of all cells."""
    if isinstance(model, Cell):
        return [(model, "", ())]
    return [
        (cell, f"_l{k}{way}", path)
        for k, layer in enumerate(cells_of(model))
        for way, (cell, path) in zip(("", "_reverse"), layer, strict=False)
    ]


def _named(model: Model | Cell, params: Params) -> dict[str, Any]:
    """Parameters by PyTorch's names."""
    found: dict[str, Any] = {}
    for cell, suffix, path in _places(model):
        own: Any = params
        for name in path:
            own = own[name]
        checked_cell(cell, own, "PyTorch", (Elman, LSTM, ProjectedLSTM, GRU))
        found[f"weight_ih{suffix}"], found[f"weight_hh{suffix}"] = own["w_x"].T, own["w_h"].T
        biases = {"bias_ih": own.get("b"), "bias_hh": own.get("b_h")}
        for some in [b for b in biases.values() if b is not None][:1]:
            found |= {f"{name}{suffix}": jnp.zeros_like(some) if b is None else b for name, b in biases.items()}
        if "w_p" in own:
            found[f"weight_hr{suffix}"] = own["w_p"].T
    return found


def _params(model: Model | Cell, arrays: Mapping[str, jax.Array]) -> Params:
    """Parameters from arrays by PyTorch's names."""
    params: dict[str, Any] = {}
    for _, suffix, path in _places(model):
        place = params
        for name in path:
            place = place.setdefault(name, {})
        ours = {"w_x": "weight_ih", "w_h": "weight_hh", "b": "bias_ih", "b_h": "bias_hh", "w_p": "weight_hr"}
        place |= {name: arrays[f"{n}{suffix}"].T for name, n in ours.items() if f"{n}{suffix}" in arrays}
    return params


def _opened(source: Any, prefix: str) -> Source:
    """The arrays of a module, a mapping or a safetensors file whose names begin with the prefix, without the prefix."""
    checks.instance("prefix", prefix, str)
    if isinstance(source, (str, os.PathLike)):
        path = pathlib.Path(source)
        file = opened("source", path)
        return Source(_within(file.shapes, prefix), lambda name: file.read(prefix + name))
    arrays = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(arrays, Mapping):
        kinds = "a torch module, its state_dict, or the path of a safetensors file"
        raise TypeError(f"source: expected {kinds}, got {checks.short(source)}")
    for name, x in arrays.items():
        if not hasattr(x, "shape"):
            raise TypeError(f"source[{name!r}]: expected an array, got {checks.short(x)}")
    found = _within(arrays, prefix)
    return Source(found, lambda name: _in_numpy(found[name]))


def _within(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}


def _in_numpy(x: Any) -> np.ndarray:
    if not hasattr(x, "detach"):
        return np.array(x)
    x = x.detach().cpu().contiguous()
    if str(x.dtype) == "torch.bfloat16":  # NumPy has no such dtype in torch
        return np.array(jnp.from_dlpack(x))
    return x.numpy().copy()
