"""Every gradient against autodiff, for every gated cell."""

import pytest

import jaxrnn as jr
from tests.gradients.agreement import assert_equal_to_autodiff, every_gradient
from tests.registry import ENTRIES


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.gated and "norm" not in e.name], ids=lambda e: e.name)
def test_equal_to_autodiff(entry, precision):
    if precision[0] == "float64":
        assert_equal_to_autodiff(every_gradient(entry), entry, precision, without_options=True)
    elif ENTRIES.index(entry) % 2:
        assert_equal_to_autodiff([(jr.reverse_scan(), ())], entry, precision)
