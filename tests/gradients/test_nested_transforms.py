"""Gradients of programs in which a vmapped unroll is staged, or a staged one is vmapped."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.helpers import assert_close

CELL, N = jaxrnn.lstm(3, 3), 3  # all axes but that of the units of all gates have one size: a wrong one would fit
PARAMS = CELL.init(jax.random.key(0))
XS = jax.random.normal(jax.random.key(1), (N, 3, 3, 3))
GRADIENTS = {
    "reverse_scan": jaxrnn.reverse_scan(),
    "persistent": jaxrnn.reverse_scan(loop="persistent"),
    "checkpointed": jaxrnn.checkpointed(),
    "truncated": jaxrnn.truncated(3),
}


def scanned(f):
    """What it computes, within a scan of one step."""

    def run(*args):
        return jax.lax.scan(lambda total, _: (total + f(*args), None), 0.0, None, length=1)[0]

    return run


def conditional(f):
    return lambda *args: jax.lax.cond(args[-1].sum() > -1e9, f, lambda *args: 0.0, *args)


STAGED = {"jit": jax.jit, "checkpoint": jax.checkpoint, "scan": scanned, "cond": conditional}


def unrolled(gradient):
    def run(params, xs):
        return jnp.sin(jaxrnn.unroll(CELL, params, xs, gradient=gradient)[1]).sum()

    return run


def summed(f):
    """Over sequences, vmapped."""
    return lambda params, xs: jax.vmap(f, (None, 0))(params, xs).sum()


@pytest.fixture(scope="module")
def expected():
    return jax.grad(summed(unrolled(jaxrnn.autodiff())))(PARAMS, XS)


@pytest.mark.parametrize("stage", STAGED)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradient_of_a_staged_vmap_and_of_a_vmapped_stage(gradient, stage, expected):
    f, staged = unrolled(GRADIENTS[gradient]), STAGED[stage]
    for program in (staged(summed(f)), summed(staged(f))):
        assert_close(jax.grad(program)(PARAMS, XS), expected, 1e-5)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradient_through_a_vmapped_step_of_gradient_descent(gradient):
    """As in meta-learning: the derivative of vmapped derivatives."""

    def adapted(f):
        def run(params, xs):
            stepped = jax.tree.map(lambda p, d: p - 0.1 * d, params, jax.grad(f)(params, xs))
            return f(stepped, xs)

        return jax.jit(summed(run))

    want = jax.grad(adapted(unrolled(jaxrnn.autodiff())))(PARAMS, XS)
    assert_close(jax.grad(adapted(unrolled(GRADIENTS[gradient])))(PARAMS, XS), want, 1e-5)


@pytest.mark.parametrize(
    "kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=lambda kind: kind.name
)
def test_arrays_that_were_made_outside_a_mesh_can_be_used_within(kind, expected):
    with jax.set_mesh(jax.make_mesh((1,), ("data",), axis_types=(kind,))):
        got = jax.jit(jax.grad(summed(unrolled(jaxrnn.reverse_scan()))))(PARAMS, XS)
    assert_close(got, expected, 1e-5)
