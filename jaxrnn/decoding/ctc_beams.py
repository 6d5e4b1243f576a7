"""The most probable labels, over all their alignments: prefix beam search."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32, checked_logits
from jaxrnn.compiled import compiled
from jaxrnn.masks import zero_unless
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class CTCBeam(NamedTuple):
    """The result of `ctc_beam`, the most probable labels first: `symbols[0]`, `lengths[0]` are the answer.

    Attributes:
      symbols: int32 [beam, L, B], the labels; `blank` past them.
      lengths: int32 [beam, B], the number of labels.
      log_probs: [beam, B], log p(labels) over all alignments that the search followed; -inf (and no labels) if it found
        fewer than `beam` labellings.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> logits = jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]]))  # two steps of blank and 1
      >>> found = jaxrnn.decoding.ctc_beam(logits, beam=2)  # three alignments of the label 1, one of no label
      >>> found.symbols.tolist(), found.lengths.tolist()
      ([[1, 0], [0, 0]], [1, 0])
      >>> [round(p, 2) for p in jnp.exp(found.log_probs).tolist()]
      [0.64, 0.36]
    """

    symbols: "Int[jax.Array, 'beam L *B']"
    lengths: "Int[jax.Array, 'beam *B']"
    log_probs: "Float[jax.Array, 'beam *B']"


class _Prefixes(NamedTuple):
    """The beam of one row: K different strings, each with the probability of the alignments so far that spell it.

    Attributes:
      symbols: int32 [K, L], `blank` past the labels.
      lengths: int32 [K].
      in_blank, in_label: [K], log-probabilities of the alignments that end in a blank, and in the last label: after a
        blank the same label starts anew, after the label it goes on. Both are -inf in an unused entry.
    """

    symbols: jax.Array
    lengths: jax.Array
    in_blank: jax.Array
    in_label: jax.Array

    @property
    def log_probs(self) -> jax.Array:
        return jnp.logaddexp(self.in_blank, self.in_label)


def ctc_beam(
    ys: "Float[jax.Array, 'T *B O']",
    lengths: checks.ArrayLike | None = None,
    *,
    beam: int = 16,
    blank: int = 0,
    max_length: int | None = None,
) -> CTCBeam:
    """Prefix beam search: follows the `beam` most probable strings from step to step, all their alignments together.

    With p = softmax(y[t]), a string s with the last label e, and b, n the probabilities of its alignments that end in a
    blank and in e, a step makes

        s       b' = p[blank] (b + n)            n' = p[e] n
        s + c   b' = 0                           n' = p[c] (b + n), but p[c] b for c = e

    If s + c is in the beam itself, its probabilities from both lines add up. The `beam` most probable strings are kept.
    If the beam holds all strings, the probabilities are exact and the first string is the most probable one; else they
    are lower bounds. All in log space, one compiled loop; a step of a row compares beam^2 L symbols and sorts
    beam (O + 1) numbers.

    Args:
      ys: logits (or log-probabilities) [T, B, O]; B any axes or none.
      lengths: integers [B], the number of steps of each row; None: all have T.
      beam: the number of strings that are followed.
      blank: the class that stands for no label.
      max_length: L, the largest number of labels; longer strings are not followed. None: T.

    Returns:
      A CTCBeam (symbols [beam, L, B], lengths [beam, B], log_probs [beam, B]).

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    References:
      Graves and Jaitly 2014, Towards end-to-end speech recognition with recurrent neural networks, ICML.
      Hannun, Maas, Jurafsky and Ng 2014, First-pass large vocabulary continuous speech recognition using
      bi-directional recurrent DNNs, arXiv:1408.2873.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> logits = jnp.log(jnp.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))  # [T, O]
      >>> found = jaxrnn.decoding.ctc_beam(logits, beam=4)
      >>> found.symbols[0].tolist(), int(found.lengths[0])
      ([1, 2, 0], 2)
    """
    ys = checked_logits(ys, blank)
    K, T, batch_shape = checks.positive_int("beam", beam), ys.shape[0], ys.shape[1:-1]
    L = T if max_length is None else checks.positive_int("max_length", max_length)
    valid = jnp.ones((T, *batch_shape), bool) if lengths is None else valid_steps(lengths, T, batch_shape)
    return _ctc_beam(ys, valid, K, L, int(blank))


@compiled
def _ctc_beam(ys: jax.Array, valid: jax.Array, K: int, L: int, blank: int) -> CTCBeam:
    T, *batch_shape, O = ys.shape
    log_probs = jax.nn.log_softmax(at_least_float32(zero_unless(valid, ys))).reshape(T, -1, O)

    def search(log_probs: jax.Array, valid: jax.Array) -> _Prefixes:
        """One row: [T, O], [T]."""
        nothing = jnp.full((K,), -jnp.inf, log_probs.dtype)
        start = _Prefixes(
            jnp.full((K, L), blank, jnp.int32), jnp.zeros((K,), jnp.int32), nothing.at[0].set(0.0), nothing
        )

        def read(prefixes: _Prefixes, step: tuple[jax.Array, jax.Array]) -> tuple[_Prefixes, None]:
            log_p, valid = step
            after = _step(prefixes, log_p, blank)
            return jax.tree.map(lambda new, old: jnp.where(valid, new, old), after, prefixes), None

        return jax.lax.scan(read, start, (log_probs, valid))[0]

    found = jax.vmap(search, in_axes=1, out_axes=-1)(log_probs, valid.reshape(T, -1))
    exists = found.log_probs > -jnp.inf
    symbols = jnp.where(exists[:, None], found.symbols, jnp.full_like(found.symbols, blank))
    shaped = (symbols, zero_unless(exists, found.lengths), found.log_probs)
    return CTCBeam(*(x.reshape(*x.shape[:-1], *batch_shape) for x in shaped))


def _step(prefixes: _Prefixes, log_p: jax.Array, blank: int) -> _Prefixes:
    """The beam after a step with the log-probabilities log_p [O] of the classes, the most probable string first."""
    (K, L), O = prefixes.symbols.shape, len(log_p)
    at = jnp.arange(L, dtype=jnp.int32)[None]
    is_last = at == prefixes.lengths[:, None] - 1
    last = jnp.where(is_last, prefixes.symbols, jnp.zeros_like(prefixes.symbols)).sum(1, dtype=jnp.int32)
    last = jnp.where(prefixes.lengths > 0, last, jnp.full_like(last, blank))
    classes = jnp.arange(O, dtype=jnp.int32)[None]
    impossible = jnp.full((), -jnp.inf, log_p.dtype)

    # [K, O]: each string with one more label.
    before = jnp.where(classes == last[:, None], prefixes.in_blank[:, None], prefixes.log_probs[:, None])
    grown = jnp.where((classes != blank) & (prefixes.lengths < L)[:, None], before + log_p[None], impossible)

    # If a string of the beam is another one plus a label, the two candidates are one: its probabilities are added.
    shorter = jnp.where(is_last, jnp.full_like(prefixes.symbols, blank), prefixes.symbols)
    is_parent = (shorter[:, None] == prefixes.symbols[None]).all(-1)  # [child, parent]
    is_parent &= prefixes.lengths[:, None] == prefixes.lengths[None] + 1
    is_parent &= (prefixes.log_probs > impossible)[:, None]
    from_parent = jax.nn.logsumexp(jnp.where(is_parent, grown[:, last].T, impossible), axis=1)
    merged = (is_parent[:, :, None] & (classes == last[:, None])[:, None]).any(0)
    grown = jnp.where(merged, impossible, grown).ravel()

    in_blank = prefixes.log_probs + log_p[blank]
    in_label = jnp.logaddexp(prefixes.in_label + log_p[last], from_parent)
    _, best = jax.lax.top_k(jnp.concatenate([jnp.logaddexp(in_blank, in_label), grown]), K)
    grows = best >= K
    parent, label = jnp.where(grows, (best - K) // O, best), jnp.where(grows, (best - K) % O, blank)
    lengths = prefixes.lengths[parent]
    new = grows[:, None] & (at == lengths[:, None])
    return _Prefixes(
        jnp.where(new, label[:, None], prefixes.symbols[parent]),
        lengths + grows.astype(jnp.int32),
        jnp.where(grows, impossible, in_blank[parent]),
        jnp.where(grows, grown[jnp.maximum(best - K, 0)], in_label[parent]),
    )
