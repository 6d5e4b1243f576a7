"""Pictures show the numbers that they are given."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

T, B, D, H = 6, 3, 2, 4
CELL = jaxrnn.lstm(D, H)
XS = np.random.default_rng(0).standard_normal((T, B, D)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    return CELL.init(jax.random.key(0))


def square(ys):
    return jnp.square(ys[-1]).sum()


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}


def test_hidden_gradients(params, tmp_path):
    found = jaxrnn.diagnostics.hidden_gradients(CELL, params, XS, square)
    path = tmp_path / "gradients.png"
    figure = jaxrnn.diagnostics.plot_hidden_gradients(found, str(path))
    assert path.stat().st_size > 1000
    shown = lines(figure.axes[0])
    np.testing.assert_allclose(shown["h"], np.linalg.norm(found.h, axis=(1, 2)), rtol=1e-5)
    assert np.isnan(shown["c"][-1])  # zero: a gap
    assert figure.axes[0].get_yscale() == "log"


def test_lag_contributions(params):
    found = jaxrnn.diagnostics.lag_contributions(CELL, params, XS, square, names=("w_h", "b"))
    shown = lines(jaxrnn.diagnostics.plot_lag_contributions(found).axes[0])
    np.testing.assert_allclose(shown["b"], np.linalg.norm(found["b"], axis=1), rtol=1e-5)
    assert set(shown) == {"w_h", "b"}


def test_weight_contributions(params):
    found = jaxrnn.diagnostics.weight_contributions(CELL, params, XS, square, names=("w_h", "b"))
    shown = lines(jaxrnn.diagnostics.plot_weight_contributions(found).axes[0])
    np.testing.assert_allclose(shown["b"], np.linalg.norm(found["b"], axis=1), rtol=1e-5)
    assert set(shown) == {"w_h", "b"}


def test_gradient_norm_by_lag(params):
    found = jaxrnn.diagnostics.gradient_norm_by_lag(CELL, params, XS, square)
    (axes,) = jaxrnn.diagnostics.plot_gradient_norm_by_lag(found).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found)
    (axes,) = jaxrnn.diagnostics.plot_gradient_norm_by_lag({"one": found, "two": 0.5 * found}).axes
    np.testing.assert_array_equal(lines(axes)["two"], 0.5 * found)


@pytest.mark.parametrize("reverse", [False, True])
def test_state_jacobians(params, reverse):
    lengths = np.array([T, 2, 0])
    J = jaxrnn.diagnostics.state_jacobians(CELL, params, XS, lengths=lengths, reverse=reverse)
    over_time, spectrum = jaxrnn.diagnostics.plot_state_jacobians(J, lengths=lengths, reverse=reverse).axes
    line = next(line for line in over_time.lines if line.get_label() == "largest")
    values = np.asarray(jaxrnn.diagnostics.singular_values(J))[..., 0]
    want = [np.mean([values[t, b] for b in range(B) if t < lengths[b]]) for t in range(T)]
    at = np.argsort(line.get_xdata())
    np.testing.assert_allclose(np.asarray(line.get_ydata())[at], want, rtol=1e-5)
    exponents = np.asarray(jaxrnn.diagnostics.lyapunov_spectrum(J, lengths=lengths, reverse=reverse))
    dashed = [line.get_ydata() for line in spectrum.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0], np.exp(exponents[:2].mean(0)), rtol=1e-4)


def test_gate_statistics(params):
    found = jaxrnn.diagnostics.gate_statistics(CELL, params, XS)
    mean, low, high = jaxrnn.diagnostics.plot_gate_statistics(found).axes
    assert set(lines(mean)) == {"i", "f", "g", "o"}
    for axes, part in ((mean, "mean"), (low, "low"), (high, "high")):
        np.testing.assert_array_equal(lines(axes)["f"], getattr(found["f"], part))


@pytest.mark.parametrize("options", [{}, {"jacobians": False}], ids=["all", "without Jacobians"])
def test_the_reports_page(params, options, tmp_path):
    report = jaxrnn.gradient_report(CELL, params, {"xs": XS}, **options)
    path = tmp_path / "page.png"
    figure = report.plot(str(path))
    assert path.stat().st_size > 1000
    lags, spectrum, gates, norms = figure.axes
    np.testing.assert_array_equal(lines(lags)["LSTM"], report.layers[0].statistics.norm_by_lag)
    assert bool(options) == ("no Jacobians" in [text.get_text() for text in spectrum.texts])
    assert [label.get_text() for label in gates.get_yticklabels()] == [f"LSTM: {g}" for g in ("f", "g", "i", "o")]
    np.testing.assert_allclose(norms.lines[0].get_xdata(), [*report.gradient_norms.values()])
    assert figure.get_suptitle() == str(report.worst)


def test_a_page_of_what_is_not_finite_and_of_a_cell_without_gates():
    cell = jaxrnn.lstm(D, H, proj_size=2)
    report = jaxrnn.gradient_report(cell, cell.init(jax.random.key(0)), {"xs": np.full_like(XS, np.nan)})
    assert report.verdict == "not finite"
    assert "no gates" in [text.get_text() for text in report.plot().axes[2].texts]


def test_without_matplotlib_it_says_what_to_install(monkeypatch, params):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'plot_hidden_gradients needs matplotlib: pip install "jaxrnn\[plot\]"'):
        jaxrnn.diagnostics.plot_hidden_gradients(np.ones((3, 2), np.float32))
