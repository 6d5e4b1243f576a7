"""The CUDA kernel's choices, timed: warps and rows of a block, and how many blocks share the hidden units.

The first are tables of `jaxrnn.kernels`; of the last `jaxrnn.gradients.kernel_loop` takes as few as hold the weights.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks.timing import interleaved
from jaxrnn.gradients import kernel_loop
from jaxrnn.kernels import persistent, triton

Case = tuple[str, str, int]
"""Cell, dtype of the factors of products, H."""

WARPS, ROWS = (4, 8, 16), (16, 32, 64)
SHARES = (1, 2, 4, 8, 16, 32, 64)
OF_ONE_BLOCK: tuple[Case, ...] = (
    *itertools.product(("lstm", "gru"), ("bfloat16",), (32, 64, 128)),
    *itertools.product(("lstm", "gru"), ("float32",), (32, 64)),
    ("gru", "float32", 128),
)
OF_SEVERAL: tuple[Case, ...] = (
    *itertools.product(("lstm",), ("float32",), (128, 256)),
    ("gru", "float32", 128),
    *itertools.product(("lstm",), ("bfloat16",), (128, 256, 512, 1024)),
)
T, WHOLE, FEW = 256, 132 * 64, 16
"""Steps; rows that leave no multiprocessor idle; rows of one block."""


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


@contextmanager
def shared_by(shares: int) -> Iterator[None]:
    """Within it, so many blocks share the hidden units, whether they fit or not."""
    before = kernel_loop.fit
    kernel_loop.fit = lambda *_: kernel_loop.Fit(shares)
    try:
        yield
    finally:
        kernel_loop.fit = before


def measured(rounds: int, smoke: bool) -> list[dict[str, Any]]:
    """Microseconds a step, forward and backward, of each choice; prints them as it goes."""
    one, several = (OF_ONE_BLOCK[:1], OF_SEVERAL[:1]) if smoke else (OF_ONE_BLOCK, OF_SEVERAL)
    blocks = {f"{w} warps, {r} rows": functools.partial(blocks_of, w, r) for w in WARPS for r in ROWS}
    shares = {f"shared by {shares}": functools.partial(shared_by, shares) for shares in SHARES}
    steps, whole, few = (5, 4, 4) if smoke else (T, WHOLE, FEW)
    return [*_table(one, blocks, steps, whole, rounds), *_table(several, shares, steps, few, rounds)]


def _table(
    cases: tuple[Case, ...],
    ways: Mapping[str, Callable[[], AbstractContextManager[None]]],
    steps: int,
    B: int,
    rounds: int,
) -> Iterator[dict[str, Any]]:
    print(f"| B = {B} | {' | '.join(ways)} |\n|{'---|' * (len(ways) + 1)}")
    for name, dtype, H in cases:
        cell = {"lstm": jr.lstm, "gru": jr.gru}[name](H, H, dtype=None if dtype == "float32" else dtype)
        params, xs = cell.init(jax.random.key(0)), jnp.ones((steps, B, H))
        us: dict[str, float | str] = {}
        for way, chosen in ways.items():
            with chosen():
                us[way] = _microseconds(cell, params, xs, rounds)
        print(f"| {name} {H} {dtype} | {' | '.join(map(str, us.values()))} |", flush=True)
        yield {"cell": name, "dtype": dtype, "H": H, "B": B, "us a step": us}


def _microseconds(cell: Any, params: Any, xs: jax.Array, rounds: int) -> float | str:
    def loss(params: Any) -> jax.Array:
        return jr.unroll(cell, params, xs, gradient=jr.reverse_scan(loop="persistent"))[1].sum()

    gradient = jax.jit(jax.grad(loss))
    try:
        return round(1e6 * interleaved({"": lambda: gradient(params)}, rounds, 0.1)[""].median / len(xs), 2)
    except Exception as why:  # what does not compile is a result here
        return str(why).strip().splitlines()[0][:80]
