"""Programs written with Flax alone run with one import changed, and their losses are the same, step by step."""

import numpy as np
import pytest

pytest.importorskip("tyro")
from benchmarks.drop_in.__main__ import PROGRAMS, losses, program


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_losses_are_equal_step_by_step(name, cell):
    modules = [program(name, ours=ours) for ours in (False, True)]
    for module in modules:
        module.B, module.T = 3, 10
    curves = [losses(module, cell, 8, 4)[1] for module in modules]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    assert len(set(curves[0])) == 4
