"""Keras, on JAX: its layers, called without side effects."""

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras

from benchmarks.case import Case, Data, Weights, reordered
from benchmarks.peers.program import Program, jax_program

LAYERS = {"elman": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def of_cell(cell: str, p: dict[str, jax.Array]) -> list[jax.Array]:
    """kernel, recurrent kernel and bias; a GRU's gates are in the order z, r, n."""
    if cell != "gru":
        return [p["w_x"], p["w_h"], p["b"]]
    w_x, w_h, b = (reordered(p[name], (1, 0, 2)) for name in ("w_x", "w_h", "b"))
    return [w_x, w_h, jnp.stack([b, jnp.zeros_like(b)])]


def program(case: Case, data: Data) -> Program:
    """The network in this library."""

    def layer(D: int) -> Any:
        made = LAYERS[case.cell](case.H, return_sequences=True)
        made = keras.layers.Bidirectional(made) if case.directions == 2 else made
        made.build((case.B, case.T, D))
        return made

    layers = [layer(D) for D in case.inputs]

    def convert(weights: Weights) -> Any:
        return [[x for p in directions for x in of_cell(case.cell, p)] for directions in weights]

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        mask = None if data.lengths is None else jnp.arange(case.T) < jnp.asarray(data.lengths)[:, None]
        for made, values in zip(layers, params, strict=True):
            xs, _ = made.stateless_call(values, made.non_trainable_variables, xs, mask=mask)
        return xs

    return jax_program(data, convert, forward, batch_first=True)
