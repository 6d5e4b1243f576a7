"""Masks with holes, states, batch-first data, trees of inputs and burn-in, against plain loops over rows and steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, example, gradients, mostly_slow
from tests.registry import BY_NAME

NAMES = ("lstm", "gru", "custom_plain")
GRADIENTS = (None, jaxrnn.checkpointed(), jaxrnn.truncated(3, 20), jaxrnn.reverse_scan(clip_norm=1e9))
each_cell = pytest.mark.parametrize("name", NAMES)


def masked(name, seed=1):
    e = example(BY_NAME[name])
    mask = np.random.default_rng(seed).random(e.resets.shape) < 0.6
    mask[:, 0] = False
    return e, mask


def by_hand(cell, params, xs, carry, *, gradient, mask, resets, lengths, reverse, states):
    """As `unroll`, row by row and step by step; an episode may start on a hole."""
    del gradient, states
    T, B = mask.shape
    initial, rows = cell.initial_carry(params, ()), []
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: cell.step(params, initial, xs[0, 0])[1]))
    for b in range(B):
        now, ys, after = jax.tree.map(lambda x, b=b: x[b], carry), [nothing] * T, [None] * T
        for t in reversed(range(T)) if reverse else range(T):
            within = [s < (T if lengths is None else lengths[b]) for s in (t, t + 1)]
            starts = within[0] and resets[t, b] if not reverse else t + 1 < T and within[1] and resets[t + 1, b]
            now = initial if starts else now
            if within[0] and mask[t, b]:
                now, ys[t] = cell.step(params, now, xs[t, b])
            after[t] = now
        rows.append((now, stacked(ys), stacked(after)))
    carries, ys, states = zip(*rows, strict=True)
    return stacked(carries), stacked(ys, 1), stacked(states, 1)


def stacked(trees, axis=0):
    return jax.tree.map(lambda *x: jnp.stack(x, axis), *trees)


@pytest.mark.parametrize("with_lengths", mostly_slow([False, True], 1))
@pytest.mark.parametrize("reverse", mostly_slow([False, True], 1))
@each_cell
def test_holes_and_states_are_those_of_a_plain_loop(name, reverse, with_lengths, x64):
    """Values and gradients, with NaN in the holes."""
    e, mask = masked(name)
    lengths = e.lengths if with_lengths else None
    valid = mask if lengths is None else mask & (np.arange(len(mask))[:, None] < lengths)
    options = {"lengths": lengths, "resets": e.resets, "reverse": reverse, "mask": mask, "states": True}
    want = jax.jit(lambda *args: gradients(None, *args, fixed=("xs",), run=by_hand, **options))(*e.arguments())
    spoilt = np.where(valid[..., None], e.xs, np.nan)
    for gradient in GRADIENTS:
        cell, params, _, carry = e.arguments()
        run = jax.jit(lambda *args, g=gradient: gradients(g, *args, fixed=("xs",), **options))
        got = run(cell, params, spoilt, carry)
        assert_close(got["outputs"], want["outputs"], 1e-12)
        assert_close(got, want, 1e-9)


@each_cell
def test_holes_send_no_gradient_to_their_inputs(name, x64):
    e, mask = masked(name)
    got = gradients(None, *e.arguments(), mask=mask)["['xs']"]
    np.testing.assert_array_equal(got[~mask], 0.0)
    assert np.abs(got[mask]).min() > 0


@each_cell
def test_batch_first_is_time_first_with_axes_exchanged(name, x64):
    e, mask = masked(name)
    cell, params, xs, carry = e.arguments()
    options = {"carry": carry, "lengths": e.lengths, "states": True}
    final, *want = jaxrnn.unroll(cell, params, xs, resets=e.resets, mask=mask, **options)
    exchanged = {"resets": e.resets.T, "mask": mask.T, "time_major": False}
    final_, *got = jaxrnn.unroll(cell, params, xs.swapaxes(0, 1), **exchanged, **options)
    assert_close((final_, jax.tree.map(lambda x: x.swapaxes(0, 1), got)), (final, want), 0)


@pytest.mark.parametrize("gradient", mostly_slow(GRADIENTS, 0), ids=repr)
@each_cell
def test_burn_in_is_a_first_unroll_without_a_gradient(name, gradient, x64):
    e, k = example(BY_NAME[name]), 2

    def two(cell, params, xs, carry, *, gradient, resets):
        still = jax.tree.map(jax.lax.stop_gradient, (cell, params, xs[:k], carry))
        middle, before = jaxrnn.unroll(*still, resets=resets[:k], gradient=gradient)
        final, after = jaxrnn.unroll(cell, params, xs[k:], middle, resets=resets[k:], gradient=gradient)
        return final, stacked_in_time(before, after)

    want = gradients(gradient, *e.arguments(), run=two, resets=e.resets)
    got = gradients(gradient, *e.arguments(), burn_in=k, resets=e.resets)
    assert_close(got, want, 1e-12)
    np.testing.assert_array_equal(got["['xs']"][:k], 0.0)


def stacked_in_time(a, b):
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)


@pytest.mark.always
def test_states_continue_a_run_anywhere(x64):
    """With holes and episodes, also one that starts on a hole at the end of what was read."""
    e = example(BY_NAME["lstm"], T=9)
    cell, params, xs, carry = e.arguments()
    mask = np.random.default_rng(0).random(e.resets.shape) < 0.5
    resets = e.resets.copy()
    mask[4], resets[4] = False, True
    _, ys, states = jaxrnn.unroll(cell, params, xs, carry, resets=resets, mask=mask, states=True)
    for t in range(8):
        start, options = jax.tree.map(lambda s, t=t: s[t], states), {"resets": resets[t + 1 :], "mask": mask[t + 1 :]}
        final, _ = jaxrnn.unroll(cell, params, xs[: t + 1], carry, resets=resets[: t + 1], mask=mask[: t + 1])
        assert_close(final, start, 1e-12)
        assert_close(jaxrnn.unroll(cell, params, xs[t + 1 :], start, **options)[1], ys[t + 1 :], 1e-12)


def model():
    return jaxrnn.chain(
        jaxrnn.gru(3, 4), jaxrnn.bidirectional(jaxrnn.lstm(4, 4), jaxrnn.gru(4, 4)), jaxrnn.repeat(jaxrnn.gru(8, 8), 2),
        jaxrnn.layer_norm(8), jaxrnn.dense(8, 2),
    )  # fmt: skip


def test_states_of_a_model_are_those_of_its_layers():
    rng = np.random.default_rng(0)
    xs, network, lengths = rng.normal(size=(5, 3, 3)), model(), np.array([5, 2, 4])
    params = network.init(jax.random.key(0))
    carry, ys, states = network.apply(params, xs, lengths=lengths, states=True)
    assert_close((carry, ys), network.apply(params, xs, lengths=lengths), 1e-6)
    assert jax.tree.structure(states) == jax.tree.structure(carry)
    first, both, several = states[0][0], states[1], states[2]
    assert_close(jax.tree.map(lambda x: x[-1], (first, both.forward)), (carry[0][0], carry[1].forward), 1e-6)
    assert_close(jax.tree.map(lambda x: x[0], both.backward), carry[1].backward, 1e-6)
    assert several.shape == (2, 5, 3, 8)
    assert_close(several[:, -1], carry[2], 1e-6)


def test_a_model_reads_masks_and_batch_first_data():
    rng = np.random.default_rng(0)
    xs, network = rng.normal(size=(5, 3, 3)), model()
    params, mask = network.init(jax.random.key(0)), rng.random((5, 3)) < 0.7
    want = network.apply(params, xs, mask=mask, states=True)
    got = network.apply(params, xs.swapaxes(0, 1), mask=mask.T, states=True, time_major=False)
    assert_close(got[1].swapaxes(0, 1), want[1], 1e-5)
    assert_close(jax.tree.map(lambda x: x.swapaxes(0, 1), got[2][0]), want[2][0], 1e-5)
    for b in range(3):  # a row with holes is the row without those steps
        short = xs[mask[:, b], b][:, None]
        assert_close(want[1][mask[:, b], b], network.apply(params, short)[1][:, 0], 1e-6)


@pytest.mark.parametrize("pool", [jaxrnn.last, jaxrnn.mean_over_time])
def test_pooling_reads_the_steps_that_count(pool):
    xs, mask = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("f"), np.array([[1, 0, 0], [0, 1, 0]] * 2, bool)
    _, ys = pool().apply({}, np.where(mask[..., None], xs, np.nan), mask=mask)
    want = [xs[2, 0], xs[3, 1]] if pool is jaxrnn.last else [xs[[0, 2], 0].mean(0), xs[[1, 3], 1].mean(0)]
    np.testing.assert_allclose(ys, [*want, np.zeros(2)], rtol=1e-6)


def test_a_cell_that_reads_a_tree():
    """{"a": [T, B, 2], "b": [T, B, 4, 3]}: the batch is what both have."""
    B, rng = 3, np.random.default_rng(0)

    def step(params, carry, x):
        h = jnp.tanh(carry + x["a"] @ params + x["b"].sum((-1, -2))[..., None])
        return h, h

    cell = jaxrnn.cell(lambda key: jnp.ones((2, 5)), lambda params, shape: jnp.zeros((*shape, 5)), step)
    xs = {"a": rng.normal(size=(6, B, 2)).astype("f"), "b": rng.normal(size=(6, B, 4, 3)).astype("f")}
    params, mask = cell.init(jax.random.key(0)), rng.random((6, B)) < 0.5
    carry, ys = jaxrnn.unroll(cell, params, jax.tree.map(lambda x: np.where(at(mask, x), x, np.nan), xs), mask=mask)
    h = np.zeros((B, 5), "f")
    for t in range(6):
        new = np.tanh(h + xs["a"][t] @ np.ones((2, 5), "f") + xs["b"][t].sum((-1, -2))[..., None])
        h = np.where(mask[t][:, None], new, h)
        np.testing.assert_allclose(ys[t], np.where(mask[t][:, None], new, 0), atol=1e-5)
    np.testing.assert_allclose(carry, h, atol=1e-5)
    with pytest.raises(ValueError, match=r"^xs\['b'\]: expected an array \[T, 3, ...\] of at least one step, got"):
        jaxrnn.unroll(cell, params, xs | {"b": xs["b"][:, :2]})
    with pytest.raises(TypeError, match=r"^xs: expected an array, got tuple of 2"):
        jaxrnn.unroll(jaxrnn.gru(2, 3), jaxrnn.gru(2, 3).init(jax.random.key(0)), (xs["a"], xs["a"]))


def at(mask, x):
    return mask.reshape(mask.shape + (1,) * (x.ndim - 2))


@pytest.mark.parametrize(
    ("merge", "want"),
    [
        ("sum", lambda a, b: a + b),
        ("mean", lambda a, b: (a + b) / 2),
        ("mul", lambda a, b: a * b),
        (None, lambda a, b: (a, b)),
        (jnp.maximum, np.maximum),
    ],
    ids=["sum", "mean", "mul", "None", "function"],
)
def test_merges_of_both_directions(merge, want):
    both = jaxrnn.bidirectional(jaxrnn.gru(2, 3), jaxrnn.lstm(2, 3), merge=merge)
    params, xs = both.init(jax.random.key(0)), np.random.default_rng(0).normal(size=(4, 2, 2)).astype("f")
    a = jaxrnn.unroll(both.forward, params["forward"], xs)[1]
    b = jaxrnn.unroll(both.backward, params["backward"], xs, reverse=True)[1]
    assert_close(both.apply(params, xs)[1], want(a, b), 1e-6)


def test_chain_and_stack_take_lists_arguments_and_cells():
    cells, dense = (jaxrnn.gru(2, 3), jaxrnn.lstm(3, 4)), jaxrnn.dense(4, 1)
    assert jaxrnn.stack(*cells) == jaxrnn.stack(cells) == jaxrnn.stack(list(cells))
    assert jaxrnn.chain(jaxrnn.stack(*cells), dense) == jaxrnn.chain([jaxrnn.stack(*cells), dense])
    assert jaxrnn.chain(*cells, dense) == jaxrnn.chain(jaxrnn.stack(cells[0]), jaxrnn.stack(cells[1]), dense)


def test_states_of_repeated_layers_have_time_before_the_rows():
    layers, xs = jaxrnn.repeat(jaxrnn.lstm(3, 3), 2), np.ones((5, 4, 3), "f")
    params = layers.init(jax.random.key(0))
    carry, _, states = layers.apply(params, xs, states=True)
    assert states.h.shape == (2, 5, 4, 3)
    assert_close(states.c[:, -1], carry.c, 0)
    _, _, rows_first = layers.apply(params, xs.swapaxes(0, 1), states=True, time_major=False)
    assert_close(rows_first.h, states.h.swapaxes(1, 2), 1e-6)


def test_scheduled_sampling_reads_the_truth_at_the_first_step_that_counts():
    layer = jaxrnn.chain(jaxrnn.gru(2, 2))
    sampled = jaxrnn.decoding.scheduled_sampling(layer, 1.0 - 1e-7)
    params, xs = layer.init(jax.random.key(0)), np.random.default_rng(0).normal(size=(4, 1, 2)).astype("f")
    mask = np.array([[False], [True], [False], [True]])
    _, ys = sampled.apply(params, xs, mask=mask, key=jax.random.key(1))
    carry, first = layer.apply(params, xs[1:2])
    _, second = layer.apply(params, first, carry=carry)
    assert_close(ys[1], first[0], 1e-5)
    assert_close(ys[3], second[0], 1e-5)
    resets = np.array([[False], [False], [True], [False]])  # on a hole: step 3 is its episode's first
    _, ys = sampled.apply(params, xs, mask=mask, resets=resets, key=jax.random.key(1))
    assert_close(ys[3], layer.apply(params, xs[3:])[1][0], 1e-5)


@pytest.mark.parametrize("pool", [jaxrnn.last, jaxrnn.mean_over_time])
def test_burn_in_holds_before_pooling(pool):
    network = jaxrnn.chain(jaxrnn.dense(3, 3), jaxrnn.gru(3, 3), jaxrnn.dense(3, 3), pool())
    params, xs = network.init(jax.random.key(0)), jnp.ones((5, 2, 3))

    def rest(params, xs, carry):
        _, hs = jaxrnn.chain(*network.models[:3]).apply({n: params[n] for n in "012"}, xs, carry=carry)
        return hs

    def by_hand(params, xs):
        still = jax.lax.stop_gradient(params)
        inner = jaxrnn.chain(*network.models[:3])
        carry, before = inner.apply({n: still[n] for n in "012"}, xs[:2])
        carry, before = jax.tree.map(jax.lax.stop_gradient, (carry, before))
        hs = jnp.concatenate([before, rest(params, xs[2:], carry)])
        return pool().apply({}, hs)[1].sum()

    want = jax.grad(by_hand, argnums=(0, 1))(params, xs)
    got = jax.grad(lambda p, x: network.apply(p, x, burn_in=2)[1].sum(), argnums=(0, 1))(params, xs)
    assert_close(got, want, 1e-5)


def test_a_hole_puts_out_zeros_whatever_layer_is_around():
    behind = [lambda m: jaxrnn.chain(m, jaxrnn.dense(3, 3)), lambda m: jaxrnn.chain(m, jaxrnn.layer_norm(3))]
    for around in (jaxrnn.residual, *behind):
        network = around(jaxrnn.stack(jaxrnn.gru(3, 3)))
        params = jax.tree.map(lambda x: x + 1, network.init(jax.random.key(0)))
        xs, mask = jnp.full((4, 2, 3), jnp.nan).at[::2].set(1.0), np.array([[True] * 2, [False] * 2] * 2)
        ys = np.asarray(network.apply(params, xs, mask=mask)[1])
        np.testing.assert_array_equal(ys[1::2], 0.0)
        assert (ys[::2] != 0).any()
        assert np.isfinite(ys).all()


def test_batch_first_data_of_one_row_alone_are_refused():
    cell = jaxrnn.gru(3, 4)
    params = cell.init(jax.random.key(0))
    network, square = jaxrnn.chain(cell), np.ones((3, 3), "f")
    for read, p in (
        (lambda p, xs, **o: jaxrnn.unroll(cell, p, xs, **o), params),
        (network.apply, {"0": {"0": params}}),
    ):
        with pytest.raises(ValueError, match=r"^xs: expected an array \[B, T, D\] with time_major=False"):
            read(p, square, time_major=False)


def test_symbols_are_pooled_by_their_mask():
    xs, mask = np.array([[5, 6], [7, 8], [9, 1]]), np.array([[True, False], [True, True], [False, False]])
    assert jaxrnn.last().apply({}, xs, mask=mask)[1].tolist() == [7, 8]


def test_a_model_that_hands_on_no_states_says_so():
    @jaxrnn.extend.pytree
    class Own(jaxrnn.Model):
        def init(self, key):
            return {}

        def initial_carry(self, params, batch_shape=()):
            return jnp.zeros(batch_shape)

        def run(self, params, carry, xs, call):
            return xs.sum((0, -1)), xs

    with pytest.raises(ValueError, match=r"^states: expected a model whose layers hand on call\.states"):
        Own().apply({}, np.ones((3, 2, 1), "f"), states=True)


def test_a_cell_that_reads_a_tree_is_checked_and_looked_at():
    def step(params, h, x):
        h = jnp.tanh(x["v"] @ params["w"] - x["dt"] * (h @ params["u"]))
        return h, h

    def init(key):
        return {"w": jax.random.normal(key, (3, 5)), "u": 0.3 * jnp.eye(5)}

    cell = jaxrnn.cell(init, lambda params, shape: jnp.zeros((*shape, 5)), step)
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3))
    params, tree, mask = cell.init(jax.random.key(1)), {"v": xs, "dt": xs[..., :1]}, np.ones((6, 2), bool)
    mask[3] = False
    assert jaxrnn.check_gradients(cell, params, tree, directions=1, mask=mask).ok
    found = jaxrnn.diagnostics.hidden_gradients(cell, params, tree, lambda ys: (ys**2).sum())
    assert found.shape == (6, 2, 5)
    model = jaxrnn.chain(cell)
    report = jaxrnn.gradient_report(model, {"0": {"0": params}}, {"xs": tree})
    assert "no loss" in str(report)
