"""Every gradient against autodiff, for every plain cell, and for those gated ones that take long to compile."""

import pytest

import jaxrnn
from tests.gradients.agreement import FLOAT32, FLOAT64, assert_equal_to_autodiff, every_gradient
from tests.registry import ENTRIES

SLOW = [e for e in ENTRIES if not e.gated or e.name == "lstm_layer_norm_peephole"]


@pytest.mark.parametrize("entry", SLOW, ids=lambda e: e.name)
def test_equal_to_autodiff(entry, x64):
    assert_equal_to_autodiff(every_gradient(entry), entry, FLOAT64, without_options=entry in SLOW[::3])


@pytest.mark.parametrize("entry", SLOW[::3], ids=lambda e: e.name)
def test_equal_in_float32(entry):
    assert_equal_to_autodiff([(jaxrnn.reverse_scan(), ())], entry, FLOAT32)
