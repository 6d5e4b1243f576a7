"""Online learning: the sum of what each step gives is the gradient of the sum of the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.registry import D, H

X = np.random.default_rng(0).standard_normal((7, 2, D))
TARGETS = np.random.default_rng(1).standard_normal((7, 2, H))
CELLS = {
    "lstm with a learned carry": lambda **o: jaxrnn.lstm(D, H, learn_carry=True, peephole=True, **o),
    "gru": lambda **o: jaxrnn.gru(D, H, **o),
    "gru, reset before": lambda **o: jaxrnn.gru(D, H, reset_after=False, **o),
}


def online(cell, params, xs, targets, sparsity=None):
    """The sum of the gradients of all steps, and the outputs."""
    carry, influence = jaxrnn.online.rtrl_start(cell, params, xs.shape[1:-1], sparsity=sparsity)

    def step(state, at_t):
        carry, influence, total = state
        x, target = at_t
        loss = lambda y: jnp.sum((y - target) ** 2)  # noqa: E731
        carry, influence, y, grads = jaxrnn.online.rtrl_step(cell, params, carry, influence, x, loss, sparsity=sparsity)
        return (carry, influence, jax.tree.map(jnp.add, total, grads)), y

    start = carry, influence, jax.tree.map(jnp.zeros_like, params)
    (_, _, total), ys = jax.lax.scan(step, start, (xs, targets))
    return total, ys


def unrolled(cell, params):
    def loss(params):
        ys = jaxrnn.unroll(cell, params, jnp.asarray(X))[1]
        return jnp.sum((ys - TARGETS) ** 2), ys

    return jax.grad(loss, has_aux=True)(params)


@pytest.mark.parametrize("name", CELLS)
def test_the_sum_over_steps_is_the_gradient_of_the_sum(name, x64):
    cell = CELLS[name](param_dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    assert_close(jax.jit(lambda p: online(cell, p, X, TARGETS))(params), unrolled(cell, params), 1e-10)


def test_snap1_with_element_wise_recurrence(x64):
    cell = jaxrnn.lstm(D, H, learn_carry=True, param_dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    w_h = params["w_h"].reshape(H, 4, H) * jnp.eye(H)[:, None, :]
    params |= {"w_h": w_h.reshape(H, 4 * H)}
    assert_close(online(cell, params, X, TARGETS, "snap1"), unrolled(cell, params), 1e-10)


@pytest.mark.parametrize("sparsity", [None, "snap1"])
def test_memory_does_not_depend_on_the_number_of_steps(sparsity):
    cell = jaxrnn.gru(D, H)
    params = cell.init(jax.random.key(0))

    def total(params, xs):
        carry, influence = jaxrnn.online.rtrl_start(cell, params, (2,), sparsity=sparsity)

        def step(state, x):
            carry, influence, sums = state
            carry, influence, _, grads = jaxrnn.online.rtrl_step(
                cell, params, carry, influence, x, lambda y: jnp.sum(y**2), sparsity=sparsity
            )
            return (carry, influence, jax.tree.map(jnp.add, sums, grads)), None

        return jax.lax.scan(step, (carry, influence, jax.tree.map(jnp.zeros_like, params)), xs)[0][-1]

    sizes = []
    for T in (100, 10_000):
        program = jax.jit(total).lower(params, jax.ShapeDtypeStruct((T, 2, D), jnp.float32)).compile()
        sizes.append(program.memory_analysis().temp_size_in_bytes)
    assert sizes[0] == sizes[1] > 0


def test_parameters_of_half_precision():
    cell = jaxrnn.gru(D, H, param_dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(0))
    xs = jnp.asarray(X, jnp.float32)
    total, _ = online(cell, params, xs, jnp.asarray(TARGETS, jnp.float32))
    want = jax.grad(lambda p: jnp.sum((jaxrnn.unroll(cell, p, xs)[1] - TARGETS.astype(np.float32)) ** 2))(params)
    assert {d.dtype for d in total.values()} == {jnp.dtype(jnp.bfloat16)}
    for name, d in total.items():
        difference = np.abs(np.asarray(d, np.float32) - np.asarray(want[name], np.float32))
        assert difference.max() < 0.03 * np.abs(np.asarray(want[name], np.float32)).max()
