"""Wrong arguments of the loops that feed a model's outputs back to it, of decoders, and of the edit distance."""

import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import bad_type, bad_value, right
from tests.bad_input.values import HS, KEY, XS, YS, B, D, H, O, T, drawn, ones

CELL, GRU, K = jaxrnn.gru(D, H), jaxrnn.stack([jaxrnn.gru(D, H)]), 3
MODEL, OTHER, ENDS = (jaxrnn.chain(GRU, last) for last in (jaxrnn.dense(H, D), jaxrnn.dense(H, O), jaxrnn.last()))
BACKWARD, NORMAL = jaxrnn.bidirectional(CELL, CELL), jaxrnn.chain(MODEL, jaxrnn.residual(jaxrnn.batch_norm(D)))
WRITER = jaxrnn.chain(jaxrnn.embed(O, D), GRU, jaxrnn.dense(H, O))
TIED = jaxrnn.tied(O, H, jaxrnn.stack([jaxrnn.gru(H, H)]))
SAMPLED = jaxrnn.decoding.scheduled_sampling(WRITER, 0.5, feedback=lambda y, x: jnp.argmax(y, -1).astype(x.dtype))


def _sampling(xs=XS, feedback=None, rate=0.5, **options):
    model = jaxrnn.decoding.scheduled_sampling(MODEL, rate, feedback=feedback)
    return model.apply(drawn(MODEL), xs, key=KEY, **options)


# fmt: off
SHAPE, INPUTS, JOINED, START = "[2, 3]", ones(K, B, D), {"feedback": lambda y, x: y + x}, ones(1, B, dtype=int) - 1
WRITE, A, N = {"model": WRITER, "params": drawn(WRITER), "xs": START, "steps": K}, ones(4, B, dtype=int), np.full(B, 3)
OF_MODELS = [
    bad_value("forward", model=BACKWARD), bad_value("forward", model=jaxrnn.chain(BACKWARD, jaxrnn.dense(2 * H, D))),
    bad_value("each step", model=ENDS),
    bad_type("one sequence",
             model=jaxrnn.encoder_decoder(GRU, jaxrnn.attention_decoder(CELL, jaxrnn.dot_attention(H, H)))),
]
OF_SYMBOLS = [
    *OF_MODELS, bad_value("0 to 1", stop=99),
    *(bad_value("0 to 1, got 2 to 2", xs=START + O, model=model, params=drawn(model))
      for model in (WRITER, TIED, SAMPLED)),
    bad_type("integer symbols", xs=ones(1, B)), bad_value("at least one symbol, got [0, 2]", xs=START[:0]),
    bad_value("at least one symbol", xs=np.int32(0)), bad_value("tuple of 3", carry=HS),
]
BLANK = bad_value("a class from 0 to 1", blank=O)
TABLE = [
    right("rollout", {"model": MODEL, "params": drawn(MODEL), "xs": XS, "steps": K}, size="steps", array="xs",
          features="xs", function="feedback", model="model", params="params", leaf="carry"), *OF_MODELS,
        bad_value("time step", xs=XS[:0]),        bad_value("tuple of 2", carry=HS),
        bad_value(f"feedback: {SHAPE}, got [{B}, {O}]", model=OTHER, params=drawn(OTHER)),
        bad_value(f"{SHAPE}, got [{B}]", feedback=lambda y: y[..., 0]),
        bad_type("an array, got None", feedback=lambda y: None),
        bad_type("floating-point, got int32", feedback=lambda y: y.astype(jnp.int32)),
        bad_type("feedback: a function of (y, inputs[k]), got None", inputs=INPUTS),
        bad_type("feedback: a function of (y), got one of (y, x)", **JOINED),
        bad_type("of (y, inputs[k]), got one of (y)", feedback=lambda y: y, inputs=INPUTS),
        bad_value("[3, 2, E]", inputs=INPUTS[:2], **JOINED), bad_type("an array", inputs="calendar", **JOINED),
    right("scheduled_sampling", {"model": MODEL, "rate": 0.5}, function="feedback", model="model"), *OF_MODELS,
        bad_value("in [0, 1]", rate=1.1),
        bad_value("in [0, 1]", rate=[]), bad_type("of (y[t-1], x[t]), got one of (y)", feedback=lambda y: y),
        bad_value("without batch_norm", model=NORMAL), bad_value("feedback: 3 input, got None", model=OTHER),
    right("scheduled_sampling.apply", {}, call=_sampling, features="xs", lengths="lengths", steps="resets"),
        bad_value(f"{SHAPE}, got [{D}]", feedback=lambda y, x: y[0]), bad_value("T = 5", rate=ones(T - 1)),
        bad_value("tuple of 2", carry=HS),
    right("generate", {**WRITE, "carry": None, "key": KEY, "temperature": 0.5, "top_k": 1, "stop": 0},
          size="steps top_k", array="xs", params="params", leaf="carry", key="key", above_0="temperature",
          symbol="stop", model="model"), *OF_SYMBOLS,
        bad_value("O = 2", top_k=99),
        *(bad_value("with temperature or top_k", key=None, **{"temperature": 1.0, "top_k": None} | draw)
          for draw in ({"temperature": 0.5}, {"top_k": 1}, {"temperature": jnp.float32(0.5)})),
    right("beam_search", {**WRITE, "beam": 2, "stop": 0}, size="steps beam", array="xs", not_negative="length_penalty",
          symbol="stop", model="model", params="params", leaf="carry"), *OF_SYMBOLS,
    right("ctc_greedy", {"ys": YS, "lengths": None, "blank": 0}, array="ys", lengths="lengths"), BLANK,
    right("ctc_beam", {"ys": YS, "lengths": None, "blank": 0}, array="ys", lengths="lengths", size="beam max_length"),
        BLANK,
    right("edit_distance", {"a": A, "a_lengths": N, "b": A, "b_lengths": N}, array="a b"),
        bad_value("[L, ...]", a=np.int32(1), a_lengths=1), bad_value("[M, 2], got [4, 1]", b=A[:, :1], b_lengths=N[:1]),
        bad_value("L = 4, got 5 to 5", a_lengths=N + 2), bad_value("M = 4, got 5 to 5", b_lengths=N + 2),
]
