"""A library's program for a case: a function to be timed, and a way to read its results."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from benchmarks.case import Data, Weights


class NotOfferedError(Exception):
    """The library has no such layer; the message says why."""


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      run: computes outputs and the gradient of all weights, in the library's own form.
      read: turns the results of `run` into (ys [T, B, O], the gradient as `Weights`).
      temporary_bytes: memory besides arguments and results; None if the library does not tell.
    """

    run: Callable[[], Any]
    read: Callable[[Any], tuple[Any, Weights]]
    temporary_bytes: int | None


def jax_program(
    data: Data,
    convert: Callable[[Weights], Any],
    forward: Callable[[Any, jax.Array], jax.Array],
    *,
    batch_first: bool = False,
) -> Program:
    """A program of a library that runs on JAX.

    Args:
      data: weights and data.
      convert: weights to the library's parameters, by operations that JAX can differentiate.
      forward: (parameters, xs) -> ys, in the library's own layout.
      batch_first: xs and ys are [B, T, ...].
    """

    def swap(x: jax.Array) -> jax.Array:
        return x.swapaxes(0, 1) if batch_first else x

    def both(params: Any, xs: jax.Array, dys: jax.Array) -> Any:
        ys, pull = jax.vjp(lambda params: forward(params, xs), params)
        return ys, pull(dys)[0]

    params, back = jax.vjp(convert, data.weights)
    arguments = jax.block_until_ready((params, swap(data.xs), swap(data.dys)))
    compiled = jax.jit(both).lower(*arguments).compile()

    def read(found: Any) -> tuple[Any, Weights]:
        ys, gradient = found
        return data.within(swap(ys)), back(gradient)[0]

    memory = compiled.memory_analysis()
    return Program(lambda: compiled(*arguments), read, None if memory is None else memory.temp_size_in_bytes)
