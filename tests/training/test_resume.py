"""A run in pieces is the run in one, bit by bit."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import jaxrnn as jr
from tests.training.setup import KEY, MODEL, NOISY, H, O, assert_same, batch_of, data_set, fit

STEPS = 20


def batches(count=STEPS):
    data, rng = data_set(), np.random.default_rng(5)
    return (batch_of(data, rng.permutation(10)[:4]) for _ in range(count))


DATA = {"dict": data_set, "iterator": batches}


def assert_same_run(got, want):
    assert_same(got.params, want.params)
    assert_same(got.state, want.state)
    assert_same(got.history.train, want.history.train)
    assert_same(got.history.validation, want.history.validation)
    np.testing.assert_array_equal(got.history.validation_steps, want.history.validation_steps)
    assert got.best_step == want.best_step
    assert got.history.stopped == want.history.stopped


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


KILLED = """
import importlib, sys
from tests.training.setup import fit
importlib.import_module("jaxrnn.training.fit").SAVE_SECONDS = 0.0
fit(steps=int(sys.argv[2]), block=2, run_dir=sys.argv[1])
"""


def saved_steps(path):
    return [int(entry.name) for entry in (path / "checkpoints").glob("*") if entry.name.isdigit()]


def test_a_killed_process_leaves_a_run_that_goes_on_as_if_nothing_had_been(tmp_path):
    steps = 600
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as here, so that the bits are the same
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(steps)]
    root = pathlib.Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 100.0
        while process.poll() is None and max(saved_steps(tmp_path), default=0) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert 6 <= max(saved_steps(tmp_path)) < steps
    assert_same_run(fit(steps=steps, run_dir=tmp_path), fit(steps=steps))


@pytest.fixture
def compiled():
    """The names of what a test compiled."""
    names = []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_finished_run_trains_and_compiles_nothing_more(tmp_path, compiled):
    calls = []

    def loss(ys, batch):
        calls.append(1)
        return jr.mean_squared_error(ys, batch)

    done = fit(loss=loss, steps=4, run_dir=tmp_path)
    assert calls == [1]
    assert "jit(block)" in compiled
    compiled.clear()
    again = fit(loss=loss, steps=4, run_dir=tmp_path)
    assert_same_run(again, done)
    fewer = fit(loss=loss, steps=2, run_dir=tmp_path)
    assert_same_run(fewer, done)
    assert calls == [1]
    assert "jit(block)" not in compiled


def test_a_run_that_patience_ended_does_not_go_on(tmp_path):
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    options = {"steps": 60, "block": 2, "validation": other, "patience": 3, "run_dir": tmp_path}
    ended = fit(**options)
    assert ended.history.stopped == "patience"
    assert_same_run(fit(**options), ended)


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
    short = fit(batches(7), steps=STEPS, block=3, run_dir=tmp_path)
    assert short.history.stopped == "data"
    assert short.history.steps == 7
    assert_same_run(fit(batches(), steps=STEPS, block=3, run_dir=tmp_path), fit(batches(), steps=STEPS, block=3))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"key": jax.random.key(12)}, "key"),
        ({"batch_size": 5}, "batch_size = 5"),
        ({"model": jr.chain(jr.stack([jr.elman(2, H + 1)]), jr.dense(H + 1, O))}, "params"),
        ({"validation": data_set()}, "validation"),
    ],
    ids=["key", "batch_size", "model", "validation"],
)
def test_the_directory_of_another_run_is_an_error_that_says_what_differs(options, named, tmp_path):
    fit(steps=1, run_dir=tmp_path)
    with pytest.raises(ValueError, match=f"run_dir: expected .*{named}.*, got .*"):
        fit(steps=2, run_dir=tmp_path, **options)
    assert fit(steps=2, run_dir=tmp_path).history.steps == 2  # the run in it is unharmed


def test_older_saves_are_removed(tmp_path):
    for steps in (2, 4, 6):
        fit(steps=steps, run_dir=tmp_path, model=MODEL, key=KEY)
    assert saved_steps(tmp_path) == [6]
