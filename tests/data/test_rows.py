"""Which axis holds the rows, and in which order they come."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data.rows import checked_data, rows_of, shuffled_rows, take


def axes(T, N, **shapes):
    data = {"xs": np.zeros((T, N, 2), np.float32)}
    for name, shape in shapes.items():
        data[name] = np.zeros(shape, np.int32 if name.endswith("lengths") else np.float32)
    return checked_data("data", data)[1]


def test_sequences_have_their_rows_on_axis_1_and_the_rest_on_axis_0():
    got = axes(5, 7, a=(5, 7), b=(5, 7, 3), c=(7,), d=(7, 3), e=(7, 5), f=(3, 7))
    assert got == {"xs": 1, "a": 1, "b": 1, "c": 0, "d": 0, "e": 0, "f": 1}


def test_a_table_of_as_many_columns_as_rows_is_no_sequence():
    assert axes(5, 7, square=(7, 7))["square"] == 0
    assert axes(7, 7, row=(7,), features=(7, 3)) == {"xs": 1, "row": 0, "features": 0}


def test_labels_that_come_with_their_lengths_are_sequences_of_any_length():
    for L in (3, 5, 7):
        assert axes(5, 7, targets=(L, 7), targets_lengths=(7,))["targets"] == 1
    assert axes(7, 7, targets=(7, 7), targets_lengths=(7,)) == {"xs": 1, "targets": 1, "targets_lengths": 0}


def test_what_an_encoder_decoder_reads_and_writes_are_sequences_of_any_length():
    for L in (3, 5, 7):
        got = axes(5, 7, previous=(L, 7), targets=(L, 7))
        assert got == {"xs": 1, "previous": 1, "targets": 1}


def test_where_there_are_as_many_steps_as_rows_a_table_of_that_shape_is_a_sequence():
    assert axes(7, 7, square=(7, 7))["square"] == 1


def test_take_takes_the_same_rows_of_every_array():
    N = 7
    data, rows = {"xs": np.arange(5 * N).reshape(5, N, 1), "label": np.arange(N)}, np.array([6, 0, 6])
    arrays, where = checked_data("data", data | {"nothing": None})
    assert rows_of(arrays) == N
    got = take(arrays, where, jnp.asarray(rows))
    assert set(got) == {"xs", "label"}
    np.testing.assert_array_equal(got["xs"], data["xs"][:, rows])
    np.testing.assert_array_equal(got["label"], rows)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def jitted_rows(key, step, steps, N, batch_size):
    return shuffled_rows(key, step, steps, N, batch_size)


def rows(start, steps, N, batch_size, seed=3):
    return np.asarray(jitted_rows(jax.random.key(seed), jnp.asarray(start, jnp.int32), steps, N, batch_size))


@pytest.mark.parametrize(("N", "batch_size"), [(12, 4), (13, 4), (5, 5), (7, 1), (9, 5)])
def test_each_epoch_has_every_row_once_but_for_the_rest(N, batch_size):
    per_epoch = N // batch_size
    epochs = rows(0, 6 * per_epoch, N, batch_size).reshape(6, -1)
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == per_epoch * batch_size
        assert set(epoch) <= set(range(N))
    if N > 5 or batch_size > 1:
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_every_row_is_drawn_sooner_or_later():
    assert set(rows(0, 30, 9, 5).ravel()) == set(range(9))


@pytest.mark.parametrize(("N", "batch_size"), [(13, 4), (5, 5), (7, 1)])
def test_the_order_does_not_depend_on_where_a_block_starts_or_how_long_it_is(N, batch_size):
    """Blocks of 5 steps begin in the middle of epochs and hold the ends of some."""
    whole = rows(0, 15, N, batch_size)
    for start in range(0, 11, 2):
        np.testing.assert_array_equal(rows(start, 5, N, batch_size), whole[start : start + 5])
    np.testing.assert_array_equal(rows(14, 1, N, batch_size), whole[14:])


def test_another_key_is_another_order():
    assert (rows(0, 10, 13, 4) != rows(0, 10, 13, 4, seed=4)).any()


def test_rows_are_equally_likely_in_every_place():
    places = rows(0, 4000, 4, 1).reshape(-1, 4)
    counts = np.stack([(places == row).sum(0) for row in range(4)])
    assert np.abs(counts - 250).max() < 5 * np.sqrt(1000 * 0.25 * 0.75)
