"""checkpointed against autodiff: options and transformations, in two levels and nested."""

import contextlib
import math

import jax
import numpy as np
import pytest

import jaxrnn
from tests.gradients.transforms import TRANSFORMED, assert_equals_rows_of_autodiff, case_name
from tests.helpers import assert_close, example, gradients, mostly_slow
from tests.registry import BY_NAME

FLOAT64 = np.dtype(np.float64), 1e-10
CELLS = ("gru_zoneout", "custom_plain", "elman_dropout", "gru_before_noisy")


@pytest.mark.parametrize(
    "i", mostly_slow(range(len(TRANSFORMED)), 0, 5), ids=lambda i: f"{CELLS[i % 4]}-{case_name(TRANSFORMED[i])}"
)
def test_under_options_and_transformations(i, x64):
    gradient = jaxrnn.checkpointed(checkpoints=6) if i % 3 else jaxrnn.checkpointed()
    assert_equals_rows_of_autodiff(gradient, BY_NAME[CELLS[i % 4]], *TRANSFORMED[i])


@pytest.mark.parametrize("T", [1, 13])
@pytest.mark.parametrize(
    "gradient",
    [jaxrnn.checkpointed(), *(jaxrnn.checkpointed(segments=n) for n in (1, 3, 50)), jaxrnn.checkpointed(checkpoints=9)],
    ids=str,
)
def test_any_length(gradient, T, x64):
    e = example(BY_NAME["elman"], T=T)

    @jax.jit
    def both(arguments):
        return [gradients(g, *arguments) for g in (gradient, jaxrnn.autodiff())]

    assert_close(*both(e.arguments()), 1e-10)


def kept(T, lengths):
    """Carries kept at a time: one for each segment of each level, and each step of the innermost segment."""
    return sum(math.ceil(a / b) for a, b in zip([T, *lengths], [*lengths, 1], strict=True))


@pytest.mark.parametrize("T", [2, 10, 100, 1000, 1009, 100_000])
def test_no_more_carries_than_asked_for(T):
    least = None
    for checkpoints in range(1, 200):
        try:
            lengths = jaxrnn.checkpointed(checkpoints=checkpoints).lengths(T)
        except ValueError as error:
            least = int(str(error).split("at least ")[1].split()[0])
            assert checkpoints < least
        else:
            assert least is None or checkpoints >= least
            assert kept(T, lengths) <= checkpoints
    assert T <= 2 or 2 * math.log2(T) - 2 <= least <= 2 * math.log2(T) + 3


def test_fewer_carries_take_more_levels():
    depths = [len(jaxrnn.checkpointed(checkpoints=c).lengths(1000)) for c in (1000, 64, 30, 24, 20)]
    assert depths == sorted(depths)
    assert depths[:3] == [0, 1, 2]


@pytest.mark.parametrize(("T", "length"), [(100, 10), (1000, 25), (1023, 31), (1009, 26)])
def test_about_as_many_segments_as_the_root_of_the_steps(T, length):
    """Of equal length where there is a divisor near the root."""
    assert jaxrnn.checkpointed().lengths(T) == [length]


def temporaries(gradient, T):
    cell = jaxrnn.lstm(64, 256)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs, dys = (jax.ShapeDtypeStruct((T, 32, n), np.float32) for n in (64, 256))

    def both(params, xs, dys):
        ys, pull = jax.vjp(lambda params: jaxrnn.unroll(cell, params, xs, gradient=gradient)[1], params)
        return ys, pull(dys)

    lowered = jax.jit(both).lower(params, xs, dys)
    with optimised():
        return lowered.compile().memory_analysis().temp_size_in_bytes


@contextlib.contextmanager
def optimised():
    """Without the tests' setting that has XLA leave most optimisations out."""
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", True)


def test_memory():
    """The compiled program's own analysis. (`benchmarks/memory.py` also measures the time.)"""
    autodiff = temporaries(jaxrnn.autodiff(), 1000)
    two_levels, nested = jaxrnn.checkpointed(), jaxrnn.checkpointed(checkpoints=40)
    assert temporaries(jaxrnn.reverse_scan(), 1000) <= autodiff
    assert temporaries(two_levels, 1000) <= 0.055 * autodiff
    assert temporaries(nested, 1000) <= 0.03 * autodiff
    for gradient in (two_levels, nested):  # a prime number of steps
        assert temporaries(gradient, 1009) <= 1.1 * temporaries(gradient, 1000)


def test_second_derivatives(x64):
    e = example(BY_NAME["lstm"])
    params, xs = e.arguments()[1:3]

    def gradient_norm(gradient):
        def loss(params):
            return (jaxrnn.unroll(e.cell, params, xs, gradient=gradient)[1] ** 2).sum()

        return lambda params: sum((g**2).sum() for g in jax.tree.leaves(jax.grad(loss)(params)))

    found, want = (
        jax.jit(jax.grad(gradient_norm(g)))(params) for g in (jaxrnn.checkpointed(segments=2), jaxrnn.autodiff())
    )
    assert_close(found, want, 1e-10)
