"""Functions that are compiled at their first call and run the same program at the next."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from jaxrnn.functions import restored, wrapped

F = TypeVar("F", bound=Callable[..., Any])

HURRIED: dict[str, int] = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options for a CPU: half of the time to compile, a slower program."""


def compiled(f: F, hurried: bool = False) -> F:
    """`jax.jit` that traces arrays and floating-point numbers, and takes all other arguments as static.

    A second call whose arguments have equal structures (cells, models, options), equal functions, strings and integers,
    and arrays of equal shapes and dtypes traces and compiles nothing. Inside another `jax.jit` it is inlined. Arguments
    that can't be compared, such as a model that holds a list, are handed to `f` without `jax.jit`.

    Args:
      f: a function that returns trees of arrays, and takes Python values before they are converted.
      hurried: whether programs that run a few times only are compiled with few optimisations, on a CPU.
    """

    def run(static: Any, arrays: list[Any]) -> Any:
        structure, others = static
        args, options = jax.tree.unflatten(structure, map(_either, arrays, others))
        return f(*args, **options)

    run.__name__ = f.__name__  # the program's name in profiles
    program = jax.jit(run, static_argnums=0)
    on_cpu = jax.jit(run, static_argnums=0, compiler_options=HURRIED) if hurried else program

    @functools.wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        leaves, structure = jax.tree.flatten((args, options))
        traced = [is_traced(x) for x in leaves]
        static = structure, tuple(None if is_array else wrapped(x) for x, is_array in zip(leaves, traced, strict=True))
        try:
            hash(static)
        except TypeError:
            return f(*args, **options)
        chosen = on_cpu if hurried and jax.default_backend() == "cpu" else program
        return chosen(static, [x if is_array else None for x, is_array in zip(leaves, traced, strict=True)])

    return call  # pyright: ignore[reportReturnType]


def is_traced(x: Any) -> bool:
    """Tells whether an argument is traced: an array or a floating-point number."""
    if isinstance(x, np.ndarray) and x.dtype.kind in "OSUMm":
        return False  # JAX takes no such array: the function that reads it raises
    return isinstance(x, (jax.Array, np.ndarray, np.generic, float, complex))


def _either(array: Any, other: Any) -> Any:
    return restored(other) if array is None else array
