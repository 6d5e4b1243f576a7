"""Plain cells whose step holds a `jax.custom_vjp` function, such as a spike with a surrogate gradient."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.gradients.agreement import assert_equal_to_autodiff
from tests.helpers import assert_close
from tests.registry import D, Entry


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, d: (d / (1.0 + v**2),))


def spiking_step(params, carry, x):
    v, count = carry
    v = 0.9 * v + x @ params["w_x"] + jnp.tanh(v) @ params["w_h"]
    s = spike(v)
    return (v - 0.5 * s, count + 1), s * v


def spiking(D=D, H=4):
    return jaxrnn.cell(
        lambda key: {"w_x": jax.random.normal(key, (D, H)), "w_h": 0.3 * jax.random.normal(key, (H, H))},
        lambda params, batch_shape: (jnp.zeros((*batch_shape, H), params["w_x"].dtype), jnp.zeros(batch_shape, int)),
        spiking_step,
    )


SPIKING = Entry("spiking", jaxrnn.cell, spiking, None, gated=False)


def test_equals_autodiff(precision):
    assert_equal_to_autodiff([(jaxrnn.reverse_scan(), ())], SPIKING, precision)


def test_vmapped_with_shared_weights(x64):
    cell = spiking()
    params = jax.tree.map(lambda p: p.astype(float), cell.init(jax.random.key(0)))
    xs = np.random.default_rng(0).standard_normal((6, 3, D))

    def loss(params, xs, gradient):
        return jnp.sum(jax.vmap(lambda x: jaxrnn.unroll(cell, params, x, gradient=gradient)[1], 1)(xs) ** 2)

    assert_close(*(jax.grad(loss)(params, xs, g) for g in (jaxrnn.reverse_scan(), jaxrnn.autodiff())), 1e-12)
