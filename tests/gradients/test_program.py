"""What the compiled program does, read from its jaxpr: not how fast it is, but why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import weighted_sum
from tests.jaxprs import arrays_containing, carry_shapes, products_in_loops, scans, shapes
from tests.registry import ENTRIES

D, T, B = 7, 5, 11  # each the size of nothing else
GATED = [e for e in ENTRIES if e.gated]


def traced(entry, gradient, batch=(B,)):
    cell = entry.build(D)
    params = cell.init(jax.random.key(0))
    key = jax.random.key(1) if entry.noisy else None
    xs = np.ones((T, *batch, D), np.float32)

    def loss(params, xs):
        return weighted_sum(jaxrnn.unroll(cell, params, xs, key=key, gradient=gradient))

    return params, jax.make_jaxpr(jax.value_and_grad(loss, (0, 1)))(params, xs)


def loops_touch_the_inputs(jaxpr):
    return any(D in shape for p in products_in_loops(jaxpr) for shape in shapes(p))


def loops_accumulate_the_weights(params, jaxpr):
    weights = {params["w_h"].shape, params["w_h"].shape[::-1], params["w_x"].shape}
    return any(shape in weights for s in scans(jaxpr) for shape in carry_shapes(s))


@pytest.mark.parametrize("entry", GATED, ids=lambda e: e.name)
def test_loops_hold_the_recurrent_product_alone(entry):
    """No product with w_x in any step, and no weight gradient summed up step by step."""
    params, jaxpr = traced(entry, jaxrnn.reverse_scan())
    assert len(scans(jaxpr)) == 2
    assert len(products_in_loops(jaxpr)) == 2  # h @ w_h and dz @ w_h.T
    assert not loops_touch_the_inputs(jaxpr)
    assert not loops_accumulate_the_weights(params, jaxpr)


@pytest.mark.parametrize("entry", GATED, ids=lambda e: e.name)
def test_the_detectors_see_what_autodiff_does(entry):
    params, jaxpr = traced(entry, jaxrnn.autodiff())
    assert loops_touch_the_inputs(jaxpr)
    assert loops_accumulate_the_weights(params, jaxpr)


def per_example_weight_gradients(entry, transform):
    """Arrays [B, ...] of the shape of a weight, in the gradient of a vmapped unroll of shared weights."""
    cell = entry.build(D)
    params = cell.init(jax.random.key(0))
    xs = np.ones((T, B, D), np.float32)

    def loss(params, x):
        return jnp.sum(jaxrnn.unroll(cell, params, x)[1])

    jaxpr = jax.make_jaxpr(transform(loss))(params, xs)
    return [shape for name in ("w_x", "w_h") for shape in arrays_containing(jaxpr, (B, *params[name].shape))]


def gradient_of_vmap(loss):
    return jax.grad(lambda params, xs: jnp.sum(jax.vmap(loss, (None, 1))(params, xs)))


def vmap_of_gradient(loss):
    return jax.vmap(jax.grad(loss), (None, 1))


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.builder not in (jaxrnn.cell, jaxrnn.elman)], ids=lambda e: e.name
)
def test_shared_weights_have_one_gradient_however_many_examples(entry):
    assert not per_example_weight_gradients(entry, gradient_of_vmap)
    assert per_example_weight_gradients(entry, vmap_of_gradient)
