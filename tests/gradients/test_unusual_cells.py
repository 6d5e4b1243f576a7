"""Cells that are seldom met: conditions, side effects, complex numbers, integers, options of any dtype, no rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close

EXACT = [jaxrnn.autodiff(), jaxrnn.reverse_scan(), jaxrnn.checkpointed()]
XS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def usual_promotion():
    """These cells are written as people write them."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def plain(step, dtype=jnp.float32):
    return jaxrnn.cell(lambda key: {"w": jnp.ones(3)}, lambda params, rows: jnp.zeros((*rows, 3), dtype), step)


def gradient_of(cell, gradient, xs=XS, w=None):
    def loss(w):
        return jnp.sum(jnp.abs(jaxrnn.unroll(cell, {"w": w}, xs, gradient=gradient)[1]) ** 2)

    return jax.grad(loss)(jnp.linspace(0.5, 1.0, 3) if w is None else w)


def alternatives(params, carry, x):
    h = jax.lax.cond(params["w"][0] > 0, jnp.tanh, lambda h: 2 * h, carry * params["w"] + x)
    return h, h


def rotation(params, carry, x):
    h = 1.2 * carry * jnp.exp(1j * params["w"].astype(jnp.complex64)) + x.astype(jnp.complex64)
    return h, h


def counter(params, carry, x):
    return carry + 1, x * params["w"] * carry.astype(x.dtype)


@pytest.mark.parametrize("step", [alternatives, rotation, counter])
def test_all_gradients_agree(step):
    cell = plain(step, {rotation: jnp.complex64, counter: jnp.int32}.get(step, jnp.float32))
    found = [gradient_of(cell, gradient) for gradient in EXACT]
    assert_close(found, [found[0]] * len(EXACT), 1e-5)


@pytest.mark.parametrize("limit", ["clip_norm", "clip_value"])
def test_a_limit_is_on_the_size_of_complex_numbers(limit):
    cell = plain(rotation, jnp.complex64)

    def loss(carry):
        ys = jaxrnn.unroll(cell, {"w": jnp.ones(3)}, XS, carry=carry, gradient=jaxrnn.reverse_scan(**{limit: 0.5}))[1]
        return jnp.sum(jnp.abs(ys) ** 2)

    found = jax.grad(loss)(jnp.zeros((2, 3), jnp.complex64))
    sizes = jnp.linalg.norm(found, axis=-1) if limit == "clip_norm" else jnp.abs(found)
    np.testing.assert_allclose(sizes, 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.complex64, jnp.int32])
def test_rtrl_says_which_carries_it_takes(dtype):
    cell = plain(rotation if dtype == jnp.complex64 else counter, dtype)
    with pytest.raises(ValueError, match=f"cell: expected a carry of real .* got .*{np.dtype(dtype).name}"):
        gradient_of(cell, jaxrnn.rtrl())


@pytest.mark.parametrize("gradient", [None, jaxrnn.autodiff(), jaxrnn.reverse_scan()])
def test_a_callback_is_called_once_a_step(gradient):
    calls = []

    def step(params, carry, x):
        jax.debug.callback(lambda: calls.append(1))
        return carry * params["w"] + x, carry

    jax.block_until_ready(jaxrnn.unroll(plain(step), {"w": jnp.ones(3)}, XS, gradient=gradient))
    jax.effects_barrier()
    assert len(calls) == len(XS)


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, d: (d / (1.0 + v * v),))


def test_second_derivatives_of_a_surrogate_agree(x64):
    def step(params, carry, x):
        v = 0.9 * carry + x * params["w"]
        s = spike(v - 0.5)
        return v - 0.5 * s, s + v

    gated = jaxrnn.gated_cell(3, 3, {"s": spike}, lambda params, carry, gates, noise: 0.9 * carry + gates[0])
    weights, xs = jax.tree.map(lambda x: x.astype(float), gated.init(jax.random.key(0))), XS.astype(float)
    cell = jaxrnn.cell(lambda key: {"w": jnp.ones(3)}, lambda params, rows: jnp.zeros((*rows, 3)), step)

    def of_gated(gradient, w):
        return jax.grad(lambda w: jnp.sum(jaxrnn.unroll(gated, {**weights, "w_h": w}, xs, gradient=gradient)[1] ** 2))(
            w
        )

    for f, w in ((lambda g, w: gradient_of(cell, g, xs, w), jnp.ones(3)), (of_gated, weights["w_h"])):
        second = [jax.jacrev(functools.partial(f, gradient))(w) for gradient in EXACT[:2]]
        assert_close(second[1], second[0], 1e-10)


@pytest.mark.parametrize("gradient", EXACT)
@pytest.mark.parametrize("kind", [np.float64, np.float32, jnp.float64, jnp.float32])
def test_options_of_any_dtype_mean_the_same(kind, gradient, x64):
    want = None
    for tau in (10.0, kind(10.0), jnp.full(4, 10.0, kind), np.full(4, 10.0, kind)):
        cell = jaxrnn.ctrnn(3, 4, 1.0, tau, sigma=tau)
        params = jax.tree.map(lambda x: x.astype(jnp.float32), cell.init(jax.random.key(0)))
        ys = jaxrnn.unroll(cell, params, XS, key=jax.random.key(1), gradient=gradient)[1]
        want = ys if want is None else want
        assert ys.dtype == jnp.float32
        assert_close(ys, want, 1e-6)
    for options in ({"zoneout": np.full(4, 0.1, kind)}, {"recurrent_dropout": kind(0.1)}, {"chrono": kind(9.0)}):
        cell = jaxrnn.lstm(3, 4, **options)
        for key in (None, jax.random.key(1)):
            assert (
                jaxrnn.unroll(cell, cell.init(jax.random.key(0)), XS, key=key, gradient=gradient)[1].dtype
                == jnp.float32
            )


def test_an_array_may_be_the_only_numeric_option():
    cell = jaxrnn.lstm(3, 4, forget_bias=np.ones(4))
    params = cell.init(jax.random.key(0))
    assert_close(jaxrnn.unroll(cell, params, XS)[1], jaxrnn.unroll(jaxrnn.lstm(3, 4), params, XS)[1], 0.0)


@pytest.mark.parametrize("gradient", [*EXACT, jaxrnn.truncated(2, 2)])
def test_a_batch_of_no_rows(gradient):
    cell, xs = jaxrnn.lstm(3, 4), jnp.zeros((6, 0, 3))
    params = cell.init(jax.random.key(0))

    def loss(params):
        return jaxrnn.unroll(cell, params, xs, lengths=np.zeros(0, int), gradient=gradient)[1].sum()

    assert all(not jnp.any(d) for d in jax.tree.leaves(jax.grad(loss)(params)))


@pytest.mark.parametrize("gradient", EXACT)
def test_it_runs_without_jit(gradient):
    cell = jaxrnn.gru(3, 4)
    params = cell.init(jax.random.key(0))
    with jax.disable_jit():
        found = jaxrnn.unroll(cell, params, XS[:2], gradient=gradient)[1]
    assert_close(found, jaxrnn.unroll(cell, params, XS[:2])[1], 1e-6)
