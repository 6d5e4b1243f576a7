"""Backpropagation through time as it is taught, in a few lines of NumPy, and the same network in the library."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close

T, HIDDEN, INPUT, OUTPUT, RATE = 5, 4, 3, 2, 0.01


def in_numpy(W_x, W_h, b_h, W_y, b_y, xs, targets):
    """Gradients of L = 1/2 sum_t |y_t - target_t|^2; h_t = tanh(W_x x_t + W_h h_{t-1} + b_h), y_t = W_y h_t + b_y."""
    h = {-1: np.zeros(HIDDEN)}
    dy = {}
    for t in range(T):
        h[t] = np.tanh(W_x @ xs[t] + W_h @ h[t - 1] + b_h)
        dy[t] = W_y @ h[t] + b_y - targets[t]
    dW_x, dW_h, db_h, dW_y, db_y = (np.zeros_like(p) for p in (W_x, W_h, b_h, W_y, b_y))
    dh_next = np.zeros(HIDDEN)
    for t in reversed(range(T)):
        dW_y += np.outer(dy[t], h[t])
        db_y += dy[t]
        dh = W_y.T @ dy[t] + dh_next
        draw = (1.0 - h[t] ** 2) * dh
        dW_x += np.outer(draw, xs[t])
        dW_h += np.outer(draw, h[t - 1])
        db_h += draw
        dh_next = W_h.T @ draw
    return dW_x, dW_h, db_h, dW_y, db_y


@pytest.mark.parametrize("gradient", [jaxrnn.reverse_scan(), jaxrnn.autodiff()], ids=repr)
def test_the_teaching_examples_gradients_and_step(gradient, x64):
    rng = np.random.default_rng(0)
    shapes = [(HIDDEN, INPUT), (HIDDEN, HIDDEN), (HIDDEN,), (OUTPUT, HIDDEN), (OUTPUT,)]
    parameters = [0.5 * rng.standard_normal(shape) for shape in shapes]
    xs, targets = rng.standard_normal((T, INPUT)), rng.standard_normal((T, OUTPUT))

    cell = jaxrnn.elman(INPUT, HIDDEN)
    W_x, W_h, b_h, W_y, b_y = parameters
    params = {"cell": {"w_x": W_x.T, "w_h": W_h.T, "b": b_h}, "W_y": W_y, "b_y": b_y}
    params = jax.tree.map(jnp.asarray, params)

    def loss(params):
        _, hs = jaxrnn.unroll(cell, params["cell"], xs, gradient=gradient)
        ys = hs @ params["W_y"].T + params["b_y"][None]
        return 0.5 * jnp.sum((ys - targets) ** 2)

    def as_taught(tree):
        return [tree["cell"]["w_x"].T, tree["cell"]["w_h"].T, tree["cell"]["b"], tree["W_y"], tree["b_y"]]

    optimizer = optax.sgd(RATE)
    gradients = jax.jit(jax.grad(loss))(params)
    updates, _ = optimizer.update(gradients, optimizer.init(params))
    updated = optax.apply_updates(params, updates)

    want = in_numpy(*parameters, xs, targets)
    assert_close(as_taught(gradients), list(want), 1e-12)
    assert_close(as_taught(updated), [p - RATE * d for p, d in zip(parameters, want, strict=True)], 1e-12)
    assert min(np.max(np.abs(d)) for d in want) > 0.1
