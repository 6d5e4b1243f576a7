"""PyTorch: `nn.RNN`, `nn.LSTM` and `nn.GRU`, which on a CPU run through oneDNN where it has them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn.utils import rnn

from benchmarks.case import Case, Data, Weights
from benchmarks.peers.program import Program

LAYERS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def of_cell(p: dict[str, jax.Array]) -> list[jax.Array]:
    """weight_ih, weight_hh, bias_ih, bias_hh."""
    return [p["w_x"].T, p["w_h"].T, p["b"], jnp.zeros_like(p["b"])]


def convert(weights: Weights) -> list[jax.Array]:
    """Layer by layer, in the order of `Module.parameters()`."""
    return [x for directions in weights for p in directions for x in of_cell(p)]


def program(case: Case, data: Data) -> Program:
    """The network in this library."""
    layer = LAYERS[case.cell](case.D, case.H, num_layers=case.layers, bidirectional=case.directions == 2)
    values, back = jax.vjp(convert, data.weights)
    params = list(layer.parameters())
    with torch.no_grad():
        for param, value in zip(params, values, strict=True):
            param.copy_(torch.tensor(np.asarray(value)))
    xs, dys = torch.tensor(np.asarray(data.xs)), torch.tensor(np.asarray(data.dys))

    lengths = None if data.lengths is None else torch.tensor(data.lengths, dtype=torch.int64)

    def run() -> Any:
        if lengths is None:
            ys, _ = layer(xs)
        else:
            ys, _ = layer(rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False))
            ys, _ = rnn.pad_packed_sequence(ys, total_length=case.T)
        return ys, torch.autograd.grad(ys, params, dys)

    def read(found: Any) -> tuple[Any, Weights]:
        ys, gradient = found
        return data.within(ys.detach().numpy()), back([jnp.asarray(g.numpy()) for g in gradient])[0]

    return Program(run, read, None)
