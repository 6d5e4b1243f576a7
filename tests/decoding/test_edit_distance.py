"""The Levenshtein distance against its recursion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

L, M, B = 6, 5, 200


@functools.cache
def distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    rest = distance(a[1:], b[1:])
    return rest if a[0] == b[0] else 1 + min(rest, distance(a[1:], b), distance(a, b[1:]))


def drawn(rng, length, symbols):
    """Strings [length, B] and their lengths; past these are symbols, too."""
    return rng.integers(0, symbols, (length, B)).astype(np.int32), rng.integers(0, length + 1, B).astype(np.int32)


@pytest.mark.parametrize("symbols", [1, 2, 4])
def test_it_is_that_of_the_recursion(symbols):
    rng = np.random.default_rng(symbols)
    (a, n), (b, m) = drawn(rng, L, symbols), drawn(rng, M, symbols)
    want = [distance(tuple(a[: n[i], i].tolist()), tuple(b[: m[i], i].tolist())) for i in range(B)]
    got = jax.jit(jaxrnn.decoding.edit_distance)(a, n, b, m)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(jaxrnn.decoding.edit_distance(b, m, a, n), want)
    np.testing.assert_array_equal(jax.vmap(jaxrnn.decoding.edit_distance, in_axes=(1, 0, 1, 0))(a, n, b, m), want)
    in_two = [x.reshape(*x.shape[:-1], 2, B // 2) for x in (a, n, b, m)]
    np.testing.assert_array_equal(jaxrnn.decoding.edit_distance(*in_two).ravel(), want)


@pytest.mark.parametrize(
    ("a", "b", "want"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ab", 0)]
)
def test_words(a, b, want):
    a, b = (np.array([ord(letter) for letter in word], np.int32) for word in (a, b))
    assert jaxrnn.decoding.edit_distance(a, len(a), b, len(b)) == want


def test_lengths_on_the_device_are_clipped_to_what_there_is():
    rng = np.random.default_rng(0)
    (a, _), (b, _) = drawn(rng, L, 3), drawn(rng, M, 3)
    for n, m in ((L + 9, M), (L, M + 1), (-1, M), (L, -3)):
        lengths = jnp.full(B, n, jnp.int32), jnp.full(B, m, jnp.int32)
        got = jaxrnn.decoding.edit_distance(a, lengths[0], b, lengths[1])
        want = [distance(tuple(a[: np.clip(n, 0, L), i]), tuple(b[: np.clip(m, 0, M), i])) for i in range(B)]
        np.testing.assert_array_equal(got, want)
