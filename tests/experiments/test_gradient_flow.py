"""A small run leaves a page and a picture of each part, before and after."""

import jax

from experiments import gradient_flow

PARTS = ("hidden_gradients", "weight_contributions", "lag_contributions", "gradient_norm_by_lag", "state_jacobians")
PICTURES = {"report", *PARTS, "gate_statistics"}


def test_a_small_run(tmp_path, capsys):
    config = gradient_flow.Config(
        cell="elman", T=5, hidden=3, steps=2, batch_size=4, progress=False, out=tmp_path
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        result = gradient_flow.main(config)
    assert result.state.step == 2
    for when in ("before", "after"):
        assert {path.stem for path in (tmp_path / when).glob("*.png")} == PICTURES
    assert (tmp_path / "looks.png").exists()
    assert capsys.readouterr().out.count("steps back the gradient is") == 2
