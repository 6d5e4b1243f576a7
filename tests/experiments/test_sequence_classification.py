"""The introductory Keras program: its epochs equal a plain loop's, and Keras's own where that is installed."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from experiments import sequence_classification as experiment

SMALL = experiment.Config(rows=11, T=5, hidden=3, batch_size=4, epochs=3, learning_rate=0.05, progress=False)


def started(config):
    return experiment.build(config).init(jax.random.key(1)), experiment.load(config)["train"]


def of_numpy(params, xs, targets):
    """The loss of each row, [N]."""
    params = jax.tree.map(np.asarray, params)
    cell, dense = params["0"]["0"], params["2"]
    h = np.zeros((xs.shape[1], len(cell["b"])))
    for x in xs:
        h = np.tanh(x @ cell["w_x"] + cell["b"] + h @ cell["w_h"])
    p = 1 / (1 + np.exp(-(h @ dense["w"] + dense["b"])))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p))[:, 0]


def test_labels_are_balanced_and_tell_the_sum():
    data = experiment.load(experiment.Config())
    for part in data.values():
        np.testing.assert_array_equal(part["targets"][:, 0], part["xs"][..., 0].sum(0) > 5)
        assert 0.45 < part["targets"].mean() < 0.55
    assert np.abs(data["train"]["xs"] - data["test"]["xs"]).mean() > 0.3  # 1/3 for independent numbers


def test_an_epochs_loss_is_the_mean_over_rows():
    """11 rows in minibatches of 4, 4 and 3: not the mean over minibatches."""
    config = dataclasses.replace(SMALL, learning_rate=0.0)
    params, data = started(config)
    rows = of_numpy(params, data["xs"], data["targets"])
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        run, _ = experiment.of_jaxrnn(config, params, data)
        losses = run().losses
    np.testing.assert_allclose(losses, rows.mean(), rtol=1e-6)
    assert abs(np.mean([rows[:4].mean(), rows[4:8].mean(), rows[8:].mean()]) - rows.mean()) > 1e-5


@pytest.mark.parametrize("batch_size", [4, 20])
def test_epochs_equal_a_plain_loop(batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    params, data = started(config)
    with jax.numpy_dtype_promotion("standard"):
        run, history = experiment.of_jaxrnn(config, params, data)
        found = run()
        assert run().losses == found.losses  # each run starts anew
        optimizer, want = optax.adam(0.05, eps=1e-7), []
        state, model = optimizer.init(params), experiment.build(config)
        gradient = jax.jit(jax.grad(lambda p, batch: experiment.loss(model.apply(p, batch["xs"])[1], batch)))
        for _ in range(3):
            total = 0.0
            for start in range(0, 11, batch_size):
                cut = slice(start, start + batch_size)
                batch = {"xs": data["xs"][:, cut], "targets": data["targets"][cut]}
                total += of_numpy(params, batch["xs"], batch["targets"]).sum()
                updates, state = optimizer.update(gradient(params, batch), state, params)
                params = optax.apply_updates(params, updates)
            want.append(total / 11)
    np.testing.assert_allclose(found.losses, want, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found.params, params)
    assert history.steps == 3 * -(-11 // batch_size)
    assert want[-1] < want[0]


def test_weights_to_keras_and_back():
    params, _ = started(SMALL)
    back = experiment.from_keras(experiment.to_keras(params))
    jax.tree.map(np.testing.assert_array_equal, back, {**params, "1": {}})


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
def test_losses_equal_keras(tmp_path):
    """The program as it stands, in a process of its own: Keras keeps neither strict promotion nor silence."""
    command = [sys.executable, "-m", "experiments.sequence_classification", "--keras", "--rounds", "1"]
    subprocess.run([*command, "--no-progress", "--out", str(tmp_path)], check=True, timeout=100, capture_output=True)
    losses = json.loads((tmp_path / "seed-0" / "metrics.json").read_text())["losses"]
    assert len(losses["keras"]) == 10
    np.testing.assert_allclose(losses["jaxrnn"], losses["keras"], rtol=0, atol=1e-4)
    assert losses["keras"][-1] < 0.5 < losses["keras"][0]


def test_bad_options():
    with pytest.raises(SystemExit, match="--batch-size: expected a positive integer, got 0"):
        experiment.Config(batch_size=0)
