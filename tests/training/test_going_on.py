"""Going on from a state, choosing by any measure, and parameters in a file."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.training.setup import MODEL, D, assert_same, data_set, fit

SCHEDULED = optax.adam(optax.cosine_decay_schedule(0.05, 20))


def largest(ys, batch):
    return jnp.abs(ys - batch["targets"]).max()


@pytest.mark.parametrize("options", [{}, {"batch_size": None, "stream": 2}], ids=["rows", "streams"])
def test_a_run_in_two_parts_is_the_run_at_once(options):
    """Optimizer, schedule, order and the carry of streams go on."""
    whole = fit(steps=12, block=5, optimizer=SCHEDULED, **options)
    first = fit(steps=5, block=5, optimizer=SCHEDULED, **options)
    kept = jax.tree.map(np.asarray, first.state._replace(key=None))
    second = fit(steps=12, block=5, optimizer=SCHEDULED, state=first.state, key=None, **options)
    assert_same(second.state, whole.state)
    assert_same(second.history.train["loss"], whole.history.train["loss"][5:])
    assert (second.history.start, second.history.steps) == (5, 12)
    assert_same(jax.tree.map(np.asarray, first.state._replace(key=None)), kept)


def test_a_run_that_goes_on_from_a_state_can_be_resumed(tmp_path):
    state = fit(steps=5, block=5).state
    whole = fit(steps=14, block=3, state=state, key=None)
    fit(steps=9, block=3, state=state, key=None, run_dir=tmp_path)
    resumed = fit(steps=14, block=3, state=state, key=None, run_dir=tmp_path)
    assert_same(resumed.state, whole.state)
    assert_same(resumed.history.train, whole.history.train)
    assert resumed.history.start == 5


def test_an_iterable_goes_on_where_it_stands():
    batches = [{name: x[:, i : i + 2] for name, x in data_set().items()} for i in range(8)]
    whole = fit(batches, steps=8, block=3)
    rest = iter(batches)
    first = fit(rest, steps=3, block=3)
    assert_same(fit(rest, steps=8, block=3, state=first.state, key=None).state, whole.state)
    with pytest.raises(ValueError, match=r"^data: expected at least one batch, got an iterable without any"):
        fit(rest, steps=9, state=whole.state, key=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "^key: expected None with a state"),
        ({"key": None, "params": {}}, "^params: expected None with a state"),
        ({"key": None, "optimizer": optax.sgd(0.1)}, r"^state\.opt_state"),
        ({"key": None, "stream": 2, "batch_size": None}, r"^state\.carry: expected the carry of a run on streams"),
        ({"key": None, "model": jaxrnn.chain(jaxrnn.elman(D, 5), jaxrnn.dense(5, 2))}, r"^state|^params"),
        ({"key": None, "steps": 3}, "^steps: expected more in all than the 5 that the state has taken, got 3"),
    ],
    ids=["key", "params", "optimizer", "stream", "model", "steps"],
)
def test_a_state_of_another_run_is_refused(options, message):
    state = fit(steps=5).state
    with pytest.raises((ValueError, TypeError), match=message):
        fit(**{"steps": 9, "state": state} | options)


def test_results_share_no_buffer_with_the_state():
    result = fit(steps=3)
    pointers = [
        {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)} for tree in (result.params, result.state.params)
    ]
    assert not pointers[0] & pointers[1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_parameters_are_those_of_the_measure_that_is_asked_for(mode):
    other = data_set(1)
    other["targets"] = 0.3 * other["targets"]
    options = {"metrics": {"largest": largest}, "validation": other, "block": 2}
    result = fit(steps=24, monitor="largest", mode=mode, **options)
    values = result.history.validation["largest"]
    best = int({"min": np.argmin, "max": np.argmax}[mode](values))
    assert result.best_step == 2 * (best + 1)
    assert_same(result.params, fit(steps=result.best_step, **options).state.params)
    assert f"validation largest {values[best]:.4g}" in repr(result)
    stopped = fit(steps=24, monitor="largest", mode=mode, patience=2, **options)
    behind = [i - int({"min": np.argmin, "max": np.argmax}[mode](values[: i + 1])) for i in range(len(values))]
    assert len(stopped.history.validation["largest"]) == (behind.index(2) + 1 if 2 in behind else len(values))


def sometimes_nan(when):
    """A loss that is NaN in validation, whose rows are 3, while a weight says so; that of training is finite."""

    def loss(ys, batch):
        value = jaxrnn.losses.mean_squared_error(ys, batch)
        return jnp.where(when(value) & (batch["xs"].shape[1] == 3), jnp.nan, value)

    return loss


def test_one_validation_that_is_nan_is_not_the_best_and_does_not_end_a_run():
    held_out = data_set(1, rows=3)
    finite = fit(steps=12, block=2, validation=held_out).history.validation["loss"]
    bad = float(np.sort(finite)[-2])
    loss = sometimes_nan(lambda v: v > (bad + finite.max()) / 2)
    with pytest.warns(UserWarning, match="fit: a validation was not finite"):
        result = fit(steps=12, block=2, validation=held_out, patience=2, loss=loss)
    assert np.isnan(result.history.validation["loss"]).sum() == 1
    assert result.history.stopped == "steps"
    assert result.best_step == 2 * (int(np.nanargmin(finite)) + 1)


def test_if_no_validation_is_finite_the_last_parameters_come_with_a_warning():
    loss = sometimes_nan(lambda v: v == v)
    with pytest.warns(UserWarning, match="no validation had a finite loss"):
        result = fit(steps=6, block=2, validation=data_set(1, rows=3), loss=loss)
    assert result.best_step == 6
    assert_same(result.params, result.state.params)
    with pytest.warns(UserWarning, match="no validation had a finite loss"):
        stopped = fit(steps=12, block=2, validation=data_set(1, rows=3), loss=loss, patience=3)
    assert (stopped.history.stopped, stopped.history.steps) == ("steps", 12)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_loss_of_any_type_is_validated_block_after_block(dtype, x64):
    def loss(ys, batch):
        return jaxrnn.losses.mean_squared_error(ys, batch).astype(dtype)

    with jax.enable_x64(x64):
        result = fit(steps=6, block=2, validation=data_set(1), loss=loss)
    assert len(result.history.validation["loss"]) == 3


def test_parameters_come_back_from_a_file_and_from_a_run_without_its_data(tmp_path):
    model = jaxrnn.chain(MODEL, jaxrnn.dropout(0.1))
    result = fit(steps=9, block=3, validation=data_set(1), run_dir=tmp_path / "run", model=model)
    jaxrnn.save(tmp_path / "p.safetensors", result.params)
    for path in (tmp_path / "p.safetensors", tmp_path / "run"):
        assert_same(jaxrnn.load(path), result.params)
    fit(steps=6, run_dir=tmp_path / "plain")
    assert_same(jaxrnn.load(tmp_path / "plain"), fit(steps=6).params)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, bool])
def test_every_type_is_saved_as_it_is(dtype, tmp_path):
    params = {"a": {"b": jnp.asarray([[0, 1], [1, 1]], dtype)}, "empty": {}, "none": jnp.zeros((0, 2), dtype)}
    jaxrnn.save(tmp_path / "x.safetensors", params)
    found = jaxrnn.load(tmp_path / "x.safetensors")
    assert_same(found, params)
    assert found["a"]["b"].dtype == dtype


def test_what_can_not_be_saved_or_loaded_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"^path: expected a file that ends in \.safetensors"):
        jaxrnn.save(tmp_path / "x.npz", {})
    with pytest.raises(TypeError, match=r"^params: expected a dict"):
        jaxrnn.save(tmp_path / "x.safetensors", [1.0])
    with pytest.raises(ValueError, match=r"^params: expected names that are strings without a slash"):
        jaxrnn.save(tmp_path / "x.safetensors", {"a/b": 1.0})
    with pytest.raises(FileNotFoundError, match=r"^path: expected a file or a run_dir"):
        jaxrnn.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match=r"^path: expected the run_dir"):
        jaxrnn.load(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"^path: expected a safetensors file"):
        jaxrnn.load(tmp_path / "bad.safetensors")
    with jax.enable_x64(True):
        jaxrnn.save(tmp_path / "wide.safetensors", {"w": jnp.ones(2, jnp.float64)})
    with pytest.raises(ValueError, match=r"^path\['w'\]: expected 32 bits"):
        jaxrnn.load(tmp_path / "wide.safetensors")


def test_steps_are_those_of_the_whole_run():
    state = fit(steps=4).state
    for steps in (3, 4):
        with pytest.raises(
            ValueError, match=rf"^steps: expected more in all than the 4 that the state has taken, got {steps}"
        ):
            fit(steps=steps, state=state, key=None)


@pytest.mark.parametrize(
    "change", [{"time_major": False}, {"metrics": {"largest": largest}}, {"eval_params": lambda o, p: p}]
)
def test_a_run_with_other_arguments_is_refused(change, tmp_path):
    xs = np.random.default_rng(0).normal(size=(4, 4, D)).astype("f")
    data = {"xs": xs, "targets": xs.copy()}
    fit(data, steps=2, run_dir=tmp_path, time_major=True)
    with pytest.raises(ValueError, match=r"^run_dir: expected a run with"):
        fit(data, steps=4, run_dir=tmp_path, **{"time_major": True} | change)
