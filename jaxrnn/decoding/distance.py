"""The distance between two strings of symbols, for error rates."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Int


def edit_distance(
    a: checks.ArrayLike, a_lengths: checks.ArrayLike, b: checks.ArrayLike, b_lengths: checks.ArrayLike
) -> "Int[jax.Array, '*B']":
    """The Levenshtein distance: the fewest symbols to insert, delete or substitute to turn `a` into `b`, row by row.

        d[i, j] = min(d[i-1, j] + 1, d[i, j-1] + 1, d[i-1, j-1] + (a[i] != b[j])),  d[i, 0] = i,  d[0, j] = j

    One step reads a[i] and computes all d[i, j] from d[i-1, j]. With e[j] the smaller of the first and the third term,
    insertions are a running minimum: d[i, j] = min over k <= j of e[k] + (j - k) = j + min over k <= j of (e[k] - k).

    The loop goes over `a`. The distance is symmetric, so pass the strings of the shorter padded length as `a`.

    The error rate of decoded strings is the sum of their distances to the targets, divided by the sum of the targets'
    lengths.

    Args:
      a, b: integers [L, B] and [M, B]: strings, time first as in all sequences; B any axes or none.
      a_lengths, b_lengths: integers [B], the number of symbols of each string; symbols past it do not count. JAX
        arrays, whose values are not known while tracing, are clipped to 0 ... L and 0 ... M.

    Returns:
      int32 [B].

    Raises:
      ValueError, TypeError: shapes or types do not fit (the message names it); lengths in NumPy or Python are out of
        range.

    References:
      Wagner and Fischer 1974, The string-to-string correction problem, Journal of the ACM 21(1).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> a, b = jnp.array([1, 2, 3]), jnp.array([2, 3, 3, 0])  # 0: padding
      >>> int(jaxrnn.decoding.edit_distance(a, 3, b, 3))
      2
    """
    a, in_a = _checked("a", a, a_lengths)
    b, _ = _checked("b", b, b_lengths)
    if a.shape[1:] != b.shape[1:]:
        shape = ", ".join(["M", *map(str, a.shape[1:])])
        raise ValueError(f"b: expected strings [{shape}], as many as in a, got {checks.short(b)}")
    return _edit_distance(a, in_a, b, checks.integers("b_lengths", b_lengths))


@compiled
def _edit_distance(a: jax.Array, in_a: jax.Array, b: jax.Array, b_lengths: jax.Array) -> jax.Array:
    M, batch_shape = b.shape[0], b.shape[1:]
    j = jnp.arange(M + 1, dtype=jnp.int32).reshape(M + 1, *(1,) * len(batch_shape))
    start = jnp.broadcast_to(j, (M + 1, *batch_shape))

    def read(d: jax.Array, symbol_and_valid: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        symbol, valid = symbol_and_valid
        substituted = d[:-1] + (symbol[None] != b).astype(jnp.int32)
        e = (d + 1).at[1:].min(substituted)
        inserted = j + jax.lax.cummin(e - j, axis=0)
        return jnp.where(valid[None], inserted, d), None

    d, _ = jax.lax.scan(read, start, (a, in_a))
    at = jnp.clip(b_lengths, 0, M)
    return jnp.take_along_axis(d, at[None], axis=0)[0]


def _checked(name: str, strings: checks.ArrayLike, lengths: checks.ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Strings [L, ...], and a mask of their valid symbols."""
    array = checks.integers(name, strings)
    if array.ndim < 1:
        raise ValueError(f"{name}: expected strings [L, ...], got {checks.short(array)}")
    size = "L" if name == "a" else "M"
    return array, valid_steps(lengths, array.shape[0], array.shape[1:], name=f"{name}_lengths", size=size)
