"""Inside `jax.shard_map` a carry differs between devices as its inputs do."""

import json
import subprocess
import sys

from tests.compiling import environment

SCRIPT = """
import json
import jax, jax.numpy as jnp, optax
from jax.sharding import PartitionSpec as P
import jaxrnn
mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
xs, found = jax.random.normal(jax.random.key(0), (5, 4, 3)), {}

def error(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

cells = {"lstm": jaxrnn.lstm(3, 4), "gru": jaxrnn.gru(3, 4, zoneout=0.1), "plain": jaxrnn.lstm(3, 4, proj_size=2),
         "ctrnn": jaxrnn.ctrnn(3, 4, 1.0, 10.0)}
gradients = [jaxrnn.autodiff(), jaxrnn.reverse_scan(), jaxrnn.reverse_scan(clip_norm=10.0),
             jaxrnn.checkpointed(), jaxrnn.truncated(2, 3)]
for name, gradient in [*(("lstm", g) for g in gradients), *((name, None) for name in cells)]:
    cell = cells[name]
    params = cell.init(jax.random.key(1))
    loss = lambda params, xs: (jaxrnn.unroll(cell, params, xs, gradient=gradient)[1] ** 2).sum()
    whole = jax.value_and_grad(loss)(params, xs)
    spread = jax.value_and_grad(lambda params, xs: jax.lax.psum(loss(params, xs), "rows"))
    each = jax.jit(jax.shard_map(spread, mesh=mesh, in_specs=(P(), P(None, "rows")), out_specs=P()))(params, xs)
    found[f"{name} {gradient}"] = error(each, whole)

model, optimizer = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(3, 4)]), jaxrnn.dense(4, 1)), optax.adam(1e-2)
step = jaxrnn.training.make_train_step(model, jaxrnn.losses.mean_squared_error, optimizer)
state, batch = jaxrnn.training.train_state(model, optimizer, key=jax.random.key(2)), {"xs": xs, "targets": xs[..., :1]}
rows = P(None, "rows")
run = jax.shard_map(lambda state, batch: step(state, batch)[1]["loss"][None], mesh=mesh,
                    in_specs=(P(), {"xs": rows, "targets": rows}), out_specs=P("rows"))
found["train step"] = error(jax.jit(run)(state, batch).mean(), step(state, batch)[1]["loss"])
print(json.dumps(found))
"""


def test_values_and_gradients_of_rows_on_two_devices_are_those_of_all_rows():
    command, env = [sys.executable, "-c", SCRIPT], environment(devices=2)
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert run.returncode == 0, run.stderr
    errors = json.loads(run.stdout)
    assert len(errors) == 10
    assert not {name: e for name, e in errors.items() if not e < 1e-5}
