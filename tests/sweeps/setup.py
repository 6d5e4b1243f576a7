"""A small task for sweeps."""

import functools

import jax
import numpy as np
import optax

import jaxrnn
from tests.training.setup import D, H, O, data_set

KEY = jax.random.key(5)
DATA, HELD_OUT = data_set(), data_set(1)


def build(hyper):
    """Every number that a sweep can trace, wherever it ends up; `hidden` is static."""
    hidden = hyper.get("hidden", H)
    cell = jaxrnn.elman(D, hidden, recurrent_dropout=hyper.get("dropout", 0.1))
    gradient = jaxrnn.reverse_scan(clip_norm=hyper.get("clip", 1.0))
    model = jaxrnn.chain(jaxrnn.stack([cell], gradient=gradient), jaxrnn.dense(hidden, O))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(hyper.lr, weight_decay=hyper.get("decay", 0.0)))
    return model, jaxrnn.losses.mean_squared_error, optimizer


def task(**options):
    return jaxrnn.task(build, DATA, **({"batch_size": 4, "validation": HELD_OUT} | options))


def sweep(space, *, of=None, **options):
    options = {"key": KEY, "steps": 6, "block": 3, "progress": False, "strategy": "vmap"} | options
    return jaxrnn.sweep(task() if of is None else of, space, **options)


def alone(results, member, steps=6, block=3):
    """The same run by `fit`."""
    key = tuple(jax.random.key_data(results.key(member)).tolist())
    return _alone(tuple(results.members[member].items()), key, steps, block)


@functools.cache
def _alone(hyper, key, steps, block):
    hyper = jaxrnn.Hyper(dict(hyper))
    model, loss, optimizer = build(hyper)
    return jaxrnn.fit(
        model,
        loss,
        optimizer,
        DATA,
        key=jax.random.wrap_key_data(np.array(key, np.uint32)),
        steps=steps,
        block=block,
        batch_size=hyper.get("batch_size", 4),
        validation=HELD_OUT,
        progress=False,
    )
