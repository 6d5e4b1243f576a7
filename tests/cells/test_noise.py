"""Recurrent dropout, zoneout and process noise: what is drawn, how often, and what evaluation does instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import example
from tests.registry import BY_NAME, ENTRIES, D

KEYS = [jax.random.key(k) for k in (0, 1)]


def test_the_dropout_mask_is_the_same_at_all_steps_and_another_for_each_row():
    mask = np.asarray(jaxrnn.lstm(D, 50, recurrent_dropout=0.3).noise(KEYS[0], 6, (8,)).dropout)
    assert mask.shape == (6, 8, 50)
    np.testing.assert_array_equal(mask, np.broadcast_to(mask[0], mask.shape))
    assert len({row.tobytes() for row in mask[0]}) == 8


def test_dropout_keeps_its_share_of_the_units_and_scales_them_up():
    cell = jaxrnn.elman(D, 400, recurrent_dropout=0.3)
    noise = cell.noise(KEYS[0], 1, (50,))
    assert abs(np.mean(noise.dropout) - 0.7) < 0.01  # 20,000 draws: a standard deviation of 0.003
    h = jnp.full((50, 400), 0.5)
    read = np.asarray(cell.read(h, jax.tree.map(lambda a: a[0], noise)))
    np.testing.assert_array_equal(read != 0.0, noise.dropout[0])
    np.testing.assert_allclose(read[read != 0.0], 0.5 / 0.7, rtol=1e-6)
    np.testing.assert_array_equal(cell.read(h, None), h)


def test_zoneout_holds_each_part_of_the_carry_at_its_own_rate():
    cell = jaxrnn.lstm(D, 200, zoneout=jaxrnn.cells.LSTMCarry(h=0.1, c=0.6))
    held = cell.noise(KEYS[0], 20, (5,)).zoneout
    for name, rate in (("h", 0.1), ("c", 0.6)):
        mask = np.asarray(getattr(held, name))
        assert mask.shape == (20, 5, 200)
        assert abs(np.mean(mask) - rate) < 0.015  # 20,000 draws: a standard deviation of 0.0035
        assert np.all(np.any(mask != mask[0], (0, 1)))  # drawn anew at each step
    # Independent: the share that both hold is the product of the rates.
    assert abs(np.mean(np.asarray(held.h) & np.asarray(held.c)) - 0.06) < 0.01


def test_held_entries_keep_their_value_bitwise():
    cell = jaxrnn.gru(D, 50, zoneout=0.5)
    params = cell.init(KEYS[0])
    xs = np.random.default_rng(0).standard_normal((1, 4, D)).astype(np.float32)
    carry = np.random.default_rng(1).standard_normal((4, 50)).astype(np.float32)
    mask = np.asarray(cell.noise(KEYS[1], 1, (4,)).zoneout[0])
    final, _ = jaxrnn.unroll(cell, params, xs, carry, key=KEYS[1])
    np.testing.assert_array_equal(np.asarray(final) == carry, mask)
    assert 0.3 < np.mean(mask) < 0.7


def test_the_mean_over_keys_of_one_zoned_step_is_what_evaluation_computes():
    cell = jaxrnn.gru(D, 6, zoneout=0.3)
    params = cell.init(KEYS[0])
    xs = np.ones((1, D), np.float32)
    carry = np.linspace(-1, 1, 6).astype(np.float32)

    def run(key):
        return jaxrnn.unroll(cell, params, xs, carry, key=key)[0]

    samples = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(KEYS[0], 4000)))
    np.testing.assert_allclose(samples.mean(0), run(None), atol=0.05)
    # The bound can fail: without the old values, or with only them, the mean would be elsewhere.
    plain = jaxrnn.unroll(jaxrnn.gru(D, 6), params, xs, carry)[0]
    assert np.max(np.abs(plain - run(None))) > 0.1
    assert np.max(np.abs(carry - run(None))) > 0.1


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.noisy], ids=lambda e: e.name)
def test_another_key_gives_other_outputs_and_the_same_key_the_same(entry):
    e = example(entry, np.float32)
    run = jax.jit(lambda key: jaxrnn.unroll(e.cell, e.params, e.xs, e.carry, key=key)[1])
    np.testing.assert_array_equal(run(KEYS[0]), run(KEYS[0]))
    assert np.max(np.abs(run(KEYS[0]) - run(KEYS[1]))) > 1e-2
    assert np.max(np.abs(run(KEYS[0]) - jaxrnn.unroll(e.cell, e.params, e.xs, e.carry)[1])) > 1e-2


@pytest.mark.parametrize("entry", [e for e in ENTRIES if not e.noisy], ids=lambda e: e.name)
def test_a_key_changes_nothing_where_there_is_no_noise(entry):
    e = example(entry, np.float32, T=2, batch=())
    outputs = [jaxrnn.unroll(e.cell, e.params, e.xs, key=key) for key in (None, KEYS[0])]
    jax.tree.map(np.testing.assert_array_equal, *outputs)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_process_noise_has_the_stationary_deviation_of_the_equation(alpha):
    """v' = (1 - a) v + sqrt(2 a) sigma N(0, 1) has the stationary variance 2 sigma^2 / (2 - a)."""
    sigma, T, warm = 0.7, 600, 100
    cell = jaxrnn.ctrnn(1, 64, alpha * 8.0, 8.0, sigma=sigma, activation=jax.nn.tanh)
    params = jax.tree.map(jnp.zeros_like, cell.init(KEYS[0]))
    _, rates = jax.jit(lambda key: jaxrnn.unroll(cell, params, jnp.zeros((T, 16, 1)), key=key))(KEYS[0])
    v = np.arctanh(np.asarray(rates[warm:], np.float64))
    expected = sigma * np.sqrt(2.0 / (2.0 - alpha))
    assert abs(np.std(v) / expected - 1.0) < 0.02
    assert abs(np.mean(v)) < 0.02
    # One step apart, two values correlate by 1 - a: the noise of a step is new.
    assert abs(np.mean(v[1:] * v[:-1]) / np.mean(v**2) - (1.0 - alpha)) < 0.02


def test_float32_noise_in_a_float64_session():
    """Parameters in float32 are allowed where float64 is enabled: what is drawn must not change the carry's dtype."""
    with jax.enable_x64(True):
        for entry in ENTRIES:
            if entry.noisy and not entry.name.startswith("custom"):
                e = example(entry, np.float32)
                _, ys = jax.eval_shape(lambda p, e=e: jaxrnn.unroll(e.cell, p, e.xs, key=KEYS[0]), e.params)
                assert ys.dtype == np.float32, entry.name


def test_draws_do_not_depend_on_the_gradient():
    e = example(BY_NAME["lstm_dropout_zoneout"], np.float32)
    runs = [
        jaxrnn.unroll(e.cell, e.params, e.xs, key=KEYS[0], gradient=g)[1]
        for g in (jaxrnn.autodiff(), jaxrnn.reverse_scan())
    ]
    np.testing.assert_allclose(*runs, rtol=1e-5, atol=1e-6)
