"""What a directory accepts, and what it keeps."""

import itertools

import jax
import optax
import pytest

import jaxrnn
from jaxrnn.training import lock
from tests.training.setup import D, H, O, assert_same_run, data_set, fit, saved_steps

OTHERS = {
    "key": ({"key": jax.random.key(12)}, "key"),
    "batch_size": ({"batch_size": 5}, "batch_size = 5"),
    "model": ({"model": jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H + 1)]), jaxrnn.dense(H + 1, O))}, "model"),
    "validation": ({"validation": data_set()}, "validation"),
    "optimizer": ({"optimizer": optax.sgd(0.1)}, "optimizer"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The directory of a run of one step."""
    path = tmp_path_factory.mktemp("run")
    with jax.numpy_dtype_promotion("standard"):
        fit(steps=1, run_dir=path)
    return path


@pytest.mark.parametrize(("options", "named"), OTHERS.values(), ids=OTHERS)
def test_the_directory_of_another_run_is_an_error_that_says_what_differs(options, named, saved):
    with pytest.raises(ValueError, match=rf"^run_dir: expected .*{named}.*, got .*"):
        fit(steps=2, run_dir=saved, **options)


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
    calls = itertools.count()

    def loss(ys, batch):
        next(calls)
        return jaxrnn.losses.mean_squared_error(ys, batch)

    done = fit(loss=loss, steps=4, run_dir=tmp_path)
    assert next(calls) == 2  # to check the data, and to compile
    assert "jit(block)" in compiled
    compiled.clear()
    again = fit(loss=loss, steps=4, run_dir=tmp_path)
    assert_same_run(again, done)
    with pytest.raises(ValueError, match=r"^steps: expected at least the 4 .*, got 2"):
        fit(loss=loss, steps=2, run_dir=tmp_path)
    assert next(calls) == 5  # to check the data, twice
    assert "jit(block)" not in compiled


@pytest.mark.always
def test_each_call_goes_on_and_keeps_three_saves(saved):
    """It comes last: other runs, which were refused above, have left the directory as it was."""
    first = saved_steps(saved)
    for steps in (2, 4, 6, 8):
        result = fit(steps=steps, run_dir=saved)
        assert result.history.steps == steps
        assert sorted(saved_steps(saved)) == sorted({*first, *range(2, steps + 1, 2)})[-3:]
    assert_same_run(result, fit(steps=8))


def test_a_folder_that_can_not_be_locked_is_used_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)  # not POSIX
    with pytest.warns(UserWarning, match="can't be locked .this system has no flock.; nothing else should use it"):
        fit(steps=2, run_dir=tmp_path)
