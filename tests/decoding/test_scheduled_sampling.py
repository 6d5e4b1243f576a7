"""Training on a mixture of the truth and the model's own outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models.oracles import LENGTHS, B, D, H, O, T, drawn, sequence, with_nan

KEY = jax.random.key(3)
SAME = jaxrnn.chain(jaxrnn.stack([jaxrnn.lstm(D, H), jaxrnn.gru(H, H)]), jaxrnn.dense(H, D))
OTHER = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, O))  # D = O + 1


def beside_the_known(y, x):
    """The output in place of the first O features of the truth."""
    return jnp.concatenate([y, x[..., O:]], axis=-1)


def coins(key, rate, shape):
    """Which inputs are the model's own, as the wrapper draws them."""
    own = np.array(jax.random.bernoulli(jax.random.split(key)[0], rate, shape))
    own[0] = False
    return own


def by_hand(model, params, xs, own, feedback=lambda y, x: y, carry=None, resets=None):
    """A plain loop over `model.apply`."""
    apply, found, y = jax.jit(model.apply), [], None
    for t, x in enumerate(xs):
        fresh = np.zeros_like(own[t]) if resets is None else resets[t]
        x = x if y is None else np.where((own[t] & ~fresh)[..., None], feedback(y, x), x)
        options = {} if resets is None else {"resets": resets[t][None]}
        carry, ys = apply(params, x[None], carry=carry, **options)
        y = np.asarray(ys)[0]
        found.append(y)
    return carry, np.stack(found)


def jitted(model):
    return jax.jit(lambda params, xs, key=KEY, **options: model.apply(params, xs, key=key, **options))


@pytest.mark.parametrize("batch", [(), (B,), (2, 3)], ids=str)
def test_a_rate_for_each_step_is_that_of_all_rows(batch):
    model = jaxrnn.decoding.scheduled_sampling(SAME, np.linspace(0.0, 1.0, T, dtype=np.float32))
    params, xs = jax.eval_shape(model.init, KEY), jax.ShapeDtypeStruct((T, *batch, D), np.float32)
    assert jax.eval_shape(jitted(model), params, xs)[1].shape == xs.shape


@pytest.mark.parametrize("batch", [(), (B,), (2, 3)], ids=str)
def test_it_is_the_plain_loop_over_the_same_coins(batch, x64):
    params, xs = drawn(SAME), sequence(T, *batch, D)
    own = coins(KEY, 0.5, (T, *batch))
    assert own.any()
    assert not own[1:].all()
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, 0.5))(params, xs)
    assert_close(got, by_hand(SAME, params, xs, own), 1e-12)


def test_what_is_known_stays(x64):
    params, xs = drawn(OTHER), sequence(T, B, D)
    got = jitted(jaxrnn.decoding.scheduled_sampling(OTHER, 0.5, feedback=beside_the_known))(params, xs)
    assert_close(got, by_hand(OTHER, params, xs, coins(KEY, 0.5, (T, B)), beside_the_known), 1e-12)


def test_without_a_key_or_at_rate_0_it_is_the_model(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    want = jax.jit(SAME.apply)(params, xs)
    assert_close(jitted(jaxrnn.decoding.scheduled_sampling(SAME, 1.0))(params, xs, None), want, 1e-12)
    assert_close(jitted(jaxrnn.decoding.scheduled_sampling(SAME, 0.0))(params, xs), want, 1e-12)


def test_at_rate_1_it_is_the_rollout_from_the_first_input(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, 1.0))(params, xs)
    assert_close(got, jax.jit(lambda p, xs: jaxrnn.decoding.rollout(SAME, p, xs, T))(params, xs[:1]), 1e-12)
    other = xs.copy()
    other[1:] += 1.0
    np.testing.assert_array_equal(jitted(jaxrnn.decoding.scheduled_sampling(SAME, 1.0))(params, other)[1], got[1])


