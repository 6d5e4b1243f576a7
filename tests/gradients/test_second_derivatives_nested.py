"""Second derivatives where the unroll is inside vmap, lax.scan and jax.checkpoint."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.gradients.hessians import assert_hessians_agree, curved
from tests.helpers import assert_close, example, floats, merge
from tests.registry import BY_NAME

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("name", ["lstm", "custom_plain"])
def test_hessian_vector_products_under_vmap_with_shared_weights(name):
    e = example(BY_NAME[name], T=4)

    def loss(values, gradient):
        params = merge(e.params, values)
        ys = jax.vmap(lambda x, n: jaxrnn.unroll(e.cell, params, x, lengths=n, gradient=gradient)[1], (1, 0))(
            e.xs, e.lengths
        )
        return curved(ys)

    assert_hessians_agree(loss, floats(e.params))


@pytest.mark.parametrize("name", ["lstm", "custom_plain"])
def test_gradient_and_hessian_inside_scan_and_checkpoint(name):
    """Blocks of steps in an outer scan whose body is recomputed in the backward pass."""
    e = example(BY_NAME[name], T=4)
    blocks = jnp.asarray(e.xs).reshape(2, 2, *e.xs.shape[1:])

    def loss(values, gradient):
        params = merge(e.params, values)

        @jax.checkpoint
        def block(carry, xs):
            return jaxrnn.unroll(e.cell, params, xs, carry, gradient=gradient)

        return curved(jax.lax.scan(block, jax.tree.map(jnp.asarray, e.carry), blocks))

    def whole(values):
        return curved(jaxrnn.unroll(e.cell, merge(e.params, values), e.xs, e.carry, gradient=jaxrnn.autodiff()))

    values = floats(jax.tree.map(jnp.asarray, e.params))
    found = jax.jit(jax.grad(lambda v: loss(v, jaxrnn.reverse_scan())))(values)
    assert_close(found, jax.jit(jax.grad(whole))(values), 1e-10)
    assert_hessians_agree(loss, values)
