"""The check that test_check_gradients_gated and test_check_gradients_plain share."""

import jax
import numpy as np

import jaxrnn
from tests.helpers import example


def assert_checks_out(entry):
    """autodiff against finite differences, on data with resets, and with noise where there is some.

    That the other gradients equal autodiff's is in tests/gradients/.
    """
    e = example(entry, np.float32, T=3, batch=(2,))
    key = jax.random.key(0) if entry.noisy else None
    report = jaxrnn.check_gradients(
        e.cell, e.params, e.xs, carry=e.carry, resets=e.resets, key=key, gradients=(), directions=1
    )
    assert report.ok, str(report)
    assert len(report.rows) >= len(jax.tree.leaves(e.params)) + 2