def test_with_a_rate_for_each_step_it_reads_the_truth_first_and_then_goes_on_by_itself(x64):
    params, xs, C = drawn(SAME), sequence(T, B, D), 3
    _, ys = jitted(jaxrnn.decoding.scheduled_sampling(SAME, (np.arange(T) >= C).astype(np.float32)))(params, xs)
    _, read = SAME.apply(params, xs[:C])
    _, own = jax.jit(lambda p, xs: jaxrnn.decoding.rollout(SAME, p, xs, T - C + 1))(params, xs[:C])
    assert_close(ys, jnp.concatenate([read, own[1:]]), 1e-12)
    rates = np.array([0.5, 0.9, 0.0, 1.0, 0.5])
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, rates))(params, xs)
    assert_close(got, by_hand(SAME, params, xs, coins(KEY, rates[:, None], (T, B))), 1e-12)


def test_padding_reaches_nothing_and_the_carry_is_held(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    model = jaxrnn.decoding.scheduled_sampling(SAME, 0.5)
    (carry, ys), own = jitted(model)(params, with_nan(xs), lengths=LENGTHS), coins(KEY, 0.5, (T, B))
    plain = jax.jit(SAME.apply)(params, xs, lengths=LENGTHS)[1]
    for b, n in enumerate(LENGTHS):
        if n:
            want = by_hand(SAME, params, xs[:n, b], own[:n, b])
            assert_close((jax.tree.map(lambda c, b=b: c[b], carry), ys[:n, b]), want, 1e-12)
        np.testing.assert_allclose(ys[n:, b], plain[n:, b], rtol=1e-12)  # the bias of the last layer
    grad = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, with_nan(xs), key=KEY, lengths=LENGTHS)[1] ** 2)))(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grad))


def test_an_episode_starts_from_the_truth(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    resets = np.zeros((T, B), bool)
    resets[2] = resets[3, 1] = True
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, 1.0))(params, xs, resets=resets)
    assert_close(got, by_hand(SAME, params, xs, coins(KEY, 1.0, (T, B)), resets=resets), 1e-12)


def test_from_a_carry(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    carry, _ = SAME.apply(params, sequence(3, B, D, seed=5))
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, 0.5))(params, xs, carry=carry)
    assert_close(got, by_hand(SAME, params, xs, coins(KEY, 0.5, (T, B)), carry=carry), 1e-12)


def test_its_gradient_agrees_with_finite_differences(x64):
    """Of parameters and inputs, through the outputs that were read."""
    params, xs = jax.tree.map(jnp.asarray, drawn(SAME)), jnp.asarray(sequence(T, B, D))
    model = jaxrnn.decoding.scheduled_sampling(SAME, 0.5)
    loss = jax.jit(lambda args: jnp.sum(jnp.sin(model.apply(*args, key=KEY)[1])))
    grad = jax.jit(jax.grad(loss))((params, xs))
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), (params, xs))
    ahead, behind = (jax.tree.map(lambda x, d, s=s: x + s * d, (params, xs), direction) for s in (1e-6, -1e-6))
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grad, direction)))
    np.testing.assert_allclose(slope, (loss(ahead) - loss(behind)) / 2e-6, rtol=1e-6)


def test_no_gradient_goes_back_through_what_feedback_stops(x64):
    """At rate 1 the first input then reaches the first output only."""
    params, xs = drawn(OTHER), jnp.asarray(sequence(T, B, D))
    for stop, reaches in ((True, False), (False, True)):

        def feedback(y, x, stop=stop):
            return beside_the_known(jax.lax.stop_gradient(y) if stop else y, x)

        model = jaxrnn.decoding.scheduled_sampling(
            jaxrnn.chain(jaxrnn.dense(D, H), jaxrnn.dense(H, O)), 1.0, feedback=feedback
        )
        params = drawn(model)
        grad = jax.grad(lambda xs, m=model, p=params: m.apply(p, xs, key=KEY)[1][-1].sum())(xs)
        assert (np.abs(grad[0]).max() > 0.0) == reaches


