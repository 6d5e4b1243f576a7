"""Wrong arguments of `fit`, `evaluate`, `train_state` and `make_train_step`."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from tests.bad_input.case import B, Case, D, H, O, T, changed, drawn, each, not_keys, ones, sizes

N = 6
MODEL = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dense(H, O))
PARAMS = drawn(MODEL)
NORMALISED = jaxrnn.chain(jaxrnn.batch_norm(D), jaxrnn.dense(D, O))
DATA = {"xs": ones(T, N, D), "targets": ones(T, N, O)}
SGD = optax.sgd(0.1)
LOSS = jaxrnn.losses.mean_squared_error
KEY = jax.random.key(0)


def fit(model=MODEL, loss=LOSS, optimizer=SGD, data=DATA, *, key=KEY, steps=3, batch_size=2, **options):
    with jax.numpy_dtype_promotion("standard"):
        options = {"progress": False} | options
        return jaxrnn.fit(model, loss, optimizer, data, key=key, steps=steps, batch_size=batch_size, **options)


def evaluate(model=MODEL, params=PARAMS, loss=LOSS, data=DATA, **options):
    return jaxrnn.evaluate(model, params, loss, data, **options)


def state(model=MODEL, optimizer=SGD, key=KEY, **options):
    return jaxrnn.training.train_state(model, optimizer, key=key, **options)


def step(model=MODEL, loss=LOSS, optimizer=SGD, state=None, batch=DATA, **options):
    """The function that `make_train_step` returns, traced only."""
    take = jaxrnn.training.make_train_step(model, loss, optimizer, **options)
    state = jax.eval_shape(lambda: jaxrnn.training.train_state(MODEL, SGD, key=KEY)) if state is None else state
    return jax.eval_shape(lambda state: take(state, batch), state)


def _vector(ys, batch):
    return ys.sum((0, 2))


def _count(ys, batch):
    return jnp.asarray(ys.size, jnp.int32)


def _nothing(ys, batch):
    return None


def _data(name, run, whose):
    """What any data set must not be; `run` takes one."""

    def case(what, error, argument, expected, got, data):
        return Case(f"{name}-{whose}-{what}", lambda: run(data), error, argument, expected, got)

    def entry(what, error, key, expected, got, value):
        return case(what, error, f"{whose}[{key}]", expected, got, DATA | {key.strip("'\""): value})

    yield case("without-xs", ValueError, whose, 'entry "xs"', "targets", changed(DATA, xs=None))
    yield case("empty", ValueError, whose, 'entry "xs"', "a dict with []", {})
    said = "validation: " if whose == "validation" else ""
    yield case("without-targets", ValueError, f"{said}batch", 'entry "targets"', "xs", changed(DATA, targets=None))
    one = {"xs": ones(T, D), "targets": ones(T, O)}
    yield case("xs-one-row", ValueError, f'{whose}["xs"]', "[T, N, D] of N rows", f"float32[{T}, {D}]", one)
    yield entry("xs-vector", ValueError, '"xs"', "[T, N, ...]", "float32[6]", ones(6))
    yield entry("xs-no-rows", ValueError, '"xs"', "T, N >= 1", f"[{T}, 0, {D}]", ones(T, 0, D))
    yield entry("xs-no-steps", ValueError, '"xs"', "T, N >= 1", f"[0, {N}, {D}]", ones(0, N, D))
    yield entry("xs-string", TypeError, "'xs'", "array", "'xs'", "xs")
    yield entry("targets-rows", ValueError, "'targets'", f"N = {N} rows", f"[{T}, 5, {O}]", ones(T, 5, O))
    yield entry("targets-number", ValueError, "'targets'", f"N = {N} rows", "float32[]", np.float32(0.0))
    yield entry("targets-string", TypeError, "'targets'", "array", "'cat'", "cat")
    wrong = DATA | {"xs": ones(T, N, D + 1)}
    yield case("xs-features", ValueError, f"{said}xs", f"{D} features", f"{D + 1}]", wrong)
    yield case(
        "xs-integers", TypeError, f"{said}xs", "floating-point", "int32", DATA | {"xs": np.ones((T, N, D), np.int32)}
    )
    features = DATA | {"targets": ones(T, N, O + 1)}
    yield case("targets-features", ValueError, f'{said}batch["targets"]', f", {O})", f", {O + 1}]", features)
    lengths = np.full(N, T)
    for what, error, expected, got, value in (
        ("long", ValueError, f"T = {T}", f"{T + 1}", lengths + 1),
        ("long-on-device", ValueError, f"T = {T}", f"{T + 1}", jnp.asarray(lengths + 1, jnp.int32)),
        ("negative", ValueError, f"T = {T}", "-1", lengths - T - 1),
        ("floats", TypeError, "integers", "float32", ones(N)),
        ("shape", ValueError, f"({N},)", f"[{N}, 1]", np.ones((N, 1), np.int32)),
    ):
        yield case(f"lengths-{what}", error, "lengths", expected, got, DATA | {"lengths": value})
        own, of_targets = DATA | {"targets_lengths": value}, expected.replace("T =", "L =")
        yield case(f"targets_lengths-{what}", error, f"{whose}['targets_lengths']", of_targets, got, own)
    for what, error, expected, got, value in (
        ("shape", ValueError, f"({T}, {N})", f"bool[{N}]", np.ones(N, bool)),
        ("integers", TypeError, "booleans", "int32", np.ones((T, N), np.int32)),
    ):
        yield case(f"resets-{what}", error, "resets", expected, got, DATA | {"resets": value})


def _functions(name, run):
    """Wrong models, losses, metrics; `run` takes any of them."""

    def case(what, error, argument, expected, got, **wrong):
        return Case(f"{name}-{what}", lambda: run(**wrong), error, argument, expected, got)

    yield case("model-cell", TypeError, "model", "Model", "jaxrnn.stack", model=jaxrnn.elman(D, H))
    yield case("model-string", TypeError, "model", "Model", "'lstm'", model="lstm")
    yield case("model-builder", TypeError, "model", "Model", "function", model=jaxrnn.stack)
    yield case("loss-string", TypeError, "loss", "function", "'mse'", loss="mse")
    yield case("loss-none", TypeError, "loss", "function", "None", loss=None)
    yield case("loss-vector", ValueError, "loss", "scalar", "float32[", loss=_vector)
    yield case("loss-integer", ValueError, "loss", "floating-point", "int32[]", loss=_count)
    yield case("loss-returns-none", TypeError, "loss", "array", "None", loss=_nothing)
    yield case("metrics-function", TypeError, "metrics", "dict", "function", metrics=LOSS)
    yield case("metrics-list", TypeError, "metrics", "dict", "list", metrics=[LOSS])
    yield case("metrics-string", TypeError, "metrics['mse']", "function", "'mse'", metrics={"mse": "mse"})
    yield case("metrics-vector", ValueError, "metrics['rows']", "scalar", "float32[", metrics={"rows": _vector})
    yield case("metrics-loss", ValueError, "metrics", "other", "'loss'", metrics={"loss": LOSS})


def _gradient_steps(name, run):
    """What only those that differentiate take."""
    yield Case(f"{name}-gradient", lambda: run(gradient="bptt"), TypeError, "gradient", "Gradient", "'bptt'")
    yield Case(f"{name}-gradient-0", lambda: run(gradient=0), TypeError, "gradient", "Gradient", "0")
    yield from _optimizer(name, run)
    metrics = {"gradient_norm": LOSS}
    yield Case(f"{name}-metrics-norm", lambda: run(metrics=metrics), ValueError, "metrics", "other", "'gradient_norm'")


def _optimizer(name, run):
    error, kind = TypeError, "GradientTransformation"
    yield Case(f"{name}-optimizer-number", lambda: run(optimizer=1e-3), error, "optimizer", kind, "0.001")
    yield Case(f"{name}-optimizer-string", lambda: run(optimizer="adam"), error, "optimizer", kind, "'adam'")
    yield Case(f"{name}-optimizer-builder", lambda: run(optimizer=optax.adam), error, "optimizer", kind, "function")


def _params(name, run, *, none=False):
    other = drawn(jaxrnn.chain(jaxrnn.stack([jaxrnn.lstm(D, H)]), jaxrnn.dense(H, O)))
    part = {"0": PARAMS["0"]}
    yield Case(f"{name}-params-other", lambda: run(params=other), ValueError, "params", f"{H}", f"{4 * H}")
    yield Case(f"{name}-params-part", lambda: run(params=part), ValueError, "params", "1", "0")
    yield Case(f"{name}-params-string", lambda: run(params="w"), ValueError, "params", "'0', '1'", "'w'")
    if none:
        yield Case(f"{name}-params-none", lambda: run(params=None), ValueError, "params", "'0', '1'", "None")


def _batches(**changes):
    """An iterator whose third batch is wrong."""
    good = {"xs": ones(T, B, D), "targets": ones(T, B, O)}
    return itertools.chain([good, good], [changed(good, **changes)])


def _fit():
    yield from _functions("fit", fit)
    yield from _gradient_steps("fit", fit)
    yield from _data("fit", lambda data: fit(data=data), "data")
    yield from _data("fit", lambda data: fit(validation=data), "validation")
    yield from _params("fit", fit)
    yield from not_keys("fit", lambda v: fit(key=v))
    yield from sizes("fit", "steps", lambda v: fit(steps=v))
    yield from sizes("fit", "block", lambda v: fit(block=v))
    yield from [c for c in sizes("fit", "batch_size", lambda v: fit(batch_size=v)) if c.got != "None"]
    yield from [c for c in sizes("fit", "diagnose_every", lambda v: fit(diagnose_every=v)) if c.got != "None"]
    yield Case("fit-mesh-number", lambda: fit(mesh=2), TypeError, "mesh", "a Mesh", "int 2")
    two = jax.sharding.Mesh(np.array(jax.devices()[:1])[:, None], ("a", "b"))
    yield Case("fit-mesh-of-two-axes", lambda: fit(mesh=two), ValueError, "mesh", "one axis", "'b': 1")
    yield from [c for c in sizes("fit", "patience", lambda v: fit(patience=v, validation=DATA)) if c.got != "None"]
    yield from each("fit", "progress", lambda v: fit(progress=v), TypeError, "True or False", 1, "bar", None)
    yield from [
        Case("fit-batch_size-large", lambda: fit(batch_size=N + 1), ValueError, "batch_size", f"{N} rows", f"{N + 1}"),
        Case("fit-batch_size-none", lambda: fit(batch_size=None), ValueError, "batch_size", f"{N} rows", "None"),
        Case(
            "fit-batch_size-iterator",
            lambda: fit(data=iter([DATA])),
            ValueError,
            "batch_size",
            "None with an iter",
            "2",
        ),
        Case("fit-data-none", lambda: fit(data=None), TypeError, "data", "dict of arrays", "None"),
        Case(
            "fit-data-array",
            lambda: fit(data=DATA["xs"], batch_size=None),
            ValueError,
            "data",
            "dict",
            f"float32[{N}, {D}]",
        ),
        Case("fit-data-string", lambda: fit(data="digits", batch_size=None), ValueError, "data", "dict", "'d"),
        Case("fit-data-model", lambda: fit(data=MODEL, batch_size=None), TypeError, "data", "dict", "Chain"),
        Case(
            "fit-data-no-batch", lambda: fit(data=[], batch_size=None), ValueError, "data", "at least one batch", "none"
        ),
        Case("fit-validation-list", lambda: fit(validation=[DATA]), ValueError, "validation", "dict", "list"),
        Case("fit-patience-alone", lambda: fit(patience=2), ValueError, "validation", "with patience", "None"),
        Case(
            "fit-stream-shape",
            lambda: fit(
                data=_batches(xs=ones(T + 1, B, D), targets=ones(T + 1, B, O)),
                batch_size=None,
                stream=T,
            ),
            ValueError,
            "data: a batch['xs']",
            f"shape ({T}, {B}, {D})",
            f"float32[{T + 1}, {B}, {D}]",
        ),
        Case(
            "fit-batch-dtype",
            lambda: fit(data=_batches(targets=np.ones((T, B, O), np.int32)), batch_size=None),
            TypeError,
            "data: a batch['targets']",
            f"float32[{T}, {B}, {O}]",
            f"int32[{T}, {B}, {O}]",
        ),
        Case(
            "fit-batch-entry",
            lambda: fit(data=_batches(lengths=np.full(B, T)), batch_size=None),
            ValueError,
            "data: a batch",
            "the entries ['targets', 'xs']",
            "a dict with ['lengths', 'targets', 'xs']",
        ),
        Case(
            "fit-batch-lengths",
            lambda: fit(data=_batches(lengths=np.full(B, T + 1)), batch_size=None),
            ValueError,
            "lengths",
            f"T = {T}",
            f"{T + 1}",
        ),
        Case("fit-run_dir-number", lambda: fit(run_dir=3), TypeError, "run_dir", "directory", "3"),
        Case(
            "fit-run_dir-file",
            lambda: fit(run_dir=pathlib.Path(__file__)),
            ValueError,
            "run_dir",
            "directory",
            "training.py",
        ),
    ]


def _calibrate():
    def calibrate(model=NORMALISED, params=None, batches=DATA):
        return jaxrnn.training.calibrate(model, drawn(NORMALISED) if params is None else params, batches)

    def case(what, error, argument, expected, got, **wrong):
        return Case(f"calibrate-{what}", lambda: calibrate(**wrong), error, argument, expected, got)

    yield case("model-norm", TypeError, "model", "Model", "Elman", model=jaxrnn.elman(D, H))
    yield case("params-other", ValueError, "params", "['0', '1']", "['0']", params={"0": {}})
    yield case("batches-none", TypeError, "batches", "an iterable", "None", batches=None)
    yield case("batches-empty", ValueError, "batches", "at least one batch", "none in list []", batches=[])
    yield case("batches-array", ValueError, "batches", 'entry "xs"', f"float32[{N}, {D}]", batches=DATA["xs"])
    yield case("batches-without-xs", ValueError, "batches", 'entry "xs"', "targets", batches=[changed(DATA, xs=None)])
    yield case("batches-one-row", ValueError, 'batches["xs"]', "of N rows", f"[{T}, {D}]", batches={"xs": ones(T, D)})
    endless = jaxrnn.data.bucketed({"xs": [ones(n, D) for n in (3, 1, 2)]}, batch_size=1, key=KEY)
    yield case("batches-endless", ValueError, "batches", "that end", "Bucketed(3 rows", batches=endless)
    ahead = jaxrnn.data.prefetch(endless)
    yield case("batches-endless-prefetched", ValueError, "batches", "that end", "Prefetched", batches=ahead)
    wrong = DATA | {"lengths": np.full(N, T + 1)}
    yield case("batches-lengths", ValueError, "lengths", f"T = {T}", f"{T + 1}", batches=[wrong, DATA])
    yield case("xs-features", ValueError, "xs", f"{D} features", f"{D + 1}]", batches={"xs": ones(T, N, D + 1)})


def _others():
    yield from _functions("evaluate", evaluate)
    yield from _data("evaluate", lambda data: evaluate(data=data), "data")
    yield from _params("evaluate", evaluate, none=True)
    yield from sizes("evaluate", "batch_size", lambda v: evaluate(batch_size=v))
    yield Case("evaluate-data-list", lambda: evaluate(data=[DATA]), ValueError, "data", "dict", "list")
    several = "list of 2: (a dict with ['targets', 'xs'], a dict with ['targets', 'xs'])"
    yield Case("evaluate-data-batches", lambda: evaluate(data=[DATA, DATA]), ValueError, "data", "dict", several)

    yield Case("train_state-model", lambda: state(jaxrnn.elman(D, H)), TypeError, "model", "Model", "Elman")
    yield from _optimizer("train_state", state)
    yield from _params("train_state", state)
    yield from not_keys("train_state", lambda v: state(key=v))
    yield from [c for c in sizes("train_state", "streams", lambda n: state(streams=n)) if "None" not in c.name]

    yield from _functions("make_train_step", step)
    yield from _gradient_steps("make_train_step", step)
    yield Case("train_step-batch-array", lambda: step(batch=DATA["xs"]), ValueError, "batch", 'entry "xs"', "float32")
    yield Case(
        "train_step-batch-without-xs",
        lambda: step(batch=changed(DATA, xs=None)),
        ValueError,
        "batch",
        '"xs"',
        "targets",
    )
    yield Case("train_step-state-params", lambda: step(state=PARAMS), TypeError, "state", "TrainState", "dict")


ROWS = {"xs": [ones(n, D) for n in (3, 1, 2)], "targets": [ones(n, O) for n in (3, 1, 2)]}


def _rows(name, run):
    """Wrong rows of different lengths; `run` takes rows and own_lengths."""

    def case(what, error, argument, expected, got, **entries):
        options = {option: entries.pop(option) for option in ("own_lengths", "per_row") if option in entries}
        rows = changed(ROWS, **entries)
        return Case(f"{name}-{what}", lambda: run(rows, **options), error, argument, expected, got)

    label, words = [0, 1, 2], [np.arange(n) for n in (2, 4, 1)]
    shaped = "sequences as long as those of xs, scalars, or the entry's name in own_lengths or per_row"
    yield case("without-xs", ValueError, "rows", 'entry "xs"', "targets", xs=None)
    yield Case(f"{name}-list", lambda: run([ROWS]), ValueError, "rows", 'entry "xs"', "list")
    yield case("xs-array", TypeError, "rows['xs']", "a list of one array a row", "int 3", xs=3)
    yield case("xs-none", TypeError, "rows['xs']", "a list of one array a row", "[]", xs=[])
    yield case("xs-numbers", ValueError, "rows['xs']", "sequences [T_i, ...]", "a scalar", xs=label, targets=None)
    features = [ones(3, D), ones(1, D), ones(2, D + 1)]
    yield case("xs-features", ValueError, "rows['xs']", "first axis only", f"(2, {D + 1})", xs=features)
    dtypes = [ones(3, D), ones(1, D).astype(np.float16), ones(2, D)]
    yield case("xs-dtype", TypeError, "rows['xs'][1]", "float32", "float16", xs=dtypes)
    yield case("xs-string", TypeError, "rows['xs'][1]", "an array", "'cat'", xs=[ones(3, D), "cat", ones(2, D)])
    yield case("targets-rows", ValueError, "rows['targets']", "N = 3 rows", "2", targets=[0, 1])
    yield case("targets-lengths", ValueError, "rows['targets']", shaped, "(1,), (2,), (4,)", targets=words)
    vectors = [ones(4)] * 3
    yield case("vectors", ValueError, "rows['about']", shaped, "(4,)", about=vectors)
    yield case("labels-mixed", ValueError, "rows['about']", shaped, "(), (3,)", about=[ones(3), *ones(2)])
    single = {"per_row": ["about"]}
    yield case("per_row-shapes", ValueError, "rows['about']", "rows of one shape", "(2,)", about=[*words], **single)
    yield case("per_row-unknown", ValueError, "per_row", "['targets']", "'about'", **single)
    yield case("per_row-xs", ValueError, "per_row", "other than xs", "'xs'", per_row=["xs"])
    both = {"own_lengths": ["words"], "per_row": ["words"]}
    yield case("per_row-own_lengths", ValueError, "per_row", "not in own_lengths", "'words'", words=words, **both)
    mixed = [ones(2), ones(3, 1), ones(4)]
    own = {"own_lengths": ["words"]}
    yield case("words-shapes", ValueError, "rows['words']", "first axis only", "(3, 1)", words=mixed, **own)
    yield case("words-numbers", ValueError, "rows['words']", "first axis only", "()", words=label, **own)
    yield case("own_lengths-unknown", ValueError, "own_lengths", "['targets']", "'words'", **own)
    yield case("own_lengths-xs", ValueError, "own_lengths", "other than xs", "'xs'", own_lengths=["xs"])
    yield case(
        "own_lengths-string", TypeError, "own_lengths", "tuple or list", "'words'", words=words, own_lengths="words"
    )
    yield case("lengths", ValueError, "rows", "no entry 'lengths'", "one", lengths=[3, 1, 2])
    made = {"words": words, "words_lengths": label}
    yield case("words_lengths", ValueError, "rows", "no entry 'words_lengths'", "one", **made, **own)


def _iterables():
    def bucketed(rows=ROWS, batch_size=1, key=KEY, **options):
        return jaxrnn.data.bucketed(rows, batch_size=batch_size, key=key, **options)

    yield from _rows("padded", jaxrnn.data.padded)
    yield from _rows("bucketed", bucketed)
    yield from sizes("bucketed", "batch_size", lambda v: bucketed(batch_size=v))
    large = lambda: bucketed(batch_size=4)  # noqa: E731
    yield Case("bucketed-batch_size-large", large, ValueError, "batch_size", "at most the 3 rows", "4")
    yield from sizes("bucketed", "buckets", lambda v: bucketed(buckets=v))
    yield from sizes("bucketed", "run", lambda v: bucketed(run=v))
    yield from [c for c in sizes("bucketed", "epochs", lambda v: bucketed(epochs=v)) if c.got != "None"]
    yield from not_keys("bucketed", lambda v: bucketed(key=v))
    yield from sizes("prefetch", "size", lambda v: jaxrnn.data.prefetch([DATA], v))
    yield from each("prefetch", "batches", jaxrnn.data.prefetch, TypeError, "an iterable of batches", 3, None, "digits")
    yield Case(
        "prefetch-dict", lambda: jaxrnn.data.prefetch(DATA), TypeError, "batches", "an iterable of batches", "dict"
    )
    device = lambda: jaxrnn.data.prefetch([DATA], device="cpu")  # noqa: E731
    yield Case("prefetch-device", device, TypeError, "device", "Device or Sharding", "'cpu'")
    array = lambda: next(iter(jaxrnn.data.prefetch([DATA["xs"]])))  # noqa: E731
    yield Case("prefetch-batch", array, TypeError, "batches: a batch", "dict", "float32")


CASES = [*_fit(), *_calibrate(), *_others(), *_iterables()]
