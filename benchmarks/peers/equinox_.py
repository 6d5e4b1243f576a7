"""Equinox: its cells, mapped over rows and scanned over time, as its documentation does it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.case import Case, Data, Weights
from benchmarks.peers.program import NotOfferedError, Program, jax_program

CELLS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def program(case: Case, data: Data) -> Program:
    """The network in this library."""
    if data.lengths is not None:
        raise NotOfferedError("no rows of different lengths")
    if case.cell not in CELLS:
        raise NotOfferedError("no Elman cell")

    def convert(weights: Weights) -> Any:
        def cell(p: dict[str, jax.Array]) -> Any:
            made = CELLS[case.cell](len(p["w_x"]), case.H, key=jax.random.key(0))
            leaves = {"weight_ih": p["w_x"].T, "weight_hh": p["w_h"].T, "bias": p["b"]}
            leaves |= {"bias_n": jnp.zeros(case.H)} if case.cell == "gru" else {}
            return eqx.tree_at(lambda c: [getattr(c, name) for name in leaves], made, list(leaves.values()))

        return [[cell(p) for p in directions] for directions in weights]

    def scanned(cell: Any, xs: jax.Array, reverse: bool) -> jax.Array:
        zeros = jnp.zeros((case.B, case.H))

        def step(carry: Any, x: jax.Array) -> Any:
            after = jax.vmap(cell)(x, carry)
            return after, after[0] if case.cell == "lstm" else after

        return jax.lax.scan(step, (zeros, zeros) if case.cell == "lstm" else zeros, xs, reverse=reverse)[1]

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        for directions in params:
            xs = jnp.concatenate([scanned(cell, xs, i == 1) for i, cell in enumerate(directions)], -1)
        return xs

    return jax_program(data, convert, forward)
