"""What members are ranked by, what can be done with one afterwards, and which hyperparameters are found."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.sweeps.trained import Trained
from tests.helpers import assert_close
from tests.sweeps.setup import DATA, HELD_OUT, KEY, build, sweep, task
from tests.training.setup import D, H, O, assert_same

LOSS = jaxrnn.losses.mean_squared_error
run = functools.partial(jaxrnn.fit, key=None, batch_size=4, progress=False)


def largest(ys, batch):
    return jnp.abs(ys - batch["targets"]).max()


def test_without_validation_members_are_ranked_by_the_loss_of_all_data_at_the_end():
    """And not by a mean over the steps on the way there."""
    results = sweep(jaxrnn.grid(lr=[0.001, 0.05, 0.2]), of=task(validation=None), steps=12, block=12)
    for member in range(3):
        model, loss, _ = build(jaxrnn.Hyper(results.members[member]))
        want = jaxrnn.evaluate(model, results.params(member), loss, DATA)["loss"]
        assert results.columns["score"][member] == pytest.approx(want, rel=1e-5)
    assert results.best == int(np.argmin(results.columns["score"]))
    assert results.validation == {}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_members_are_ranked_by_the_measure_that_is_asked_for(mode):
    of = task(metrics={"largest": largest}, monitor="largest", mode=mode)
    results = sweep(jaxrnn.grid(lr=[0.001, 0.05, 0.2]), of=of, steps=6, block=3)
    values = results.validation["largest"]
    scores = {"min": values.min, "max": values.max}[mode](1)
    np.testing.assert_array_equal(results.columns["score"], scores)
    assert results.best == int({"min": np.argmin, "max": np.argmax}[mode](scores))
    pruned = sweep(jaxrnn.grid(lr=[0.001, 0.05, 0.2]), of=of, steps=6, block=3, pruning=jaxrnn.sweeps.halving(first=3))
    ends, first = pruned.rungs[0]
    assert ends == 3
    assert pruned.columns["rung"][int({"min": np.argmin, "max": np.argmax}[mode](first))] == 1


def test_a_member_goes_on_as_the_run_that_it_is():
    results = sweep(jaxrnn.grid(lr=[0.01, 0.05], hidden=[H, 2]), steps=4, block=2)
    for member in (1, 2):
        model, loss, optimizer = results.build(member)
        got = run(model, loss, optimizer, DATA, state=results.state(member), steps=7, validation=HELD_OUT)
        want = run(model, loss, optimizer, DATA, key=results.key(member), steps=7, validation=HELD_OUT)
        assert_close(got.state.params, want.state.params, 1e-4)
        assert_close(got.history.train["loss"], want.history.train["loss"][4:], 1e-4)


def test_results_are_pickled_with_what_members_have_learnt():
    results = sweep(jaxrnn.grid(lr=[0.01, 0.05]), steps=4, block=2)
    copy = pickle.loads(pickle.dumps(results))
    assert_same(copy.params(1), results.params(1))
    assert_same(copy.state(1), results.state(1))
    assert copy.build(1)[0] == results.build(1)[0]
    assert repr(copy) == repr(results)
    local = jaxrnn.task(lambda hyper: build(hyper), DATA, batch_size=4)
    copy = pickle.loads(pickle.dumps(sweep(jaxrnn.grid(lr=[0.01]), of=local, steps=2)))
    assert set(copy.params(0)) == {"0", "1"}
    with pytest.raises(TypeError, match="whose build can be pickled"):
        copy.build(0)


def test_a_build_is_pickled_if_another_process_can_find_it():
    for each, kept in ((build, build), (lambda hyper: build(hyper), None)):
        assert pickle.loads(pickle.dumps(Trained((), {}, (np.zeros(2), "threefry2x32"), each))).build is kept


def test_a_hyperparameter_that_only_the_loss_reads_is_one():
    def build(hyper):
        def loss(ys, batch):
            return hyper.weight * LOSS(ys, batch)

        return jaxrnn.chain(jaxrnn.elman(D, H), jaxrnn.dense(H, O)), loss, optax.sgd(0.01)

    results = sweep(jaxrnn.grid(weight=[1.0, 3.0]), of=jaxrnn.task(build, DATA, batch_size=4), steps=2)
    first = results.train["loss"][:, 0]
    assert first[1] == pytest.approx(3 * first[0], rel=1e-5)


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
def test_seeds_are_folded_into_the_key(seed):
    results = sweep(jaxrnn.grid(lr=[0.01], seed=[seed]), steps=1)
    want = jax.random.fold_in(KEY, np.uint32(seed))
    np.testing.assert_array_equal(jax.random.key_data(results.key(0)), jax.random.key_data(want))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"^seed\[0\]: expected an integer from 0 to 2\*\*32 - 1"):
        jaxrnn.grid(seed=[seed])


def test_what_has_to_be_static_is_named():
    """A schedule's number of warm-up steps decides a Python branch, and so does its peak."""

    def build(hyper):
        schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, hyper.warmup, 100)
        optimizer = optax.chain(optax.sgd(schedule), optax.scale(hyper.lr))
        return jaxrnn.chain(jaxrnn.elman(D, H), jaxrnn.dense(H, O)), LOSS, optimizer

    def direct(hyper):
        schedule = optax.warmup_cosine_decay_schedule(0.0, hyper.lr, hyper.warmup, 100)
        return *build(hyper)[:2], optax.sgd(schedule)

    of = jaxrnn.task(build, DATA, batch_size=4)
    with pytest.raises(jax.errors.JAXTypeError) as caught:
        sweep(jaxrnn.grid(lr=[0.1, 0.2], warmup=[10.0, 20.0]), of=of)
    assert "while tracing warmup with" in "".join(caught.value.__notes__)
    with pytest.raises(jax.errors.JAXTypeError) as caught:
        sweep(jaxrnn.grid(lr=[0.1, 0.2], warmup=[10, 20]), of=jaxrnn.task(direct, DATA, batch_size=4))
    assert "while tracing lr with" in "".join(caught.value.__notes__)
    results = sweep(jaxrnn.grid(lr=[0.1, 0.2], warmup=[10, 20]), of=of, steps=2)
    assert np.isfinite(results.columns["score"]).all()


