"""NaN in the padding reaches no output that counts, and no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models.oracles import D, H, O, T, drawn, sequence, with_nan


def build(pooling):
    return jaxrnn.chain(
        jaxrnn.dense(D, H),
        jaxrnn.residual(jaxrnn.stack([jaxrnn.lstm(H, H)])),
        jaxrnn.batch_norm(H),
        jaxrnn.layer_norm(H),
        jaxrnn.bidirectional(jaxrnn.gru(H, H), jaxrnn.elman(H, H)),
        pooling,
        jaxrnn.dense(2 * H, O),
    )


@pytest.mark.parametrize("pooling", [jaxrnn.last(), jaxrnn.mean_over_time()], ids=["last", "mean_over_time"])
@pytest.mark.parametrize("key", [None, jax.random.key(0)], ids=["evaluation", "training"])
def test_rows_padded_with_nan_equal_the_rows_by_themselves(pooling, key, x64):
    """Values, and the gradients of every parameter and input; in training the rows share statistics."""
    model = build(pooling)
    lengths, n = np.array([3, 0, 3]), 3
    params, xs, weights = drawn(model), sequence(T, 3, D), sequence(3, O, seed=5)

    @jax.jit
    def padded(params, xs):
        def loss(params, xs):
            ys = model.apply(params, xs, lengths=lengths, key=key)[1]
            return (ys * weights).sum(), ys

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)

    @jax.jit
    def cut(params, xs):
        def loss(params, xs):
            ys = model.apply(params, xs, key=key)[1]
            # The row of no steps: zeros come out of the pooling, and only the layer behind it does something.
            none = model.models[6].apply(params["6"], np.zeros(2 * H))[1]
            ys = jnp.stack([ys[0], none, ys[1]])
            return (ys * weights).sum(), ys

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)

    (d_params, d_xs), ys = padded(params, with_nan(xs, lengths))
    (want_params, d_rows), want = cut(params, xs[:n, [0, 2]])
    assert_close(ys, want, 1e-10)
    assert_close(d_params, want_params, 1e-10)
    want_xs = np.zeros((T, 3, D))
    want_xs[:n, [0, 2]] = d_rows
    assert_close(d_xs, want_xs, 1e-10)
