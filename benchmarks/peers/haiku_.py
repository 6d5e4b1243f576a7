"""Haiku: `hk.dynamic_unroll` of its cores."""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from benchmarks.case import Case, Data, Weights, by_gate
from benchmarks.peers.program import NotOfferedError, Program, jax_program


def program(case: Case, data: Data) -> Program:
    """The network in this library."""
    if data.lengths is not None:
        raise NotOfferedError("no rows of different lengths")
    if case.cell != "lstm":
        raise NotOfferedError(
            "its Elman core is a relu's" if case.cell == "elman" else "its GRU resets before the product"
        )

    def network(xs: jax.Array) -> jax.Array:
        for layer in range(case.layers):
            both = []
            for direction in range(case.directions):
                core = hk.LSTM(case.H, name=f"lstm_{layer}_{direction}")
                both.append(hk.dynamic_unroll(core, xs, core.initial_state(case.B), reverse=direction == 1)[0])
            xs = jnp.concatenate(both, -1)
        return xs

    transformed = hk.without_apply_rng(hk.transform(network))

    def convert(weights: Weights) -> Any:
        params = {}
        for layer, directions in enumerate(weights):
            for direction, p in enumerate(directions):
                w = jnp.concatenate([p["w_x"], p["w_h"]])
                (wi, wf, wg, wo), (bi, bf, bg, bo) = by_gate(w, 4), by_gate(p["b"], 4)
                linear = {"w": jnp.concatenate([wi, wg, wf, wo], -1), "b": jnp.concatenate([bi, bg, bf - 1.0, bo])}
                params[f"lstm_{layer}_{direction}/linear"] = linear
        return params

    return jax_program(data, convert, transformed.apply)
