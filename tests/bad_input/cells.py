"""Wrong options of cells."""

import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import Entries, bad_type, bad_value, right
from tests.bad_input.values import ELMAN, GRU, KEY, LSTM, D, H, drawn


def _any(*arguments):
    return arguments


# fmt: off
SIZES, LEARNING = {"D": D, "H": H}, jaxrnn.lstm(D, H, learn_carry=True)
GATED = SIZES | {"gates": {"n": jnp.tanh}, "update": lambda params, carry, gates, noise: gates[0]}
OPTIONS = {
    "size": "D H heads", "flag": "bias hidden_bias learn_carry", "initializer": "input_init recurrent_init bias_init",
    "dtype": "dtype param_dtype", "rate": "recurrent_dropout zoneout",
}
OF_ALL = [
    bad_type("one of the options ('bias', , got an unknown one", size=3),
        bad_type("one of the options ('bias', , got an unknown one; jaxrnn.stack([cell, cell]) has", num_layers=2),
        bad_value("a divisor of H = 4", heads=3),
    bad_value("numbers like the carry", zoneout=(0.1, 0.2, 0.3)), bad_type("float", param_dtype=None),
]
NO_BIAS = bad_value("None without a bias", chrono=9, bias=False)
TABLE = [
    right("elman", SIZES, OPTIONS, activation="activation"), *OF_ALL,
    right("lstm", SIZES, OPTIONS, size="proj_size", flag="peephole coupled layer_norm", finite="forget_bias",
          above_2="chrono"), *OF_ALL, NO_BIAS, bad_value("(4,)", zoneout=np.full(5, 0.1)),
        bad_value("in [0, 1), got float 1.0", zoneout=jaxrnn.cells.LSTMCarry(1.0, 0.1)),
        bad_value("(4,)", forget_bias=np.ones(5)),
        bad_value("no such option with layer_norm, got one", bias=False, layer_norm=True),
        bad_value("None with proj_size", recurrent_dropout=0.1, proj_size=2),
        bad_value("None with proj_size", zoneout=0.1, proj_size=2), bad_value("1 with proj_size", heads=2, proj_size=2),
    right("gru", SIZES, OPTIONS, flag="reset_after", above_2="chrono"), *OF_ALL, NO_BIAS,
        bad_value("1 with reset_after=False", heads=2, reset_after=False),
        bad_value("False with reset_after=False", hidden_bias=True, reset_after=False),
    right("ctrnn", SIZES | {"dt": 1, "tau": 5}, OPTIONS, above_0="dt tau", not_negative="sigma",
          activation="activation"), *OF_ALL, bad_value("at most tau = 5", dt=6.0),
        bad_value("a number above 0", dt=np.ones(H)),
        bad_value("array of shape (4,), above 0", tau=np.ones(H + 1)),
        bad_value("array of shape (4,), of at least 0", sigma=np.ones(H + 1)),
    right("gated_cell", GATED, OPTIONS, function="update hidden zero_carry own_params noise"), *OF_ALL,
        bad_type("activations by name", gates={}), bad_type("activations by name", gates=["n"]),
        bad_type("activations by name", gates={1: jnp.tanh}),
        bad_type("gates['n']: a function, got str 'tanh'", gates={"n": "tanh"}),
        bad_type("gates['n']: a function of (z), got one of (zx, zh)", gates={"n": lambda zx, zh: zx}),
        bad_type("gates['n']: a function of (zx, zh, m), got one of (x, /)", gates={"m": len, "n": jaxrnn.apart(abs)}),
        bad_type("a function of (params, carry, gates, noise), got one of (p, h, n)", update=lambda p, h, n: h),
    *(right(f"{name}.init", {}, call=cell.init, key="key") for name, cell in {
        "elman": ELMAN, "lstm": LSTM, "gru": GRU, "ctrnn": jaxrnn.ctrnn(D, H, 1.0, 2.0),
        "gated_cell": jaxrnn.gated_cell(**GATED), "projected lstm": jaxrnn.lstm(D, H, proj_size=2)}.items()),
    right("cell", {"init": _any, "initial_carry": _any, "step": _any}, function="init initial_carry step noise"),
        bad_type("a function of (params, carry, x), got one of (p, h)", step=lambda p, h: h),
        bad_type("a function of (params, carry, x, noise), got one of (p, h, x)", step=lambda p, h, x: h, noise=_any),
    right("apart", {"function": len}, function="function"),
        *(bad_value("a pair of numbers, the lower one first", bounds=x) for x in (1.0, (1.0, 0.0), (0.0,), ("a", "b"))),
    right("torch_uniform", {}, size="H"), bad_value("a positive integer", H=[]), bad_value("a positive integer", H=1.0),
    right("orthogonal", {"key": KEY, "shape": (D, H), "dtype": "float32"}, key="key", dtype="dtype"),
        *(bad_value("at least two sizes", shape=x) for x in (D, (D,))),
        bad_value("positive integer, got 0", shape=(D, 0)),
        bad_type("float32 or float64, got bfloat16", dtype="bfloat16"),
    right("learning lstm.initial_carry", {"params": drawn(LEARNING)}, call=LEARNING.initial_carry),
        bad_value('the entry "initial_carry", got a dict with', params=drawn(LSTM)),
        bad_value("params['initial_carry']: ['c', 'h'], got a dict with []", params=Entries(initial_carry={})),
        bad_type("params['w_h']: floating-point numbers, got bool", params=Entries(w_h=np.ones((H, 4 * H), bool))),
    *(row for name, cell in {"lstm": LSTM, "projected lstm": jaxrnn.lstm(D, H, proj_size=2)}.items() for row in (
        right(f"{name}.initial_carry", {"params": drawn(cell)}, call=cell.initial_carry),
        bad_type("a tuple or list", batch_shape=3), bad_value('the entry "w_h", got with []', params={}),
        *(bad_value("integers of at least 0", batch_shape=x) for x in ((-1,), (1.0,), ("a",))))),
]
