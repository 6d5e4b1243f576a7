"""Forward mode: an error that names autodiff under reverse_scan; exact under autodiff."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, example
from tests.registry import BY_NAME


def loss_of(name, gradient, precision=np.float32):
    e = example(BY_NAME[name], precision, T=3)
    params = jax.tree.map(jnp.asarray, e.params)
    return lambda p: jnp.sum(jnp.sin(jaxrnn.unroll(e.cell, p, e.xs, gradient=gradient)[1])), params


@pytest.mark.parametrize("name", ["lstm", "custom_plain"])
def test_jvp_and_jacfwd_through_reverse_scan_say_what_to_use(name):
    gradient = jaxrnn.reverse_scan()
    loss, params = loss_of(name, gradient)
    expected = r"gradient: expected autodiff\(\) under forward-mode differentiation .* got " + re.escape(repr(gradient))
    with pytest.raises(TypeError, match=expected):
        jax.jvp(loss, (params,), (params,))
    with pytest.raises(TypeError, match=expected):
        jax.jacfwd(loss)(params)


def test_a_model_says_so_too():
    model = jaxrnn.stack([jaxrnn.lstm(3, 4)])
    params = model.init(jax.random.key(0))
    with pytest.raises(TypeError, match=r"gradient: expected autodiff\(\) .* got a layer's own"):
        jax.jvp(lambda p: model.apply(p, jnp.ones((3, 2, 3)))[1], (params,), (params,))


def test_an_error_of_the_users_own_step_is_not_reworded():
    def step(params, carry, x):
        raise TypeError("mine")

    cell = jaxrnn.cell(lambda key: {}, lambda params, batch_shape: jnp.zeros(batch_shape), step)
    with pytest.raises(TypeError, match=r"^mine\b"):
        jaxrnn.unroll(cell, {}, jnp.zeros((2, 3)))


@pytest.mark.parametrize("name", ["lstm", "custom_plain"])
def test_autodiff_takes_forward_mode(name, x64):
    """It is the default of a cell that is not gated."""
    loss, params = loss_of(name, None if name == "custom_plain" else jaxrnn.autodiff(), np.float64)
    forward, reverse = jax.jit(lambda p: (jax.jacfwd(loss)(p), jax.grad(loss)(p)))(params)
    assert_close(forward, reverse, 1e-10)
