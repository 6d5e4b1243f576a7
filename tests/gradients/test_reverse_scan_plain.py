"""reverse_scan against autodiff, for every plain cell, and for those gated ones that take long to compile."""

import pytest

import jaxrnn as jr
from tests.gradients.agreement import assert_equals_autodiff
from tests.registry import ENTRIES


@pytest.mark.parametrize("entry", [e for e in ENTRIES if not e.gated or "norm" in e.name], ids=lambda e: e.name)
def test_reverse_scan_equals_autodiff(entry, precision):
    assert_equals_autodiff(jr.reverse_scan(), entry, precision, without_options=precision[0] == "float64")
