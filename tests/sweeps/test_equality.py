"""A member of a sweep is the run that `fit` makes alone."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.sweeps.setup import alone, build, sweep

SPACE = jaxrnn.sweeps.zipped(
    lr=[0.01, 0.03, 0.1], dropout=[0.1, 0.3, 0.5], clip=[0.1, 1.0, 10.0], decay=[0.0, 0.1, 1.0], seed=[0, 1, 1]
)


@pytest.mark.always("vmap")
@pytest.mark.parametrize("strategy", ["vmap", "loop", "map", "auto"])
def test_members_follow_fit(strategy):
    results = sweep(SPACE, strategy=strategy, steps=20, block=7)
    for member in range(3):
        want = alone(results, member, steps=20, block=7)
        assert_close(results.params(member), want.params, 1e-5)
        for name, curve in want.history.train.items():
            assert_close(results.train[name][member], curve, 1e-4)
        assert_close(results.validation["loss"][member], want.history.validation["loss"], 1e-5)
        assert results.columns["best_step"][member] == want.best_step
        np.testing.assert_array_equal(results.validation_steps, want.history.validation_steps)


def test_static_hyperparameters():
    results = sweep(jaxrnn.grid(hidden=[2, 3], lr=[0.01, 0.1], batch_size=[4, 5]))
    assert results.compiles == 4
    programs = [(m["hidden"], m["batch_size"]) for m in results.members]
    members = (0, 3, 5, 6)  # every pair of settings
    assert {programs[member] for member in members} == set(programs)
    for member in members:
        assert_close(results.params(member), alone(results, member).params, 1e-5)


def test_one_program_for_all_numbers():
    results = sweep(jaxrnn.grid(lr=[0.01, 0.1], clip=[1.0, 2.0], seed=[0, 1, 2]))
    assert len(results) == 12
    assert results.compiles == 1


def test_chunks_that_do_not_divide():
    whole, parts = sweep(SPACE), sweep(SPACE, strategy="loop")
    for member in range(3):
        assert_close(parts.params(member), whole.params(member), 1e-5)


def test_the_first_numbers_are_those_of_build():
    model, _, _ = build(jaxrnn.Hyper({"lr": 0.1}))
    assert_close(
        jax.tree.map(np.shape, sweep([{"lr": 0.1}]).params(0)),
        jax.tree.map(np.shape, model.init(jax.random.key(0))),
        0,
    )
