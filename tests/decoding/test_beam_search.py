"""Beam search against all sequences there are."""

import itertools

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models.oracles import drawn

O, B, STEPS, STOP = 3, 4, 4, 1
MODEL = jaxrnn.chain(jaxrnn.embed(O, 4), jaxrnn.stack([jaxrnn.gru(4, 5)]), jaxrnn.dense(5, O))
PARAMS = drawn(MODEL, seed=3)
START = np.array([[0, 1, 2, 0], [2, 2, 0, 0]], np.int32)


@jax.jit
def logs_after(params, xs):
    """log softmax of the logits at all steps."""
    return jax.nn.log_softmax(MODEL.apply(params, xs)[1])


def everything(row, stop):
    """All sequences after a prompt, the most probable first: (log-probability, symbols, how many count)."""
    every = list(itertools.product(range(O), repeat=STEPS))
    xs = np.concatenate([np.tile(START[:, row, None], len(every)), np.array(every, np.int32).T])
    logs, found = np.asarray(logs_after(PARAMS, xs)), []
    for i, symbols in enumerate(every):
        ends = np.flatnonzero(np.array(symbols) == stop)
        n = ends[0] + 1 if len(ends) else STEPS
        if all(symbol == stop for symbol in symbols[n:]):
            at = len(START) - 1 + np.arange(n)
            found.append((float(sum(logs[t, i, xs[t + 1, i]] for t in at)), symbols, n))
    return sorted(found, reverse=True)


@pytest.fixture(scope="module")
def all_sequences():
    with jax.enable_x64(True):
        return {stop: [everything(row, stop) for row in range(B)] for stop in (None, STOP)}


@pytest.mark.parametrize("stop", [None, STOP])
def test_a_beam_as_wide_as_all_sequences_finds_them_in_order(stop, all_sequences, x64):
    width = O**STEPS
    beams = jaxrnn.decoding.beam_search(MODEL, PARAMS, START, STEPS, beam=width, stop=stop)
    for row, want in enumerate(all_sequences[stop]):
        count = len(want)
        assert_close(beams.scores[row, :count], np.array([score for score, _, _ in want]), 1e-10)
        np.testing.assert_array_equal(beams.symbols[:, row, :count].T, [symbols for _, symbols, _ in want])
        lengths = [n - (stop is not None and symbols[n - 1] == stop) for _, symbols, n in want]
        np.testing.assert_array_equal(beams.lengths[row, :count], lengths)
        np.testing.assert_array_equal(beams.scores[row, count:], -np.inf)


def test_a_length_penalty_changes_the_order(all_sequences, x64):
    beams = jaxrnn.decoding.beam_search(MODEL, PARAMS, START, STEPS, beam=O**STEPS, stop=STOP, length_penalty=1.0)
    for row, want in enumerate(all_sequences[STOP]):
        means = sorted((score / n for score, _, n in want), reverse=True)
        assert_close(beams.scores[row, : len(means)], np.array(means), 1e-10)


@pytest.mark.parametrize("beam", [2, 3])
def test_a_narrow_beam_keeps_the_best_beginnings(beam, x64):
    beams = jaxrnn.decoding.beam_search(MODEL, PARAMS, START, STEPS, beam=beam, stop=STOP)
    for row in range(B):
        kept = [(0.0, ())]
        for _ in range(STEPS):
            longer = []
            for score, symbols in kept:
                if symbols and symbols[-1] == STOP:
                    longer.append((score, (*symbols, STOP)))
                    continue
                xs = np.zeros((len(START) + STEPS, 1), np.int32)
                xs[: len(START) + len(symbols), 0] = [*START[:, row], *symbols]
                logs = np.asarray(logs_after(PARAMS, xs)[len(START) + len(symbols) - 1, 0])
                longer += [(score + logs[symbol], (*symbols, symbol)) for symbol in range(O)]
            kept = sorted(longer, reverse=True)[:beam]
        assert_close(beams.scores[row], np.array([score for score, _ in kept]), 1e-10)
        np.testing.assert_array_equal(beams.symbols[:, row].T, [symbols for _, symbols in kept])


def test_a_beam_of_one_is_greedy(x64):
    beams = jaxrnn.decoding.beam_search(MODEL, PARAMS, START, 9, beam=1, stop=STOP)
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START, 9, stop=STOP)
    np.testing.assert_array_equal(beams.symbols[..., 0], symbols)


def test_one_row_vmapped_rows_and_a_batch_are_the_same(x64):
    batch = jaxrnn.decoding.beam_search(MODEL, PARAMS, START, STEPS, beam=3, stop=STOP)
    one = jaxrnn.decoding.beam_search(MODEL, PARAMS, START[:, 2], STEPS, beam=3, stop=STOP)
    assert_close(one, (batch.symbols[:, 2], batch.lengths[2], batch.scores[2]), 1e-10)
    mapped = jax.vmap(
        lambda xs: jaxrnn.decoding.beam_search(MODEL, PARAMS, xs, STEPS, beam=3, stop=STOP),
        1,
        jaxrnn.decoding.Beams(1, 0, 0),
    )(START)
    assert_close(mapped, batch, 1e-10)


def test_a_model_with_attention_looks_at_its_own_rows_memory(x64):
    model = jaxrnn.chain(
        jaxrnn.embed(O, 4),
        jaxrnn.attention_decoder(jaxrnn.gru(4, 5), jaxrnn.additive_attention(5, 6, 4)),
        jaxrnn.dense(11, O),
    )
    params, memory = drawn(model), np.random.default_rng(0).standard_normal((5, B, 6))
    attached = jaxrnn.attach(model, memory, lengths=np.array([5, 2, 1, 3]))
    beams = jaxrnn.decoding.beam_search(attached, params, START, STEPS, beam=O**STEPS)
    for row in range(B):
        count = O**STEPS
        xs = np.concatenate([np.tile(START[:, row, None], count), beams.symbols[:, row]])
        alone = jaxrnn.attach(model, np.repeat(memory[: [5, 2, 1, 3][row], row : row + 1], count, 1))
        logs = np.asarray(jax.nn.log_softmax(alone.apply(params, xs)[1]))
        at = len(START) - 1 + np.arange(STEPS)
        want = sum(logs[t, np.arange(count), xs[t + 1]] for t in at)
        assert_close(beams.scores[row], want, 1e-10)
