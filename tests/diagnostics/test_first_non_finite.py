"""The first bad step, forward and backward, where it was put."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import case, jitted, linear, quadratic

T, D, H = 7, 2, 3


def total(ys):
    return ys.sum()


def small():
    cell = jaxrnn.elman(D, H)
    return cell, cell.init(jax.random.key(0)), np.ones((T, 2, D), np.float32)


@jax.custom_vjp
def blind_to_large(z):
    """tanh, whose derivative is NaN where z > 50."""
    return jnp.tanh(z)


blind_to_large.defvjp(lambda z: (jnp.tanh(z), z), lambda z, d: (jnp.where(z > 50.0, jnp.nan, d),))


def indices(found):
    return tuple(int(t) for t in found)


def test_there_is_none():
    e, options = case("lstm")
    assert indices(jitted(jaxrnn.diagnostics.first_non_finite, e, quadratic, **options)) == (-1, -1)


@pytest.mark.parametrize(("reverse", "want"), [(False, (3, 6)), (True, (3, 0))])
def test_an_input_that_is_not_finite(reverse, want):
    """The state is NaN from x[3] on, and so is a loss of all outputs, from the first step of the way back."""
    cell, params, xs = small()
    xs[3, 1, 0] = np.nan
    found = jaxrnn.diagnostics.first_non_finite(cell, params, xs, lambda ys: quadratic(ys), reverse=reverse)
    assert indices(found) == want


@pytest.mark.parametrize(("reverse", "want"), [(False, 3), (True, 5)])
def test_a_derivative_that_is_not_finite(reverse, want):
    """Step 4 reads a large input: what it hands back to the state before it is NaN, and nothing forward is."""
    cell, params, xs = small()
    cell = jaxrnn.elman(D, H, activation=blind_to_large)
    params = params | {"w_x": jnp.abs(params["w_x"])}
    xs[4, 0] = 1e3
    found = jax.jit(lambda xs: jaxrnn.diagnostics.first_non_finite(cell, params, xs, total, reverse=reverse))(xs)
    assert indices(found) == (-1, want)


def test_padding_does_not_count():
    cell, params, xs = small()
    xs[5:, 1] = np.nan
    assert indices(jaxrnn.diagnostics.first_non_finite(cell, params, xs, total, lengths=np.array([T, 5]))) == (-1, -1)
    assert indices(jaxrnn.diagnostics.first_non_finite(cell, params, xs, quadratic))[0] == 5


@pytest.mark.usefixtures("x64")
def test_overflow():
    """10^(60 t) is infinite from t = 6 on; d = 10^(60 (T-1-t)) back from the last step never is."""
    cell, params = linear(1)
    params = params | {"w_h": np.full((1, 1), 1e60)}
    xs = np.zeros((T, 1))
    xs[0] = 1.0
    assert indices(jaxrnn.diagnostics.first_non_finite(cell, params, xs, lambda ys: ys[0].sum())) == (6, -1)
    assert indices(jaxrnn.diagnostics.first_non_finite(cell, params, 0.0 * xs, lambda ys: ys[-1].sum())) == (-1, 0)


def test_it_can_be_vmapped():
    cell, params, xs = small()
    xs[3, 1, 0] = np.nan
    found = jax.vmap(lambda xs: jaxrnn.diagnostics.first_non_finite(cell, params, xs, quadratic), in_axes=1)(
        jnp.asarray(xs)
    )
    np.testing.assert_array_equal(found.forward, [-1, 3])
    np.testing.assert_array_equal(found.backward, [-1, 6])
