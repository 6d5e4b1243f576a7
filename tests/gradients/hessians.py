"""Hessian-vector products in two ways, and the comparison that two test files share."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.helpers import assert_close, floats


def curved(outputs):
    """A loss of which no second derivative vanishes."""
    return sum(jnp.sum(jnp.sin(x + 0.3)) for x in floats(outputs))


def reverse_over_reverse(loss, values, direction):
    def slope(values):
        return sum(jnp.vdot(g, d) for g, d in zip(jax.grad(loss)(values), direction, strict=True))

    return jax.grad(slope)(values)


def forward_over_reverse(loss, values, direction):
    return jax.jvp(jax.grad(loss), (values,), (direction,))[1]


def assert_hessians_agree(loss, values):
    """`loss` takes (values, gradient)."""
    rng = np.random.default_rng(2)
    values = [jnp.asarray(v) for v in values]
    direction = [jnp.asarray(rng.standard_normal(v.shape), v.dtype) for v in values]

    @jax.jit
    def products(values, direction):
        def reference(v):
            return loss(v, jaxrnn.autodiff())

        def found(v):
            return loss(v, jaxrnn.reverse_scan())

        return (
            reverse_over_reverse(reference, values, direction),
            reverse_over_reverse(found, values, direction),
            forward_over_reverse(found, values, direction),
        )

    reference, twice_reverse, forward_reverse = products(values, direction)
    assert max(np.max(np.abs(r)) for r in reference) > 1e-2
    assert_close(twice_reverse, reference, 1e-9)
    assert_close(forward_reverse, reference, 1e-9)
