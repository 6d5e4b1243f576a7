"""Shapes that can mean two things, and numbers at the ends of their range."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.training.setup import fit

mse = jaxrnn.losses.mean_squared_error
at_last = functools.partial(mse, at="last")
rng = np.random.default_rng(0)


def test_a_batch_is_not_taken_for_time():
    """Three rows of three outputs: targets [3] are no row of them."""
    ys, targets = np.arange(9.0, dtype="f").reshape(3, 3), np.array([1.0, 2.0, 3.0], "f")
    with pytest.raises(ValueError, match=r'^batch\["targets"\]: expected shape \(3, 3\), one a row'):
        at_last(ys, {"targets": targets})
    with pytest.raises(ValueError, match=r'^batch\["targets"\]: expected shape \(3, 3\), one a row'):
        at_last(ys, {"targets": targets, "xs": np.zeros((5, 3, 2), "f")})
    assert float(at_last(ys, {"targets": ys})) == 0.0
    one_row = {"targets": ys[-1], "xs": np.zeros((3, 2), "f")}
    assert float(at_last(ys, one_row)) == 0.0  # steps of one row, whose last one counts


@pytest.mark.parametrize("B", [1, 3, 8])
def test_targets_without_a_feature_axis_are_fine_where_there_is_one_output(B):
    ys, targets = rng.normal(size=(4, B, 1)).astype("f"), rng.normal(size=(4, B)).astype("f")
    want = np.mean((ys[..., 0] - targets) ** 2)
    assert float(mse(ys, {"targets": targets})) == pytest.approx(want, rel=1e-6)
    assert float(mse(ys, {"targets": targets[..., None]})) == pytest.approx(want, rel=1e-6)
    last = np.mean((ys[-1, :, 0] - targets[-1]) ** 2)
    for outputs in (ys, ys[-1]):
        for given in (targets[-1], targets[-1][:, None]):
            assert float(at_last(outputs, {"targets": given})) == pytest.approx(last, rel=1e-6)
    q = functools.partial(jaxrnn.losses.quantile_loss, quantiles=[0.5])
    assert float(q(ys, {"targets": targets})) == pytest.approx(np.abs(ys[..., 0] - targets).mean() / 2, rel=1e-6)


def test_a_message_names_a_shape_that_works():
    for shape in ((8, 1), (8, 3)):
        ys = np.zeros(shape, "f")
        with pytest.raises(ValueError, match=rf"expected shape \(8, {shape[1]}\), one a row") as caught:
            at_last(ys, {"targets": np.zeros(5, "f")})
        expected = eval(str(caught.value).partition("expected shape ")[2].partition(", one a")[0])
        assert float(at_last(ys, {"targets": np.zeros(expected, "f")})) == 0.0


def test_fit_on_as_many_rows_as_outputs():
    model = jaxrnn.chain(jaxrnn.gru(2, 4), jaxrnn.last(), jaxrnn.dense(4, 3))
    data = {"xs": np.zeros((5, 3, 2), "f"), "targets": np.zeros(3, "f")}
    with pytest.raises(ValueError, match=r'^batch\["targets"\]: expected shape \(3, 3\), one a row'):
        fit(data, model=model, loss=at_last, steps=1, batch_size=3)


def test_smoothing_that_is_traced_and_zero_takes_no_zero_times_infinity():
    logits, batch = jnp.array([[[0.0, 1.0, -jnp.inf]]]), {"targets": np.array([[1]])}
    want = -np.log(np.e / (1 + np.e))

    def loss(ys, a):
        return jaxrnn.losses.cross_entropy(ys, batch, label_smoothing=a)

    value, grads = jax.jit(jax.value_and_grad(loss))(logits, 0.0)
    assert float(value) == pytest.approx(want, rel=1e-6)
    assert np.isfinite(grads).all()
    assert np.isinf(jax.jit(loss)(logits, 0.1))
    finite = jnp.array([[[0.0, 1.0, -2.0]]])
    slope = (loss(finite, 1e-3) - loss(finite, 0.0)) / 1e-3
    assert float(jax.grad(loss, argnums=1)(finite, 0.0)) == pytest.approx(float(slope), rel=1e-2)


def test_sampling_at_a_traced_temperature_of_zero_is_greedy():
    model = jaxrnn.chain(jaxrnn.embed(9, 4), jaxrnn.gru(4, 8), jaxrnn.dense(8, 9))
    params, prompt = model.init(jax.random.key(0)), np.array([[1, 2, 3]])
    _, greedy = jaxrnn.decoding.generate(model, params, prompt, 6)
    for top_k in (None, 3):
        run = jax.jit(lambda t, k=top_k: jaxrnn.decoding.generate(
            model, params, prompt, 6, key=jax.random.key(1), temperature=t, top_k=k)[1])  # fmt: skip
        np.testing.assert_array_equal(run(0.0), greedy)
        assert (run(2.0) != greedy).any()


def test_class_weights_weigh_the_mean():
    """As PyTorch does: sum of w[target] * loss over sum of w[target]."""
    ys, targets, weights = rng.normal(size=(6, 4, 3)).astype("f"), rng.integers(0, 3, (6, 4)), np.array([1.0, 0.0, 5.0])
    mask = rng.random((6, 4)) < 0.7
    nll = -np.take_along_axis(np.asarray(jax.nn.log_softmax(ys)), targets[..., None], -1)[..., 0]
    w = weights[targets]
    loss = functools.partial(jaxrnn.losses.cross_entropy, class_weights=weights)
    assert float(loss(ys, {"targets": targets})) == pytest.approx((w * nll).sum() / w.sum(), rel=1e-5)
    w = w * mask
    assert float(loss(ys, {"targets": targets, "mask": mask})) == pytest.approx((w * nll).sum() / w.sum(), rel=1e-5)
    with pytest.raises(ValueError, match=r"^class_weights: expected .* shape \(3,\)"):
        jaxrnn.losses.cross_entropy(ys, {"targets": targets}, class_weights=[1.0, 2.0])


@pytest.mark.parametrize("average", ["macro", "micro", 0, 2])
def test_f1_is_that_of_scikit_learn(average):
    metrics = pytest.importorskip("sklearn.metrics")
    ys, targets = rng.normal(size=(9, 4, 4)).astype("f"), rng.integers(0, 3, (9, 4))
    mask = rng.random((9, 4)) < 0.7
    ys[0, 0] = np.nan
    mask[0, 0], chosen = True, np.where(np.isfinite(ys).all(-1), ys.argmax(-1), 9)
    got = jax.jit(functools.partial(jaxrnn.losses.f1, average=average))(ys, {"targets": targets, "mask": mask})
    a, b = targets[mask], chosen[mask]
    if isinstance(average, int):
        want = metrics.f1_score(a, b, labels=[average], average="macro", zero_division=0)
    else:
        seen = [c for c in range(4) if c in a or c in b]
        want = metrics.f1_score(a, b, labels=seen, average=average, zero_division=0)
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_an_entry_of_a_stream_with_fewer_steps_is_refused():
    data = {"xs": np.zeros((8, 2, 2), "f"), "targets": np.zeros((8, 2, 2), "f"), "extra": np.zeros((5, 2), "f")}
    with pytest.raises(ValueError, match=r"^data\['extra'\]: expected the T = 8 steps of xs in streams"):
        fit(data, steps=1, stream=2, batch_size=None, optimizer=optax.sgd(0.1))


def test_complex_targets_are_refused():
    with pytest.raises(TypeError, match=r'^batch\["targets"\]: expected real numbers, got complex64'):
        mse(np.zeros((2, 1, 1), "f"), {"targets": np.zeros((2, 1, 1), np.complex64)})


def test_classes_of_rows_without_a_time_axis():
    """Outside of `fit`, too: nothing but the targets says that there is none."""
    ys, targets = rng.normal(size=(5, 4)).astype("f"), rng.integers(0, 4, 5)
    want = -np.asarray(jax.nn.log_softmax(ys))[np.arange(5), targets].mean()
    got = jaxrnn.losses.cross_entropy(ys, {"targets": targets}, at="last")
    assert float(got) == pytest.approx(want, rel=1e-6)
    assert float(jaxrnn.losses.accuracy(ys, {"targets": ys.argmax(-1)}, at="last")) == 1.0
    several = rng.normal(size=(7, 5, 4)).astype("f")
    got = jaxrnn.losses.cross_entropy(several, {"targets": targets}, at="last")
    want = -np.asarray(jax.nn.log_softmax(several[-1]))[np.arange(5), targets].mean()
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_as_many_steps_rows_and_outputs():
    ys, targets = rng.normal(size=(3, 3, 3)).astype("f"), rng.normal(size=(3, 3)).astype("f")
    assert float(at_last(ys, {"targets": targets})) == pytest.approx(np.mean((ys[-1] - targets) ** 2), rel=1e-6)


def test_a_class_of_weight_zero_counts_nothing_also_where_its_loss_is_infinite():
    ys = jnp.array([[[0.0, -jnp.inf]], [[0.0, 0.0]]])
    batch = {"targets": np.array([[1], [0]])}
    loss = functools.partial(jaxrnn.losses.cross_entropy, batch=batch, class_weights=[1.0, 0.0])
    assert float(loss(ys)) == pytest.approx(np.log(2), rel=1e-6)
    assert np.isfinite(jax.grad(lambda ys: loss(ys))(ys)).all()


def test_f1_counts_beyond_the_integers_of_float32():
    n, right = 2**24 + 2**23, 2**24 + 2**22
    targets = jnp.where(jnp.arange(n) < right, 0, 1)[:, None]
    ys = jnp.broadcast_to(jnp.array([1.0, 0.0]), (n, 1, 2))
    got = jaxrnn.losses.f1(ys, {"targets": targets}, average=0)
    assert float(got) == pytest.approx(2 * right / (n + right), rel=1e-6)


@pytest.mark.parametrize("unknown", [-1, 2])
def test_f1_of_a_target_that_is_no_class_is_nan(unknown):
    of = lambda target: jax.jit(jaxrnn.losses.f1)(jnp.eye(2)[:, None], {"targets": jnp.array([[0], [target]])})  # noqa: E731
    assert np.isnan(of(unknown))
    assert of(1) == 1.0


@pytest.mark.parametrize("at", ["steps", "last"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_target_that_is_no_class_is_no_silent_loss_with_weights_either(at, label_smoothing):
    ys = rng.normal(size=(2, 4, 3)).astype("f")
    for bad in (-1, 3, -100):
        targets = jnp.array([0, 1, 2, bad])
        batch = {"targets": targets if at == "last" else jnp.stack([targets] * 2)}
        loss = functools.partial(jaxrnn.losses.cross_entropy, at=at, class_weights=[1.0, 2.0, 0.0])
        assert np.isnan(loss(ys, batch, label_smoothing=label_smoothing))
