"""Two processes on one machine: the results of one, and a word in time when one of them dies."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np

import jaxrnn
from tests.compiling import environment
from tests.sweeps.setup import DATA, KEY, build, sweep

START = """
import os, signal, sys
import jax, numpy as np
port, process, out = sys.argv[1:]
jax.distributed.initialize(f"localhost:{port}", 2, int(process), heartbeat_timeout_seconds=10)
import jaxrnn
from tests.sweeps.setup import DATA, KEY, build, sweep
from tests.sweeps.test_processes import SPACE, OPTIONS, saved
"""

SWEEPS = """
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("members",))
for name, options in OPTIONS.items():
    found = sweep(SPACE, mesh=mesh, run_dir=f"{out}/{name}", **options)
    np.savez(f"{out}/{name}{process}.npz", **saved(found))
    again = sweep(SPACE, mesh=mesh, run_dir=f"{out}/{name}", **options)
    assert again.compiles == 0
    np.savez(f"{out}/{name}{process}again.npz", **saved(again))
try:
    sweep(jaxrnn.grid(lr=[0.01 * (1 + int(process))]))
except ValueError as error:
    assert "expected the same in all processes" in str(error)
model, loss, optimizer = build(jaxrnn.Hyper({"lr": 0.05}))
fitted = jaxrnn.fit(model, loss, optimizer, DATA, key=KEY, steps=4, batch_size=4, mesh=mesh, progress=False)
np.savez(f"{out}/fit{process}.npz", *jax.tree.leaves(fitted.params), loss=fitted.history.train["loss"])
"""

KILLED = """
from jaxrnn.sweeps.record import Record
extend = Record.extend
def dies(self, group, part):
    extend(self, group, part)
    if process == "1":
        os.kill(os.getpid(), signal.SIGKILL)
Record.extend = dies
sweep(SPACE, steps=6)
print("went on")
"""

RATES = (0.01, 0.03, 0.1)
SPACE = [{"lr": lr, "hidden": hidden, "seed": seed} for hidden in (2, 3) for seed in (0, 1) for lr in RATES][:11]
OPTIONS = {"full": {"strategy": "loop"}, "halving": {"steps": 9, "pruning": jaxrnn.sweeps.halving(first=3)}}


def saved(results):
    """All that a sweep has found, as a flat dict."""
    found = {**results.columns, **{f"train/{k}": v for k, v in results.train.items()}}
    found |= {f"validation/{k}": v for k, v in results.validation.items()}
    found |= {"steps of validation": results.validation_steps, "order": results.order}
    for member in range(len(results)):
        for i, x in enumerate(jax.tree.leaves(results.params(member))):
            found[f"params/{member}/{i}"] = x
    return found


def processes(program, folder):
    """Runs two of them, each with two virtual devices: [(return code, what it printed)]."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    env = environment(devices=2)
    command = [sys.executable, "-c", START + program, str(port)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{i}.txt").open("w")) for i in range(2)]
        running = [
            subprocess.Popen([*command, str(i), str(folder)], env=env, stdout=file, stderr=subprocess.STDOUT)
            for i, file in enumerate(files)
        ]
        try:
            codes = [process.wait(timeout=100) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
    return [(code, (folder / f"{i}.txt").read_text()) for i, code in enumerate(codes)]


def test_two_processes_find_what_one_finds(tmp_path):
    expected = {name: saved(sweep(SPACE, **options)) for name, options in OPTIONS.items()}
    model, loss, optimizer = build(jaxrnn.Hyper({"lr": 0.05}))
    fitted = jaxrnn.fit(model, loss, optimizer, DATA, key=KEY, steps=4, batch_size=4, progress=False)
    for code, printed in processes(SWEEPS, tmp_path):
        assert code == 0, printed
    for i in range(2):
        for name, want in expected.items():
            for run in ("", "again"):
                with np.load(tmp_path / f"{name}{i}{run}.npz") as got:
                    assert set(got.files) == set(want)
                    for key, x in want.items():
                        np.testing.assert_allclose(got[key], x, rtol=1e-5, atol=1e-6, err_msg=key)
        with np.load(tmp_path / f"fit{i}.npz") as got:
            np.testing.assert_allclose(got["loss"], fitted.history.train["loss"], rtol=1e-5)
            for j, x in enumerate(jax.tree.leaves(fitted.params)):
                np.testing.assert_allclose(got[f"arr_{j}"], x, rtol=1e-5, atol=1e-6)


def test_a_killed_process_is_an_error_in_the_other_within_a_minute(tmp_path):
    start = time.monotonic()
    (code, printed), (killed, _) = processes(KILLED, tmp_path)
    assert time.monotonic() - start < 75
    assert killed == -signal.SIGKILL
    assert code != 0
    assert "went on" not in printed
    assert (
        "expected to hear from 2 processes, but one has stopped" in printed or "stopped sending heartbeats" in printed
    )
