"""The output at the end of each row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.models import oracles
from tests.models.oracles import T, sequence, with_nan

MODEL = jaxrnn.last()


def test_every_length_ends_at_its_own_step():
    xs, lengths = sequence(T, T + 1, 2).astype(np.float32), np.arange(T + 1)
    ys = jax.jit(MODEL.apply)({}, with_nan(xs, lengths), lengths=lengths)[1]
    np.testing.assert_array_equal(ys, oracles.last(xs, lengths))


def test_without_lengths_it_is_the_last_step():
    for shape in ((T, 2), (T, 3, 2), (T, 2, 3, 2)):
        xs = sequence(*shape).astype(np.float32)
        np.testing.assert_array_equal(MODEL.apply({}, xs)[1], xs[-1])


@pytest.mark.parametrize("length", [0, 1, T])
def test_one_row_may_have_no_batch_axis(length):
    xs = sequence(T, 2).astype(np.float32)
    want = xs[length - 1] if length else np.zeros(2, np.float32)
    np.testing.assert_array_equal(MODEL.apply({}, xs, lengths=length)[1], want)


def test_lengths_may_be_a_list():
    xs = sequence(T, 2, 3).astype(np.float32)
    np.testing.assert_array_equal(MODEL.apply({}, xs, lengths=[1, 3])[1], np.stack([xs[0, 0], xs[2, 1]]))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_lengths_may_be_of_a_narrow_type_that_can_not_count_the_steps(dtype):
    xs = sequence(300, 2, 1).astype(np.float32)
    lengths = np.array([100, 3], dtype)
    np.testing.assert_array_equal(MODEL.apply({}, xs, lengths=lengths)[1], np.stack([xs[99, 0], xs[2, 1]]))
    cell = jaxrnn.elman(1, 1)
    params = cell.init(jax.random.key(0))
    unroll = jax.jit(lambda lengths: jaxrnn.unroll(cell, params, xs, lengths=lengths))
    narrow, wide = unroll(lengths), unroll(lengths.astype(np.int32))
    jax.tree.map(np.testing.assert_array_equal, narrow, wide)


def test_only_the_last_steps_have_a_gradient():
    xs, lengths = sequence(T, 4, 2).astype(np.float32), np.array([3, 0, T, 1])
    grad = jax.grad(lambda x: MODEL.apply({}, x, lengths=lengths)[1].sum())(xs)
    want = np.zeros_like(xs)
    for b, length in enumerate(lengths):
        if length:
            want[length - 1, b] = 1.0
    np.testing.assert_array_equal(grad, want)


def test_integers_pass_too():
    xs = np.arange(T * 2, dtype=np.int32).reshape(T, 2)
    ys = MODEL.apply({}, xs, lengths=np.array([2, 4]))[1]
    assert ys.dtype == jnp.int32
    np.testing.assert_array_equal(ys, [xs[1, 0], xs[3, 1]])
