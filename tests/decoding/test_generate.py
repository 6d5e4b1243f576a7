"""Generated symbols against a loop over `model.apply`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.models.wrapper import Wrapper
from jaxrnn.types import pytree
from tests.helpers import assert_close
from tests.models.oracles import drawn

O, B, STEPS = 6, 3, 7
MODEL = jaxrnn.chain(jaxrnn.embed(O, 4), jaxrnn.stack([jaxrnn.lstm(4, 5)]), jaxrnn.dense(5, O))
PARAMS = drawn(MODEL, seed=6, dtype=np.float32)
PARAMS["0"]["w"] *= 3.0  # so that what is written depends on what was read
PARAMS["2"]["w"] *= 3.0
START = np.array([[0, 1, 2], [3, 3, 1]], np.int32)


@jax.jit
def outputs(xs):
    return MODEL.apply(PARAMS, xs)[1]


def by_hand(choose, xs=START, steps=STEPS):
    """Reads everything anew for each symbol; `choose` (logits [B, O], t) -> [B]."""
    known = len(xs)
    xs = np.concatenate([xs, np.zeros((steps, *xs.shape[1:]), np.int32)])
    for t in range(steps):
        xs[known + t] = choose(outputs(xs)[known + t - 1], t)
    return xs[known:]


def greedy(logits, t):
    return jnp.argmax(logits, -1)


@pytest.mark.parametrize("length", [1, 2])
def test_greedy_symbols_are_the_most_probable(length):
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START[:length], STEPS)
    want = by_hand(greedy, START[:length])
    np.testing.assert_array_equal(symbols, want)
    assert len(np.unique(want)) > 2


def test_one_row_without_a_batch_axis():
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START[:, 1], STEPS)
    np.testing.assert_array_equal(symbols, by_hand(greedy)[:, 1])


def test_the_carry_goes_on_where_the_symbols_end():
    carry, first = jaxrnn.decoding.generate(MODEL, PARAMS, START, 3)
    _, second = jaxrnn.decoding.generate(MODEL, PARAMS, first[-1:], STEPS - 3, carry=carry)
    np.testing.assert_array_equal(np.concatenate([first, second]), by_hand(greedy))
    before, _ = MODEL.apply(PARAMS, START[:1])
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START[1:], STEPS, carry=before)
    np.testing.assert_array_equal(symbols, by_hand(greedy))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_sampled_symbols_are_drawn_from_the_softmax_at_that_temperature(temperature):
    key = jax.random.key(1)
    keys = jax.random.split(key, STEPS)
    want = by_hand(lambda logits, t: jax.random.categorical(keys[t], logits / temperature))
    sample = jax.jit(lambda t: jaxrnn.decoding.generate(MODEL, PARAMS, START, STEPS, key=key, temperature=t)[1])
    np.testing.assert_array_equal(sample(temperature), want)


def test_frequencies_of_sampled_symbols():
    rows = 4000
    xs = np.tile(START[:, :1], (1, rows))
    for top_k in (None, 2):
        _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, xs, 1, key=jax.random.key(0), temperature=1.5, top_k=top_k)
        logits = np.asarray(MODEL.apply(PARAMS, START)[1][-1, 0], np.float64) / 1.5
        if top_k:
            logits[np.argsort(logits)[:-top_k]] = -np.inf
        p = np.exp(logits) / np.exp(logits).sum()
        found = np.bincount(np.asarray(symbols[0]), minlength=O) / rows
        np.testing.assert_allclose(found, p, atol=4 * np.sqrt(0.25 / rows))
        assert (found > 0).sum() <= (top_k or O)


@pytest.mark.parametrize("top_k", [None, O])
def test_frequencies_of_symbols_from_logits_of_half_precision(top_k):
    """Gumbel noise in bfloat16 has so few values that the frequencies would be far off."""

    @pytree
    class Halved(Wrapper):
        def run(self, params, carry, xs, call):
            carry, ys = self.model.run(params, carry, xs, call)
            return carry, ys.astype(jnp.bfloat16)

    rows, logits = 20000, np.log(np.array([0.002, 0.008, 0.09, 0.2, 0.3, 0.4])).astype(np.float32)
    model = Halved(jaxrnn.chain(jaxrnn.embed(O, O)))
    params = {"0": {"w": np.tile(logits, (O, 1))}}
    _, symbols = jaxrnn.decoding.generate(
        model, params, np.zeros((1, rows), np.int32), 1, key=jax.random.key(0), top_k=top_k
    )
    p = np.exp(np.asarray(jnp.asarray(logits, jnp.bfloat16), np.float64))
    p /= p.sum()
    found = np.bincount(np.asarray(symbols[0]), minlength=O) / rows
    np.testing.assert_array_less(np.abs(found - p), 5 * np.sqrt(p * (1 - p) / rows))


def test_what_follows_the_stop_symbol_is_the_stop_symbol():
    want = by_hand(greedy)
    stop = int(want[2, 0])
    for row in want.T:
        ends = np.flatnonzero(row == stop)
        if len(ends):
            row[ends[0] :] = stop
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START, STEPS, stop=stop)
    np.testing.assert_array_equal(symbols, want)
    assert (want == stop).any()
    assert not (want == stop).all()


def test_a_stop_symbol_before_the_first_chosen_one_stops_nothing():
    """A symbol may begin what it also ends."""
    stop = 1  # the last symbol of a prompt, which that row does not choose at once
    want = by_hand(greedy)
    _, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START, STEPS, stop=stop)
    for b in range(B):
        ends = np.flatnonzero(want[:, b] == stop)
        n = ends[0] if len(ends) else STEPS
        np.testing.assert_array_equal(symbols[:n, b], want[:n, b])
        np.testing.assert_array_equal(symbols[n:, b], stop)
    assert START[-1, 2] == stop
    assert (symbols[0] != stop).all()


def test_the_final_carry_has_read_all_but_the_last_symbol():
    carry, symbols = jaxrnn.decoding.generate(MODEL, PARAMS, START, STEPS)
    want, _ = MODEL.apply(PARAMS, np.concatenate([START, symbols[:-1]]))
    assert_close(carry, want, 1e-5)
