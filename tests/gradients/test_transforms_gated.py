"""Options x transformations for gated cells."""

import itertools

import pytest

import jaxrnn
from tests.gradients.transforms import CASES, OPTIONS, SETTINGS, assert_equals_rows_of_autodiff, case_name
from tests.registry import BY_NAME

CELLS = ("custom_gated", "lstm_dropout_zoneout", "ctrnn_taus_noise", "gru_zoneout", "elman_dropout")


def test_the_cases_cover_every_pair_of_settings():
    for a, b in itertools.combinations(OPTIONS, 2):
        assert {(on[a], on[b]) for _, on in CASES} == set(itertools.product((False, True), repeat=2)), (a, b)
    for transform, name in itertools.product(SETTINGS, OPTIONS):
        assert {on[name] for t, on in CASES if t == transform} == {False, True}


@pytest.mark.parametrize("i", range(len(CASES)), ids=lambda i: f"{CELLS[i % 5]}-{case_name(CASES[i])}")
def test_reverse_scan_under_options_and_transformations(i, x64):
    assert_equals_rows_of_autodiff(jaxrnn.reverse_scan(), BY_NAME[CELLS[i % 5]], *CASES[i])
