"""Data whose values can't be right are named before the first step, or where a run ends because of them."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.losses import accuracy, cross_entropy, ctc_loss, mean_squared_error
from jaxrnn.training.run import Run
from jaxrnn.training.values import not_finite

MODEL = jaxrnn.chain(jaxrnn.embed(5, 4), jaxrnn.gru(4, 4), jaxrnn.dense(4, 3))
RNG = np.random.default_rng(0)
XS, TARGETS = RNG.integers(0, 5, (6, 8)), RNG.integers(0, 3, (6, 8))
WRONG = TARGETS.copy()
WRONG[4, 2] = 3
SHORT = np.where(np.arange(8) == 2, 4, 6)
MASK = np.ones((6, 8), bool)
MASK[4, 2] = False
OUT_OF_RANGE = (
    r'^data\["targets"\]: expected classes from 0 to 2, got values from 0 to 3; the model puts out 3 features,'
)


def fit(data, loss=cross_entropy, model=MODEL, **options):
    options = {"batch_size": 4} | options if isinstance(data, dict) else options
    return jaxrnn.fit(
        model, loss, optax.sgd(0.1), data, **{"steps": 2, "key": jax.random.key(0), "progress": False} | options
    )


def sweep(data, loss=cross_entropy, model=MODEL, validation=None, lr=(0.1,)):
    task = jaxrnn.task(lambda hyper: (model, loss, optax.sgd(hyper.lr)), data, batch_size=4, validation=validation)
    space = jaxrnn.grid(lr=list(lr))
    return jaxrnn.sweep(task, space, key=jax.random.key(0), steps=2, strategy="vmap", progress=False)


@pytest.fixture
def only_checks(monkeypatch):
    """`fit` returns before it compiles."""
    monkeypatch.setattr(Run, "train", lambda self, steps: None)


def within_another(ys, batch):
    return 2 * cross_entropy(ys, {**batch, "targets": batch["targets"] * 1})


@pytest.mark.parametrize("train", [fit, sweep])
@pytest.mark.parametrize("loss", [cross_entropy, within_another])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_a_target_that_is_no_class_is_found_before_the_first_step(train, loss, kind):
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        train({"xs": kind(XS), "targets": kind(WRONG)}, loss)


@pytest.mark.parametrize("more", [{"lengths": SHORT}, {"mask": MASK}, {"lengths": SHORT, "mask": MASK}])
def test_a_target_that_does_not_count_may_be_anything(more, only_checks):
    fit({"xs": XS, "targets": WRONG, **more})
    later = {name: np.full(8, 5) if name == "lengths" else np.roll(x, 1, axis=1) for name, x in more.items()}
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        fit({"xs": XS, "targets": WRONG, **later})


@pytest.mark.parametrize("train", [fit, sweep])
def test_the_validation_is_checked_too(train):
    with pytest.raises(ValueError, match=r'^validation\["targets"\]: expected classes from 0 to 2'):
        train({"xs": XS, "targets": TARGETS}, validation={"xs": XS, "targets": WRONG})
    with pytest.raises(ValueError, match=r"^validation\['xs'\]: expected symbols from 0 to 4, got values from 0 to 9"):
        train({"xs": XS, "targets": TARGETS}, validation={"xs": np.where(MASK, XS, 9), "targets": TARGETS})


def test_streams_and_batch_first_data_and_one_target_a_row_are_checked(only_checks):
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        fit({"xs": XS, "targets": WRONG}, stream=3, batch_size=None)
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        fit({"xs": XS.T, "targets": WRONG.T}, time_major=False)
    loss, last = (
        functools.partial(cross_entropy, at="last"),
        jaxrnn.chain(*MODEL.parts[:2], jaxrnn.last(), MODEL.parts[2]),
    )
    for model in (MODEL, last):
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            fit({"xs": XS, "targets": WRONG[4]}, loss, model)
        fit({"xs": XS, "targets": WRONG[4], "lengths": np.where(np.arange(8) == 2, 0, 6)}, loss, model)


def test_labels_that_do_not_fit_into_their_row_are_found_before_the_first_step():
    data = {"xs": XS, "targets": np.ones((4, 8), int), "targets_lengths": np.full(8, 4)}
    with pytest.raises(ValueError, match=r'^data\["targets"\]: expected a step for each label and one more between'):
        fit(data, ctc_loss)


def test_what_an_evaluation_finds_out_of_range_is_named():
    params = MODEL.init(jax.random.key(0))
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        jaxrnn.evaluate(MODEL, params, cross_entropy, {"xs": XS, "targets": jnp.asarray(WRONG)})


def test_batches_are_checked_where_a_run_ends_because_of_them():
    with pytest.warns(
        UserWarning, match=r'not finite at step 1,.*; bad_batch\["targets"\]: expected classes from 0 to 2'
    ):
        fit([{"xs": XS, "targets": WRONG}] * 2)


@pytest.mark.parametrize(
    ("name", "at", "where"),
    [
        ("xs", (4, 2, 0), "row 2 at step 4"),
        ("targets", (4, 2), "row 2 at step 4"),
    ],
)
def test_a_number_that_is_not_finite_is_named(name, at, where):
    model = jaxrnn.chain(jaxrnn.elman(2, 3), jaxrnn.dense(3, 1))
    data = {"xs": np.zeros((6, 8, 2), np.float32), "targets": np.zeros((6, 8), np.float32)}
    data[name][at] = np.inf
    options = {"loss": mean_squared_error, "model": model}
    assert not_finite("data", data) == f"data['{name}'] has a number that is not finite in {where}"
    assert not not_finite("data", data | {"lengths": np.where(np.arange(8) == at[1], at[0], 6)})  # past the row's end
    mask = np.ones((6, 8), bool)
    mask[at[:2]] = False  # "mask" is the loss's alone: the network reads what it leaves out
    assert bool(not_finite("data", data | {"mask": mask})) == (name == "xs")
    assert bool(not_finite("data", data | {"xs_mask": mask})) == (name == "targets")
    if name == "targets":
        return
    with pytest.warns(
        UserWarning, match=rf"not finite at step \d.*; data\['{name}'\] has a number that is .* in {where}"
    ):
        fit(data, **options, steps=4)
    with pytest.warns(UserWarning, match=rf"; bad_batch\['{name}'\] has a number that is not finite in {where}"):
        fit([data], **options, steps=1)
    with pytest.warns(
        UserWarning, match=rf"sweep: .* in all 2 members, the first at step \d; data\['{name}'\] has .* {where}"
    ):
        sweep(data, **options, lr=(0.1, 0.2))


def test_an_entry_that_nothing_reads_is_named(only_checks):
    data = {"xs": XS, "targets": TARGETS, "n_steps": SHORT}
    with pytest.warns(UserWarning, match=r"^data: nothing reads 'n_steps', neither the model nor the loss$"):
        fit(data)

    def all_of_it(ys, batch):
        return cross_entropy(ys, dict(batch.items()))

    def one_more(ys, batch):
        return accuracy(ys, batch) + batch["n_steps"].mean()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(data, all_of_it)
        fit(data, metrics={"more": one_more})
        for read in (
            lambda b: {**b},
            lambda b: b | {},
            lambda b: b.copy(),
            lambda b: dict(zip(b, b.values(), strict=True)),
        ):
            fit(data, lambda ys, batch, read=read: cross_entropy(ys, read(batch)))


@pytest.mark.parametrize("train", [fit, sweep])
def test_a_validation_says_which_steps_count_if_the_data_do(train):
    data = {"xs": XS, "targets": TARGETS}
    with pytest.raises(
        ValueError, match=r"^validation: expected the entry 'lengths' as in data, got a dict with \['targ"
    ):
        train(data | {"lengths": SHORT}, validation=data)


def test_the_better_end_of_a_measure_is_known_or_asked_for(only_checks):
    data = {"xs": XS, "targets": TARGETS}
    options = {
        "validation": data,
        "metrics": {"right": functools.partial(accuracy, time_major=True), "own": within_another},
    }
    history = fit(data, monitor="right", **options).history
    assert (history.monitor, history.mode) == ("right", "max")
    assert fit(data, monitor="right", mode="min", **options).history.mode == "min"
    assert fit(data, **options).history.mode == "min"
    with pytest.raises(ValueError, match=r'^mode: expected "min" or "max" with monitor=\'own\', got None$'):
        fit(data, monitor="own", **options)
