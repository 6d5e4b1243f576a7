"""The command line of sweeps, in a process of its own: it sets up JAX's devices."""

import csv
import subprocess
import sys

import pytest


def run(*options):
    command = [sys.executable, "-m", "experiments.sweep", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_a_small_sweep_leaves_a_table_and_pictures(tmp_path):
    options = ["--lr", "1e-2:1e-1:2:log", "--hidden", "2,3", "--steps", "4", "--strategy", "vmap", "--no-progress"]
    done = run("digits", *options, "--halving", "2", "--out", str(tmp_path))
    assert "4 members, 2 programs compiled" in done.stdout, done.stderr
    names = {"table.csv", "results.json", "config.json", "lr.png", "curves.png", "rungs.png", "sweep.npz"}
    assert {path.name for path in (tmp_path / "digits").iterdir()} == names
    rows = list(csv.DictReader((tmp_path / "digits" / "table.csv").read_text().splitlines()))
    assert sorted((float(row["lr"]), int(row["hidden"])) for row in rows) == [(0.01, 2), (0.01, 3), (0.1, 2), (0.1, 3)]
    assert sorted(int(row["steps"]) for row in rows) == [2, 2, 4, 4]


@pytest.mark.parametrize(("option", "value"), [("--lr", "1:2"), ("--cell", "rnn"), ("--hidden", "a")])
def test_wrong_values_are_named(option, value):
    done = run("digits", option, value)
    assert done.returncode != 0
    assert f"{option}: expected" in done.stderr
