"""Every gradient against autodiff, for every cell."""

import pytest

import jaxrnn
from tests.gradients.agreement import FLOAT32, FLOAT64, assert_equal_to_autodiff, every_gradient
from tests.helpers import mostly_slow
from tests.registry import ENTRIES, QUICK


@pytest.mark.always
@pytest.mark.parametrize("entry", mostly_slow(ENTRIES, *QUICK), ids=lambda e: e.name)
def test_equal_to_autodiff(entry, x64):
    assert_equal_to_autodiff(every_gradient(entry), entry, FLOAT64, without_options=entry in ENTRIES[::3])


@pytest.mark.parametrize("entry", mostly_slow(ENTRIES[::3], "elman"), ids=lambda e: e.name)
def test_equal_in_float32(entry):
    assert_equal_to_autodiff([(jaxrnn.reverse_scan(), ())], entry, FLOAT32)
