"""The command line of sweeps, in a process of its own: it sets up JAX's devices."""

import csv
import json
import os
import socket
import subprocess
import sys

import pytest


def run(*options):
    command = [sys.executable, "-m", "experiments.sweep", *options]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def test_a_small_sweep_leaves_a_table_and_pictures(tmp_path):
    options = ["--lr", "1e-2:1:3:log", "--hidden", "2", "--steps", "4", "--strategy", "vmap", "--no-progress"]
    with socket.create_server(("localhost", 0)) as free:
        options += ["--coordinator", f"localhost:{free.getsockname()[1]}"]  # one process, as if it were of several
    done = run("digits", *options, "--halving", "2", "--out", str(tmp_path))
    assert "3 members, 1 programs compiled" in done.stdout, done.stderr
    names = {"table.csv", "results.json", "config.json", "metrics.json", "lr.png", "curves.png", "rungs.png"}
    assert {path.name for path in (tmp_path / "digits").iterdir()} == names | {"saves", "lock"}
    found = json.loads((tmp_path / "digits" / "metrics.json").read_text())
    assert (found["members"], found["best steps"]) == (3, 4)
    rows = list(csv.DictReader((tmp_path / "digits" / "table.csv").read_text().splitlines()))
    assert sorted(float(row["lr"]) for row in rows) == pytest.approx([0.01, 0.1, 1.0])
    assert sorted(int(row["steps"]) for row in rows) == [2, 2, 4]


@pytest.mark.parametrize(("name", "value"), [("lr", "1:2"), ("cell", "rnn"), ("hidden", "a"), ("seeds", 0)])
def test_wrong_values_are_named(name, value, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # which the import would set
    from experiments import sweep

    with pytest.raises(SystemExit, match=f"--{name}: expected"):
        sweep.space(sweep.Config("digits", **{name: value}))


def test_an_earlier_sweep_is_only_deleted_if_that_is_said(tmp_path):
    (tmp_path / "digits" / "saves" / "1").mkdir(parents=True)
    done = run("digits", "--out", str(tmp_path))
    assert done.returncode == 2
    where = tmp_path / "digits"
    assert done.stderr == f"--out: expected a folder without a sweep, or --resume or --overwrite, got {where}\n"
    assert (tmp_path / "digits" / "saves" / "1").exists()
