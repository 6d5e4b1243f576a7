"""Hessian-vector products through reverse_scan against those through autodiff, inside of other transformations, too."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.gradients.hessians import assert_hessians_agree, curved
from tests.helpers import assert_close, example, floats, merge, mostly_slow
from tests.registry import BY_NAME

pytestmark = pytest.mark.usefixtures("x64")

KINDS = (
    "elman",
    "lstm",
    "lstm_coupled_peephole",
    "lstm_dropout_zoneout",
    "gru",
    "ctrnn_taus_noise",
    "custom_gated",
    "custom_plain",
)


@pytest.mark.parametrize("name", mostly_slow(KINDS, "lstm_dropout_zoneout", "custom_gated", "custom_plain"))
def test_hessian_vector_products(name):
    """With respect to the cell's numbers, params, xs and the carry."""
    e = example(BY_NAME[name], T=3, batch=(2,))
    arguments = e.arguments()
    key = jax.random.key(1) if BY_NAME[name].noisy else None

    def loss(values, gradient):
        options = {"resets": e.resets, "key": key, "gradient": gradient}
        return curved(jaxrnn.unroll(*merge(arguments, values), **options))

    assert_hessians_agree(loss, floats(arguments))


@pytest.mark.always
@pytest.mark.parametrize("name", mostly_slow(["lstm", "custom_plain"], "lstm"))
def test_hessian_vector_products_under_vmap_with_shared_weights(name):
    e = example(BY_NAME[name], T=4)

    def loss(values, gradient):
        params = merge(e.params, values)
        ys = jax.vmap(lambda x, n: jaxrnn.unroll(e.cell, params, x, lengths=n, gradient=gradient)[1], (1, 0))(
            e.xs, e.lengths
        )
        return curved(ys)

    assert_hessians_agree(loss, floats(e.params))


@pytest.mark.parametrize("name", mostly_slow(["lstm", "custom_plain"], "lstm"))
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
