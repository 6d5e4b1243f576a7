"""Gradients by the kernel, lowered for devices that are not at hand."""

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn.gradients.reverse_scan import target
from jaxrnn.kernels.target import Target

CALLS = {"cuda": "xla.gpu.triton", "tpu": "tpu_custom_call"}
PERSISTENT = jaxrnn.reverse_scan(loop="persistent")


def differentiated(cell, key=None, **options):
    """(params, xs) -> the gradient of a sum of outputs."""

    def loss(params, xs):
        return jnp.sum(jaxrnn.unroll(cell, params, xs, key=key, gradient=PERSISTENT, **options)[1])

    return jax.jit(jax.grad(loss, (0, 1)))


def shapes(cell, T=6, B=5):
    return jax.eval_shape(cell.init, jax.random.key(0)), jax.ShapeDtypeStruct((T, B, cell.features[0]), jnp.float32)


def lowered(device, f, *arguments):
    """The text of a jitted function, for a platform or a Target."""
    device = Target(device) if isinstance(device, str) else device
    with target(device), device.described():
        return f.trace(*arguments).lower(lowering_platforms=(device.platform,)).as_text()
