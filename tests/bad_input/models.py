"""Wrong options of models, layers that do not fit, and wrong arguments of `apply`."""

import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.models import BidirectionalCarry
from jaxrnn.types import pytree
from tests.bad_input.case import Entries, bad_type, bad_value, right
from tests.bad_input.values import DENSE, ELMAN, GRU, HS, KEY, LENGTHS, LONG, MASK, XS, B, D, H, O, T, drawn, ones

SAME, EMBED, LAST, MEAN = jaxrnn.elman(D, D), jaxrnn.embed(5, H), jaxrnn.last(), jaxrnn.mean_over_time()
STACK, DROPOUT, SYMBOLS = jaxrnn.stack([ELMAN, jaxrnn.gru(H, H)]), jaxrnn.dropout(0.5), ones(T, B, dtype=np.int32)
BOTH, CHAIN = jaxrnn.bidirectional(ELMAN, jaxrnn.gru(D, O)), jaxrnn.chain(STACK, DROPOUT, jaxrnn.dense(H, O))
NESTED = {"stack": STACK, "bidirectional": BOTH, "chain": CHAIN, "residual": jaxrnn.residual(jaxrnn.stack([SAME]))}
FLAT = {"dense": DENSE, "layer_norm": jaxrnn.layer_norm(D), "batch_norm": jaxrnn.batch_norm(D)}
OF_SYMBOLS = {"embed": EMBED, "tied": jaxrnn.tied(5, H, jaxrnn.stack([jaxrnn.elman(H, H)]))}
MODELS = NESTED | FLAT | OF_SYMBOLS | {"last": LAST, "mean_over_time": MEAN, "dropout": DROPOUT}
PARAMS = {name: drawn(model) for name, model in MODELS.items()}

S, M = 4, 6
DOT, SOURCE, MEMORY = jaxrnn.dot_attention(H, M), ones(S, B, dtype=np.int32), ones(S, B, M)
LAYER, BEFORE = jaxrnn.attention_decoder(GRU, DOT), jaxrnn.attention_decoder(jaxrnn.gru(9, H), DOT, attend="before")
ENCODER = jaxrnn.chain(jaxrnn.embed(5, D), jaxrnn.stack([jaxrnn.gru(D, M)]))
DECODER = jaxrnn.chain(jaxrnn.embed(5, D), LAYER, jaxrnn.dense(H + M, 5))
PAIR = jaxrnn.encoder_decoder(ENCODER, DECODER)
BACKWARD = jaxrnn.chain(jaxrnn.bidirectional(jaxrnn.gru(D, 2), jaxrnn.gru(D, D - 2)), LAYER)


@pytree
class Wide(jaxrnn.Model):
    """Does not say how many features it puts out: twice as many as it reads."""

    def init(self, key):
        return {}

    def run(self, params, carry, xs, call):
        return (), jnp.tile(xs, 2)


WIDE, LATE = jaxrnn.tied(5, D, Wide()), jaxrnn.chain(DENSE, EMBED)


def _attached(xs=XS, values=MEMORY, layer=LAYER):
    layer = layer if values is None else jaxrnn.attach(layer, values)
    return layer.apply(drawn(layer), xs)


# fmt: off
OF_APPLY = {"array": "xs", "lengths": "lengths", "rows": "lengths", "steps": "resets mask", "gradient": "gradient",
            "key": "key", "flag": "states time_major"}
OPTIONS = {"carry": None, "lengths": LENGTHS, "resets": MASK, "mask": MASK, "key": KEY, "gradient": None,
           "states": False, "burn_in": 0, "time_major": True}
CARRIES = {"bidirectional": "BidirectionalCarry of 2", "stack": "tuple of 2", "chain": "tuple of 3",
           "residual": "tuple of 1", "tied": "tuple of 1"}
AFTER, FLOATS = "no time axis behind last or mean_over_time", bad_type("integers from 0 to 4, got float32", xs=XS)


def _of_apply(name, model):
    """Wrong arguments, which all models refuse."""
    params, features = PARAMS[name], "xs" if name in NESTED | FLAT else ""
    arguments = {"params": params, "xs": SYMBOLS if name in OF_SYMBOLS else XS}
    yield right(f"{name}.apply", arguments, OF_APPLY, call=model.apply, features=features)
    yield bad_value("[", xs=np.int32(1))
    yield bad_value(CARRIES.get(name, "None or an empty tuple"), carry=HS)
    yield bad_value(f"a dict with the entries {sorted(params)}", params=params | {"extra": HS})
    for key, x in params.items():
        expected = f"shape {x.shape}" if hasattr(x, "shape") else f"a dict with the entries {sorted(x)}"
        yield bad_value(f"params['{key}']: {expected}, got float32[1]", params=Entries({key: ones(1)}))
    if name in NESTED | FLAT | {"dropout": DROPOUT}:
        yield bad_type("floating-point", xs=ones(T, B, D, dtype=np.int32))
    if name in NESTED or model in (LAST, MEAN):
        yield bad_value("time step", xs=XS[:0])


