"""dtype=bfloat16: products in bfloat16, sums, states and parameter gradients in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import example, gradients, relative_error
from tests.jaxprs import products, products_in_loops
from tests.registry import BY_NAME, D, H, P

CELLS = {
    "elman": jaxrnn.elman(D, H, dtype=jnp.bfloat16),
    "lstm_peephole": jaxrnn.lstm(D, H, peephole=True, dtype=jnp.bfloat16),
    "gru": jaxrnn.gru(D, H, dtype=jnp.bfloat16),
    "gru_before": jaxrnn.gru(D, H, reset_after=False, dtype=jnp.bfloat16),
    "lstm_projection": jaxrnn.lstm(D, H, proj_size=P, dtype=jnp.bfloat16),
    "ctrnn": jaxrnn.ctrnn(D, H, 2.0, 5.0, dtype=jnp.bfloat16),
}

each_cell = pytest.mark.parametrize("name", CELLS)


def dtypes(product):
    return [v.aval.dtype for v in product.invars]


@each_cell
def test_values_and_gradients_are_near_those_in_float32(name):
    e = example(BY_NAME[name], np.float32)
    arguments = e.arguments()[1:]
    low, full = (
        jax.jit(lambda a, c=c: gradients(jaxrnn.reverse_scan(), c, *a))(arguments) for c in (CELLS[name], e.cell)
    )
    for leaf in jax.tree.leaves(low):
        assert leaf.dtype == np.float32
    for a, b in zip(jax.tree.leaves(low["outputs"]), jax.tree.leaves(full["outputs"]), strict=True):
        assert 1e-6 < relative_error(a, b) < 2e-2  # not equal, or nothing was rounded
    for key in set(full) - {"outputs"}:
        assert relative_error(low[key], full[key]) < 3e-2, key


@each_cell
def test_products_are_bfloat16_with_float32_sums(name):
    e = example(BY_NAME[name], np.float32)

    def run(params):
        return jaxrnn.unroll(CELLS[name], params, e.xs, e.carry)

    forward = jax.make_jaxpr(run)(e.params)
    assert products_in_loops(forward)
    for p in products(forward):
        assert set(dtypes(p)) == {jnp.dtype(jnp.bfloat16)}
        assert p.outvars[0].aval.dtype == np.float32


@pytest.mark.parametrize("name", ["elman", "lstm_peephole", "gru", "ctrnn"])
def test_products_of_the_backward_loop_are_bfloat16(name):
    e = example(BY_NAME[name], np.float32)

    def run(params):
        return gradients(jaxrnn.reverse_scan(), CELLS[name], params, e.xs, e.carry)

    loops = products_in_loops(jax.make_jaxpr(run)(e.params))
    assert len(loops) == 2
    for p in loops:
        assert set(dtypes(p)) == {jnp.dtype(jnp.bfloat16)}
