"""Every gradient against autodiff, for every plain cell, and for those gated ones that take long to compile."""

import pytest

import jaxrnn as jr
from tests.gradients.agreement import assert_equal_to_autodiff, every_gradient
from tests.registry import ENTRIES


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if not e.gated or e.name == "lstm_layer_norm_peephole"], ids=lambda e: e.name
)
def test_equal_to_autodiff(entry, precision):
    if precision[0] == "float64":
        assert_equal_to_autodiff(every_gradient(entry), entry, precision, without_options=True)
    elif ENTRIES.index(entry) % 2:
        assert_equal_to_autodiff([(jr.reverse_scan(), ())], entry, precision)
