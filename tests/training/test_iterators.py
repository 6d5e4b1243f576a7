"""Batches from an iterator."""

import numpy as np
import pytest

from tests.helpers import assert_close
from tests.training.setup import (
    assert_same,
    batch_of,
    data_set,
    fit,
    plain_loop,
)


def test_batches_of_an_iterator_are_read_in_their_order():
    data = data_set()
    batches = [batch_of(data, np.arange(i, i + 3)) for i in range(7)]
    result = fit(iter(batches), steps=7, block=3)
    states, losses = plain_loop(batches)
    assert_close(result.params, states[-1].params, 1e-6)
    assert_close(result.history.train["loss"], losses, 1e-6)
    assert result.history.stopped == "steps"


def test_a_run_ends_with_its_iterator():
    """Two blocks of 3 and one of 1: the last one takes no step that there is no batch for."""
    data = data_set()
    batches = [batch_of(data, np.arange(i, i + 3)) for i in range(7)]
    with pytest.warns(UserWarning, match="fit: data ended after 7 of 50 steps"):
        result = fit((batch for batch in batches), steps=50, block=3, validation=data)
    assert result.history.stopped == "data"
    assert result.history.steps == int(result.state.step) == 7
    np.testing.assert_array_equal(result.history.validation_steps, [3, 6, 7])
    assert_same(result.state.params, fit(iter(batches), steps=7, block=3).state.params)


def test_no_batch_is_taken_from_an_iterator_that_is_not_used():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield batch_of(data_set(), np.arange(3))

    fit(endless(), steps=7, block=3)
    assert len(taken) == 7
