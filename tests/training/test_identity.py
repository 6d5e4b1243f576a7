"""Changes to a run that goes on are errors that name what changed; those that may change are listed in `fit`."""

import argparse
import functools
import logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.fingerprints import fingerprint
from jaxrnn.training.run import Run
from tests.training.setup import D, H, O, assert_same_run, data_set, fit

KEY = jax.random.key(3)
WEIGHT = 0.5


def loss(ys, batch):
    return jaxrnn.losses.mean_squared_error(ys, batch)


def weighted(weight, power=2):
    def loss(ys, batch):
        return weight * jnp.mean(jnp.abs(ys - batch["targets"]) ** power)

    return loss


def largest(ys, batch):
    return jnp.abs(ys - batch["targets"]).max()


def smallest(ys, batch):
    return jnp.abs(ys - batch["targets"]).min()


def of_module(ys, batch):
    return WEIGHT * jaxrnn.losses.mean_squared_error(ys, batch)


def with_default(ys, batch, weight=0.5):
    return weight * jaxrnn.losses.mean_squared_error(ys, batch)


def with_another_default(ys, batch, weight=0.25):
    return weight * jaxrnn.losses.mean_squared_error(ys, batch)


with_another_default.__qualname__ = "with_default"


class Scaled:
    """A loss that is an object."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, ys, batch):
        return self.weight * jaxrnn.losses.mean_squared_error(ys, batch)


class Settings:
    weight = 0.5


class OtherSettings:
    weight = 0.25


OtherSettings.__qualname__ = "Settings"


def of_class(settings):
    """Reads an attribute of a class."""
    return lambda ys, batch: settings.weight * jaxrnn.losses.mean_squared_error(ys, batch)


def with_rule(factor):
    """A loss with a backward rule of its own."""

    @jax.custom_vjp
    def scaled(x):
        return x

    scaled.defvjp(lambda x: (x, None), lambda _, g: (factor * g,))
    return lambda ys, batch: scaled(jaxrnn.losses.mean_squared_error(ys, batch))


def leaky(rate):
    def update(params, carry, gates, noise):
        (n,) = gates
        return (1 - rate) * carry + rate * n

    return update


def leaky_otherwise(rate):
    def update(params, carry, gates, noise):
        (n,) = gates
        return (1 - rate) * carry + rate * jnp.tanh(n)

    return update


def own(update, activation=jnp.tanh):
    return chain(jaxrnn.gated_cell(D, H, {"n": activation}, update))


def chain(cell, *parts):
    return jaxrnn.chain(jaxrnn.stack([cell]), *parts, jaxrnn.dense(H, O))


def rows(seed=0, count=10):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 6, count)
    xs = [rng.normal(size=(n, D)).astype("f") for n in lengths]
    return {"xs": xs, "targets": [x[:, :O] * 0.5 for x in xs]}


def bucketed(seed=0, key=0, **options):
    return jaxrnn.data.bucketed(
        rows(seed), key=jax.random.key(key), **({"batch_size": 4, "buckets": 2, "run": 2} | options)
    )


def other(entry, change):
    data = data_set()
    return data | {entry: change(data[entry])}


def flipped(x):
    x = x.copy()
    x[1, 2, 0] += 1e-6
    return x


def ema(params):
    return lambda opt_state, p: p


ADAM, VALIDATED = optax.adam(0.05), {"validation": data_set(1)}
WARM = optax.warmup_cosine_decay_schedule
SCHEDULE = lambda **o: optax.adam(WARM(**{"init_value": 0.0, "peak_value": 0.05, "warmup_steps": 500, "decay_steps": 5000} | o))  # fmt: skip # noqa: E501, E731
CHANGES = {
    # what is changed: (options of the run, options of the one that goes on)
    "units": ({}, {"model": chain(jaxrnn.elman(D, H, activation=jnp.sin))}),
    "activation": ({"model": chain(jaxrnn.elman(D, H))}, {"model": chain(jaxrnn.elman(D, H, activation=jax.nn.relu))}),
    "a lambda": (
        {"model": chain(jaxrnn.elman(D, H, activation=lambda z: jnp.tanh(z)))},
        {"model": chain(jaxrnn.elman(D, H, activation=lambda z: jnp.tanh(2 * z)))},
    ),
    "cell": ({"model": chain(jaxrnn.gru(D, H))}, {"model": chain(jaxrnn.gru(D, H, reset_after=False))}),
    "dropout": (
        {"model": chain(jaxrnn.elman(D, H), jaxrnn.dropout(0.1))},
        {"model": chain(jaxrnn.elman(D, H), jaxrnn.dropout(0.2))},
    ),
    "zoneout": (
        {"model": chain(jaxrnn.lstm(D, H, zoneout=0.1))},
        {"model": chain(jaxrnn.lstm(D, H, zoneout=0.2))},
    ),
    "initialiser": (
        {"model": chain(jaxrnn.elman(D, H, input_init=jax.nn.initializers.normal(0.1)))},
        {"model": chain(jaxrnn.elman(D, H, input_init=jax.nn.initializers.normal(0.2)))},
    ),
    "equations": ({"model": own(leaky(0.5))}, {"model": own(leaky_otherwise(0.5))}),
    "a closure of the equations": ({"model": own(leaky(0.5))}, {"model": own(leaky(0.25))}),
    "gate": ({"model": own(leaky(0.5))}, {"model": own(leaky(0.5), jax.nn.sigmoid)}),
    "clip of the rule": (
        {"model": jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dense(H, O))},
        {"gradient": jaxrnn.reverse_scan(clip_norm=1.0)},
    ),
    "truncation": ({"gradient": jaxrnn.truncated(2, 2)}, {"gradient": jaxrnn.truncated(2, 3)}),
    "clip_norm": (
        {"gradient": jaxrnn.reverse_scan(clip_norm=1.0)},
        {"gradient": jaxrnn.reverse_scan(clip_norm=2.0)},
    ),
    "loss": ({"loss": loss}, {"loss": largest}),
    "a closure of the loss": ({"loss": weighted(0.5)}, {"loss": weighted(0.25)}),
    "a power": ({"loss": weighted(0.5)}, {"loss": weighted(0.5, 3)}),
    "a partial": (
        {"loss": functools.partial(with_default, weight=0.5)},
        {"loss": functools.partial(with_default, weight=0.1)},
    ),
    "a default": ({"loss": with_default}, {"loss": with_another_default}),
    "an object's number": ({"loss": Scaled(0.5)}, {"loss": Scaled(0.25)}),
    "a class's attribute": ({"loss": of_class(Settings)}, {"loss": of_class(OtherSettings)}),
    "an argparse.Namespace": (
        {"loss": of_class(argparse.Namespace(weight=0.5))},
        {"loss": of_class(argparse.Namespace(weight=0.25))},
    ),
    "a backward rule": ({"loss": with_rule(1.0)}, {"loss": with_rule(2.0)}),
    "jit of another loss": ({"loss": jax.jit(weighted(0.5))}, {"loss": jax.jit(weighted(0.25))}),
    "metric": ({"metrics": {"a": largest}}, {"metrics": {"a": smallest}}),
    "a metric's name": ({"metrics": {"a": largest}}, {"metrics": {"b": largest}}),
    "a metric less": ({"metrics": {"a": largest}}, {"metrics": None}),
    "learning rate": ({"optimizer": ADAM}, {"optimizer": optax.adam(0.051)}),
    "an injected learning rate": (
        {"optimizer": optax.inject_hyperparams(optax.sgd)(0.05)},
        {"optimizer": optax.inject_hyperparams(optax.sgd)(0.051)},
    ),
    "b1": ({"optimizer": ADAM}, {"optimizer": optax.adam(0.05, b1=0.91)}),
    "b2": ({"optimizer": ADAM}, {"optimizer": optax.adam(0.05, b2=0.99)}),
    "eps": ({"optimizer": ADAM}, {"optimizer": optax.adam(0.05, eps=1e-7)}),
    "nesterov": ({"optimizer": ADAM}, {"optimizer": optax.adam(0.05, nesterov=True)}),
    "decay": ({"optimizer": optax.adamw(0.05)}, {"optimizer": optax.adamw(0.05, weight_decay=2e-4)}),
    "decay's mask": (
        {"optimizer": optax.adamw(0.05, weight_decay=0.1)},
        {"optimizer": optax.adamw(0.05, weight_decay=0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p))},
    ),
    "momentum": ({"optimizer": optax.sgd(0.1, 0.9)}, {"optimizer": optax.sgd(0.1, 0.8)}),
    "a boundary of the schedule": (
        {"optimizer": optax.sgd(optax.piecewise_constant_schedule(0.1, {5000: 0.1}))},
        {"optimizer": optax.sgd(optax.piecewise_constant_schedule(0.1, {7000: 0.1}))},
    ),
    "many steps accumulated": ({"optimizer": optax.MultiSteps(ADAM, 16)}, {"optimizer": optax.MultiSteps(ADAM, 32)}),
    "kind of optimizer": ({"optimizer": ADAM}, {"optimizer": optax.sgd(0.05)}),
    "clipping": ({}, {"optimizer": optax.chain(optax.clip_by_global_norm(0.6), ADAM)}),
    "no clipping": ({}, {"optimizer": optax.chain(optax.identity(), ADAM)}),
    "peak": ({"optimizer": SCHEDULE()}, {"optimizer": SCHEDULE(peak_value=0.06)}),
    "warm-up": ({"optimizer": SCHEDULE()}, {"optimizer": SCHEDULE(warmup_steps=400)}),
    "length of the decay": ({"optimizer": SCHEDULE()}, {"optimizer": SCHEDULE(decay_steps=6000)}),
    "end of the decay": ({"optimizer": SCHEDULE()}, {"optimizer": SCHEDULE(end_value=1e-3)}),
    "steps accumulated": (
        {"optimizer": optax.MultiSteps(ADAM, 2)},
        {"optimizer": optax.MultiSteps(ADAM, 3)},
    ),
    "key": ({"key": KEY}, {"key": jax.random.key(4)}),
    "kind of key": ({"key": KEY}, {"key": jax.random.key(3, impl="rbg")}),
    "batch_size": ({}, {"batch_size": 5}),
    "stream": ({"batch_size": None, "stream": 2}, {"batch_size": None, "stream": 1}),
    "monitor": (VALIDATED | {"metrics": {"a": largest}}, {"monitor": "a", "mode": "min"}),
    "mode": (VALIDATED, {"mode": "max"}),
    "eval_params": (VALIDATED, {"eval_params": ema(1)}),
    "no validation": (VALIDATED, {"validation": None}),
    "validation": (VALIDATED, {"validation": data_set(2)}),
    "a number of the validation": (VALIDATED, {"validation": data_set(1) | {"xs": flipped(data_set(1)["xs"])}}),
    "data": ({}, {"data": data_set(2)}),
    "a number of the data": ({}, {"data": other("xs", flipped)}),
    "order of the rows": ({}, {"data": {name: x[:, ::-1] for name, x in data_set().items()}}),
    "dtype of the data": ({}, {"data": other("targets", lambda x: x.astype(jnp.bfloat16))}),
    "an entry more": ({}, {"data": data_set() | {"lengths": np.full(10, 4)}}),
    "list of batches": ({"data": [data_set()] * 5, "block": 2}, {"data": [data_set(1)] * 5}),
    "bucketed rows": ({"data": bucketed()}, {"data": bucketed(1)}),
    "bucketed order": ({"data": bucketed()}, {"data": bucketed(key=1)}),
    "bucketed batches": ({"data": bucketed()}, {"data": bucketed(batch_size=3)}),
    "prefetched rows": ({"data": jaxrnn.data.prefetch(bucketed())}, {"data": jaxrnn.data.prefetch(bucketed(1))}),
    "kind of data": ({"data": bucketed()}, {"data": iter(bucketed())}),
    "params": ({}, {"params": jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dense(H, O)).init(KEY)}),
}  # fmt: skip
MAY = {
    "block": {"block": 2},
    "steps": {"steps": 5},
    "patience": VALIDATED | {"patience": 9},
    "on_nonfinite": {"on_nonfinite": "stop", "nonfinite_limit": 3},
    "callback": {"callback": lambda end: None},
    "looks": {"diagnose_every": 2},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_an_error_that_names_it(change, tmp_path, monkeypatch):
    """The runs only save what they begin with."""
    monkeypatch.setattr(Run, "train", lambda self, steps: self._save(""))
    first, second = CHANGES[change]
    fit(steps=2, run_dir=tmp_path, **first)
    named = r"(.* = .*|the same .*, got one with another)"
    with pytest.raises(
        ValueError, match=f'^run_dir: expected a run with {named}.*resume="anyway" goes on with the run'
    ):
        fit(steps=4, run_dir=tmp_path, **(first | second))


def test_another_learning_rate_is_named(tmp_path):
    fit(steps=2, run_dir=tmp_path, optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01)))
    message = r"^run_dir: expected a run with optimizer\.step_size = -0\.02, got one with -0\.01 in [^,]*, and 1 more"
    with pytest.raises(ValueError, match=message):
        fit(steps=4, run_dir=tmp_path, optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02)))


@pytest.mark.parametrize("change", MAY)
def test_what_may_change_does_not_keep_a_run_from_going_on(change, tmp_path):
    before = {"validation": data_set(1)} if change == "patience" else {}
    fit(steps=2, run_dir=tmp_path, **before)
    found = fit(**{"steps": 4, "run_dir": tmp_path} | before | MAY[change])
    assert_same_run(found, fit(**{"steps": found.history.steps, "block": 2} | before)) if not before else None


def test_anyway_goes_on_and_says_all_that_differs(tmp_path):
    fit(steps=2, run_dir=tmp_path)
    with pytest.warns(
        UserWarning, match=r"^run: going on although it differs: .*optimizer.step_size = -0.04.*batch_size = 5"
    ):
        result = fit(steps=4, run_dir=tmp_path, batch_size=5, optimizer=optax.adam(0.04).__class__(*optax.chain(
            optax.clip_by_global_norm(0.5), optax.adam(0.04))), resume="anyway")  # fmt: skip
    assert result.history.steps == 4


def test_equal_functions_have_one_fingerprint_in_any_process():
    assert fingerprint(weighted(0.5)) == fingerprint(weighted(0.5)) != fingerprint(weighted(0.4))
    assert fingerprint(own(leaky(0.5))) == fingerprint(own(leaky(0.5)))
    assert fingerprint(Scaled(1.0)) == fingerprint(Scaled(1.0)) != fingerprint(Scaled(2.0))
    knot = [1.0]
    knot.append(knot)
    assert fingerprint(knot)


def made(power):
    """Two classes of one name, whose methods differ."""

    class Loss:
        def __call__(self, ys, batch):
            return self.scaled(jnp.mean(jnp.abs(ys - batch["targets"]) ** power))

        @staticmethod
        def scaled(x):
            return 2.0 * x

    if power == 4:
        Loss.scaled = staticmethod(lambda x: 3.0 * x)
    return Loss


def test_methods_modules_and_loggers(monkeypatch):
    assert fingerprint(made(2)()) == fingerprint(made(2)())
    assert len({fingerprint(made(power)()) for power in (2, 3, 4)}) == 3
    module = types.ModuleType("mylosses")
    exec("def mse(x):\n    return x * x", vars(module))
    monkeypatch.setitem(globals(), "mine", module)
    monkeypatch.setitem(globals(), "log", logging.getLogger("a"))

    def loss(ys, batch):
        log.debug("seen")  # noqa: F821
        return mine.mse(ys - batch["targets"]).mean()  # noqa: F821

    before = fingerprint(loss)
    logging.getLogger("a.b")
    assert fingerprint(loss) == before
    exec("def mse(x):\n    return x * x * x", vars(module))
    assert fingerprint(loss) != before


def test_a_value_of_the_module_is_part_of_a_function(monkeypatch):
    before = fingerprint(of_module)
    monkeypatch.setitem(globals(), "WEIGHT", 0.25)
    assert fingerprint(of_module) != before
