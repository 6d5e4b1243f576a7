"""A right call of each public function, from which `python -m benchmarks.survival calls` makes wrong ones."""

import functools
import importlib.util
import inspect
import os
import pathlib
import runpy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from tests.bad_input import cells, decoding, diagnostics, losses, models, sequences, sweeps, training
from tests.bad_input.case import Right
from tests.bad_input.values import ELMAN, GRU, KEY, LENGTHS, LOSS, LSTM, MASK, MODEL, XS, YS, B, D, H, O, T, drawn, ones

CONF, FILE = pathlib.Path(__file__).parents[2] / "docs" / "conf.py", "weights.safetensors"
OPTIONAL = {"from_equinox": "equinox", "to_equinox": "equinox", "from_keras": "keras"}
"""Functions that need a library which the tests do not install."""
MADE, TUPLE = "its values are made by functions that are called here", "a tuple, checked by what reads it"
# fmt: off
LEFT_OUT = {
    **dict.fromkeys(("Cell", "GatedCell", "Model", "Gradient", "Logger"), "abstract: its subclasses are called here"),
    **dict.fromkeys(("CTRNN", "Elman", "GRU", "LSTM", "ProjectedLSTM", "ResetBeforeGRU", "EncoderDecoder"), MADE),
    **dict.fromkeys(("BlockEnd", "FitResult", "TrainState", "Bucketed", "ModelTask", "Explanation"), MADE),
    **dict.fromkeys(("SweepBlock", "FirstNonFinite", "GateStatistics", "GradientReport", "GradientStatistics"), MADE),
    **dict.fromkeys(("LayerReport", "LayerStatistics"), MADE),
    **dict.fromkeys(("Beams", "BidirectionalCarry", "CTCBeam", "Call", "Inputs", "LSTMCarry", "Step"), TUPLE),
    **dict.fromkeys(("autodiff", "last", "mean_over_time"), "has no arguments"),
    "identity": "returns its argument", "leaf": "its options are those of dataclasses.field, which checks them",
    "TensorBoardLogger": "needs tensorboardX; its arguments are those of CSVLogger",
}
"""Public names that are not called, and the reasons."""


class Call(NamedTuple):
    """A right call: the function's public name, what is called, and the arguments, or a function that makes them."""

    name: str
    function: Callable[..., Any]
    arguments: Any

    def given(self) -> dict[str, Any]:
        """All arguments by name, defaults included."""
        found: Any = self.arguments() if callable(self.arguments) else self.arguments
        if not (getattr(self.function, "__module__", None) or "").startswith("jaxrnn"):
            return found
        known = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in known if p.default is not p.empty} | found


def missing() -> list[str]:
    """The public names that are neither called nor left out for a reason."""
    public = [name.split(".", min(2, name.count(".")))[-1] for name in runpy.run_path(str(CONF))["public_names"]()]
    called = [call.name for call in table()]
    starts = {name for call in called for name in (call, call.partition(" ")[0], call.rpartition(".")[0])}
    return [name for name in public if name not in LEFT_OUT and name not in starts]


def installed(name: str) -> bool:
    """Tells whether the library that a function needs is installed."""
    return name not in OPTIONAL or importlib.util.find_spec(OPTIONAL[name]) is not None


def table() -> list[Call]:
    """The calls below, and those in `tests.bad_input` of other functions."""
    parts, own = (cells, sequences, models, losses, decoding, training, sweeps, diagnostics), [*_calls(), *_interop()]
    named = {call.name for call in own}
    rows = [row for part in parts for row in part.TABLE if isinstance(row, Right) and row.name not in named | WRAPPED]
    shared = {row.name: Call(row.name, row.call, row.arguments | MORE.get(row.name, {})) for row in rows}
    return own + [call for call in shared.values() if _is_whole(call) and call.given()]


def _is_whole(call: Call) -> bool:
    try:
        inspect.signature(call.function).bind(**call.arguments)
    except TypeError:
        return False
    return True


