"""jaxrnn itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from benchmarks.case import Case, Data, Weights
from benchmarks.peers.program import Program, jax_program

CELLS = {"elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru}


def model(case: Case) -> jaxrnn.Model:
    """The network of a case."""
    make = CELLS[case.cell]
    if case.directions == 2:
        return jaxrnn.chain(*[jaxrnn.bidirectional(make(D, case.H), make(D, case.H)) for D in case.inputs])
    return jaxrnn.stack([make(D, case.H) for D in case.inputs])


def program(
    case: Case, data: Data, gradient: jaxrnn.Gradient, vmapped: bool = False, padded: bool = False, buckets: int = 1
) -> Program:
    """A way of differentiating through time.

    `vmapped`: unbatched rows, under `jax.vmap`; `padded`: padding is read like data, and outputs there are ignored;
    `buckets`: the number of groups of rows of similar lengths, each padded to its own longest row.
    """
    network = model(case)

    def convert(weights: Weights) -> dict[str, Any]:
        def of_layer(directions: list[dict[str, jax.Array]]) -> dict[str, Any]:
            cells = [p | ({"b_h": jnp.zeros_like(p["b"])} if case.cell == "gru" else {}) for p in directions]
            return cells[0] if case.directions == 1 else {"forward": cells[0], "backward": cells[1]}

        return {str(i): of_layer(layer) for i, layer in enumerate(weights)}

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        def run(xs: jax.Array, lengths: Any) -> jax.Array:
            return network.apply(params, xs, lengths=lengths, gradient=gradient)[1]

        lengths = None if padded else data.lengths
        if vmapped:
            return jax.vmap(run, (1, None if lengths is None else 0), 1)(xs, lengths)
        if buckets == 1 or lengths is None:
            return run(xs, lengths)
        ys = jnp.zeros((*xs.shape[:2], case.outputs))
        for rows in np.array_split(np.argsort(lengths), buckets):
            longest = int(lengths[rows].max())
            ys = ys.at[:longest, rows].set(run(xs[:longest, rows], lengths[rows]))
        return ys

    return jax_program(data, convert, forward)
