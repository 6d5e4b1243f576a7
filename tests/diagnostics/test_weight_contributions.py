"""The parts of a weight's gradient: they sum to it, and each is what the step or lag gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import RUNS, case, jitted, linear, quadratic
from tests.helpers import assert_close

pytestmark = pytest.mark.usefixtures("x64")


def whole(e, options, reverse, gradient=None):
    def loss(params):
        return quadratic(jaxrnn.unroll(e.cell, params, e.xs, reverse=reverse, gradient=gradient, **options)[1])

    return jax.jit(jax.grad(loss))(e.params)


@pytest.mark.parametrize(("name", "reverse"), RUNS)
def test_the_parts_of_all_steps_and_of_all_lags_sum_to_the_gradient(name, reverse):
    e, options = case(name)
    names = tuple(e.params)
    want = whole(e, options, reverse, jaxrnn.reverse_scan())
    for f in (jaxrnn.diagnostics.weight_contributions, jaxrnn.diagnostics.lag_contributions):
        parts = jitted(f, e, quadratic, names=names, reverse=reverse, **options)
        assert all(x.shape[0] == len(e.xs) for x in jax.tree.leaves(parts))
        assert_close(jax.tree.map(lambda x: x.sum(0), parts), {name: want[name] for name in names}, 1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_each_step_and_each_lag_of_a_linear_recurrence(reverse):
    """h[t] = x[t] + h[t-1] @ w: y[s] gives to w, as step t uses it, h[t-1]^T d[s] (w^T)^(s-t)."""
    cell, params = linear(3)
    T, w = 5, params["w_h"]
    xs = np.random.default_rng(2).standard_normal((T, 3))
    ys = np.asarray(jaxrnn.unroll(cell, params, xs, reverse=reverse)[1])
    d = np.asarray(jax.grad(quadratic)(jnp.asarray(ys)))
    order = range(T)[::-1] if reverse else range(T)
    steps, lags = np.zeros((T, 3, 3)), np.zeros((T, 3, 3))
    for s_at, s in enumerate(order):
        for t_at, t in enumerate(list(order)[: s_at + 1]):
            before = ys[t + 1 if reverse else t - 1] if t_at else np.zeros(3)
            part = np.outer(before, np.linalg.matrix_power(w, s_at - t_at) @ d[s])
            steps[t] += part
            lags[s_at - t_at] += part
    assert_close(
        jaxrnn.diagnostics.weight_contributions(cell, params, xs, quadratic, reverse=reverse)["w_h"], steps, 1e-12
    )
    assert_close(jaxrnn.diagnostics.lag_contributions(cell, params, xs, quadratic, reverse=reverse)["w_h"], lags, 1e-12)


def test_the_lags_of_a_masked_lstm_are_those_of_one_output_at_a_time():
    """The reference: a loss that reads y[s] alone, whose contribution at step t has the lag s - t."""
    e, options = case("lstm_peephole")
    T = len(e.xs)
    ys = jaxrnn.unroll(e.cell, e.params, e.xs, **options)[1]
    d_ys = jax.grad(quadratic)(ys)
    want = np.zeros((T, *e.params["w_h"].shape))

    @jax.jit
    def alone(s):
        return jaxrnn.diagnostics.weight_contributions(
            e.cell, e.params, e.xs, lambda ys: jnp.vdot(ys[s], d_ys[s]), **options
        )["w_h"]

    for s in range(T):
        at_t = np.asarray(alone(s))
        for t in range(s + 1):
            want[s - t] += at_t[t]
    assert_close(jitted(jaxrnn.diagnostics.lag_contributions, e, quadratic, **options)["w_h"], want, 1e-12)
    short = jitted(jaxrnn.diagnostics.lag_contributions, e, quadratic, max_lag=2, **options)["w_h"]
    assert_close(short, want[:3], 1e-12)


def test_a_mean_over_steps_divides_every_part_by_the_number_of_steps():
    e, options = case("gru")
    T = len(e.xs)
    total = jaxrnn.diagnostics.weight_contributions(e.cell, e.params, e.xs, lambda ys: ys.sum(), **options)["w_h"]
    mean = jaxrnn.diagnostics.weight_contributions(e.cell, e.params, e.xs, lambda ys: ys.sum() / T, **options)["w_h"]
    assert_close(mean.sum(0), total.mean(0), 1e-12)


def test_the_default_is_the_recurrent_matrix_or_all_there_is():
    for name, want in (("lstm", {"w_h"}), ("custom_plain", {"w", "u"})):
        e, _ = case(name)
        assert set(jaxrnn.diagnostics.weight_contributions(e.cell, e.params, e.xs, quadratic)) == want


def test_the_norm_by_lag_of_a_linear_recurrence():
    """Only the last output counts, so that r[k] = |w^k d| / |d|."""
    cell, params = linear(3)
    d = jnp.array([1.0, -2.0, 0.5])
    found = jaxrnn.diagnostics.gradient_norm_by_lag(cell, params, np.ones((6, 3)), lambda ys: ys[-1] @ d)
    want = [np.linalg.norm(np.linalg.matrix_power(params["w_h"], k) @ d) / np.linalg.norm(d) for k in range(6)]
    assert_close(found, np.array(want), 1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_norm_by_lag_counts_outputs_only_that_have_so_many_steps_before_them(reverse):
    """A recurrence that keeps the gradient as it is: r[k] is 1 wherever some episode is long enough."""
    cell, params = linear(2)
    params = params | {"w_h": np.eye(2)}
    T, lengths = 6, np.array([6, 3, 0])
    resets = np.zeros((T, 3), bool)
    resets[2, 0] = True  # row 0: episodes of 2 and 4 steps; row 1: 3 steps
    found = np.asarray(
        jaxrnn.diagnostics.gradient_norm_by_lag(
            cell, params, np.ones((T, 3, 2)), lambda ys: ys.sum(), lengths=lengths, resets=resets, reverse=reverse
        )
    )
    np.testing.assert_allclose(found[:4], 1.0, rtol=1e-12)
    assert np.all(np.isnan(found[4:]))


def test_they_can_be_vmapped():
    e, _ = case("elman")
    xs = jnp.asarray(e.xs)
    for f, get in (
        (jaxrnn.diagnostics.lag_contributions, lambda x: x["w_h"]),
        (jaxrnn.diagnostics.gradient_norm_by_lag, lambda x: x),
    ):
        run = jax.jit(lambda xs, f=f, get=get: get(f(e.cell, e.params, xs, quadratic)))
        assert_close(jax.vmap(run, in_axes=1)(xs), jnp.stack([run(xs[:, row]) for row in range(3)]), 1e-12)
