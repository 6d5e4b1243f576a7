"""The affine layer against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import B, D, O, T, drawn, sequence


@pytest.mark.parametrize("shape", [(D,), (T, D), (T, B, D), (T, 2, B, D)], ids=len)
def test_each_step_is_an_affine_map(shape, x64):
    model = jaxrnn.dense(D, O)
    params, xs = drawn(model), sequence(*shape)
    carry, ys = jax.jit(model.apply)(params, xs)
    assert carry == ()
    assert_close(ys, oracles.dense(params, xs), 1e-10)


def test_without_bias_there_is_only_the_product(x64):
    model = jaxrnn.dense(D, O, bias=False)
    params, xs = drawn(model), sequence(T, B, D)
    assert set(params) == {"w"}
    assert_close(model.apply(params, xs)[1], oracles.dense({"w": params["w"]}, xs), 1e-10)


def test_the_activation_comes_last(x64):
    model = jaxrnn.dense(D, O, activation=jnp.tanh)
    params, xs = drawn(model), sequence(T, B, D)
    assert_close(model.apply(params, xs)[1], np.tanh(oracles.dense(params, xs)), 1e-10)


def test_a_low_dtype_rounds_the_factors_and_not_the_sum():
    """Products of small integers are exact in bfloat16; sums of 300 are not, those in float32 are."""
    model = jaxrnn.dense(300, 1, dtype=jnp.bfloat16)
    params = {"w": np.ones((300, 1), np.float32), "b": np.zeros(1, np.float32)}
    ys = model.apply(params, np.ones((T, 300), np.float32))[1]
    assert ys.dtype == jnp.float32
    np.testing.assert_array_equal(ys, 300.0)
    third = np.full((T, 300), 1 / 3, np.float32)
    np.testing.assert_allclose(model.apply(params, third)[1], 300 * float(jnp.bfloat16(1 / 3)), rtol=1e-6)


def test_initialisers_draw_the_parameters():
    def counted(key, shape, dtype):
        return jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)

    params = jaxrnn.dense(D, O, w_init=counted, b_init=counted, param_dtype=jnp.float16).init(jax.random.key(0))
    np.testing.assert_array_equal(params["w"], np.arange(D * O).reshape(D, O))
    np.testing.assert_array_equal(params["b"], np.arange(O))
    assert params["w"].dtype == params["b"].dtype == jnp.float16
