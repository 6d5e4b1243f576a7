"""Loss and metrics over a whole data set against one plain call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import KEY, MODEL, NOISY, N, T, data_set


def per_row(ys, batch):
    return jnp.square(ys - batch["targets"]).sum((0, 2)).mean()


@pytest.mark.parametrize("batch_size", [1, 3, N, 1024])
def test_it_equals_one_call_over_all_rows(batch_size):
    data, params = data_set(), MODEL.init(KEY)
    ys = np.asarray(MODEL.apply(params, data["xs"])[1], np.float64)
    got = jaxrnn.evaluate(
        MODEL, params, jaxrnn.losses.mean_squared_error, data, metrics={"rows": per_row}, batch_size=batch_size
    )
    want = {"loss": np.mean((ys - data["targets"]) ** 2), "rows": ((ys - data["targets"]) ** 2).sum((0, 2)).mean()}
    assert set(got) == set(want)
    assert all(type(value) is float for value in got.values())
    assert_close(got, want, 1e-6)


def test_arrays_without_time_are_cut_along_their_own_rows():
    model = jaxrnn.chain(MODEL, jaxrnn.last())
    data, params = data_set(), model.init(KEY)
    labels, lengths = np.arange(N) % 2, 1 + np.arange(N) % T
    data = {"xs": data["xs"], "targets": labels, "lengths": lengths}
    ys = model.apply(params, data["xs"], lengths=lengths)[1]
    want = np.mean(np.argmax(np.asarray(ys), -1) == labels)

    def accuracy(ys, batch):
        return jaxrnn.losses.accuracy(ys, batch, at="last")

    assert jaxrnn.evaluate(model, params, accuracy, data, batch_size=3)["loss"] == pytest.approx(float(want), rel=1e-6)


def test_there_is_no_noise():
    data, params = data_set(), NOISY.init(KEY)
    ys = np.asarray(NOISY.apply(params, data["xs"])[1])
    got = jaxrnn.evaluate(NOISY, params, jaxrnn.losses.mean_squared_error, data)
    assert_close(got["loss"], np.mean((ys - data["targets"]) ** 2), 1e-6)


def test_lengths_and_resets_reach_the_model():
    data, params = data_set(), MODEL.init(KEY)
    rng = np.random.default_rng(0)
    masks = {"lengths": rng.integers(1, T + 1, N), "resets": rng.random((T, N)) < 0.5}
    ys = jax.jit(MODEL.apply)(params, data["xs"], **masks)[1]
    want = jaxrnn.losses.mean_squared_error(ys, data | masks)
    assert_close(jaxrnn.evaluate(MODEL, params, jaxrnn.losses.mean_squared_error, data | masks)["loss"], want, 1e-6)


def test_a_loss_that_is_not_finite_is_said_with_its_reason():
    data = data_set()
    data["xs"][2, 5] = np.inf
    said = r"evaluate: the loss is nan; data\['xs'\] has a number that is not finite in row 5 at step 2"
    loss = lambda ys, batch: jaxrnn.losses.mean_squared_error(ys / 0.0, batch)  # noqa: E731
    with pytest.warns(UserWarning, match=said):
        assert np.isnan(jaxrnn.evaluate(MODEL, MODEL.init(KEY), loss, data)["loss"])
