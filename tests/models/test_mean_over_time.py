"""The mean of each row's steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import T, sequence, with_nan

MODEL = jaxrnn.mean_over_time()


def test_each_row_is_the_mean_of_its_own_steps(x64):
    """Of every length from 0 to T, and NaN in the padding."""
    for features in ((2,), (), (2, 3)):
        xs, lengths = sequence(T, T + 1, *features), np.arange(T + 1)
        ys = jax.jit(MODEL.apply)({}, with_nan(xs, lengths), lengths=lengths)[1]
        assert_close(ys, oracles.mean_over_time(xs, lengths), 1e-12)


def test_without_lengths_it_is_the_mean_of_all_steps(x64):
    for shape in ((T, 2), (T, 3, 2), (T, 2, 3, 2)):
        xs = sequence(*shape)
        assert_close(MODEL.apply({}, xs)[1], xs.mean(0), 1e-12)


@pytest.mark.parametrize("length", [0, 1, 3, T])
def test_one_row_may_have_no_batch_axis(length, x64):
    xs = sequence(T, 2)
    want = xs[:length].mean(0) if length else np.zeros(2)
    assert_close(MODEL.apply({}, xs, lengths=length)[1], want, 1e-12)


def test_each_valid_step_has_the_same_gradient_and_padding_none(x64):
    xs, lengths = sequence(T, 4, 2), np.array([3, 0, T, 1])
    grad = jax.grad(lambda x: MODEL.apply({}, x, lengths=lengths)[1].sum())(with_nan(xs, lengths))
    want = np.zeros_like(xs)
    for b, length in enumerate(lengths):
        want[:length, b] = 1 / max(length, 1)
    assert_close(grad, want, 1e-12)


def test_lengths_may_be_of_a_narrow_type_that_can_not_count_the_steps():
    xs = sequence(300, 2, 1).astype(np.float32)
    ys = MODEL.apply({}, xs, lengths=np.array([100, 3], np.int8))[1]
    assert_close(ys, np.stack([xs[:100, 0].mean(0), xs[:3, 1].mean(0)]), 1e-6)


def test_integers_have_a_mean_too():
    xs = np.arange(T * 2, dtype=np.int32).reshape(T, 2)
    ys = MODEL.apply({}, xs, lengths=np.array([2, 4]))[1]
    assert ys.dtype == jnp.float32
    np.testing.assert_array_equal(ys, [1.0, 4.0])


def test_in_float16_the_sum_may_be_larger_than_its_largest_number():
    xs, lengths = np.full((900, 2, 1), 100.0, np.float16), np.array([900, 700])
    ys = MODEL.apply({}, xs, lengths=lengths)[1]
    assert ys.dtype == jnp.float16
    np.testing.assert_array_equal(ys, 100.0)
