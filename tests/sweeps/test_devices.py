"""The member axis over 8 virtual devices: the same results, and no word between the devices once they train."""

import subprocess
import sys

from tests.compiling import environment

PROGRAM = r"""
import re, sys
import jax, numpy as np
import jaxrnn
from tests.helpers import assert_close
from tests.sweeps.setup import KEY, sweep, task
from jaxrnn.sweeps.planning import make_plan

assert len(jax.devices()) == 8
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("members",))
space = jaxrnn.sweeps.zipped(lr=np.linspace(0.01, 0.1, 11), seed=list(range(11)))
for strategy in ("vmap", "loop"):
    one, eight = sweep(space, strategy=strategy), sweep(space, strategy=strategy, mesh=mesh)
    assert eight.compiles == 1
    for member in range(11):
        assert_close(eight.params(member), one.params(member), 1e-5)
    np.testing.assert_allclose(eight.columns["score"], one.columns["score"], rtol=1e-5)
runner = make_plan(task(), space, KEY, 6, None, 3, "vmap", None, mesh, None).runners[0]
text = runner.compile(16).as_text()
inside, talk = None, []  # the computations in which devices talk to each other
for line in text.splitlines():
    inside = line.split()[0] if line.startswith(("%", "ENTRY")) else inside
    talk += [inside] * bool(re.search(r" (all-|collective-permute|reduce-scatter)[-a-z]*[(]", line))
drawing = r'branch_computations={\S+ (\S+)}.*op_name="jit.run./vmap../cond"'  # the first parameters, in a second branch
assert talk and set(talk) <= set(re.findall(drawing, text)), talk
assert "f32[2," in text and "f32[16," not in text
print("equal")
"""


def test_members_are_spread_over_devices():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment(devices=8), capture_output=True, text=True, timeout=110
    )
    assert done.stdout.split() == ["equal"], done.stderr
