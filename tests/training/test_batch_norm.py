"""Training with batch normalisation: what comes out can be evaluated."""

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.training import block
from tests.helpers import assert_close
from tests.training.setup import KEY, MODEL, D, H, N, O, T, batch_of, data_set, fit, plain_loop, rows_of_run

NORMALISED = jaxrnn.chain(
    jaxrnn.dense(D, H),
    jaxrnn.batch_norm(H),
    jaxrnn.stack([jaxrnn.elman(H, H)]),
    jaxrnn.batch_norm(H),
    jaxrnn.dense(H, O),
)
LENGTHS = np.arange(N).astype(np.int32) % T + 1


def statistics(params):
    return {name: params[name]["statistics"] for name in ("1", "3")}


def weights(params):
    """All that is trained, but for the bias in front of a batch normalisation, whose gradient is rounding alone."""
    found = {name: {k: x for k, x in part.items() if k != "statistics"} for name, part in params.items()}
    return found | {"0": {"w": found["0"]["w"]}}


def test_weights_follow_a_plain_loop_and_statistics_are_those_of_the_data():
    data, steps = data_set() | {"lengths": LENGTHS}, 7
    result = fit(data, model=NORMALISED, steps=steps, block=3)
    rows = rows_of_run(steps, 4, model=NORMALISED)
    batches = [batch_of(data_set(), r) | {"lengths": LENGTHS[r]} for r in rows]
    states, losses = plain_loop(batches, model=NORMALISED)
    assert_close(result.history.train["loss"], losses, 1e-5)
    assert_close(weights(result.params), weights(states[-1].params), 1e-5)
    want = jaxrnn.training.calibrate(NORMALISED, result.params, data)
    assert_close(statistics(result.params), statistics(want), 1e-5)
    first = jax.tree.leaves(statistics(NORMALISED.init(KEY)))
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(jax.tree.leaves(statistics(want)), first, strict=True))


def test_they_are_those_of_the_first_rows_of_many(monkeypatch):
    monkeypatch.setattr(block, "EVALUATION_BATCH", 6)
    data = data_set()
    result = fit(data, model=NORMALISED, steps=2)
    want = jaxrnn.training.calibrate(NORMALISED, result.params, batch_of(data, np.arange(6)))
    assert_close(statistics(result.params), statistics(want), 1e-6)
    of_all = jaxrnn.training.calibrate(NORMALISED, result.params, data)
    assert np.abs(of_all["1"]["statistics"]["mean"] - want["1"]["statistics"]["mean"]).max() > 1e-3


@pytest.mark.filterwarnings("ignore:fit. data ended after")
def test_of_an_iterable_they_are_those_of_the_last_batch():
    """Two blocks of 3 and one of 1: what fills the last block up is that batch again."""
    batches = [batch_of(data_set(i), np.arange(3)) for i in range(7)]
    for count in (6, 7):
        result = fit(iter(batches[:count]), model=NORMALISED, steps=50, block=3)
        want = jaxrnn.training.calibrate(NORMALISED, result.params, batches[count - 1])
        assert_close(statistics(result.params), statistics(want), 1e-6)


def test_of_streams_they_are_those_of_the_first_window():
    data = data_set()
    result = fit(data, model=NORMALISED, steps=3, batch_size=None, stream=2)
    want = jaxrnn.training.calibrate(NORMALISED, result.params, {"xs": data["xs"][:2]})
    assert_close(statistics(result.params), statistics(want), 1e-6)


def test_validation_reads_calibrated_parameters_and_keeps_the_best():
    data, other = data_set(), data_set(1)
    other["targets"] = 0.3 * other["targets"]
    result = fit(data, model=NORMALISED, steps=40, block=2, validation=other)
    losses = result.history.validation["loss"]
    assert result.best_step < 40
    for params, loss in ((result.params, losses.min()), (result.state.params, losses[-1])):
        assert_close(jaxrnn.evaluate(NORMALISED, params, jaxrnn.losses.mean_squared_error, other)["loss"], loss, 1e-5)
        assert_close(statistics(params), statistics(jaxrnn.training.calibrate(NORMALISED, params, data)), 1e-5)


def test_a_model_without_it_pays_nothing(monkeypatch):
    def never(*arguments):
        raise AssertionError

    monkeypatch.setattr(block, "statistics", never)
    monkeypatch.setattr(block, "with_statistics", never)
    fit(model=MODEL, steps=1)
    with pytest.raises(AssertionError):
        fit(model=NORMALISED, steps=1)


def test_members_of_a_sweep_are_calibrated_and_one_that_diverges_stays_finite():
    """Member 2 takes one step too large for a float."""
    data, other = data_set(), data_set(1)
    build = lambda hyper: (NORMALISED, jaxrnn.losses.mean_squared_error, optax.sgd(hyper.lr))  # noqa: E731
    task = jaxrnn.task(build, data, batch_size=4, validation=other)
    options = {"steps": 6, "block": 3, "progress": False}
    results = jaxrnn.sweep(task, jaxrnn.grid(lr=[0.01, 0.1, 1e38]), key=KEY, strategy="vmap", **options)
    for member, lr in enumerate((0.01, 0.1)):
        model, loss, optimizer = build(jaxrnn.Hyper({"lr": lr}))
        alone = jaxrnn.fit(
            model, loss, optimizer, data, key=results.key(member), batch_size=4, validation=other, **options
        )
        assert_close(weights(results.params(member)), weights(alone.params), 1e-4)
        assert_close(results.validation["loss"][member], alone.history.validation["loss"], 1e-4)
        found = results.params(member)
        assert_close(statistics(found), statistics(jaxrnn.training.calibrate(NORMALISED, found, data)), 1e-4)
    assert results.columns["first_bad"][2] > 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(results.params(2)))


def test_with_the_readmes_mask_only_matrices_decay():
    """At a gradient of zero, so that decay is all that happens."""
    optimizer = optax.adamw(0.1, weight_decay=0.5, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params))
    params = jax.tree.map(lambda x: x + 1.0, NORMALISED.init(KEY))
    zeros = jax.tree.map(lambda x: 0.0 * x, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    after = optax.apply_updates(params, updates)
    assert_close(after, jax.tree.map(lambda x: x * (1.0 - 0.1 * 0.5) if x.ndim == 2 else x, params), 1e-6)
    assert {x.ndim for x in jax.tree.leaves(params)} == {1, 2}
    unmasked = optax.adamw(0.1, weight_decay=0.5)
    updates, _ = unmasked.update(zeros, unmasked.init(params), params)
    assert all(np.abs(x).min() > 0.0 for x in jax.tree.leaves(updates))
