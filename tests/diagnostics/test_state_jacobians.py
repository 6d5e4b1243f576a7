"""dh[t]/dh[t-1] against JAX's own derivative of one row's step, and by what it says of gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import RUNS, case, in_running_order, jitted, linear, quadratic, select
from tests.helpers import assert_close, floats, merge

pytestmark = pytest.mark.usefixtures("x64")


def flat(tree):
    return jnp.concatenate([x.reshape(-1) for x in floats(tree)])


def by_hand(e, options, reverse):
    """jax.jacfwd of the batched step, of which each row's own block is taken."""
    xs, valid, resets, noise, initial = in_running_order(e, options, reverse)
    carry, found = options["carry"], []
    B = xs.shape[1]

    def block(row, values, t, carry):
        """Row `row` of the step as a function of that row's carry."""
        whole = merge(carry, [x.at[row].set(v) for x, v in zip(floats(carry), values, strict=True)])
        entered = select(resets[t], initial, whole)
        after, _ = e.cell.step(e.params, entered, xs[t], jax.tree.map(lambda n: n[t], noise))
        return flat(jax.tree.map(lambda x: x[row], select(valid[t], after, whole)))

    for t in range(len(xs)):
        rows = []
        for row in range(B):
            at_row = [x[row] for x in floats(carry)]
            columns = jax.jacfwd(lambda v, row=row, t=t, carry=carry: block(row, v, t, carry))(at_row)
            rows.append(jnp.concatenate([c.reshape(c.shape[0], -1) for c in columns], -1))
        found.append(jnp.stack(rows))
        entered = select(resets[t], initial, carry)
        after, _ = e.cell.step(e.params, entered, xs[t], jax.tree.map(lambda n, t=t: n[t], noise))
        carry = select(valid[t], after, carry)
    found = jnp.stack(found)
    return jnp.flip(found, 0) if reverse else found


@pytest.mark.parametrize(("name", "reverse"), RUNS)
def test_it_is_the_derivative_of_each_rows_step(name, reverse):
    e, options = case(name, T=3)
    found = jitted(jaxrnn.diagnostics.state_jacobians, e, reverse=reverse, **options)
    assert_close(found, jax.jit(lambda: by_hand(e, options, reverse))(), 1e-12)


def test_padding_keeps_the_state_and_an_episodes_start_forgets_it():
    e, options = case("lstm")
    J = np.asarray(jaxrnn.diagnostics.state_jacobians(e.cell, e.params, e.xs, **options))
    valid = np.arange(len(e.xs))[:, None] < e.lengths[None]
    assert (~valid).any()
    assert (e.resets & valid).any()
    np.testing.assert_array_equal(J[~valid], np.broadcast_to(np.eye(J.shape[-1]), J[~valid].shape))
    assert not J[e.resets & valid].any()
    assert np.all(np.abs(J[valid & ~e.resets]).max((-1, -2)) > 0)


def test_they_carry_the_gradient_from_state_to_state():
    """dL/dh[t-1] = J[t]^T dL/dh[t], for a loss of the last output."""
    e, _ = case("lstm")
    J = jaxrnn.diagnostics.state_jacobians(e.cell, e.params, e.xs)
    d = jaxrnn.diagnostics.hidden_gradients(e.cell, e.params, e.xs, lambda ys: quadratic(ys[-1]))
    d = jnp.concatenate([d.h, d.c], -1)
    assert_close(jnp.einsum("tbij,tbi->tbj", J[1:], d[1:]), d[:-1], 1e-12)


def test_those_of_a_linear_recurrence_are_its_matrix():
    cell, params = linear(3)
    J = jaxrnn.diagnostics.state_jacobians(cell, params, np.ones((4, 2, 3)))
    assert_close(J, np.broadcast_to(params["w_h"].T, (4, 2, 3, 3)), 1e-14)


def test_any_batch_axes_and_vmap():
    e, _ = case("gru", batch=(2, 3), T=2)
    J = jaxrnn.diagnostics.state_jacobians(e.cell, e.params, e.xs)
    each = jax.vmap(jax.vmap(lambda xs: jaxrnn.diagnostics.state_jacobians(e.cell, e.params, xs), 1, 1), 1, 1)(
        jnp.asarray(e.xs)
    )
    assert J.shape == (2, 2, 3, 4, 4)
    assert_close(J, each, 1e-12)


def test_float32():
    e, _ = case("elman", T=2)
    want = jaxrnn.diagnostics.state_jacobians(e.cell, e.params, e.xs)
    with jax.enable_x64(False):
        params = jax.tree.map(lambda x: np.asarray(x, np.float32), e.params)
        found = jaxrnn.diagnostics.state_jacobians(e.cell, params, e.xs.astype(np.float32))
    assert found.dtype == np.float32
    assert_close(found, want, 1e-5)
