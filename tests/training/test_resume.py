"""A run in pieces is the run in one, bit by bit."""

import numpy as np
import pytest

from tests.training.setup import NOISY, assert_same_run, batch_of, data_set, fit

STEPS = 20


def batches(count=STEPS):
    data, rng = data_set(), np.random.default_rng(5)
    return (batch_of(data, rng.permutation(10)[:4]) for _ in range(count))


DATA = {"dict": data_set, "iterator": batches}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_7_of_20_steps_and_then_all_equal_an_uninterrupted_run(data, tmp_path):
    """With dropout, and with validation: after 7, 14 and 20 steps."""
    options = {"model": NOISY, "validation": data_set(1), "block": 7}
    first = fit(data(), steps=7, run_dir=tmp_path / "run", **options)
    assert first.history.steps == 7
    resumed = fit(data(), steps=STEPS, run_dir=tmp_path / "run", **options)
    whole = fit(data(), steps=STEPS, **options)
    assert_same_run(resumed, whole)
    np.testing.assert_array_equal(resumed.history.validation_steps, [7, 14, 20])
    assert resumed.history.run_seconds > first.history.run_seconds


def test_an_end_in_the_middle_of_a_block_and_of_an_epoch_is_no_obstacle(tmp_path):
    """Blocks of 3, epochs of 2 steps; the second call takes another length of blocks."""
    fit(steps=7, block=3, run_dir=tmp_path)
    resumed = fit(steps=STEPS, block=4, run_dir=str(tmp_path))
    assert_same_run(resumed, fit(steps=STEPS, block=5))


def test_the_best_parameters_survive_from_before_the_interruption(tmp_path):
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    options = {"validation": other, "block": 2}
    whole = fit(steps=40, **options)
    assert 0 < whole.best_step < 30
    fit(steps=30, run_dir=tmp_path, **options)
    assert_same_run(fit(steps=40, run_dir=tmp_path, **options), whole)


def test_a_run_that_patience_ended_does_not_go_on(tmp_path):
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    options = {"steps": 60, "block": 2, "validation": other, "patience": 3, "run_dir": tmp_path}
    ended = fit(**options)
    assert ended.history.stopped == "patience"
    with pytest.warns(UserWarning, match=f"that patience=3 has ended after step {ended.history.steps}, so no step"):
        assert_same_run(fit(**options), ended)
    assert fit(**options | {"patience": None}).history.steps == 60


def test_a_run_that_diverged_does_not_go_on(tmp_path):
    data = data_set()
    data["targets"][2, 5] = np.nan
    results = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="not finite"):
            results.append(fit(data, steps=20, block=2, run_dir=tmp_path))
    first, second = results
    assert first.history.stopped == second.history.stopped == "diverged"
    assert second.history.first_bad_step == first.history.first_bad_step
    assert second.history.steps == first.history.steps < 20


def test_a_run_whose_iterator_ended_goes_on_with_a_longer_one(tmp_path):
    with pytest.warns(UserWarning, match="data ended after 7 of"):
        short = fit(batches(7), steps=STEPS, block=3, run_dir=tmp_path)
    assert short.history.stopped == "data"
    assert short.history.steps == 7
    assert_same_run(fit(batches(), steps=STEPS, block=3, run_dir=tmp_path), fit(batches(), steps=STEPS, block=3))
