"""Wrong arguments of the loops that feed a model's outputs back to it."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import XS, B, Case, D, H, O, T, drawn, each, not_keys, ones, sizes

MODEL = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, D))
OTHER = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, O))
BACKWARD = jaxrnn.bidirectional(jaxrnn.gru(D, H), jaxrnn.gru(D, H))
SHORT = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.last())
STEPS = 3


def _rollout(model=MODEL, xs=XS, steps=STEPS, **options):
    params = drawn(model) if isinstance(model, jaxrnn.Model) else None
    return jaxrnn.decoding.rollout(model, params, xs, steps, **options)


def _of_models(name, call):
    """Models that can't go on from step to step."""
    yield Case(f"{name}-cell", lambda: call(jaxrnn.gru(D, H)), TypeError, "model", "Model", "GRU")
    yield Case(f"{name}-backward", lambda: call(BACKWARD), ValueError, "model", "forward", "Bidirectional")
    inside = jaxrnn.chain(BACKWARD, jaxrnn.dense(2 * H, D))
    yield Case(f"{name}-backward-inside", lambda: call(inside), ValueError, "model", "forward", "Chain")
    yield Case(f"{name}-last", lambda: call(SHORT), ValueError, "model", "each step", "last")
    layer = jaxrnn.attention_decoder(jaxrnn.gru(D, H), jaxrnn.dot_attention(H, H))
    pair = jaxrnn.encoder_decoder(jaxrnn.stack([jaxrnn.gru(D, H)]), layer)
    yield Case(f"{name}-pair", lambda: call(pair), TypeError, "model", "one sequence", "EncoderDecoder")


def _of_rollout():
    def case(what, error, argument, expected, got, **wrong):
        return Case(f"rollout-{what}", lambda: _rollout(**wrong), error, argument, expected, got)

    yield from _of_models("rollout", _rollout)
    yield from sizes("rollout", "steps", lambda v: _rollout(steps=v))
    yield case("xs-string", TypeError, "xs", "array", "'xs'", xs="xs")
    yield case("xs-empty", ValueError, "xs", "time step", f"[0, {B}, {D}]", xs=XS[:0])
    yield case("xs-features", ValueError, "xs", f"{D} features", f"{D + 1}]", xs=ones(T, B, D + 1))
    yield case("carry", ValueError, "carry", "tuple of 2", f"float32[{B}, {H}]", carry=ones(B, H))
    yield from each("rollout", "feedback", lambda v: _rollout(feedback=v), TypeError, "function", 1, "argmax")
    yield case("outputs-no-inputs", ValueError, "feedback", f"[{B}, {D}]", f"[{B}, {O}]", model=OTHER)
    shape = f"[{B}, {D}]"
    yield case("feedback-shape", ValueError, "feedback", shape, f"[{B}]", feedback=lambda y: y[..., 0])
    yield case("feedback-none", TypeError, "feedback", "array", "None", feedback=lambda y: None)
    integers = lambda y: y.astype(jnp.int32)  # noqa: E731
    yield case("feedback-integers", TypeError, "feedback", "floating-point", "int32", feedback=integers)
    joined = lambda y, known: y + known  # noqa: E731
    yield case("inputs-alone", TypeError, "feedback", "function of (y, inputs[k])", "None", inputs=ones(STEPS, B, D))
    of_y = lambda y: y  # noqa: E731
    yield case("feedback-two", TypeError, "feedback", "of (y)", "(y, known)", feedback=joined)
    one = {"feedback": of_y, "inputs": ones(STEPS, B, D)}
    yield case("feedback-one", TypeError, "feedback", "of (y, inputs[k])", "one of (y)", **one)
    wrong = {"feedback": joined, "error": ValueError, "argument": "inputs"}
    yield case("inputs-steps", expected=f"[{STEPS}, {B}, E]", got="[2,", inputs=ones(2, B, D), **wrong)
    yield case("inputs-rows", expected=f"[{STEPS}, {B}, E]", got=f"[{STEPS}, 1,", inputs=ones(STEPS, 1, D), **wrong)
    yield case("inputs-string", TypeError, "inputs", "array", "'calendar'", inputs="calendar", feedback=joined)


