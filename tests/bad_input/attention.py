"""Wrong arguments of attention, its decoder and the encoder-decoder."""

import numpy as np

import jaxrnn as jr
from tests.bad_input.case import XS, B, Case, D, H, O, T, drawn, each, ones, sizes

S, M = 4, 6
ADDITIVE, DOT = jr.additive_attention(H, M, O), jr.dot_attention(H, M)
LAYER = jr.attention_decoder(jr.gru(D, H), DOT)
ENCODER = jr.chain(jr.embed(5, D), jr.stack([jr.gru(D, M)]))
DECODER = jr.chain(jr.embed(5, D), LAYER, jr.dense(H + M, 5))
MODEL = jr.encoder_decoder(ENCODER, DECODER)
SOURCE, PREVIOUS = np.ones((S, B), np.int32), np.ones((T, B), np.int32)
MEMORY = ones(S, B, M)


def _options():
    yield from sizes("additive_attention", "Q", lambda v: jr.additive_attention(v, M, O))
    yield from sizes("additive_attention", "M", lambda v: jr.additive_attention(H, v, O))
    yield from sizes("additive_attention", "A", lambda v: jr.additive_attention(H, M, v))
    yield from sizes("dot_attention", "Q", lambda v: jr.dot_attention(v, M))
    yield from sizes("dot_attention", "M", lambda v: jr.dot_attention(H, v))
    for name, build in (
        ("additive_attention", lambda **o: jr.additive_attention(H, M, O, **o)),
        ("dot_attention", lambda **o: jr.dot_attention(H, M, **o)),
    ):
        yield from each(name, "w_init", lambda v, b=build: b(w_init=v), TypeError, "function", "glorot", None)
        yield from each(name, "param_dtype", lambda v, b=build: b(param_dtype=v), TypeError, "dtype", "int8", None)
    flags = lambda v: jr.dot_attention(H, M, general=v)  # noqa: E731
    yield from each("dot_attention", "general", flags, TypeError, "True or False", 1, None)
    plain = lambda: jr.dot_attention(H, M, general=False)  # noqa: E731
    yield Case("dot_attention-sizes", plain, ValueError, "M", f"the {H} features", f"{M}")

    def case(what, error, argument, expected, got, cell=None, attention=DOT, **options):
        cell = jr.gru(D, H) if cell is None else cell
        call = lambda: jr.attention_decoder(cell, attention, **options)  # noqa: E731
        return Case(f"attention_decoder-{what}", call, error, argument, expected, got)

    yield case("model", TypeError, "cell", "GatedCell", "Stack", cell=jr.stack([jr.gru(D, H)]))
    yield case("plain", TypeError, "cell", "GatedCell", "ProjectedLSTM", cell=jr.lstm(D, H, proj_size=2))
    yield case("attention", TypeError, "attention", "Attention", "str 'dot'", attention="dot")
    yield case("queries", ValueError, "attention", f"{H} features", f"{H + 1}", attention=jr.dot_attention(H + 1, M))
    yield case("attend", ValueError, "attend", "'before'", "'during'", attend="during")
    yield case("before", ValueError, "cell", f"memory's {M}", f"{D}", attend="before")
    yield case("gradient", TypeError, "gradient", "Gradient", "'bptt'", gradient="bptt")


def _attach():
    def case(what, error, argument, expected, got, model=LAYER, values=MEMORY, **options):
        call = lambda: jr.attach(model, values, **options)  # noqa: E731
        return Case(f"attach-{what}", call, error, argument, expected, got)

    yield case("cell", TypeError, "model", "Model", "GRU", model=jr.gru(D, H))
    yield case("without", ValueError, "model", "attention_decoder in it", "Dense", model=jr.dense(D, O))
    yield case("vector", ValueError, "values", "[S, ..., M]", f"float32[{M}]", values=ones(M))
    yield case("empty", ValueError, "values", "at least one step", f"[0, {B}, {M}]", values=MEMORY[:0])
    yield case("features", ValueError, "values", f"{M} features", f"{M + 1}]", values=ones(S, B, M + 1))
    yield case("string", TypeError, "values", "array", "'memory'", values="memory")
    yield case("lengths", ValueError, "lengths", f"T = {S}", f"{S + 1}", lengths=[1, S + 1])
    params, attached = drawn(LAYER), jr.attach(LAYER, MEMORY)
    unattached = lambda: LAYER.apply(params, XS)  # noqa: E731
    yield Case("attention_decoder.apply-unattached", unattached, ValueError, "model", "memory", "none")
    rows = lambda: attached.apply(params, ones(T, B + 1, D))  # noqa: E731
    yield Case("attention_decoder.apply-rows", rows, ValueError, "memory", f"[S, {B + 1}, M]", f"[{S}, {B}, {M}]")
    batch_first = lambda: jr.attach(LAYER, np.moveaxis(MEMORY, 0, 1)).apply(params, XS)  # noqa: E731
    yield Case("attach-batch-first", batch_first, ValueError, "memory", f"[S, {B}, M], time first", f"[{B}, {S}, {M}]")
    vector = lambda: attached.apply(params, ones(T))  # noqa: E731
    yield Case("attention_decoder.apply-vector", vector, ValueError, "xs", "[T, ..., D]", f"float32[{T}]")
    for attend, cell in (("after", jr.gru(D, H)), ("before", jr.gru(D + M, H))):
        layer = jr.attach(jr.attention_decoder(cell, DOT, attend=attend), MEMORY)
        call = lambda layer=layer: layer.apply(drawn(layer), ones(T, B, D + 1))  # noqa: E731
        yield Case(f"attention_decoder.apply-features-{attend}", call, ValueError, "xs", f"{D} features", f"{D + 1}]")


