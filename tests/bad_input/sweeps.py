"""Wrong arguments of sweeps."""

import types

import numpy as np
import optax

import jaxrnn
from tests.bad_input.case import bad_type, bad_value, right
from tests.bad_input.values import KEY, LOSS, XS, YS, B, D, H, O, ones


def build(hyper):
    size = hyper.get("hidden", H)
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, size)]), jaxrnn.dense(size, O)), LOSS, optax.adam(hyper.lr)


# fmt: off
GRID, UNIFORM, DATA = jaxrnn.grid, jaxrnn.sweeps.uniform(0, 1), {"xs": XS, "targets": YS}
TRAINED = types.SimpleNamespace(params=None)
RESULTS = jaxrnn.sweeps.Results(({"lr": 0.1},), {}, {"loss": ones(1, 2)}, {}, np.zeros(0), (), (), 0, "min", TRAINED)
SWEEP = {"task": jaxrnn.task(build, DATA, batch_size=B), "space": GRID(lr=[0.1]), "key": KEY, "steps": 2}
OF_SWEEP = {"size": "steps block", "key": "key", "mesh": "mesh", "option": "strategy"}
OF_BOTH = [
    bad_type("a Space", space=3), bad_value("at least one member, got none", space=[]),
    bad_value("'lr'], got ['lrr']", space=GRID(lr=[0.1], lrr=[0.1])),
    bad_value("'lr', got ['hidden']", space=GRID(hidden=[3]))._replace(error=AttributeError),
    bad_value("H: positive integer, got 3.0", space=GRID(lr=0.1, hidden=[3.0])),
    bad_value("batch_size: 2 rows, got 99", space=GRID(lr=[0.1], batch_size=[99])),
    bad_value("one member's state", memory=10), bad_value("None", data={"xs": 0.0}), bad_value("positive", strategy=0),
    bad_type("a Halving", pruning=3), bad_value("2 steps, got 2", pruning=jaxrnn.sweeps.halving(first=2)),
    bad_type("function", task=3), bad_type("of (hyper, key, data), got one of (hyper)", task=lambda hyper: hyper),
    bad_type("data['x']: an array, got object[1]", task=zip, data={"x": np.array([None])}, steps=None),
    bad_value("block: a positive integer, got 0", task=zip, steps=None, block=0),
]
OF_LISTS = [
    *(bad_value("at least one value, got none", lr=lr) for lr in ([], np.ones(0))),
    bad_value("lr[1]: finite number, got nan", lr=[0.1, np.nan]),
    bad_value("lr[1]: at least 0, got -0.1", lr=[0.1, -0.1]), bad_value("list of values", lr=ones(2, 2)),
    bad_type("list of values", lr=UNIFORM),
]
TABLE = [
    right("sweep", SWEEP | {"strategy": "vmap", "progress": False}, OF_SWEEP, flag="progress", function="callback"),
        *OF_BOTH,
    right("plan", SWEEP | {"strategy": "vmap"}, OF_SWEEP), *OF_BOTH,
    right("grid", {"lr": [0.1], "hidden": [2]}), *OF_LISTS,
    right("zipped", {"lr": [0.1], "hidden": [2]}), *OF_LISTS,
        bad_value("space: one length, got {'lr': 2, 'hidden': 1}", lr=[1, 2]),
    *(row for name in ("grid of nothing", "zipped of nothing")
      for row in (right(name, {}), bad_value("space: at least one hyperparameter, got none"))),
    right("random", {"count": 2, "lr": UNIFORM}, size="count"), bad_type("a distribution", lr=[0.1]),
        bad_value("below 0", lr=jaxrnn.sweeps.uniform(-1, 1)),
    right("table", {"rows": [{"a": 1}]}), bad_value("space: at least one member, got none", rows=[]),
        bad_value("space[1]: ['a'], got ['b']", rows=[{"a": 1}, {"b": 1}]),
        bad_type("space: a dict, got int 3", rows=[3]), bad_type("an Iterable", rows=3),
    right("uniform", {"low": 1, "high": 2}, finite="low high"), bad_value("above low = 1", high=1),
    right("log_uniform", {"low": 1, "high": 2}, above_0="low"),
    right("choice", {"values": [1]}), bad_type("at least one", values=[]),
    right("halving", {"first": 1}, size="first"), bad_value("at least 2", eta=1),
    right("task", {"build": build, "data": DATA}, function="build", metrics="metrics", size="batch_size",
          gradient="gradient"), bad_type("a function of (hyper), got one of ()", build=lambda: 0),
        bad_type("a dict", data=[DATA]),
    right("Task", {"init": zip, "advance": zip}, call=jaxrnn.sweeps.Task, function="init advance"),
        bad_type("a function of (hyper, key), got one of (hyper)", init=lambda hyper: hyper),
        bad_type("a function of (hyper, state, steps), got one of ()", advance=lambda: 0),
    right("Hyper", {}, call=lambda values: jaxrnn.Hyper(values)), bad_type("a Mapping", values=3),
    right("Results.to_csv", {}, call=RESULTS.to_csv, path="path"),
    right("Results.to_json", {}, call=RESULTS.to_json, path="path"),
    right("Results.params", {}, call=RESULTS.params),
        *(bad_value("an integer from 0 to 0", member=x) for x in (True, 1, -1, 0.0)),
    right("Results.show", {}, call=RESULTS.show, symbol="rows"),
    right("plot_sweep", {"results": RESULTS}), bad_value("['lr']", x="decay"),
        bad_value("hue: ['lr'], got 'decay'", x="lr", hue="decay"),
        bad_type("a str", x=["lr"]), bad_type("hue: a str", x="lr", hue=["lr"]),
    right("plot_curves", {}), bad_type("a Results", results=3),
    right("plot_rungs", {}), bad_type("a Results", results=3),
]
