"""An interrupted sweep goes on where it stands."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.sweeps import record
from jaxrnn.sweeps.runner import Runner
from tests.compiling import environment
from tests.sweeps.setup import DATA, HELD_OUT, KEY, build, sweep, task

SPACE = jaxrnn.grid(lr=np.geomspace(1e-3, 0.1, 5), hidden=[2, 3])
XS = np.random.default_rng(0).normal(size=(5, 8, 2)).astype("f")
OPTIONS = {"steps": 9, "block": 3, "strategy": "loop"}


class CutError(Exception):
    pass


def interrupted(monkeypatch, folder, after, **options):
    """Cuts a sweep after so many blocks; it saves after each."""
    monkeypatch.setattr(record, "SAVE_SECONDS", -1.0)
    extend, count = record.Record.extend, iter(range(10**6))

    def cut(self, group, part):
        extend(self, group, part)
        if next(count) == after:
            raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "extend", cut)
        with pytest.raises(CutError):
            sweep(SPACE, run_dir=folder, **OPTIONS, **options)


def same(a, b):
    for name in a.columns:
        np.testing.assert_array_equal(a.columns[name], b.columns[name])
    for kind in ("train", "validation"):
        for name, curve in getattr(a, kind).items():
            np.testing.assert_array_equal(curve, getattr(b, kind)[name])
    for member in range(len(a)):
        for x, y in zip(jax.tree.leaves(a.params(member)), jax.tree.leaves(b.params(member)), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("pruning", [None, jaxrnn.sweeps.halving(first=3)], ids=["full", "halving"])
def test_a_cut_sweep_ends_as_an_uncut_one(tmp_path, monkeypatch, pruning):
    whole = sweep(SPACE, **OPTIONS, pruning=pruning)
    interrupted(monkeypatch, tmp_path, 7, pruning=pruning)
    ran, run = [], Runner.run

    def counted(self, *args):
        for part in run(self, *args):
            ran.append(len(part.places))
            yield part

    monkeypatch.setattr(Runner, "run", counted)
    same(sweep(SPACE, run_dir=tmp_path, **OPTIONS, pruning=pruning), whole)
    assert sum(ran) == whole.columns["steps"].sum() // 3 - 8
    ran.clear()
    same(sweep(SPACE, run_dir=tmp_path, **OPTIONS, pruning=pruning), whole)
    assert not ran


def test_another_sweep_is_an_error(tmp_path):
    sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"run_dir: expected a sweep with members = "):
        sweep(jaxrnn.grid(lr=[0.2]), run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"run_dir: expected a sweep with key = "):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path, key=jax.random.fold_in(KEY, 1))
    pruning = jaxrnn.sweeps.halving(first=2)
    with pytest.raises(ValueError, match=r"run_dir: expected a sweep with rungs = "):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path, pruning=pruning)


def test_a_sweep_cut_at_the_end_of_a_rung_knows_who_diverged(tmp_path, monkeypatch):
    space = jaxrnn.grid(lr=[0.01, 1e30, 0.02])
    whole = sweep(space)
    assert (whole.columns["first_bad"] > 0).tolist() == [False, True, False]
    monkeypatch.setattr(record, "SAVE_SECONDS", -1.0)

    def cut(self, *_):
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "finish", cut)
        with pytest.raises(CutError):
            sweep(space, run_dir=tmp_path)
    same(sweep(space, run_dir=tmp_path), whole)


@pytest.mark.parametrize("name", ["arrays.safetensors", "manifest.json"])
def test_a_damaged_save_gives_way_to_the_one_before(tmp_path, monkeypatch, name):
    whole = sweep(SPACE, **OPTIONS)
    interrupted(monkeypatch, tmp_path, 7)
    saves = sorted((tmp_path / "saves").iterdir(), key=lambda path: int(path.name))
    assert [int(path.name) for path in saves] == [6, 7, 8]
    data = bytearray((saves[-1] / name).read_bytes())
    data[len(data) // 2] ^= 4
    (saves[-1] / name).write_bytes(data)
    with pytest.warns(UserWarning, match=rf"run_dir: going on from save 7, since .*8/{name} is damaged"):
        same(sweep(SPACE, run_dir=tmp_path, **OPTIONS), whole)
    for save in (tmp_path / "saves").iterdir():
        (save / name).write_bytes(b"")
    with pytest.raises(ValueError, match="run_dir: expected an intact save, got none"):
        sweep(SPACE, run_dir=tmp_path, **OPTIONS)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_saves_the_sweep_and_ends_it(number, error, tmp_path, monkeypatch):
    space, extend, count = jaxrnn.grid(lr=[0.01, 0.1]), record.Record.extend, iter(range(10**6))

    def signalled(self, group, part):
        extend(self, group, part)
        if next(count) == 1:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "extend", signalled)
        with pytest.raises(error) as raised:
            sweep(space, run_dir=tmp_path, steps=12)
    assert error is KeyboardInterrupt or raised.value.code == 143
    (save,) = (tmp_path / "saves").iterdir()
    said = json.loads((save / "manifest.json").read_text())
    assert said["about"]["steps"] == 12
    same(sweep(space, run_dir=tmp_path, steps=12), sweep(space, steps=12))


def other_build(hyper):
    model, loss, optimizer = build(hyper)
    return model, lambda ys, batch: 2.0 * loss(ys, batch), optimizer


CHANGES = {
    "build": {"of": jaxrnn.task(other_build, DATA, batch_size=4, validation=HELD_OUT)},
    "data": {"of": jaxrnn.task(build, HELD_OUT, batch_size=4, validation=HELD_OUT)},
    "validation": {"of": jaxrnn.task(build, DATA, batch_size=4, validation=DATA)},
    "batch_size": {"of": task(batch_size=5)},
    "mode": {"of": task(mode="max")},
    "metrics": {"of": task(metrics={"mse": jaxrnn.losses.mean_squared_error})},
    "gradient": {"of": task(gradient=jaxrnn.truncated(2))},
    "eval_params": {"of": task(eval_params=lambda opt_state, params: params)},
    "steps": {"steps": 8},
    "block": {"block": 2},
    "key": {"key": jax.random.key(6)},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=path)
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_another_sweep_is_refused_and_what_differs_is_named(change, saved):
    with pytest.raises(
        ValueError, match=r"^run_dir: expected a sweep with (.* = |the same .*, got).*goes on with the sweep"
    ):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=saved, **CHANGES[change])


def test_a_sweep_goes_on_in_another_process(tmp_path):
    """Nothing that identifies it is an address in memory."""
    program = (
        "import functools, sys, jaxrnn\nfrom tests.sweeps.setup import *\n"
        "of = jaxrnn.task(functools.partial(build), DATA, batch_size=4, metrics={'mse': jaxrnn.losses.accuracy})\n"
        "about = importlib.import_module('jaxrnn.sweeps.record')._told\n"
        "print({name: about(getattr(of, name)) for name in ('build', 'metrics', 'gradient', 'layout', 'eval_params')})"
    )
    command = [sys.executable, "-c", "import importlib\n" + program]
    first, second = (subprocess.run(command, env=environment(), capture_output=True, text=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert "mse" in first.stdout, first.stderr


def test_an_exception_leaves_a_save(tmp_path, monkeypatch):
    run, groups = Runner.run, []

    def failing(self, *args):
        groups.append(self)
        if len(groups) == 2:
            raise RuntimeError("device lost")
        yield from run(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", failing)
        with pytest.raises(RuntimeError, match="device lost") as raised:
            sweep(SPACE, run_dir=tmp_path, **OPTIONS)
    assert raised.value.__notes__ == [f"run_dir: saved in {tmp_path}"]
    same(sweep(SPACE, run_dir=tmp_path, **OPTIONS), sweep(SPACE, **OPTIONS))


def test_a_sweep_that_is_refused_lets_go_of_its_folder(saved):
    try:
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=saved, block=2)
    except ValueError as error:
        kept = error  # with its traceback, as a notebook keeps it
    with pytest.raises(ValueError, match="goes on with the sweep"):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=saved, steps=8)
    with (
        pytest.warns(UserWarning, match="although it differs"),
        pytest.raises(ValueError, match=r"^run_dir: train/.*: expected \[1, 8\], a value for each"),
    ):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=saved, steps=8, resume="anyway")
    assert kept is not None


def test_anyway_goes_on_with_a_sweep_that_differs(tmp_path):
    sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path)
    with pytest.warns(UserWarning, match=r"^sweep: going on although it differs: .*build.name = other_build"):
        sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path, of=CHANGES["build"]["of"], resume="anyway")


def test_a_full_disk_costs_a_sweep_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_save", full)
    with pytest.warns(UserWarning, match=r"^run_dir: saving into .* failed .*No space left on device"):
        found = sweep(jaxrnn.grid(lr=[0.1]), run_dir=tmp_path)
    same(found, sweep(jaxrnn.grid(lr=[0.1])))


def test_functions_among_the_members_are_told_apart_by_their_code(tmp_path):
    def of_activations(*activations):
        def build(hyper):
            cell = jaxrnn.elman(2, 3, activation=hyper.activation)
            model = jaxrnn.chain(jaxrnn.stack([cell]), jaxrnn.dense(3, 2))
            return model, jaxrnn.losses.cross_entropy, optax.sgd(0.1)

        space = jaxrnn.grid(activation=activations)
        what = jaxrnn.task(build, {"xs": XS, "targets": np.zeros((5, 8), int)}, batch_size=4)
        return jaxrnn.sweep(what, space, key=KEY, steps=4, run_dir=tmp_path, progress=False, strategy="loop")

    of_activations(jax.numpy.sin, lambda z: jax.numpy.tanh(z))
    assert of_activations(jax.numpy.sin, lambda z: jax.numpy.tanh(z)).compiles == 0  # the same, made again
    with pytest.raises(ValueError, match=r"^run_dir: expected a sweep with members = "):
        of_activations(jax.numpy.sin, lambda z: jax.numpy.tanh(2 * z))


def test_a_save_that_fails_is_in_the_results(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("no space")

    monkeypatch.setattr(record, "write_save", full)
    with pytest.warns(UserWarning, match="failed after 90 steps of all members: no space; the result is returned, and"):
        results = sweep(SPACE, run_dir=tmp_path, **OPTIONS)
    assert results.not_saved == "after 90 steps of all members: no space"
