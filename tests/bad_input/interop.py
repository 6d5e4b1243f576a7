"""Wrong arguments of what takes weights from other libraries and hands them on, and of the layers in Flax's place."""

import flax.linen
import flax.nnx
import numpy as np

import jaxrnn
from tests.bad_input.case import bad_type, bad_value, right
from tests.bad_input.values import ELMAN, KEY, LSTM, B, D, H, T, drawn, ones

XS, PARAMS = ones(B, T, D), drawn(LSTM)
NNX, LINEN = jaxrnn.interop.nnx, jaxrnn.interop.linen
LAYER = NNX.RNN(LSTM, params=PARAMS)
MODULE, WEIGHTS = jaxrnn.interop.to_linen(LSTM, PARAMS)
# fmt: off
FLAGS = {"flag": "time_major return_carry reverse keep_order"}
OF_BOTH = [
    bad_type("inputs: an array", inputs="xs"), bad_type("a random key", key=3),
    *(bad_value("a pair, forward and backward", initial_carry=x) for x in (3, (), ones(B, H))),
]
TABLE = [
    right("nnx.RNN", {"cell": LSTM, "params": PARAMS}, FLAGS, call=NNX.RNN, gradient="gradient"),
        bad_value("the entries, got with []", params={}),
        bad_value("params['b']: shape (16,), got float32[4]", params=drawn(ELMAN)),
        bad_value("rngs: nnx.Rngs, got bool True", params=None),
    right("nnx.RNN of inputs", {"inputs": XS}, FLAGS, call=LAYER),
        *(bad_type("an array", inputs=x) for x in (None, [[1.0], [1.0, 2.0]])),
        bad_type("floating-point, got complex64", inputs=XS.astype(np.complex64)),
    right("nnx.Bidirectional", {"inputs": XS}, call=NNX.Bidirectional(LAYER, LAYER), flag="return_carry"), *OF_BOTH,
    right("nnx.layer", {"module": lambda rngs: flax.nnx.Linear(D, H, rngs=rngs)}, call=NNX.layer, flag="sequence",
          symbol="axes", function="module"), bad_type("a function of (rngs), got one of ()", module=lambda: 0),
    right("from_nnx", {"cell": jaxrnn.interop.to_nnx(LSTM, PARAMS)}, call=jaxrnn.interop.from_nnx),
        *(bad_value("3, the rows of the kernels, or None", D=x) for x in (0, 4, "3", np.nan)),
    right("linen.RNN", {"inputs": XS}, FLAGS, call=lambda inputs, **options: LINEN.RNN(LSTM).init_with_output(
          KEY, inputs, **options)), bad_type("an array", inputs="xs"),
    right("linen.Bidirectional", {"inputs": XS}, call=lambda inputs, **options: LINEN.Bidirectional(
          LINEN.RNN(LSTM), LINEN.RNN(LSTM)).init_with_output(KEY, inputs, **options), flag="return_carry"), *OF_BOTH,
    right("linen.layer", {"module": flax.linen.Dense(2), "shape": D}, call=LINEN.layer, flag="sequence", size="shape"),
        *(bad_type("a dtype such as jnp.float32", dtype=x) for x in (0, "other", None)),
    right("from_linen", {"module": MODULE, "params": WEIGHTS}, call=jaxrnn.interop.from_linen),
        bad_type("params['hi']['kernel']: floating-point, got bool[4, 4]",
                 params=WEIGHTS | {"hi": {"kernel": ones(H, H, dtype=bool), "bias": ones(H)}}),
        bad_type("params['ii']: an array, got int 0", params=WEIGHTS | {"ii": 0}),
        bad_value("3, the rows of the kernels, or None, got 4", D=4), bad_value("a positive integer, got 0", D=0),
        bad_type("a tuple", D=2.5),
    right("from_haiku", {"params": jaxrnn.interop.to_haiku(LSTM, PARAMS, "lstm"), "name": "lstm"},
          call=jaxrnn.interop.from_haiku), bad_type("params['lstm/linear/w']: an array, got bytes b'x'",
          params={"lstm/linear": {"w": b"x"}}),
    right("to_haiku", {"cell": LSTM, "params": PARAMS, "name": "lstm"}, call=jaxrnn.interop.to_haiku),
        bad_type("a str", name=2.5),
]
