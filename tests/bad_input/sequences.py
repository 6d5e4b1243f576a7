"""Wrong arguments of `unroll` and `check_gradients`, and cells whose functions break their contract."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import ROWS, XS, B, Case, D, H, T, changed, drawn, each, not_keys, ones, sizes

LSTM, ELMAN, MODEL = jaxrnn.lstm(D, H), jaxrnn.elman(D, H), jaxrnn.stack([jaxrnn.elman(D, H)])
P_LSTM, P_ELMAN = drawn(LSTM), drawn(ELMAN)
W_X = P_LSTM["w_x"]
INTEGERS = np.ones((T, B, D), np.int32)


class Other(NamedTuple):
    """Named like no carry of the library."""

    c: np.ndarray
    h: np.ndarray


def lstm(xs=XS, carry=None, **options):
    return jaxrnn.unroll(LSTM, options.pop("params", P_LSTM), xs, carry, **options)


def elman(xs=XS, carry=None, **options):
    return jaxrnn.unroll(ELMAN, options.pop("params", P_ELMAN), xs, carry, **options)


def check(thing=ELMAN, params=P_ELMAN, xs=XS, **options):
    return jaxrnn.check_gradients(thing, params, xs, **options)


def _of_both(name, run):
    """What `unroll` and `check_gradients` share; `run` is either with an Elman cell."""

    def case(what, error, argument, expected, got, **wrong):
        return Case(f"{name}-{what}", lambda: run(**wrong), error, argument, expected, got)

    fits, entries = f"[T, ..., {D}]", "a dict with the entries ['b', 'w_h', 'w_x']"
    return [
        case("params-none", ValueError, "params", entries, "None", params=None),
        case("params-string", ValueError, "params", entries, "str 'w_x'", params="w_x"),
        case("params-lstm", ValueError, "params['b']", f"shape ({H},)", f"float32[{4 * H}]", params=P_LSTM),
        case(
            "params-missing",
            ValueError,
            "params",
            entries,
            "a dict with ['b', 'w_x']",
            params=changed(P_ELMAN, w_h=None),
        ),
        case(
            "params-extra", ValueError, "params", entries, "['b', 'w', 'w_h', 'w_x']", params=P_ELMAN | {"w": ones(2)}
        ),
        case("params-shape", ValueError, "params['b']", f"shape ({H},)", "float32[1]", params=P_ELMAN | {"b": ones(1)}),
        case(
            "params-integers",
            TypeError,
            "params['b']",
            "float",
            f"int32[{H}]",
            params=P_ELMAN | {"b": np.ones(H, np.int32)},
        ),
        case("params-of-model", ValueError, "params", entries, "a dict with ['0']", params={"0": P_ELMAN}),
        case("xs-vector", ValueError, "xs", fits, f"[{T}]", xs=ones(T)),
        case("xs-number", ValueError, "xs", fits, "[]", xs=np.float32(1.0)),
        case("xs-features", ValueError, "xs", f"{D} features", f"[{T}, {B}, {D + 1}]", xs=ones(T, B, D + 1)),
        case("xs-empty", ValueError, "xs", "at least one time step", f"[0, {B}, {D}]", xs=ones(0, B, D)),
        case("xs-integers", TypeError, "xs", "floating-point", f"int32[{T}, {B}, {D}]", xs=INTEGERS),
        case("xs-booleans", TypeError, "xs", "floating-point", f"bool[{T}, {B}, {D}]", xs=INTEGERS > 0),
        case("xs-complex", TypeError, "xs", "floating-point", "complex64", xs=INTEGERS.astype(np.complex64)),
        case("xs-string", TypeError, "xs", "array", "str 'xs'", xs="xs"),
        case("xs-none", TypeError, "xs", "array", "None", xs=None),
        case("xs-ragged", TypeError, "xs", "array", "list [[1.0], [1.0, 2.0]]", xs=[[1.0], [1.0, 2.0]]),
        case("xs-dict", TypeError, "xs", "array", "dict {'xs': 1}", xs={"xs": 1}),
        case("carry-batch", ValueError, "carry", f"shape ({B}, {H})", f"float32[{B + 1}, {H}]", carry=ones(B + 1, H)),
        case(
            "carry-features", ValueError, "carry", f"shape ({B}, {H})", f"float32[{B}, {H + 1}]", carry=ones(B, H + 1)
        ),
        case("carry-row", ValueError, "carry", f"shape ({B}, {H})", f"float32[{H}]", carry=ones(H)),
        case("carry-number", ValueError, "carry", f"shape ({B}, {H})", "float", carry=0.0),
        case("carry-string", TypeError, "carry", "an array", "str 'zeros'", carry="zeros"),
        case(
            "carry-lstm",
            ValueError,
            "carry",
            f"shape ({B}, {H})",
            "LSTMCarry of 2",
            carry=jaxrnn.cells.LSTMCarry(ones(B, H), ones(B, H)),
        ),
        case("lengths-long", ValueError, "lengths", f"0 to T = {T}", f"1 to {T + 1}", lengths=np.array([1, T + 1])),
        case("lengths-negative", ValueError, "lengths", f"0 to T = {T}", "-1 to 1", lengths=[-1, 1]),
        case("lengths-floats", TypeError, "lengths", "integers", f"float32[{B}]", lengths=ones(B)),
        case("lengths-booleans", TypeError, "lengths", "integers", f"bool[{B}]", lengths=[True, False]),
        case("lengths-number", ValueError, "lengths", f"({B},)", "[]", lengths=3),
        case("lengths-rows", ValueError, "lengths", f"({B},)", f"[{B + 1}]", lengths=[1] * (B + 1)),
        case("lengths-steps", TypeError, "lengths", "integers", f"bool[{T}, {B}]", lengths=np.ones((T, B), bool)),
        case("lengths-string", TypeError, "lengths", "array", "str 'all'", lengths="all"),
        case("resets-row", ValueError, "resets", f"({T}, {B})", f"bool[{B}]", resets=np.ones(B, bool)),
        case("resets-swapped", ValueError, "resets", f"({T}, {B})", f"bool[{B}, {T}]", resets=np.ones((B, T), bool)),
        case("resets-integers", TypeError, "resets", "booleans", "int32", resets=np.ones((T, B), np.int32)),
        case("resets-floats", TypeError, "resets", "booleans", "float32", resets=ones(T, B)),
        case("resets-string", TypeError, "resets", "array", "str 'first'", resets="first"),
        *not_keys(name, lambda v: run(key=v)),
    ]


def _loop(step, carry=lambda params, batch_shape: jnp.zeros((*batch_shape, H)), noise=None, **options):
    """An unroll of a plain cell with something wrong about its functions."""
    cell = jaxrnn.cell(lambda key: {}, carry, step, noise=noise)
    return jaxrnn.unroll(cell, {}, XS, key=None if noise is None else jax.random.key(0), **options)


def _gated(update=lambda params, carry, gates, noise: gates[0], gate=jnp.tanh, **functions):
    """The same of a gated cell."""
    key = jax.random.key(0) if "noise" in functions else None
    cell = jaxrnn.gated_cell(D, H, {"n": gate}, update, **functions)
    return jaxrnn.unroll(cell, P_ELMAN, XS, key=key)


def _wider(x):
    return jnp.concatenate([x, x], axis=-1)


def _tracer_in_step(gradient):
    def loss(scale):
        def step(params, carry, x):
            return carry * scale, carry

        return _loop(step, gradient=gradient)[1].sum()

    return jax.grad(loss)(1.5)


CASES = _of_both("unroll", elman) + _of_both("check_gradients", check)
CASES += [
    Case("unroll-cell-model", lambda: jaxrnn.unroll(MODEL, {"0": P_ELMAN}, XS), TypeError, "cell", "Cell", "Stack"),
    Case("unroll-cell-builder", lambda: jaxrnn.unroll(jaxrnn.lstm, P_LSTM, XS), TypeError, "cell", "Cell", "function"),
    Case("unroll-cell-string", lambda: jaxrnn.unroll("lstm", P_LSTM, XS), TypeError, "cell", "Cell", "str 'lstm'"),
    Case("unroll-cell-swapped", lambda: jaxrnn.unroll(P_LSTM, LSTM, XS), TypeError, "cell", "Cell", "dict"),
    Case(
        "unroll-carry-bare", lambda: lstm(carry=ones(B, H)), ValueError, "carry", "LSTMCarry of 2", f"float32[{B}, {H}]"
    ),
    Case(
        "unroll-carry-pair", lambda: lstm(carry=(ones(B, H),) * 2), ValueError, "carry", "LSTMCarry of 2", "tuple of 2"
    ),
    Case(
        "unroll-carry-other",
        lambda: lstm(carry=Other(ones(B, H), ones(B, H))),
        ValueError,
        "carry",
        "LSTMCarry",
        "Other",
    ),
    Case(
        "unroll-carry-c",
        lambda: lstm(carry=jaxrnn.cells.LSTMCarry(ones(B, H), ones(B, H + 1))),
        ValueError,
        "carry.c",
        f"shape ({B}, {H})",
        f"float32[{B}, {H + 1}]",
    ),
    Case(
        "unroll-carry-half",
        lambda: lstm(carry=jaxrnn.cells.LSTMCarry(ones(B, H), ones(B, H).astype(np.float16))),
        TypeError,
        "carry.c",
        "float32",
        "float16",
    ),
    Case(
        "unroll-carry-integers",
        lambda: elman(carry=np.ones((B, H), np.int32)),
        TypeError,
        "carry",
        "float32",
        "int32",
    ),
    Case(
        "unroll-carry-none-in-it",
        lambda: lstm(carry=jaxrnn.cells.LSTMCarry(ones(B, H), None)),
        TypeError,
        "carry.c",
        "an array",
        "None",
    ),
    Case("unroll-row-lengths", lambda: elman(ROWS, lengths=[3]), ValueError, "lengths", "()", "int32[1]"),
    Case("unroll-row-carry", lambda: elman(ROWS, ones(1, H)), ValueError, "carry", f"shape ({H},)", f"float32[1, {H}]"),
    Case("unroll-row-resets", lambda: elman(ROWS, resets=[[True]] * T), ValueError, "resets", f"({T},)", f"[{T}, 1]"),
    *each("unroll", "reverse", lambda v: elman(reverse=v), TypeError, "True or False", 1, "yes", None),
    *each("unroll", "gradient", lambda v: elman(gradient=v), TypeError, "Gradient", "autodiff", 0),
    Case(
        "unroll-gradient-builder",
        lambda: elman(gradient=jaxrnn.autodiff),
        TypeError,
        "gradient",
        "Gradient",
        "function",
    ),
    # Cells whose own functions are wrong.
    Case(
        "step-carry-shape",
        lambda: _loop(lambda p, c, x: (_wider(c), c)),
        ValueError,
        "step: carry",
        f"shape ({B}, {H})",
        f"float32[{B}, {2 * H}]",
    ),
    Case(
        "step-carry-dtype",
        lambda: _loop(lambda p, c, x: (c.astype(jnp.float16), c)),
        TypeError,
        "step: carry",
        "float32",
        "float16",
    ),
    Case(
        "step-carry-tuple",
        lambda: _loop(lambda p, c, x: ((c, c), c)),
        ValueError,
        "step: carry",
        "an array",
        "tuple of 2",
    ),
    Case("step-carry-none", lambda: _loop(lambda p, c, x: (None, c)), TypeError, "step: carry", "an array", "None"),
    Case("step-returns-one", lambda: _loop(lambda p, c, x: c), TypeError, "step", "(carry, y)", f"[{B}, {H}]"),
    Case("step-returns-three", lambda: _loop(lambda p, c, x: (c, c, c)), TypeError, "step", "(carry, y)", "3"),
    Case("step-returns-none", lambda: _loop(lambda p, c, x: None), TypeError, "step", "(carry, y)", "None"),
    Case("step-y-string", lambda: _loop(lambda p, c, x: (c, "y")), TypeError, "step", "array", "'y'"),
    Case(
        "step-y-without-rows",
        lambda: _loop(lambda p, c, x: (c, c.sum()), lengths=[1, 2]),
        ValueError,
        "step: y",
        f"({B},)",
        "float32[]",
    ),
    Case(
        "step-closes-over-tracer",
        lambda: _tracer_in_step(jaxrnn.reverse_scan()),
        ValueError,
        "step",
        "closes over no traced value",
        "float32[]",
    ),
    Case(
        "initial_carry-without-rows",
        lambda: _loop(lambda p, c, x: (c, c), lambda p, s: jnp.zeros(H), lengths=[1, 2]),
        ValueError,
        "initial_carry",
        f"({B},)",
        f"float32[{H}]",
    ),
    Case(
        "initial_carry-string",
        lambda: _loop(lambda p, c, x: (c, x), lambda p, s: "zeros"),
        TypeError,
        "initial_carry",
        "array",
        "'zeros'",
    ),
    Case(
        "noise-without-steps",
        lambda: _loop(lambda p, c, x, n: (c, c), noise=lambda k, t, s: jnp.zeros((*s, H))),
        ValueError,
        "noise",
        f"{T}",
        f"[{B}, {H}]",
    ),
    Case(
        "update-shape",
        lambda: _gated(lambda p, c, gates, n: _wider(c)),
        ValueError,
        "step: carry",
        f"shape ({B}, {H})",
        f"float32[{B}, {2 * H}]",
    ),
    Case("hidden-shape", lambda: _gated(hidden=_wider), ValueError, "hidden", f"({B}, {H})", f"[{B}, {2 * H}]"),
    Case("hidden-tuple", lambda: _gated(hidden=lambda c: (c, c)), TypeError, "hidden", "array", "tuple"),
    Case(
        "zero_carry-string",
        lambda: _gated(zero_carry=lambda s, d: "zeros"),
        TypeError,
        "zero_carry",
        "array",
        "'zeros'",
    ),
    Case(
        "own_params-takes-w_x",
        lambda: _gated(own_params=lambda k: {"w_x": ones(2)}),
        ValueError,
        "own_params",
        "w_x",
        "w_x",
    ),
    Case(
        "own_params-list",
        lambda: _gated(own_params=lambda k: [ones(2)]),
        TypeError,
        "own_params",
        "dict",
        "list",
    ),
    # check_gradients has more of its own.
    Case(
        "check_gradients-thing-string", lambda: check("lstm"), TypeError, "cell_or_model", "Cell or Model", "str 'lstm'"
    ),
    Case("check_gradients-model-params", lambda: check(MODEL), ValueError, "params", "'0'", "'b'"),
    *sizes("check_gradients", "directions", lambda v: check(directions=v)),
    Case(
        "check_gradients-one",
        lambda: check(gradients=jaxrnn.autodiff()),
        TypeError,
        "gradients",
        "tuple or list",
        "autodiff()",
    ),
    Case(
        "check_gradients-names",
        lambda: check(gradients=("autodiff",)),
        TypeError,
        "gradients",
        "Gradient",
        "'autodiff'",
    ),
    Case(
        "check_gradients-string",
        lambda: check(gradients="autodiff"),
        TypeError,
        "gradients",
        "tuple or list",
        "str 'autodiff'",
    ),
]
