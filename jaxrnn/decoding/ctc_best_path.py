"""The labels of the most probable alignment."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.arguments import checked_logits
from jaxrnn.validity import valid_steps


def ctc_greedy(ys: jax.Array, lengths: Any = None, *, blank: int = 0) -> tuple[jax.Array, jax.Array]:
    """Reads the most probable class of each step: merges what repeats, then leaves out the blanks.

    That is the most probable alignment, not the most probable labelling, which may have many alignments of less
    probability each: `ctc_beam` looks for it.

    Args:
      ys: logits (or log-probabilities) [T, B, O]; B any axes or none.
      lengths: integers [B], how many steps each row has; None: all have T.
      blank: the class that stands for no label.

    Returns:
      (symbols, lengths): int32 [T, B], `blank` past each row's labels; int32 [B], how many labels each row has.

    Raises:
      ValueError, TypeError: an argument does not fit, and which.

    References:
      Graves, Fernandez, Gomez and Schmidhuber 2006, Connectionist temporal classification, ICML: best path decoding.
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
