"""Wrong arguments of sweeps."""

import types

import jax
import numpy as np
import optax

import jaxrnn
from tests.bad_input.case import B, Case, D, H, O, T, not_keys, ones, sizes

DATA = {"xs": ones(T, B, D), "targets": ones(T, B, O)}


def build(hyper):
    model = jaxrnn.chain(
        jaxrnn.stack([jaxrnn.elman(D, hyper.get("hidden", H))]), jaxrnn.dense(hyper.get("hidden", H), O)
    )
    return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)


def _task(build=build, data=DATA, **options):
    return jaxrnn.task(build, data, **({"batch_size": B} | options))


def _sweep(call=jaxrnn.sweep, task=None, space=None, **options):
    options = {"key": jax.random.key(0), "steps": 2, "strategy": "vmap"} | options
    if call is jaxrnn.sweep:
        options = {"progress": False} | options
    return call(_task() if task is None else task, jaxrnn.grid(lr=[0.1]) if space is None else space, **options)


def _of_both(name, call):
    def case(what, error, argument, expected, got, **options):
        return Case(f"{name}-{what}", lambda: _sweep(call, **options), error, argument, expected, got)

    yield case("space", TypeError, "space", "a Space", "int 3", space=3)
    yield case("space-empty", ValueError, "space", "at least one member", "none", space=[])
    yield case("misspelt", ValueError, "space", "'lr']", "['lrr']", space=jaxrnn.grid(lr=[0.1], lrr=[0.1]))
    yield case("missing", AttributeError, "space", "'lr'", "['hidden']", space=jaxrnn.grid(hidden=[3]))
    yield case("static-float", ValueError, "H", "positive integer", "3.0", space=jaxrnn.grid(lr=0.1, hidden=[3.0]))
    yield case("memory", ValueError, "memory", "one member's state", "10", memory=10)
    yield case("strategy", ValueError, "strategy", "'auto'", "'fast'", strategy="fast")
    yield case("data beside a task's own", ValueError, "data", "None", "dict {'xs'", data={"xs": 0.0})
    yield case("no members at once", ValueError, "strategy", "positive", "0", strategy=0)
    yield case("pruning", TypeError, "pruning", "a Halving", "int 3", pruning=3)
    yield case("first-rung", ValueError, "pruning", "2 steps", "2", pruning=jaxrnn.sweeps.halving(first=2))
    yield case("mesh", TypeError, "mesh", "a Mesh", "int 2", mesh=2)
    yield case("batch_size", ValueError, "batch_size", f"{B} rows", "99", space=jaxrnn.grid(lr=[0.1], batch_size=[99]))
    yield case("task", TypeError, "task", "function", "int 3", task=3)
    yield from sizes(name, "steps", lambda value: _sweep(call, steps=value))
    yield from not_keys(name, lambda value: _sweep(call, key=value))


def _lists(name, call):
    for what, value in {"empty": [], "array": np.ones(0)}.items():
        yield Case(f"{name}-{what}", lambda value=value: call(lr=value), ValueError, "lr", "at least one value", "none")
    yield Case(f"{name}-nan", lambda: call(lr=[0.1, np.nan]), ValueError, "lr[1]", "finite number", "nan")
    yield Case(f"{name}-negative", lambda: call(lr=[0.1, -0.1]), ValueError, "lr[1]", "at least 0", "-0.1")
    yield Case(f"{name}-matrix", lambda: call(lr=ones(2, 2)), ValueError, "lr", "list of values", "float32[2, 2]")
    yield Case(
        f"{name}-draw", lambda: call(lr=jaxrnn.sweeps.uniform(0, 1)), TypeError, "lr", "list of values", "uniform(0, 1)"
    )
    yield Case(f"{name}-none", call, ValueError, "space", "at least one hyperparameter", "none")


RESULTS = types.SimpleNamespace(members=({"lr": 0.1},), validation={}, train={"loss": ones(1, 2)}, rungs=())

CASES = [
    *_of_both("sweep", jaxrnn.sweep),
    *_of_both("plan", jaxrnn.sweeps.plan),
    *_lists("grid", jaxrnn.grid),
    *_lists("zipped", jaxrnn.sweeps.zipped),
    Case(
        "zipped-ragged",
        lambda: jaxrnn.sweeps.zipped(a=[1, 2], b=[1]),
        ValueError,
        "space",
        "one length",
        "{'a': 2, 'b': 1}",
    ),
    *sizes("random", "count", lambda value: jaxrnn.sweeps.random(value, lr=jaxrnn.sweeps.uniform(0, 1))),
    Case("random-list", lambda: jaxrnn.sweeps.random(2, lr=[0.1]), TypeError, "lr", "a distribution", "list [0.1]"),
    Case(
        "random-negative",
        lambda: jaxrnn.sweeps.random(2, lr=jaxrnn.sweeps.uniform(-1, 1)),
        ValueError,
        "lr",
        "below 0",
        "uniform(-1, 1)",
    ),
    Case("table-empty", lambda: jaxrnn.sweeps.table([]), ValueError, "space", "at least one member", "none"),
    Case("table-names", lambda: jaxrnn.sweeps.table([{"a": 1}, {"b": 1}]), ValueError, "space[1]", "['a']", "['b']"),
    Case("table-list", lambda: jaxrnn.sweeps.table([3]), TypeError, "space", "a dict", "int 3"),
    Case("uniform-ends", lambda: jaxrnn.sweeps.uniform(1, 1), ValueError, "high", "above low = 1", "1"),
    Case("log_uniform-zero", lambda: jaxrnn.sweeps.log_uniform(0, 1), ValueError, "low", "above 0", "0"),
    Case("choice-empty", lambda: jaxrnn.sweeps.choice([]), TypeError, "values", "at least one", "list []"),
    Case("halving-eta", lambda: jaxrnn.sweeps.halving(eta=1, first=1), ValueError, "eta", "at least 2", "1"),
    *sizes("halving", "first", lambda value: jaxrnn.sweeps.halving(first=value)),
    Case("task-build", lambda: _task(build=3), TypeError, "build", "function", "int 3"),
    Case("task-data", lambda: _task(data=[DATA]), TypeError, "data", "a dict", "list"),
    Case("task-metrics", lambda: _task(metrics=[3]), TypeError, "metrics", "a dict", "list [3]"),
    Case("plot_sweep-x", lambda: jaxrnn.sweeps.plot_sweep(RESULTS, "decay"), ValueError, "x", "['lr']", "'decay'"),
    Case("plot_curves-results", lambda: jaxrnn.sweeps.plot_curves(3), TypeError, "results", "a Results", "int 3"),
    Case("plot_rungs-results", lambda: jaxrnn.sweeps.plot_rungs(3), TypeError, "results", "a Results", "int 3"),
]
