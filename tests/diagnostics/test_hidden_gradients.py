"""dL/dh[t] against autodiff of plain loops, and against the equation of the linear recurrence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import RUNS, case, in_running_order, jitted, linear, loop_from, quadratic, select
from tests.helpers import assert_close, floats, merge

pytestmark = pytest.mark.usefixtures("x64")


def by_hand(e, options, reverse):
    """dL/dcarry[t] by running the rest of a plain loop from a carry that is moved, for each t by itself."""
    xs, valid, resets, noise, initial = in_running_order(e, options, reverse)
    T, found = len(xs), []
    for t in range(T):
        before, carry = loop_from(
            e.cell, e.params, xs[: t + 1], options["carry"], initial, start=0, valid=valid, resets=resets, noise=noise
        )

        def loss(values, carry=carry, before=before, t=t):
            moved = merge(carry, values)
            here = e.cell.hidden(moved) if hasattr(e.cell, "hidden") else None
            here = moved.h if here is None and hasattr(e.cell, "P") else here  # the projected LSTM puts out h
            here = before[-1] if here is None else jnp.where(valid[t][:, None], here, 0.0)
            moved = select(valid[t], moved, carry)
            after, _ = loop_from(
                e.cell, e.params, xs, moved, initial, start=t + 1, valid=valid, resets=resets, noise=noise
            )
            ys = jnp.concatenate([before[:-1], here[None], *([after] if len(after) else [])])
            return quadratic(jnp.flip(ys, 0) if reverse else ys)

        found.append(jax.grad(loss)(floats(carry)))
    found = [jnp.stack(leaves) for leaves in zip(*found, strict=True)]
    return [jnp.flip(x, 0) for x in found] if reverse else found


@pytest.mark.parametrize(("name", "reverse"), RUNS)
def test_it_is_the_derivative_of_the_rest_of_the_loop(name, reverse):
    e, options = case(name, T=4)
    found = jitted(jaxrnn.diagnostics.hidden_gradients, e, quadratic, reverse=reverse, **options)
    assert_close(floats(found), jax.jit(lambda: by_hand(e, options, reverse))(), 1e-12)


def test_the_gradient_of_the_initial_carry_follows_from_that_of_the_first_state():
    cell, params = linear(3)
    xs = np.random.default_rng(1).standard_normal((4, 3))
    found = jaxrnn.diagnostics.hidden_gradients(cell, params, xs, quadratic)
    carry = jnp.zeros(3)
    want = jax.grad(lambda carry: quadratic(jaxrnn.unroll(cell, params, xs, carry)[1]))(carry)
    assert_close(found[0] @ params["w_h"].T, want, 1e-12)


def test_a_linear_recurrence_multiplies_by_its_matrix():
    cell, params = linear(3)
    xs, v = np.ones((6, 3)), jnp.array([1.0, -2.0, 0.5])
    found = jaxrnn.diagnostics.hidden_gradients(cell, params, xs, lambda ys: ys[-1] @ v)
    want = [np.linalg.matrix_power(params["w_h"], 5 - t) @ v for t in range(6)]
    assert_close(found, np.stack(want), 1e-12)


def test_padding_has_none_and_integers_have_none():
    e, options = case("custom_plain")
    found = jaxrnn.diagnostics.hidden_gradients(e.cell, e.params, e.xs, quadratic, reverse=True, **options)
    assert found.count is None
    valid = np.arange(len(e.xs))[:, None] < e.lengths[None]
    assert not np.any(np.asarray(found.h)[~valid])
    assert np.any(np.asarray(found.h)[valid])


def test_it_can_be_vmapped():
    e, _ = case("lstm")
    f = jax.jit(lambda xs: jaxrnn.diagnostics.hidden_gradients(e.cell, e.params, xs, quadratic))
    each = jax.vmap(f, in_axes=1, out_axes=1)(jnp.asarray(e.xs))
    for row in range(e.xs.shape[1]):
        assert_close(jax.tree.map(lambda x, row=row: x[:, row], each), f(jnp.asarray(e.xs[:, row])), 1e-12)


@pytest.mark.parametrize("change", [jax.jit, lambda step: lambda *a: (step(*a)[0], 1.0 * step(*a)[1])])
def test_an_output_that_equals_the_carry_counts_whatever_the_program_looks_like(change):
    step = jaxrnn.elman(2, 3).step
    cells = [jaxrnn.cell(jaxrnn.elman(2, 3).init, jaxrnn.elman(2, 3).initial_carry, f) for f in (step, change(step))]
    params, xs = cells[0].init(jax.random.key(0)), jnp.asarray(np.random.default_rng(0).standard_normal((4, 2, 2)))
    params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
    plain, changed = (jaxrnn.diagnostics.hidden_gradients(cell, params, xs, quadratic) for cell in cells)
    assert_close(changed, plain, 1e-12)
    assert_close(plain, jaxrnn.diagnostics.hidden_gradients(jaxrnn.elman(2, 3), params, xs, quadratic), 1e-12)
