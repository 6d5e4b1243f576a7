"""A run against one step after the other: the same numbers, however it is cut into blocks."""

import copy
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import (
    KEY,
    MODEL,
    NOISY,
    N,
    T,
    assert_same,
    batch_of,
    data_set,
    fit,
    plain_loop,
    rows_of_run,
)


@pytest.mark.parametrize("model", [MODEL, NOISY], ids=["model", "dropout"])
def test_a_run_equals_a_plain_loop_over_its_rows(model):
    data, steps = data_set(), 7
    result = fit(data, model=model, steps=steps, block=3)
    states, losses = plain_loop([batch_of(data, rows) for rows in rows_of_run(steps, 4, model=model)], model=model)
    assert_close(result.params, states[-1].params, 1e-6)
    assert_close(result.history.train["loss"], losses, 1e-6)
    assert_close(jax.tree.leaves(result.state.opt_state), jax.tree.leaves(states[-1].opt_state), 1e-6)
    assert int(result.state.step) == result.best_step == result.history.steps == steps
    assert result.history.stopped == "steps"


def test_the_loss_is_compiled_once_and_the_length_of_the_blocks_changes_no_bit():
    """7 steps in blocks of 1, 3 (the last one short), 7 and 100, which is the program of 7 again."""
    results, traces, calls = [], [], itertools.count()  # no list: a loss that reads another value is another loss

    def loss(ys, batch):
        next(calls)
        return jaxrnn.losses.mean_squared_error(ys, batch)

    for block in (1, 3, 7, 100):
        before = copy.copy(calls)
        results.append(fit(loss=loss, steps=7, block=block))
        traces.append(next(copy.copy(calls)) - next(before))
    assert traces == [2, 2, 2, 1]  # once to check the data's values, once to compile
    for result in results[1:]:
        assert_same(result.state, results[0].state)
        assert_same(result.history.train, results[0].history.train)


def test_a_run_without_jit_and_one_that_looks_for_infinities():
    """The latter with validation, whose best score begins at infinity."""
    want = fit(steps=3)
    with jax.disable_jit():
        assert_close(fit(steps=3).params, want.params, 1e-5)
    with jax.debug_infs(True):
        assert_same(fit(steps=3, validation=data_set()).state.params, want.params)


def test_the_key_decides_the_run():
    a, b = (fit(steps=4, model=NOISY, key=jax.random.key(1)) for _ in range(2))
    assert_same(a.state, b.state)
    assert_same(a.history.train, b.history.train)
    c = fit(steps=4, model=NOISY, key=jax.random.key(2))
    assert (a.history.train["loss"] != c.history.train["loss"]).all()


def test_training_learns_and_given_parameters_are_where_it_starts():
    result = fit(steps=200)
    losses = result.history.train["loss"]
    assert losses[-10:].mean() < 0.2 * losses[:10].mean()
    before = jax.tree.map(np.array, result.params)
    data = data_set()
    again = fit(data, steps=1, batch_size=N, params=result.params)
    want = jaxrnn.evaluate(MODEL, before, jaxrnn.losses.mean_squared_error, data)["loss"]
    assert_close(again.history.train["loss"][0], want, 1e-5)
    assert_same(result.params, before)  # still there after the run


def test_history_has_a_value_for_each_step_and_each_validation():
    def largest(ys, batch):
        return jnp.abs(ys - batch["targets"]).max()

    result = fit(steps=7, block=3, validation=data_set(1), metrics={"largest": largest})
    history = result.history
    assert set(history.train) == {"loss", "largest", "gradient_norm"}
    assert {name: x.shape for name, x in history.train.items()} == dict.fromkeys(history.train, (7,))
    assert set(history.validation) == {"loss", "largest"}
    np.testing.assert_array_equal(history.validation_steps, [3, 6, 7])
    assert all(x.shape == (3,) for x in history.validation.values())
    assert all(np.isfinite(x).all() for x in (*history.train.values(), *history.validation.values()))
    assert history.compile_seconds > 0.0
    assert history.steps_per_second == 7 / history.run_seconds > 0.0
    assert history.first_bad_step is None
    want = jaxrnn.evaluate(
        MODEL, result.state.params, jaxrnn.losses.mean_squared_error, data_set(1), metrics={"largest": largest}
    )
    assert_close({name: x[-1] for name, x in history.validation.items()}, want, 1e-6)


def test_dropout_is_drawn_anew_at_each_step():
    """The same batch and, at a learning rate of zero, the same parameters: only the masks differ."""
    result = fit(model=NOISY, optimizer=optax.sgd(0.0), steps=6, block=3, batch_size=N)
    assert len(set(result.history.train["loss"])) == 6
    silent = fit(optimizer=optax.sgd(0.0), steps=6, block=3, batch_size=N)
    assert np.ptp(silent.history.train["loss"]) < 1e-6


def test_lengths_and_resets_of_the_data_reach_the_model():
    rng = np.random.default_rng(0)
    masks = {"lengths": rng.integers(1, T + 1, N).astype(np.int32), "resets": rng.random((T, N)) < 0.5}
    data = data_set() | masks
    params = MODEL.init(KEY)
    run = {"optimizer": optax.sgd(0.0), "steps": 1, "batch_size": N, "params": params}
    want = jaxrnn.losses.mean_squared_error(MODEL.apply(params, data["xs"], **masks)[1], data)
    history = fit(data, validation=data, **run).history
    assert_close(history.train["loss"][0], want, 1e-5)
    assert_close(history.validation["loss"][0], want, 1e-5)
    without = jaxrnn.losses.mean_squared_error(MODEL.apply(params, data["xs"])[1], data_set())
    assert abs(float(without - want)) > 1e-3


def test_the_gradient_of_a_run_reaches_the_layers():
    with pytest.raises(ZeroDivisionError):
        fit(steps=1, gradient=Failing())


class Failing(jaxrnn.Gradient):
    def run(self, cell, params, carry, inputs):
        raise ZeroDivisionError


def test_the_bar_shows_steps_loss_and_validation_on_stderr(capsys):
    def largest(ys, batch):
        return jnp.abs(ys - batch["targets"]).max()

    result = fit(steps=6, block=3, validation=data_set(1), metrics={"largest": largest}, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    assert "6/6" in last
    loss = float(np.mean(result.history.train["loss"][3:]))
    assert f" loss={loss:.4g}," in last
    assert "largest=" in last
    assert f"validation loss={result.history.validation['loss'][-1]:.4g}" in last
    fit(steps=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_no_warning_comes_from_a_healthy_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(steps=2, validation=data_set())
