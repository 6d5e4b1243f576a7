"""Wrong arguments of what runs cells and differentiates them, and cells whose functions break their contract."""

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn.cells.gated import Noise
from tests.bad_input.case import bad_type, bad_value, right
from tests.bad_input.values import ELMAN, GRU, HS, KEY, LENGTHS, LSTM, MASK, XS, B, D, H, T, drawn, ones

NOISY = jaxrnn.gru(D, H, recurrent_dropout=0.1)
OF_NOISY = jaxrnn.online.rtrl_start(NOISY, drawn(NOISY), (B,))[1]
PARAMS, PLAIN, Carry = drawn(ELMAN), jaxrnn.gru(D, H, reset_after=False), jaxrnn.cells.LSTMCarry
INFLUENCE, OTHER, SNAP1 = (
    jaxrnn.online.rtrl_start(GRU, drawn(GRU), (rows,), sparsity=sparsity)[1]
    for rows, sparsity in ((B, None), (B + 1, None), (B, "snap1"))
)


def _plain(step=None, initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, H)), noise=None, **options):
    """An unroll of a plain cell with something wrong about its functions."""
    cell = jaxrnn.cell(lambda key: {}, initial_carry, step or (lambda params, carry, x: (carry, x)), noise=noise)
    return jaxrnn.unroll(cell, {}, XS, key=None if noise is None else KEY, **options)


def _gated(update=lambda params, carry, gates, noise: gates[0], **functions):
    """The same of a gated cell."""
    return jaxrnn.unroll(jaxrnn.gated_cell(D, H, {"n": jnp.tanh}, update, **functions), PARAMS, XS)


def _under(gradient, cell=GRU, xs=XS):
    return jaxrnn.unroll(cell, drawn(cell), xs, gradient=gradient)


# fmt: off
OF_BOTH = {"params": "params", "array": "xs carry resets", "features": "xs", "lengths": "lengths", "rows": "lengths",
           "steps": "resets mask", "key": "key"}
OPTIONS = {"carry": HS, "lengths": LENGTHS, "resets": MASK, "mask": MASK, "key": KEY, "reverse": False,
           "gradient": jaxrnn.reverse_scan(), "states": True, "burn_in": 0, "time_major": True}