def test_the_rate_may_be_traced_and_swept():
    params, xs = drawn(SAME, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    rates = np.array([0.0, 0.5, 1.0], np.float32)
    swept = jax.jit(
        jax.vmap(lambda rate: jaxrnn.decoding.scheduled_sampling(SAME, rate).apply(params, xs, key=KEY)[1])
    )(rates)
    for rate, ys in zip(rates, swept, strict=True):
        assert_close(ys, jitted(jaxrnn.decoding.scheduled_sampling(SAME, float(rate)))(params, xs)[1], 1e-5)


def test_a_rate_in_half_precision_is_drawn_as_the_same_one_in_float32():
    """The coins of bfloat16 have 8 bits."""
    params, xs = drawn(SAME, dtype=np.float32), sequence(T, 50, D).astype(np.float32)
    rate = jnp.asarray(0.0101, jnp.bfloat16)
    got = jitted(jaxrnn.decoding.scheduled_sampling(SAME, rate))(params, xs)
    assert_close(got, jitted(jaxrnn.decoding.scheduled_sampling(SAME, rate.astype(jnp.float32)))(params, xs), 1e-6)


def test_symbols():
    model = jaxrnn.chain(jaxrnn.embed(5, H), jaxrnn.stack([jaxrnn.gru(H, H)]), jaxrnn.dense(H, 5))
    params = drawn(model, dtype=np.float32)
    xs = np.random.default_rng(0).integers(0, 5, (T, B)).astype(np.int32)
    choose = lambda y, x: jnp.argmax(y, -1)  # noqa: E731
    got = jitted(jaxrnn.decoding.scheduled_sampling(model, 1.0, feedback=choose))(params, xs)
    assert_close(got, jaxrnn.decoding.rollout(model, params, xs[:1], T, feedback=lambda y: jnp.argmax(y, -1)), 1e-5)


def test_a_rate_that_changes_from_step_to_step_compiles_once():
    """As the docstring shows it; what it learns is tested by its first step."""
    data = {"xs": sequence(T, B, D).astype(np.float32), "targets": sequence(T, B, D, seed=2).astype(np.float32)}
    optimizer, traces = optax.sgd(0.1), []

    @jax.jit
    def train_step(state, batch, rate):
        traces.append(rate)
        model = jaxrnn.decoding.scheduled_sampling(SAME, rate)
        return jaxrnn.training.make_train_step(model, jaxrnn.losses.mean_squared_error, optimizer)(state, batch)

    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        state = start = jaxrnn.training.train_state(SAME, optimizer, key=KEY)
        losses = []
        for rate in (0.0, 0.5, 1.0):
            state, values = train_step(state, data, rate)
            losses.append(values["loss"])
    assert len(traces) == 1
    assert state.step == 3
    np.testing.assert_allclose(
        losses[0], jaxrnn.losses.mean_squared_error(SAME.apply(start.params, data["xs"])[1], data), rtol=1e-5
    )
    later = jaxrnn.training.make_train_step(
        jaxrnn.decoding.scheduled_sampling(SAME, 1.0), jaxrnn.losses.mean_squared_error, optimizer
    )
    with jax.numpy_dtype_promotion("standard"):
        assert abs(later(start, data)[1]["loss"] - losses[0]) > 1e-3


def test_as_part_of_a_chain_and_in_check_gradients():
    model = jaxrnn.chain(jaxrnn.decoding.scheduled_sampling(SAME, 0.5), jaxrnn.dense(D, O))
    assert model.features == (D, O)
    assert model.parts[0].parts == (SAME,)
    params, xs = drawn(model, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    assert jaxrnn.check_gradients(model, params, xs, key=KEY).ok
    assert jaxrnn.decoding.scheduled_sampling(SAME, 0.5) == jaxrnn.decoding.scheduled_sampling(SAME, 0.5)
    assert jaxrnn.decoding.scheduled_sampling(SAME, 0.5) != jaxrnn.decoding.scheduled_sampling(SAME, 0.4)
