"""Wrong arguments of sweeps."""

import types

import numpy as np
import optax

import jaxrnn
from tests.bad_input.case import bad_type, bad_value, right
from tests.bad_input.values import KEY, LOSS, XS, YS, B, D, H, O, ones


def _build(hyper):
    size = hyper.get("hidden", H)
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, size)]), jaxrnn.dense(size, O)), LOSS, optax.adam(hyper.lr)


# fmt: off
GRID, UNIFORM, DATA = jaxrnn.grid, jaxrnn.sweeps.uniform(0, 1), {"xs": XS, "targets": YS}
RESULTS = types.SimpleNamespace(members=({"lr": 0.1},), validation={}, train={"loss": ones(1, 2)}, rungs=())
SWEEP = {"task": jaxrnn.task(_build, DATA, batch_size=B), "space": GRID(lr=[0.1]), "key": KEY, "steps": 2}
OF_SWEEP = {"size": "steps block", "key": "key", "mesh": "mesh", "option": "strategy"}
OF_BOTH = [
    bad_type("a Space", space=3), bad_value("at least one member, got none", space=[]),
    bad_value("'lr'], got ['lrr']", space=GRID(lr=[0.1], lrr=[0.1])),
    bad_value("'lr', got ['hidden']", space=GRID(hidden=[3]))._replace(error=AttributeError),
    bad_value("H: positive integer, got 3.0", space=GRID(lr=0.1, hidden=[3.0])),
    bad_value("batch_size: 2 rows, got 99", space=GRID(lr=[0.1], batch_size=[99])),
    bad_value("one member's state", memory=10), bad_value("None", data={"xs": 0.0}), bad_value("positive", strategy=0),
    bad_type("a Halving", pruning=3), bad_value("2 steps, got 2", pruning=jaxrnn.sweeps.halving(first=2)),
    bad_type("function", task=3),
]
OF_LISTS = [
    *(bad_value("at least one value, got none", lr=lr) for lr in ([], np.ones(0))),
    bad_value("lr[1]: finite number, got nan", lr=[0.1, np.nan]),
    bad_value("lr[1]: at least 0, got -0.1", lr=[0.1, -0.1]), bad_value("list of values", lr=ones(2, 2)),
    bad_type("list of values", lr=UNIFORM),
]
TABLE = [
    right("sweep", SWEEP | {"strategy": "vmap", "progress": False}, OF_SWEEP, flag="progress"), *OF_BOTH,
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
    right("task", {"build": _build, "data": DATA}, function="build", metrics="metrics", size="batch_size"),
        bad_type("a dict", data=[DATA]),
    right("plot_sweep", {"results": RESULTS}), bad_value("['lr']", x="decay"),
        bad_value("hue: ['lr'], got 'decay'", x="lr", hue="decay"),
    right("plot_curves", {}), bad_type("a Results", results=3),
    right("plot_rungs", {}), bad_type("a Results", results=3),
]
