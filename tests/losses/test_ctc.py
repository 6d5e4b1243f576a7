"""Connectionist temporal classification against the sum over all alignments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.alignments import labellings, log_softmax
from tests.helpers import assert_close

T, O, L = 6, 3, 4
LENGTHS = np.array([6, 6, 5, 3, 1, 0, 4, 2], np.int32)
# As labels 1 and 2 with blank = 0; other blanks take other classes. The last two rows only just fit.
LABELS = ((1, 2), (1, 1, 2), (), (2,), (), (), (2, 1, 2, 1), (2, 1))
B = len(LABELS)
blanks = pytest.mark.parametrize("blank", [0, 2])


def drawn(blank, dtype=np.float64, seed=0):
    """Logits and a batch, whose padding is zero."""
    ys = np.random.default_rng(seed).standard_normal((T, B, O)).astype(dtype)
    targets = np.zeros((L, B), np.int32)
    for b, labels in enumerate(LABELS):
        targets[: len(labels), b] = [(label + blank) % O for label in labels]
    targets_lengths = np.array([len(labels) for labels in LABELS], np.int32)
    return ys, {"targets": targets, "targets_lengths": targets_lengths, "lengths": LENGTHS}


def of_row(ys, batch, b, blank):
    """-log p(labels) of a row and its gradient [T, O], softmax - (how probable the class is, given the labels)."""
    length, labels = batch["lengths"][b], tuple(batch["targets"][: batch["targets_lengths"][b], b].tolist())
    total, occupied = labellings(ys[:length, b], blank)
    grad = np.zeros((T, O))
    grad[:length] = np.exp(log_softmax(ys[:length, b])) - occupied[labels]
    return -np.log(total[labels]), grad


def by_hand(ys, batch, blank, rows=range(B)):
    losses, grads = zip(*(of_row(ys, batch, b, blank) for b in rows), strict=True)
    return np.mean(losses), np.stack(grads, 1) / len(losses)


def value_and_grad(blank=0):
    return jax.jit(jax.value_and_grad(functools.partial(jaxrnn.losses.ctc_loss, blank=blank)))


@blanks
def test_it_is_the_sum_over_all_alignments_and_so_is_its_gradient(blank, precision):
    dtype, tolerance = precision
    ys, batch = drawn(blank, dtype)
    value, grad = value_and_grad(blank)(ys, batch)
    assert value.dtype == grad.dtype == dtype
    assert_close((value, grad), by_hand(ys, batch, blank), tolerance)


def test_without_lengths_all_steps_count(x64):
    ys, batch = drawn(0)
    got = value_and_grad()(ys, {name: x for name, x in batch.items() if name != "lengths"})
    assert_close(got, by_hand(ys, batch | {"lengths": np.full(B, T)}, 0), 1e-10)


def test_padding_reaches_neither_value_nor_gradient(x64):
    """NaN in outputs; classes that do not exist, or continue a repeat, in targets."""
    ys, batch = drawn(0)
    want, run = by_hand(ys, batch, 0), value_and_grad()
    valid, is_label = np.arange(T)[:, None] < LENGTHS, np.arange(L)[:, None] < batch["targets_lengths"]
    for padding in (999, -1, 0, 1, 2):
        bad = batch | {"targets": np.where(is_label, batch["targets"], padding).astype(np.int32)}
        value, grad = run(np.where(valid[..., None], ys, np.nan), bad)
        assert_close((value, grad), want, 1e-10)
        np.testing.assert_array_equal(np.asarray(grad)[~valid], 0.0)
    jaxrnn.losses.ctc_loss(
        ys, bad | {"targets": np.where(is_label, batch["targets"], 999)}
    )  # nor the check of NumPy values


@pytest.mark.parametrize(("labels", "length"), [((1, 2, 1), 2), ((1, 1), 2), ((1,), 0), ((1, 1, 1, 1), 6)])
def test_labels_that_do_not_fit_have_an_infinite_loss_and_leave_the_others_their_gradient(labels, length, x64):
    ys, batch = drawn(0)
    targets, targets_lengths, lengths = (batch[name].copy() for name in ("targets", "targets_lengths", "lengths"))
    targets[: len(labels), 0], targets_lengths[0], lengths[0] = labels, len(labels), length
    bad = {"targets": targets, "targets_lengths": targets_lengths, "lengths": lengths}
    value, grad = value_and_grad()(ys, bad)
    assert value == np.inf
    np.testing.assert_array_equal(grad[:, 0], 0.0)
    assert_close(grad[:, 1:], by_hand(ys, batch, 0)[1][:, 1:], 1e-10)
    with pytest.raises(ValueError, match=rf"labels that need .* in row \[0\] of {length} steps"):
        jaxrnn.losses.ctc_loss(ys, bad)


@pytest.mark.parametrize(
    ("entry", "at", "value"),
    [
        ("targets", (0, 0), 0),
        ("targets", (1, 0), O),
        ("targets", (1, 0), -1),
        ("targets_lengths", 0, L + 1),
        ("targets_lengths", 0, -1),
    ],
)
def test_what_is_no_label_gives_nan_where_it_is_traced(entry, at, value):
    ys, batch = drawn(0, np.float32)
    batch[entry][at] = value
    got, grad = value_and_grad()(ys, batch)
    assert np.isnan(got)
    assert np.isfinite(grad[:, 1:]).all()


def test_without_batch_axes_with_two_and_under_vmap(x64):
    ys, batch = drawn(0)
    want, run = [of_row(ys, batch, b, 0)[0] for b in range(B)], jax.jit(jaxrnn.losses.ctc_loss)
    rows = {"targets": 1, "targets_lengths": 0, "lengths": 0}
    assert_close(jax.vmap(run, in_axes=(1, rows))(ys, batch), np.array(want), 1e-10)
    one = {name: np.take(x, 1, axis=rows[name]) for name, x in batch.items()}
    assert_close(run(ys[:, 1], one), want[1], 1e-10)
    two = {name: x.reshape(*x.shape[:-1], 2, B // 2) for name, x in batch.items()}
    assert_close(run(ys.reshape(T, 2, B // 2, O), two), np.mean(want), 1e-10)


def test_extreme_logits_stay_right():
    """Where every alignment is worse than 1e5 nats."""
    ys, batch = drawn(0, np.float32)
    value, grad = value_and_grad()(1e6 * ys, batch)
    with jax.enable_x64(True):
        want = jax.tree.map(np.asarray, value_and_grad()(1e6 * ys.astype(np.float64), batch))
    assert want[0] > 1e5
    assert_close((value, grad), want, 1e-5)


def test_half_precision_is_computed_in_float32():
    ys, batch = drawn(0, np.float32)
    ys = jnp.asarray(ys, jnp.bfloat16)
    run = jax.jit(jaxrnn.losses.ctc_loss)
    got = run(ys, batch)
    assert got.dtype == jnp.bfloat16
    assert got == run(ys.astype(jnp.float32), batch).astype(jnp.bfloat16)


def test_many_steps_in_float32():
    """Against float64: 1,000 steps, and labels with repeats."""
    rng = np.random.default_rng(0)
    ys = rng.standard_normal((1000, 2, 10)).astype(np.float32)
    batch = {"targets": rng.integers(1, 4, (100, 2)), "targets_lengths": np.array([100, 20])}
    got = value_and_grad()(ys, batch)
    with jax.enable_x64(True):
        want = value_and_grad()(ys.astype(np.float64), batch)
    assert_close(got[0], want[0], 1e-6)
    assert_close(got[1], want[1], 1e-3)


@pytest.mark.parametrize("N", [4, 6])
def test_rows_are_found_in_a_data_set_also_where_there_are_as_many_as_labels_or_steps(N):
    """`evaluate` in parts and `fit`, against the loss of all rows."""
    ys, batch = drawn(0, np.float32)
    rows = [0, 1, 2, 3, 6, 7][:N]
    data = {"xs": ys, "targets": batch["targets"], "targets_lengths": batch["targets_lengths"], "lengths": LENGTHS}
    data = {name: x[..., rows] if name != "xs" else x[:, rows] for name, x in data.items()}
    model = jaxrnn.stack([jaxrnn.elman(O, O)])
    params = model.init(jax.random.key(0))
    want = jax.jit(jaxrnn.losses.ctc_loss)(model.apply(params, data["xs"], lengths=data["lengths"])[1], data)
    for batch_size in (2, N):
        assert_close(
            jaxrnn.evaluate(model, params, jaxrnn.losses.ctc_loss, data, batch_size=batch_size)["loss"], want, 1e-5
        )
    options = {"key": jax.random.key(1), "params": params, "progress": False}
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        result = jaxrnn.fit(model, jaxrnn.losses.ctc_loss, optax.adam(0.1), data, steps=30, batch_size=N, **options)
    assert_close(result.history.train["loss"][0], want, 1e-5)
    assert result.history.train["loss"][-1] < 0.8 * want


def test_fit_refuses_labels_that_do_not_fit():
    ys, batch = drawn(0, np.float32)
    data = batch | {"xs": ys, "lengths": np.minimum(LENGTHS, 1)}
    with pytest.raises(ValueError, match=r'^data\["targets"\]: expected a step for each label and one more between'):
        jaxrnn.fit(
            jaxrnn.stack([jaxrnn.elman(O, O)]), jaxrnn.losses.ctc_loss, optax.sgd(0.1), data,
            key=jax.random.key(0), steps=2, batch_size=B, progress=False,
        )  # fmt: skip
