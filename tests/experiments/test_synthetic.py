"""Tasks of nothing but memory: their data against NumPy, their chance losses against draws, and a small run."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from experiments import memory_tasks, synthetic


def drawn(generate, T, B, seed=0):
    return jax.tree.map(np.asarray, generate(jax.random.key(seed), T, B))


def marked_once_in_each_half(markers, T):
    assert set(np.unique(markers)) == {0.0, 1.0}
    np.testing.assert_array_equal(markers[: T // 2].sum(0), 1)
    np.testing.assert_array_equal(markers[T // 2 :].sum(0), 1)
    assert markers.any(1).all()  # anywhere


def test_adding_is_the_sum_of_one_number_of_each_half():
    batch = drawn(memory_tasks.adding, 11, 4000)
    numbers, markers = batch["xs"][..., 0], batch["xs"][..., 1]
    marked_once_in_each_half(markers, 11)
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    np.testing.assert_allclose((numbers * markers).sum(0), batch["targets"][:, 0], rtol=1e-6)
    assert batch["targets"].var() == pytest.approx(synthetic.TASKS["adding"].chance(11), rel=0.05)


def test_delayed_xor_is_whether_the_two_bits_differ():
    batch = drawn(memory_tasks.delayed_xor, 9, 2000)
    bits, markers = batch["xs"][..., 0], batch["xs"][..., 1]
    marked_once_in_each_half(markers, 9)
    for i in range(100):
        first, second = bits[:, i][markers[:, i] == 1]
        assert batch["targets"][i, 0] == float(first != second)
    assert abs(batch["targets"].mean() - 0.5) < 0.04
    assert not bits[markers == 0].any()
    assert abs(bits[markers == 1].mean() - 0.5) < 0.04


def test_parity_flips_with_each_one():
    batch = drawn(memory_tasks.parity, 12, 500)
    odd = np.zeros((500, 1))
    for x, y in zip(batch["xs"], batch["targets"], strict=True):
        odd = np.where(x == 1, 1 - odd, odd)
        np.testing.assert_array_equal(y, odd)
    assert abs(batch["targets"][1:].mean() - 0.5) < 0.05


def test_copying_is_ten_symbols_a_delay_a_marker_and_the_symbols_again():
    T, B = 7, 300
    batch = drawn(memory_tasks.copying, T, B)
    assert batch["xs"].shape == (T + 20, B, 10)
    np.testing.assert_array_equal(batch["xs"].sum(-1), 1)
    read = batch["xs"].argmax(-1)
    symbols = read[:10]
    assert set(np.unique(symbols)) == set(range(1, 9))
    want = np.zeros((T + 10, B))
    want[T - 1] = 9
    np.testing.assert_array_equal(read[10:], want)
    np.testing.assert_array_equal(batch["targets"], np.concatenate([np.zeros((T + 10, B)), symbols]))
    counts = np.bincount(symbols.ravel(), minlength=9)[1:]
    assert np.abs(counts - symbols.size / 8).max() < 5 * math.sqrt(symbols.size / 8)


def test_chance_losses_are_those_of_answers_without_memory():
    copy = drawn(memory_tasks.copying, 30, 50)
    logits = np.full((50, 50, 9), -50.0, np.float32)
    logits[:40, :, 0] = 50.0
    logits[40:, :, 1:] = 0.0
    chance = synthetic.TASKS["copying"].chance(30)
    assert chance == pytest.approx(10 * math.log(8) / 50)
    assert float(jaxrnn.losses.cross_entropy(logits, copy)) == pytest.approx(chance, rel=1e-5)
    for name in ("delayed_xor", "parity"):
        task, batch = synthetic.TASKS[name], drawn(synthetic.TASKS[name].generate, 8, 50)
        assert float(task.loss(jnp.zeros(batch["targets"].shape), batch)) == pytest.approx(task.chance(8), rel=1e-5)
    task, batch = synthetic.TASKS["adding"], drawn(memory_tasks.adding, 8, 20000)
    assert float(task.loss(jnp.ones((20000, 1)), batch)) == pytest.approx(task.chance(8), rel=0.05)


@pytest.mark.parametrize("name", synthetic.TASKS)
def test_sequences_differ_and_a_key_says_which(name):
    one, same, other = (drawn(synthetic.TASKS[name].generate, 6, 8, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["xs"], same["xs"])
    assert (one["xs"] != other["xs"]).any()
    assert (one["xs"][:, 0] != one["xs"][:, 1]).any()


def test_the_relu_network_starts_as_an_integrator():
    cell = synthetic.irnn(1, 4)
    params = cell.init(jax.random.key(0))
    np.testing.assert_array_equal(params["w_h"], np.eye(4))
    carry, _ = jaxrnn.unroll(cell, params, jnp.ones((5, 1)))
    np.testing.assert_allclose(carry, 5 * np.maximum(params["w_x"][0], 0), rtol=1e-5)


def test_a_run_is_the_plain_loop_over_draws():
    """Each member is trained on draws of its own keys, as a loop of `make_train_step` by hand."""
    config = dataclasses.replace(synthetic.SMOKE, learning_rates=(0.05,), seeds=1, progress=False)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        (run,) = synthetic.train(config, "delayed_xor", 6)
        model, task = synthetic.build(config, "delayed_xor", "gru", 6), synthetic.TASKS["delayed_xor"]
        optimizer = synthetic.optimizer(config, 0.05)
        state = jaxrnn.training.train_state(model, optimizer, key=jax.random.fold_in(jax.random.key(0), 0))
        step, losses = jax.jit(jaxrnn.training.make_train_step(model, task.loss, optimizer)), []
        for i in range(10):
            batch = memory_tasks.delayed_xor(jax.random.fold_in(state.key, i), 6, config.batch_size)
            state, values = step(state, batch)
            losses.append(float(values["loss"]))
    np.testing.assert_allclose(run["curve"], np.reshape(losses, (2, 5)).mean(1), rtol=1e-4)
    assert run["last training loss"] == run["curve"][-1]


def test_a_small_run(tmp_path, capsys):
    config = dataclasses.replace(synthetic.SMOKE, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        found = synthetic.main(config)
    of_adding = found["adding, T = 6, gru, 0.01"]
    runs = of_adding["runs"]
    assert [(run["task"], run["seed"]) for run in runs] == [("adding", 0), ("adding", 1)]
    assert runs[0]["curve"] != runs[1]["curve"]
    assert of_adding["mean"]["test loss"] == np.mean([run["test loss"] for run in runs])
    printed = capsys.readouterr().out
    assert "all gradients agree" in printed
    assert "adding, T = 6: the loss without memory is 0.1667" in printed
    assert "| gru | 0.01 | 0 of 2 |" in printed
    names = {"config.json", "metrics.json", "summary.json", "synthetic.png", "adding-6"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert len(json.loads((tmp_path / "metrics.json").read_text())) == 2


def test_the_table_says_who_solved_it():
    runs = [
        {"task": "adding", "T": 6, "network": "gru", "lr": 0.01, "solved after": after, "test loss": loss}
        for after, loss in ((5, 0.001), (None, 0.099))
    ]
    assert "| gru | 0.01 | 1 of 2 | 5 | 0.0500 (0.0010, 0.0990) | 0.300 |" in synthetic.table(runs, "adding", 6)


def test_the_check_is_of_the_very_models(monkeypatch):
    given = []
    monkeypatch.setattr(synthetic.command, "check_gradient", lambda model, params, xs: given.append((params, len(xs))))
    synthetic.check(synthetic.Config(networks=("gru",)), [("adding", 200), ("copying", 50)])
    assert [(params["0"]["0"]["w_h"].shape[0], steps) for params, steps in given] == [(64, 5), (128, 25)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adding": (1,)}, r"--adding: expected at least 2 steps each, got \(1,\)"),
        ({"delayed_xor": (50, 0)}, "--delayed-xor: expected at least 2 steps each"),
        ({"steps": 150}, "--steps: expected a multiple of block = 100, got 150"),
        ({"hidden": -1}, "--hidden: expected a positive integer, or 0 for each task's own, got -1"),
        ({"seeds": 0}, "--seeds: expected a positive integer, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        synthetic.Config(**options)