def _encoder_decoder():
    build = jr.encoder_decoder
    short = jr.chain(ENCODER, jr.last())
    wide = jr.stack([jr.gru(D, M + 1)])
    both = jr.chain(jr.bidirectional(jr.gru(D, 2), jr.gru(D, D - 2)), LAYER)
    ends = jr.chain(LAYER, jr.last())
    yield from [
        Case("encoder_decoder-backward", lambda: build(ENCODER, both), ValueError, "decoder", "forward", "Chain"),
        Case("encoder_decoder-last", lambda: build(ENCODER, ends), ValueError, "decoder", "each step", "last"),
        Case("encoder-cell", lambda: build(jr.gru(D, M), DECODER), TypeError, "encoder", "Model", "GRU"),
        Case("decoder-cell", lambda: build(ENCODER, jr.gru(D, M)), TypeError, "decoder", "Model", "GRU"),
        Case("encoder-last", lambda: build(short, DECODER), ValueError, "encoder", "each step", "last"),
        Case("encoder-features", lambda: build(wide, DECODER), ValueError, "decoder", f"{M + 1} features", f"{M}"),
        Case("decoder-without", lambda: build(ENCODER, ENCODER), ValueError, "decoder", "attention_decoder", "Chain"),
    ]
    params = drawn(MODEL)

    def case(what, error, argument, expected, got, xs=(SOURCE, PREVIOUS), **options):
        call = lambda: MODEL.apply(params, xs, **options)  # noqa: E731
        return Case(f"encoder_decoder.apply-{what}", call, error, argument, expected, got)

    yield case("one", TypeError, "xs", "a pair (source, previous)", "int32[4, 2]", xs=SOURCE)
    yield case("four", TypeError, "xs", "a pair (source, previous)", "tuple of 4", xs=(SOURCE, PREVIOUS, None, None))
    long = (SOURCE, PREVIOUS, [1, T + 1])
    yield case("own-lengths", ValueError, "xs[2]", f"T = {T}", f"{T + 1}", xs=long)
    yield case("rows", ValueError, "xs", f"source, int32[{S}, {B}]", f"[{T}, 1]", xs=(SOURCE, PREVIOUS[:, 1:]))
    yield case("none", TypeError, "xs[1]", "array", "None", xs=(SOURCE, None))
    yield case("lengths", ValueError, "lengths", f"T = {S}", f"{S + 1}", lengths=[1, S + 1])
    yield case("resets", ValueError, "resets", "one sequence", "bool[4, 2]", resets=np.ones((S, B), bool))
    carry = ones(B, H)
    yield case("carry", ValueError, "carry", "tuple of 3", f"float32[{B}, {H}]", carry=carry)
    alone = {"xs": SOURCE}
    yield Case("encoder_decoder.reads", lambda: MODEL.reads(alone), ValueError, "batch", '"previous"', "['xs']")
    batch = {"xs": SOURCE, "previous": PREVIOUS, "lengths": [1, 2]}
    own = lambda: MODEL.reads(batch)  # noqa: E731
    yield Case("encoder_decoder.reads-lengths", own, ValueError, "batch", '"targets_lengths"', "'previous', 'xs'")
    weights = lambda: jr.attention_weights(DECODER, params, SOURCE, PREVIOUS)  # noqa: E731
    yield Case("attention_weights-model", weights, TypeError, "model", "EncoderDecoder", "Chain")


CASES = [*_options(), *_attach(), *_encoder_decoder()]
