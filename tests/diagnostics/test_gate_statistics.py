"""Gates by hand, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import case, jitted
from tests.helpers import assert_close

pytestmark = pytest.mark.usefixtures("x64")


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm_gates(e, carry, x):
    z = x @ e.params["w_x"] + carry[0] @ e.params["w_h"] + e.params["b"]
    i, f, g, o = np.split(np.asarray(z), 4, -1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * carry[1] + i * g
    return {"i": i, "f": f, "g": g, "o": o}, (o * np.tanh(c), c)


def gru_gates(e, h, x):
    zx, zh = x @ e.params["w_x"] + e.params["b"], h @ e.params["w_h"] + e.params["b_h"]
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(np.asarray(zx), 3, -1), np.split(np.asarray(zh), 3, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return {"r": r, "z": z, "n": n}, (1.0 - z) * n + z * h


def elman_gates(e, h, x):
    h = np.tanh(np.asarray(x @ e.params["w_x"] + h @ e.params["w_h"] + e.params["b"]))
    return {"h": h}, h


def expected(e, options, gates, edges, reverse):
    """{gate: [T, 3]}: mean, share below, share above; a plain loop over rows."""
    T, B = e.xs.shape[:2]
    values = {}
    for b in range(B):
        carry = jax.tree.map(lambda x, b=b: np.asarray(x)[b], tuple(jax.tree.leaves(options["carry"])))
        carry = carry if len(carry) > 1 else carry[0]
        L = e.lengths[b]
        for t in range(L)[::-1] if reverse else range(L):
            start = e.resets[t + 1, b] if reverse and t + 1 < L else e.resets[t, b] and not reverse
            carry = jax.tree.map(np.zeros_like, carry) if start else carry
            found, carry = gates(e, carry, e.xs[t, b])
            for name, value in found.items():
                values.setdefault(name, [[] for _ in range(T)])[t].append(value)
    table = {}
    for name, steps in values.items():
        low, high = edges.get(name, (0.05, 0.95))
        rows = [np.concatenate(s) if s else np.full(1, np.nan) for s in steps]
        table[name] = np.array([[v.mean(), (v <= low).mean(), (v >= high).mean()] for v in rows])
        table[name][[not s for s in steps]] = np.nan
    return table


CASES = [
    ("lstm", lstm_gates, {"g": (-0.9, 0.9)}),
    ("gru", gru_gates, {"n": (-0.9, 0.9)}),
    ("elman", elman_gates, {"h": (-0.9, 0.9)}),
]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(("name", "gates", "edges"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_mean_and_saturated_share_against_a_plain_loop(name, gates, edges, reverse):
    e, options = case(name)
    e = e._replace(lengths=np.array([1, 4, 0]), params=jax.tree.map(lambda x: 2.0 * x, e.params))
    options["lengths"] = e.lengths
    found = jitted(jaxrnn.diagnostics.gate_statistics, e, reverse=reverse, **options)
    want = expected(e, options, gates, edges, reverse)
    assert set(found) == set(want)
    seen = 0.0
    for gate, table in want.items():
        np.testing.assert_allclose(np.stack(found[gate], -1), table, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[gate].saturated, table[:, 1] + table[:, 2], rtol=1e-10)
        seen += np.nansum(table[:, 1:])
    assert seen > 0  # some gates are saturated, or the shares were not tested
    assert np.isnan(found[gate].mean[-1])  # all rows have ended


def test_the_margin_and_what_has_no_upper_end():
    cell = jaxrnn.elman(1, 3, activation=jax.nn.relu, bias=False, param_dtype=np.float64)
    params = {"w_x": np.array([[1.0, -1.0, 2.0]]), "w_h": np.zeros((3, 3))}
    found = jaxrnn.diagnostics.gate_statistics(cell, params, np.ones((2, 1)))["h"]
    assert_close(found.mean, np.full(2, 1.0), 1e-12)
    assert_close(found.low, np.full(2, 1 / 3), 1e-12)  # one unit is silent
    assert not np.any(found.high)
    tanh = jaxrnn.elman(1, 3, bias=False, param_dtype=np.float64)
    for margin, low, high in ((0.01, 0.0, 0.0), (0.05, 0.0, 1 / 3), (0.13, 1 / 3, 2 / 3)):
        found = jaxrnn.diagnostics.gate_statistics(tanh, params, np.ones((2, 1)), margin=margin)["h"]
        assert_close((found.low, found.high), (np.full(2, low), np.full(2, high)), 1e-12)  # tanh of 1, 2: 0.76, 0.96


def test_the_rates_of_a_leaky_network_are_its_outputs():
    e, options = case("ctrnn_taus_noise")
    options.pop("lengths")
    found = jaxrnn.diagnostics.gate_statistics(e.cell, e.params, e.xs, **options)["r"]
    ys = np.asarray(jaxrnn.unroll(e.cell, e.params, e.xs, **options)[1])
    assert_close(found.mean, ys.mean((1, 2)), 1e-12)
    assert_close(found.saturated, (np.abs(ys) >= 0.9).mean((1, 2)), 1e-12)


def test_a_users_own_cell_names_its_gates():
    gates = {
        "keep": jax.nn.sigmoid,
        "new": jaxrnn.apart(lambda zx, zh, keep: jnp.tanh(zx), (-1.0, 1.0)),
        "pair": jaxrnn.apart,
    }
    cell = jaxrnn.gated_cell(
        2, 3, gates, lambda params, h, gates, noise: gates[0] * h + gates[1], param_dtype=np.float64
    )
    params = cell.init(jax.random.key(0))
    xs = np.random.default_rng(0).standard_normal((1, 2))
    found = jaxrnn.diagnostics.gate_statistics(cell, params, xs)
    z = xs @ np.asarray(params["w_x"])
    assert set(found) == {"keep", "new"}
    assert_close(found["keep"].mean, sigmoid(z[:, :3]).mean(-1), 1e-12)
    assert_close(found["new"].mean, np.tanh(z[:, 3:6]).mean(-1), 1e-12)


def test_it_can_be_vmapped():
    e, _ = case("lstm")
    run = jax.jit(lambda xs: jaxrnn.diagnostics.gate_statistics(e.cell, e.params, xs))
    each = jax.vmap(run, in_axes=1)(jnp.asarray(e.xs))
    together = run(jnp.asarray(e.xs))
    assert_close(jax.tree.map(lambda x: x.mean(0), each), together, 1e-12)
