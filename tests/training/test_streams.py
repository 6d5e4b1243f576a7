"""fit(stream=k): the carry goes on from step to step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close

T, N, D, H, O = 14, 3, 2, 4, 1
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((T, N, D)).astype(np.float32)
DATA = {"xs": XS, "targets": np.cumsum(XS, 0)[..., :1]}
RESETS = RNG.random((T, N)) < 0.2
MODEL = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H, learn_carry=True)]), jaxrnn.dense(H, O))
SGD = optax.sgd(0.1)


def loss(ys, batch):
    return jaxrnn.losses.mean_squared_error(ys, batch)


def run(data, steps, k=4, **options):
    options = {"key": jax.random.key(0), "stream": k, "progress": False, "block": 5} | options
    return jaxrnn.fit(MODEL, loss, SGD, data, steps=steps, **options)


def by_hand(data, steps, k=4):
    """The same in a Python loop; T mod k steps at the end of a pass are left out."""
    state = jaxrnn.training.train_state(MODEL, SGD, key=jax.random.key(0))
    params, opt_state, carry, losses = state.params, state.opt_state, None, []

    @jax.jit
    def differentiated(params, batch, carry):
        def window_loss(params):
            after, ys = MODEL.apply(params, batch["xs"], carry=carry, resets=batch.get("resets"))
            return loss(ys, batch), after

        return jax.value_and_grad(window_loss, has_aux=True)(params)

    for step in range(steps):
        start = step % (T // k) * k
        batch = {name: jnp.asarray(x[start : start + k]) for name, x in data.items()}
        carry = None if start == 0 else carry
        (value, carry), grads = differentiated(params, batch, carry)
        updates, opt_state = SGD.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    return params, losses


@pytest.mark.parametrize("data", [DATA, DATA | {"resets": RESETS}], ids=["one episode", "resets"])
def test_equals_the_loop_by_hand(data):
    result = run(data, 8)
    params, losses = by_hand(data, 8)
    assert_close(result.params, params, 1e-5)
    assert_close(result.history.train["loss"], np.array(losses), 1e-5)


def test_the_carry_goes_from_batch_to_batch_of_an_iterator():
    batches = [{name: x[i : i + 4] for name, x in DATA.items()} for i in (0, 4, 8)]
    assert_close(run(batches, 3).params, by_hand(DATA, 3)[0], 1e-5)


def test_the_loss_of_a_stream_does_not_depend_on_the_window():
    """Without learning, windows of 2 and of 7 steps see the same stream."""
    still = {"key": jax.random.key(0), "progress": False}
    found = []
    for k in (2, 7, 14):
        result = jaxrnn.fit(MODEL, loss, optax.sgd(0.0), DATA, steps=T // k, stream=k, **still)
        found.append(np.mean(result.history.train["loss"]))
    np.testing.assert_allclose(found, found[0], rtol=1e-5)


def test_an_interrupted_run_goes_on_with_its_carry(tmp_path):
    whole = run(DATA, 8)
    run(DATA, 5, run_dir=tmp_path)
    resumed = run(DATA, 8, run_dir=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, whole.state._replace(key=0), resumed.state._replace(key=0))


def test_lengths_count_from_the_window():
    lengths = np.array([3, 9, 14])
    padded = DATA["xs"].copy()
    for n, length in enumerate(lengths):
        padded[length:, n] = np.nan
    result = run(DATA | {"xs": padded, "lengths": lengths}, 3)
    assert np.isfinite(result.history.train["loss"]).all()


def test_a_learned_initial_carry_learns_at_the_start_of_each_pass():
    before = jaxrnn.training.train_state(MODEL, SGD, key=jax.random.key(0)).params["0"]["0"]["initial_carry"]["h"]
    after = run(DATA, 1).params["0"]["0"]["initial_carry"]["h"]
    assert np.max(np.abs(before - after)) > 1e-6
    assert_close(run(DATA, 3).params["0"]["0"]["initial_carry"]["h"], after, 1e-6)  # no pass began in between


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream": 0}, "^stream: expected a positive integer, got 0"),
        ({"stream": 15}, "^stream: expected at most the T = 14 steps of data, got 15"),
        (
            {"batch_size": 2},
            "^batch_size: expected None with stream=4: all 3 rows are streams.*got 2",
        ),
    ],
    ids=["none", "above T", "batch size"],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        run(DATA, 3, **options)


def test_a_model_that_reads_backward_is_refused():
    both = jaxrnn.chain(
        jaxrnn.residual(jaxrnn.bidirectional(jaxrnn.gru(D, D), jaxrnn.gru(D, D), merge="sum")), jaxrnn.dense(D, O)
    )
    with pytest.raises(ValueError, match=r"^model: expected one that reads forward for training on streams.*got Chain"):
        jaxrnn.fit(both, loss, SGD, DATA, key=jax.random.key(0), steps=1, stream=4, progress=False)


def test_batches_must_have_k_steps():
    with pytest.raises(ValueError, match=r"^stream: expected 14, the steps of a batch, got 4"):
        run([DATA], 3)


def test_a_loop_of_ones_own():
    step = jax.jit(jaxrnn.training.make_train_step(MODEL, loss, SGD))
    state = jaxrnn.training.train_state(MODEL, SGD, key=jax.random.key(0), streams=N)
    for i in range(6):
        start = i % 3 * 4
        batch = {name: jnp.asarray(x[start : start + 4]) for name, x in DATA.items()}
        state, _ = step(state, batch, start == 0)
    assert_close(state.params, by_hand(DATA, 6)[0], 1e-5)
    with pytest.raises(ValueError, match=r"^state\.carry"):
        step(state._replace(carry=(jnp.zeros((N + 1, H)), ())), batch)


def test_what_comes_later_in_a_stream_is_held_out():
    """As many rows, and other steps: no mistake here."""
    later = {name: x[:6] for name, x in DATA.items()}
    assert np.isfinite(run(DATA, 3, validation=later).history.validation["loss"]).all()
