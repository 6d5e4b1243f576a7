"""Batch normalisation against NumPy: by the batch in training, by the statistics in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import LENGTHS, B, D, T, drawn, sequence, with_nan

MODEL = jaxrnn.batch_norm(D)
KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(T, D), (T, B, D), (T, 2, B, D)], ids=len)
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_in_training_a_feature_is_normalised_over_all_steps_and_rows(shape, epsilon, x64):
    model = jaxrnn.batch_norm(D, epsilon=epsilon)
    params, xs = drawn(model), 3.0 + 2.0 * sequence(*shape)
    run = jax.jit(lambda params, xs: model.apply(params, xs, key=KEY)[1])
    assert_close(run(params, xs), oracles.batch_norm(params, xs, epsilon=epsilon), 1e-10)


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_in_evaluation_it_is_normalised_by_the_statistics(epsilon, x64):
    model = jaxrnn.batch_norm(D, epsilon=epsilon)
    params, xs = drawn(model), sequence(T, B, D)
    mean, variance = params["statistics"]["mean"], params["statistics"]["variance"]
    want = params["scale"] * (xs - mean) / np.sqrt(variance + epsilon) + params["shift"]
    assert_close(jax.jit(model.apply)(params, xs)[1], want, 1e-10)
    padded = jax.jit(lambda params, xs: model.apply(params, xs, lengths=LENGTHS)[1])(params, with_nan(xs))
    assert_close(padded, np.where((np.arange(T)[:, None] < LENGTHS)[..., None], want, 0.0), 1e-10)


def test_behind_last_it_is_normalised_over_rows(x64):
    model = jaxrnn.chain(jaxrnn.last(), MODEL)
    params, xs = {"0": {}, "1": drawn(MODEL)}, sequence(T, B, D)
    ends = oracles.last(xs, LENGTHS)
    got = jax.jit(lambda p, x: model.apply(p, x, lengths=LENGTHS, key=KEY)[1])(params, with_nan(xs))
    assert_close(got, oracles.batch_norm(params["1"], ends), 1e-10)


def test_padding_of_nan_reaches_neither_value_nor_gradient(x64):
    """The valid values by themselves, as one row, give the same; nor does what a loss makes of the padding count."""
    params, xs, weights = drawn(MODEL), 1.0 + sequence(T, B, D), sequence(T, B, D, seed=5)
    valid = np.arange(T)[:, None] < LENGTHS

    @jax.jit
    def padded(params, xs):
        def loss(params, xs):
            ys = MODEL.apply(params, xs, lengths=LENGTHS, key=KEY)[1]
            return (ys * weights).sum(), ys

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)

    @jax.jit
    def alone(params, values):
        loss = lambda params, values: (MODEL.apply(params, values, key=KEY)[1] * weights[valid]).sum()  # noqa: E731
        return jax.grad(loss, argnums=(0, 1))(params, values)

    (d_params, d_xs), ys = padded(params, with_nan(xs))
    assert_close(ys, oracles.batch_norm(params, xs, LENGTHS), 1e-10)
    want_params, d_values = alone(params, xs[valid])
    assert_close(d_params, want_params, 1e-10)
    want_xs = np.zeros(xs.shape)
    want_xs[valid] = d_values
    assert_close(d_xs, want_xs, 1e-10)


def test_the_gradient_goes_through_the_mean_and_the_variance(x64):
    """It is orthogonal to what they take away: a constant, and the values themselves (up to epsilon)."""
    params, xs, weights = drawn(MODEL), sequence(T, B, D), sequence(T, B, D, seed=5)
    model = jaxrnn.batch_norm(D, epsilon=1e-12)
    grad = np.asarray(jax.grad(lambda xs: (model.apply(params, xs, key=KEY)[1] * weights).sum())(xs))
    assert np.abs(grad).max() > 0.1
    np.testing.assert_allclose(grad.sum((0, 1)), 0.0, atol=1e-10)
    np.testing.assert_allclose((grad * xs).sum((0, 1)), 0.0, atol=1e-8)


@pytest.mark.parametrize("key", [None, KEY], ids=["evaluation", "training"])
def test_the_statistics_are_no_weights(key, x64):
    params, xs = drawn(MODEL), sequence(T, B, D)
    grads = jax.grad(lambda params: jnp.square(MODEL.apply(params, xs, key=key)[1]).sum())(params)
    assert_close(grads["statistics"], {"mean": np.zeros(D), "variance": np.zeros(D)}, 0.0)
    assert all(np.abs(grads[name]).min() > 0.0 for name in ("scale", "shift"))


@pytest.mark.parametrize(
    ("xs", "lengths"),
    [
        (np.full((T, B, D), np.nan), np.zeros(B, np.int32)),
        (sequence(T, B, D), np.eye(B, dtype=np.int32)[1]),
        (sequence(1, D), None),
        (sequence(D), None),
        (np.full((T, B, D), 3.0), None),
    ],
    ids=["no_value", "one_valid_step", "one_step", "one_vector", "constant"],
)
def test_without_a_spread_the_shift_comes_out_and_the_gradient_is_finite(xs, lengths, x64):
    params = drawn(MODEL)
    run = lambda params, xs: MODEL.apply(params, xs, lengths=lengths, key=KEY)[1]  # noqa: E731
    ys, pullback = jax.vjp(run, params, xs)
    valid = np.ones(xs.shape[:-1], bool) if lengths is None else np.arange(T)[:, None] < lengths
    assert_close(ys, np.where(valid[..., None], params["shift"], 0.0), 1e-10)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(pullback(jnp.ones_like(ys))))


def test_freshly_evaluation_changes_nothing_but_by_epsilon(x64):
    params, xs = MODEL.init(KEY), sequence(T, B, D)
    ones, zeros = np.ones(D), np.zeros(D)
    assert_close(params, {"scale": ones, "shift": zeros, "statistics": {"mean": zeros, "variance": ones}}, 0.0)
    assert_close(MODEL.apply(params, xs)[1], xs / np.sqrt(1.0 + 1e-5), 1e-6)


def test_under_vmap_over_parameters_each_has_its_own(x64):
    several = [jax.tree.map(lambda x, i=i: x + i, drawn(MODEL)) for i in range(2)]
    xs = sequence(2, T, B, D)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    both = jax.jit(jax.vmap(lambda p, x: MODEL.apply(p, x, lengths=LENGTHS, key=KEY)[1]))(stacked, xs)
    for i, params in enumerate(several):
        assert_close(both[i], oracles.batch_norm(params, xs[i], LENGTHS), 1e-10)


def test_resets_are_accepted_and_change_nothing():
    params, xs = drawn(MODEL, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    resets = np.ones((T, B), bool)
    for key in (None, KEY):
        want = MODEL.apply(params, xs, key=key)[1]
        np.testing.assert_array_equal(MODEL.apply(params, xs, resets=resets, key=key)[1], want)


def test_in_bfloat16_the_statistics_are_float32():
    """64 thousand values summed in bfloat16 would stop growing at 256 of them."""
    model = jaxrnn.batch_norm(D, param_dtype=jnp.bfloat16)
    params = model.init(KEY)
    dtypes = jax.tree.map(lambda x: x.dtype.name, params)
    assert dtypes["scale"] == dtypes["shift"] == "bfloat16"
    assert dtypes["statistics"] == {"mean": "float32", "variance": "float32"}
    xs = (1.0 + 0.5 * sequence(64, 1024, D)).astype(np.float32)
    want = oracles.batch_norm({"scale": 1.0, "shift": 0.0}, xs)
    run = jax.jit(lambda params, xs: model.apply(params, xs, key=KEY)[1])
    assert_close(run(params, xs), want, 1e-5)
    rounded = run(params, jnp.asarray(xs, jnp.bfloat16))
    assert rounded.dtype == jnp.bfloat16
    assert_close(rounded, want, 1e-2)


@pytest.mark.parametrize("key", [None, KEY], ids=["evaluation", "training"])
def test_all_gradients_agree_and_the_statistics_are_not_varied(key):
    """Differences along them would find a slope in evaluation, where they have no gradient."""
    model = jaxrnn.chain(jaxrnn.dense(D, D, bias=False), jaxrnn.batch_norm(D), jaxrnn.stack([jaxrnn.gru(D, D)]))
    report = jaxrnn.check_gradients(
        model, drawn(model, dtype=np.float32), sequence(T, 2, D).astype(np.float32), key=key
    )
    assert report.ok, report
    assert {row.parameter for row in report.rows} >= {"params/1/scale", "params/1/shift", "xs"}
    assert not any("statistics" in row.parameter for row in report.rows)
