"""Wrong options of cells."""

import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import Case, D, H, each, not_keys, ones, sizes


def _update(params, carry, gates, noise):
    return gates[0]


def _any(*arguments):
    return arguments


GATES = {"n": jnp.tanh}


def _gated(D=D, H=H, gates=GATES, update=_update, **options):
    return jaxrnn.gated_cell(D, H, gates, update, **options)


def _ctrnn(D=D, H=H, dt=1.0, tau=5.0, **options):
    return jaxrnn.ctrnn(D, H, dt, tau, **options)


def _with(build, D=D, H=H, **options):
    return build(D, H, **options)


BUILDERS = {"elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru, "ctrnn": _ctrnn, "gated_cell": _gated}


def _shared(name, build):
    """The options that every gated cell has: all wrong values for the LSTM, one for the others."""

    def option(argument, error, expected, *values):
        values = values if name == "lstm" else values[:1]
        return each(name, argument, lambda v: _with(build, **{argument: v}), error, expected, *values)

    cases = sizes(name, "D", lambda v: build(v, H)) + sizes(name, "H", lambda v: build(D, v))
    cases.append(Case(f"{name}-unknown", lambda: build(D, H, size=3), TypeError, "size", "options", "unknown"))
    for argument in ("bias", "learn_carry"):
        cases += option(argument, TypeError, "True or False", 1, "yes", None)
    for argument in ("input_init", "recurrent_init", "bias_init"):
        cases += option(argument, TypeError, "function", "glorot", 0.1, None)
    cases += option("dtype", TypeError, "floating-point dtype", "int32", "float99", 16)
    cases += option("param_dtype", TypeError, "floating-point dtype", "int32", "float99", 16, None)
    cases += option("heads", ValueError, "positive integer", 0, -1, 2.0, True, "2")
    cases += option("heads", ValueError, f"a divisor of H = {H}", 3, 8)
    cases += option("recurrent_dropout", ValueError, "in [0, 1)", 1.0, -0.1, "0.5", True, np.nan)
    cases += option("zoneout", ValueError, "in [0, 1)", 1.0, -0.1, "0.5", True, np.nan)
    cases += [
        Case(
            f"{name}-recurrent_dropout-two",
            lambda: build(D, H, recurrent_dropout=(0.1, 0.2)),
            ValueError,
            "recurrent_dropout",
            "a number in [0, 1)",
            "tuple of 2: (float 0.1, float 0.2)",
        ),
        Case(
            f"{name}-zoneout-three",
            lambda: build(D, H, zoneout=(0.1, 0.2, 0.3)),
            ValueError,
            "zoneout",
            "numbers like the carry",
            "tuple of 3: (float 0.1, float 0.2, float 0.3)",
        ),
    ]
    return cases


CASES = [case for name, build in BUILDERS.items() for case in _shared(name, build)]
CASES += [
    case
    for name, build in {"elman": jaxrnn.elman, "ctrnn": _ctrnn}.items()
    for case in each(
        name, "activation", lambda v, b=build: b(D, H, activation=v), TypeError, "function", "tanh", 1, None
    )
]

for flag in ("peephole", "coupled", "layer_norm"):
    CASES += each(
        "lstm", flag, lambda v, f=flag: jaxrnn.lstm(D, H, **{f: v}), TypeError, "True or False", 1, "yes", None
    )
CASES += each(
    "lstm", "forget_bias", lambda v: jaxrnn.lstm(D, H, forget_bias=v), ValueError, "finite", "1", np.inf, True, None
)
CASES += each("lstm", "chrono", lambda v: jaxrnn.lstm(D, H, chrono=v), ValueError, "above 2", 2.0, 1, "9", np.inf)
CASES += each("gru", "chrono", lambda v: jaxrnn.gru(D, H, chrono=v), ValueError, "above 2", 2.0, 1, "9", np.inf)
CASES += [case for case in sizes("lstm", "proj_size", lambda v: jaxrnn.lstm(D, H, proj_size=v)) if case.got != "None"]
CASES += each(
    "gru", "reset_after", lambda v: jaxrnn.gru(D, H, reset_after=v), TypeError, "True or False", 1, "no", None
)
CASES += each("ctrnn", "dt", lambda v: _ctrnn(dt=v), ValueError, "above 0", 0, -1.0, "1", np.nan, True, None)
CASES += each("ctrnn", "tau", lambda v: _ctrnn(tau=v), ValueError, "above 0", 0, -1.0, "1", np.nan, True, None)
CASES += each("ctrnn", "sigma", lambda v: _ctrnn(sigma=v), ValueError, "at least 0", -0.1, "1", np.inf)
CASES += each(
    "gated_cell", "gates", lambda v: _gated(gates=v), TypeError, "activations by name", 2, None, "n", {}, ["n"]
)
CASES += each("gated_cell", "gates['n']", lambda v: _gated(gates={"n": v}), TypeError, "function", "tanh", None)
CASES += each("apart", "function", jaxrnn.apart, TypeError, "function", "tanh", 1)
CASES += each("gated_cell", "update", lambda v: _gated(update=v), TypeError, "function", "tanh", None)
for function in ("hidden", "zero_carry", "own_params", "noise"):
    CASES += each("gated_cell", function, lambda v, f=function: _gated(**{f: v}), TypeError, "function", "tanh", 1)
CASES += each("gated_cell", "hidden_bias", lambda v: _gated(hidden_bias=v), TypeError, "True or False", 1, None)
CASES += each(
    "gru", "hidden_bias", lambda v: jaxrnn.gru(D, H, reset_after=False, hidden_bias=v), ValueError, "False with", True
)
for i, function in enumerate(("init", "initial_carry", "step")):
    CASES += each(
        "cell",
        function,
        lambda v, i=i: jaxrnn.cell(*(v if i == j else _any for j in range(3))),
        TypeError,
        "function",
        "tanh",
        None,
    )
CASES += each("cell", "noise", lambda v: jaxrnn.cell(_any, _any, _any, noise=v), TypeError, "function", "tanh", 1)
CASES += [
    Case(
        "gated_cell-update-arguments",
        lambda: _gated(update=lambda params, h, n: h),
        TypeError,
        "update",
        "a function of (params, carry, gates, noise)",
        "(params, h, n)",
    ),
    Case(
        "gated_cell-gates-number-as-name",
        lambda: _gated(gates={1: jnp.tanh}),
        TypeError,
        "gates",
        "activations by name",
        "dict",
    ),
    Case(
        "gated_cell-gates-arguments",
        lambda: _gated(gates={"n": lambda zx, zh: zx}),
        TypeError,
        "gates['n']",
        "a function of (z)",
        "(zx, zh)",
    ),
    Case(
        "gated_cell-gates-apart-arguments",
        lambda: _gated(gates={"f": jnp.tanh, "n": jaxrnn.apart(lambda zx, zh: zx)}),
        TypeError,
        "gates['n']",
        "a function of (zx, zh, f)",
        "(zx, zh)",
    ),
    Case(
        "cell-step-arguments",
        lambda: jaxrnn.cell(_any, _any, lambda params, h: h),
        TypeError,
        "step",
        "a function of (params, carry, x)",
        "(params, h)",
    ),
    Case(
        "cell-step-noise",
        lambda: jaxrnn.cell(_any, _any, lambda params, h, x: h, noise=_any),
        TypeError,
        "step",
        "a function of (params, carry, x, noise)",
        "(params, h, x)",
    ),
]

CASES += [
    Case(
        "lstm-zoneout-shape",
        lambda: jaxrnn.lstm(D, H, zoneout=np.full(H + 1, 0.1)),
        ValueError,
        "zoneout",
        f"({H},)",
        f"[{H + 1}]",
    ),
    Case(
        "lstm-forget_bias-shape",
        lambda: jaxrnn.lstm(D, H, forget_bias=ones(H + 1)),
        ValueError,
        "forget_bias",
        f"({H},)",
        f"{H + 1}",
    ),
    Case(
        "lstm-proj_size-dropout",
        lambda: jaxrnn.lstm(D, H, proj_size=2, recurrent_dropout=0.1),
        ValueError,
        "recurrent_dropout",
        "None with proj_size",
        "0.1",
    ),
    Case(
        "lstm-proj_size-zoneout",
        lambda: jaxrnn.lstm(D, H, proj_size=2, zoneout=0.1),
        ValueError,
        "zoneout",
        "None with proj_size",
        "0.1",
    ),
    Case(
        "lstm-proj_size-heads",
        lambda: jaxrnn.lstm(D, H, proj_size=2, heads=2),
        ValueError,
        "heads",
        "1 with proj_size",
        "2",
    ),
    Case(
        "gru-reset_before-heads",
        lambda: jaxrnn.gru(D, H, reset_after=False, heads=2),
        ValueError,
        "heads",
        "1 with reset_after=False",
        "2",
    ),
    Case("ctrnn-dt-above-tau", lambda: _ctrnn(dt=6.0), ValueError, "dt", "at most tau = 5", "6"),
    Case(
        "ctrnn-tau-shape",
        lambda: _ctrnn(tau=ones(H + 1)),
        ValueError,
        "tau",
        f"number or an array of shape ({H},), above 0",
        f"float32[{H + 1}]",
    ),
    Case("ctrnn-dt-shape", lambda: _ctrnn(dt=ones(H + 1)), ValueError, "dt", "a number above 0", f"float32[{H + 1}]"),
    Case(
        "ctrnn-sigma-shape",
        lambda: _ctrnn(sigma=ones(H + 1)),
        ValueError,
        "sigma",
        f"number or an array of shape ({H},), of at least 0",
        f"float32[{H + 1}]",
    ),
    Case("torch_uniform-H", lambda: jaxrnn.initializers.torch_uniform(0), ValueError, "H", "positive integer", "0"),
]
for name, build in BUILDERS.items():
    CASES += not_keys(f"{name}.init", lambda v, b=build: b(D, H).init(v))[:2]
CASES += [
    Case(
        "elman-param_dtype-integer",
        lambda: jaxrnn.elman(D, H, param_dtype=jnp.int8),
        TypeError,
        "param_dtype",
        "float",
        "int8",
    )
]
