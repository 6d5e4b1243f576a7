"""Both directions against the NumPy loops."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import LENGTHS, B, D, H, T, drawn, sequence, with_nan

LAYERS = ((reference.lstm(), (np.zeros(H), np.zeros(H))), (reference.gru(), np.zeros(H)))
MODELS = {merge: jaxrnn.bidirectional(jaxrnn.lstm(D, H), jaxrnn.gru(D, H), merge=merge) for merge in ("concat", "sum")}
MERGE = {"concat": lambda a, b: np.concatenate([a, b], -1), "sum": np.add}


@pytest.mark.parametrize("merge", MODELS)
@pytest.mark.parametrize("shape", [(T, D), (T, B, D)], ids=len)
def test_one_cell_reads_forward_and_one_backward(merge, shape, x64):
    model = MODELS[merge]
    params, xs = drawn(model), sequence(*shape)
    carries, outputs = oracles.bidirectional(LAYERS, params, xs)
    assert_close(jax.jit(model.apply)(params, xs), (carries, MERGE[merge](*outputs)), 1e-10)


@pytest.mark.parametrize("merge", MODELS)
def test_under_lengths_each_row_is_read_from_its_own_ends(merge, x64):
    """LENGTHS holds 0 and 1."""
    model = MODELS[merge]
    params, xs = drawn(model), sequence(T, B, D)
    carries, outputs = oracles.bidirectional(LAYERS, params, xs, LENGTHS)
    got = jax.jit(model.apply)(params, with_nan(xs), lengths=LENGTHS)
    assert_close(got, (carries, MERGE[merge](*outputs)), 1e-10)


def test_a_padded_row_equals_the_row_without_its_padding(x64):
    model = MODELS["concat"]
    params, xs = drawn(model), sequence(T, B, D)
    carry, ys = jax.jit(model.apply)(params, with_nan(xs), lengths=LENGTHS)
    n = LENGTHS[0]
    row = jax.jit(model.apply)(params, xs[:n, 0])
    assert_close((jax.tree.map(lambda x: x[0], carry), ys[:n, 0]), row, 1e-10)


def test_resets_split_a_row_in_both_directions(x64):
    model = MODELS["concat"]
    params, xs = drawn(model), sequence(T, B, D)
    resets = np.random.default_rng(3).random((T, B)) < 0.4
    carries, outputs = oracles.bidirectional(LAYERS, params, xs, LENGTHS, resets)
    got = jax.jit(model.apply)(params, with_nan(xs), lengths=LENGTHS, resets=resets)
    assert_close(got, (carries, MERGE["concat"](*outputs)), 1e-10)


def test_each_direction_starts_from_its_own_carry(x64):
    model = MODELS["concat"]
    params, xs = drawn(model), sequence(T, B, D)
    forward = jaxrnn.cells.LSTMCarry(sequence(B, H, seed=7), sequence(B, H, seed=8))
    backward = sequence(B, H, seed=9)
    carry, ys = jax.jit(model.apply)(params, xs, carry=jaxrnn.models.BidirectionalCarry(forward, backward))
    want_forward = reference.unroll(LAYERS[0][0], params["forward"], xs, tuple(forward), LAYERS[0][1])
    want_backward = reference.unroll(LAYERS[1][0], params["backward"], xs, backward, LAYERS[1][1], reverse=True)
    assert_close((carry.forward, ys[..., :H]), want_forward, 1e-10)
    assert_close((carry.backward, ys[..., H:]), want_backward, 1e-10)
