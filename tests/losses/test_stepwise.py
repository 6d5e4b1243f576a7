"""The losses against plain NumPy loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close

T, B, O = 5, 4, 3
LENGTHS = np.array([2, 0, T, 1], np.int32)


def nll(logits, target):
    return float(np.log(np.exp(logits).sum()) - logits[target])


def bernoulli(logits, targets):
    p = 1.0 / (1.0 + np.exp(-logits))
    return float(np.mean(-targets * np.log(p) - (1.0 - targets) * np.log(1.0 - p)))


def squares(y, target):
    return float(np.mean((y - target) ** 2))


def correct(logits, target):
    return float(np.argmax(logits) == target)


def classes(rng, *shape):
    return rng.integers(0, O, shape).astype(np.int32)


def probabilities(rng, *shape):
    return rng.random((*shape, O))


def values(rng, *shape):
    return rng.standard_normal((*shape, O))


QUANTILES = (0.1, 0.5, 0.7)


def pinball(y, target):
    """Of one target feature: O = 3 outputs are its three quantiles."""
    return float(np.mean([(q - (target < v)) * (target - v) for q, v in zip(QUANTILES, y, strict=True)]))


def one_value(rng, *shape):
    return rng.standard_normal((*shape, 1))


# The loss, the loss of one output, and how targets are drawn.
LOSSES = {
    "cross_entropy": (jaxrnn.losses.cross_entropy, nll, classes),
    "binary_cross_entropy": (jaxrnn.losses.binary_cross_entropy, bernoulli, probabilities),
    "mean_squared_error": (jaxrnn.losses.mean_squared_error, squares, values),
    "quantile_loss": (functools.partial(jaxrnn.losses.quantile_loss, quantiles=QUANTILES), pinball, one_value),
}
ALL = LOSSES | {"accuracy": (jaxrnn.losses.accuracy, correct, classes)}
every_loss = pytest.mark.parametrize("name", LOSSES)
with_accuracy = pytest.mark.parametrize("name", ALL)
over_times = pytest.mark.parametrize("over_time", ["mean", "sum"])


def drawn(name, *shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*shape, O)), ALL[name][2](rng, *shape)


def by_hand(one, ys, targets, lengths, over_time):
    rows = [[one(ys[t, b], targets[t, b]) for t in range(n)] for b, n in enumerate(lengths)]
    if over_time == "sum":
        return sum(map(sum, rows)) / len(rows)
    return sum(map(sum, rows)) / max(1, sum(map(len, rows)))


def close(got, want, tolerance=1e-10):
    assert jnp.shape(got) == ()
    assert_close(got, want, tolerance)


@every_loss
@over_times
def test_full_rows(name, over_time, x64):
    loss, one, _ = LOSSES[name]
    loss = functools.partial(loss, over_time=over_time)
    ys, targets = drawn(name, T, B)
    close(jax.jit(loss)(ys, {"targets": targets}), by_hand(one, ys, targets, [T] * B, over_time))


@every_loss
@over_times
def test_rows_of_different_lengths(name, over_time, x64):
    loss, one, _ = LOSSES[name]
    loss = functools.partial(loss, over_time=over_time)
    ys, targets = drawn(name, T, B)
    got = jax.jit(loss)(ys, {"targets": targets, "lengths": LENGTHS})
    close(got, by_hand(one, ys, targets, LENGTHS, over_time))


def test_accuracy_over_steps(x64):
    ys, targets = drawn("accuracy", T, B)
    run = jax.jit(jaxrnn.losses.accuracy)
    close(run(ys, {"targets": targets}), by_hand(correct, ys, targets, [T] * B, "mean"))
    got = run(ys, {"targets": targets, "lengths": LENGTHS})
    close(got, by_hand(correct, ys, targets, LENGTHS, "mean"))


@every_loss
@over_times
def test_the_padding_reaches_neither_value_nor_gradient(name, over_time, x64):
    """NaN in outputs and targets; a class that does not exist where targets are integers."""
    loss = functools.partial(LOSSES[name][0], over_time=over_time)
    ys, targets = drawn(name, T, B)
    valid = np.arange(T)[:, None] < LENGTHS
    bad_ys, bad_targets = ys.copy(), targets.copy()
    bad_ys[~valid] = np.nan
    bad_targets[~valid] = 999 if name == "cross_entropy" else np.nan
    both = jax.jit(jax.value_and_grad(lambda ys, targets: loss(ys, {"targets": targets, "lengths": LENGTHS})))
    (value, grad), (want, want_grad) = both(bad_ys, bad_targets), both(ys, targets)
    close(value, want)
    assert_close(grad, want_grad, 1e-10)
    np.testing.assert_array_equal(np.asarray(grad)[~valid], 0.0)
    assert (np.abs(np.asarray(grad)[valid]).max(-1) > 0.0).all()


@every_loss
def test_for_full_rows_the_sum_is_T_times_the_mean_and_so_is_its_gradient(name, x64):
    loss = LOSSES[name][0]
    ys, targets = drawn(name, T, B)
    for batch in ({"targets": targets}, {"targets": targets, "lengths": np.full(B, T)}):
        mean, summed = (
            jax.jit(jax.value_and_grad(functools.partial(loss, batch=batch, over_time=over_time)))(ys)
            for over_time in ("mean", "sum")
        )
        assert_close(summed, jax.tree.map(lambda x: T * x, mean), 1e-10)


@every_loss
@over_times
def test_a_batch_of_empty_rows_loses_nothing(name, over_time, x64):
    ys, targets = drawn(name, T, B)
    batch = {"targets": targets, "lengths": np.zeros(B, np.int32)}
    loss = functools.partial(LOSSES[name][0], batch=batch, over_time=over_time)
    value, grad = jax.jit(jax.value_and_grad(loss))(np.full_like(ys, np.nan))
    assert value == 0.0
    np.testing.assert_array_equal(grad, 0.0)


@with_accuracy
def test_at_last_each_row_is_judged_by_its_last_output(name, x64):
    loss, one, draw = ALL[name]
    ys, _ = drawn(name, T, B)
    targets = draw(np.random.default_rng(4), B)
    run = jax.jit(functools.partial(loss, at="last"))
    want = np.mean([one(ys[-1, b], targets[b]) for b in range(B)])
    close(run(ys, {"targets": targets}), want)
    close(run(ys[-1], {"targets": targets}), want)


@with_accuracy
def test_at_last_under_lengths_that_is_the_output_at_its_own_end(name, x64):
    """A row of length 0 has no last step: it counts nothing."""
    loss, one, draw = ALL[name]
    ys, _ = drawn(name, T, B)
    targets = draw(np.random.default_rng(4), B)
    ends = np.stack([ys[n - 1, b] if n else np.zeros(O) for b, n in enumerate(LENGTHS)])
    padded = ys.copy()
    padded[np.arange(T)[:, None] >= LENGTHS] = np.nan
    batch = {"targets": targets, "lengths": LENGTHS}
    run = jax.jit(functools.partial(loss, at="last"))
    assert 0 in LENGTHS
    want = np.mean([one(ends[b], targets[b]) for b in range(B) if LENGTHS[b]])
    close(run(padded, batch), want)
    close(run(ends, batch), want)
    if name != "accuracy":
        grad = np.asarray(jax.grad(lambda ys: loss(ys, batch, at="last"))(padded))
        is_end = np.arange(T)[:, None] == LENGTHS - 1
        np.testing.assert_array_equal(grad[~is_end], 0.0)
        assert (np.abs(grad[is_end]).max(-1) > 0.0).all()


@with_accuracy
def test_without_a_batch_axis(name, x64):
    loss, one, _ = ALL[name]
    ys, targets = drawn(name, T)
    close(loss(ys, {"targets": targets}), np.mean([one(ys[t], targets[t]) for t in range(T)]))
    got = loss(ys, {"targets": targets, "lengths": 3})
    close(got, np.mean([one(ys[t], targets[t]) for t in range(3)]))


@every_loss
def test_extreme_logits_stay_finite(name):
    ys, targets = drawn(name, T, B)
    value, grad = jax.value_and_grad(LOSSES[name][0])((1e4 * ys).astype(np.float32), {"targets": targets})
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def test_integer_targets_of_a_regression_become_floats():
    ys, targets = np.full((T, B, 1), 0.5, np.float32), np.ones((T, B, 1), np.int32)
    close(jaxrnn.losses.mean_squared_error(ys, {"targets": targets}), 0.25, 1e-6)
    close(jaxrnn.losses.binary_cross_entropy(ys, {"targets": targets}), np.log(1.0 + np.exp(-0.5)), 1e-6)


def test_accuracy_is_a_float_in_the_range_of_a_share():
    ys, _ = drawn("accuracy", T, B)
    got = jaxrnn.losses.accuracy(ys.astype(np.float32), {"targets": np.argmax(ys, -1)})
    assert got.dtype == jnp.float32
    assert got == 1.0
    assert jaxrnn.losses.accuracy(ys.astype(np.float32), {"targets": (np.argmax(ys, -1) + 1) % O}) == 0.0


def test_lengths_may_be_a_list():
    ys, targets = drawn("mean_squared_error", T, B)
    got = jaxrnn.losses.mean_squared_error(ys.astype(np.float32), {"targets": targets, "lengths": LENGTHS.tolist()})
    close(got, by_hand(squares, ys, targets, LENGTHS, "mean"), 1e-5)


def smooth(logits, target, a):
    log_p = logits - np.log(np.exp(logits).sum())
    p = np.full(O, a / O)
    p[target] += 1.0 - a
    return float(-(p * log_p).sum())


@pytest.mark.parametrize("a", [0.1, 0.9])
@over_times
def test_label_smoothing(a, over_time, x64):
    ys, targets = drawn("cross_entropy", T, B)
    one = functools.partial(smooth, a=a)
    loss = functools.partial(jaxrnn.losses.cross_entropy, over_time=over_time, label_smoothing=a)
    close(jax.jit(loss)(ys, {"targets": targets}), by_hand(one, ys, targets, [T] * B, over_time))
    bad_ys, bad_targets = ys.copy(), targets.copy()
    padding = np.arange(T)[:, None] >= LENGTHS
    bad_ys[padding], bad_targets[padding] = np.nan, 999
    got = jax.jit(loss)(bad_ys, {"targets": bad_targets, "lengths": LENGTHS})
    close(got, by_hand(one, ys, targets, LENGTHS, over_time))


def test_label_smoothing_may_be_traced_and_swept(x64):
    ys, targets = drawn("cross_entropy", T, B)
    several = np.array([0.0, 0.1, 0.5], np.float32)
    swept = jax.jit(jax.vmap(lambda a: jaxrnn.losses.cross_entropy(ys, {"targets": targets}, label_smoothing=a)))(
        several
    )
    for a, got in zip(several, swept, strict=True):
        close(got, by_hand(functools.partial(smooth, a=float(a)), ys, targets, [T] * B, "mean"))


def test_without_label_smoothing_the_program_is_as_without_the_option():
    ys, targets = drawn("cross_entropy", T, B)

    def program(**options):
        return str(jax.make_jaxpr(lambda ys: jaxrnn.losses.cross_entropy(ys, {"targets": targets}, **options))(ys))

    assert program(label_smoothing=0) == program(label_smoothing=0.0) == program()
    assert program(label_smoothing=0.1) != program()


def test_with_label_smoothing_a_target_that_is_no_class_still_gives_nan():
    ys, targets = drawn("cross_entropy", T, B)
    targets[2, 1] = O
    assert np.isnan(
        jaxrnn.losses.cross_entropy(ys.astype(np.float32), {"targets": jnp.asarray(targets)}, label_smoothing=0.1)
    )


MASK = np.random.default_rng(5).random((T, B)) < 0.6


def by_hand_masked(one, ys, targets, counted, over_time):
    rows = [[one(ys[t, b], targets[t, b]) for t in range(T) if counted[t, b]] for b in range(B)]
    if over_time == "sum":
        return sum(map(sum, rows)) / len(rows)
    return sum(map(sum, rows)) / max(1, sum(map(len, rows)))


@every_loss
@over_times
@pytest.mark.parametrize("with_lengths", [False, True])
def test_missing_targets_reach_neither_value_nor_gradient(name, over_time, with_lengths, x64):
    """Where "mask" is False; with "lengths", both have a say."""
    loss, one, _ = LOSSES[name]
    ys, targets = drawn(name, T, B)
    counted = MASK & (np.arange(T)[:, None] < LENGTHS) if with_lengths else MASK
    assert counted.any()
    assert (counted != MASK).any() == with_lengths
    bad_ys, bad_targets = ys.copy(), targets.copy()
    bad_ys[~counted] = np.nan
    bad_targets[~counted] = -1 if name == "cross_entropy" else np.nan
    batch = {"mask": MASK} | ({"lengths": LENGTHS} if with_lengths else {})
    both = jax.value_and_grad(lambda ys, targets: loss(ys, {"targets": targets, **batch}, over_time=over_time))
    (value, grad), (want, want_grad) = jax.jit(both)(bad_ys, bad_targets), jax.jit(both)(ys, targets)
    close(value, by_hand_masked(one, ys, targets, counted, over_time))
    close(want, value)
    assert_close(grad, want_grad, 1e-12)
    np.testing.assert_array_equal(np.asarray(grad)[~counted], 0.0)
    assert (np.abs(np.asarray(grad)[counted]).max(-1) > 0.0).all()


@with_accuracy
def test_a_mask_of_ones_is_none_and_one_of_zeros_loses_nothing(name, x64):
    loss = ALL[name][0]
    ys, targets = drawn(name, T, B)
    close(loss(ys, {"targets": targets, "mask": np.ones((T, B), bool)}), loss(ys, {"targets": targets}), 1e-12)
    assert loss(ys, {"targets": targets, "mask": np.zeros((T, B), bool)}) == 0.0


@with_accuracy
@pytest.mark.parametrize("with_lengths", [False, True])
def test_at_last_the_mask_is_one_of_rows(name, with_lengths, x64):
    loss, one, draw = ALL[name]
    ys, _ = drawn(name, T, B)
    targets, mask = draw(np.random.default_rng(4), B), np.array([True, True, False, True])
    lengths = LENGTHS if with_lengths else np.full(B, T)
    rows = [b for b in range(B) if mask[b] and lengths[b]]
    want = np.mean([one(ys[lengths[b] - 1, b], targets[b]) for b in rows])
    bad_ys, bad_targets = ys.copy(), targets.copy()
    bad_ys[:, ~mask] = np.nan
    bad_targets[~mask] = -1 if name in ("cross_entropy", "accuracy") else np.nan
    batch = {"targets": bad_targets, "mask": mask} | ({"lengths": lengths} if with_lengths else {})
    value, grad = jax.value_and_grad(lambda ys: loss(ys, batch, at="last"))(bad_ys)
    close(value, want)
    assert np.isfinite(grad).all()


def test_a_mask_without_a_batch_axis(x64):
    ys, targets = drawn("mean_squared_error", T)
    mask = np.array([True, False, True, True, False])
    close(jaxrnn.losses.mean_squared_error(ys, {"targets": targets, "mask": mask}), squares(ys[mask], targets[mask]))


def test_a_mask_may_have_more_batch_axes_than_lengths(x64):
    ys, targets = drawn("mean_squared_error", T, B, 2)
    mask = np.random.default_rng(6).random((T, B, 2)) < 0.5
    counted = mask & (np.arange(T)[:, None] < LENGTHS)[..., None]
    got = jaxrnn.losses.mean_squared_error(ys, {"targets": targets, "mask": mask, "lengths": LENGTHS})
    close(got, squares(ys[counted], targets[counted]))


def test_the_mask_of_training_data_goes_with_its_rows_and_steps():
    """Two steps of plain gradient descent on rows whose masked targets are NaN."""
    model = jaxrnn.dense(1, 1, bias=False)
    xs, w = np.random.default_rng(0).standard_normal((T, B, 1)).astype(np.float32), np.float32(0.3)
    data = {"xs": xs, "targets": np.where(MASK[..., None], 2.0 * xs, np.nan).astype(np.float32), "mask": MASK}
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        result = jaxrnn.fit(
            model, jaxrnn.losses.mean_squared_error, optax.sgd(0.1), data, key=jax.random.key(0), steps=2, batch_size=B,
            params={"w": np.full((1, 1), w)}, progress=False,
        )  # fmt: skip
    x = xs[..., 0][MASK]
    for _ in range(2):
        w -= 0.1 * np.mean(2 * x * (w * x - 2 * x))
    np.testing.assert_allclose(result.params["w"][0, 0], w, rtol=1e-5)


def test_the_best_constant_is_the_quantile():
    rng = np.random.default_rng(0)
    targets = rng.exponential(size=(4001, 1)).astype(np.float32)
    levels = np.array([0.1, 0.5, 0.9])
    loss = jax.jit(
        lambda y: jaxrnn.losses.quantile_loss(jnp.broadcast_to(y, (4001, 3)), {"targets": targets}, quantiles=levels)
    )
    best = np.quantile(targets, levels).astype(np.float32)
    for i in range(3):
        for shift in (-0.1, 0.1):
            assert loss(best) < loss(best + shift * np.eye(3, dtype=np.float32)[i])


def test_quantiles_of_several_features_stand_side_by_side(x64):
    ys, targets = values(np.random.default_rng(0), T, B, 2), values(np.random.default_rng(1), T, B)[..., :2]
    want = np.mean([pinball(ys[t, b, o], targets[t, b, o]) for t in range(T) for b in range(B) for o in range(2)])
    close(jaxrnn.losses.quantile_loss(ys.reshape(T, B, 6), {"targets": targets}, quantiles=QUANTILES), want)


def test_quantiles_may_be_traced_and_the_median_is_half_of_the_absolute_error(x64):
    ys, targets = values(np.random.default_rng(0), T, B), values(np.random.default_rng(1), T, B)
    loss = jax.jit(lambda q: jaxrnn.losses.quantile_loss(ys, {"targets": targets}, quantiles=q))
    close(loss(jnp.asarray([0.5])), 0.5 * np.abs(ys - targets).mean())


@with_accuracy
def test_targets_with_steps_of_their_own_have_their_own_lengths(name, x64):
    """Those of xs say nothing of them, also where xs have as many steps."""
    loss, one, draw = ALL[name]
    ys, targets = drawn(name, T, B)
    for S in (T, T + 3):
        batch = {"xs": np.ones((S, B, 1)), "targets": targets, "lengths": np.full(B, 1), "targets_lengths": LENGTHS}
        close(jax.jit(loss)(ys, batch), by_hand(one, ys, targets, LENGTHS, "mean"))
    last = draw(np.random.default_rng(4), B)
    want = np.mean([one(ys[n - 1, b], last[b]) for b, n in enumerate(LENGTHS) if n])
    close(loss(ys, batch | {"targets": last}, at="last"), want)


def test_an_encoder_decoders_targets_may_all_have_all_steps(x64):
    ys, targets = drawn("cross_entropy", T, B)
    batch = {"xs": np.ones((T + 3, B)), "previous": np.zeros((T, B), np.int32), "targets": targets}
    close(jaxrnn.losses.cross_entropy(ys, batch), by_hand(nll, ys, targets, [T] * B, "mean"))


@every_loss
@over_times
@pytest.mark.parametrize("with_lengths", [False, True])
def test_in_float16_sums_and_counts_may_be_larger_than_its_largest_number(name, over_time, with_lengths):
    loss, steps, rows = LOSSES[name][0], 300, 300
    ys, targets = drawn(name, steps, rows)
    ys = (4.0 * ys).astype(np.float16)
    batch = {"targets": targets if name == "cross_entropy" else targets.astype(np.float16)}
    if with_lengths:
        batch["lengths"] = np.full(rows, steps)
    got = loss(ys, batch, over_time=over_time)
    assert got.dtype == jnp.float16
    wide = {entry: x.astype(np.float32) if x.dtype == np.float16 else x for entry, x in batch.items()}
    close(got, loss(ys.astype(np.float32), wide, over_time=over_time), 1e-3)


def test_accuracy_of_float16_counts_in_float32():
    ys, targets = drawn("accuracy", 300, 300)
    batch = {"targets": targets, "lengths": np.full(300, 300)}
    want = by_hand(correct, ys.astype(np.float16), targets, [300] * 300, "mean")
    close(jaxrnn.losses.accuracy(ys.astype(np.float16), batch), want, 1e-6)
