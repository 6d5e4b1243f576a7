"""Wrong options of models, layers that do not fit, and wrong arguments of `apply`."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.types import pytree
from tests.bad_input.case import XS, B, Case, D, H, O, T, changed, drawn, each, not_keys, ones, sizes

ELMAN, LSTM = jaxrnn.elman(D, H), jaxrnn.lstm(D, H)
DENSE, EMBED, NORM, BATCH_NORM = jaxrnn.dense(D, O), jaxrnn.embed(5, H), jaxrnn.layer_norm(D), jaxrnn.batch_norm(D)
TIED = jaxrnn.tied(5, H, jaxrnn.stack([jaxrnn.elman(H, H)]))
STACK = jaxrnn.stack([ELMAN, jaxrnn.gru(H, H)])
BOTH = jaxrnn.bidirectional(ELMAN, jaxrnn.gru(D, O))
CHAIN = jaxrnn.chain(STACK, jaxrnn.dropout(0.5), jaxrnn.dense(H, O))
RESIDUAL = jaxrnn.residual(jaxrnn.stack([jaxrnn.elman(D, D)]))
SYMBOLS = np.ones((T, B), np.int32)
FLAG, FUNCTION = "True or False", "function"


@pytree
class Wide(jaxrnn.Model):
    """Does not say how many features it puts out: twice as many as it reads."""

    def init(self, key):
        return {}

    def run(self, params, carry, xs, call):
        return (), jnp.tile(xs, 2)


def _options():
    for build, name in ((jaxrnn.dense, "dense"), (jaxrnn.embed, "embed")):
        yield from sizes(name, {"dense": "D", "embed": "symbols"}[name], lambda v, b=build: b(v, O))
        yield from sizes(name, "O", lambda v, b=build: b(D, v))
        yield from each(name, "w_init", lambda v, b=build: b(D, O, w_init=v), TypeError, FUNCTION, "glorot", None)
    yield from each("dense", "b_init", lambda v: jaxrnn.dense(D, O, b_init=v), TypeError, FUNCTION, 0.0, None)
    yield from each("dense", "bias", lambda v: jaxrnn.dense(D, O, bias=v), TypeError, FLAG, 1, None)
    yield from each("dense", "activation", lambda v: jaxrnn.dense(D, O, activation=v), TypeError, FUNCTION, "relu", 1)
    yield from each("dense", "dtype", lambda v: jaxrnn.dense(D, O, dtype=v), TypeError, "dtype", "int8", "float1")
    for name, build in {
        "dense": jaxrnn.dense,
        "embed": jaxrnn.embed,
        "layer_norm": lambda D, O, **o: jaxrnn.layer_norm(D, **o),
        "batch_norm": lambda D, O, **o: jaxrnn.batch_norm(D, **o),
        "tied": lambda D, O, **o: jaxrnn.tied(D, O, jaxrnn.dropout(0.5), **o),
    }.items():
        yield from each(
            name, "param_dtype", lambda v, b=build: b(D, O, param_dtype=v), TypeError, "dtype", "int8", "float1", None
        )
    for name, build in {"layer_norm": jaxrnn.layer_norm, "batch_norm": jaxrnn.batch_norm}.items():
        yield from sizes(name, "D", build)
        yield from each(
            name, "epsilon", lambda v, b=build: b(D, epsilon=v), ValueError, "above 0", 0, -1.0, "1", True, None
        )
    yield from sizes("tied", "symbols", lambda v: jaxrnn.tied(v, H, TIED.model))
    yield from sizes("tied", "E", lambda v: jaxrnn.tied(5, v, TIED.model))
    yield from each("tied", "bias", lambda v: jaxrnn.tied(5, H, TIED.model, bias=v), TypeError, FLAG, 1, None)
    yield from each(
        "tied", "w_init", lambda v: jaxrnn.tied(5, H, TIED.model, w_init=v), TypeError, FUNCTION, "glorot", None
    )
    yield from each(
        "tied", "dtype", lambda v: jaxrnn.tied(5, H, TIED.model, dtype=v), TypeError, "dtype", "int8", "float1"
    )
    yield from each(
        "dropout", "rate", jaxrnn.dropout, ValueError, "[0, 1)", 1.0, -0.1, "0.5", True, np.nan, None, [0.1, 0.2]
    )
    yield from each("dropout", "over_time", lambda v: jaxrnn.dropout(0.1, over_time=v), TypeError, FLAG, 1, None)


def _compositions():
    gradient = {"error": TypeError, "argument": "gradient", "expected": "Gradient"}
    yield from [
        Case("stack-none", lambda: jaxrnn.stack([]), TypeError, "cells", "at least one Cell", "[]"),
        Case("stack-nothing", lambda: jaxrnn.stack(), TypeError, "cells", "in a list", "()"),
        Case("stack-model", lambda: jaxrnn.stack([ELMAN, DENSE]), TypeError, "cells[1]", "Cell", "Dense"),
        Case("stack-builder", lambda: jaxrnn.stack([jaxrnn.lstm]), TypeError, "cells[0]", "Cell", "function"),
        Case("stack-misfit", lambda: jaxrnn.stack([ELMAN, LSTM]), ValueError, "cells[1]", f"{H} input", f"{D}"),
        *sizes("repeat", "n", lambda v: jaxrnn.repeat(jaxrnn.elman(D, D), v)),
        Case("repeat-model", lambda: jaxrnn.repeat(DENSE, 2), TypeError, "cell", "Cell", "Dense"),
        Case("repeat-misfit", lambda: jaxrnn.repeat(ELMAN, 2), ValueError, "cell", f"input features, {D}", f"{H}"),
        Case(
            "repeat-gradient", lambda: jaxrnn.repeat(jaxrnn.elman(D, D), 2, gradient="bptt"), got="'bptt'", **gradient
        ),
        Case("stack-gradient", lambda: jaxrnn.stack([ELMAN], gradient="bptt"), got="'bptt'", **gradient),
        Case("stack-gradient-0", lambda: jaxrnn.stack([ELMAN], gradient=0), got="0", **gradient),
        Case("bidirectional-model", lambda: jaxrnn.bidirectional(STACK, ELMAN), TypeError, "forward", "Cell", "Stack"),
        Case(
            "bidirectional-string", lambda: jaxrnn.bidirectional(ELMAN, "lstm"), TypeError, "backward", "Cell", "'lstm'"
        ),
        Case("bidirectional-none", lambda: jaxrnn.bidirectional(ELMAN, None), TypeError, "backward", "Cell", "None"),
        Case(
            "bidirectional-misfit",
            lambda: jaxrnn.bidirectional(ELMAN, jaxrnn.gru(H, H)),
            ValueError,
            "backward",
            f"{D} input features",
            f"{H}",
        ),
        Case(
            "bidirectional-sum",
            lambda: jaxrnn.bidirectional(ELMAN, jaxrnn.gru(D, O), merge="sum"),
            ValueError,
            "backward",
            f"{H} output features",
            f"{O}",
        ),
        *each(
            "bidirectional",
            "merge",
            lambda v: jaxrnn.bidirectional(ELMAN, ELMAN, merge=v),
            ValueError,
            "'sum'",
            "average",
            1,
        ),
        Case(
            "bidirectional-gradient",
            lambda: jaxrnn.bidirectional(ELMAN, ELMAN, gradient="bptt"),
            got="'bptt'",
            **gradient,
        ),
        Case("chain-none", lambda: jaxrnn.chain(), TypeError, "models", "at least one Model", "()"),
        Case("chain-number", lambda: jaxrnn.chain(DENSE, 3), TypeError, "models[1]", "Model or Cell", "3"),
        Case("chain-lists", lambda: jaxrnn.chain([DENSE], [DENSE]), TypeError, "models[0]", "Model", "list"),
        Case("chain-builder", lambda: jaxrnn.chain(jaxrnn.last), TypeError, "models[0]", "Model", "function"),
        Case("chain-misfit", lambda: jaxrnn.chain(STACK, DENSE), ValueError, "models[1]", f"{H} input", f"{D}"),
        # Without a time axis the batch would be read as time.
        Case(
            "chain-stack-after-last",
            lambda: jaxrnn.chain(jaxrnn.last(), STACK),
            ValueError,
            "models[1]",
            "no time axis behind last",
            "Stack",
        ),
        Case(
            "chain-last-after-last",
            lambda: jaxrnn.chain(jaxrnn.last(), jaxrnn.last()),
            ValueError,
            "models[1]",
            "time",
            "Last",
        ),
        Case(
            "chain-last-after-mean_over_time",
            lambda: jaxrnn.chain(jaxrnn.mean_over_time(), jaxrnn.last()),
            ValueError,
            "models[1]",
            "no time axis behind last or mean_over_time",
            "Last",
        ),
        Case("tied-cell", lambda: jaxrnn.tied(5, D, jaxrnn.elman(D, D)), TypeError, "model", "Model", "jaxrnn.stack"),
        Case("tied-inputs", lambda: jaxrnn.tied(5, O, DENSE), ValueError, "model", f"{O} input features", f"{D}"),
        Case("tied-outputs", lambda: jaxrnn.tied(5, D, DENSE), ValueError, "model", f"{D} output features", f"{O}"),
        Case("residual-cell", lambda: jaxrnn.residual(jaxrnn.elman(D, D)), TypeError, "model", "Model", "jaxrnn.stack"),
        Case("residual-misfit", lambda: jaxrnn.residual(DENSE), ValueError, "model", f"features, {D}", f"{O}"),
        Case(
            "residual-last",
            lambda: jaxrnn.residual(jaxrnn.last()).apply({}, XS),
            ValueError,
            "model",
            f"{T}",
            f"({B}, {D})",
        ),
    ]


def _apply(name, model, xs):
    """What all models must refuse."""
    params = drawn(model)

    def run(params=params, xs=xs, **options):
        return model.apply(params, xs, **options)

    def case(what, error, argument, expected, got, **wrong):
        return Case(f"{name}.apply-{what}", lambda: run(**wrong), error, argument, expected, got)

    yield case("xs-string", TypeError, "xs", "array", "str 'xs'", xs="xs")
    yield case("xs-number", ValueError, "xs", "[", "[]", xs=xs.reshape(-1)[0])
    yield case("lengths-long", ValueError, "lengths", f"T = {T}", f"1 to {T + 1}", lengths=[1, T + 1])
    yield case("lengths-negative", ValueError, "lengths", f"T = {T}", "-1 to 1", lengths=[-1, 1])
    yield case("lengths-floats", TypeError, "lengths", "integers", "float32", lengths=ones(B))
    yield case("lengths-rows", ValueError, "lengths", f"({B},)", "[3]", lengths=[1, 1, 1])
    yield case("resets-shape", ValueError, "resets", f"({T}, {B})", f"bool[{B}]", resets=np.ones(B, bool))
    yield case("resets-integers", TypeError, "resets", "booleans", "int32", resets=np.ones((T, B), np.int32))
    yield case("gradient-string", TypeError, "gradient", "Gradient", "'bptt'", gradient="bptt")
    yield case("gradient-zero", TypeError, "gradient", "Gradient", "0", gradient=0)
    kind = {
        "bidirectional": "a BidirectionalCarry of 2",
        "stack": "a tuple of 2",
        "chain": "a tuple of 3",
        "residual": "a tuple of 1",
        "tied": "a tuple of 1",
    }
    expected = kind.get(name, "None or an empty tuple")
    yield case("carry-array", ValueError, "carry", expected, f"float32[{B}, {H}]", carry=ones(B, H))
    yield from not_keys(f"{name}.apply", lambda v: run(key=v))[:2]
    if params and model not in (NORM, BATCH_NORM):  # which draw nothing
        yield from not_keys(f"{name}.init", model.init)[:2]


def _flat_params(name, model, xs):
    """Wrong parameters of a model without parts: the message names the entries or the array."""
    params = drawn(model)
    entries = f"a dict with the entries {sorted(params)}"

    def case(what, params, argument, expected, got):
        return Case(f"{name}.apply-params-{what}", lambda: model.apply(params, xs), ValueError, argument, expected, got)

    yield case("none", None, "params", entries, "None")
    yield case("string", "w", "params", entries, "str 'w'")
    for key, x in params.items():
        wrong = changed(params, **{key: None})
        yield case(f"without-{key}", wrong, "params", entries, f"a dict with {sorted(wrong)}")
        if isinstance(x, dict):
            continue
        wrong = params | {key: ones(1)}
        yield case(f"shape-of-{key}", wrong, f"params['{key}']", f"shape {x.shape}", "float32[1]")
    wrong = params | {"extra": ones(2)}
    yield case("extra", wrong, "params", entries, f"a dict with {sorted(wrong)}")


def _nested_params(name, model, xs):
    """Wrong parameters of a model with parts: the message names the parts."""
    params = drawn(model)
    first = next(iter(params))
    entries = f"a dict with the entries {sorted(params)}"

    def case(what, params, got):
        return Case(f"{name}.apply-params-{what}", lambda: model.apply(params, xs), ValueError, "params", entries, got)

    yield case("none", None, "None")
    yield case("string", "w", "str 'w'")
    yield case("without-first", changed(params, **{first: None}), str(sorted(params)[1:]))
    yield case("extra", params | {"extra": ones(2)}, "'extra'")


def _no_params(name, model):
    """Parameters for a model that has none."""
    for params, got in ((None, "None"), ("w", "str 'w'"), ({"w": ones(2)}, "a dict with ['w']")):
        call = lambda params=params: model.apply(params, XS)  # noqa: E731
        yield Case(
            f"{name}.apply-params-{type(params).__name__}",
            call,
            ValueError,
            "params",
            "a dict with the entries []",
            got,
        )


def _parts():
    """Wrong arguments for one part of a model: the others must not run first."""
    p_stack, p_both, p_chain = drawn(STACK), drawn(BOTH), drawn(CHAIN)
    yield from [
        Case(
            "stack-params-of-upper-layer",
            lambda: STACK.apply({"0": p_stack["0"], "1": p_stack["0"]}, XS),
            ValueError,
            "params['1']",
            "['b', 'b_h', 'w_h', 'w_x']",
            "['b', 'w_h', 'w_x']",
        ),
        Case(
            "stack-carry-list",
            lambda: STACK.apply(p_stack, XS, carry=[ones(B, H)] * 2),
            ValueError,
            "carry",
            "tuple of 2",
            "list",
        ),
        Case(
            "stack-carry-one",
            lambda: STACK.apply(p_stack, XS, carry=(ones(B, H),)),
            ValueError,
            "carry",
            "tuple of 2",
            f"tuple of 1: (float32[{B}, {H}])",
        ),
        Case(
            "stack-carry-of-upper-layer",
            lambda: STACK.apply(p_stack, XS, carry=(ones(B, H), ones(B, 1))),
            ValueError,
            "carry[1]",
            f"shape ({B}, {H})",
            f"float32[{B}, 1]",
        ),
        Case(
            "bidirectional-carry-of-backward",
            lambda: BOTH.apply(p_both, XS, carry=jaxrnn.models.BidirectionalCarry(ones(B, H), ones(B, 1))),
            ValueError,
            "carry.backward",
            f"shape ({B}, {O})",
            f"float32[{B}, 1]",
        ),
        Case(
            "bidirectional-params-of-backward",
            lambda: BOTH.apply(p_both | {"backward": p_both["forward"]}, XS),
            ValueError,
            "params['backward']",
            "['b', 'b_h', 'w_h', 'w_x']",
            "['b', 'w_h', 'w_x']",
        ),
        Case(
            "chain-params-of-last",
            lambda: CHAIN.apply(p_chain | {"2": drawn(DENSE)}, XS),
            ValueError,
            "params['2']['w']",
            f"shape ({H}, {O})",
            f"float32[{D}, {O}]",
        ),
        Case(
            "chain-carry-count",
            lambda: CHAIN.apply(p_chain, XS, carry=((),)),
            ValueError,
            "carry",
            "tuple of 3",
            "tuple of 1",
        ),
        Case(
            "batch_norm-params-of-statistics",
            lambda: BATCH_NORM.apply(drawn(BATCH_NORM) | {"statistics": {"mean": ones(D)}}, XS),
            ValueError,
            "params['statistics']",
            "['mean', 'variance']",
            "['mean']",
        ),
        Case(
            "tied-params-of-model",
            lambda: TIED.apply(drawn(TIED) | {"model": {}}, SYMBOLS),
            ValueError,
            "params['model']",
            "['0']",
            "a dict with []",
        ),
        Case("tied-xs-floats", lambda: TIED.apply(drawn(TIED), XS), TypeError, "xs", "integers from 0 to 4", "float32"),
        Case(
            "tied-model-of-other-outputs",
            lambda: jaxrnn.tied(5, D, Wide()).apply(drawn(jaxrnn.tied(5, D, Wide())), SYMBOLS),
            ValueError,
            "model",
            f"outputs of {D} features",
            f"({T}, {B}, {2 * D})",
        ),
        Case(
            "chain-embed-after-dense",
            lambda: jaxrnn.chain(DENSE, EMBED).apply({"0": drawn(DENSE), "1": drawn(EMBED)}, XS),
            TypeError,
            "xs",
            "integers from 0 to 4",
            "float32",
        ),
    ]


def _floats(name, model):
    """Inputs that must be floating-point numbers."""
    params, integers = drawn(model), np.ones((T, B, D), np.int32)
    yield Case(
        f"{name}.apply-xs-integers", lambda: model.apply(params, integers), TypeError, "xs", "floating-point", "int32"
    )


def _features(name, model):
    """Inputs of a certain number of features, also while tracing."""
    params, xs, got = drawn(model), ones(T, B, 7), f"[{T}, {B}, 7]"
    for how, apply in (("", model.apply), ("-jit", jax.jit(model.apply))):
        call = lambda apply=apply: apply(params, xs)  # noqa: E731
        yield Case(f"{name}.apply-xs-features{how}", call, ValueError, "xs", f"{D} features", got)


FLAT = {"dense": DENSE, "layer_norm": NORM, "batch_norm": BATCH_NORM}
NESTED = {"stack": STACK, "bidirectional": BOTH, "chain": CHAIN}
POOLING = {"last": jaxrnn.last(), "mean_over_time": jaxrnn.mean_over_time()}
WITHOUT_PARAMS = {"dropout": jaxrnn.dropout(0.5)} | POOLING

CASES = [*_options(), *_compositions(), *_parts()]
for name, model in (FLAT | NESTED | WITHOUT_PARAMS | {"residual": RESIDUAL}).items():
    CASES += _apply(name, model, XS)
for name, model in (FLAT | NESTED | {"residual": RESIDUAL}).items():
    CASES += [*_features(name, model), *_floats(name, model)]
for name, model in FLAT.items():
    CASES += _flat_params(name, model, XS)
for name, model in NESTED.items():
    CASES += _nested_params(name, model, XS)
for name, model in WITHOUT_PARAMS.items():
    CASES += _no_params(name, model)
for name, model in (NESTED | POOLING | {"residual": RESIDUAL}).items():
    call = lambda model=model: model.apply(drawn(model), XS[:0])  # noqa: E731
    CASES.append(Case(f"{name}.apply-xs-empty", call, ValueError, "xs", "time step", f"[0, {B}, {D}]"))
CASES += [*_apply("embed", EMBED, SYMBOLS), *_flat_params("embed", EMBED, SYMBOLS)]
CASES += [*_apply("tied", TIED, SYMBOLS), *_flat_params("tied", TIED, SYMBOLS)]
CASES += _floats("dropout", jaxrnn.dropout(0.5))
CASES.append(
    Case(
        "embed.apply-xs-floats",
        lambda: EMBED.apply(drawn(EMBED), XS),
        TypeError,
        "xs",
        "integers from 0 to 4",
        f"float32[{T}, {B}, {D}]",
    )
)
