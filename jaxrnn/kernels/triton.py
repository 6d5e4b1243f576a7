"""The loop as a kernel for NVIDIA GPUs, by Pallas's Triton backend: one program runs all steps of a block of rows.

What is shared is loaded once, the carry stays in registers, and what step t+1 reads is loaded before step t computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxrnn.kernels.blocks import Blocks
from jaxrnn.kernels.specs import Time, in_specs, out_specs

WARPS = {"float32": {32: 4, 64: 8}, "half": {32: 4, 128: 8}}
"""Warps by the factors of products and for up to so many of them in each, 16 beyond: the fewest that compile for an H100
without spilling registers, or nearly so; see benchmarks/README.md."""


def run(blocks: Blocks, interpret: bool) -> list[Any]:
    """The results, [members, rows, ...] and [T, members, rows, ...]."""
    T, step, reverse, carried = blocks.T, blocks.program.of_rows(), blocks.program.reverse, blocks.program.counts.carry

    def kernel(*refs: Any) -> None:
        reading, writing = blocks.split(refs)
        constant = [ref[...] for ref in (*reading.shared, *reading.rows)]

        def load(t: Any) -> list[Any]:
            return [ref[t] for ref in (*reading.entries, *reading.xs)]

        def body(i: Any, state: Any) -> Any:
            carry, at_t = state
            t = T - 1 - i if reverse else i
            following = load(jnp.maximum(t - 1, 0) if reverse else jnp.minimum(t + 1, T - 1))
            found = step([*constant, *carry, *at_t])
            for ref, x in zip((*writing.entries, *writing.xs), found[carried:], strict=True):
                ref[t] = x
            return found[:carried], following

        carry = [ref[...] for ref in reading.carry]
        carry, _ = jax.lax.fori_loop(0, T, body, (carry, load(T - 1 if reverse else 0)))
        for ref, x in zip(writing.carry, carry, strict=True):
            ref[...] = x

    return _call(blocks, kernel, interpret)


def _call(blocks: Blocks, kernel: Any, interpret: bool) -> list[Any]:
    whole = Time(blocks.T)
    options = None if interpret else _options(blocks)
    return pl.pallas_call(
        kernel,
        blocks.out_shapes,
        grid=blocks.grid,
        in_specs=in_specs(blocks, whole),
        out_specs=out_specs(blocks, whole),
        input_output_aliases=blocks.aliases,
        interpret=interpret,
        compiler_params=options,
        name="persistent_loop",
    )(*blocks.parts.listed)


def _options(blocks: Blocks) -> Any:
    from jax.experimental.pallas import triton  # late: a later jax means to give this backend up

    weights = [x for x in blocks.program.inputs.shared if len(x.shape) == 2]
    units = max((x.shape[0] for x in weights), default=1)
    table = WARPS["float32" if any(x.dtype == jnp.float32 for x in weights) else "half"]
    return triton.CompilerParams(num_warps=next((n for most, n in table.items() if units <= most), 16), num_stages=1)
