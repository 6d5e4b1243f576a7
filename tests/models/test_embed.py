"""The embedding against indexing in NumPy."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models.oracles import LENGTHS, B, O, T, drawn

SYMBOLS = 5
MODEL = jaxrnn.embed(SYMBOLS, O)


def symbols(*shape):
    return np.random.default_rng(0).integers(0, SYMBOLS, shape).astype(np.int32)


@pytest.mark.parametrize("shape", [(T,), (T, B), (T, 2, B)], ids=len)
def test_each_symbol_has_its_vector(shape, x64):
    params, xs = drawn(MODEL), symbols(*shape)
    assert_close(jax.jit(MODEL.apply)(params, xs)[1], params["w"][xs], 0.0)


def test_numpy_parameters_work_without_jit():
    params, xs = drawn(MODEL, dtype=np.float32), symbols(T, B)
    assert_close(MODEL.apply(params, xs)[1], params["w"][xs], 0.0)


def test_the_gradient_of_a_vector_is_the_sum_over_its_uses(x64):
    params, xs = drawn(MODEL), symbols(T, B)
    weights = np.random.default_rng(1).standard_normal((T, B, O))
    grads = jax.jit(jax.grad(lambda p: (MODEL.apply(p, xs)[1] * weights).sum()))(params)
    want = np.zeros((SYMBOLS, O))
    np.add.at(want, xs, weights)
    assert_close(grads, {"w": want}, 1e-10)


@pytest.mark.parametrize("wrong", [-1, SYMBOLS, 10**6])
def test_a_symbol_out_of_range_gives_nan_there_and_nowhere_else(wrong, x64):
    params, xs = drawn(MODEL), symbols(T, B)
    xs[2, 1] = wrong
    ys = np.array(jax.jit(MODEL.apply)(params, xs)[1])
    assert np.isnan(ys[2, 1]).all()
    xs[2, 1], ys[2, 1] = 0, params["w"][0]
    np.testing.assert_array_equal(ys, params["w"][xs])


def test_garbage_in_the_padding_does_no_harm(x64):
    params, xs = drawn(MODEL), symbols(T, B)
    garbage = xs.copy()
    for b, length in enumerate(LENGTHS):
        garbage[length:, b] = [-1, 10**6, 77, SYMBOLS, -9][length:]
    valid = np.arange(T)[:, None] < LENGTHS

    @jax.jit
    def run(params, xs):
        def loss(params):
            ys = MODEL.apply(params, xs, lengths=LENGTHS)[1]
            return jax.numpy.where(valid[..., None], ys, 0.0).sum(), ys

        return jax.value_and_grad(loss, has_aux=True)(params)

    (_, ys), grads = run(params, garbage)
    np.testing.assert_array_equal(np.asarray(ys)[valid], params["w"][xs][valid])
    counts = np.bincount(xs[valid], minlength=SYMBOLS).astype(float)
    assert_close(grads, {"w": np.repeat(counts[:, None], O, 1)}, 1e-10)
