"""Gated cells whose equations use their pre-activations in unusual ways, against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from tests.helpers import assert_close, gradients

UPDATES = {
    "sum": lambda x, h, c: jnp.tanh(x + h),
    "sum, the other way round": lambda x, h, c: jnp.tanh(h + x),
    "sum with the carry": lambda x, h, c: jnp.tanh(x + h + c),
    "sum of three, grouped otherwise": lambda x, h, c: jnp.tanh(x + (h + c)),
    "sum used twice": lambda x, h, c: (x + h) * jnp.tanh(x + h),
    "one sum, two uses": lambda x, h, c: (lambda z: z * jnp.tanh(z))(x + h),
    "sum, and zx once more": lambda x, h, c: jnp.tanh(x + h) * jnp.sin(x),
    "sum, and zh once more": lambda x, h, c: jnp.tanh(x + h) * jnp.sin(h),
    "difference": lambda x, h, c: jnp.tanh(x - h),
    "product": lambda x, h, c: jnp.tanh(x * h),
    "zx twice, no zh": lambda x, h, c: jnp.tanh(x + x),
    "zh twice, no zx": lambda x, h, c: jnp.tanh(h + h),
    "zx alone": lambda x, h, c: jnp.tanh(x + c),
    "zh alone": lambda x, h, c: jnp.tanh(h + c),
    "neither": lambda x, h, c: jnp.tanh(c + 1.0),
    "the bare sum": lambda x, h, c: x + h,
    "the bare zx": lambda x, h, c: x,
}


# Two gates: sums of one gate's pre-activations beside a product, and sums across the gates.
PAIRS = {
    "a sum and a product": lambda x, h: jnp.tanh(x[0] + h[0]) + jnp.sin(x[1] * h[1]),
    "sums across the gates": lambda x, h: jnp.tanh(x[0] + h[1]) * jnp.sin(x[1] + h[0]),
    "one gate unused": lambda x, h: jnp.tanh(x[1] + h[1]),
}


def assert_equals_autodiff(gates, update):
    cell = jr.gated_cell(3, 4, gates, update)
    rng = np.random.default_rng(0)
    K = 4 * gates
    params = {"w_x": rng.standard_normal((3, K)), "w_h": 0.5 * rng.standard_normal((4, K)), "b": rng.standard_normal(K)}
    arguments = jax.tree.map(jnp.asarray, (params, rng.standard_normal((4, 2, 3)), rng.standard_normal((2, 4))))

    @jax.jit
    def both(arguments):
        return [gradients(g, cell, *arguments) for g in (jr.reverse_scan(), jr.autodiff())]

    assert_close(*both(arguments), 1e-10)


@pytest.mark.parametrize("name", UPDATES)
def test_one_gate(name, x64):
    assert_equals_autodiff(1, lambda params, carry, zx, zh, noise: UPDATES[name](zx[0], zh[0], carry))


@pytest.mark.parametrize("name", PAIRS)
def test_two_gates(name, x64):
    assert_equals_autodiff(2, lambda params, carry, zx, zh, noise: PAIRS[name](zx, zh))
