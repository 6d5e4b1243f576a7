"""The best parameters, and when to stop looking for better ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.setup import assert_same, data_set, fit


def test_the_best_parameters_are_those_of_the_lowest_validation_loss():
    """Validation targets are those of another task, so the loss falls first and rises then."""
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    result = fit(steps=40, block=2, validation=other)
    losses = result.history.validation["loss"]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert result.best_step == result.history.validation_steps[best]
    assert_same(result.params, fit(steps=result.best_step, block=2).params)
    assert np.abs(result.params["1"]["w"] - result.state.params["1"]["w"]).max() > 1e-3


def test_without_patience_the_run_goes_on_and_with_it_it_stops_after_that_many_worse_validations():
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    whole = fit(steps=40, block=2, validation=other)
    losses = whole.history.validation["loss"]
    patience = 3
    behind = [i - int(np.argmin(losses[: i + 1])) for i in range(len(losses))]
    stop = behind.index(patience)
    stopped = fit(steps=40, block=2, validation=other, patience=patience)
    assert whole.history.stopped == "steps"
    assert stopped.history.stopped == "patience"
    assert stopped.history.steps == 2 * (stop + 1) < 40
    assert_same(stopped.history.validation["loss"], losses[: stop + 1])
    assert stopped.best_step == 2 * (int(np.argmin(losses[: stop + 1])) + 1)


def test_lengths_that_only_the_validation_has_are_an_error():
    data, held_out = data_set(), data_set(1)
    held_out["lengths"] = np.full(held_out["xs"].shape[1], 2)
    with pytest.raises(ValueError, match=r"^data: expected the entry 'lengths' as in validation, got a dict with"):
        fit(data, validation=held_out, steps=4)


def test_numbers_that_are_not_finite_in_the_validation_are_named_whatever_ranks():
    held_out = data_set(1)
    held_out["xs"] = held_out["xs"].copy()
    held_out["xs"][1, 2] = np.nan

    def always(ys, batch):
        return jnp.zeros(())

    with pytest.warns(UserWarning, match=r"^fit: a validation was not finite; validation\['xs'\] has a number that is"):
        fit(steps=4, validation=held_out, metrics={"always": always}, monitor="always", mode="min")