def _of_scheduled_sampling():
    name = "scheduled_sampling"
    yield from _of_models(name, lambda model: jaxrnn.decoding.scheduled_sampling(model, 0.5))
    rates = (1.1, -0.1, "0.5", True, np.nan, None, [0.1, 1.2], [[0.1]])
    yield from each(name, "rate", lambda v: jaxrnn.decoding.scheduled_sampling(MODEL, v), ValueError, "[0, 1]", *rates)
    feedbacks = lambda v: jaxrnn.decoding.scheduled_sampling(MODEL, 0.5, feedback=v)  # noqa: E731
    yield from each(name, "feedback", feedbacks, TypeError, "function", 1, "argmax")
    of_one = lambda: jaxrnn.decoding.scheduled_sampling(MODEL, 0.5, feedback=lambda y: y)  # noqa: E731
    yield Case(f"{name}-feedback-one", of_one, TypeError, "feedback", "of (y[t-1], x[t])", "one of (y)")
    normal = jaxrnn.chain(MODEL, jaxrnn.residual(jaxrnn.batch_norm(D)))
    by_step = lambda: jaxrnn.decoding.scheduled_sampling(normal, 0.5)  # noqa: E731
    yield Case(f"{name}-batch_norm", by_step, ValueError, "model", "without batch_norm", "Chain")
    misfit = lambda: jaxrnn.decoding.scheduled_sampling(OTHER, 0.5)  # noqa: E731
    yield Case(f"{name}-outputs-no-inputs", misfit, ValueError, "feedback", f"{D} input", "None")

    def applied(xs=XS, feedback=None, rate=0.5, **options):
        model = jaxrnn.decoding.scheduled_sampling(MODEL, rate, feedback=feedback)
        return model.apply(drawn(MODEL), xs, key=jax.random.key(0), **options)

    for what, call, error, argument, expected, got in (
        ("shape", lambda: applied(feedback=lambda y, x: y[0]), ValueError, "feedback", f"[{B}, {D}]", f"[{D}]"),
        ("rate", lambda: applied(rate=ones(T - 1)), ValueError, "rate", f"T = {T}", f"float32[{T - 1}]"),
        ("xs", lambda: applied(ones(T, B, D + 1)), ValueError, "xs", f"{D} features", f"{D + 1}]"),
        ("lengths", lambda: applied(lengths=[1, T + 1]), ValueError, "lengths", f"T = {T}", f"{T + 1}"),
        ("resets", lambda: applied(resets=np.ones(B, bool)), ValueError, "resets", f"({T}, {B})", f"bool[{B}]"),
        ("carry", lambda: applied(carry=ones(B, H)), ValueError, "carry", "tuple of 2", f"float32[{B}, {H}]"),
    ):
        yield Case(f"{name}.apply-{what}", call, error, argument, expected, got)


WRITER = jaxrnn.chain(jaxrnn.embed(O, D), jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, O))
START = np.zeros((1, B), np.int32)


def _chosen(y, x):
    return jnp.argmax(y, -1).astype(x.dtype)


def _of_symbols(name, search):
    """What `generate` and `beam_search` must refuse."""

    def run(model=WRITER, xs=START, steps=STEPS, **options):
        return search(model, drawn(model) if isinstance(model, jaxrnn.Model) else None, xs, steps, **options)

    yield from _of_models(name, run)
    yield from sizes(name, "steps", lambda v: run(steps=v))
    yield from [c for c in sizes(name, "stop", lambda v: run(stop=v)) if c.got not in ("None", "0")]
    yield Case(f"{name}-stop-large", lambda: run(stop=99), ValueError, "stop", f"0 to {O - 1}", "99")
    tied, wrapped = (
        jaxrnn.tied(O, H, jaxrnn.stack([jaxrnn.gru(H, H)])),
        jaxrnn.decoding.scheduled_sampling(WRITER, 0.5, feedback=_chosen),
    )
    for what, model in (("", WRITER), ("-tied", tied), ("-wrapped", wrapped)):
        large = lambda model=model: run(model, START + O)  # noqa: E731
        yield Case(f"{name}-xs-large{what}", large, ValueError, "xs", f"0 to {O - 1}", f"{O} to {O}")
    yield Case(f"{name}-xs-negative", lambda: run(xs=START - 1), ValueError, "xs", f"0 to {O - 1}", "-1 to -1")
    for what, error, expected, got, xs in (
        ("string", TypeError, "array", "'xs'", "xs"),
        ("floats", TypeError, "integer symbols", "float32", ones(1, B)),
        ("empty", ValueError, "at least one symbol", f"[0, {B}]", START[:0]),
        ("scalar", ValueError, "at least one symbol", "int32[]", np.int32(0)),
    ):
        yield Case(f"{name}-xs-{what}", lambda xs=xs: run(xs=xs), error, "xs", expected, got)
    wrong = ones(B, H)
    yield Case(f"{name}-carry", lambda: run(carry=wrong), ValueError, "carry", "tuple of 3", f"float32[{B}, {H}]")


def _of_generate():
    def run(**options):
        return jaxrnn.decoding.generate(WRITER, drawn(WRITER), START, STEPS, **options)

    yield from _of_symbols("generate", jaxrnn.decoding.generate)
    yield from not_keys("generate", lambda v: run(key=v))
    yield from each(
        "generate", "temperature", lambda v: run(temperature=v), ValueError, "above 0", 0.0, -1.0, "1", np.inf, None
    )
    yield from [c for c in sizes("generate", "top_k", lambda v: run(top_k=v)) if c.got != "None"]
    key = jax.random.key(0)
    most = lambda: run(top_k=99, key=key)  # noqa: E731
    yield Case("generate-top_k-large", most, ValueError, "top_k", f"O = {O}", "99")
    for wrong in ({"temperature": 0.5}, {"top_k": 1}, {"temperature": jnp.float32(0.5)}):
        alone = lambda wrong=wrong: run(**wrong)  # noqa: E731
        yield Case(f"generate-undrawn-{wrong}", alone, ValueError, "key", "with temperature or top_k", "None")


def _of_beam_search():
    def run(**options):
        return jaxrnn.decoding.beam_search(WRITER, drawn(WRITER), START, STEPS, **options)

    yield from _of_symbols("beam_search", jaxrnn.decoding.beam_search)
    yield from sizes("beam_search", "beam", lambda v: run(beam=v))
    yield from each(
        "beam_search", "length_penalty", lambda v: run(length_penalty=v), ValueError, "at least 0", -0.1, "1", None
    )


CASES = [*_of_rollout(), *_of_scheduled_sampling(), *_of_generate(), *_of_beam_search()]
