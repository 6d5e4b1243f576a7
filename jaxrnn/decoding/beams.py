"""The most probable sequences of symbols that a model can be found to give."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.decoding.one_step import before_last, check_symbol, checked_model, checked_prompt, one_step
from jaxrnn.types import Model, Params, Tree


class Beams(NamedTuple):
    """What a beam search found, the best first.

    Attributes:
      symbols: integers [steps, *batch_shape, beam]; past a hypothesis's length they are `stop`.
      lengths: int32 [*batch_shape, beam]: how many symbols each has, `stop` not counted.
      scores: [*batch_shape, beam]: log-probability of the symbols, `stop` included, divided by the length's penalty.
    """

    symbols: jax.Array
    lengths: jax.Array
    scores: jax.Array


def beam_search(
    model: Model,
    params: Params,
    xs: Any,
    steps: int,
    *,
    carry: Tree = None,
    beam: int = 8,
    stop: int | None = None,
    length_penalty: Any = 0.0,
) -> Beams:
    """Searches for the sequences x[0] ... x[n-1] of largest log p(x) = sum over t of log softmax(y[t-1])[x[t]].

    At each step the `beam` best beginnings are kept. One compiled loop.

    Args:
      model, params, xs, carry: as for `generate`.
      steps: how many symbols at most.
      beam: how many hypotheses are kept for each row.
      stop: the symbol that ends a sequence. None: all have `steps` symbols.
      length_penalty: a in score = log p / n**a, by which the hypotheses found are put in order; n counts the symbols,
        `stop` included. 0 compares log-probabilities, which favours short ones; 1 compares means.

    Returns:
      Beams. Where there are fewer sequences than `beam`, the rest has the score -inf.

    Raises:
      ValueError, TypeError: an argument does not fit, and which; symbols of xs in NumPy or Python are out of range.

    References:
      Graves 2012, Sequence transduction with recurrent neural networks, arXiv:1211.3711; Sutskever et al. 2014,
      arXiv:1409.3215.
    """
    checked_model(model)
    xs = checked_prompt(model, xs)
    steps, beam = checks.positive_int("steps", steps), checks.positive_int("beam", beam)
    stop = None if stop is None else checks.symbol("stop", stop)
    length_penalty = checks.not_negative("length_penalty", length_penalty)
    return _beam_search(model, params, xs, carry, length_penalty, steps, beam, stop)


@compiled
def _beam_search(
    model: Model,
    params: Params,
    xs: jax.Array,
    carry: Tree,
    length_penalty: Any,
    steps: int,
    beam: int,
    stop: int | None,
) -> Beams:
    axis = xs.ndim - 1  # where the hypotheses of a row stand
    carry = before_last(model, params, carry, xs)

    def repeat(a: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.expand_dims(a, axis), beam, axis)

    def pick(tree: Tree, parents: jax.Array) -> Tree:
        def of(a: jax.Array) -> jax.Array:
            return jnp.take_along_axis(a, parents.reshape(parents.shape + (1,) * (a.ndim - parents.ndim)), axis)

        return jax.tree.map(of, tree)

    read = jax.vmap(functools.partial(one_step, model, params), axis, axis)

    def step(state: Any, _: None) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        carry, x, scores, ended, lengths = state
        carry, logits = read(carry, x)
        O = logits.shape[-1]
        check_symbol("stop", stop, O)
        logs = jax.nn.log_softmax(logits.astype(scores.dtype))
        if stop is not None:
            only_stop = jnp.where(jnp.arange(O) == stop, 0.0, -jnp.inf).astype(logs.dtype)
            logs = jnp.where(ended[..., None], only_stop.reshape((1,) * ended.ndim + (O,)), logs)
        together = (scores[..., None] + logs).reshape(*scores.shape[:-1], beam * O)
        scores, best = jax.lax.top_k(together, beam)
        parents, chosen = best // O, (best % O).astype(x.dtype)
        carry, ended, lengths = pick((carry, ended, lengths), parents)
        lengths = lengths + (~ended).astype(jnp.int32)
        if stop is not None:
            ended = ended | (chosen == stop)
        return (carry, chosen, scores, ended, lengths), (parents, chosen)

    first = repeat(xs[-1])
    alone = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)  # at first all hypotheses are the same one
    scores = jnp.broadcast_to(alone.reshape((1,) * axis + (beam,)), first.shape)
    ended, lengths = jnp.zeros(first.shape, bool), jnp.zeros(first.shape, jnp.int32)
    start = jax.tree.map(repeat, carry), first, scores, ended, lengths
    (_, _, scores, ended, lengths), (parents, chosen) = jax.lax.scan(step, start, length=steps)

    count = jnp.maximum(lengths, 1).astype(scores.dtype)
    scores = scores / count**length_penalty
    scores, order = jax.lax.top_k(scores, beam)
    ended, lengths = pick((ended, lengths), order)

    def back(at: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        parents, chosen = step
        return pick(parents, at), pick(chosen, at)

    _, symbols = jax.lax.scan(back, order, (parents, chosen), reverse=True)
    return Beams(symbols, lengths - ended.astype(jnp.int32), scores)
