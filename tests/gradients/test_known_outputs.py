"""Activations in the place of pre-activations: which are kept, and that derivatives do not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from jaxrnn.gradients.known_outputs import Kept, choose, with_found, with_known
from tests.helpers import assert_close
from tests.jaxprs import body, equations, scans


def draw(count):
    return [jnp.asarray(x) for x in np.random.default_rng(0).standard_normal((count, 3))]


def lstm(z, c):
    i, f, g, o = jax.nn.sigmoid(z[0]), jax.nn.sigmoid(z[1]), jnp.tanh(z[2]), jax.nn.sigmoid(z[3])
    c = f * c + i * g
    return o * jnp.tanh(c), c


def gru(z, h):
    r, u = jax.nn.sigmoid(z[0]), jax.nn.sigmoid(z[1])
    return (1 - u) * jnp.tanh(z[2] + r * z[3]) + u * h


def value_needed(z, h):
    return jnp.tanh(z[0]) * z[0] + h


def no_such_function(z, h):
    return jnp.sin(z[0]) + h


@pytest.mark.parametrize(
    ("f", "count", "expected"),
    [
        (lstm, 4, Kept((0, 1, 2, 3))),  # i, f, g, o; the tanh of c finds no place
        (gru, 4, Kept((0, 1, 2))),  # r, z, n; zh_n is needed
        (value_needed, 1, Kept()),
        (no_such_function, 1, Kept()),
    ],
)
def test_what_is_kept(f, count, expected, x64):
    assert choose(f, draw(count), draw(1)[0]) == expected


@pytest.mark.parametrize(("f", "count"), [(lstm, 4), (gru, 4), (lambda z, h: jnp.exp(z[0]) * h, 1)])
def test_derivatives_from_outputs_alone(f, count, x64):
    """First and second ones; the values of what is overwritten are not read."""
    z, h = draw(count), draw(1)[0]
    kept = choose(f, z, h)
    assert kept.slots

    def from_kept(z, h):
        _, outputs = with_found(f, z, h)
        left = [jnp.full_like(x, jnp.nan) if i in kept.slots else x for i, x in enumerate(z)]
        known = kept.known(kept.store(left, outputs))
        values, pull = jax.vjp(with_known(f, known), left, h)
        return values, pull(jax.tree.map(jnp.cos, values))

    def reference(z, h):
        values, pull = jax.vjp(f, z, h)
        return values, pull(jax.tree.map(jnp.cos, values))

    assert_close(from_kept(z, h)[1], reference(z, h)[1], 1e-12)

    def total(g):
        return lambda z, h: sum(jnp.sum(x * x) for x in jax.tree.leaves(g(z, h)[1]))

    assert_close(jax.grad(total(from_kept), (0, 1))(z, h), jax.grad(total(reference), (0, 1))(z, h), 1e-12)


@pytest.mark.parametrize(("cell", "expected"), [(jr.lstm(3, 4), ["tanh"]), (jr.gru(3, 4), []), (jr.elman(3, 4), [])])
def test_the_reverse_loop_takes_no_activation_again(cell, expected):
    """But for the LSTM's tanh of c."""
    params = cell.init(jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jr.unroll(cell, p, jnp.ones((5, 2, 3)))[1].sum()))(params)
    reverse = scans(jaxpr)[-1]
    assert reverse.params["reverse"]
    live = jax.jit(jax.extend.core.jaxpr_as_fun(body(reverse))).lower(*body(reverse).in_avals).compile().as_text()
    found = [name for name in ("tanh", "logistic", "exponential") for _ in range(live.count(f" {name}("))]
    assert found == expected
    assert any(e.primitive.name == "tanh" for e in equations(body(scans(jaxpr)[0])))


def test_equations_that_have_changed_are_traced_anew():
    """What is kept is chosen for the program at hand, not for an older one of the same cell."""
    activation = [jnp.tanh]
    cell = jr.gated_cell(3, 4, 1, lambda params, h, zx, zh, noise: activation[0](zx[0] + zh[0]) + 0.1 * jnp.tanh(h))
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (5, 2, 3))
    for activation[0] in (jnp.tanh, jnp.sin, jax.nn.relu, jax.nn.sigmoid):
        found = [
            jax.grad(lambda p, g=gradient: jnp.sum(jr.unroll(cell, p, xs, gradient=g)[1] ** 2))(params)
            for gradient in (jr.reverse_scan(), jr.autodiff())
        ]
        assert_close(*found, 1e-4)


def nested(params, h, zx, zh, noise):
    """Activations inside a jitted function, a custom rule and a branch."""
    gate = jax.jit(lambda x: jax.nn.sigmoid(x) * jnp.exp(-x))(zx[0] + zh[0])
    return jax.nn.silu(zx[1] + zh[1]) * jnp.tanh(gate) + jax.lax.cond(True, jnp.tanh, jnp.sin, 0.5 * h)


def test_nested_activations_and_second_derivatives(x64):
    cell = jr.gated_cell(2, 2, 2, nested, param_dtype=jnp.float64)
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (3, 2, 2), jnp.float64)

    def loss(params, gradient):
        return jnp.sum(jr.unroll(cell, params, xs, gradient=gradient)[1] ** 2)

    for derivative in (jax.grad, jax.hessian):
        found = [jax.jit(derivative(loss), static_argnums=1)(params, g) for g in (jr.reverse_scan(), jr.autodiff())]
        assert_close(*found, 1e-10)
