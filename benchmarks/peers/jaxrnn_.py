"""jaxrnn itself."""

from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks.case import Case, Data, Weights
from benchmarks.peers.program import Program, jax_program

CELLS = {"elman": jr.elman, "lstm": jr.lstm, "gru": jr.gru}


def model(case: Case) -> jr.Model:
    """The network of a case."""
    make = CELLS[case.cell]
    if case.directions == 2:
        return jr.chain(*[jr.bidirectional(make(D, case.H), make(D, case.H)) for D in case.inputs])
    return jr.stack([make(D, case.H) for D in case.inputs])


def program(case: Case, data: Data, gradient: jr.Gradient, vmapped: bool = False) -> Program:
    """A way of differentiating through time; `vmapped`: unbatched rows, under `jax.vmap`."""
    network = model(case)

    def convert(weights: Weights) -> dict[str, Any]:
        def of_layer(directions: list[dict[str, jax.Array]]) -> dict[str, Any]:
            cells = [p | ({"b_h": jnp.zeros_like(p["b"])} if case.cell == "gru" else {}) for p in directions]
            return cells[0] if case.directions == 1 else {"forward": cells[0], "backward": cells[1]}

        return {str(i): of_layer(layer) for i, layer in enumerate(weights)}

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        def run(xs: jax.Array) -> jax.Array:
            return network.apply(params, xs, gradient=gradient)[1]

        return jax.vmap(run, 1, 1)(xs) if vmapped else run(xs)

    return jax_program(data, convert, forward)
