"""Wrong arguments of what trains, and of what makes the data that it reads."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import Entries, bad_type, bad_value, right
from tests.bad_input.values import KEY, LOSS, MODEL, SGD, XS, YS, B, D, H, O, T, drawn, ones

N, PARAMS, DATA = 6, drawn(MODEL), {"xs": ones(T, 6, D), "targets": ones(T, 6, O)}
LSTM, NORMAL = jaxrnn.chain(jaxrnn.lstm(D, H), jaxrnn.dense(H, O)), jaxrnn.chain(jaxrnn.batch_norm(D), jaxrnn.gru(D, O))
ROWS = {"xs": [ones(n, D) for n in (3, 1, 2)], "targets": [ones(n, O) for n in (3, 1, 2)]}
ENDLESS = jaxrnn.data.bucketed({"xs": ROWS["xs"]}, batch_size=1, key=KEY)


def fit(**arguments):
    with jax.numpy_dtype_promotion("standard"):
        return jaxrnn.fit(**arguments)


def _step(state=None, batch=DATA, **options):
    """The function that `make_train_step` returns, traced only."""
    take = jaxrnn.training.make_train_step(**options)
    state = jax.eval_shape(lambda: jaxrnn.training.train_state(MODEL, SGD, key=KEY)) if state is None else state
    return jax.eval_shape(lambda state: take(state, batch), state)


# fmt: off
TRAINED = {"model": MODEL, "loss": LOSS, "optimizer": SGD}
FIT = {**TRAINED, "data": DATA, "validation": DATA, "key": KEY, "steps": 3, "batch_size": 2, "progress": False,
       "monitor": "loss", "eval_params": None, "stream": None, "time_major": None, "per_row": ()}
EVALUATE = {"model": MODEL, "loss": LOSS, "params": PARAMS, "data": DATA, "time_major": None, "per_row": ()}
FUNCTIONS = {"model": "model", "function": "loss", "metrics": "metrics"}
STEPS = {"optimizer": "optimizer", "gradient": "gradient"}
OF_FUNCTIONS = [
    bad_value("scalar, got float32[", loss=lambda ys, batch: ys.sum((0, 2))),
    bad_type("metrics['mse']: a function, got str 'mse'", metrics={"mse": "mse"}),
    bad_value("metrics['rows']: scalar, got float32[", metrics={"rows": lambda ys, batch: ys.sum((0, 2))}),
    bad_type("metrics['n']: a function of (ys, batch), got one of ()", metrics={"n": lambda: 0.0}),
    bad_type("a function of (ys, batch), got one of (ys)", loss=lambda ys: ys.sum()),
]
OF_STEPS = [bad_value("other, got 'gradient_norm'", metrics={"gradient_norm": LOSS})]
OF_PARAMS = [bad_value("(4, got 16", params=drawn(LSTM)), bad_value("'0', '1'], got with ['0']", params={"0": {}})]


def _of_data(whose, said=""):
    """Wrong data sets, which every function refuses."""
    def entry(bad, message, /, **entries):
        return bad(message, **{whose: Entries(entries)})

    xs, targets, longer = f'{whose}["xs"]', f"{whose}['targets']", np.full(N, T + 1)
    return [
        bad_value('entry "xs"', **{whose: {"targets": YS}}),
        bad_value(f'{said}batch: entry "targets", got a dict with', **{whose: {"xs": DATA["xs"]}}),
        entry(bad_value, f"{xs}: [T, N, D] of N rows, got float32[{T}, {D}]", xs=ones(T, D), targets=ones(T, O)),
        entry(bad_value, f"{xs}: [T, N, ...], got float32[6]", xs=ones(6)),
        entry(bad_value, f"{xs}: T, N >= 1, got float32[{T}, 0, {D}]", xs=ones(T, 0, D)),
        entry(bad_value, f"{xs}: T, N >= 1, got float32[0, {N}, {D}]", xs=ones(0, N, D)),
        entry(bad_type, f"{whose}['xs']: an array, got str 'xs'", xs="xs"),
        entry(bad_value, f"{targets}: N = {N} rows, got float32[{T}, 5, {O}]", targets=ones(T, 5, O)),
        entry(bad_value, f"{targets}: N = {N} rows, got float32[]", targets=np.float32(0.0)),
        entry(bad_type, f"{targets}: an array, got str 'cat'", targets="cat"),
        entry(bad_value, f"{said}xs: {D} features, got float32[", xs=ones(T, N, D + 1)),
        entry(bad_value, f'{said}batch["targets"]: , {O}), got , {O + 1}]', targets=ones(T, N, O + 1)),
        *(
            entry(bad_value, f"{whose}['lengths']: T = 5, got 6", lengths=x)
            for x in (longer, jnp.array(longer, "int32"))
        ),
        entry(bad_value, f"{whose}['targets_lengths']: L = {T}, got {T + 1}", targets_lengths=longer),
        entry(bad_type, "resets: booleans, got float32", resets=ones(T, N)),
    ]


def _third(**entries):
    """Batches, of which the third is wrong."""
    good = {"xs": XS, "targets": YS}
    return {"data": [good, good, good | entries], "batch_size": None}


def _rows(bad, said, own_lengths=(), per_row=(), **entries):
    path = "" if ": " in said else f"rows['{next(iter(entries))}']: "
    return bad(path + said, rows=Entries(entries), own_lengths=own_lengths, per_row=per_row)


AS_LONG = "sequences as long as those of xs, scalars, or the entry's name in own_lengths or per_row"
WORDS, OWN, ONE = [np.arange(n) for n in (2, 4, 1)], {"own_lengths": ["words"]}, "a list of one array a row, got"
OF_ROWS = [
    bad_value('entry "xs"', rows=[ROWS]), bad_value("sequences [T_i, ...], got a scalar", rows={"xs": [0, 1, 2]}),
    _rows(bad_type, f"{ONE} int 3", xs=3), _rows(bad_type, f"{ONE} list []", xs=[]),
    _rows(bad_value, "first axis only, got (2, 4)", xs=[ones(3, D), ones(1, D), ones(2, D + 1)]),
    _rows(bad_type, "rows['xs'][1]: float32, got float16", xs=[ones(3, D), ones(1, D, dtype="f2"), ones(2, D)]),
    _rows(bad_type, "rows['xs'][1]: an array, got str 'cat'", xs=[ones(3, D), "cat", ones(2, D)]),
    _rows(bad_value, "N = 3 rows, got 2", targets=[0, 1]),
    _rows(bad_value, f"{AS_LONG}, got (1,), (2,), (4,)", targets=WORDS),
    _rows(bad_value, f"{AS_LONG}, got (4,)", about=[ones(4)] * 3),
    _rows(bad_value, f"{AS_LONG}, got (), (3,)", about=[ones(3), *ones(2)]),
    _rows(bad_value, "rows of one shape, got (2,)", about=[*WORDS], per_row=["about"]),
    _rows(bad_value, "per_row: ['targets'], got 'about'", per_row=["about"]),
    _rows(bad_value, "per_row: other than xs, got 'xs'", per_row=["xs"]),
    _rows(bad_value, "per_row: not in own_lengths, got 'words'", words=WORDS, per_row=["words"], **OWN),
    _rows(bad_value, "first axis only, got (3, 1)", words=[ones(2), ones(3, 1), ones(4)], **OWN),
    _rows(bad_value, "first axis only, got ()", words=[0, 1, 2], **OWN),
    _rows(bad_value, "own_lengths: ['targets'], got 'words'", **OWN),
    _rows(bad_value, "own_lengths: other than xs, got 'xs'", own_lengths=["xs"]),
    _rows(bad_type, "per_row: a str, got list ['targets']", per_row=[["targets"]]),
    _rows(bad_type, "own_lengths: tuple or list, got str 'words'", words=WORDS, own_lengths="words"),
    _rows(bad_value, "rows: no entry 'lengths', got one", lengths=[3, 1, 2]),
    _rows(bad_value, "rows: no entry 'words_lengths', got one", words=WORDS, words_lengths=[0, 1, 2], **OWN),
]
TABLE = [
    right("fit", FIT, FUNCTIONS | STEPS, call=fit, params="params", key="key", flag="progress", mesh="mesh",
          option="mode", size="steps block batch_size stream diagnose_every patience"), *OF_FUNCTIONS, *OF_STEPS,
        *OF_PARAMS,
    *_of_data("data"),
    *_of_data("validation", "validation: "), bad_type("directory", run_dir=3),
        bad_value("directory, got training.py", run_dir=__file__), bad_value("dict", validation=[DATA]),
        bad_type("a function of (end), got one of ()", callback=lambda: 0),
        bad_value("with patience, got None", validation=None, patience=2), bad_value("6 rows", batch_size=N + 1),
        bad_value("6 rows", batch_size=None), bad_value("batch_size: None with an iter, got 2", data=iter([DATA])),
        bad_type("dict of arrays", data=None),
        *(bad_type("dict", data=x, batch_size=None) for x in (MODEL, DATA["xs"], np.ones(()))),
        bad_value("at least one batch", data=[], batch_size=None),
        bad_value("data: a batch['xs']: shape (5, 2, 3), got float32[6, 2, 3]",
                  **_third(xs=ones(T + 1, B, D), targets=ones(T + 1, B, O)), stream=T),
        bad_type("data: a batch['targets']: float32, got int32", **_third(targets=ones(T, B, O, dtype=np.int32))),
        bad_value("data: a batch: the entries ['targets', 'xs'], got ['lengths', ", **_third(lengths=np.full(B, T))),
        bad_value("data['lengths']: T = 5, got 6", **_third(lengths=np.full(B, T + 1))),
    right("evaluate", EVALUATE, FUNCTIONS, params="params", size="batch_size"), *OF_FUNCTIONS, *OF_PARAMS,
    *_of_data("data"), bad_value("dict", data=[DATA, DATA]),
    right("train_state", {"model": MODEL, "optimizer": SGD, "key": KEY}, model="model", optimizer="optimizer",
          params="params", key="key", size="streams"), *OF_PARAMS,
    right("make_train_step", TRAINED, FUNCTIONS | STEPS, call=_step), *OF_FUNCTIONS, *OF_STEPS,
        bad_value('entry "xs"', batch=XS), bad_type("TrainState, got dict", state=PARAMS),
    right("calibrate", {"model": NORMAL, "params": drawn(NORMAL), "batches": DATA}, model="model", params="params"),
        bad_type("an iterable", batches=None), bad_value("at least one batch", batches=[]),
        bad_value('entry "xs", got float32[5, 2, 3]', batches=[XS]),
        bad_value('batches["xs"]: of N rows, got float32[5, 3]', batches={"xs": ones(T, D)}),
        bad_value("that end", batches=ENDLESS), bad_value("that end", batches=jaxrnn.data.prefetch(ENDLESS)),
        bad_value("batches['lengths']: T = 5, got 6", batches=[DATA | {"lengths": np.full(N, T + 1)}, DATA]),
        bad_value("xs: 3 features, got 4]", batches={"xs": ones(T, N, D + 1)}),
    right("padded", {"rows": ROWS, "own_lengths": (), "per_row": ()}, flag="time_major"), *OF_ROWS,
    right("bucketed", {"rows": ROWS, "batch_size": 1, "key": KEY}, size="batch_size buckets run epochs", key="key"),
        *OF_ROWS, bad_value("at most the 3 rows", batch_size=4),
    right("prefetch", {"batches": [DATA]}, size="size"),
        *(bad_type("an iterable of batches", batches=batches) for batches in (3, None, "digits", DATA)),
        bad_type("Device or Sharding", device="cpu"),
    right("resets_from_dones", {"dones": XS[..., 0] > 0, "before": XS[0, :, 0] > 0}, array="dones before"),
        *(bad_type("booleans or numbers", **{name: KEY}) for name in ("dones", "before")),
    right("pieces", {"sequences": {"xs": XS}, "length": T, "every": None}, size="length every"),
    *(row for logger in (jaxrnn.training.CSVLogger, jaxrnn.training.JSONLLogger) for row in (
        right(logger.__name__, {"path": "rows"}, call=logger, path="path", function="learning_rate"),
        bad_type("a function of (step), got one of ()", learning_rate=lambda: 0.0))),
    right("prefetch of wrong batches", {}, call=lambda batches: next(iter(jaxrnn.data.prefetch(batches)))),
        bad_type("batches: a batch: dict, got float32", batches=[XS]),
]
