"""A member that diverges stands still, and touches nobody."""

import contextlib
import functools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.sweeps.setup import sweep, task

RATES = np.linspace(0.01, 0.1, 6)


@functools.cache
def undisturbed():
    return sweep(jaxrnn.grid(lr=RATES))


@pytest.mark.parametrize("poisoned", [(), (0,), (2, 5), tuple(range(6))])
def test_the_others_are_bitwise_the_same(poisoned):
    clean = undisturbed()
    rates = np.where(np.isin(np.arange(6), poisoned), 1e30, RATES)
    all_diverge = pytest.warns(UserWarning, match="in all 6 members, the first at step")
    with all_diverge if len(poisoned) == 6 else contextlib.nullcontext():
        results = sweep(jaxrnn.grid(lr=rates))
    for member in range(6):
        bad = results.columns["first_bad"][member]
        assert (bad > 0) == (member in poisoned)
        if member not in poisoned:
            for got, want in zip(*(map(np.asarray, _leaves(r.params(member))) for r in (results, clean)), strict=True):
                np.testing.assert_array_equal(got, want)
            continue
        curve = results.train["loss"][member]
        assert not np.isfinite(curve[bad - 1]) or not np.isfinite(results.train["gradient_norm"][member, bad - 1])
        assert np.isfinite(curve[: bad - 1]).all()
        assert np.isnan(curve[bad:]).all()
        assert np.isnan(results.columns["score"][member])
        assert all(np.isfinite(x).all() for x in _leaves(results.params(member)))
    if len(poisoned) == 6:
        with pytest.raises(ValueError, match="did not diverge"):
            _ = results.best
    else:
        assert results.best not in poisoned


@pytest.mark.parametrize("mode", ["min", "max"])
def test_an_infinite_validation_is_neither_the_best_nor_a_score(mode):
    """Of the sign that would win."""
    worst = -jnp.inf if mode == "min" else jnp.inf

    def odd(ys, batch):
        return jnp.where(ys[-1].mean() > 0, worst, ys[-1].mean())

    results = sweep(jaxrnn.grid(lr=RATES), of=task(metrics={"odd": odd}, monitor="odd", mode=mode))
    looks, score = results.validation["odd"], results.columns["score"]
    finite = np.isfinite(looks)
    assert 0 < finite.sum() < finite.size
    sign = 1 if mode == "min" else -1
    lowest = np.where(finite, sign * looks, np.inf).min(1)
    np.testing.assert_allclose(score, np.where(finite.any(1), sign * lowest, np.nan))
    assert finite[results.best].any()


def _leaves(params):
    return [x for part in params.values() for x in (part.values() if "0" not in part else part["0"].values())]
