"""Data-parallel training over 8 virtual devices: the numbers of one device, and each device does its share."""

import subprocess
import sys

from tests.compiling import environment

PROGRAM = """
import jax, numpy as np
import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import D, H, MODEL, NOISY, O, data_set, fit

assert len(jax.devices()) == 8
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("rows",))
data, held_out = data_set(rows=16), data_set(1, rows=11)
lengths = data | {"lengths": np.arange(16) % 4 + 1}
gated = jaxrnn.chain(jaxrnn.stack([jaxrnn.lstm(D, H), jaxrnn.gru(H, H)]), jaxrnn.dropout(0.3), jaxrnn.dense(H, O))
normalised = jaxrnn.chain(jaxrnn.batch_norm(D), MODEL)
cases = {
    "batch norm": (normalised, lengths, {"batch_size": 8, "validation": held_out | {"lengths": np.arange(11) % 4 + 1}}),
    "minibatches": (MODEL, data, {"batch_size": 8, "validation": held_out}),
    "dropout": (NOISY, data, {"batch_size": 16, "diagnose_every": 2}),
    "gated, lengths": (gated, lengths, {"batch_size": 8}),
    "streams": (MODEL, data, {"batch_size": None, "stream": 2}),
    "batches": (gated, [{k: x[: 3 + i // 3] for k, x in data_set(i, rows=8).items()} for i in range(5)], {}),
}
for name, (model, data_, options) in cases.items():
    one, eight = (fit(data_, model=model, steps=5, block=2, mesh=m, **options) for m in (None, mesh))
    assert_close(eight.params, one.params, 1e-6)
    assert_close(eight.history.train, one.history.train, 1e-6)
    assert_close(eight.history.validation | {"": 0.0}, one.history.validation | {"": 0.0}, 1e-6)
    assert len(jax.tree.leaves(eight.params)[0].sharding.device_set) == 8
    jaxrnn.evaluate(model, eight.params, jaxrnn.losses.mean_squared_error, held_out)
    print(name)
"""

UNEVEN = """
import jax
from tests.training.setup import MODEL, OPTIMIZER, data_set, fit
import jaxrnn

mesh = jax.make_mesh((8,), ("rows",))
streams = {"stream": 2, "batch_size": None}
for data, options in ((data_set(rows=16), {"batch_size": 12}), (data_set(), streams), ([data_set()], {})):
    try:
        fit(data, steps=2, mesh=mesh, **options)
    except ValueError as error:
        print(error)
"""

SHARE = """
import jax, jax.numpy as jnp, numpy as np
from jaxrnn.training.block import Progress, Task, make_block
from jaxrnn.training.placement import everywhere
from tests.training.setup import D, H, KEY, MODEL, O, OPTIMIZER, data_set
import jaxrnn

mesh = jax.sharding.Mesh(np.array(jax.devices()), ("rows",))
data, axes = everywhere(data_set(rows=48), mesh), {"xs": 1, "targets": 1}
steps = everywhere(jnp.int32(2), mesh)
plain = jaxrnn.stack([jaxrnn.gru(D, H, reset_after=False)])
gated = jaxrnn.stack([jaxrnn.lstm(D, H), jaxrnn.gru(H, H)])
for model in (MODEL, jaxrnn.chain(gated, jaxrnn.dense(H, O)), jaxrnn.chain(plain, jaxrnn.dense(H, O))):
    task = Task(model, jaxrnn.losses.mean_squared_error, OPTIMIZER, None, None, axes, None, 40, None, mesh)
    state = everywhere(Progress(jaxrnn.training.train_state(model, OPTIMIZER, key=KEY), None, jnp.int32(0)), mesh)
    with jax.set_mesh(mesh):
        text = jax.jit(make_block(task, 2)).lower(state, data, steps).compile().as_text()
    assert "all-reduce" in text
    assert "f32[4,5,2]" in text  # 5 of a batch's 40 rows,
    assert "f32[4,40," not in text and "[160," not in text  # never all of them
print("shared")
"""


def run(program):
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(devices=8), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_training_on_a_mesh_equals_training_on_one_device():
    names = ["batch norm", "minibatches", "dropout", "gated, lengths", "streams", "batches"]
    assert run(PROGRAM) == names


def test_rows_that_can_not_be_shared_out_are_named():
    expected = "expected rows by a multiple of the mesh's 8 devices, got"
    assert run(UNEVEN) == [f"batch_size: {expected} 12", f"data: {expected} 10", f"data: a batch: {expected} 10"]


def test_each_device_computes_its_own_rows():
    assert run(SHARE) == ["shared"]
