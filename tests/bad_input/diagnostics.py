"""Wrong arguments of the diagnostics."""

import jax.numpy as jnp

import jaxrnn
from tests.bad_input.case import Entries, bad_type, bad_value, right
from tests.bad_input.values import (
    DENSE,
    ELMAN,
    LENGTHS,
    LONG,
    LOSS,
    LSTM,
    MODEL,
    XS,
    YS,
    B,
    D,
    H,
    T,
    drawn,
    ones,
    without,
)

NO_GATES, UNKNOWN, PARAMS = jaxrnn.lstm(D, H, proj_size=2), jaxrnn.elman(D, H, activation=jnp.sin), drawn(LSTM)

# fmt: off
CELL, JACOBIANS = {"cell": LSTM, "params": PARAMS, "xs": XS}, {"jacobians": ones(T, B, H, H)}
LOSSES = CELL | {"loss": jnp.sum}
REPORT = {"model": MODEL, "params": drawn(MODEL), "batch": {"xs": XS, "targets": YS}, "loss": LOSS}
OF_CELL = {"cell": "cell", "features": "xs", "lengths": "lengths", "steps": "resets", "flag": "reverse", "key": "key"}
OF_JACOBIANS = {"array": "jacobians", "flag": "reverse", "rows": "lengths", "steps": "resets"}
OF_REPORT = {"size": "rows max_lag", "key": "key", "params": "params", "function": "loss"}
NAMED = "a gated cell that names its gates, got"
PART = bad_value("'w_x']", params=without(PARAMS, "w_x"))
OF_LOSS = bad_value("floating-point scalar, got float32[5]", loss=lambda ys, batch=None: ys.sum((1, 2)))
NO_LOSS = bad_type("a function of (ys, got one of ()", loss=lambda: 0.0)
LISTED = jaxrnn.cell(lambda key: [1.0], lambda params, batch_shape: 0.0, lambda params, carry, x: (carry, x))
NAMES = [
    bad_value("names[1]: w_h, got 'w_y'", names=("w_h", "w_y")), bad_type("in a list", names="w_h"),
    bad_type("a dict", params=[1.0], cell=LISTED),
]
REPORTS = [
    OF_LOSS, NO_LOSS, bad_type("a Model or Cell", model=None), bad_value('entry "xs"', batch={"targets": XS}),
    bad_value("recurrent layer", model=DENSE, params=drawn(DENSE)),
    bad_value("lengths: 0 to T = 5, got 1 to 6", batch=Entries(lengths=LONG)),
    bad_value("xs: [T, ...], got float32[]", batch=Entries(lengths=LENGTHS, xs=1.0)),
    bad_type("xs: an array, got None", batch=Entries(lengths=LENGTHS, xs=None)),
    bad_type("batch['xs']: an array, got list [[1.0], [1.0, 2.0]]", batch=Entries(xs=[[1.0], [1.0, 2.0]])),
    bad_type("batch['about']: an array, got str 'me'", batch=Entries(about="me")),
]


def _matrices(name):
    return [
        bad_value("[..., N, N]", **{name: ones(T, 2, 3)}), bad_value("[..., N, N]", **{name: ones(3)}),
        bad_type("floating-point, got int32", **{name: ones(T, 2, 2, dtype=int)}),
    ]


def _arrays(name):
    return [
        bad_value(f"{name}: [T, ...], got float32", **{name: {"h": ones()}}),
        bad_value("at least one", **{name: {}}),
        bad_value(f"{name}: none empty, got float32[0, 2]", **{name: {"h": ones(0, 2)}}),
    ]


SQUARE = [*_matrices("jacobians"), bad_value("at least one step", jacobians=ones(H, H))]
TABLE = [
    right("hidden_gradients", LOSSES, OF_CELL, function="loss"), PART, OF_LOSS, NO_LOSS,
    right("first_non_finite", LOSSES, OF_CELL, function="loss"), PART, OF_LOSS, NO_LOSS,
    right("gradient_norm_by_lag", LOSSES, OF_CELL, function="loss", size="max_lag"), PART, OF_LOSS, NO_LOSS,
    right("weight_contributions", LOSSES, OF_CELL, function="loss", params="params"), PART, OF_LOSS, NO_LOSS, *NAMES,
    right("lag_contributions", LOSSES, OF_CELL, function="loss", size="max_lag"), PART, OF_LOSS, NO_LOSS, *NAMES,
    right("state_jacobians", CELL, OF_CELL), PART,
    right("gate_statistics", CELL, OF_CELL, above_0="margin"), PART, bad_value("at most 0.5", margin=0.6),
        bad_value(f"{NAMED} ProjectedLSTM", cell=NO_GATES, params=drawn(NO_GATES)),
        bad_value(f"{NAMED} Elman", cell=UNKNOWN, params=drawn(ELMAN)),
    right("singular_values", {}, array="matrices"), *_matrices("matrices"),
    right("spectral_radius", {}, array="matrices"), *_matrices("matrices"),
    right("product_norms", JACOBIANS, OF_JACOBIANS, size="max_lag"), *SQUARE,
    right("plot_state_jacobians", JACOBIANS, OF_JACOBIANS), *SQUARE,
    right("lyapunov_spectrum", JACOBIANS, OF_JACOBIANS), *SQUARE,
        *(bad_value("integer from 0 to T - 1", transient=n) for n in (-1, T, 1.5, True)),
    right("explain", {"cell_or_model": LSTM, "params": PARAMS, "xs": XS}, cell="cell_or_model", option="platform",
          features="xs", array="params xs"), bad_type("a ReverseScan", gradient=jaxrnn.autodiff()),
    right("summary", {"model": MODEL, "xs": XS}, params="params", features="xs"),
        bad_type("a Model or Cell", model="lstm"),
    right("gradient_report", REPORT, OF_REPORT), *REPORTS,
    right("gradient_statistics", REPORT, OF_REPORT), *REPORTS,
    right("plot_hidden_gradients", {}, array="gradients"), *_arrays("gradients"),
    right("plot_lag_contributions", {}, dict="contributions"), *_arrays("contributions"),
    right("plot_weight_contributions", {}, dict="contributions"), *_arrays("contributions"),
    right("plot_gradient_norm_by_lag", {}, array="norms"),
        bad_type("path: the path of a file, got int 3", norms=ones(T), path=3),
        bad_value("at least one array, got an empty dict", norms={}),
        bad_value("norms['a']: [K+1], got float32[5, 2]", norms={"a": ones(T, 2)}),
        *(bad_value("[K+1]", norms=x) for x in (ones(0), 1j * ones(2))),
    right("plot_gate_statistics", {}, dict="gates"),
        bad_type("gates['i']: GateStatistics, got float32[5]", gates={"i": ones(T)}),
]
