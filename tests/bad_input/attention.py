"""Wrong arguments of attention, its decoder and the encoder-decoder."""

import numpy as np

import jaxrnn
from tests.bad_input.case import XS, B, Case, D, H, O, T, drawn, each, ones, sizes

S, M = 4, 6
ADDITIVE, DOT = jaxrnn.additive_attention(H, M, O), jaxrnn.dot_attention(H, M)
LAYER = jaxrnn.attention_decoder(jaxrnn.gru(D, H), DOT)
ENCODER = jaxrnn.chain(jaxrnn.embed(5, D), jaxrnn.stack([jaxrnn.gru(D, M)]))
DECODER = jaxrnn.chain(jaxrnn.embed(5, D), LAYER, jaxrnn.dense(H + M, 5))
MODEL = jaxrnn.encoder_decoder(ENCODER, DECODER)
SOURCE, PREVIOUS = np.ones((S, B), np.int32), np.ones((T, B), np.int32)
MEMORY = ones(S, B, M)


def _options():
    yield from sizes("additive_attention", "Q", lambda v: jaxrnn.additive_attention(v, M, O))
    yield from sizes("additive_attention", "M", lambda v: jaxrnn.additive_attention(H, v, O))
    yield from sizes("additive_attention", "A", lambda v: jaxrnn.additive_attention(H, M, v))
    yield from sizes("dot_attention", "Q", lambda v: jaxrnn.dot_attention(v, M))
    yield from sizes("dot_attention", "M", lambda v: jaxrnn.dot_attention(H, v))
    for name, build in (
        ("additive_attention", lambda **o: jaxrnn.additive_attention(H, M, O, **o)),
        ("dot_attention", lambda **o: jaxrnn.dot_attention(H, M, **o)),
    ):
        yield from each(name, "w_init", lambda v, b=build: b(w_init=v), TypeError, "function", "glorot", None)
        yield from each(name, "param_dtype", lambda v, b=build: b(param_dtype=v), TypeError, "dtype", "int8", None)
    flags = lambda v: jaxrnn.dot_attention(H, M, general=v)  # noqa: E731
    yield from each("dot_attention", "general", flags, TypeError, "True or False", 1, None)
    plain = lambda: jaxrnn.dot_attention(H, M, general=False)  # noqa: E731
    yield Case("dot_attention-sizes", plain, ValueError, "M", f"the {H} features", f"{M}")

    def case(what, error, argument, expected, got, cell=None, attention=DOT, **options):
        cell = jaxrnn.gru(D, H) if cell is None else cell
        call = lambda: jaxrnn.attention_decoder(cell, attention, **options)  # noqa: E731
        return Case(f"attention_decoder-{what}", call, error, argument, expected, got)

    yield case("model", TypeError, "cell", "GatedCell", "Stack", cell=jaxrnn.stack([jaxrnn.gru(D, H)]))
    yield case("plain", TypeError, "cell", "GatedCell", "ProjectedLSTM", cell=jaxrnn.lstm(D, H, proj_size=2))
    yield case("attention", TypeError, "attention", "Attention", "str 'dot'", attention="dot")
    yield case(
        "queries", ValueError, "attention", f"{H} features", f"{H + 1}", attention=jaxrnn.dot_attention(H + 1, M)
    )
    yield case("attend", ValueError, "attend", "'before'", "'during'", attend="during")
    yield case("before", ValueError, "cell", f"memory's {M}", f"{D}", attend="before")
    yield case("gradient", TypeError, "gradient", "Gradient", "'bptt'", gradient="bptt")


def _attach():
    def case(what, error, argument, expected, got, model=LAYER, values=MEMORY, **options):
        call = lambda: jaxrnn.attach(model, values, **options)  # noqa: E731
        return Case(f"attach-{what}", call, error, argument, expected, got)

    yield case("cell", TypeError, "model", "Model", "GRU", model=jaxrnn.gru(D, H))
    yield case("without", ValueError, "model", "attention_decoder in it", "Dense", model=jaxrnn.dense(D, O))
    yield case("vector", ValueError, "values", "[S, ..., M]", f"float32[{M}]", values=ones(M))
    yield case("empty", ValueError, "values", "at least one step", f"[0, {B}, {M}]", values=MEMORY[:0])
    yield case("features", ValueError, "values", f"{M} features", f"{M + 1}]", values=ones(S, B, M + 1))
    yield case("string", TypeError, "values", "array", "'memory'", values="memory")
    yield case("lengths", ValueError, "lengths", f"T = {S}", f"{S + 1}", lengths=[1, S + 1])
    params, attached = drawn(LAYER), jaxrnn.attach(LAYER, MEMORY)
    unattached = lambda: LAYER.apply(params, XS)  # noqa: E731
    yield Case("attention_decoder.apply-unattached", unattached, ValueError, "model", "memory", "none")
    rows = lambda: attached.apply(params, ones(T, B + 1, D))  # noqa: E731
    yield Case("attention_decoder.apply-rows", rows, ValueError, "memory", f"[S, {B + 1}, M]", f"[{S}, {B}, {M}]")
    batch_first = lambda: jaxrnn.attach(LAYER, np.moveaxis(MEMORY, 0, 1)).apply(params, XS)  # noqa: E731
    yield Case("attach-batch-first", batch_first, ValueError, "memory", f"[S, {B}, M], time first", f"[{B}, {S}, {M}]")
    vector = lambda: attached.apply(params, ones(T))  # noqa: E731
    yield Case("attention_decoder.apply-vector", vector, ValueError, "xs", "[T, ..., D]", f"float32[{T}]")
    for attend, cell in (("after", jaxrnn.gru(D, H)), ("before", jaxrnn.gru(D + M, H))):
        layer = jaxrnn.attach(jaxrnn.attention_decoder(cell, DOT, attend=attend), MEMORY)
        call = lambda layer=layer: layer.apply(drawn(layer), ones(T, B, D + 1))  # noqa: E731
        yield Case(f"attention_decoder.apply-features-{attend}", call, ValueError, "xs", f"{D} features", f"{D + 1}]")


def _encoder_decoder():
    build = jaxrnn.encoder_decoder
    short = jaxrnn.chain(ENCODER, jaxrnn.last())
    wide = jaxrnn.stack([jaxrnn.gru(D, M + 1)])
    both = jaxrnn.chain(jaxrnn.bidirectional(jaxrnn.gru(D, 2), jaxrnn.gru(D, D - 2)), LAYER)
    ends = jaxrnn.chain(LAYER, jaxrnn.last())
    yield from [
        Case("encoder_decoder-backward", lambda: build(ENCODER, both), ValueError, "decoder", "forward", "Chain"),
        Case("encoder_decoder-last", lambda: build(ENCODER, ends), ValueError, "decoder", "each step", "last"),
        Case("encoder-cell", lambda: build(jaxrnn.gru(D, M), DECODER), TypeError, "encoder", "Model", "GRU"),
        Case("decoder-cell", lambda: build(ENCODER, jaxrnn.gru(D, M)), TypeError, "decoder", "Model", "GRU"),
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
    weights = lambda: jaxrnn.diagnostics.attention_weights(DECODER, params, SOURCE, PREVIOUS)  # noqa: E731
    yield Case("attention_weights-model", weights, TypeError, "model", "EncoderDecoder", "Chain")


CASES = [*_options(), *_attach(), *_encoder_decoder()]
