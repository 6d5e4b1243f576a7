"""Layer normalisation against NumPy."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import B, D, T, drawn, sequence


@pytest.mark.parametrize("shape", [(D,), (T, D), (T, B, D)], ids=len)
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_each_step_is_normalised_scaled_and_shifted(shape, epsilon, x64):
    model = jaxrnn.layer_norm(D, epsilon=epsilon)
    params, xs = drawn(model), sequence(*shape)
    assert_close(jax.jit(model.apply)(params, xs)[1], oracles.layer_norm(params, xs, epsilon), 1e-10)


def test_freshly_it_only_normalises(x64):
    model = jaxrnn.layer_norm(D)
    params = model.init(jax.random.key(0))
    assert_close(params, {"scale": np.ones(D), "shift": np.zeros(D)}, 0.0)


def test_a_constant_input_gives_the_shift_and_a_finite_gradient(x64):
    model = jaxrnn.layer_norm(D)
    params, xs = drawn(model), np.full((T, D), 3.0)
    ys, pullback = jax.vjp(lambda p, x: model.apply(p, x)[1], params, xs)
    assert_close(ys, np.tile(params["shift"], (T, 1)), 1e-10)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(pullback(np.ones((T, D)))))


def test_in_float16_squares_may_be_larger_than_its_largest_number():
    model = jaxrnn.layer_norm(D)
    params, xs = drawn(model, dtype=np.float32), (1000.0 * sequence(T, B, D)).astype(np.float16)
    ys = model.apply(params, xs)[1]
    assert ys.dtype == np.float16
    assert_close(ys, oracles.layer_norm(params, xs.astype(np.float64)), 2e-3)
