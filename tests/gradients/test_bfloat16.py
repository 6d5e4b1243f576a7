"""All gradients with products in bfloat16: they differ from autodiff's by the rounding of bfloat16 and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.registry import D, H

GRADIENTS = {
    "reverse_scan": jaxrnn.reverse_scan(),
    "reverse_scan, wide limits": jaxrnn.reverse_scan(clip_norm=1e6, clip_value=1e6),
    "checkpointed, nested": jaxrnn.checkpointed(checkpoints=8),
    "truncated, not at all": jaxrnn.truncated(3, 7),
    "forward": jaxrnn.rtrl(),
}
CELLS = {
    "lstm": jaxrnn.lstm(D, H, dtype=jnp.bfloat16),
    "gru, reset before": jaxrnn.gru(D, H, reset_after=False, dtype=jnp.bfloat16),
}
XS = np.random.default_rng(0).standard_normal((7, 3, D)).astype(np.float32)
LENGTHS, RESETS = np.array([7, 4, 0]), np.random.default_rng(1).random((7, 3)) < 0.3


def found(cell, params, gradient):
    def loss(params):
        _, ys = jaxrnn.unroll(cell, params, XS, lengths=LENGTHS, resets=RESETS, reverse=True, gradient=gradient)
        return jnp.sum(jnp.sin(ys)), ys

    return jax.jit(jax.grad(loss, has_aux=True))(params)


@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_agrees_with_autodiff(cell, gradient):
    params = cell.init(jax.random.key(0))
    (d_params, ys), (d_reference, y_reference) = (found(cell, params, g) for g in (gradient, jaxrnn.autodiff()))
    assert_close(ys, y_reference, 1e-2)
    assert_close(d_params, d_reference, 2e-2)
    assert {x.dtype for x in (*jax.tree.leaves(d_params), ys)} == {np.dtype(np.float32)}


def test_rounding_is_what_is_seen():
    """In float32 the same numbers differ from those of bfloat16 by about as much as the tolerances above."""
    half, full = jaxrnn.lstm(D, H, dtype=jnp.bfloat16), jaxrnn.lstm(D, H)
    params = full.init(jax.random.key(0))
    d_half, d_full = (found(c, params, jaxrnn.reverse_scan())[0]["w_h"] for c in (half, full))
    assert 1e-4 < np.max(np.abs(d_half - d_full)) / np.max(np.abs(d_full)) < 3e-2
