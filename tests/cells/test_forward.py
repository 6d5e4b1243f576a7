"""The values of every cell against the NumPy loops."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close, example
from tests.registry import ENTRIES


def per_step(noise):
    """What a cell drew, as the NumPy steps take it."""
    if noise is None or isinstance(noise, (np.ndarray, jax.Array)):
        return reference.Noise(process=noise)
    return reference.Noise(*noise)


@pytest.mark.always("float64")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_every_cell_equals_the_numpy_loop(entry, precision):
    dtype, tolerance = precision
    e = example(entry, dtype)
    key = jax.random.key(3)

    @jax.jit
    def run(cell, params, xs, carry, lengths, resets):
        masks = {"lengths": lengths, "resets": resets}
        plain = jaxrnn.unroll(cell, params, xs)
        forward = jaxrnn.unroll(cell, params, xs, carry, key=key, **masks)
        backward = jaxrnn.unroll(cell, params, xs, carry, key=key, reverse=True, gradient=jaxrnn.autodiff(), **masks)
        return plain, forward, backward, cell.noise(key, *xs.shape[:1], xs.shape[1:-1])

    plain, forward, backward, noise = run(*e.arguments(), e.lengths, e.resets)
    assert (noise is not None) == entry.noisy
    noise = per_step(noise) if entry.noisy else None
    start = jax.tree.map(lambda a: np.stack([a] * e.xs.shape[1]), e.initial)
    assert_close(plain, reference.unroll(entry.step, e.params, e.xs, start, e.initial), tolerance)
    for got, reverse in ((forward, False), (backward, True)):
        want = reference.unroll(
            entry.step, e.params, e.xs, e.carry, e.initial, e.lengths, e.resets, reverse=reverse, noise=noise
        )
        assert_close(got, want, tolerance)
