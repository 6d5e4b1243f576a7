"""Symbols from a model, each chosen and then read."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32
from jaxrnn.compiled import compiled
from jaxrnn.decoding.one_step import before_last, check_parts, check_symbol, checked_prompt, one_step
from jaxrnn.types import Model, Params, Tree

if TYPE_CHECKING:
    from jaxtyping import Int


def generate(
    model: Model,
    params: Params,
    xs: checks.ArrayLike,
    steps: int,
    *,
    carry: Tree = None,
    key: jax.Array | None = None,
    temperature: jax.typing.ArrayLike = 1.0,
    top_k: int | None = None,
    stop: int | None = None,
) -> "tuple[Tree, Int[jax.Array, 'steps *B']]":
    """Continues a sequence of symbols: x[t+1] is drawn from softmax(y[t] / temperature), or the most probable one.

    One compiled loop; a call with another number of steps or symbols compiles anew.

    Args:
      model: maps symbols [T, *batch_shape] to logits [T, *batch_shape, O], such as
        `jaxrnn.chain(jaxrnn.embed(O, E), jaxrnn.stack([jaxrnn.gru(E, H)]), jaxrnn.dense(H, O))`.
      params: its parameters.
      xs: the sequence to continue, integers [T, *batch_shape] of at least one symbol.
      steps: the number of symbols to choose.
      carry: the state before xs; None for the model's initial carry.
      key: a random key to draw the symbols with. None: the most probable symbol at each step.
      temperature: above 0; values below 1 favour probable symbols more. It may be traced. Needs a key.
      top_k: draw among the k most probable symbols only. None: among all. Needs a key.
      stop: the symbol that ends a row, once it is chosen (it may be in xs); the rest of the row is filled with it.
        None: rows do not end.

    Returns:
      (carry, symbols): the state after all chosen symbols except the last were read, and integers
      [steps, *batch_shape]. `generate(model, params, symbols[-1:], more, carry=carry)` continues.

    Raises:
      ValueError, TypeError: an argument does not fit (the message names it); symbols of xs in NumPy or Python are out
        of range.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.embed(5, 4), jaxrnn.gru(4, 8), jaxrnn.dense(8, 5))
      >>> params = model.init(jax.random.key(0))
      >>> prompt = jax.numpy.ones((3, 2), int)
      >>> carry, symbols = jaxrnn.decoding.generate(model, params, prompt, 6, key=jax.random.key(1), temperature=0.8)
      >>> symbols.shape
      (6, 2)
    """
    check_parts(model, params, carry)
    xs = checked_prompt(model, xs)
    steps = checks.positive_int("steps", steps)
    key = None if key is None else checks.key("key", key)
    temperature = checks.above("temperature", temperature, 0.0)
    top_k = None if top_k is None else checks.positive_int("top_k", top_k)
    stop = None if stop is None else checks.not_negative_int("stop", stop)
    if key is None and not (top_k is None and isinstance(temperature, float) and temperature == 1.0):
        raise ValueError("key: expected a random key with temperature or top_k, which need something drawn, got None")
    return _generate(model, params, xs, carry, key, temperature, steps, top_k, stop)


@compiled
def _generate(
    model: Model,
    params: Params,
    xs: jax.Array,
    carry: Tree,
    key: jax.Array | None,
    temperature: checks.Number,
    steps: int,
    top_k: int | None,
    stop: int | None,
) -> tuple[Tree, jax.Array]:
    carry = before_last(model, params, carry, xs)

    def step(state: Tree, key: jax.Array | None) -> tuple[Tree, jax.Array]:
        carry, x, ended = state
        carry, logits = one_step(model, params, carry, x)
        O = logits.shape[-1]
        check_symbol("stop", stop, O)
        if top_k is not None and top_k > O:
            raise ValueError(f"top_k: expected at most the O = {O} symbols of the model, got {top_k}")
        chosen = _choose(logits, key, temperature, top_k).astype(x.dtype)
        if stop is not None:
            chosen = jnp.where(ended, stop, chosen)
            ended = chosen == stop
        return (carry, chosen, ended), chosen

    keys = None if key is None else jax.random.split(key, steps)
    start = carry, xs[-1], jnp.zeros(xs.shape[1:], bool)
    (carry, _, _), symbols = jax.lax.scan(step, start, keys, length=steps)
    return carry, symbols


def _choose(logits: jax.Array, key: jax.Array | None, temperature: checks.Number, top_k: int | None) -> jax.Array:
    """A symbol for each row of logits [..., O]."""
    if key is None:
        return jnp.argmax(logits, -1)
    logits = at_least_float32(logits)  # the noise is drawn in their dtype
    heat = jnp.asarray(temperature, logits.dtype)
    scaled = logits / jnp.where(heat > 0, heat, jnp.ones_like(heat))
    if top_k is None:
        drawn = jax.random.categorical(key, scaled)
    else:
        best, symbols = jax.lax.top_k(scaled, top_k)
        drawn = jnp.take_along_axis(symbols, jax.random.categorical(key, best)[..., None], -1)[..., 0]
    return jnp.where(heat > 0, drawn, jnp.argmax(logits, -1).astype(drawn.dtype))
