"""The labels of the most probable alignment."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_logits
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def ctc_greedy(
    ys: "Float[jax.Array, 'T *B O']", lengths: checks.ArrayLike | None = None, *, blank: int = 0
) -> "tuple[Int[jax.Array, 'T *B'], Int[jax.Array, '*B']]":
    """Takes the most probable class of each step, merges repeats and removes blanks.

    The result is the most probable alignment, not the most probable labelling: a labelling may have many alignments,
    each of a smaller probability. `ctc_beam` searches for the labelling.

    Args:
      ys: logits (or log-probabilities) [T, B, O]; B any axes or none.
      lengths: integers [B], the number of steps of each row; None: all have T.
      blank: the class that stands for no label.

    Returns:
      (symbols, lengths): int32 [T, B], `blank` past each row's labels; int32 [B], the number of labels of each row.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    References:
      Graves, Fernandez, Gomez and Schmidhuber 2006, Connectionist temporal classification, ICML: best path decoding.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> logits = jax.nn.one_hot(jnp.array([1, 1, 0, 1, 2]), 3)  # [T, O], most probable: 1 1 blank 1 2
      >>> symbols, length = jaxrnn.decoding.ctc_greedy(logits)
      >>> symbols.tolist(), int(length)
      ([1, 1, 2, 0, 0], 3)
    """
    ys = checked_logits(ys, blank)
    best = jnp.argmax(ys, -1).astype(jnp.int32)
    before = jnp.concatenate([jnp.full_like(best[:1], blank), best[:-1]])
    kept = (best != blank) & (best != before)
    if lengths is not None:
        kept &= valid_steps(lengths, ys.shape[0], ys.shape[1:-1])
    order = jnp.argsort(~kept, axis=0, stable=True)  # the kept ones first, as they came
    symbols = jnp.where(kept, best, jnp.full_like(best, blank))
    return jnp.take_along_axis(symbols, order, axis=0), kept.sum(0, dtype=jnp.int32)
