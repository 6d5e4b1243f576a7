"""Cells of a user's own that a kernel might get wrong: either it equals the scan, or it says why it can't."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from tests.helpers import assert_close

PERSISTENT = jr.reverse_scan(loop="persistent")


class Odd(NamedTuple):
    """A carry with a number a row, one that counts, and one that is no number of units."""

    h: Any
    gain: Any
    count: Any


def odd(H, B_is_H=False):
    def zeros(batch_shape, dtype):
        return Odd(
            jnp.zeros((*batch_shape, H), dtype), jnp.ones((*batch_shape, 1), dtype), jnp.zeros(batch_shape, jnp.int32)
        )

    def update(params, c, zx, zh, noise):
        return Odd(0.5 * c.h + jnp.tanh(zx[0] + c.gain * zh[0]), 0.9 * c.gain, c.count + 1)

    return jr.gated_cell(3, H, 1, update, hidden=lambda c: c.h, zero_carry=zeros)


def with_params(update, shape, **options):
    def own(key):
        return {"a": 0.3 * jax.random.normal(key, shape)}

    return jr.gated_cell(3, 8, 1, update, own_params=own, **options)


def slowing(H, **options):
    """Each row has a rate of its own, which falls."""

    def update(params, c, zx, zh, noise):
        h, rate = c
        return (1 - rate[..., None]) * h + rate[..., None] * jnp.tanh(zx[0] + zh[0]), 0.9 * rate

    def zeros(batch_shape, dtype):
        return jnp.zeros((*batch_shape, H), dtype), jnp.full(batch_shape, 0.5, dtype)

    return jr.gated_cell(3, H, 1, update, hidden=lambda c: c[0], zero_carry=zeros, **options)


EQUAL = {
    "a number a row": (slowing(5), 4),
    "a number a row, heads": (slowing(8, heads=2), 4),
    "carry": (odd(8), 4),
    "as many rows as units": (odd(5), 5),
    "heads": (jr.gated_cell(3, 8, 2, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zx[1] * zh[1] + zh[0]), heads=4), 3),
    "rows of parameters": (
        with_params(lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * p["a"][2] + p["a"][-1], (3, 8)),
        4,
    ),
    "a number": (with_params(lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * p["a"], ()), 4),
    "one unit": (jr.gru(3, 1), 4),
}


def total(cell, gradient, params, xs):
    carry, ys = jr.unroll(cell, params, xs, gradient=gradient)
    return jnp.sum(jnp.sin(3.0 * ys)) + sum(jnp.sum(x) for x in jax.tree.leaves(carry) if x.dtype == jnp.float32)


@pytest.mark.parametrize("name", EQUAL)
def test_equal_to_the_scan(name):
    cell, B = EQUAL[name]
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (4, B, 3))
    with jax.numpy_rank_promotion("allow"):
        found, expected = (
            jax.jit(jax.value_and_grad(lambda p, x, g=g: total(cell, g, p, x), (0, 1)))(params, xs)
            for g in (PERSISTENT, jr.reverse_scan())
        )
    assert_close(found, expected, 1e-5)


def test_the_kernel_is_checked_as_other_gradients_are():
    """Interpreted, in float64."""
    cell = slowing(5, heads=1)
    report = jr.check_gradients(
        cell, cell.init(jax.random.key(0)), np.ones((3, 2, 3), np.float32), gradients=(PERSISTENT,), directions=1
    )
    assert report.ok, str(report)


REFUSED = {
    "arithmetic on rows": (
        with_params(lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) + (2 * p["a"])[0], (3, 8)),
        "own parameters",
    ),
    "a width": (
        jr.gated_cell(3, 5, 1, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) / zx[0].shape[-1]),
        "others for one row, or another number of units",
    ),
    "the number of rows": (
        jr.gated_cell(3, 16, 1, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) / len(c)),
        "others for one row, or another number of units",
    ),
    "units one further": (
        jr.gated_cell(
            3,
            5,
            1,
            lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * jnp.concatenate([c[..., :1] * 0, c], -1)[..., :-1],
        ),
        "its equations mix hidden units",
    ),
    "units one further, by a number": (
        jr.gated_cell(
            3,
            5,
            1,
            lambda p, c, zx, zh, n: (jnp.tanh(zx[0] + zh[0]) * jnp.concatenate([c[1], c[0]], -1)[..., :-1], c[1]),
            hidden=lambda c: c[0],
            zero_carry=lambda batch_shape, dtype: (
                jnp.zeros((*batch_shape, 5), dtype),
                jnp.ones((*batch_shape, 1), dtype),
            ),
        ),
        "its equations mix hidden units",
    ),
    "a width as an exponent": (
        jr.gated_cell(3, 5, 1, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) ** c.shape[-1]),
        "others for one row, or another number of units",
    ),
    "a width, within a call": (
        jr.gated_cell(
            3, 5, 1, lambda p, c, zx, zh, n: jax.checkpoint(lambda a: jnp.tanh(a) / a.shape[-1])(zx[0] + zh[0])
        ),
        "others for one row, or another number of units",
    ),
    "numbered units, within a call": (
        jr.gated_cell(
            3,
            8,
            1,
            lambda p, c, zx, zh, n: jax.checkpoint(
                lambda a: jnp.tanh(a) * jax.lax.broadcasted_iota(jnp.float32, a.shape, a.ndim - 1)
            )(zx[0] + zh[0]),
            heads=2,
        ),
        "hold or number an array",
    ),
    "numbered units, and more": (
        jr.gated_cell(
            3, 8, 1, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * (1 + jnp.arange(20.0))[: c.shape[-1]], heads=2
        ),
        "hold or number an array",
    ),
    "numbered rows": (
        jr.gated_cell(
            3,
            16,
            1,
            lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * jax.lax.broadcasted_iota(jnp.float32, c.shape, 0),
        ),
        "its equations mix rows",
    ),
    "rows one further": (
        jr.gated_cell(
            3,
            16,
            1,
            lambda p, c, zx, zh, n: (
                jnp.tanh(zx[0] + zh[0]) + jax.lax.pad(c, 0.0, ((1, -1, 0), *[(0, 0, 0)] * (c.ndim - 1)))
            ),
        ),
        "its equations mix rows",
    ),
    "an axis from the front": (
        jr.gated_cell(3, 16, 1, lambda p, c, zx, zh, n: jnp.tanh(zx[0] + zh[0]) - c.mean(1, keepdims=True)),
        "axes from the end",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    cell, reason = REFUSED[name]
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=reason):
        jr.unroll(cell, cell.init(jax.random.key(0)), np.ones((4, 2, 3), np.float32), gradient=PERSISTENT)


@pytest.mark.parametrize("limits", [{"clip_norm": 1.0}, {"clip_value": 0.1}], ids=str)
def test_limits_of_what_heads_share_are_refused(limits):
    cell = jr.gated_cell(
        3,
        8,
        1,
        lambda p, c, zx, zh, n: {"h": jnp.tanh(zx[0] + zh[0]) * c["s"], "s": c["s"]},
        hidden=lambda c: c["h"],
        zero_carry=lambda b, dtype: {"h": jnp.zeros((*b, 8), dtype), "s": jnp.ones((*b, 1), dtype)},
        heads=2,
    )
    gradient = jr.reverse_scan(loop="persistent", **limits)
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match="of all heads together"):
        jr.unroll(cell, cell.init(jax.random.key(0)), np.ones((4, 2, 3), np.float32), gradient=gradient)


def test_explain_sees_through_jit_and_leaves_nothing_behind(monkeypatch):
    from jaxrnn.gradients import loop_choice

    monkeypatch.setattr(loop_choice, "MEASURED", frozenset(["cuda"]))
    cell = jr.gru(3, 16)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((4, 2, 3))
    inner = jax.jit(lambda params, xs: jr.unroll(cell, params, xs)[1])

    class Jitted(type(jr.dense(3, 3))):
        """A model that jits its own loop."""

        def run(self, params, carry, xs, call):
            return (), inner(params, xs)

        def init(self, key):
            return cell.init(key)

    model = Jitted(3, 16)
    for _ in range(2):
        ((_, choice),) = jr.explain(model, params, xs, platform="cuda")
        assert choice.loop == "persistent"
    assert "persistent_loop" not in str(jax.make_jaxpr(inner)(params, xs))