WRAPPED = {"reverse_scan of a cell", "checkpointed of a cell", "rtrl of a cell"}
"""Calls in which another function reads the arguments first."""
NAMES = ("elman.init", "lstm.init", "gru.init", "ctrnn.init", "gated_cell.init", "projected lstm.init", "stack.init",
         "bidirectional.init", "chain.init", "residual.init", "dense.init", "embed.init", "tied.init")
JACOBIANS = np.random.default_rng(0).standard_normal((T, B, H, H)).astype(np.float32)
MORE: dict[str, dict[str, Any]] = {name: {"key": KEY} for name in NAMES} | {
    "torch_uniform": {"H": H}, "make_train_step": {"batch": training.DATA},
    "encoder_decoder.reads": {"batch": {"xs": models.SOURCE, "previous": models.SYMBOLS}},
    "singular_values": {"matrices": JACOBIANS}, "spectral_radius": {"matrices": JACOBIANS},
    "plot_hidden_gradients": {"gradients": ones(T, B, H)}, "plot_gradient_norm_by_lag": {"norms": {"lstm": ones(T)}},
    "plot_lag_contributions": {"contributions": {"w_h": ones(T, T)}},
    "plot_weight_contributions": {"contributions": {"w_h": ones(T)}},
    "plot_gate_statistics": {"gates": {"i": jaxrnn.diagnostics.GateStatistics(*ones(3, T))}},
}
"""Arguments that the tests leave to their wrong calls."""


