"""Options x transformations for plain cells."""

import pytest

import jaxrnn
from tests.gradients.transforms import CASES, assert_equals_rows_of_autodiff, case_name
from tests.registry import BY_NAME

CELLS = ("custom_plain", "gru_before_noisy", "custom_plain")
NAMES = [CELLS[i % 3] for i in range(len(CASES))]


@pytest.mark.parametrize("i", range(len(CASES)), ids=lambda i: f"{NAMES[i]}-{case_name(CASES[i])}")
def test_reverse_scan_under_options_and_transformations(i, x64):
    assert_equals_rows_of_autodiff(jaxrnn.reverse_scan(), BY_NAME[NAMES[i]], *CASES[i])
