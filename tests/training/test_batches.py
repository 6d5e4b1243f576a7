"""Batches of an iterable, put together into blocks, and runs over batches of several shapes."""

import numpy as np
import pytest

import jaxrnn
from jaxrnn.training import batches
from jaxrnn.training.batches import Batches
from tests.helpers import assert_close
from tests.training.setup import MODEL, NOISY, assert_same_run, batch_of, data_set, fit, plain_loop

SHAPES = (4, 4, 4, 2, 2, 4, 3, 3, 3, 3, 3, 2, 4)
"""Steps of each batch."""


def several(count=None):
    data, rng = data_set(), np.random.default_rng(3)
    for T in SHAPES[:count]:
        yield {name: x[:T] for name, x in batch_of(data, rng.permutation(10)[:3]).items()}


def marked(*steps):
    return [{"xs": np.full((T, 3, 1), i, np.float32), "label": np.full(3, i)} for i, T in enumerate(steps)]


def read(feed, steps):
    data, count, ended = feed.read(steps)
    return data["label"][:, 0].tolist(), count, ended


def test_batches_are_stacked_in_their_order_and_the_iterator_moves_on():
    iterator = iter(marked(2, 2, 2, 2, 2))
    feed = Batches(iterator, None, 3, None, None)
    assert read(feed, 2) == ([0, 1, 1], 2, False)  # the last one is repeated
    assert read(feed, 3) == ([2, 3, 4], 3, False)
    assert next(iterator, None) is None
    assert feed.read(3) == ({}, 0, True)


def test_a_block_ends_with_the_run_of_a_shape_the_block_or_the_data():
    feed = Batches(marked(2, 2, 5, 5, 5, 5, 2), None, 3, None, None)
    assert read(feed, 9) == ([0, 1, 1], 2, False)
    assert read(feed, 9) == ([2, 3, 4], 3, False)
    assert read(feed, 9) == ([5, 5, 5], 1, False)
    assert read(feed, 9) == ([6, 6, 6], 1, True)


def test_skipping_passes_over_batches():
    feed = Batches(marked(2, 5, 5, 2), None, 3, None, None)
    feed.skip(2)
    assert read(feed, 9) == ([2, 2, 2], 1, False)
    feed.skip(1)
    assert feed.read(1) == ({}, 0, True)


@pytest.mark.parametrize("block", [3, 100])
def test_a_run_over_several_shapes_is_a_plain_loop(block):
    result = fit(several(), model=NOISY, steps=len(SHAPES), block=block)
    states, losses = plain_loop(several(), model=NOISY)
    assert_close(result.params, states[-1].params, 1e-6)
    assert_close(result.history.train["loss"], losses, 1e-6)


def test_each_shape_is_traced_once():
    traces = []

    def loss(ys, batch):
        traces.append(ys.shape)
        return jaxrnn.losses.mean_squared_error(ys, batch)

    fit(several(), loss=loss, steps=len(SHAPES), block=3)
    assert sorted(traces) == [(T, 3, 2) for T in (2, 3, 4)]


@pytest.mark.filterwarnings("ignore:fit. data ended after 13 of 50 steps")
def test_validation_comes_after_each_block_of_steps_whatever_the_shapes_and_at_the_end_of_the_data():
    result = fit(several(), steps=50, block=5, validation=data_set(1))
    assert result.history.stopped == "data"
    np.testing.assert_array_equal(result.history.validation_steps, [5, 10, 13])
    at_5 = fit(several(5), steps=5)
    want = jaxrnn.evaluate(MODEL, at_5.params, jaxrnn.losses.mean_squared_error, data_set(1))["loss"]
    assert_close(result.history.validation["loss"][0], want, 1e-5)


@pytest.mark.filterwarnings("ignore:fit. data ended after 4 of 50 steps")
def test_the_end_of_the_data_is_seen_where_it_is_that_of_a_run():
    """4 batches in two blocks of 2: there is a validation after the second one."""

    class Runs(list):
        run = 2

    data = Runs([*several(2), *several(2)])
    assert fit(data, steps=50, validation=data_set(1)).history.validation_steps.tolist() == [4]


def test_a_run_in_pieces_is_the_run_in_one(tmp_path):
    """It ends first in the middle of a run of one shape."""
    options = {"model": NOISY, "validation": data_set(1), "block": 4}
    fit(several(), steps=8, run_dir=tmp_path, **options)
    resumed = fit(several(), steps=12, run_dir=tmp_path, **options)
    assert_same_run(resumed, fit(several(), steps=12, **options))


def test_looks_at_shorter_batches_have_fewer_lags():
    """A look takes the first batch of the block that ends there: of 4 steps, of 2 after a change, of 4."""
    result = fit(several(), steps=6, diagnose_every=2)
    lags = result.history.diagnostics["norm_by_lag/0/0 Elman"]
    assert lags.shape == (3, 4)
    np.testing.assert_array_equal(np.isfinite(lags).sum(-1), [4, 2, 4])
    result.history.plot_diagnostics()


def test_too_many_shapes_are_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(batches, "MOST_SHAPES", 2)
    message = r"^data: expected batches of at most 2 different shapes.*got one more with xs float32\[3, 3, 2\]; jaxrnn"
    with pytest.raises(ValueError, match=message):
        fit(several(), steps=len(SHAPES))
    fit(several(6), steps=6)


def test_entries_and_dtypes_stay_what_they_are():
    data = list(several())
    data[4]["targets"] = data[4]["targets"].astype(np.int32)
    with pytest.raises(TypeError, match=r"^data: a batch\['targets'\]: expected float32.*, got int32\[2, 3, 2\]"):
        fit(data, steps=9)


def test_streams_keep_one_shape():
    streams = marked(2, 2, 3)
    feed = Batches(streams, None, 3, 2, None)
    assert feed.rows == 3
    with pytest.raises(ValueError, match=r"^data: a batch\['xs'\]: expected shape \(2, 3, 1\), got float32\[3, 3, 1\]"):
        feed.read(3)


def test_patience_counts_validations():
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    endless = [*several()] * 10
    options = {"block": 2, "validation": other, "patience": 3}
    result = fit(endless, steps=100, **options)
    assert result.history.stopped == "patience"
    losses = result.history.validation["loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert_same_run(fit(endless, steps=100, **options), result)
