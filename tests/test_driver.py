"""What lengths, resets, reverse, the carry and batch axes mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, example, gradients
from tests.registry import BY_NAME

NAMES = ("lstm", "custom_gated", "custom_plain")
GRADIENTS = (jaxrnn.reverse_scan(), jaxrnn.autodiff())


def jitted(e, run):
    """One program for all unrolls of a test: run(unroll, xs, carry), where unroll knows the cell and its parameters."""

    @jax.jit
    def program(cell, params, xs, carry):
        return run(lambda *args, **options: jaxrnn.unroll(cell, params, *args, **options), xs, carry)

    return program(*e.arguments())


def row_of(tree, b):
    return jax.tree.map(lambda a: a[b], tree)


each_cell = pytest.mark.parametrize("name", NAMES)


@pytest.mark.parametrize("gradient", GRADIENTS, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@each_cell
def test_padding_reaches_neither_values_nor_gradients(name, bad, gradient, x64):
    e = example(BY_NAME[name])
    padding = np.arange(5)[:, None] >= e.lengths
    assert padding.sum() == 9

    @jax.jit
    def run(xs, resets):
        cell, params, _, carry = e.arguments()
        return gradients(gradient, cell, params, xs, carry, lengths=e.lengths, resets=resets)

    clean = run(np.where(padding[..., None], 0.5, e.xs), e.resets & ~padding)
    spoilt = run(np.where(padding[..., None], bad, e.xs), e.resets | padding)
    np.testing.assert_array_equal(spoilt["['xs']"][padding], 0.0)
    assert np.all(np.any(spoilt["['xs']"][~padding] != 0.0, -1))
    assert_close(spoilt, clean, 1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS, ids=repr)
@each_cell
def test_a_row_of_length_0_returns_its_carry_bitwise_and_zeros(name, gradient):
    e = example(BY_NAME[name], np.float32)
    row = 2
    assert e.lengths[row] == 0
    resets = np.ones_like(e.resets)
    final, ys = jaxrnn.unroll(e.cell, e.params, e.xs, e.carry, e.lengths, resets, gradient=gradient)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[row], b[row]), final, e.carry)
    np.testing.assert_array_equal(ys[:, row], 0.0)
    final, _ = jaxrnn.unroll(e.cell, e.params, e.xs, None, e.lengths, gradient=gradient)
    initial = e.cell.initial_carry(e.params, (3,))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[row], b[row]), final, initial)


@each_cell
def test_a_row_ends_at_its_length(name, x64):
    """Each row equals an unroll of just its steps; the outputs behind them are exactly zero."""
    e = example(BY_NAME[name])

    def run(unroll, xs, carry):
        rows = {b: unroll(xs[:n, b], row_of(carry, b)) for b, n in enumerate(e.lengths) if n}
        return unroll(xs, carry, e.lengths), rows

    (final, ys), rows = jitted(e, run)
    assert set(rows) == {0, 1}
    for b, n in enumerate(e.lengths):
        np.testing.assert_array_equal(ys[n:, b], 0.0)
        if n:
            assert_close((row_of(final, b), ys[:n, b]), rows[b], 1e-10)


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_resets_equal_separate_unrolls_of_the_episodes(name, reverse, x64):
    """Rows: one episode; two, of which the first goes on from the carry; three, of which the first is new."""
    e = example(BY_NAME[name], T=6)
    resets = np.zeros((6, 3), bool)
    resets[3, 1] = True
    resets[[0, 2, 4], 2] = True
    episodes = {0: [(0, 6)], 1: [(0, 3), (3, 6)], 2: [(0, 2), (2, 4), (4, 6)]}

    def run(unroll, xs, carry):
        rows = {}
        for b, spans in episodes.items():
            for start, stop in spans:
                # The given carry belongs to the episode that is read first, unless that one is marked as new. Read
                # backwards, an episode starts at its last step, and the mark at its first step says where it ends.
                goes_on = stop == 6 if reverse else start == 0 and not resets[0, b]
                before = row_of(carry, b) if goes_on else None
                rows[b, start, stop] = unroll(xs[start:stop, b], before, reverse=reverse)
        return unroll(xs, carry, resets=resets, reverse=reverse), rows

    (final, ys), rows = jitted(e, run)
    for (b, start, stop), (_, y) in rows.items():
        assert_close(ys[start:stop, b], y, 1e-10)
    for b, spans in episodes.items():
        after, _ = rows[b, *spans[0 if reverse else -1]]  # the episode that is read last
        assert_close(row_of(final, b), after, 1e-10)


@each_cell
def test_reverse_equals_flipping_each_row_by_hand(name, x64):
    e = example(BY_NAME[name])
    order = np.stack([[*reversed(range(n)), *range(n, 5)] for n in e.lengths], 1)

    def flip(a):
        return np.take_along_axis(np.asarray(a), order[..., None], 0)

    def run(unroll, xs, carry):
        return unroll(xs, carry, e.lengths, reverse=True), unroll(flip(e.xs), carry, e.lengths)

    (final, ys), (final_flipped, ys_flipped) = jitted(e, run)
    assert_close((final, ys), (final_flipped, flip(ys_flipped)), 1e-10)


@pytest.mark.parametrize("gradient", GRADIENTS, ids=repr)
@each_cell
def test_two_halves_equal_one_whole(name, gradient, x64):
    """Streaming: the carry handed over; also rows that end in the first half."""
    e = example(BY_NAME[name], T=6)
    n = np.array([6, 2, 4])

    def run(unroll, xs, carry):
        whole = unroll(xs, carry, n, e.resets, gradient=gradient)
        carry, first = unroll(xs[:3], carry, np.minimum(n, 3), e.resets[:3], gradient=gradient)
        carry, second = unroll(xs[3:], carry, np.maximum(n - 3, 0), e.resets[3:], gradient=gradient)
        return whole, (carry, jnp.concatenate([first, second]))

    whole, halves = jitted(e, run)
    assert_close(halves, whole, 1e-10)


@each_cell
def test_batch_axes_are_only_layout(name, x64):
    """[T, 2, 2, D] equals [T, 4, D], and each row equals its own [T, D]."""
    e = example(BY_NAME[name], batch=(4,))

    def square(tree, axis):
        return jax.tree.map(lambda a: a.reshape(*a.shape[:axis], 2, 2, *a.shape[axis + 1 :]), tree)

    def run(unroll, xs, carry):
        flat = unroll(xs, carry, e.lengths, e.resets)
        two = unroll(square(xs, 1), square(carry, 0), square(e.lengths, 0), square(e.resets, 1))
        return flat, two, [unroll(xs[:, b], row_of(carry, b), e.lengths[b], e.resets[:, b]) for b in range(4)]

    flat, two, rows = jitted(e, run)
    assert_close(two, (square(flat[0], 0), square(flat[1], 1)), 1e-12)
    for b, row in enumerate(rows):
        assert_close(row, (row_of(flat[0], b), flat[1][:, b]), 1e-12)


def test_shared_weights_under_vmap_sum_their_rows_gradients(x64):
    e = example(BY_NAME["lstm"])

    def loss(params, xs):
        return jnp.sum(jnp.sin(jaxrnn.unroll(e.cell, params, xs)[1]))

    whole = jax.jit(jax.grad(lambda p: jnp.sum(jax.vmap(loss, (None, 1))(p, e.xs))))(e.params)
    plain = jax.jit(jax.grad(lambda p: loss(p, e.xs)))(e.params)
    assert_close(whole, plain, 1e-10)


def test_the_default_gradient_is_reverse_scan():
    e = example(BY_NAME["elman"], np.float32)
    programs = [
        str(jax.make_jaxpr(jax.grad(lambda p, g=g: jnp.sum(jaxrnn.unroll(e.cell, p, e.xs, gradient=g)[1])))(e.params))
        for g in (None, jaxrnn.reverse_scan(), jaxrnn.autodiff())
    ]
    assert programs[0] == programs[1] != programs[2]


def test_lengths_outside_of_0_to_t_raise_where_they_can_be_seen_and_are_clipped_where_not():
    e = example(BY_NAME["elman"], np.float32)

    def run(lengths):
        return jaxrnn.unroll(e.cell, e.params, e.xs, e.carry, lengths)

    for lengths in ([1, 6, 2], np.array([-1, 0, 2])):
        with pytest.raises(ValueError, match="lengths: expected values from 0 to T = 5, got"):
            run(lengths)
    assert_close(jax.jit(run)(np.array([-1, 9, 2])), run(np.array([0, 5, 2])), 1e-6)


E0 = example(BY_NAME["elman"], np.float32)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"xs: expected 3 features .* got float32\[5, 3, 2\]", {"xs": E0.xs[..., :2]}),
        (ValueError, "xs: expected an array", {"xs": E0.xs[0, 0]}),
        (TypeError, "xs: expected floating-point", {"xs": np.ones((5, 3, 3), np.int32)}),
        (
            ValueError,
            r"params\['w_h'\]: expected shape \(4, 4\), got float32\[3, 4\]",
            {"params": E0.params | {"w_h": E0.params["w_x"]}},
        ),
        (ValueError, r"carry: expected shape \(3, 4\), got float32\[2, 4\]", {"carry": E0.carry[:2]}),
        (ValueError, r"lengths: expected shape \(3,\)", {"lengths": np.array([1, 2])}),
        (TypeError, "lengths: expected integers", {"lengths": np.array([1.0, 2.0, 3.0], np.float32)}),
        (ValueError, r"resets: expected shape \(5, 3\)", {"resets": E0.resets[:4]}),
        (TypeError, "resets: expected booleans", {"resets": E0.resets.astype(np.int32)}),
        (TypeError, "key: expected a random key", {"key": 3}),
        (TypeError, "gradient: expected", {"gradient": "reverse_scan"}),
        (TypeError, "reverse: expected True or False", {"reverse": 1}),
        (TypeError, "cell: expected", {"cell": jaxrnn.lstm}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_wrong_argument_is_named(error, message, arguments):
    given = {"cell": E0.cell, "params": E0.params, "xs": E0.xs} | arguments
    with pytest.raises(error, match=message):
        jaxrnn.unroll(**given)
