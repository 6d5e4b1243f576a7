"""Every cell passes the checker, finite differences included, on data with resets and noise."""

import jax
import numpy as np
import pytest

import jaxrnn as jr
from tests.helpers import example
from tests.registry import ENTRIES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_every_cell_is_right(entry):
    e = example(entry, np.float32, T=3, batch=(2,))
    key = jax.random.key(0) if entry.noisy else None
    report = jr.check_gradients(
        e.cell, e.params, e.xs, carry=e.carry, resets=e.resets, key=key, gradients=(jr.reverse_scan(),), directions=1
    )
    assert report.ok, str(report)
    assert len(report.rows) >= 2 * (len(jax.tree.leaves(e.params)) + 2)
