"""Runs whose loss or gradient stops being finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.training.setup import (
    assert_same,
    batch_of,
    data_set,
    fit,
)


def test_a_nan_in_the_data_ends_the_run_and_says_where():
    """The second step of the second block. The best parameters are those before."""
    data = data_set()
    batches = [batch_of(data, np.arange(i, i + 3)) for i in range(7)]
    batches[4]["targets"] = np.full_like(batches[4]["targets"], np.nan)
    with pytest.warns(UserWarning, match="fit: loss and gradient of 0/0/b was not finite at step 5"):
        result = fit(iter(batches), steps=7, block=3, validation=data)
    history = result.history
    assert history.stopped == "diverged"
    assert history.first_bad_step == 5
    assert history.steps == 5
    np.testing.assert_array_equal(np.isfinite(history.train["loss"]), [1, 1, 1, 1, 0])
    assert result.best_step == 3
    assert_same(result.params, fit(iter(batches), steps=3, block=3).params)


def test_an_infinite_gradient_under_a_finite_loss_is_divergence_too():
    def loss(ys, batch):
        return jnp.sqrt(jnp.sum(jnp.square(ys * 0.0)))

    with pytest.warns(UserWarning, match="not finite at step 1"):
        history = fit(loss=loss, steps=4, block=2).history
    assert np.isfinite(history.train["loss"][0])
    assert history.first_bad_step == 1


def test_a_huge_learning_rate_diverges_and_leaves_finite_best_parameters():
    def loss(ys, batch):
        return jaxrnn.losses.mean_squared_error(ys**3, batch)

    with pytest.warns(UserWarning, match=r"fit: .* was not finite at step \d+, which was left out"):
        result = fit(loss=loss, steps=60, block=4, optimizer=optax.sgd(10.0), validation=data_set())
    assert result.history.stopped == "diverged"
    assert result.history.steps < 60
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.state.params))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.params))
