"""Successive halving: who goes on, and that the rest is not run."""

import functools

import numpy as np
import pytest

import jaxrnn
from jaxrnn.sweeps.pruning import survivors
from jaxrnn.sweeps.runner import Runner
from tests.helpers import assert_close
from tests.sweeps.setup import alone, sweep

SPACE = jaxrnn.grid(lr=np.geomspace(1e-4, 0.1, 9))


def test_rungs():
    assert jaxrnn.sweeps.halving(first=10).rungs(90, 27) == [(10, 27), (30, 9), (90, 3)]
    assert jaxrnn.sweeps.halving(eta=2, first=3).rungs(10, 5) == [(3, 5), (6, 3), (10, 2)]


def test_survivors_are_the_lowest_and_never_nan():
    scores = np.array([3.0, np.nan, 1.0, 2.0, 1.0])
    assert survivors(scores, 2).tolist() == [2, 4]
    assert survivors(scores, 3).tolist() == [2, 3, 4]
    assert survivors(scores, 5).tolist() == [0, 2, 3, 4]


@functools.cache
def halved(strategy):
    return sweep(SPACE, steps=18, block=2, strategy=strategy, pruning=jaxrnn.sweeps.halving(first=2))


@pytest.mark.parametrize("strategy", ["vmap", "loop"])
def test_members_that_go_on_are_those_of_the_full_sweep(strategy):
    full = sweep(SPACE, steps=18, block=2, strategy=strategy)
    pruned = halved(strategy)
    assert [end for end, _ in pruned.rungs] == [2, 6, 18]
    alive = np.arange(9)
    for number, (end, scores) in enumerate(pruned.rungs):
        at = np.flatnonzero(full.validation_steps == end)[0] + 1
        best_so_far = full.validation["loss"][:, :at].min(1)
        np.testing.assert_allclose(scores[alive], best_so_far[alive], rtol=1e-5)
        stopped = np.setdiff1d(np.arange(9), alive)
        assert np.isnan(scores[stopped]).all()
        if number < 2:
            alive = np.sort(alive[np.argsort(scores[alive], kind="stable")[: [3, 1][number]]])
    assert pruned.columns["steps"].sum() == 9 * 2 + 3 * 4 + 12
    assert set(np.flatnonzero(pruned.columns["steps"] == 18)) == set(alive)
    assert pruned.best == alive[0]
    assert_close(pruned.params(pruned.best), alone(pruned, pruned.best, steps=18, block=2).params, 1e-5)
    assert np.isnan(pruned.train["loss"][stopped][:, 6:]).all()


@pytest.mark.parametrize(("compile_seconds", "sizes"), [(0.0, [9, 3, 1]), (1e9, [9])], ids=["shrinks", "stays"])
def test_the_batch_shrinks_where_that_saves_more_than_compiling_takes(monkeypatch, compile_seconds, sizes):
    compiled, compile_ = [], Runner.compile

    def recorded(runner, size):
        if size not in compiled:
            compiled.append(size)
        return compile_(runner, size)

    expected = halved("vmap")
    monkeypatch.setattr(Runner, "compile", recorded)
    monkeypatch.setattr(Runner, "compile_seconds", property(lambda _: compile_seconds, lambda *_: None), raising=False)
    found = sweep(SPACE, steps=18, block=2, pruning=jaxrnn.sweeps.halving(first=2))
    assert compiled == sizes
    assert found.compiles == len(sizes)
    np.testing.assert_allclose(found.columns["score"], expected.columns["score"], rtol=1e-5)


def test_diverged_members_do_not_go_on():
    results = sweep(jaxrnn.grid(lr=[1e30, 1e30, 0.01]), steps=8, block=2, pruning=jaxrnn.sweeps.halving(eta=2, first=4))
    assert results.columns["steps"].tolist() == [4, 4, 8]


def test_a_picture_of_rungs_needs_pruning():
    with pytest.raises(ValueError, match="results: expected those of a sweep with pruning, got 1 rung"):
        jaxrnn.sweeps.plot_rungs(sweep(jaxrnn.grid(lr=[0.1])))
