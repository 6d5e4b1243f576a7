"""The tied table against an embedding and a product in NumPy."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import LENGTHS, B, T, drawn
from tests.reference import elman

SYMBOLS, E = 5, 3
MODEL = jaxrnn.tied(SYMBOLS, E, jaxrnn.stack([jaxrnn.elman(E, E)]))


def symbols(*shape):
    return np.random.default_rng(0).integers(0, SYMBOLS, shape).astype(np.int32)


@pytest.mark.parametrize("shape", [(T,), (T, B), (T, 2, B)], ids=len)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_the_table_is_read_and_predicts(shape, bias, x64):
    model = jaxrnn.tied(SYMBOLS, E, jaxrnn.stack([jaxrnn.elman(E, E)]), bias=bias)
    params, xs = drawn(model), symbols(*shape)
    assert set(params) == {"w", "model"} | ({"b"} if bias else set())
    (want_carry,), hs = oracles.stack([(elman(), np.zeros(E))], params["model"], params["w"][xs])
    carry, ys = jax.jit(model.apply)(params, xs)
    assert_close(carry, (want_carry,), 1e-10)
    assert_close(ys, hs @ params["w"].T + params.get("b", 0.0), 1e-10)


def test_the_gradient_of_the_table_is_the_sum_of_both_uses(x64):
    params, xs = drawn(MODEL), symbols(T, B)
    weights = np.random.default_rng(1).standard_normal((T, B, SYMBOLS))
    stack = MODEL.model

    def untied(w_in, w_out):
        hs = stack.apply(params["model"], w_in[xs], gradient=jaxrnn.autodiff())[1]
        return (weights * (hs @ w_out.T)).sum()

    got = jax.jit(jax.grad(lambda p: (weights * MODEL.apply(p, xs)[1]).sum()))(params)
    read, predicted = jax.jit(jax.grad(untied, argnums=(0, 1)))(*[jax.numpy.asarray(params["w"])] * 2)
    assert_close(got["w"], read + predicted, 1e-10)
    assert np.abs(read).max() > 0.1 < np.abs(predicted).max()
    assert_close(got["b"], weights.sum((0, 1)), 1e-10)


def test_the_carry_lengths_and_key_are_those_of_the_model(x64):
    model = jaxrnn.tied(SYMBOLS, E, jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(E, E)]), jaxrnn.dropout(0.5)))
    params, xs = drawn(model), symbols(T, B)
    garbage = np.where(np.arange(T)[:, None] < LENGTHS, xs, -9)
    inner = model.model
    start = jax.tree.map(lambda x: x + 0.3, model.initial_carry(params, (B,)))
    options = {"carry": start, "lengths": LENGTHS, "key": jax.random.key(3)}
    carry, hs = inner.apply(params["model"], params["w"][xs], **options)
    got_carry, ys = model.apply(params, garbage, **options)
    assert_close(got_carry, carry, 1e-10)
    assert_close(ys, np.asarray(hs) @ params["w"].T + params["b"], 1e-10)


def test_behind_last_there_is_one_prediction_a_row(x64):
    model = jaxrnn.tied(SYMBOLS, E, jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(E, E)]), jaxrnn.last()))
    params, xs = drawn(model), symbols(T, B)
    assert not model.keeps_time
    every = jaxrnn.tied(SYMBOLS, E, model.model.models[0]).apply(params | {"model": params["model"]["0"]}, xs)[1]
    assert_close(model.apply(params, xs)[1], every[-1], 1e-10)


@pytest.mark.parametrize("size", [16, 256])
def test_freshly_logits_have_the_variance_of_the_outputs_mean_square(size):
    model = jaxrnn.tied(1000, size, jaxrnn.residual(jaxrnn.dropout(0.1)))
    params = model.init(jax.random.key(0))
    assert abs(float(params["w"].std()) * size**0.5 - 1.0) < 0.03
    np.testing.assert_array_equal(params["b"], 0.0)
    hs = np.random.default_rng(0).standard_normal((200, size))
    assert abs((hs @ np.asarray(params["w"]).T).var() / np.square(hs).mean() - 1.0) < 0.05


def test_parts_of_parameters_are_named():
    assert MODEL.parts == (jaxrnn.stack([jaxrnn.elman(E, E)]),)
    assert MODEL.names == ("model",)
    a, b = (
        jaxrnn.diagnostics.gradient_statistics(m, m.init(jax.random.key(0)), batch, jaxrnn.losses.cross_entropy)
        for m, batch in _checked()
    )
    assert list(a.layers) == ["model/0 Elman"]
    assert list(b.layers) == ["0/model/0 Elman"]


def _checked():
    batch = {"xs": symbols(T, B), "targets": symbols(T, B)}
    return (MODEL, batch), (jaxrnn.chain(MODEL), batch)


def test_all_gradients_agree():
    params = MODEL.init(jax.random.key(0))
    report = jaxrnn.check_gradients(MODEL, params, symbols(T, 2))
    assert report.ok, report
