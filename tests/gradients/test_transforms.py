"""Options x transformations, for gated cells and plain ones."""

import itertools

import pytest

import jaxrnn
from tests.gradients.transforms import CASES, OPTIONS, SETTINGS, assert_equals_rows_of_autodiff, case_name
from tests.helpers import mostly_slow
from tests.registry import BY_NAME

GATED = ("custom_gated", "lstm_dropout_zoneout", "ctrnn_taus_noise", "gru_zoneout", "elman_dropout")
PLAIN = ("custom_plain", "gru_before_noisy", "custom_plain")
ALL = [(cells[i % len(cells)], case) for cells in (GATED, PLAIN) for i, case in enumerate(CASES)]


def test_the_cases_cover_every_pair_of_settings():
    for a, b in itertools.combinations(OPTIONS, 2):
        assert {(on[a], on[b]) for _, on in CASES} == set(itertools.product((False, True), repeat=2)), (a, b)
    for transform, name in itertools.product(SETTINGS, OPTIONS):
        assert {on[name] for t, on in CASES if t == transform} == {False, True}


@pytest.mark.parametrize(
    ("name", "case"), mostly_slow(ALL, *range(0, 24, 3)), ids=lambda x: x if isinstance(x, str) else case_name(x)
)
def test_reverse_scan_under_options_and_transformations(name, case, x64):
    assert_equals_rows_of_autodiff(jaxrnn.reverse_scan(), BY_NAME[name], *case)
