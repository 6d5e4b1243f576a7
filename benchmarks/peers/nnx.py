"""Flax nnx: `nnx.RNN` of its cells."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.case import Case, Data, Weights
from benchmarks.peers.program import Program, jax_program

CELLS = {"elman": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}


def program(case: Case, data: Data) -> Program:
    """The network in this library."""

    def rnn(D: int, reverse: bool) -> nnx.RNN:
        cell = CELLS[case.cell](D, case.H, rngs=nnx.Rngs(0))
        return nnx.RNN(cell, time_major=True, reverse=reverse, keep_order=True, rngs=nnx.Rngs(0))

    parts = [[nnx.split(rnn(D, i == 1), nnx.Param, ...) for i in range(case.directions)] for D in case.inputs]
    on_input = case.cell != "lstm"  # the product that has the bias

    def convert(weights: Weights) -> Any:
        def of_cell(p: dict[str, jax.Array]) -> dict[str, Any]:
            x, h = {"kernel": p["w_x"]}, {"kernel": p["w_h"]}
            (x if on_input else h)["bias"] = p["b"]
            return {"cell": {"dense_i": x, "dense_h": h}}

        return [[of_cell(p) for p in directions] for directions in weights]

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        lengths = None if data.lengths is None else jnp.asarray(data.lengths)
        zeros = jnp.zeros((case.B, case.H))
        initial = (zeros, zeros) if case.cell == "lstm" else zeros
        for layer, directions in zip(parts, params, strict=True):
            both = []
            for (graph, like, rest), values in zip(layer, directions, strict=True):
                state = jax.tree.map(lambda x: x, like)
                nnx.replace_by_pure_dict(state, values)
                both.append(nnx.merge(graph, state, rest)(xs, initial_carry=initial, seq_lengths=lengths))
            xs = jnp.concatenate(both, -1)
        return xs

    return jax_program(data, convert, forward)
