"""Callbacks and files of sweeps."""

import csv
import importlib
import json
import os
import signal
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tqdm import tqdm

import jaxrnn
from jaxrnn.training import CSVLogger
from tests.helpers import assert_close
from tests.sweeps.setup import sweep, task
from tests.training.setup import assert_same, fit

SPACE = jaxrnn.grid(lr=[0.1, 0.01, 0.001])


def test_a_callback_sees_each_block_of_the_members_that_run_together():
    seen, kept = [], []

    def callback(block):
        seen.append(block)
        so_far = block.results()
        assert (so_far.columns["steps"][block.members] == block.step).all()
        kept.append(so_far.params(1))

    results = sweep(SPACE, strategy=2, callback=callback)
    assert [(block.members.tolist(), block.step) for block in seen] == [([0, 1], 3), ([0, 1], 6), ([2], 3), ([2], 6)]
    for block in seen:
        steps = slice(block.step - 3, block.step)
        np.testing.assert_array_equal(block.train["loss"], results.train["loss"][block.members, steps])
        at = results.validation_steps.tolist().index(block.step)
        np.testing.assert_array_equal(block.validation["loss"], results.validation["loss"][block.members, at])
    assert_same(kept[1], results.params(1))
    assert float(abs(kept[0]["1"]["w"] - kept[1]["1"]["w"]).max()) > 0.0
    with pytest.raises(RuntimeError, match="results: expected a call while the callback runs"):
        seen[0].results()


def test_the_bar_counts_the_steps_of_the_members_that_ran(monkeypatch):
    updates = []

    class Bar(tqdm):
        def update(self, n=1):
            updates.append(n)
            return super().update(n)

    monkeypatch.setattr(importlib.import_module("jaxrnn.sweeps.sweep"), "tqdm", Bar)
    sweep(SPACE, strategy=2, progress=True)
    assert [n for n in updates if n] == [6, 6, 3, 3]


def test_results_so_far_stay_as_they_are():
    kept = []
    sweep(SPACE, callback=lambda block: kept.append((block.results(), block.results().state(0).params)) and None)
    (first, params), _ = kept
    assert first.columns["steps"].tolist() == [3, 3, 3]
    assert_same(first.state(0).params, params)


@pytest.mark.parametrize("validation", [True, False])
def test_a_true_value_ends_the_sweep(validation, tmp_path):
    of = task() if validation else task(validation=None)
    options = {"of": of, "run_dir": tmp_path}
    results = sweep(SPACE, callback=lambda block: block.step >= 3, **options)
    assert results.columns["steps"].tolist() == [3, 3, 3]
    assert results.notes[-1] == "callback: ended the sweep after 9 steps of all members"
    assert not results.diverged.any()
    ranked = results.validation["loss"][:, 0] if validation else results.train["loss"][:, :3].mean(1)
    np.testing.assert_allclose(results.columns["score"], ranked, rtol=1e-6)
    whole, again = sweep(SPACE, of=of), sweep(SPACE, **options)  # it goes on where it was ended
    np.testing.assert_array_equal(again.columns["score"], whole.columns["score"])
    assert_same(again.params(1), whole.params(1))
    assert len(rows(tmp_path)) == 6


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        table = [*csv.DictReader(file)]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row, line in zip(table, lines, strict=True):
        assert {name: float(x) for name, x in row.items()} == line
    return lines


def test_a_signal_costs_no_row(tmp_path):
    def interrupt(block):
        if block.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sweep(SPACE, steps=9, run_dir=tmp_path, callback=interrupt)
    seen = []
    sweep(SPACE, steps=9, run_dir=tmp_path, callback=lambda block: seen.append(block.step))
    assert seen == [6, 9]
    assert [(row["member"], row["step"]) for row in rows(tmp_path)] == [(m, s) for s in (3, 6, 9) for m in range(3)]