def _calls() -> Iterator[Call]:
    rng = np.random.default_rng(0)
    xs, resets = rng.standard_normal((T, 6, D)).astype(np.float32), rng.random((T, 6)) < 0.2
    ys, lengths = rng.standard_normal((T, 6, O)).astype(np.float32), np.array([5, 4, 3, 2, 1, 5])
    model, adam = jaxrnn.chain(jaxrnn.gru(D, H), jaxrnn.dense(H, O)), optax.adam(1e-2)
    own, batch, rows = drawn(model), {"xs": xs, "targets": ys, "lengths": lengths}, [*rng.random((6, 4, D))]
    fit = {"model": model, "loss": LOSS, "optimizer": adam, "data": batch, "key": KEY, "steps": 2, "batch_size": 3}
    fit |= {"progress": False}
    labels = {"xs": xs, "targets": rng.integers(0, O, (T, 6))}
    options = {"bias": True, "hidden_bias": True, "dtype": "bfloat16", "param_dtype": "float32", "zoneout": 0.1,
               "recurrent_dropout": 0.1, "learn_carry": False, "heads": 2, "input_init": jax.nn.initializers.ones,
               "recurrent_init": jaxrnn.initializers.orthogonal, "bias_init": jax.nn.initializers.zeros}
    sizes, cell = {"D": D, "H": H}, jaxrnn.gru(H, H)
    task = {"build": lambda hyper: (model, LOSS, optax.sgd(hyper.lr)), "data": batch, "batch_size": 3}
    call = jaxrnn.extend.Call(lengths=LENGTHS, resets=MASK, key=KEY, mask=MASK)
    for name, function, arguments in (
        ("unroll", jaxrnn.unroll, {"cell": LSTM, "params": drawn(LSTM), "xs": xs, "lengths": lengths, "resets": resets,
                                   "key": KEY, "gradient": jaxrnn.reverse_scan()}),
        ("elman", jaxrnn.elman, sizes | options), ("lstm", jaxrnn.lstm, sizes | options),
        ("lstm projected", jaxrnn.lstm, sizes | {"proj_size": 2, "forget_bias": ones(H), "peephole": True}),
        ("gru", jaxrnn.gru, sizes | options | {"chrono": 5.0}),
        ("ctrnn", jaxrnn.ctrnn, sizes | options | {"dt": 1.0, "tau": ones(H) + 4, "sigma": 0.1}),
        ("gated_cell", jaxrnn.gated_cell, cells.GATED | options),
        ("apart", jaxrnn.apart, {"function": jnp.add, "bounds": (0.0, 1.0)}),
        ("orthogonal", jaxrnn.initializers.orthogonal, {"key": KEY, "shape": (D, H), "dtype": jnp.float32}),
        ("stack", lambda cells, gradient: jaxrnn.stack(cells, gradient=gradient),
         {"cells": [LSTM, cell], "gradient": jaxrnn.autodiff()}),
        ("chain", lambda models: jaxrnn.chain(models), {"models": [jaxrnn.gru(D, H), jaxrnn.dense(H, O)]}),
        ("repeat", jaxrnn.repeat, {"cell": cell, "n": 2, "gradient": jaxrnn.autodiff()}),
        ("chain.apply", model.apply, {"params": own, "xs": xs, "lengths": lengths, "resets": resets, "key": KEY,
                                      "mask": ~resets, "gradient": jaxrnn.checkpointed(), "burn_in": 1}),
        ("chain.initial_carry", model.initial_carry, {"params": own, "batch_shape": (B,)}),
        ("lstm.initial_carry", LSTM.initial_carry, {"params": drawn(LSTM), "batch_shape": (B,)}),
        ("fit", jaxrnn.fit, fit | {"block": 1, "validation": batch, "patience": 2, "monitor": "loss", "mode": "min"}),
        ("fit with callbacks", jaxrnn.fit, fit | {"params": own, "on_nonfinite": "skip", "diagnose_every": 2,
                                                  "metrics": {"mse": LOSS}, "callback": nothing}),
        ("fit in a folder", jaxrnn.fit, fit | {"stream": 2, "batch_size": None, "run_dir": "run", "resume": "anyway"}),
        ("evaluate", jaxrnn.evaluate, {"model": model, "params": own, "loss": LOSS, "data": batch, "batch_size": 4}),
        ("mean_squared_error", LOSS, {"ys": ys, "batch": batch}),
        ("cross_entropy", jaxrnn.losses.cross_entropy, {"ys": ys, "batch": labels, "class_weights": [1.0] * O}),
        ("accuracy", jaxrnn.losses.accuracy, {"ys": ys, "batch": labels}),
        ("save", jaxrnn.save, {"path": "other.safetensors", "params": drawn(MODEL), "model": MODEL}),
        ("load", jaxrnn.load, {"path": FILE, "model": MODEL}),
        ("reverse_scan", jaxrnn.reverse_scan, {"clip_norm": 1.0}),
        ("check_gradients", jaxrnn.check_gradients, {"cell_or_model": ELMAN, "params": drawn(ELMAN), "xs": XS}),
        ("summary", jaxrnn.summary, {"model": model, "xs": xs, "params": own}),
        ("GradientFlow.plot", lambda path: _flow().plot(path), {"path": "flow.png"}),
        ("History.plot", lambda path: _history().plot(path), {"path": "history.png"}),
        ("History.plot_diagnostics", lambda path: _history().plot_diagnostics(path), {"path": "diagnostics.png"}),
        ("CSVLogger", jaxrnn.training.CSVLogger, {"path": "rows.csv", "learning_rate": float}),
        ("JSONLLogger", jaxrnn.training.JSONLLogger, {"path": "rows.jsonl", "learning_rate": float}),
        ("WandbLogger", jaxrnn.training.WandbLogger, {"run": np, "learning_rate": float}),
        ("Hyper", lambda values: jaxrnn.Hyper(values), {"values": {"lr": 0.1, "hidden": 4}}),
        ("task", jaxrnn.task, task | {"validation": batch, "monitor": "mse", "mode": "min", "metrics": {"mse": LOSS}}),
        ("Task", jaxrnn.sweeps.Task, {"init": lambda hyper, key: (hyper, key), "advance": lambda *what: what}),
        ("sweep", jaxrnn.sweep, {"task": jaxrnn.task(**task), "space": jaxrnn.grid(lr=[0.1, 0.2]), "key": KEY,
                                 "steps": 2, "block": 1, "strategy": "vmap", "progress": False}),
        ("sweep a function", jaxrnn.sweep, {"task": _summed, "space": [{"lr": 0.1}], "data": ones(2), "key": KEY,
                                            "progress": False}),
        ("grid", jaxrnn.grid, {"lr": [0.1, 0.2], "hidden": [4, 5]}),
        ("table", jaxrnn.sweeps.table, {"rows": [{"lr": 0.1, "hidden": 4}, {"lr": 0.2, "hidden": 5}]}),
        ("choice", jaxrnn.sweeps.choice, {"values": [1, 2]}),
        *((f"Results.{name}", functools.partial(_of_results, name), {"member": 0}) for name in
          ("params", "state", "build", "key")),
        *((f"Results.{name}", functools.partial(_of_results, name), {"path": "results"}) for name in
          ("to_csv", "to_json")),
        ("Results.show", lambda rows: _results().show(rows), {"rows": 1}),
        ("plot_sweep", lambda **options: jaxrnn.sweeps.plot_sweep(_results(), **options),
         {"x": "lr", "hue": None, "path": "sweep.png"}),
        ("plot_curves", jaxrnn.sweeps.plot_curves, lambda: {"results": _results(), "path": "curves.png"}),
        ("plot_rungs", jaxrnn.sweeps.plot_rungs, lambda: {"results": _results(), "path": "rungs.png"}),
        ("bucketed", jaxrnn.data.bucketed, {"rows": {"xs": rows}, "batch_size": 2, "key": KEY, "buckets": 2, "run": 2,
                                            "epochs": 1}),
        ("padded", jaxrnn.data.padded, {"rows": {"xs": rows, "targets": [1, 2, 3, 4, 5, 6]}, "per_row": ["targets"]}),
        ("carries", jaxrnn.data.carries, {"carry": ones(B, H), "states": ones(T + 1, B, H), "length": 2, "every": 2}),
        ("pieces", jaxrnn.data.pieces, {"sequences": {"xs": ones(T + 1, B, D)}, "length": 2, "every": 2}),
        ("run_layer", jaxrnn.extend.run_layer, {"cell": GRU, "params": drawn(GRU), "xs": XS, "carry": None,
                                                "call": call}),
        ("pytree", jaxrnn.extend.pytree, {"cls": type("Empty", (), {})}),
    ):
        yield Call(name, function, arguments)


