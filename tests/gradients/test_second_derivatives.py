"""Hessian-vector products through reverse_scan against those through autodiff, for each kind of cell."""

import jax
import pytest

import jaxrnn
from tests.gradients.hessians import assert_hessians_agree, curved
from tests.helpers import example, floats, merge
from tests.registry import BY_NAME

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


@pytest.mark.parametrize("name", KINDS)
def test_hessian_vector_products(name, x64):
    """With respect to the cell's numbers, params, xs and the carry."""
    e = example(BY_NAME[name], T=3, batch=(2,))
    arguments = e.arguments()
    key = jax.random.key(1) if BY_NAME[name].noisy else None

    def loss(values, gradient):
        options = {"resets": e.resets, "key": key, "gradient": gradient}
        return curved(jaxrnn.unroll(*merge(arguments, values), **options))

    assert_hessians_agree(loss, floats(arguments))