def test_results_so_far_know_who_diverged_and_how_to_build(tmp_path):
    found = []

    def callback(block):
        found.append(block.results())
        return block.step == 6

    results = sweep(jaxrnn.grid(lr=[0.01, np.float32(3e38)]), steps=9, callback=callback)
    for each in (found[-1], results):
        assert each.diverged.tolist() == [False, True]
        assert each.best == 0
        assert each.build(0)[0] is not None


def test_members_that_had_not_begun_have_not_diverged():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = sweep(SPACE, strategy="loop", callback=lambda block: True)
    assert results.columns["steps"].tolist() == [3, 0, 0]
    assert not results.diverged.any()
    assert results.best == 0
    with pytest.warns(UserWarning, match="not finite in all 1 members"):
        sweep(jaxrnn.grid(lr=[np.float32(3e38), 0.1]), strategy="loop", callback=lambda block: True)


def test_an_ended_sweep_is_ranked_by_its_own_measure():
    of = task(validation=None, metrics={"size": lambda ys, batch: jnp.abs(ys).mean()}, monitor="size", mode="max")
    results = sweep(SPACE, of=of, callback=lambda block: True)
    np.testing.assert_allclose(results.columns["score"], results.train["size"][:, :3].mean(1), rtol=1e-6)


def test_rows_of_something_else_are_kept_in_a_copy(tmp_path):
    text = "step,loss\n10,0.5\n"
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.warns(UserWarning, match="has rows of something else; .* is a copy"):
        sweep(SPACE, run_dir=tmp_path)
    assert (tmp_path / "metrics.csv.1").read_text() == text
    with pytest.raises(ValueError, match="run_dir: expected another directory than that of a sweep"):
        fit(steps=2, run_dir=tmp_path)


def test_a_sweep_with_a_folder_has_a_row_for_each_member_and_block(tmp_path):
    """However often it goes on, and with rows that are ahead of the newest save."""
    sweep(SPACE, steps=6, strategy=2, run_dir=tmp_path, callback=lambda block: block.members[0] == 2)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,2,1.0,2.0,3.0\n6,2,1")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "member": 2, "loss": 1.0}\n{"step": 6, "mem')
    results = sweep(SPACE, steps=6, strategy=2, run_dir=tmp_path)
    found = rows(tmp_path)
    assert [(row["member"], row["step"]) for row in found] == [(0, 3), (1, 3), (0, 6), (1, 6), (2, 3), (2, 6)]
    assert {*found[0]} == {"step", "member", "loss", "gradient_norm", "validation_loss"}
    means = results.train["loss"].reshape(3, 2, 3).mean(2)
    np.testing.assert_allclose([row["loss"] for row in found], [means[r["member"], r["step"] // 3 - 1] for r in found])


def test_curves_have_the_dtype_that_was_measured(x64):
    data = {"xs": np.random.default_rng(0).standard_normal((4, 8, 2)), "targets": np.ones((4, 8, 1))}

    def build(hyper):
        model = jaxrnn.chain(jaxrnn.gru(2, 3, param_dtype=jnp.float64), jaxrnn.dense(3, 1, param_dtype=jnp.float64))
        return model, jaxrnn.losses.mean_squared_error, optax.sgd(hyper.lr)

    of = jaxrnn.task(build, data, batch_size=4, validation=data)
    results = sweep(jaxrnn.grid(lr=[0.1, 0.2]), of=of)
    assert results.train["loss"].dtype == results.validation["loss"].dtype == np.float64
    model, loss, _ = results.build(0)
    want = jaxrnn.evaluate(model, results.params(0), loss, data)["loss"]
    assert_close(results.columns["score"][0], want, 1e-12)


def test_what_is_no_callback_of_a_sweep_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="callback: expected a function of a SweepBlock, got a CSVLogger"):
        sweep(SPACE, callback=CSVLogger(tmp_path / "x.csv"))
    with pytest.raises(TypeError, match="callback: expected"):
        sweep(SPACE, callback=3)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="callback: expected None with 2 processes"):
        sweep(SPACE, callback=print)
