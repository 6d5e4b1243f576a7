"""One step of a model: the part that all decoding loops share."""

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.models.causal import checked_causal
from jaxrnn.models.encoder_decoder import EncoderDecoder
from jaxrnn.types import Model, Params, Tree


def check_parts(model: Model, params: Params, carry: Tree) -> None:
    """Raises unless a model can run step by step, with these parameters and a carry of arrays."""
    checked_model(model)
    checked_params(model, params)
    checks.arrays("carry", carry)


def checked_model(model: Model) -> Model:
    """Returns a model of one sequence that can run step by step.

    Raises:
      ValueError, TypeError: it is not a Model, reads backward or two sequences, or has no output at each step.
    """
    if isinstance(model, EncoderDecoder):
        raise TypeError(
            "model: expected one that reads one sequence, such as model.encode(params, source) or a decoder, got "
            f"{checks.short(model)}"
        )
    return checked_causal("model", model)


def one_step(model: Model, params: Params, carry: Tree, x: jax.Array) -> tuple[Tree, Tree]:
    """Reads x[t] [*batch_shape, ...]: (carry, y[t])."""
    carry, ys = model.apply(params, x[None], carry=carry)
    return carry, ys[0]


def checked_prompt(model: Model, xs: checks.ArrayLike) -> jax.Array:
    """At least one symbol to begin with, [T, *batch_shape]; in NumPy or Python, each is one that the model reads."""
    given, xs = xs, checks.array("xs", xs)
    if xs.ndim < 1 or xs.shape[0] < 1:
        raise ValueError(f"xs: expected an array [T, ...] of at least one symbol, got {checks.short(xs)}")
    if not jnp.issubdtype(xs.dtype, jnp.integer):
        raise TypeError(f"xs: expected integer symbols, got {checks.short(xs)}")
    xs, symbols = checks.integers("xs", xs), model.input_symbols
    if symbols is not None and checks.in_numpy(given):
        checks.symbols("xs", given, symbols)
    return xs


def check_symbol(name: str, symbol: int | None, O: int) -> None:
    """Raises unless it is None or one of the O symbols that a model chooses from."""
    if symbol is not None and symbol >= O:
        raise ValueError(f"{name}: expected a symbol from 0 to {O - 1}, got {symbol}")


def before_last(model: Model, params: Params, carry: Tree, xs: jax.Array) -> Tree:
    """The state before the last of the symbols xs [T, *batch_shape]; `carry` is the state before the first."""
    if xs.shape[0] > 1:
        return model.apply(params, xs[:-1], carry=carry)[0]
    initial = model.initial_carry(params, xs.shape[1:])
    return initial if carry is None else checks.array_tree("carry", carry, initial)
