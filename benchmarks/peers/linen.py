"""Flax linen: `nn.RNN` of its cells."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.case import Case, Data, Weights, by_gate
from benchmarks.peers.program import Program, jax_program


def dense(w: jax.Array, b: jax.Array | None = None) -> dict[str, jax.Array]:
    """Parameters of a Dense."""
    return {"kernel": w} if b is None else {"kernel": w, "bias": b}


def elman(p: dict[str, jax.Array]) -> dict[str, Any]:
    """Parameters of a SimpleCell."""
    return {"i": dense(p["w_x"], p["b"]), "h": dense(p["w_h"])}


def lstm(p: dict[str, jax.Array]) -> dict[str, Any]:
    """Parameters of an OptimizedLSTMCell."""
    w_x, w_h, b = (by_gate(p[name], 4) for name in ("w_x", "w_h", "b"))
    return {f"i{g}": dense(w) for g, w in zip("ifgo", w_x, strict=True)} | {
        f"h{g}": dense(w, bias) for g, w, bias in zip("ifgo", w_h, b, strict=True)
    }


def gru(p: dict[str, jax.Array]) -> dict[str, Any]:
    """Parameters of a GRUCell."""
    w_x, w_h, b = (by_gate(p[name], 3) for name in ("w_x", "w_h", "b"))
    return {f"i{g}": dense(w, bias) for g, w, bias in zip("rzn", w_x, b, strict=True)} | {
        f"h{g}": dense(w, jnp.zeros_like(b[2]) if g == "n" else None) for g, w in zip("rzn", w_h, strict=True)
    }


CELLS = {"elman": (nn.SimpleCell, elman), "lstm": (nn.OptimizedLSTMCell, lstm), "gru": (nn.GRUCell, gru)}


def program(case: Case, data: Data) -> Program:
    """The network in this library."""
    cell, of_cell = CELLS[case.cell]
    layers = [
        [nn.RNN(cell(case.H), time_major=True, reverse=i == 1, keep_order=True) for i in range(case.directions)]
        for _ in range(case.layers)
    ]

    def convert(weights: Weights) -> Any:
        return [[{"params": {"cell": of_cell(p)}} for p in directions] for directions in weights]

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        lengths = None if data.lengths is None else jnp.asarray(data.lengths)
        for layer, directions in zip(layers, params, strict=True):
            both: list[Any] = [rnn.apply(p, xs, seq_lengths=lengths) for rnn, p in zip(layer, directions, strict=True)]
            xs = jnp.concatenate(both, -1)
        return xs

    return jax_program(data, convert, forward)
