"""That `python -m benchmarks.gpu` will run where there is a GPU: here it times the interpreted kernel."""

import json

import jax

from benchmarks import gpu


def test_it_compares_then_times_and_writes_what_it_found(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    gpu.main(gpu.Config(rounds=1, sections=("sweep", "cells", "tune"), smoke=True, out=out))
    found = json.loads(out.read_text())
    assert [r["shape"]["section"] for r in found["results"]] == ["sweep", "cells"]
    for result in found["results"]:
        assert not result["left out"]
        assert {gpu.SCAN, gpu.PERSISTENT} <= set(result["errors"])
        assert max(result["errors"].values()) < 1e-5
        assert result["us a step"][f"{gpu.PERSISTENT}: both"] > result["floor"]["both"] > 0
    assert all(isinstance(us, float) for tuned in found["tuned"] for us in tuned["us a step"].values())
    assert "custom, float32, B=2, T=5, H=1x16" in capsys.readouterr().out


def test_every_shape_has_a_cell_and_data():
    for shape in gpu.shapes():
        given = jax.eval_shape(lambda shape=shape: gpu.data(shape))
        assert given.d_ys.shape[-3:] == (shape.T, shape.B, shape.H)
        assert shape.gates == gpu.build(shape).G
