"""Runs whose loss or gradient stops being finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.training.block import Guard, OnNonfinite
from tests.training.setup import KEY, MODEL, NOISY, OPTIMIZER, assert_same, batch_of, data_set, fit, rows_of_run

LEFT_OUT = r"^fit: \d+ steps? (was|were) left out"


def test_a_nan_in_the_data_ends_the_run_and_says_where():
    """The second step of the second block. The best parameters are those before."""
    data = data_set()
    batches = [batch_of(data, np.arange(i, i + 3)) for i in range(7)]
    batches[4]["targets"] = np.full_like(batches[4]["targets"], np.nan)
    with pytest.warns(UserWarning, match="fit: loss and gradient of 0/0/b was not finite at step 5"):
        result = fit(iter(batches), steps=7, block=3, validation=data)
    history = result.history
    assert history.stopped == "diverged"
    assert history.first_bad_step == 5
    assert history.steps == 5
    np.testing.assert_array_equal(np.isfinite(history.train["loss"]), [1, 1, 1, 1, 0])
    assert result.best_step == 3
    assert_same(result.params, fit(iter(batches), steps=3, block=3).params)


@pytest.mark.filterwarnings("ignore:data. nothing reads 'targets'")
def test_an_infinite_gradient_under_a_finite_loss_is_divergence_too():
    def loss(ys, batch):
        return jnp.sqrt(jnp.sum(jnp.square(ys * 0.0)))

    with pytest.warns(UserWarning, match="not finite at step 1"):
        history = fit(loss=loss, steps=4, block=2).history
    assert np.isfinite(history.train["loss"][0])
    assert history.first_bad_step == 1


def test_a_huge_learning_rate_diverges_and_leaves_finite_best_parameters():
    def loss(ys, batch):
        return jaxrnn.losses.mean_squared_error(ys**3, batch)

    with pytest.warns(UserWarning, match=r"fit: .* was not finite at step \d+, which was left out"):
        result = fit(loss=loss, steps=60, block=4, optimizer=optax.sgd(10.0), validation=data_set())
    assert result.history.stopped == "diverged"
    assert result.history.steps < 60
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.state.params))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.params))


def poisoned():
    """A target of row 5 is NaN."""
    data = data_set()
    data["targets"][2, 5] = np.nan
    return data


def test_the_step_that_was_left_out_is_one_call_away():
    with pytest.warns(UserWarning, match=r"fit: loss and gradient of 0/0/b was not finite at step \d+, .*bad_batch"):
        result = fit(poisoned(), steps=30, block=4)
    step = result.history.first_bad_step
    rows = rows_of_run(step, 4)[-1]
    assert 5 in rows
    assert_same(result.bad_batch, batch_of(poisoned(), rows))
    assert_same(result.state.params, fit(steps=step - 1).state.params if step > 1 else None)
    report = jaxrnn.gradient_report(MODEL, result.state.params, result.bad_batch, jaxrnn.losses.mean_squared_error)
    assert "not finite" in str(report)


@pytest.mark.parametrize("stream", [None, 1])
def test_a_report_with_the_key_and_carry_of_a_step_has_its_dropout_and_its_loss(stream):
    options = {"model": NOISY, "block": 1} | ({"stream": stream, "batch_size": None} if stream else {})
    state, whole = fit(steps=2, **options).state, fit(steps=3, **options)
    rows = rows_of_run(3, 4, model=NOISY)[-1]
    batch = {k: x[2:3] for k, x in data_set().items()} if stream else batch_of(data_set(), rows)
    loss = jaxrnn.losses.mean_squared_error
    report = jaxrnn.gradient_report(NOISY, state.params, batch, loss, key=state.step_key, carry=state.carry)
    np.testing.assert_allclose(report.loss, whole.history.train["loss"][2], rtol=1e-5)
    plain = jaxrnn.gradient_report(NOISY, state.params, batch, loss)
    assert abs(plain.loss / report.loss - 1.0) > 1e-3


def test_skip_leaves_such_steps_out_and_takes_the_others():
    message = r"^fit: \d+ steps were left out \(on_nonfinite='skip'\); the first is step \d+: loss"
    with pytest.warns(UserWarning, match=message) as said:
        result = fit(poisoned(), steps=30, block=4, on_nonfinite="skip")
    rows = rows_of_run(30, 4)
    bad = [i + 1 for i, r in enumerate(rows) if 5 in r]
    assert [*result.history.nonfinite] == bad
    assert str(said[0].message).startswith(f"fit: {len(bad)} steps")
    assert result.history.stopped == "steps"
    batches = [batch_of(data_set(), r) for i, r in enumerate(rows) if i + 1 not in bad]
    assert_same(result.state.params, fit(batches, steps=len(batches), block=4).state.params)


@pytest.mark.parametrize(("kind", "ends_at"), [("skip", 5), ("restart", 3)])
def test_as_many_bad_steps_as_the_limit_are_allowed(kind, ends_at):
    """In a row, or all in all."""
    what, finite = OnNonfinite(kind, 2), [False, False, True, False, False, False]
    guard = Guard(jnp.zeros((), jnp.int32), jnp.ones(()))
    ends = []
    for each in finite:
        guard, end = guard.after(jnp.asarray(each), what)
        ends.append(bool(end))
    assert ends.index(True) == ends_at
    assert guard.scale == 0.5 ** finite.count(False)


def test_skip_ends_after_its_limit_in_a_row():
    batches = [batch_of(poisoned() if 3 <= i < 8 else data_set(), np.arange(4, 7)) for i in range(20)]
    with pytest.warns(UserWarning, match="at step 7"):
        ended = fit(batches, steps=20, block=5, on_nonfinite="skip", nonfinite_limit=3)
    assert [*ended.history.nonfinite] == [4, 5, 6, 7]
    with pytest.warns(UserWarning, match="5 steps were left out"):
        assert fit(batches, steps=20, block=5, on_nonfinite="skip", nonfinite_limit=5).history.stopped == "steps"


def test_restart_goes_back_to_the_last_whole_block_with_half_the_update(tmp_path):
    """Steps 5 to 8 are a block; the sixth is bad: the seventh starts from step 4, with half the learning rate."""
    batches = [batch_of(data_set(), np.arange(i % 7, i % 7 + 3)) for i in range(8)]
    bad = [poisoned() if i == 5 else batch for i, batch in enumerate(batches)]
    bad[5] = batch_of(bad[5], np.arange(4, 7))
    options = {"block": 4, "optimizer": optax.sgd(0.1)}
    with pytest.warns(UserWarning, match=LEFT_OUT):
        result = fit(bad, steps=8, on_nonfinite="restart", **options)
    four = fit(batches, steps=4, **options).params
    rest = fit(batches[6:], steps=2, params=four, block=4, optimizer=optax.sgd(0.05))
    assert_same(result.state.params, rest.state.params)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        fit(bad, steps=6, on_nonfinite="restart", run_dir=tmp_path, **options)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        resumed = fit(bad, steps=8, on_nonfinite="restart", run_dir=tmp_path, **options)
    assert_same(resumed.state, result.state)
    with pytest.warns(UserWarning, match="was not finite at step 5"):
        ended = fit([bad[5]] * 8, steps=8, on_nonfinite="restart", nonfinite_limit=4, **options)
    assert ended.history.steps == 5


@pytest.mark.parametrize("policy", ["skip", "restart"])
def test_a_run_that_diverged_goes_on_under_another_policy(policy, tmp_path):
    with pytest.warns(UserWarning, match="was not finite"):
        ended = fit(poisoned(), steps=30, block=4, run_dir=tmp_path)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        gone_on = fit(poisoned(), steps=30, block=4, run_dir=tmp_path, on_nonfinite=policy, nonfinite_limit=30)
    assert gone_on.history.steps == 30 > ended.history.steps
    assert gone_on.history.first_bad_step == ended.history.first_bad_step


def test_a_callback_does_not_hide_that_a_run_diverged():
    seen = []

    def callback(end):
        seen.append((end.step, end.train["loss"]))
        return not np.isfinite(end.train["loss"]).all()

    batches = [poisoned() if i == 5 else data_set() for i in range(8)]
    with pytest.warns(UserWarning, match="was not finite at step 6"):
        result = fit(batches, steps=8, block=4, callback=callback)
    assert result.history.stopped == "diverged"
    assert [(step, len(losses)) for step, losses in seen] == [(4, 4), (6, 2)]


def test_parameters_that_overflow_are_named():
    with pytest.warns(UserWarning, match=r"fit: parameter .* was not finite at step 1, "):
        result = fit(steps=4, block=2, optimizer=optax.scale(jnp.float32(3e38)))
    assert_same(result.params, jaxrnn.training.train_state(MODEL, OPTIMIZER, key=KEY).params)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (data_set() | {"lengths": np.zeros(10, int)}, r"^data\['lengths'\]: expected a step that counts"),
        (data_set() | {"mask": np.zeros((4, 10), bool)}, r"^data\['mask'\]: expected a step that counts"),
        *(
            (
                data_set() | {"lengths": np.full(10, 2), mask: np.arange(4)[:, None] >= np.full(10, 2)},
                rf"^data\['{mask}'\]: expected a step within 'lengths' that counts, got bool.* that is True only",
            )
            for mask in ("mask", "xs_mask")
        ),
        ([data_set() | {"xs_mask": np.zeros((4, 10), bool)}], r"^data: batches\['xs_mask'\]: expected a step that"),
        (iter([]), "^data: expected at least one batch"),
    ],
)
def test_runs_in_which_nothing_counts_are_errors(data, match):
    with pytest.raises(ValueError, match=match):
        fit(data, steps=4)


@pytest.mark.filterwarnings("ignore:data. nothing reads")
@pytest.mark.parametrize("K", [3, 10])
def test_a_mask_of_values_of_each_row_has_nothing_to_do_with_lengths(K):
    data = {"xs": data_set()["xs"], "lengths": np.full(10, 1), "mask": np.zeros((10, K), bool)}
    data["mask"][-1] = True
    fit(data, steps=2, loss=lambda ys, batch: jnp.mean(ys), per_row=("mask",))


@pytest.mark.parametrize("options", [{"dtype": jnp.float16}, {"param_dtype": jnp.float16}])
def test_float16_is_refused_with_what_to_take_instead(options):
    model = jaxrnn.chain(jaxrnn.lstm(2, 3, **options), jaxrnn.dense(3, 2))
    with pytest.raises(TypeError, match=r"^model: expected float32 or bfloat16.*got float16.*dtype=jnp\.bfloat16"):
        fit(model=model, steps=2)


@pytest.mark.parametrize("validation", [None, data_set()], ids=["without", "validated"])
def test_a_healthy_run_holds_no_nan(validation):
    """Nor in the places of steps that a block does not take."""
    options = {"steps": 6, "block": 4, "validation": validation}
    with jax.debug_nans(True):
        result = fit(**options)
    assert_same(result.params, fit(**options).params)