def test_a_member_without_a_finite_validation_counts_as_diverged():
    def build(hyper):
        def loss(ys, batch):
            value = LOSS(ys, batch)
            held_out = batch["xs"].shape[1] == HELD_OUT["xs"].shape[1]
            return jnp.where(held_out & (hyper.lr > 0.1), jnp.nan, value)

        return jaxrnn.chain(jaxrnn.elman(D, H), jaxrnn.dense(H, O)), loss, optax.sgd(hyper.lr)

    of = jaxrnn.task(build, DATA, batch_size=4, validation=HELD_OUT)
    results = sweep(jaxrnn.grid(lr=[0.2, 0.01]), of=of)
    assert results.diverged.tolist() == [True, False]
    assert results.best == 1
    with pytest.warns(UserWarning, match="not finite in all 1 members"):
        results = sweep(jaxrnn.grid(lr=[0.2]), of=of)
    with pytest.raises(ValueError, match="did not diverge"):
        _ = results.best


def test_auto_measures_only_where_it_can_win():
    """A short sweep runs with the first program that was compiled."""
    short = sweep(jaxrnn.grid(lr=[0.01] * 6), steps=3, strategy="auto")
    assert short.compiles == 1
    assert "too few to measure more" in short.notes[0]
    assert short.columns["steps"].tolist() == [3] * 6


def test_hyper_from_keywords():
    assert jaxrnn.Hyper(lr=0.1, hidden=3) == dict(jaxrnn.Hyper({"lr": 0.1}, hidden=3))
    assert repr(jaxrnn.Hyper(lr=0.1)) == "Hyper(lr=0.1)"


def test_other_numbers_are_no_seeds():
    with pytest.raises(ValueError, match=r"^seed\[0\]: expected an integer from 0"):
        jaxrnn.grid(seed=[0.5, 0.7])
    with pytest.raises(ValueError, match=r"^seed: expected an integer from 0"):
        sweep(jaxrnn.sweeps.random(3, lr=0.1, seed=jaxrnn.sweeps.choice([-1, -2])), steps=1)


def test_a_hyperparameter_that_the_losses_of_some_members_read_is_one():
    def build(hyper):
        def loss(ys, batch):
            return LOSS(ys, batch) * (hyper.scale if hyper.kind == "b" else 1.0)

        return jaxrnn.chain(jaxrnn.elman(D, H), jaxrnn.dense(H, O)), loss, optax.sgd(0.01)

    of = jaxrnn.task(build, DATA, batch_size=4)
    results = sweep(jaxrnn.grid(kind=["a", "b"], scale=[2.0]), of=of, steps=1)
    assert results.train["loss"][1, 0] == pytest.approx(2 * results.train["loss"][0, 0], rel=1e-5)


@pytest.mark.always
def test_a_picture_has_a_line_for_each_value_with_its_median():
    def train(hyper, key, data):
        return {"loss": (jnp.log(hyper.lr) + hyper.shift) ** 2}

    space = jaxrnn.grid(lr=[0.01, 0.1, 1.0], shift=[0.0, 1.0])
    results = jaxrnn.sweep(train, space, key=KEY, progress=False)
    lr, shift = (np.array([member[name] for member in results.members]) for name in ("lr", "shift"))
    (axes,) = jaxrnn.sweeps.plot_sweep(results, "lr", hue="shift").axes
    assert [line.get_label() for line in axes.lines] == ["shift = 0.0", "shift = 1.0"]
    for line, value in zip(axes.lines, (0.0, 1.0), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0.01, 0.1, 1.0])
        assert_close(line.get_ydata(), (np.log(lr[shift == value]) + value) ** 2, 1e-5)
    (axes,) = jaxrnn.sweeps.plot_sweep(results, "lr").axes
    (line,) = axes.lines
    medians = np.array([np.median(results.columns["score"][lr == x]) for x in (0.01, 0.1, 1.0)])
    assert_close(line.get_ydata(), medians, 1e-6)
    assert axes.get_xscale() == "log"
    results.columns["score"][(lr == 1.0) & (shift == 1.0)] = np.nan  # as of a member of the second line that diverged
    (axes,) = jaxrnn.sweeps.plot_sweep(results, "lr", hue="shift").axes
    assert [line.get_label() for line in axes.lines] == ["shift = 0.0", "shift = 1.0", "some diverged"]
    assert axes.lines[-1].get_xdata().tolist() == [1.0]
