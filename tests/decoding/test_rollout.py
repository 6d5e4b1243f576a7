"""A model that goes on with its own outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.decoding import loops
from tests.helpers import assert_close
from tests.models.oracles import B, D, H, O, T, drawn, sequence

STEPS = 4
SAME = jaxrnn.chain(jaxrnn.stack([jaxrnn.lstm(D, H), jaxrnn.gru(H, H)]), jaxrnn.dropout(0.5), jaxrnn.dense(H, D))
OTHER = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, O))  # D = O + 1
batches = pytest.mark.parametrize("batch", [(), (B,), (2, 3)], ids=str)


def joined(y, known):
    """The output, and what is known of the step beside it."""
    return jnp.concatenate([y, known], axis=-1)


def jitted(model, steps=STEPS, feedback=None):
    return jax.jit(
        lambda params, xs, carry=None, inputs=None: jaxrnn.decoding.rollout(
            model, params, xs, steps, carry=carry, feedback=feedback, inputs=inputs
        )
    )


@batches
@pytest.mark.parametrize("steps", [1, STEPS])
def test_it_is_the_plain_loop(batch, steps, x64):
    params, xs = drawn(SAME), sequence(T, *batch, D)
    assert_close(jitted(SAME, steps)(params, xs), loops.rollout(SAME, params, xs, steps), 1e-12)


@batches
def test_with_what_is_known_of_the_future(batch, x64):
    params, xs, inputs = drawn(OTHER), sequence(T, *batch, D), sequence(STEPS, *batch, D - O, seed=2)
    got = jitted(OTHER, feedback=joined)(params, xs, inputs=inputs)
    assert_close(got, loops.rollout(OTHER, params, xs, STEPS, joined, inputs), 1e-12)


def test_the_first_output_is_that_of_the_last_input_and_the_last_known_input_is_not_read(x64):
    params, xs, inputs = drawn(OTHER), sequence(T, B, D), sequence(STEPS, B, D - O, seed=2)
    run = jitted(OTHER, feedback=joined)
    _, ys = run(params, xs, inputs=inputs)
    np.testing.assert_allclose(ys[0], OTHER.apply(params, xs)[1][-1], rtol=1e-12)
    for k in range(STEPS):
        other = inputs.copy()
        other[k] += 1.0
        changed = (np.asarray(run(params, xs, inputs=other)[1]) != ys).any((1, 2))
        np.testing.assert_array_equal(changed, np.arange(STEPS) > k)


def test_from_a_carry(x64):
    params, xs = drawn(SAME), sequence(T, B, D)
    carry, _ = SAME.apply(params, xs[:2])
    got = jitted(SAME)(params, xs[2:], carry)
    assert_close(got, jitted(SAME)(params, xs), 1e-12)
    assert_close(got, loops.rollout(SAME, params, xs[2:], STEPS, carry=carry), 1e-12)


def test_two_rollouts_handed_on_equal_one_longer(x64):
    params, xs, inputs = drawn(OTHER), sequence(T, B, D), sequence(STEPS + 3, B, D - O, seed=2)
    whole = jitted(OTHER, STEPS + 3, joined)(params, xs, inputs=inputs)
    carry, first = jitted(OTHER, STEPS, joined)(params, xs, inputs=inputs[:STEPS])
    x = joined(first[-1], inputs[STEPS - 1])
    carry, second = jitted(OTHER, 3, joined)(params, x[None], carry, inputs[STEPS:])
    assert_close((carry, jnp.concatenate([first, second])), whole, 1e-12)


def test_symbols_are_fed_back_by_a_choice_of_their_own():
    model = jaxrnn.chain(jaxrnn.embed(5, H), jaxrnn.stack([jaxrnn.gru(H, H)]), jaxrnn.dense(H, 5))
    params = drawn(model, dtype=np.float32)
    xs = np.random.default_rng(0).integers(0, 5, (T, B)).astype(np.int32)
    choose = functools.partial(jnp.argmax, axis=-1)
    got = jitted(model, feedback=choose)(params, xs)
    assert_close(got, loops.rollout(model, params, xs, STEPS, choose), 1e-5)


def test_its_gradient_is_that_of_the_plain_loop_and_of_finite_differences(x64):
    params, xs = jax.tree.map(jnp.asarray, drawn(SAME)), jnp.asarray(sequence(T, B, D))
    weights = jnp.asarray(sequence(STEPS, B, D, seed=3))

    def loss(params, xs):
        return jnp.vdot(weights, jaxrnn.decoding.rollout(SAME, params, xs, STEPS)[1])

    def by_hand(params, xs):
        carry, ys = SAME.apply(params, xs, gradient=jaxrnn.autodiff())
        found = [ys[-1]]
        for _ in range(STEPS - 1):
            carry, ys = SAME.apply(params, found[-1][None], carry=carry, gradient=jaxrnn.autodiff())
            found.append(ys[0])
        return jnp.vdot(weights, jnp.stack(found))

    got = jax.jit(jax.grad(loss, (0, 1)))(params, xs)
    assert_close(got, jax.jit(jax.grad(by_hand, (0, 1)))(params, xs), 1e-10)
    direction, small = jnp.asarray(sequence(T, B, D, seed=4)), 1e-6
    value = jax.jit(loss)
    slope = (value(params, xs + small * direction) - value(params, xs - small * direction)) / (2 * small)
    np.testing.assert_allclose(jnp.vdot(got[1], direction), slope, rtol=1e-6)


def test_vmap_over_rows_and_over_parameters(x64):
    several, xs = [drawn(SAME, seed) for seed in range(2)], sequence(T, B, D)
    run = functools.partial(jaxrnn.decoding.rollout, SAME, steps=STEPS)
    carry, ys = jitted(SAME)(several[0], xs)
    rows = jax.jit(jax.vmap(lambda xs: run(several[0], xs), 1, (0, 1)))(xs)
    assert_close(rows, (carry, ys), 1e-12)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    both = jax.jit(jax.vmap(lambda params: run(params, xs)[1]))(stacked)
    assert_close([both[0], both[1]], [ys, jitted(SAME)(several[1], xs)[1]], 1e-12)


def test_it_is_one_loop_however_many_steps():
    """The program does not grow with them."""
    params, xs = drawn(SAME, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    sizes = [len(jax.jit(jitted(SAME, n)).lower(params, xs).as_text()) for n in (20, 90)]
    assert abs(sizes[0] - sizes[1]) < 100