def _interop() -> Iterator[Call]:
    elman, interop, xs = jaxrnn.elman(D, H, activation=jax.nn.relu), jaxrnn.interop, ones(B, T, D)
    stack = jaxrnn.stack([LSTM, jaxrnn.lstm(H, H)])
    of_lstm, of_elman = {"cell": LSTM, "params": drawn(LSTM)}, {"cell": elman, "params": drawn(elman)}
    haiku = interop.to_haiku(**of_lstm, name="lstm")
    linen = lambda: dict(zip(("module", "params"), interop.to_linen(**of_lstm), strict=True))  # noqa: E731
    torch = interop.to_torch(stack, drawn(stack))
    of_rnn = {"cell": LSTM, "params": drawn(LSTM), "time_major": False, "return_carry": True, "reverse": False,
              "keep_order": False, "gradient": jaxrnn.reverse_scan()}
    of_call = {"inputs": xs, "initial_carry": None, "seq_lengths": LENGTHS, "return_carry": True, "time_major": False,
               "reverse": False, "keep_order": False, "resets": MASK.T, "key": KEY}
    both = {name: of_call[name] for name in ("inputs", "initial_carry", "seq_lengths", "return_carry", "resets", "key")}
    for name, function, arguments in (
        ("from_torch", interop.from_torch, {"source": torch}),
        ("from_torch prefixed", interop.from_torch, {"source": {f"a.{k}": torch[k] for k in torch}, "prefix": "a."}),
        ("from_torch an Elman", interop.from_torch, {"source": interop.to_torch(*of_elman.values()),
                                                     "nonlinearity": "relu"}),
        ("to_torch", interop.to_torch, {"model": stack, "params": drawn(stack)}),
        ("from_haiku", interop.from_haiku, {"params": haiku, "name": "lstm"}),
        ("to_haiku", interop.to_haiku, of_elman | {"name": "rnn"}),
        ("to_keras", interop.to_keras, of_lstm), ("from_keras", interop.from_keras, _keras),
        ("to_equinox", interop.to_equinox, of_lstm),
        ("from_equinox", interop.from_equinox, lambda: {"cell": interop.to_equinox(**of_lstm)}),
        ("to_linen", interop.to_linen, of_lstm), ("from_linen", interop.from_linen, linen),
        ("to_nnx", interop.to_nnx, of_lstm),
        ("from_nnx", interop.from_nnx, lambda: {"cell": interop.to_nnx(**of_lstm)}),
        ("nnx.RNN", lambda **options: interop.nnx.RNN(**options), of_rnn),
        ("nnx.RNN call", lambda **options: interop.nnx.RNN(**of_lstm)(**options), of_call),
        ("nnx.Bidirectional", lambda **options: _both()(**options), both),
        ("nnx.layer", lambda **options: interop.nnx.layer(**options), {"module": _head, "sequence": False, "axes": 1}),
        ("linen.RNN", lambda **options: interop.linen.RNN(**options).init(KEY, xs),
         {name: of_rnn[name] for name in ("cell", "time_major", "return_carry", "reverse", "keep_order", "gradient")}),
        ("linen.RNN call", lambda **options: interop.linen.RNN(LSTM).init_with_output(KEY, **options), of_call),
        ("linen.Bidirectional", lambda **options: interop.linen.Bidirectional(
            *(interop.linen.RNN(LSTM) for _ in range(2))).init_with_output(KEY, **options), both),
        ("linen.layer", lambda **options: interop.linen.layer(**options),
         lambda: {"module": interop.linen.Dense(2), "shape": H, "sequence": False, "dtype": jnp.float32}),
    ):
        yield Call(name, function, arguments)
