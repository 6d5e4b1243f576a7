"""A training loop of one's own, and a plain function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.sweeps.setup import KEY, sweep


def init(hyper, key):
    return {"x": jax.random.normal(key, (3,)) * hyper.scale}


def advance(hyper, state, steps):
    def step(x, _):
        return x - hyper.lr * x, jnp.sum(x * x)

    x, losses = jax.lax.scan(step, state["x"], length=steps)
    return {"x": x}, {"loss": losses}


def plain(lr, scale, steps):
    x, losses = np.asarray(jax.random.normal(KEY, (3,))) * scale, []
    for _ in range(steps):
        losses.append(np.sum(x * x))
        x = x - lr * x
    return x, losses


@pytest.mark.parametrize("strategy", ["vmap", "loop", "map"])
def test_a_task(strategy):
    space = jaxrnn.grid(lr=[0.1, 0.5], scale=[1.0, 2.0])
    results = sweep(space, of=jaxrnn.sweeps.Task(init, advance), steps=6, block=3, strategy=strategy)
    for i, member in enumerate(results.members):
        x, losses = plain(member["lr"], member["scale"], 6)
        np.testing.assert_allclose(results.params(i)["x"], x, rtol=1e-5)
        np.testing.assert_allclose(results.train["loss"][i], losses, rtol=1e-5)
        np.testing.assert_allclose(results.columns["score"][i], np.mean(losses[3:]), rtol=1e-5)
    assert results.best == 2


def test_a_task_that_diverges_keeps_the_state_before_the_block():
    results = sweep(jaxrnn.grid(lr=[0.1], scale=[1.0, 1e30]), of=jaxrnn.sweeps.Task(init, advance), steps=6, block=3)
    assert results.columns["first_bad"].tolist() == [0, 1]
    assert np.isfinite(results.params(1)["x"]).all()


def test_a_task_takes_whole_blocks():
    with pytest.raises(ValueError, match=r"steps: expected .*whole blocks of 3"):
        sweep(jaxrnn.grid(lr=[0.1], scale=[1.0]), of=jaxrnn.sweeps.Task(init, advance), steps=7, block=3)


def train(hyper, key, data):
    w = jax.random.normal(key) * hyper.scale
    return {"loss": jnp.sum((data * w) ** 2), "w": w}


def test_a_plain_function():
    data = np.arange(3.0, dtype=np.float32)
    results = jaxrnn.sweep(
        train, jaxrnn.grid(scale=[1.0, 2.0], seed=[0, 1]), key=KEY, data=data, strategy="vmap", progress=False
    )
    assert results.compiles == 1
    for i, member in enumerate(results.members):
        want = train(jaxrnn.Hyper(member), jax.random.fold_in(KEY, member["seed"]), data)
        np.testing.assert_allclose(results.train["w"][i, 0], want["w"], rtol=1e-5)
        np.testing.assert_allclose(results.columns["score"][i], want["loss"], rtol=1e-5)


@pytest.mark.parametrize("option", [{"steps": 3}, {"pruning": jaxrnn.sweeps.halving(first=1)}, {"run_dir": "x"}])
def test_a_plain_function_has_no_steps(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}: expected None with a plain function"):
        jaxrnn.sweep(train, jaxrnn.grid(scale=[1.0]), key=KEY, data=np.ones(2, np.float32), progress=False, **option)


def test_a_task_takes_the_steps_of_its_rungs_whatever_the_block():
    def count(hyper, state, steps):
        return state + steps, {"loss": hyper.lr + jnp.zeros(steps)}

    counter = jaxrnn.sweeps.Task(lambda hyper, key: jnp.zeros((), jnp.int32), count)
    space = jaxrnn.grid(lr=[0.1 * i for i in range(1, 10)])
    results = sweep(space, of=counter, steps=27, block=10, pruning=jaxrnn.sweeps.halving(first=3))
    assert results.columns["steps"].tolist() == [27] + [9] * 2 + [3] * 6
    assert [int(results.params(i)) for i in range(9)] == [27] + [9] * 2 + [3] * 6
