"""The CUDA kernel's choices, timed: warps and rows of a block, which are tables of `jaxrnn.kernels`."""

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn
from benchmarks.timing import interleaved
from jaxrnn.kernels import pallas, program

WARPS, ROWS = (4, 8, 16), (16, 32, 64)
CASES = (
    *itertools.product(("lstm", "gru"), ("bfloat16",), (32, 64, 128)),
    *itertools.product(("lstm", "gru"), ("float32",), (32, 64)),
    ("gru", "float32", 128),
)
"""Cell, dtype of the factors of products, H."""
T, B = 256, 132 * 64
"""The number of steps, and of rows: enough to keep all multiprocessors busy."""


@contextmanager
def blocks_of(warps: int, rows: int) -> Generator[None]:
    """A context in which kernels are compiled with these numbers of warps and rows."""
    before = pallas.WARPS, dict(program.KINDS)
    pallas.WARPS = {kind: {2**30: warps} for kind in before[0]}
    program.KINDS |= {name: kind._replace(fewest=rows, most=rows) for name, kind in before[1].items()}
    jax.clear_caches()
    try:
        yield
    finally:
        pallas.WARPS = before[0]
        program.KINDS |= before[1]
        jax.clear_caches()


def measured(rounds: int, smoke: bool) -> list[dict[str, Any]]:
    """Microseconds a step, forward and backward, of each choice; prints them as it goes."""
    choices = list(itertools.product(WARPS, ROWS))
    print(f"| {' | '.join(['cell', *(f'{w} warps, {r} rows' for w, r in choices)])} |\n|{'---|' * (len(choices) + 1)}")
    found = []
    for name, dtype, H in CASES[:1] if smoke else CASES:
        cell = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru}[name](H, H, dtype=None if dtype == "float32" else dtype)
        xs = jnp.ones((5, 4, H) if smoke else (T, B, H))
        us: dict[str, float | str] = {}
        for warps, rows in choices:
            with blocks_of(warps, rows):
                us[f"{warps} warps, {rows} rows"] = _microseconds(cell, xs, rounds)
        print(f"| {name} {H} {dtype} | {' | '.join(map(str, us.values()))} |", flush=True)
        found.append({"cell": name, "dtype": dtype, "H": H, "B": xs.shape[1], "us a step": us})
    return found


def _microseconds(cell: Any, xs: jax.Array, rounds: int) -> float | str:
    params = cell.init(jax.random.key(0))

    def loss(params: Any) -> jax.Array:
        return jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.reverse_scan(loop="persistent"))[1].sum()

    gradient = jax.jit(jax.grad(loss))
    try:
        return round(1e6 * interleaved({"": lambda: gradient(params)}, rounds, 0.1)[""].median / len(xs), 2)
    except Exception as why:  # a failure to compile is a result here
        return str(why).strip().splitlines()[0][:80]
