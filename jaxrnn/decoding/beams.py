"""Beam search for the most probable sequences of symbols under a model."""

import functools
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.decoding.one_step import before_last, check_parts, check_symbol, checked_prompt, one_step
from jaxrnn.types import Model, Params, Tree

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Beams(NamedTuple):
    """The result of a beam search, the best hypothesis first.

    Attributes:
      symbols: integers [steps, *batch_shape, beam]; past a hypothesis's length they are `stop`.
      lengths: int32 [*batch_shape, beam]: the number of symbols of each hypothesis, without `stop`.
      scores: [*batch_shape, beam]: log-probability of the symbols, `stop` included, divided by the length's penalty.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.embed(3, 2), jaxrnn.gru(2, 4), jaxrnn.dense(4, 3))
      >>> params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
      >>> params["2"]["b"] = jnp.log(jnp.array([0.1, 0.2, 0.7]))  # of the symbols 0, 1, 2 at each step
      >>> beams = jaxrnn.decoding.beam_search(model, params, jnp.zeros(1, int), 2, beam=1)
      >>> beams.symbols[:, 0].tolist(), round(float(jnp.exp(beams.scores[0])), 3)
      ([2, 2], 0.49)
    """

    symbols: "Int[jax.Array, 'steps *B beam']"
    lengths: "Int[jax.Array, '*B beam']"
    scores: "Float[jax.Array, '*B beam']"


def beam_search(
    model: Model,
    params: Params,
    xs: checks.ArrayLike,
    steps: int,
    *,
    carry: Tree = None,
    beam: int = 8,
    stop: int | None = None,
    length_penalty: jax.typing.ArrayLike = 0.0,
) -> Beams:
    """Searches for the sequences x[0] ... x[n-1] of largest log p(x) = sum over t of log softmax(y[t-1])[x[t]].

    At each step the `beam` best prefixes are kept. One compiled loop.

    Args:
      model, params, xs, carry: as for `generate`.
      steps: the largest number of symbols.
      beam: the number of hypotheses kept for each row.
      stop: the symbol that ends a sequence. None: all have `steps` symbols.
      length_penalty: a in score = log p / n**a, the score that orders the hypotheses; n counts the symbols, `stop`
        included. 0 compares log-probabilities, which favours short sequences; 1 compares means.

    Returns:
      Beams. If there are fewer sequences than `beam`, the rest have the score -inf.

    Raises:
      ValueError, TypeError: an argument does not fit (the message names it); symbols of xs in NumPy or Python are out
        of range.

    References:
      Graves 2012, Sequence transduction with recurrent neural networks, arXiv:1211.3711; Sutskever et al. 2014,
      arXiv:1409.3215.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.embed(5, 4), jaxrnn.gru(4, 8), jaxrnn.dense(8, 5))
      >>> params = model.init(jax.random.key(0))
      >>> beams = jaxrnn.decoding.beam_search(model, params, jax.numpy.ones((1, 2), int), 6, beam=3, stop=0)
      >>> beams.symbols.shape, bool((beams.scores[:, 0] >= beams.scores[:, 1]).all())
      ((6, 2, 3), True)
    """
    check_parts(model, params, carry)
    xs = checked_prompt(model, xs)
    steps, beam = checks.positive_int("steps", steps), checks.positive_int("beam", beam)
    stop = None if stop is None else checks.not_negative_int("stop", stop)
    length_penalty = checks.not_negative("length_penalty", length_penalty)
    return _beam_search(model, params, xs, carry, length_penalty, steps, beam, stop)


@compiled
def _beam_search(
    model: Model,
    params: Params,
    xs: jax.Array,
    carry: Tree,
    length_penalty: checks.Number,
    steps: int,
    beam: int,
    stop: int | None,
) -> Beams:
    axis = xs.ndim - 1  # the axis of a row's hypotheses
    carry = before_last(model, params, carry, xs)

    def repeat(a: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.expand_dims(a, axis), beam, axis)

    def pick(tree: Tree, parents: jax.Array) -> Tree:
        def of(a: jax.Array) -> jax.Array:
            return jnp.take_along_axis(a, parents.reshape(parents.shape + (1,) * (a.ndim - parents.ndim)), axis)

        return jax.tree.map(of, tree)

    read = jax.vmap(functools.partial(one_step, model, params), axis, axis)

    def step(state: Tree, _: None) -> tuple[Tree, tuple[jax.Array, jax.Array]]:
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
    alone = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)  # at first all hypotheses are equal
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
