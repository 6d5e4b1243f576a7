"""Cells of a user's own that a kernel might get wrong: either it equals the scan, or it says why it can't."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, mostly_slow

PERSISTENT = jaxrnn.reverse_scan(loop="persistent")
TANH = {"a": jnp.tanh}


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

    def update(params, c, gates, noise):
        ((zx, zh),) = gates
        return Odd(0.5 * c.h + jnp.tanh(zx + c.gain * zh), 0.9 * c.gain, c.count + 1)

    return jaxrnn.gated_cell(3, H, {"n": jaxrnn.apart}, update, hidden=lambda c: c.h, zero_carry=zeros)


def with_params(update, shape, **options):
    def own(key):
        return {"a": 0.3 * jax.random.normal(key, shape)}

    return jaxrnn.gated_cell(3, 8, TANH, update, own_params=own, **options)


def slowing(H, **options):
    """Each row has a rate of its own, which falls."""

    def update(params, c, gates, noise):
        h, rate = c
        return (1 - rate[..., None]) * h + rate[..., None] * gates[0], 0.9 * rate

    def zeros(batch_shape, dtype):
        return jnp.zeros((*batch_shape, H), dtype), jnp.full(batch_shape, 0.5, dtype)

    return jaxrnn.gated_cell(3, H, TANH, update, hidden=lambda c: c[0], zero_carry=zeros, **options)


EQUAL = {
    "a number a row": (slowing(5), 4),
    "a number a row, heads": (slowing(8, heads=2), 4),
    "carry": (odd(8), 4),
    "as many rows as units": (odd(5), 5),
    "heads": (
        jaxrnn.gated_cell(
            3,
            8,
            {"a": jnp.tanh, "b": jaxrnn.apart(lambda zx, zh, a: zx * zh * a)},
            lambda p, c, g, n: jnp.tanh(g[0] + g[1]),
            heads=4,
        ),
        3,
    ),
    "rows of parameters": (
        with_params(lambda p, c, g, n: g[0] * p["a"][2] + p["a"][-1], (3, 8)),
        4,
    ),
    "a number": (with_params(lambda p, c, g, n: g[0] * p["a"], ()), 4),
    "heads of half as many units as a kernel's": (jaxrnn.lstm(3, 16, heads=2), 4),
    "one unit": (jaxrnn.gru(3, 1), 4),
}


def total(cell, gradient, params, xs):
    carry, ys = jaxrnn.unroll(cell, params, xs, gradient=gradient)
    return jnp.sum(jnp.sin(3.0 * ys)) + sum(jnp.sum(x) for x in jax.tree.leaves(carry) if x.dtype == jnp.float32)


@pytest.mark.parametrize("name", mostly_slow(EQUAL, "carry", "heads", "rows of parameters"))
def test_equal_to_the_scan(name):
    cell, B = EQUAL[name]
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (4, B, 3))
    with jax.numpy_rank_promotion("allow"):
        found, expected = (
            jax.jit(jax.value_and_grad(lambda p, x, g=g: total(cell, g, p, x), (0, 1)))(params, xs)
            for g in (PERSISTENT, jaxrnn.reverse_scan())
        )
    assert_close(found, expected, 1e-5)


def test_the_kernel_is_checked_as_other_gradients_are():
    """Interpreted, in float64."""
    cell = slowing(5, heads=1)
    report = jaxrnn.check_gradients(
        cell, cell.init(jax.random.key(0)), np.ones((3, 2, 3), np.float32), gradients=(PERSISTENT,), directions=1
    )
    assert report.ok, str(report)


def one(update, H, **options):
    """A cell of one gate, of which `update` makes the next carry: (gate, carry) -> carry."""
    return jaxrnn.gated_cell(3, H, TANH, lambda p, c, gates, n: update(gates[0], c), **options)


def numbered(a, axis=-1):
    return a * jax.lax.broadcasted_iota(jnp.float32, a.shape, axis % a.ndim)


def with_a_number(batch_shape, dtype):
    return jnp.zeros((*batch_shape, 5), dtype), jnp.ones((*batch_shape, 1), dtype)


OTHERS, NUMBERED = "others for one row, or another number of units", "hold or number an array"
MIXED_UNITS, MIXED_ROWS = "its equations mix hidden units", "its equations mix rows"
REFUSED = {
    "arithmetic on rows": (with_params(lambda p, c, g, n: g[0] + (2 * p["a"])[0], (3, 8)), "own parameters"),
    "a width": (one(lambda a, c: a / a.shape[-1], 5), OTHERS),
    "the number of rows": (one(lambda a, c: a / len(c), 16), OTHERS),
    "a width as an exponent": (one(lambda a, c: a ** c.shape[-1], 5), OTHERS),
    "a width, within a call": (one(lambda a, c: jax.checkpoint(lambda a: a / a.shape[-1])(a), 5), OTHERS),
    "a width, in an activation": (
        jaxrnn.gated_cell(3, 5, {"a": lambda z: z / z.shape[-1]}, lambda p, c, g, n: g[0]),
        OTHERS,
    ),
    "units one further": (one(lambda a, c: a * jnp.concatenate([c[..., :1] * 0, c], -1)[..., :-1], 5), MIXED_UNITS),
    "units one further, by a number": (
        one(
            lambda a, c: (a * jnp.concatenate([c[1], c[0]], -1)[..., :-1], c[1]),
            5,
            hidden=lambda c: c[0],
            zero_carry=with_a_number,
        ),
        MIXED_UNITS,
    ),
    "an activation of all units": (
        jaxrnn.gated_cell(3, 8, {"a": jax.nn.softmax}, lambda p, c, g, n: g[0], heads=2),
        MIXED_UNITS,
    ),
    "a gate apart of all units": (
        jaxrnn.gated_cell(
            3, 5, {"a": jaxrnn.apart(lambda zx, zh: zx - zh.max(-1, keepdims=True))}, lambda p, c, g, n: g[0]
        ),
        MIXED_UNITS,
    ),
    "numbered units": (one(lambda a, c: jax.checkpoint(numbered)(a), 8, heads=2), NUMBERED),
    "numbered units, and more": (one(lambda a, c: a * (1 + jnp.arange(20.0))[: c.shape[-1]], 8, heads=2), NUMBERED),
    "numbered rows": (one(lambda a, c: numbered(a, 0), 16), MIXED_ROWS),
    "rows one further": (
        one(lambda a, c: a + jax.lax.pad(c, 0.0, ((1, -1, 0), *[(0, 0, 0)] * (c.ndim - 1))), 16),
        MIXED_ROWS,
    ),
    "an activation of all rows": (
        jaxrnn.gated_cell(3, 16, {"a": lambda z: jnp.tanh(z - z.mean(0))}, lambda p, c, g, n: g[0]),
        MIXED_ROWS,
    ),
    "an axis from the front": (one(lambda a, c: a - c.mean(1, keepdims=True), 16), "axes from the end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    cell, reason = REFUSED[name]
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=reason):
        jaxrnn.unroll(cell, cell.init(jax.random.key(0)), np.ones((4, 2, 3), np.float32), gradient=PERSISTENT)


@pytest.mark.parametrize("limits", [{"clip_norm": 1.0}, {"clip_value": 0.1}], ids=str)
def test_limits_of_what_heads_share_are_refused(limits):
    cell = jaxrnn.gated_cell(
        3,
        8,
        TANH,
        lambda p, c, g, n: {"h": g[0] * c["s"], "s": c["s"]},
        hidden=lambda c: c["h"],
        zero_carry=lambda b, dtype: {"h": jnp.zeros((*b, 8), dtype), "s": jnp.ones((*b, 1), dtype)},
        heads=2,
    )
    gradient = jaxrnn.reverse_scan(loop="persistent", **limits)
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match="of all heads together"):
        jaxrnn.unroll(cell, cell.init(jax.random.key(0)), np.ones((4, 2, 3), np.float32), gradient=gradient)
