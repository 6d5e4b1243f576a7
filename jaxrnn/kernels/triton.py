"""The loop as a kernel for NVIDIA GPUs, by Pallas's Triton backend: one program runs all steps of a block of rows.

What is shared is loaded once, the carry stays in registers, and what step t+1 reads is loaded before step t computes.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.exchange import exchange_of
from jaxrnn.kernels.specs import Time, in_specs, out_specs

WARPS = {"float32": {32: 4, 64: 8}, "half": {32: 4, 128: 8}}
"""How many warps a block has: by the dtype of w_h and the largest of its sizes, 16 if that is larger than any here: the
fewest with which an LSTM or a GRU of one block spills no registers on an H100, see benchmarks/README.md."""


def run(blocks: Blocks, interpret: bool) -> list[Any]:
    """The results, [members, rows, ...] and [T, members, rows, ...]."""
    T, reverse, carried = blocks.T, blocks.program.reverse, blocks.program.counts.carry
    step, exchange = blocks.program.of_rows(), exchange_of(blocks) if blocks.shares > 1 else None
    arrays = len(blocks.parts.listed) + len(blocks.out_shapes)

    def kernel(*refs: Any) -> None:
        reading, writing = blocks.split(refs[:arrays])
        constant = [ref[...] for ref in (*reading.shared, *reading.rows)]

        def load(t: Any) -> list[Any]:
            return [ref[t] for ref in (*reading.entries, *reading.xs)]

        def body(i: Any, state: Any) -> Any:
            carry, at_t = state
            t = T - 1 - i if reverse else i
            following = load(jnp.maximum(t - 1, 0) if reverse else jnp.minimum(t + 1, T - 1))
            values = [*constant, *carry, *at_t]
            found = step(values) if exchange is None else exchange.run(refs[arrays:], i, values)
            for ref, x in zip((*writing.entries, *writing.xs), found[carried:], strict=True):
                ref[t] = x
            return found[:carried], following

        carry = [ref[...] for ref in reading.carry]
        carry, _ = jax.lax.fori_loop(0, T, body, (carry, load(T - 1 if reverse else 0)))
        for ref, x in zip(writing.carry, carry, strict=True):
            ref[...] = x

    return _call(blocks, kernel, [] if exchange is None else exchange.memory, interpret)


def _call(blocks: Blocks, kernel: Any, memory: list[jax.ShapeDtypeStruct], interpret: bool) -> list[Any]:
    time, outs, inputs = Time(blocks.T), blocks.out_shapes, blocks.parts.listed
    whole = [pl.BlockSpec(x.shape, functools.partial(_origin, len(x.shape))) for x in memory]
    counters = [jnp.zeros(x.shape, x.dtype) for x in memory[:1]]
    found = pl.pallas_call(
        lambda *refs: kernel(*refs[: len(inputs)], *refs[len(inputs) + len(counters) :]),
        [*outs, *memory],
        grid=blocks.grid,
        in_specs=[*in_specs(blocks, time), *whole[:1]],
        out_specs=[*out_specs(blocks, time), *whole],
        input_output_aliases=blocks.aliases | dict.fromkeys([len(inputs)][: len(counters)], len(outs)),
        interpret=interpret,
        compiler_params=None if interpret else _options(blocks),
        name="persistent_loop",
    )(*inputs, *counters)
    return found[: len(outs)]


def _origin(axes: int, *_: Any) -> tuple[int, ...]:
    return (0,) * axes


def _options(blocks: Blocks) -> Any:
    from jax.experimental.pallas import triton  # late: a later jax means to give this backend up

    weights = [x for x in blocks.program.inputs.shared if len(x.shape) == 2]
    units = max((max(x.shape) for x in weights), default=1)
    table = WARPS["float32" if any(x.dtype == jnp.float32 for x in weights) else "half"]
    return triton.CompilerParams(num_warps=next((n for most, n in table.items() if units <= most), 16), num_stages=1)
