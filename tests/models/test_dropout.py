"""Dropout: what it drops, what it scales, and when it does neither."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.models.oracles import B, D, T, sequence

KEY = jax.random.key(5)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("over_time", [False, True], ids=["per_step", "over_time"])
def test_a_share_of_the_features_is_zero_and_the_rest_is_scaled(rate, over_time):
    model = jaxrnn.dropout(rate, over_time=over_time)
    xs = np.full((2, 100, 100), 3.0, np.float32)
    ys = np.asarray(model.apply({}, xs, key=KEY)[1])
    dropped = ys == 0.0
    np.testing.assert_allclose(ys[~dropped], 3.0 / (1.0 - rate), rtol=1e-6)
    count = ys[:1].size if over_time else ys.size  # independent draws
    assert abs(dropped.mean() - rate) < 4.0 * np.sqrt(rate * (1.0 - rate) / count)


def test_over_time_all_steps_share_a_mask_and_else_none_do():
    xs = np.ones((T, 30, 30), np.float32)
    shared = np.asarray(jaxrnn.dropout(0.5, over_time=True).apply({}, xs, key=KEY)[1])
    np.testing.assert_array_equal(shared, np.broadcast_to(shared[0], shared.shape))
    assert (shared[0] == 0.0).any()
    assert (shared[0] != 0.0).any()
    own = np.asarray(jaxrnn.dropout(0.5).apply({}, xs, key=KEY)[1])
    for s in range(T):
        for t in range(s):
            assert (own[s] != own[t]).any()


def test_rows_have_masks_of_their_own():
    ys = np.asarray(jaxrnn.dropout(0.5, over_time=True).apply({}, np.ones((T, 2, 60), np.float32), key=KEY)[1])
    assert (ys[0, 0] != ys[0, 1]).any()


def test_without_a_key_or_at_rate_0_it_is_the_identity():
    xs = sequence(T, B, D).astype(np.float32)
    np.testing.assert_array_equal(jaxrnn.dropout(0.5).apply({}, xs)[1], xs)
    np.testing.assert_array_equal(jaxrnn.dropout(0.0).apply({}, xs, key=KEY)[1], xs)


def test_the_gradient_passes_where_the_value_does():
    xs = sequence(T, B, D).astype(np.float32)
    model = jaxrnn.dropout(0.4)
    ys, pullback = jax.vjp(lambda x: model.apply({}, x, key=KEY)[1], xs)
    (grad,) = pullback(jnp.ones_like(ys))
    np.testing.assert_allclose(grad, np.where(np.asarray(ys) == 0.0, 0.0, 1.0 / 0.6), rtol=1e-6)


def test_the_rate_may_be_traced_and_swept():
    xs = np.ones((T, 20, 20), np.float32)
    rates = np.array([0.0, 0.3, 0.9], np.float32)
    swept = jax.jit(jax.vmap(lambda rate: jaxrnn.dropout(rate).apply({}, xs, key=KEY)[1]))(rates)
    for rate, ys in zip(rates, swept, strict=True):
        np.testing.assert_allclose(ys, jaxrnn.dropout(float(rate)).apply({}, xs, key=KEY)[1], rtol=1e-6)
