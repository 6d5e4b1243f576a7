"""Wrong arguments of the diagnostics."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import B, Case, D, H, O, T, drawn, each, not_keys, ones, sizes

CELL = jaxrnn.lstm(D, H)
PARAMS = drawn(CELL)
XS = ones(T, B, D)
MODEL = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dense(H, O))
MODEL_PARAMS = drawn(MODEL)
BATCH = {"xs": XS, "targets": ones(T, B, O)}
JACOBIANS = ones(T, B, H, H)


def total(ys):
    return ys.sum()


def _vector(ys):
    return ys.sum((1, 2))


def _count(ys):
    return jnp.asarray(ys.size, jnp.int32)


OF_CELLS = {
    "hidden_gradients": jaxrnn.diagnostics.hidden_gradients,
    "weight_contributions": jaxrnn.diagnostics.weight_contributions,
    "lag_contributions": jaxrnn.diagnostics.lag_contributions,
    "gradient_norm_by_lag": jaxrnn.diagnostics.gradient_norm_by_lag,
    "first_non_finite": jaxrnn.diagnostics.first_non_finite,
    "state_jacobians": jaxrnn.diagnostics.state_jacobians,
    "gate_statistics": jaxrnn.diagnostics.gate_statistics,
}
WITHOUT_LOSS = ("state_jacobians", "gate_statistics")


def of_cell(name, cell=CELL, params=PARAMS, xs=XS, loss=total, **options) -> Any:
    f = OF_CELLS[name]
    return f(cell, params, xs, **options) if name in WITHOUT_LOSS else f(cell, params, xs, loss, **options)


def _of_cells(name):
    def case(what, error, argument, expected, got, **arguments):
        return Case(f"{name}-{what}", lambda: of_cell(name, **arguments), error, argument, expected, got)

    yield case("cell", TypeError, "cell", "a Cell", "'lstm'", cell="lstm")
    yield case("xs", ValueError, "xs", f"{D} features", f"{D + 1}]", xs=ones(T, B, D + 1))
    yield case("params", ValueError, "params", "w_x", "b", params={"b": PARAMS["b"]})
    yield case("lengths", ValueError, "lengths", f"0 to T = {T}", f"{T + 1}", lengths=np.array([T + 1, 1]))
    yield case("resets", TypeError, "resets", "booleans", "float32", resets=ones(T, B))
    yield case("reverse", TypeError, "reverse", "True or False", "int 1", reverse=1)
    yield from not_keys(name, lambda key: of_cell(name, key=key))
    if name not in WITHOUT_LOSS:
        yield case("loss", TypeError, "loss", "a function", "None", loss=None)
        yield case("loss-vector", ValueError, "loss", "scalar", f"float32[{T}]", loss=_vector)
        yield case("loss-integer", ValueError, "loss", "floating-point", "int32[]", loss=_count)
    if "contributions" in name:
        yield case("names-unknown", ValueError, "names[1]", "w_h", "'w_y'", names=("w_h", "w_y"))
        yield case("names-string", TypeError, "names", "in a list", "'w_h'", names="w_h")
        yield case("names-empty", TypeError, "names", "at least one", "()", names=())
        yield case("params-list", TypeError, "params", "a dict", "list", params=[1.0])
    if "lag" in name:
        yield from (c for c in sizes(name, "max_lag", lambda k: of_cell(name, max_lag=k)) if "None" not in c.name)


def _gates():
    def case(what, error, argument, expected, got, **arguments):
        return Case(
            f"gate_statistics-{what}", lambda: of_cell("gate_statistics", **arguments), error, argument, expected, got
        )

    no_gates = jaxrnn.lstm(D, H, proj_size=2)
    yield case("plain", ValueError, "cell", "names its gates", "ProjectedLSTM", cell=no_gates, params=drawn(no_gates))
    unknown = jaxrnn.elman(D, H, activation=jnp.sin)
    yield case("unknown", ValueError, "cell", "names its gates", "Elman", cell=unknown, params=drawn(unknown))
    yield case("margin-0", ValueError, "margin", "above 0", "0.0", margin=0.0)
    yield case("margin-0.6", ValueError, "margin", "at most 0.5", "0.6", margin=0.6)


def _matrices(name, f, argument):
    def case(what, error, expected, got, value):
        return Case(f"{name}-{what}", lambda: f(value), error, argument, expected, got)

    yield case("rectangle", ValueError, "[..., N, N]", "float32[5, 2, 3]", ones(T, 2, 3))
    yield case("vector", ValueError, "[..., N, N]", "float32[3]", ones(3))
    yield case("integers", TypeError, "floating-point", "int32", np.ones((T, 2, 2), np.int32))
    yield case("string", TypeError, "an array", "'J'", "J")


def _over_time(name, f):
    yield from _matrices(name, f, "jacobians")

    def case(what, error, argument, expected, got, jacobians=JACOBIANS, **options):
        return Case(f"{name}-{what}", lambda: f(jacobians, **options), error, argument, expected, got)

    yield case("one-matrix", ValueError, "jacobians", "at least one step", "float32[4, 4]", ones(H, H))
    yield case("lengths", ValueError, "lengths", f"shape ({B},)", "[3]", lengths=np.array([1, 2, 3]))
    yield case("resets", ValueError, "resets", f"shape ({T}, {B})", f"[{B}]", resets=np.zeros(B, bool))
    yield case("reverse", TypeError, "reverse", "True or False", "None", reverse=None)


def _report(name, f):
    def case(what, error, argument, expected, got, model=MODEL, params=MODEL_PARAMS, batch=BATCH, **options):
        options = {"loss": jaxrnn.losses.mean_squared_error} | options
        return Case(f"{name}-{what}", lambda: f(model, params, batch, **options), error, argument, expected, got)

    dense = jaxrnn.dense(D, O)
    yield case("model", TypeError, "model", "Model or Cell", "None", model=None)
    yield case("no-layer", ValueError, "model", "recurrent layer", "Dense", model=dense, params=drawn(dense))
    yield case("params", ValueError, "params", "'0', '1'", "[]", params={})
    yield case("batch", ValueError, "batch", 'entry "xs"', "targets", batch={"targets": ones(T, B, O)})
    yield case("loss", TypeError, "loss", "a function", "'mse'", loss="mse")
    yield case("loss-vector", ValueError, "loss", "scalar", f"[{T}]", loss=lambda ys, batch: _vector(ys))
    yield case("lengths", ValueError, "lengths", f"0 to T = {T}", "9", batch=BATCH | {"lengths": np.array([9, 1])})
    for option in ("rows", "max_lag"):
        yield from sizes(name, option, lambda n, option=option: f(MODEL, MODEL_PARAMS, BATCH, **{option: n}))
    yield from not_keys(name, lambda key: f(MODEL, MODEL_PARAMS, BATCH, key=key))


def _plots():
    arguments = {"plot_hidden_gradients": "gradients", "plot_lag_contributions": "contributions"}
    for name, argument in (arguments | {"plot_weight_contributions": "contributions"}).items():
        f = getattr(jaxrnn.diagnostics, name)
        yield Case(f"{name}-number", lambda f=f: f({"h": ones()}), ValueError, argument, "[T, ...]", "float32")
        yield Case(f"{name}-empty", lambda f=f: f({}), ValueError, argument, "at least one", "{}")
        kind = "an array" if argument == "gradients" else "a dict"
        yield Case(f"{name}-string", lambda f=f: f("h"), TypeError, argument, kind, "'h'")
    lags, name = jaxrnn.diagnostics.plot_gradient_norm_by_lag, "plot_gradient_norm_by_lag"
    yield Case(f"{name}-string", lambda: lags("h"), TypeError, "norms", "an array", "'h'")
    yield Case(f"{name}-matrix", lambda: lags({"a": ones(T, 2)}), ValueError, "norms['a']", "[K+1]", "float32[5, 2]")
    gates = {"i": ones(T)}
    plot = jaxrnn.diagnostics.plot_gate_statistics
    yield Case(
        "plot_gate_statistics-array", lambda: plot(gates), TypeError, "gates['i']", "GateStatistics", "float32[5]"
    )
    yield Case("plot_gate_statistics-list", lambda: plot([]), TypeError, "gates", "a dict", "[]")


CASES = [
    *(case for name in OF_CELLS for case in _of_cells(name)),
    *_gates(),
    *_matrices("singular_values", jaxrnn.diagnostics.singular_values, "matrices"),
    *_matrices("spectral_radius", jaxrnn.diagnostics.spectral_radius, "matrices"),
    *_over_time("product_norms", jaxrnn.diagnostics.product_norms),
    *_over_time("lyapunov_spectrum", jaxrnn.diagnostics.lyapunov_spectrum),
    *_over_time("plot_state_jacobians", jaxrnn.diagnostics.plot_state_jacobians),
    *(
        c
        for c in sizes("product_norms", "max_lag", lambda k: jaxrnn.diagnostics.product_norms(JACOBIANS, max_lag=k))
        if "None" not in c.name
    ),
    *each(
        "lyapunov_spectrum",
        "transient",
        lambda n: jaxrnn.diagnostics.lyapunov_spectrum(JACOBIANS, transient=n),
        ValueError,
        "integer from 0",
        -1,
        T,
        1.5,
        True,
    ),
    *each("explain", "cell_or_model", lambda v: jaxrnn.diagnostics.explain(v, PARAMS, XS), TypeError, "a Cell", "lstm"),
    *each(
        "explain",
        "platform",
        lambda v: jaxrnn.diagnostics.explain(CELL, PARAMS, XS, platform=v),
        ValueError,
        "'cuda'",
        "rocm",
        1,
    ),
    Case(
        "explain-gradient",
        lambda: jaxrnn.diagnostics.explain(CELL, PARAMS, XS, gradient=jaxrnn.autodiff()),
        TypeError,
        "gradient",
        "a ReverseScan",
        "autodiff()",
    ),
    Case(
        "explain-xs",
        lambda: jaxrnn.diagnostics.explain(CELL, PARAMS, ones(T, B, D + 1)),
        ValueError,
        "xs",
        f"{D} features",
        f"{D + 1}]",
    ),
    Case("summary-model", lambda: jaxrnn.summary("lstm", XS), TypeError, "model", "a Model or Cell", "'lstm'"),
    Case("summary-params", lambda: jaxrnn.summary(MODEL, XS, params={}), ValueError, "params", "'0', '1'", "[]"),
    Case("summary-xs", lambda: jaxrnn.summary(MODEL, ones(T, D + 1)), ValueError, "xs", f"{D} features", f"{D + 1}]"),
    *_report("gradient_report", jaxrnn.gradient_report),
    *_report("gradient_statistics", jaxrnn.diagnostics.gradient_statistics),
    *_plots(),
]