TABLE = [
    right("dense", {"D": D, "O": O}, size="D O", flag="bias", initializer="w_init b_init",
          activation="activation", dtype="dtype param_dtype"),
    right("embed", {"symbols": 5, "O": O}, size="symbols O", initializer="w_init", dtype="param_dtype"),
    right("layer_norm", {"D": D}, size="D", above_0="epsilon", dtype="param_dtype"),
    right("batch_norm", {"D": D}, size="D", above_0="epsilon", dtype="param_dtype"),
    right("tied", {"symbols": 5, "E": D, "model": DROPOUT}, size="symbols E", flag="bias", initializer="w_init",
          dtype="dtype param_dtype", model="model"), bad_value("2 input features, got 3", model=DENSE, E=O),
        bad_value("3 output, got 2", model=DENSE),
    right("dropout", {"rate": 0.5}, rate="rate", flag="over_time"),
    right("stack", {"cells": [ELMAN]}, call=lambda cells, **o: jaxrnn.stack(*cells, **o), gradient="gradient"),
        bad_type("at least one Cell in a list, got tuple ()", cells=[]),
        bad_type("cells[0]: a Cell, got function", cells=[jaxrnn.lstm]),
        bad_type("cells[1]: a Cell, got Dense", cells=[ELMAN, DENSE]),
        bad_value("cells[1]: 4 input, got 3", cells=[ELMAN, GRU]),
    right("repeat", {"cell": SAME, "n": 2}, size="n", cell="cell", gradient="gradient"),
        bad_value("input features, 3, got 4", cell=ELMAN),
    right("bidirectional", {"forward": ELMAN, "backward": ELMAN}, cell="forward backward", option="merge",
          gradient="gradient"), bad_type("a function of (forward, backward), got one of (obj, /)", merge=len),
        bad_value("3 input features, got 4", backward=jaxrnn.gru(H, H)),
        bad_value("4 output features, got 2", backward=jaxrnn.gru(D, O), merge="sum"),
    right("chain", {"models": [STACK]}, call=lambda models: jaxrnn.chain(*models)),
        bad_type("at least one Model, got tuple ()", models=[]),
        bad_type("models[1]: a Model or Cell, got int 3", models=[DENSE, 3]),
        bad_type("models[1]: a Model or Cell, got function", models=[DENSE, jaxrnn.last]),
        bad_type("models[1]: a Model or Cell, got call it: last(...)", models=[DENSE, jaxrnn.last]),
        bad_type("models[0]: a Model, got list", models=[[DENSE], [DENSE]]),
        bad_value("models[1]: 4 input, got 3", models=[STACK, DENSE]),
        # Without a time axis the batch would be read as time.
        bad_value(f"models[1]: {AFTER}, got Stack", models=[LAST, STACK]),
        bad_value(f"models[1]: {AFTER}, got Last", models=[MEAN, LAST]),
    right("residual", {"model": jaxrnn.stack([SAME])}, model="model"), bad_value("features, 3, got 2", model=DENSE),
    *(row for name, model in MODELS.items() for row in _of_apply(name, model)),
    *(right(f"{name}.init", {}, call=MODELS[name].init, key="key") for name in (*NESTED, "dense", *OF_SYMBOLS)),
    right("chain.apply", {"params": PARAMS["chain"], "xs": XS, **OPTIONS}, call=CHAIN.apply),
        bad_value("params['2']['w']: shape (4, 2), got float32[3, 2]", params=Entries({"2": drawn(DENSE)})),
    right("chain.reads", {}, call=CHAIN.reads), bad_value('"xs", got with []', batch={}),
    right("stack.initial_carry", {"params": PARAMS["stack"]}, call=STACK.initial_carry, params="params"),
        bad_type("a tuple or list", batch_shape=B),
    right("stack.apply", {"params": PARAMS["stack"], "xs": XS}, call=STACK.apply),
        bad_value("carry[1]: shape (2, 4), got float32[4]", carry=(HS, HS[0])),
    right("bidirectional.apply", {"params": PARAMS["bidirectional"], "xs": XS}, call=BOTH.apply),
        bad_value("carry.backward: shape (2, 2), got float32[2, 4]", carry=BidirectionalCarry(HS, HS)),
    right("chain.apply of embed", {"params": drawn(LATE)}, call=LATE.apply), FLOATS,
    right("embed.apply", {"params": PARAMS["embed"], "xs": SYMBOLS}, call=EMBED.apply), FLOATS,
        bad_value("an array [T, ...]", xs=np.int32(1)),
    right("tied.apply", {"params": PARAMS["tied"], "xs": SYMBOLS}, call=OF_SYMBOLS["tied"].apply), FLOATS,
    right("tied.apply of other outputs", {"params": drawn(WIDE)}, call=WIDE.apply),
        bad_value("model: outputs of 3 features, got (5, 2, 6)", xs=SYMBOLS),
    right("residual.apply of last", {"params": {}}, call=jaxrnn.residual(LAST).apply),
        bad_value("model: (5, 2, 3), got (2, 3)", xs=XS),
    # Attention.
    right("additive_attention", {"Q": H, "M": M, "A": O}, size="Q M A", initializer="w_init", dtype="param_dtype"),
    right("dot_attention", {"Q": H, "M": M}, size="Q M", flag="general", initializer="w_init", dtype="param_dtype"),
        bad_value("M: the 4 features, got 6", general=False),
    right("attention_decoder", {"cell": GRU, "attention": DOT}, option="attend", gradient="gradient"),
        bad_type("a GatedCell", cell=STACK), bad_type("an Attention", attention="dot"),
        bad_value("4 features, got 5", attention=jaxrnn.dot_attention(H + 1, M)),
        bad_value("cell: memory's 6, got 3", attend="before"),
    right("attach", {"model": LAYER, "values": MEMORY}, model="model", array="values"),
        bad_value("attention_decoder in it", model=DENSE), bad_value("[S, ..., M]", values=ones(M)),
        bad_type("floating-point, got int", values=ones(S, B, M, dtype=int)),
        bad_value("at least one step", values=MEMORY[:0]), bad_value("6 features", values=ones(S, B, M + 1)),
        bad_value("T = 4, got 1 to 5", lengths=[1, S + 1]),
    right("attach.apply", {}, call=_attached),
        bad_value("memory: [S, 2, M], time first, got [2, 4, 6]", values=np.moveaxis(MEMORY, 0, 1)),
    right("attention_decoder.apply", {}, call=_attached, features="xs"),
        bad_value("model: memory, got none", values=None),
        bad_value("memory: [S, 3, M], got [4, 2, 6]", xs=ones(T, B + 1, D)), bad_value("[T, ..., D]", xs=ones(T)),
        bad_value("3 features", xs=ones(T, B, 9), layer=BEFORE),
    right("encoder_decoder", {"encoder": ENCODER, "decoder": DECODER, "share_embedding": False},
          model="encoder decoder", flag="share_embedding"),
        bad_value("forward", decoder=BACKWARD), bad_value("each step", decoder=jaxrnn.chain(LAYER, LAST)),
        bad_value("each step", encoder=jaxrnn.chain(ENCODER, LAST)),
        bad_value("decoder: 7 features, got 6", encoder=jaxrnn.stack([jaxrnn.gru(D, M + 1)])),
        bad_value("attention_decoder in it", decoder=ENCODER),
        bad_value("jaxrnn.tied has made, got Chain", share_embedding=True),
        bad_value("encoder: 3 features, got Chain", decoder=jaxrnn.tied(5, D, DROPOUT), share_embedding=True),
    right("encoder_decoder.apply", {"params": drawn(PAIR), "xs": (SOURCE, SYMBOLS)}, call=PAIR.apply, key="key",
          params="params", gradient="gradient"),
        *(bad_type("a pair (source, previous)", xs=xs) for xs in (SOURCE, (SOURCE, SYMBOLS, None, None))),
        bad_value("xs[2]: T = 5, got 1 to 6", xs=(SOURCE, SYMBOLS, LONG)),
        bad_value("source, int32[4, 2], got int32[5, 1]", xs=(SOURCE, SYMBOLS[:, 1:])),
        bad_type("xs[1]: an array, got None", xs=(SOURCE, None)), bad_value("T = 4, got 1 to 5", lengths=[1, S + 1]),
        bad_value("one sequence", resets=ones(S, B, dtype=bool)), bad_value("tuple of 3", carry=HS),
    right("encoder_decoder.reads", {}, call=PAIR.reads), bad_value('"previous"', batch={"xs": SOURCE}),
        bad_value('"xs"', batch={"previous": SOURCE}),
        bad_value('"targets_lengths"', batch={"xs": SOURCE, "previous": SYMBOLS, "lengths": [1, 2]}),
    right("attention_weights", {"model": PAIR, "params": drawn(PAIR), "source": SOURCE, "previous": SYMBOLS},
          params="params"),
        bad_type("an EncoderDecoder", model=DECODER),
]
