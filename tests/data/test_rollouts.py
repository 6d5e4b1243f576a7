"""Acting step by step and replaying at once give the same outputs, wherever episodes end and pieces begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import relative_error

T, B, D = 24, 5, 3
MODELS = {
    "gru": lambda: jaxrnn.chain(jaxrnn.gru(D, 8), jaxrnn.dense(8, 4)),
    "lstm, learned carry": lambda: jaxrnn.chain(jaxrnn.lstm(D, 8, learn_carry=True), jaxrnn.dense(8, 4)),
    "two layers": lambda: jaxrnn.chain(
        jaxrnn.dense(D, 6), jaxrnn.stack(jaxrnn.lstm(6, 8), jaxrnn.gru(8, 8)), jaxrnn.dense(8, 4)
    ),
}


def drawn(model, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(0.5 * rng.standard_normal(x.shape), dtype), shapes)
    dones = rng.random((T, B)) < 0.25
    dones[5], dones[11] = [True, False] * 2 + [True], True  # also right before a piece begins
    obs = jnp.asarray(rng.standard_normal((T, B, D)), dtype)
    carry = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), dtype), model.initial_carry(params, (B,)))
    return params, obs, dones, carry, rng.random(B) < 0.5


def acted(model, params, obs, dones, carry, before):
    """(outputs, the carry after each step): each step reads whether the one before it was done."""
    step = jax.jit(lambda carry, x, done: model.apply(params, x[None], carry=carry, resets=done[None]))
    ys, states, done = [], [], before
    for t in range(T):
        carry, y = step(carry, obs[t], jnp.asarray(done))
        ys.append(y[0])
        states.append(carry)
        done = dones[t]
    return jnp.stack(ys), jax.tree.map(lambda *x: jnp.stack(x), *states)


@pytest.mark.parametrize("name", MODELS)
def test_replaying_is_acting(name, precision):
    dtype, _ = precision
    tolerance, model = {"float64": 1e-12, "float32": 1e-6}[str(dtype)], MODELS[name]()
    params, obs, dones, carry, before = drawn(model, dtype)
    ys, states = acted(model, params, obs, dones, carry, before)
    resets = jaxrnn.data.resets_from_dones(dones, before=before)
    _, replayed, after = model.apply(params, obs, carry=carry, resets=resets, states=True)
    assert relative_error(replayed, ys) <= tolerance
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(states), strict=True):
        assert relative_error(a, b) <= tolerance

    rollout = {"obs": obs, "resets": resets, "ys": ys}
    for length, every, burn_in in ((6, None, 0), (12, None, 0), (12, 6, 3), (1, None, 0)):
        piece = jaxrnn.data.pieces(rollout, length, every=every)
        starts = jaxrnn.data.carries(carry, states, length, every=every)
        options = {"carry": starts, "burn_in": burn_in}
        found = model.apply(params, piece["obs"], resets=piece["resets"], **options)[1]
        assert relative_error(found, piece["ys"]) <= tolerance
        assert found.shape[1] == B * len(range(0, T - length + 1, every or length))

    shifted = jaxrnn.data.resets_from_dones(np.roll(dones, 1, 0), before=before)  # a mutant: one step late
    early = jnp.asarray(dones)  # and one early
    for wrong in (shifted, early):
        assert relative_error(model.apply(params, obs, carry=carry, resets=wrong)[1], ys) > 1e-2


def test_the_probability_ratio_of_the_first_minibatch_is_one():
    """PPO's first gradient step looks at the policy that acted, in minibatches of pieces."""
    model = MODELS["two layers"]()
    params, obs, dones, carry, before = drawn(model, np.float32)
    ys, states = acted(model, params, obs, dones, carry, before)
    actions = jax.random.categorical(jax.random.key(0), ys)

    def log_p(logits, actions):
        return jnp.take_along_axis(jax.nn.log_softmax(logits), actions[..., None], -1)[..., 0]

    rollout = {"obs": obs, "actions": actions, "log_p": log_p(ys, actions)}
    rollout["resets"] = jaxrnn.data.resets_from_dones(dones, before=before)
    piece, starts = jaxrnn.data.pieces(rollout, 8), jaxrnn.data.carries(carry, states, 8)
    chosen = jax.random.permutation(jax.random.key(1), 3 * B)[:4]
    batch, starts = jax.tree.map(lambda x: x[:, chosen], piece), jax.tree.map(lambda x: x[chosen], starts)
    logits = model.apply(params, batch["obs"], carry=starts, resets=batch["resets"])[1]
    ratio = jnp.exp(log_p(logits, batch["actions"]) - batch["log_p"])
    np.testing.assert_allclose(ratio, 1.0, atol=2e-6)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32, np.uint8])
def test_dones_of_any_type(dtype):
    dones = np.array([[1, 0], [0, 0], [0, 1]]).astype(dtype)
    want = [[False, False], [True, False], [False, False]]
    assert jaxrnn.data.resets_from_dones(dones).tolist() == want
    want[0] = [True, False]
    assert jaxrnn.data.resets_from_dones(dones, before=np.array([1, 0], dtype)).tolist() == want


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: jaxrnn.data.resets_from_dones(np.zeros((3, 2)), before=np.zeros(3)),
            r"^before: expected shape \(2,\)",
        ),
        (lambda: jaxrnn.data.resets_from_dones(np.zeros((0, 2))), "^dones: expected an array"),
        (
            lambda: jaxrnn.data.pieces(np.zeros((10, 2)), 3),
            "^length: expected pieces of 3 steps, every 3, to end with the T = 10 steps, got a rest of 1",
        ),
        (lambda: jaxrnn.data.pieces(np.zeros((10, 2)), 11), "^length: expected at most the T = 10 steps, got 11"),
        (lambda: jaxrnn.data.pieces({"a": np.zeros((4, 2)), "b": np.zeros((4, 3))}, 2), "^sequences: expected arrays"),
        (lambda: jaxrnn.data.carries(np.zeros(3), np.zeros((4, 2, 3)), 2), "^carry: expected shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_each_piece_begins_with_the_state_before_it():
    states = {"h": jnp.asarray(np.arange(6.0)[:, None] + [0.0, 0.5])}  # [T, B]: the step, a half for the second row
    begun = {"h": jnp.array([-1.0, -0.5])}
    for every, want in ((None, [-1, -0.5, 1, 1.5, 3, 3.5]), (1, [x + y for x in range(-1, 4) for y in (0, 0.5)])):
        np.testing.assert_array_equal(jaxrnn.data.carries(begun, states, 2, every=every)["h"], want)
