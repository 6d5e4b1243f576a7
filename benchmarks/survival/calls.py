"""Calls of the public functions with one argument wrong: `python -m benchmarks.survival calls`."""

import collections
import pathlib
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn

T, N, D, H, O = 5, 6, 3, 4, 2
CLEAR = re.compile(r"^(\w[\w.]*(\[[^\]]*\])*( \w+)?: )+.*(expected|needs|can't|did you mean)", re.DOTALL)
"""A message that names an argument and says what was expected of it."""


def specs(folder: pathlib.Path) -> list[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """(name, function, arguments that fit) for each function that is called."""
    key, rng = jax.random.key(0), np.random.default_rng(0)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    ys = rng.standard_normal((T, N, O)).astype(np.float32)
    cell, model = jaxrnn.lstm(D, H), jaxrnn.chain(jaxrnn.gru(D, H), jaxrnn.dense(H, O))
    params, own = cell.init(key), model.init(key)
    lengths, resets = np.array([5, 4, 3, 2, 1, 5]), rng.random((T, N)) < 0.2
    batch = {"xs": xs, "targets": ys, "lengths": lengths}
    mse, adam = jaxrnn.losses.mean_squared_error, optax.adam(1e-2)
    fit = {"model": model, "loss": mse, "optimizer": adam, "data": batch, "key": key, "steps": 2, "batch_size": 3}
    update = lambda params, carry, gates, noise: gates[0]  # noqa: E731, ARG005
    task = jaxrnn.task(lambda hyper: (model, mse, optax.adam(hyper.lr)), batch, batch_size=3)
    jaxrnn.save(folder / "p.safetensors", own, model)
    labels = {"xs": xs, "targets": rng.integers(0, O, (T, N))}
    rows = [*rng.standard_normal((N, 4, D)).astype(np.float32)]
    found = [
        (jaxrnn.unroll, {"cell": cell, "params": params, "xs": xs, "carry": None, "lengths": lengths, "resets": resets,
                         "reverse": False, "key": key, "gradient": jaxrnn.reverse_scan()}),
        (jaxrnn.lstm, {"D": D, "H": H, "forget_bias": 1.0, "peephole": False, "proj_size": None}),
        (jaxrnn.lstm, {"D": D, "H": H, "zoneout": 0.1, "dtype": jnp.bfloat16, "hidden_bias": True}),
        (jaxrnn.gru, {"D": D, "H": H, "reset_after": True, "param_dtype": jnp.float32, "bias": True}),
        (jaxrnn.elman, {"D": D, "H": H, "activation": jnp.tanh, "learn_carry": True}),
        (jaxrnn.gated_cell, {"D": D, "H": H, "gates": {"n": jnp.tanh}, "update": update}),
        (jaxrnn.stack, {"cells": [cell, jaxrnn.gru(H, H)]}),
        (jaxrnn.chain, {"models": [jaxrnn.gru(D, H), jaxrnn.dense(H, O)]}),
        (jaxrnn.dense, {"D": H, "O": O}),
        (jaxrnn.dropout, {"rate": 0.5}),
        (jaxrnn.embed, {"symbols": 5, "O": O}),
        (jaxrnn.bidirectional, {"forward": cell, "backward": jaxrnn.gru(D, H)}),
        (model.apply, {"params": own, "xs": xs, "lengths": lengths, "resets": resets, "key": key, "mask": ~resets,
                       "gradient": jaxrnn.checkpointed(), "states": False, "burn_in": 1, "time_major": True}),
        (jaxrnn.fit, fit | {"block": 1, "validation": batch, "patience": 2, "monitor": "loss", "mode": "min"}),
        (jaxrnn.fit, fit | {"params": own, "on_nonfinite": "skip", "nonfinite_limit": 3, "callback": print_nothing,
                            "diagnose_every": 2, "metrics": {"mse": mse}, "time_major": True, "per_row": ()}),
        (jaxrnn.fit, fit | {"stream": 2, "batch_size": None, "run_dir": folder / "run", "resume": "anyway"}),
        (jaxrnn.evaluate, {"model": model, "params": own, "loss": mse, "data": batch, "batch_size": 4}),
        (jaxrnn.training.train_state, {"model": model, "optimizer": adam, "key": key, "params": own, "streams": 2}),
        (jaxrnn.losses.mean_squared_error, {"ys": ys, "batch": batch}),
        (jaxrnn.losses.cross_entropy, {"ys": ys, "batch": labels}),
        (jaxrnn.losses.accuracy, {"ys": ys, "batch": labels}),
        (jaxrnn.save, {"path": folder / "q.safetensors", "params": own, "model": model}),
        (jaxrnn.load, {"path": folder / "p.safetensors", "model": model}),
        (jaxrnn.truncated, {"k1": 2, "k2": 3}),
        (jaxrnn.reverse_scan, {"loop": "auto", "clip_norm": 1.0, "clip_value": None}),
        (jaxrnn.check_gradients, {"cell_or_model": cell, "params": params, "xs": xs}),
        (jaxrnn.gradient_report, {"model": model, "params": own, "batch": batch, "loss": mse, "rows": 2,
                                  "max_lag": 3, "jacobians": False}),
        (jaxrnn.summary, {"model": model, "xs": xs, "params": own}),
        (jaxrnn.grid, {"lr": [0.1, 0.2], "hidden": [4, 5]}),
        (jaxrnn.sweep, {"task": task, "space": jaxrnn.grid(lr=[0.1, 0.2]), "key": key, "steps": 2, "block": 1,
                        "strategy": "vmap"}),
        (jaxrnn.task, {"build": lambda hyper: (model, mse, optax.sgd(hyper.lr)), "data": batch, "batch_size": 3,
                       "validation": batch, "monitor": "loss", "mode": "min"}),
        (jaxrnn.data.bucketed, {"rows": {"xs": rows}, "batch_size": 2, "key": key, "buckets": 2, "run": 2,
                                "epochs": 1}),
        (jaxrnn.data.padded, {"rows": {"xs": rows}}),
    ]  # fmt: skip
    return [(f"{f.__qualname__}", f, options) for f, options in found]


def print_nothing(end: Any) -> None:
    """A callback."""
    del end


def wrong(value: Any, rng: random.Random) -> tuple[str, Any]:
    """A wrong value in place of an argument: (description, value)."""
    anything: list[Any] = [None, "x", -1, 2.5, float("nan"), float("inf"), [], {}, (), object(), print, 10**6, True]
    own: list[tuple[str, Any]] = []
    if isinstance(value, np.ndarray):
        own = [
            ("one axis less", value[0]), ("an axis more", value[None]), ("transposed", value.T),
            ("too few rows", value[:, :-1] if value.ndim > 1 else value[:-1]), ("none", value[:0]),
            ("text", value.astype(str)),
            ("objects", value.astype(object)), ("complex", value.astype(np.complex64)), ("a list", value.tolist()),
            ("a ragged list", [[1.0], [1.0, 2.0]]), ("booleans", value.astype(bool)), ("a number", value.flat[0]),
            ("too large", value.astype(np.int64) + 100), ("negative", -1 - abs(value.astype(np.int64))),
            ("a feature more", np.concatenate([value, value[..., -1:]], -1)),
        ]  # fmt: skip
    elif isinstance(value, dict) and value:
        entry = rng.choice([*value])
        inner = wrong(value[entry], rng)
        own = [
            ("an entry less", {k: v for k, v in value.items() if k != entry}), ("an entry more", value | {"other": 1}),
            ("a misspelt entry", {(f"{k}s" if k == entry else k): v for k, v in value.items()}),
        ] + 4 * [(f"{entry}: {inner[0]}", value | {entry: inner[1]})]  # fmt: skip
    elif isinstance(value, (list, tuple)) and value:
        inner = wrong(value[0], rng)
        own = [
            (f"[0]: {inner[0]}", [inner[1], *value[1:]]),
            ("one twice", [*value, value[0]]),
            ("backwards", value[::-1]),
        ]
    elif isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        own = [("keys", jax.random.split(value, 2)), ("an integer", 0), ("raw", jnp.zeros(3, jnp.uint32))]
    elif isinstance(value, jax.Array):
        return wrong(np.asarray(value), rng)
    choice = rng.choice(own) if own and rng.random() < 0.75 else ("", rng.choice(anything))
    return choice[0] or repr(choice[1])[:30], choice[1]


def call(f: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Calls a function; positional-only arguments are passed by position."""
    if f in (jaxrnn.stack, jaxrnn.chain):
        return f(next(iter(options.values())))
    return f(**options, **({"progress": False} if f in (jaxrnn.fit, jaxrnn.sweep) else {}))


def calls(count: int = 1000, seed: int = 0) -> None:
    """Calls public functions with one wrong argument, and counts the outcomes.

    Args:
      count: the number of calls.
      seed: the seed of the choices.
    """
    rng, outcomes, bad = random.Random(seed), collections.Counter(), []
    accepted = collections.Counter()
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = specs(pathlib.Path(root))
        for _, f, options in known:
            call(f, options)  # right, before one argument is wrong
        for number in range(count):
            name, f, options = known[number % len(known)]
            argument = rng.choice([*options])
            what, value = wrong(options[argument], rng)
            try:
                if argument == "steps" and value == 10**6:
                    continue  # would take too long
                call(f, options | {argument: value})
            except (ValueError, TypeError) as error:
                outcome = "a clear error" if CLEAR.match(str(error)) else "raw"
                text = f"{type(error).__name__}: {error}"
            except FileNotFoundError as error:
                outcome = "a clear error" if CLEAR.match(str(error)) else "raw"
                text = repr(error)
            except Exception as error:
                outcome, text = "raw", repr(error)
            else:
                outcome, text = "accepted", ""
                accepted[f"{name}({argument}: {what})"] += 1
            outcomes[outcome] += 1
            if outcome == "raw":
                bad.append(f"{name}({argument}: {what}): {text[:160]}")
    print(f"{count} calls of {len({name for name, _, _ in known})} functions: {dict(outcomes)}")
    for text in bad:
        print("  raw:", text.replace("\n", " "))
    for text, n in sorted(accepted.items()):
        print("  accepted:", text, n if n > 1 else "")
    sys.exit(bool(bad))
