"""Layers of cells against the NumPy loops."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import LENGTHS, B, D, H, O, T, drawn, sequence, with_nan

MODEL = jaxrnn.stack([jaxrnn.lstm(D, H), jaxrnn.gru(H, O)])
LAYERS = ((reference.lstm(), (np.zeros(H), np.zeros(H))), (reference.gru(), np.zeros(O)))


@pytest.mark.parametrize("shape", [(T, D), (T, B, D), (T, 2, 2, D)], ids=len)
def test_each_layer_reads_the_one_below(shape, x64):
    params, xs = drawn(MODEL), sequence(*shape)
    assert_close(jax.jit(MODEL.apply)(params, xs), oracles.stack(LAYERS, params, xs), 1e-10)


def test_lengths_and_resets_reach_every_layer(x64):
    params, xs = drawn(MODEL), sequence(T, B, D)
    resets = np.random.default_rng(3).random((T, B)) < 0.4
    got = jax.jit(MODEL.apply)(params, with_nan(xs), lengths=LENGTHS, resets=resets)
    assert_close(got, oracles.stack(LAYERS, params, xs, LENGTHS, resets), 1e-10)


def test_the_carry_continues_every_layer(x64):
    params, xs = drawn(MODEL), sequence(T, B, D)

    @jax.jit
    def halves(params, xs):
        carry, first = MODEL.apply(params, xs[:2])
        carry, second = MODEL.apply(params, xs[2:], carry=carry)
        return carry, jax.numpy.concatenate([first, second])

    assert_close(halves(params, xs), oracles.stack(LAYERS, params, xs), 1e-10)


def test_one_layer_is_the_unroll_of_its_cell(x64):
    cell = jaxrnn.elman(D, H)
    model = jaxrnn.stack([cell])
    params, xs = drawn(model), sequence(T, B, D)
    (carry,), ys = model.apply(params, xs)
    assert_close((carry, ys), jaxrnn.unroll(cell, params["0"], xs), 0.0)


def test_layers_draw_noise_of_their_own():
    """Two equal layers that pass on their inputs, less what dropout took."""

    def noise(key, T, batch_shape):
        return jax.random.bernoulli(key, 0.5, (T, *batch_shape, H))

    def step(params, carry, x, kept):
        return carry, x if kept is None else jax.numpy.where(kept, x, 0.0)

    mask = jaxrnn.cell(lambda key: {}, lambda params, shape: jax.numpy.zeros(shape), step, noise=noise)
    xs, params = np.ones((50, B, H), np.float32), {"0": {}, "1": {}}
    one = np.asarray(jaxrnn.stack([mask]).apply({"0": {}}, xs, key=jax.random.key(0))[1])
    two = np.asarray(jaxrnn.stack([mask, mask]).apply(params, xs, key=jax.random.key(0))[1])
    assert abs(one.mean() - 0.5) < 0.06
    assert abs(two.mean() - 0.25) < 0.06  # 0.5 if both had the same noise
    np.testing.assert_array_equal(jaxrnn.stack([mask, mask]).apply(params, xs)[1], xs)
