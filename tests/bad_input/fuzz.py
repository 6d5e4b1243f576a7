"""Random wrong calls: right ones of which an argument or two are replaced by something else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from tests.bad_input.case import B, D, H, O, T, drawn, ones


class Call(NamedTuple):
    """A public function and arguments that it takes; `traced`: nothing has to be computed to find them wrong."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]
    traced: bool = True


CELL = jaxrnn.gru(D, H)
PARAMS = drawn(CELL)
MODEL = jaxrnn.chain(jaxrnn.lstm(D, H), jaxrnn.dense(H, O))
MODEL_PARAMS = drawn(MODEL)
WRITER = jaxrnn.chain(jaxrnn.embed(O, D), jaxrnn.gru(D, H), jaxrnn.dense(H, O))
LENGTHS, MASK, XS, YS = np.array([T, 2]), np.ones((T, B), bool), ones(T, B, D), ones(T, B, O)
DATA = {"xs": XS, "targets": YS, "lengths": LENGTHS}
CLASSES = {"targets": np.zeros((T, B), int), "lengths": LENGTHS, "mask": MASK}
KEY = jax.random.key(0)


def _loss(name: str, **options: Any) -> Call:
    targets = CLASSES if name in ("cross_entropy", "accuracy", "f1") else {**CLASSES, "targets": YS}
    return Call(
        name, getattr(jaxrnn.losses, name), {"ys": YS, "batch": targets, "at": "steps", "time_major": True, **options}
    )


CALLS = [
    Call(
        "unroll",
        jaxrnn.unroll,
        {
            "cell": CELL,
            "params": PARAMS,
            "xs": XS,
            "carry": ones(B, H),
            "lengths": LENGTHS,
            "resets": MASK,
            "key": KEY,
            "reverse": False,
            "gradient": jaxrnn.reverse_scan(),
            "mask": MASK,
            "states": True,
            "burn_in": 0,
            "time_major": True,
        },
    ),
    Call(
        "apply",
        MODEL.apply,
        {
            "params": MODEL_PARAMS,
            "xs": XS,
            "carry": None,
            "lengths": LENGTHS,
            "resets": MASK,
            "key": KEY,
            "gradient": None,
            "mask": MASK,
            "states": False,
            "burn_in": 0,
            "time_major": True,
        },
    ),
    Call(
        "read symbols",
        WRITER.apply,
        {"params": drawn(WRITER), "xs": np.zeros((T, B), int), "lengths": LENGTHS, "mask": MASK},
    ),
    _loss("cross_entropy", over_time="mean", label_smoothing=0.1, class_weights=[1.0] * O),
    _loss("binary_cross_entropy", over_time="sum"),
    _loss("mean_squared_error", over_time="sum"),
    _loss("quantile_loss", quantiles=[0.5]),
    _loss("accuracy"),
    _loss("f1", average="macro"),
    Call(
        "ctc_loss",
        jaxrnn.losses.ctc_loss,
        {"ys": YS, "batch": {"targets": np.ones((1, B), int), "targets_lengths": np.array([1, 0])}, "blank": 0},
    ),
    Call(
        "generate",
        jaxrnn.decoding.generate,
        {
            "model": WRITER,
            "params": drawn(WRITER),
            "xs": np.zeros((T, B), int),
            "steps": 2,
            "carry": None,
            "key": KEY,
            "temperature": 0.5,
            "top_k": 1,
            "stop": 0,
        },
    ),
    Call(
        "beam_search",
        jaxrnn.decoding.beam_search,
        {"model": WRITER, "params": drawn(WRITER), "xs": np.zeros((T, B), int), "steps": 2, "beam": 2, "stop": 0},
    ),
    Call("ctc_greedy", jaxrnn.decoding.ctc_greedy, {"ys": YS, "lengths": LENGTHS, "blank": 0}),
    Call(
        "edit_distance",
        jaxrnn.decoding.edit_distance,
        {"a": np.zeros((T, B), int), "a_lengths": LENGTHS, "b": np.zeros((T, B), int), "b_lengths": LENGTHS},
    ),
    Call("resets_from_dones", jaxrnn.data.resets_from_dones, {"dones": MASK, "before": MASK[0]}),
    Call("pieces", jaxrnn.data.pieces, {"sequences": {"xs": XS}, "length": T, "every": None}),
    Call(
        "padded",
        jaxrnn.data.padded,
        {"rows": {"xs": [ones(2, D), ones(3, D)], "y": [1, 2]}, "own_lengths": (), "per_row": (), "time_major": True},
    ),
    Call(
        "fit",
        jaxrnn.fit,
        {
            "model": MODEL,
            "loss": jaxrnn.losses.mean_squared_error,
            "optimizer": optax.sgd(0.1),
            "data": DATA,
            "key": KEY,
            "steps": 1,
            "batch_size": 1,
            "metrics": {},
            "validation": DATA,
            "block": 1,
            "monitor": "loss",
            "mode": "min",
            "patience": 1,
            "params": MODEL_PARAMS,
            "eval_params": None,
            "gradient": None,
            "stream": None,
            "time_major": None,
            "per_row": (),
            "diagnose_every": None,
            "mesh": None,
            "progress": False,
        },
        traced=False,
    ),
    Call(
        "evaluate",
        jaxrnn.evaluate,
        {
            "model": MODEL,
            "params": MODEL_PARAMS,
            "loss": jaxrnn.losses.mean_squared_error,
            "data": DATA,
            "metrics": None,
            "batch_size": 2,
            "time_major": None,
            "per_row": (),
        },
        traced=False,
    ),
    Call("grid", jaxrnn.grid, {"lr": [0.1], "hidden": [2], "seed": [0]}, traced=False),
    Call(
        "lstm",
        jaxrnn.lstm,
        {
            "D": D,
            "H": H,
            "peephole": True,
            "zoneout": 0.1,
            "recurrent_dropout": 0.1,
            "heads": 1,
            "dtype": None,
            "chrono": None,
        },
        traced=False,
    ),
    Call("ctrnn", jaxrnn.ctrnn, {"D": D, "H": H, "dt": 1.0, "tau": 2.0, "sigma": 0.1}, traced=False),
    Call(
        "bidirectional",
        jaxrnn.bidirectional,
        {"forward": CELL, "backward": CELL, "merge": "sum", "gradient": None},
        traced=False,
    ),
    Call("dense", jaxrnn.dense, {"D": D, "O": O}, traced=False),
]


