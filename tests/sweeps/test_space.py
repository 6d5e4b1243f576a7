"""Spaces, and what is wrong with some."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.sweeps.setup import sweep

KEY = jax.random.key(0)


def test_grid():
    space = jaxrnn.grid(lr=np.array([0.1, 0.2]), hidden=(2, 3), cell="gru")
    assert space.members(KEY) == [{"lr": lr, "hidden": hidden, "cell": "gru"} for lr in (0.1, 0.2) for hidden in (2, 3)]
    assert all(type(member["hidden"]) is int for member in jaxrnn.grid(hidden=jnp.arange(1, 3)).members(KEY))


def test_zipped_and_tables():
    want = [{"lr": 0.1, "hidden": 2, "clip": 1.0}, {"lr": 0.2, "hidden": 3, "clip": 1.0}]
    assert jaxrnn.sweeps.zipped(lr=[0.1, 0.2], hidden=[2, 3], clip=1.0).members(KEY) == want
    assert jaxrnn.sweeps.table(want).members(KEY) == want


def test_random():
    space = jaxrnn.sweeps.random(
        4000,
        a=jaxrnn.sweeps.uniform(-1, 3),
        lr=jaxrnn.sweeps.log_uniform(1e-4, 1.0),
        cell=jaxrnn.sweeps.choice(["gru", "lstm"]),
        H=8,
    )
    members = space.members(KEY)
    assert members == space.members(KEY) != space.members(jax.random.key(1))
    a, lr = (np.array([member[name] for member in members]) for name in ("a", "lr"))
    assert a.min() >= -1
    assert a.max() <= 3
    np.testing.assert_allclose(np.quantile(a, [0.25, 0.5, 0.75]), [0, 1, 2], atol=0.15)
    np.testing.assert_allclose(np.quantile(np.log10(lr), [0.25, 0.5, 0.75]), [-3, -2, -1], atol=0.15)
    assert 0.45 < np.mean([member["cell"] == "gru" for member in members]) < 0.55
    assert {member["H"] for member in members} == {8}


BAD = {
    "misspelt": (
        lambda: sweep(jaxrnn.grid(lrr=[0.1], lr=[0.1])),
        r"space: expected hyperparameters that build reads, .*\['lrr'\]",
    ),
    "missing": (lambda: sweep(jaxrnn.grid(hidden=[2])), r"expected a hyperparameter 'lr'"),
    "ragged": (
        lambda: jaxrnn.sweeps.zipped(lr=[0.1, 0.2], clip=[1.0]),
        r"space: expected lists of one length, got \{'lr': 2, 'clip': 1\}",
    ),
    "nan": (lambda: jaxrnn.grid(lr=[0.1, float("nan")]), r"lr\[1\]: expected a finite number, got nan"),
    "negative": (lambda: jaxrnn.grid(lr=[0.1, -0.1]), r"lr\[1\]: expected a number of at least 0, got -0.1"),
    "drawn negative": (
        lambda: jaxrnn.sweeps.random(3, lr=jaxrnn.sweeps.uniform(-1, 1)),
        r"lr: expected no numbers below 0",
    ),
    "static as an array": (lambda: sweep(jaxrnn.grid(lr=[0.1], hidden=np.array([2.0, 3.0]))), r"positive integer"),
    "no members": (lambda: jaxrnn.grid(lr=[]), r"lr: expected at least one value, got none"),
    "no rows": (lambda: sweep([]), r"space: expected at least one member, got none"),
    "no names": (lambda: jaxrnn.grid(), r"space: expected at least one hyperparameter"),
    "memory": (
        lambda: sweep(jaxrnn.grid(lr=[0.1]), memory=10),
        r"memory: expected at least the \d+ bytes of one member",
    ),
    "out of range": (
        lambda: sweep(jaxrnn.grid(lr=[0.1], dropout=[0.5, 1.5])),
        r"recurrent_dropout: expected .*in \[0, 1\)",
    ),
    "no space": (lambda: sweep(3), r"space: expected a Space"),
    "steps": (lambda: sweep(jaxrnn.grid(lr=[0.1]), steps=0), r"steps: expected a positive integer, got 0"),
    "strategy": (lambda: sweep(jaxrnn.grid(lr=[0.1]), strategy="fast"), r"strategy: expected one of"),
    "batch size": (
        lambda: sweep(jaxrnn.grid(lr=[0.1], batch_size=[4, 99])),
        r"batch_size: expected at most the 10 rows",
    ),
    "late first rung": (
        lambda: sweep(jaxrnn.grid(lr=[0.1]), pruning=jaxrnn.sweeps.halving(first=6)),
        r"pruning: expected first below",
    ),
    "names differ": (
        lambda: jaxrnn.sweeps.table([{"lr": 0.1}, {"l": 0.1}]),
        r"space\[1\]: expected the names \['lr'\], got \['l'\]",
    ),
    "distribution in a grid": (
        lambda: jaxrnn.grid(lr=jaxrnn.sweeps.uniform(0, 1)),
        r"lr: expected a list of values, got uniform",
    ),
    "list in a draw": (lambda: jaxrnn.sweeps.random(3, lr=[0.1, 0.2]), r"lr: expected a distribution or one value"),
    "ends": (lambda: jaxrnn.sweeps.uniform(1, 1), r"high: expected a number above low"),
    "eta": (lambda: jaxrnn.sweeps.halving(eta=1, first=2), r"eta: expected at least 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_before_anything_is_compiled(name, monkeypatch):
    call, message = BAD[name]

    def compile_(*args, **kwargs):
        raise AssertionError("compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_)
    with pytest.raises((ValueError, TypeError, AttributeError), match=message):
        call()
