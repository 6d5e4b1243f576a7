"""Warps and rows of a block of the CUDA kernel, timed: the tables of `jaxrnn.kernels` are to be chosen by it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks.timing import interleaved
from jaxrnn.kernels import persistent, triton

WARPS, ROWS = (4, 8, 16), (16, 32, 64)
CASES = tuple(itertools.product(("lstm", "gru"), ("bfloat16",), (32, 64, 128)))
CASES += (*itertools.product(("lstm", "gru"), ("float32",), (32, 64)), ("gru", "float32", 128))
"""(cell, dtype of the factors of products, H), of those that fit one multiprocessor."""


@contextmanager
def blocks_of(warps: int, rows: int) -> Iterator[None]:
    """Within it, kernels are compiled with so many."""
    before = triton.WARPS, persistent.KERNELS["cuda"]
    triton.WARPS = {kind: {2**30: warps} for kind in before[0]}
    persistent.KERNELS["cuda"] = before[1]._replace(fewest=rows, most=rows)
    jax.clear_caches()
    try:
        yield
    finally:
        triton.WARPS, persistent.KERNELS["cuda"] = before
        jax.clear_caches()


def measured(rounds: int, smoke: bool) -> list[dict[str, Any]]:
    """Microseconds a step, forward and backward, of a batch that leaves no multiprocessor idle; prints as it goes."""
    found = []
    T, B = (5, 4) if smoke else (256, 132 * 64)
    print("| cell | " + " | ".join(f"{w} warps, {r} rows" for w in WARPS for r in ROWS) + " |")
    for name, dtype, H in CASES[:1] if smoke else CASES:
        cell = {"lstm": jr.lstm, "gru": jr.gru}[name](H, H, dtype=None if dtype == "float32" else dtype)
        params, xs = cell.init(jax.random.key(0)), jnp.ones((T, B, H))
        us: dict[str, float | str] = {}
        for warps, rows in itertools.product(WARPS, ROWS):
            with blocks_of(warps, rows):
                us[f"{warps} warps, {rows} rows"] = _microseconds(cell, params, xs, rounds)
        found.append({"cell": name, "dtype": dtype, "H": H, "B": B, "us a step": us})
        print(f"| {name} {H} {dtype} | " + " | ".join(map(str, us.values())) + " |", flush=True)
    return found


def _microseconds(cell: Any, params: Any, xs: jax.Array, rounds: int) -> float | str:
    def loss(params: Any) -> jax.Array:
        return jr.unroll(cell, params, xs, gradient=jr.reverse_scan(loop="persistent"))[1].sum()

    gradient = jax.jit(jax.grad(loss))
    try:
        return round(1e6 * interleaved({"": lambda: gradient(params)}, rounds, 0.1)[""].median / len(xs), 2)
    except Exception as why:  # what does not compile is a result here
        return str(why).strip().splitlines()[0][:80]
