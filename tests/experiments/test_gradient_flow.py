"""A small run leaves a page and a picture of each part, before and after."""

import json

import jax
import pytest

from experiments import gradient_flow

PARTS = ("hidden_gradients", "weight_contributions", "lag_contributions", "gradient_norm_by_lag", "state_jacobians")
PICTURES = {"report", *PARTS, "gate_statistics"}


def test_a_small_run(tmp_path, capsys):
    config = gradient_flow.Config(
        cell="elman", T=5, hidden=3, steps=2, batch_size=4, progress=False, out=tmp_path
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = gradient_flow.main(config)
    assert found["loss before"] != found["loss after"]
    assert found["parameters"] == 3 * (2 + 3 + 1) + 4
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    for when in ("before", "after"):
        assert {path.stem for path in (tmp_path / when).glob("*.png")} == PICTURES
    assert (tmp_path / "looks.png").exists()
    assert capsys.readouterr().out.count("steps back the gradient is") == 2


def test_bad_options():
    with pytest.raises(SystemExit, match="--T: expected at least 2 steps, got 1"):
        gradient_flow.Config(T=1)
    with pytest.raises(SystemExit, match="--steps: expected a positive integer, got 0"):
        gradient_flow.Config(steps=0)
