"""A process that dies in the middle of a run."""

import pathlib
import signal
import subprocess
import sys
import time

from tests.compiling import environment
from tests.training.setup import assert_same_run, fit, saved_steps

KILLED = """
import importlib, sys
from tests.training.setup import fit
importlib.import_module("jaxrnn.training.run").SAVE_SECONDS = 0.0
fit(steps=int(sys.argv[2]), block=2, run_dir=sys.argv[1])
"""


def test_a_killed_process_leaves_a_run_that_goes_on_as_if_nothing_had_been(tmp_path):
    steps = 3000
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(steps)]
    root = pathlib.Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 100.0
        while process.poll() is None and max(saved_steps(tmp_path), default=0) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert 6 <= max(saved_steps(tmp_path)) < steps
    assert_same_run(fit(steps=steps, run_dir=tmp_path), fit(steps=steps))
