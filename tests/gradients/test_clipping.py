"""Limits of dL/dcarry at each step, against a Python loop over `jax.vjp` of the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, assert_padding_changes_nothing, example, gradients
from tests.registry import BY_NAME

LIMITS = {"norm": {"clip_norm": 0.3}, "value": {"clip_value": 0.1}, "both": {"clip_norm": 0.25, "clip_value": 0.15}}


def clip(d, norm=np.inf, value=np.inf):
    """dL/dcarry, leaves [B, ...]; norms by row."""
    d = jax.tree.map(lambda x: np.clip(x, -value, value), d)
    norms = np.sqrt(sum(np.sum(np.asarray(x) ** 2, axis=tuple(range(1, np.ndim(x)))) for x in jax.tree.leaves(d)))
    scale = np.minimum(1.0, norm / np.maximum(norms, 1e-300))
    return jax.tree.map(lambda x: x * scale.reshape(-1, *(1,) * (np.ndim(x) - 1)), d)


def by_hand(e, d_ys, d_final, clip_norm=np.inf, clip_value=np.inf):
    """dL/dparams, step by step from the last, and dL/dcarry."""
    cell, params, xs, carry = e.arguments()
    pulls = []
    for x in xs:
        (carry, _), pull = jax.vjp(lambda p, c, x=x: cell.step(p, c, x), params, carry)
        pulls.append(pull)
    total, d_carry = jax.tree.map(jnp.zeros_like, params), d_final
    for pull, d_y in zip(reversed(pulls), d_ys[::-1], strict=True):
        d_params, d_carry = pull((d_carry, d_y))
        d_carry = clip(d_carry, clip_norm, clip_value)
        total = jax.tree.map(jnp.add, total, d_params)
    return total, d_carry


CASES = [
    ("lstm", "norm"),
    ("lstm", "value"),
    ("lstm", "both"),
    ("elman", "both"),
    ("gru", "norm"),
    ("gru_before", "both"),
]


@pytest.mark.parametrize(("name", "which"), CASES)
def test_equals_the_loop_by_hand(name, which, x64):
    e, limits = example(BY_NAME[name]), LIMITS[which]
    cell, params, xs, carry = e.arguments()
    final, ys = jaxrnn.unroll(cell, params, xs, carry)
    rng = np.random.default_rng(0)
    d_ys = jnp.asarray(rng.standard_normal(ys.shape))
    d_final = jax.tree.map(lambda c: jnp.asarray(rng.standard_normal(c.shape)), final)

    def outputs(params, carry):
        return jaxrnn.unroll(cell, params, xs, carry, gradient=jaxrnn.reverse_scan(**limits))

    _, pull = jax.vjp(outputs, params, carry)
    want = by_hand(e, d_ys, d_final, **limits)
    assert_close(pull((d_final, d_ys)), want, 1e-10)
    unlimited = by_hand(e, d_ys, d_final)
    assert np.max(np.abs(want[0]["w_h"] - unlimited[0]["w_h"])) > 1e-2


@pytest.mark.parametrize("name", ["lstm_dropout_zoneout", "custom_plain"])
def test_wide_limits_change_nothing(name, x64):
    e = example(BY_NAME[name])
    options = {"lengths": e.lengths, "resets": e.resets, "key": jax.random.key(0), "reverse": True}
    wide = jaxrnn.reverse_scan(clip_norm=1e6, clip_value=1e6)
    assert_close(*(gradients(g, *e.arguments(), **options) for g in (wide, jaxrnn.reverse_scan())), 1e-14)


def test_limits_can_be_swept(x64):
    e = example(BY_NAME["lstm"])

    def g(norm):
        return gradients(jaxrnn.reverse_scan(clip_norm=norm), *e.arguments())["['params']['w_h']"]

    norms = jnp.array([0.1, 0.5, 100.0])
    assert_close(jax.jit(jax.vmap(g))(norms), jnp.stack([g(n) for n in norms]), 1e-12)


def test_rows_are_limited_each_by_itself(x64):
    e = example(BY_NAME["gru"])

    @jax.jit
    def g(xs, carry):
        return gradients(jaxrnn.reverse_scan(clip_norm=0.2), e.cell, e.params, xs, carry)["['xs']"]

    xs, carry = e.arguments()[2:]
    rows = [g(xs[:, b], carry[b]) for b in range(3)]
    full = gradients(jaxrnn.reverse_scan(clip_norm=0.2), *e.arguments())["['xs']"]
    weights = gradients(jaxrnn.reverse_scan(), *e.arguments())["['xs']"]
    assert full.shape == weights.shape == jnp.stack(rows, 1).shape
    vmapped = jax.vmap(g, (1, 0), 1)(xs, carry)
    assert_close(vmapped, jnp.stack(rows, 1), 1e-12)


@pytest.mark.parametrize("name", ["elman", "gru_before"])
def test_padding_is_not_clipped(name, x64):
    """What a loss on the final carry gives is limited where a step hands it back, not on the padding after it."""
    assert_padding_changes_nothing(jaxrnn.reverse_scan(clip_norm=0.1, clip_value=0.08), name, 4)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e25, 1e36])
def test_the_norm_of_any_size_is_clipped_to_the_limit(size):
    cell = jaxrnn.elman(2, 3, activation=lambda z: z)
    params = cell.init(jax.random.key(0))

    def d_carry(gradient):
        loss = lambda carry: jnp.sum(size * jaxrnn.unroll(cell, params, jnp.zeros((1, 2)), carry, gradient=gradient)[0])  # noqa: E731
        return jax.grad(loss)(jnp.ones(3))

    norm = np.linalg.norm(np.asarray(d_carry(jaxrnn.reverse_scan()), np.float64))
    found = np.asarray(d_carry(jaxrnn.reverse_scan(clip_norm=0.5)), np.float64)
    np.testing.assert_allclose(np.linalg.norm(found), min(norm, 0.5), rtol=1e-5)
    np.testing.assert_array_equal(d_carry(jaxrnn.reverse_scan(clip_norm=jnp.inf)), d_carry(jaxrnn.reverse_scan()))


def test_an_exploding_gradient_stays_finite():
    cell = jaxrnn.elman(2, 8, activation=lambda z: z)
    params = cell.init(jax.random.key(0))
    params |= {"w_h": 3.0 * params["w_h"]}
    xs = 1e-30 * jnp.ones((200, 2))

    def norm(gradient):
        return jnp.linalg.norm(jax.grad(lambda x: jaxrnn.unroll(cell, params, x, gradient=gradient)[1][-1].sum())(xs))

    assert norm(jaxrnn.reverse_scan()) > 1e30 or not np.isfinite(norm(jaxrnn.reverse_scan()))
    assert norm(jaxrnn.reverse_scan(clip_norm=1.0)) < 1e3
