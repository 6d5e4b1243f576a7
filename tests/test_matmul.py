"""The primitive against `jnp.matmul`, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.primitives.matmul import matmul
from tests.helpers import assert_close
from tests.jaxprs import equations


def arrays(*shape):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal(shape)), jnp.asarray(rng.standard_normal((shape[-1], 4)))


def ours(x, w):
    return matmul(x, w, jnp.float64)


def compare(transform, *args):
    assert_close(*(jax.jit(transform(f))(*args) for f in (ours, jnp.matmul)), 1e-12)


def loss_of(f):
    return lambda x, w: jnp.sum(jnp.sin(f(x, w)))


@pytest.mark.parametrize("shape", [(3,), (5, 3), (5, 2, 3), (0, 3)], ids=str)
def test_value_gradient_and_forward_mode(shape, x64):
    compare(lambda f: f, *arrays(*shape))
    compare(lambda f: jax.grad(loss_of(f), (0, 1)), *arrays(*shape))
    compare(lambda f: lambda x, w: jax.jvp(f, (x, w), (2 * x, w + 1)), *arrays(*shape))


@pytest.mark.parametrize("axes", [(0, None), (1, None), (2, None), (None, 0), (None, 1), (0, 1), (2, 0)], ids=str)
def test_vmap(axes, x64):
    x, w = arrays(3, 3, 3)
    w = jnp.stack([w[:, :3], 2 * w[:, 1:], w[:, :3] ** 2])
    x, w = (a if axis is not None else a[1] for a, axis in zip((x, w), axes, strict=True))
    compare(lambda f: jax.vmap(f, axes), x, w)
    compare(lambda f: jax.vmap(jax.grad(loss_of(f), (0, 1)), axes), x, w)
    compare(lambda f: jax.grad(lambda x, w: jnp.sum(jax.vmap(loss_of(f), axes)(x, w)), (0, 1)), x, w)


def test_second_derivatives(x64):
    x, w = arrays(5, 2, 3)
    compare(lambda f: jax.hessian(loss_of(f), (0, 1)), x, w)
    compare(lambda f: jax.grad(lambda x, w: jnp.sum(jax.grad(loss_of(f), 1)(x, w) ** 2), (0, 1)), x, w)
    compare(lambda f: jax.vmap(jax.hessian(loss_of(f), 1), (1, None)), x, w)


def test_gradient_of_vmap_contracts_one_axis(x64):
    """The purpose of the primitive."""
    x, w = arrays(5, 2, 3)

    def contracted(f):
        jaxpr = jax.make_jaxpr(jax.grad(lambda w: jnp.sum(jax.vmap(loss_of(f), (1, None))(x, w))))(w)
        products = [e for e in equations(jaxpr) if e.primitive.name == "dot_general"]
        return max(len(e.params["dimension_numbers"][0][0]) for e in products)

    assert contracted(ours) == 1
    assert contracted(jnp.matmul) == 2


def test_factors_of_half_precision_are_summed_in_single():
    x, w = (a.astype(jnp.bfloat16) for a in arrays(5, 300))
    exact = np.asarray(x, np.float64) @ np.asarray(w, np.float64)
    assert_close(matmul(x, w, jnp.float32), exact, 1e-6)


def test_in_shard_map(x64):
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    P = jax.sharding.PartitionSpec

    def mapped(f):
        return jax.shard_map(
            jax.grad(lambda w, x: jnp.sum(jnp.sin(f(x, w)))), mesh=mesh, in_specs=(P(), P("rows")), out_specs=P()
        )

    x, w = arrays(5, 2, 3)
    compare(lambda f: lambda x, w: mapped(f)(w, x), x, w)
