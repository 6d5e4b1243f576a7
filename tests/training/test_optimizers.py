"""Optimizers that read more than the gradient, wrappers, and parameters of evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import KEY, MODEL, N, assert_same, data_set, fit


def loss_of(params):
    data = data_set()
    return jaxrnn.losses.mean_squared_error(MODEL.apply(params, data["xs"])[1], data)


def by_hand(optimizer, steps):
    """Full-batch steps, each handed what optax's own examples hand to the optimizer."""
    params = jaxrnn.training.train_state(MODEL, optimizer, key=KEY).params
    state = optimizer.init(params)
    for _ in range(steps):
        value, grad = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=loss_of)
        params = optax.apply_updates(params, updates)
    return params


OPTIMIZERS = {
    "lbfgs": optax.lbfgs(),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
    "plateau": optax.chain(optax.adam(0.05), optax.contrib.reduce_on_plateau(patience=1, rtol=0.5)),
    "polyak": optax.polyak_sgd(0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_handed_what_they_ask_for(name):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        optimizer = OPTIMIZERS[name]
        result = fit(optimizer=optimizer, steps=4, batch_size=N)
        want = by_hand(optimizer, 4)
    assert_close(result.params, want, 1e-3)
    start = fit(optimizer=optax.sgd(0.0), steps=1, batch_size=N).params
    assert loss_of(result.params) < loss_of(start)


def test_multi_steps_accumulates_gradients():
    result = fit(optimizer=optax.MultiSteps(optax.sgd(0.1), 2), steps=4, batch_size=N)
    assert_close(result.params, fit(optimizer=optax.sgd(0.1), steps=2, batch_size=N).params, 1e-5)


def test_evaluation_uses_the_parameters_that_it_is_told_to():
    """A moving average, and schedule-free: validation and the result are of those."""
    average = optax.ema(0.5, accumulator_dtype=jnp.float32)
    del average
    schedule_free = optax.contrib.schedule_free_adamw(0.05)
    evaluated = optax.contrib.schedule_free_eval_params
    with jax.numpy_dtype_promotion("standard"):
        result = fit(optimizer=schedule_free, steps=6, block=3, validation=data_set(1), eval_params=evaluated)
        want = evaluated(result.state.opt_state, result.state.params)
        last = jaxrnn.evaluate(MODEL, want, jaxrnn.losses.mean_squared_error, data_set(1))["loss"]
        assert result.best_step == 6
        assert_close(result.params, want, 1e-5)
        assert result.history.validation["loss"][-1] == pytest.approx(last, rel=1e-5)
        plain = fit(optimizer=schedule_free, steps=6, eval_params=evaluated)
        assert_close(plain.params, evaluated(plain.state.opt_state, plain.state.params), 1e-6)
        assert np.abs(plain.params["1"]["w"] - plain.state.params["1"]["w"]).max() > 1e-4


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"^optimizer: expected a GradientTransformation, got"):
        fit(optimizer=optax.adam, steps=1)


def test_the_state_of_a_step_function_is_that_of_fit():
    """`make_train_step` hands it over, too."""
    step = jax.jit(jaxrnn.training.make_train_step(MODEL, jaxrnn.losses.mean_squared_error, OPTIMIZERS["polyak"]))
    state = jaxrnn.training.train_state(MODEL, OPTIMIZERS["polyak"], key=KEY)
    for _ in range(3):
        state, _ = step(state, data_set())
    assert_close(state.params, by_hand(OPTIMIZERS["polyak"], 3), 1e-4)
    assert_same(state.step, jnp.asarray(3, jnp.int32))


def half(opt_state, params):
    """A stand-in for an average of the parameters, in another type."""
    del opt_state
    return jax.tree.map(lambda x: 0.5 * jnp.asarray(x, jnp.float16), params)


def test_statistics_of_normalisation_are_those_of_the_parameters_that_evaluation_uses():
    model = jaxrnn.chain(jaxrnn.gru(2, 3), jaxrnn.batch_norm(3), jaxrnn.dense(3, 2))
    result = fit(model=model, steps=4, block=2, validation=data_set(1), eval_params=half)
    want = half(None, result.state.params) | {"1": result.params["1"]}
    want = jax.tree.map(lambda x: x.astype(jnp.float32), want)
    assert_close(
        result.params["1"]["statistics"], jaxrnn.training.calibrate(model, want, data_set())["1"]["statistics"], 1e-3
    )
    last = jaxrnn.evaluate(model, result.params, jaxrnn.losses.mean_squared_error, data_set(1))["loss"]
    assert result.history.validation["loss"][result.best_step // 2 - 1] == pytest.approx(last, rel=1e-3)
    assert result.params["0"]["0"]["w_h"].dtype == jnp.float32


def test_a_run_and_a_sweep_leave_the_parameters_that_evaluation_uses(tmp_path):
    found = fit(steps=4, eval_params=half, run_dir=tmp_path).params
    assert_same(jaxrnn.load(tmp_path), found)
    of = jaxrnn.task(
        lambda h: (MODEL, jaxrnn.losses.mean_squared_error, optax.sgd(h.lr)), data_set(), batch_size=4, eval_params=half
    )
    results = jaxrnn.sweep(of, jaxrnn.grid(lr=[0.1]), key=KEY, steps=4, strategy="vmap", progress=False)
    alone = fit(steps=4, eval_params=half, optimizer=optax.sgd(0.1), key=results.key(0))
    assert_close(results.params(0), alone.params, 1e-5)


def test_a_function_that_gives_no_parameters_is_named():
    with pytest.raises(TypeError, match=r"^eval_params: expected a function of \(opt_state, params\)"):
        fit(steps=1, eval_params=lambda params: params)
    with pytest.raises(ValueError, match=r"^eval_params: expected a dict with the entries"):
        fit(steps=1, validation=data_set(1), eval_params=lambda opt_state, params: {})
