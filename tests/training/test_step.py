"""One step of training against optax by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import KEY, MODEL, NOISY, OPTIMIZER, batch_of, data_set


def batches(count):
    return [batch_of(data_set(), np.arange(i, i + 4)) for i in range(count)]


def test_five_steps_equal_optax_by_hand():
    step = jax.jit(jaxrnn.training.make_train_step(MODEL, jaxrnn.losses.mean_squared_error, OPTIMIZER))
    state = jaxrnn.training.train_state(MODEL, OPTIMIZER, key=KEY)
    params, norms, losses = state.params, [], []
    opt_state = OPTIMIZER.init(params)

    @jax.jit
    def by_hand(params, opt_state, batch):
        def loss(params):
            ys = MODEL.apply(params, batch["xs"], gradient=jaxrnn.autodiff())[1]
            return jnp.mean(jnp.square(ys - batch["targets"]))

        value, grads = jax.value_and_grad(loss)(params)
        squares = [jnp.sum(g**2) for g in jax.tree.leaves(grads)]
        updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value, jnp.sqrt(sum(squares))

    for batch in batches(5):
        state, values = step(state, batch)
        params, opt_state, value, norm = by_hand(params, opt_state, batch)
        assert_close((values["loss"], values["gradient_norm"]), (value, norm), 1e-6)
        norms.append(float(norm))
        losses.append(float(value))
    assert_close(state.params, params, 1e-6)
    assert_close(jax.tree.leaves(state.opt_state), jax.tree.leaves(opt_state), 1e-6)
    assert int(state.step) == 5
    assert max(norms) > 0.5  # so that clipping did something, and the reported norm is not the clipped one
    assert losses[-1] < losses[0]


def test_metrics_are_measured_beside_the_loss():
    def largest(ys, batch):
        return jnp.abs(ys - batch["targets"]).max()

    step = jax.jit(
        jaxrnn.training.make_train_step(
            MODEL, jaxrnn.losses.mean_squared_error, OPTIMIZER, metrics={"largest": largest}
        )
    )
    state, (batch,) = jaxrnn.training.train_state(MODEL, OPTIMIZER, key=KEY), batches(1)
    ys = MODEL.apply(state.params, batch["xs"])[1]
    _, values = step(state, batch)
    assert set(values) == {"loss", "largest", "gradient_norm"}
    assert_close(values["largest"], np.abs(ys - batch["targets"]).max(), 1e-6)


def test_a_donated_state_is_updated_in_place_and_the_users_parameters_stay():
    params = MODEL.init(jax.random.key(1))
    before = jax.tree.map(np.array, params)
    step = jaxrnn.training.make_train_step(MODEL, jaxrnn.losses.mean_squared_error, OPTIMIZER)
    donating, plain = jax.jit(step, donate_argnums=0), jax.jit(step)
    first = jaxrnn.training.train_state(MODEL, OPTIMIZER, key=KEY, params=params)
    state, kept = first, jaxrnn.training.train_state(MODEL, OPTIMIZER, key=KEY, params=params)
    for batch in batches(3):
        state, _ = donating(state, batch)
        kept, _ = plain(kept, batch)
    assert_close(state.params, kept.params, 0.0)
    assert all(x.is_deleted() for x in jax.tree.leaves(first.params))
    assert_close(params, before, 0.0)
    assert not KEY.is_deleted()


def test_no_two_arrays_of_a_state_share_a_buffer():
    """Donating one twice is an error. Adam's moments both begin as zeros."""
    state = jaxrnn.training.train_state(MODEL, optax.adam(0.1), key=KEY, params=MODEL.init(KEY))
    pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state._replace(key=jnp.zeros(())))]
    assert len(set(pointers)) == len(pointers)


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run():
    step = jax.jit(jaxrnn.training.make_train_step(NOISY, jaxrnn.losses.mean_squared_error, optax.sgd(0.0)))
    state, (batch,) = jaxrnn.training.train_state(NOISY, optax.sgd(0.0), key=KEY), batches(1)
    losses = []
    for _ in range(3):
        state, values = step(state, batch)
        losses.append(float(values["loss"]))
    assert len(set(losses)) == 3
    again = jaxrnn.training.train_state(NOISY, optax.sgd(0.0), key=KEY)
    assert float(step(again, batch)[1]["loss"]) == losses[0]
    other = jaxrnn.training.train_state(NOISY, optax.sgd(0.0), key=jax.random.key(12), params=state.params)
    assert float(step(other, batch)[1]["loss"]) not in losses


def test_the_key_decides_the_parameters():
    a, b, c = (jaxrnn.training.train_state(MODEL, OPTIMIZER, key=jax.random.key(i)).params for i in (1, 1, 2))
    assert_close(a, b, 0.0)
    assert np.abs(a["1"]["w"] - c["1"]["w"]).max() > 0.01


def test_lengths_and_resets_of_a_batch_reach_the_model():
    step = jax.jit(jaxrnn.training.make_train_step(MODEL, jaxrnn.losses.mean_squared_error, optax.sgd(0.0)))
    state, (batch,) = jaxrnn.training.train_state(MODEL, optax.sgd(0.0), key=KEY), batches(1)
    lengths, resets = np.array([4, 2, 1, 3], np.int32), np.zeros((4, 4), bool)
    resets[2, 0] = True
    for options in ({"lengths": lengths}, {"resets": resets}, {"lengths": lengths, "resets": resets}):
        ys = MODEL.apply(state.params, batch["xs"], **options)[1]
        want = jaxrnn.losses.mean_squared_error(ys, batch | options)
        got = step(state, batch | options)[1]["loss"]
        assert_close(got, want, 1e-6)
        assert abs(float(got - step(state, batch)[1]["loss"])) > 1e-4