# fmt: on


def nothing(end: Any) -> None:
    """A callback."""
    del end


def _summed(hyper: Any, key: Any, data: Any) -> Any:
    del key
    return {"loss": hyper.lr * sum(jnp.sum(x) for x in jax.tree.leaves(data))}


def _head(rngs: Any) -> Any:
    return jaxrnn.interop.nnx.Linear(H, O, rngs=rngs)


def _both() -> Any:
    rnn = jaxrnn.interop.nnx.RNN
    return jaxrnn.interop.nnx.Bidirectional(rnn(LSTM, params=drawn(LSTM)), rnn(LSTM, params=drawn(LSTM)))


def _keras() -> dict[str, Any]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    layer: Any = importlib.import_module("keras").layers.LSTM(H)
    layer.build((None, None, D))
    return {"layer": layer}


@functools.cache
def _results() -> Any:
    task = jaxrnn.task(sweeps.build, {"xs": XS, "targets": YS}, batch_size=B)
    pruning = jaxrnn.sweeps.halving(eta=2, first=1)
    space = jaxrnn.grid(lr=[0.1, 0.2])
    return jaxrnn.sweep(task, space, key=KEY, steps=2, block=1, strategy="vmap", pruning=pruning, progress=False)


def _of_results(name: str, **arguments: Any) -> Any:
    return getattr(_results(), name)(**arguments)


@functools.cache
def _history() -> Any:
    options: dict[str, Any] = training.FIT | {"diagnose_every": 1}
    return jaxrnn.fit(**options).history


@functools.cache
def _flow() -> Any:
    options: dict[str, Any] = diagnostics.REPORT
    return jaxrnn.gradient_report(**options)
