"""Prefix beam search against all alignments, and against a search with a dict of strings."""

import functools

import jax
import numpy as np
import pytest

import jaxrnn
from tests.alignments import labellings, prefix_beam
from tests.helpers import assert_close

T, O = 6, 3
LENGTHS = np.array([6, 3, 0, 5, 1, 6], np.int32)
B = len(LENGTHS)
ALL = 128
"""More than there are labellings."""


def drawn(dtype=np.float64, seed=0, scale=1.0):
    """Logits, NaN past each row's length."""
    ys = scale * np.random.default_rng(seed).standard_normal((T, B, O))
    return np.where((np.arange(T)[:, None] < LENGTHS)[..., None], ys, np.nan).astype(dtype)


@functools.partial(jax.jit, static_argnames=("beam", "blank", "max_length"))
def search(ys, lengths=None, **options):
    return jaxrnn.decoding.ctc_beam(ys, lengths, **options)


def strings(found, b, blank=0):
    """[(labels, log-probability), ...] of row b; there are no more symbols than labels."""
    pairs = []
    for symbols, length, log_prob in zip(
        found.symbols[..., b], found.lengths[:, b], found.log_probs[:, b], strict=True
    ):
        np.testing.assert_array_equal(symbols[length:], blank)
        if log_prob > -np.inf:
            pairs.append((tuple(symbols[:length].tolist()), float(log_prob)))
        else:
            assert length == 0
    return pairs


def assert_same(got, want, tolerance):
    assert [labels for labels, _ in got] == [labels for labels, _ in want]
    np.testing.assert_allclose([p for _, p in got], [p for _, p in want], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("blank", [0, 2])
def test_a_beam_of_all_strings_finds_each_with_its_probability(blank, precision):
    dtype, tolerance = precision
    ys = drawn(dtype)
    found = search(ys, LENGTHS, beam=ALL, blank=blank)
    assert found.symbols.shape == (ALL, T, B)
    assert found.log_probs.dtype == dtype
    for b in range(B):
        exact, _ = labellings(ys[: LENGTHS[b], b], blank)
        want = sorted(((labels, np.log(p)) for labels, p in exact.items()), key=lambda pair: -pair[1])
        assert len(want) < ALL
        assert_same(strings(found, b, blank), want, tolerance)


@pytest.mark.parametrize("beam", [1, 3, 10])
@pytest.mark.parametrize("max_length", [None, 2])
def test_a_narrow_beam_is_the_search_with_a_dict(beam, max_length, x64):
    for seed in range(3):
        ys = drawn(seed=seed, scale=2.0)
        found = search(ys, LENGTHS, beam=beam, max_length=max_length)
        assert found.symbols.shape == (beam, max_length or T, B)
        for b in range(B):
            want = prefix_beam(ys[: LENGTHS[b], b], beam, 0, max_length or T)
            assert_same(strings(found, b), want, 1e-10)


def test_the_most_probable_string_where_the_most_probable_alignment_is_another_one(x64):
    """Two steps, p(blank) = 0.6: the empty string has 0.36, "1" has 0.4 * 0.4 + 2 * 0.4 * 0.6 = 0.64."""
    ys = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert jaxrnn.decoding.ctc_greedy(ys)[1] == 0
    found = jaxrnn.decoding.ctc_beam(ys, beam=4)
    assert found.symbols[0].tolist() == [1, 0]
    assert found.lengths.tolist() == [1, 0, 0, 0]
    assert_close(np.exp(found.log_probs), np.array([0.64, 0.36, 0.0, 0.0]), 1e-12)


def test_a_beam_of_one_is_greedy_where_each_step_is_sure():
    rng = np.random.default_rng(0)
    ys = 20.0 * np.eye(5, dtype=np.float32)[rng.integers(0, 5, (30, 8))]
    symbols, lengths = jaxrnn.decoding.ctc_greedy(ys)
    found = search(ys, beam=1)
    np.testing.assert_array_equal(found.symbols[0], symbols)
    np.testing.assert_array_equal(found.lengths[0], lengths)


def test_its_probability_is_at_most_that_of_the_loss_and_near_it():
    """Of steps that are fairly sure, as after training."""
    rng = np.random.default_rng(0)
    T, B = 60, 4
    ys = 6.0 * np.eye(8)[rng.integers(0, 8, (T, B))] + rng.standard_normal((T, B, 8))
    ys = ys.astype(np.float32)
    found = search(ys, beam=32)
    for b in range(B):
        batch = {"targets": found.symbols[0, :, b], "targets_lengths": found.lengths[0, b]}
        exact = -jax.jit(jaxrnn.losses.ctc_loss)(ys[:, b], batch)
        assert exact - 0.1 < found.log_probs[0, b] < exact + 1e-4


def test_without_batch_axes_with_two_and_under_vmap(x64):
    ys = drawn()
    want = search(ys, LENGTHS, beam=5)
    one = search(ys[:, 3], LENGTHS[3], beam=5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[..., 3], rtol=1e-12), one, want)
    two = search(ys.reshape(T, 2, 3, O), LENGTHS.reshape(2, 3), beam=5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-12), two, want)
    of_row = functools.partial(search, beam=5)
    mapped = jax.vmap(of_row, in_axes=(1, 0), out_axes=-1)(ys, LENGTHS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), mapped, want)


def test_a_class_of_probability_zero_is_in_no_string():
    ys = np.array([[0.0, 1.0, -np.inf]] * 4, np.float32)
    found = search(ys[:, None], beam=16)
    exact, _ = labellings(ys[:, :2], 0)
    got = strings(found, 0)
    assert {labels for labels, _ in got} == set(exact)
    assert_close(np.array([p for _, p in got]), np.log(sorted(exact.values(), reverse=True)), 1e-5)
