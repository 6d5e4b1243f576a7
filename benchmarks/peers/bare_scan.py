"""A reference: `jax.lax.scan` of the equations, as one writes it in ten lines, differentiated by `jax.grad`."""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.case import Case, Data, by_gate
from benchmarks.peers.program import NotOfferedError, Program, jax_program


def elman(p: dict[str, jax.Array], h: jax.Array, x: jax.Array) -> tuple[Any, jax.Array]:
    """One step."""
    h = jnp.tanh(x @ p["w_x"] + h @ p["w_h"] + p["b"])
    return h, h


def lstm(p: dict[str, jax.Array], carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    """One step."""
    h, c = carry
    i, f, g, o = by_gate(x @ p["w_x"] + h @ p["w_h"] + p["b"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(p: dict[str, jax.Array], h: jax.Array, x: jax.Array) -> tuple[Any, jax.Array]:
    """One step."""
    (xr, xz, xn), (hr, hz, hn) = by_gate(x @ p["w_x"] + p["b"], 3), by_gate(h @ p["w_h"], 3)
    n = jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn)
    z = jax.nn.sigmoid(xz + hz)
    h = (1.0 - z) * n + z * h
    return h, h


STEPS = {"elman": elman, "lstm": lstm, "gru": gru}


def program(case: Case, data: Data) -> Program:
    """The network as a bare scan."""
    if data.lengths is not None:
        raise NotOfferedError("no rows of different lengths")

    def forward(weights: Any, xs: jax.Array) -> jax.Array:
        zeros = jnp.zeros((case.B, case.H))
        initial = (zeros, zeros) if case.cell == "lstm" else zeros
        for directions in weights:
            both = [
                jax.lax.scan(lambda carry, x, p=p: STEPS[case.cell](p, carry, x), initial, xs, reverse=i == 1)[1]
                for i, p in enumerate(directions)
            ]
            xs = jnp.concatenate(both, -1)
        return xs

    return jax_program(data, lambda weights: weights, forward)
