"""The picture of a run."""

import io
import pickle

import matplotlib.image
import numpy as np
import pytest

from jaxrnn.training.history import History, in_order


def history(steps=60):
    rng = np.random.default_rng(0)
    train = {
        name: np.exp(-np.arange(steps) / 20) + 0.1 * rng.random(steps) for name in ("gradient_norm", "loss", "mae")
    }
    return History(train, {"loss": np.array([0.9, 0.5, 0.3])}, np.array([20, 40, 60]))


def test_a_picture_has_one_panel_for_each_measurement_with_its_curves(tmp_path):
    path = tmp_path / "curves.png"
    figure = history().plot(str(path))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "mae", "gradient norm, before clipping"]
    loss, mae, norm = figure.axes
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "log"]
    x, y = loss.lines[2].get_data()
    np.testing.assert_array_equal(x, [20, 40, 60])
    np.testing.assert_array_equal(y, [0.9, 0.5, 0.3])
    assert [len(axes.lines) for axes in (loss, mae, norm)] == [4, 3, 3]
    assert all(axes.lines[-1].get_xdata()[0] == 60 for axes in figure.axes)  # the lowest validation loss
    raw = history().train["mae"]
    np.testing.assert_array_equal(mae.lines[0].get_data(), (np.arange(1, 61), raw))
    pixels = matplotlib.image.imread(path)
    height, width, _ = pixels.shape
    assert width > 2 * height
    for panel in np.array_split(pixels[..., :3], 3, axis=1):  # in each of them something coloured was drawn
        assert (panel.max(-1) - panel.min(-1) > 0.3).sum() > 100


@pytest.mark.parametrize(("least", "scale"), [(0.1, "log"), (0.0, "log"), (-0.1, "linear")])
def test_a_loss_below_zero_stays_in_the_picture(least, scale):
    values = np.array([2.0, 1.0, np.nan, 0.5])
    for train, validation in ((np.append(values, least), [1.0]), (np.append(values, 1.0), [least])):
        record = History({"loss": train}, {"loss": np.array(validation)}, np.array([5]))
        assert record.plot().axes[0].get_yscale() == scale
    assert History({"loss": np.zeros(3)}).plot().axes[0].get_yscale() == "linear"


def test_the_loss_comes_first_and_the_norm_of_the_gradient_last():
    assert in_order({"gradient_norm", "mae", "loss", "zeta", "accuracy"}) == [
        "loss", "accuracy", "mae", "zeta", "gradient_norm",
    ]  # fmt: skip


def test_looks_at_the_gradient_become_darker_up_to_the_last_one():
    norms = {"norm_by_lag/0": np.ones((3, 4)), "gradient_norm/w": np.ones(3), "saturated/0": np.zeros(3)}
    record = History(diagnostics=norms, diagnostic_steps=np.array([2, 4, 6]))
    looks = record.plot_diagnostics().axes[0].lines
    assert [line.get_label() for line in looks][::2] == ["step 2", "step 6"]
    np.testing.assert_allclose([line.get_alpha() for line in looks], 0.15 + 0.85 * np.arange(1, 4) / 3)


def test_a_notebook_gets_a_picture():
    """Without the inline backend of matplotlib, and from a copy."""
    copied = pickle.loads(pickle.dumps(history().plot()))
    assert matplotlib.image.imread(io.BytesIO(copied._repr_png_())).shape[-1] == 4


def test_the_smooth_curve_is_a_running_mean_over_a_fiftieth():
    values = history(200).train["mae"]
    record = History({"loss": values, "gradient_norm": values})
    _, smooth = record.plot().axes[0].lines[1].get_data()
    want = [values[max(0, i - 3) : i + 1].mean() for i in range(200)]
    np.testing.assert_allclose(smooth, want, rtol=1e-10)


def test_arrays_grow_in_place_and_stay_what_they_were():
    record, rng = History(), np.random.default_rng(0)
    blocks, seen = [rng.random((7, 3)).astype("f") for _ in range(40)], []
    for block in blocks:
        record.extend({"loss": block[:, 0], "mae": block[:, 1]}, {"loss": block[0, 2]})
        seen.append((record.train["loss"], record.validation["loss"]))
    whole = np.concatenate(blocks)
    assert record.train["loss"].dtype == np.float32
    assert len({x.base.ctypes.data for x, _ in seen}) < 6
    for i, (losses, validated) in enumerate(seen):
        np.testing.assert_array_equal(losses, whole[: 7 * (i + 1), 0])
        np.testing.assert_array_equal(validated, [block[0, 2] for block in blocks[: i + 1]])
    np.testing.assert_array_equal(record.validation_steps, 7 * np.arange(1, 41))


def test_a_validation_that_is_not_finite_does_not_count():
    record = History({"loss": np.zeros(50)}, {"loss": np.array([3.0, np.nan, 1.0, np.inf, 2.0])}, 10 * np.arange(1, 6))
    assert record.since_best("loss", 30) == 1
    assert record.since_best("loss", 0) == 3


def test_nothing_is_nothing():
    assert History().steps == 0
    assert History().steps_per_second == 0.0
    assert History().first_bad_step is None