def strange(rng: np.random.Generator, right: Any) -> Any:
    """Something else than the right value, now and then close to it."""
    if isinstance(right, dict) and right and rng.random() < 0.7:
        name = rng.choice(sorted(right))
        changed = {k: v for k, v in right.items() if k != name}
        return changed if rng.random() < 0.2 else changed | {str(name): strange(rng, right[name])}
    shape = tuple(rng.integers(0, 4, rng.integers(0, 4)))
    values: list[Callable[[], Any]] = [
        lambda: None, lambda: -1, lambda: 0, lambda: 2**40, lambda: 1.5, lambda: float("nan"), lambda: True, lambda: "x",  # noqa: E501
        lambda: [], lambda: (), lambda: {}, lambda: [1, "a"], lambda: object(), lambda: len, lambda: jaxrnn,
        lambda: np.zeros(shape), lambda: np.zeros(shape, int), lambda: np.zeros(shape, bool), lambda: np.array("a"),
        lambda: np.full(shape, np.nan, "f"), lambda: jnp.zeros(shape, jnp.complex64), lambda: np.zeros(3, object),
        lambda: [np.zeros(2), np.zeros(3)], lambda: KEY, lambda: jax.random.split(KEY), lambda: MODEL, lambda: CELL,
        lambda: jaxrnn.reverse_scan(), lambda: {"xs": np.zeros(shape)}, lambda: np.uint8(3), lambda: b"x", lambda: ...,
    ]  # fmt: skip
    if isinstance(right, np.ndarray) and right.size:
        values += 4 * [
            lambda: right[..., :1], lambda: right[:1], lambda: right[None], lambda: right.astype(complex),
            lambda: right.astype(int) - 1, lambda: right.swapaxes(0, -1), lambda: right.tolist(), lambda: list(right),
            lambda: right.astype(object), lambda: right[:0], lambda: jnp.asarray(right), lambda: right.astype(np.float16),  # noqa: E501
        ]  # fmt: skip
    return values[rng.integers(len(values))]()


def wrong_call(seed: int) -> tuple[Call, dict[str, Any]]:
    """A call, and its arguments, of which one or two are strange."""
    rng = np.random.default_rng(seed)
    call = CALLS[rng.integers(len(CALLS))]
    names = rng.choice(sorted(call.arguments), 1 + (rng.random() < 0.3), replace=False)
    return call, call.arguments | {str(name): strange(rng, call.arguments[name]) for name in names}
