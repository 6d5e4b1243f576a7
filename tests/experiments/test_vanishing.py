"""The adding problem: its cell, and a small run from start to end; its data are tested with `synthetic`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from experiments import vanishing


def test_the_residual_cell_is_its_equation():
    model = vanishing.build(vanishing.Config(hidden=4, residual_step=0.3), "residual", "clipped", 5)
    cell = model.parts[0].parts[0]
    params = cell.init(jax.random.key(0))
    xs = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    h = np.zeros(4)
    for x in xs:
        h = h + 0.3 * np.tanh(x @ params["w_x"] + params["b"] + h @ params["w_h"])
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, jnp.asarray(xs))[0], h, rtol=1e-5)


def test_a_small_run(tmp_path, capsys):
    config = vanishing.Config(
        lengths=(6,), networks=("gru",), trainings=("clipped",), hidden=8, steps=2, block=1, patience=1,
        progress=False, out=tmp_path,
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        run = vanishing.main(config)["gru, clipped, T = 6"]
    assert run["steps"] <= 2
    assert np.isfinite(run["error"])
    for when in ("initial", "trained"):
        assert len(run["by lag"][when]) == 6
        assert run["by lag"][when][0] == pytest.approx(1.0)
    assert "| gru | clipped |" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "metrics.json",
        "summary.json",
        "vanishing.png",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": (1,)}, "lengths: expected at least 2 steps each"),
        ({"hidden": 0}, "hidden: expected a positive integer, got 0"),
        ({"steps": 150}, "steps: expected a multiple of block = 100, got 150"),
        ({"learning_rate": 0.0}, "learning-rate: expected a number above 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        vanishing.Config(**options)
