"""Every gradient against autodiff, for every gated cell."""

import pytest

import jaxrnn
from tests.gradients.agreement import FLOAT32, FLOAT64, assert_equal_to_autodiff, every_gradient
from tests.registry import ENTRIES

GATED = [e for e in ENTRIES if e.gated and "norm" not in e.name]


@pytest.mark.parametrize("entry", GATED, ids=lambda e: e.name)
def test_equal_to_autodiff(entry, x64):
    assert_equal_to_autodiff(every_gradient(entry), entry, FLOAT64, without_options=entry in GATED[::3])


@pytest.mark.parametrize("entry", GATED[::3], ids=lambda e: e.name)
def test_equal_in_float32(entry):
    assert_equal_to_autodiff([(jaxrnn.reverse_scan(), ())], entry, FLOAT32)