SHAPE, OF_LSTM = "shape (2, 4)", bad_value("params['b']: shape (4,), got float32[16]", params=drawn(LSTM))
ONLINE = {"cell": GRU, "params": drawn(GRU)}
STEP = {"carry": HS, "influence": INFLUENCE, "x": XS[0], "loss": lambda y: jnp.sum(y**2)}
OF_ONLINE = [
    bad_type("Cell", cell=jaxrnn.stack([GRU])),
    bad_value("gated, got ResetBeforeGRU", sparsity="snap1", cell=PLAIN, params=drawn(PLAIN)),
]
TABLE = [
    right("unroll", {**ONLINE, "xs": XS, **OPTIONS}, OF_BOTH, cell="cell", flag="reverse states time_major",
          gradient="gradient"), bad_value("0 with reverse", burn_in=2, reverse=True), bad_value("T - 1 = 4", burn_in=5),
    right("unroll an LSTM", {"cell": LSTM, "params": drawn(LSTM), "xs": XS}), bad_value("LSTMCarry of 2", carry=HS),
        bad_value("LSTMCarry of 2", carry=(HS, HS)),
        bad_value(f"carry.c: {SHAPE}, got float32[{B}, {H + 1}]", carry=Carry(HS, ones(B, H + 1))),
    right("unroll a row", {"cell": ELMAN, "params": PARAMS, "xs": XS[:, 0]}), OF_LSTM,
        bad_value("(), got int32[1]", lengths=[3]), bad_value("shape (4,)", carry=ones(1, H)),
        bad_value("(5,), got bool[5, 1]", resets=[[True]] * T),
    right("check_gradients", {"cell_or_model": ELMAN, "params": PARAMS, "xs": XS}, OF_BOTH, cell="cell_or_model",
          size="directions"), OF_LSTM,
        bad_value("params: '0', got a dict with ['b'", cell_or_model=jaxrnn.stack([ELMAN])),
        bad_type("tuple or list", gradients=jaxrnn.autodiff()),
        bad_type("Gradient, got str 'autodiff'", gradients=("autodiff",)),
    # Cells whose own functions are wrong.
    right("unroll a plain cell", {}, call=_plain),
        bad_value(f"step: carry: {SHAPE}, got float32[{H}]", step=lambda p, c, x: (c[0], c)),
        bad_type("(carry, y), got float32", step=lambda p, c, x: c),
        bad_type("(carry, y), got tuple of 3", step=lambda p, c, x: (c, c, c)),
        bad_type("an array, got str 'y'", step=lambda p, c, x: (c, "y")),
        bad_value("step: y: (2,), got float32[]", step=lambda p, c, x: (c, c.sum()), lengths=LENGTHS),
        bad_value("(2,), got float32[4]", initial_carry=lambda p, s: jnp.zeros(H), lengths=LENGTHS),
        bad_type("an array, got str 'zeros'", initial_carry=lambda p, s: "zeros"),
        bad_value("5, got float32[4]", noise=lambda k, t, s: jnp.zeros(H), step=lambda p, c, x, n: (c, c)),
    right("unroll a gated cell", {}, call=_gated),
        bad_value(f"step: carry: {SHAPE}, got float32[{H}]", update=lambda p, c, g, n: c[0]),
        bad_value("(2, 4), got float32[4]", hidden=lambda c: c[0]),
        bad_type("an array, got tuple", hidden=lambda c: (c, c)),
        bad_type("an array, got str 'zeros'", zero_carry=lambda s, d: "zeros"),
        bad_value("w_x, got ['w_x']", own_params=lambda k: {"w_x": ones(2)}),
        bad_type("dict, got list", own_params=lambda k: [ones(2)]),
    right("unroll what closes over a tracer", {}, call=lambda gradient: jax.grad(lambda a: _plain(
          lambda p, c, x: (c * a, c), gradient=gradient)[1].sum())(1.5)),
        bad_value("step: closes over no traced value, got one that closes over", gradient=jaxrnn.reverse_scan()),
    # Gradients.
    right("reverse_scan", {}, above_0="clip_norm clip_value", option="loop"),
    right("reverse_scan of a cell", {"gradient": jaxrnn.reverse_scan(loop="persistent")}, call=_under),
        bad_value("loop: 'scan' for this cell, got a GatedCell", cell=PLAIN),
        bad_value("loop: 'scan' for this cell, got mix hidden units", cell=jaxrnn.lstm(D, H, layer_norm=True)),
    right("checkpointed", {}, size="segments checkpoints"),
        bad_value("None beside segments=2", checkpoints=3, segments=2),
    right("checkpointed of a cell", {"gradient": jaxrnn.checkpointed(checkpoints=5)}, call=_under),
        bad_value("checkpoints: at least 14 for 100 steps, got 5", xs=ones(100, D)),
    right("truncated", {"k1": 1}, size="k1 k2"), bad_value("at least k1 = 4", k2=3, k1=4),
    right("rtrl", {}, option="sparsity"),
    right("rtrl of a cell", {"gradient": jaxrnn.rtrl(sparsity="snap1")}, call=_under),
        bad_value("sparsity: one head, got 2", cell=jaxrnn.gru(D, H, heads=2)),
    right("rtrl of inputs", {}, call=lambda gradient: jax.grad(lambda xs: _under(gradient, xs=xs)[1].sum())(XS)),
        bad_value("goes back in time where the gradient of xs is asked for", gradient=jaxrnn.rtrl()),
    right("rtrl_start", ONLINE | {"batch_shape": (B,)}, params="params", option="sparsity"), *OF_ONLINE,
        bad_type("tuple", batch_shape=2), bad_value("positive, got -2", batch_shape=(-2,)),
    right("rtrl_step", ONLINE | STEP, params="params", option="sparsity", function="loss", array="x carry"), *OF_ONLINE,
        bad_value("[..., 3]", x=ones(B, D + 1)), bad_value("scalar, got float32[4]", loss=lambda y: y[0]),
        bad_value("12, 2, 4, got float32[12, 3, 4]", influence=OTHER),
        bad_value("12, 2, 4, got float32[2, 3, 4]", influence=SNAP1), bad_value("noise: None", noise=True),
        bad_type("a function of (y), got one of ()", loss=lambda: 0.0),
    right("rtrl_step of a noisy cell", {"cell": NOISY, "params": drawn(NOISY), **STEP, "influence": OF_NOISY},
          call=jaxrnn.online.rtrl_step),
        bad_value("a Noise of 3", noise=True),
        bad_value("noise.dropout: shape (2, 4), got float32[4]", noise=Noise(dropout=HS[0])),
    right("run_layer", {**ONLINE, "xs": XS, "carry": None, "call": jaxrnn.extend.Call()}, cell="cell", flag="reverse",
          gradient="gradient"), bad_type("a Call", call=None),
    right("pytree", {}, call=jaxrnn.extend.pytree), bad_type("a type", cls=3),
]
