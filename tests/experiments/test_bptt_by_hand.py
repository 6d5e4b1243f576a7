"""The page on backpropagation through time: its ways agree, with each other and with NumPy written another way."""

import numpy as np
import pytest

from experiments import bptt_by_hand
from tests import reference


@pytest.fixture
def config(tmp_path):
    return bptt_by_hand.Config(out=tmp_path)


def test_all_ways_equal_an_independent_backward_pass(config, capsys):
    found = bptt_by_hand.main(config)
    params, xs, targets = bptt_by_hand.example(config)
    of_cell = {name: params[name] for name in ("w_x", "w_h", "b")}
    h, hs = np.zeros(config.hidden), []
    for x in xs:
        h = np.tanh(x @ params["w_x"] + h @ params["w_h"] + params["b"])
        hs.append(h)
    dys = (np.stack(hs) @ params["w_y"] + params["b_y"] - targets) @ params["w_y"].T
    zero = np.zeros(config.hidden)
    want = reference.elman_bptt(of_cell, xs[:, None], zero[None], dys[:, None], zero[None])[0]["w_h"]
    assert set(found["dL/dw_h"]) == {"by hand", "jax.grad", "reverse_scan", "forward"}
    for way in found["dL/dw_h"].values():
        np.testing.assert_allclose(way, want, rtol=0, atol=1e-10)
    assert max(found["largest difference of steps"].values()) < 1e-10
    assert np.abs(want).max() > 0.1
    assert "differs by at most" in capsys.readouterr().out


def test_each_step_s_gradient_equals_finite_differences(config):
    """dL/dh[t], by moving h[t] and running the rest of the sequence."""
    params, xs, targets = bptt_by_hand.example(config)
    steps = bptt_by_hand.by_hand(params, xs, targets)

    def rest(h, t):
        total = 0.0
        for s in range(t, config.T):
            if s > t:
                h = np.tanh(xs[s] @ params["w_x"] + h @ params["w_h"] + params["b"])
            total += 0.5 * np.sum((h @ params["w_y"] + params["b_y"] - targets[s]) ** 2)
        return total

    for t in range(config.T):
        for e in 1e-6 * np.eye(config.hidden):
            slope = (rest(steps["h"][t] + e, t) - rest(steps["h"][t] - e, t)) / 2e-6
            assert abs(slope - steps["dL/dh"][t] @ e / 1e-6) < 1e-8


def test_mean_and_truncation(config):
    found = bptt_by_hand.main(config)
    whole = found["dL/dw_h"]["by hand"]
    np.testing.assert_allclose(config.T * found["mean over time"], whole, rtol=1e-12)
    # Blocks of k steps, each by itself but for the state that it starts from.
    params, _, targets = bptt_by_hand.example(config)
    hs, want = found["steps"]["h"], np.zeros_like(whole)
    for start in range(0, config.T, config.k):
        later = np.zeros(config.hidden)
        for t in reversed(range(start, min(start + config.k, config.T))):
            dz = (1 - hs[t] ** 2) * ((hs[t] @ params["w_y"] + params["b_y"] - targets[t]) @ params["w_y"].T + later)
            want += np.outer(hs[t - 1], dz) if t else 0.0
            later = params["w_h"] @ dz
    np.testing.assert_allclose(found["truncated"], want, rtol=0, atol=1e-12)
    assert found["lost by truncation"] == pytest.approx(np.linalg.norm(want - whole) / np.linalg.norm(whole))


def test_a_size_of_zero_is_an_error():
    with pytest.raises(SystemExit, match="hidden: expected a positive integer, got 0"):
        bptt_by_hand.Config(hidden=0)
