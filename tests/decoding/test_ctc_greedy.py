"""Best path decoding against a loop over steps."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.alignments import collapse

T, B, O = 9, 50, 3
LENGTHS = np.arange(B, dtype=np.int32) % (T + 1)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_it_is_the_collapsed_argmax(blank, lengths):
    ys = np.random.default_rng(0).standard_normal((T, B, O)).astype(np.float32)
    ends = np.full(B, T) if lengths is None else lengths
    best = np.argmax(ys, -1)
    padded = np.where((np.arange(T)[:, None] < ends)[..., None], ys, np.nan)
    symbols, found = jax.jit(jaxrnn.decoding.ctc_greedy, static_argnames="blank")(padded, lengths, blank=blank)
    assert symbols.shape == (T, B)
    assert symbols.dtype == found.dtype == np.int32
    for b in range(B):
        assert tuple(symbols[: found[b], b].tolist()) == collapse(best[: ends[b], b].tolist(), blank)
        np.testing.assert_array_equal(symbols[found[b] :, b], blank)


def test_repeats_merge_and_blanks_part_them():
    steps = [1, 1, 0, 1, 2, 2, 1, 0, 0]
    symbols, length = jaxrnn.decoding.ctc_greedy(np.eye(3, dtype=np.float32)[steps])
    assert symbols[: int(length)].tolist() == [1, 1, 2, 1]


def test_under_vmap():
    ys = np.random.default_rng(1).standard_normal((T, B, O)).astype(np.float32)
    want = jaxrnn.decoding.ctc_greedy(ys, LENGTHS)
    got = jax.vmap(jaxrnn.decoding.ctc_greedy, in_axes=(1, 0), out_axes=(1, 0))(ys, LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, got, want)
