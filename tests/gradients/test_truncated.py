"""Truncated BPTT against a plain NumPy loop and, for every kind of cell, against full BPTT of each block's losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.gradients.agreement import assert_equal_to_autodiff
from tests.gradients.transforms import TRANSFORMED, assert_equals_rows_of_autodiff
from tests.helpers import (
    assert_close,
    assert_padding_changes_nothing,
    cotangents,
    example,
    floats,
    gradients,
    mostly_slow,
)
from tests.registry import BY_NAME, D, H

CUTS = [(1, 1), (2, 2), (3, 3), (7, 7), (2, 4), (2, 3), (3, 7), (1, 5), (4, 6), (5, 9), (20, 20)]
T = 11


def elman_by_hand(p, xs, h0, dys, k1, k2):
    """The losses of steps [j*k1, (j+1)*k1) go back to step (j+1)*k1 - k2: one row, plain NumPy."""
    hs = [h0]
    for x in xs:
        hs.append(np.tanh(x @ p["w_x"] + hs[-1] @ p["w_h"] + p["b"]))
    d = {name: np.zeros_like(value) for name, value in p.items()} | {
        "xs": np.zeros_like(xs),
        "carry": np.zeros_like(h0),
    }
    for start in range(0, len(xs), k1):
        end = start + k1
        d_h = np.zeros_like(h0)
        for t in reversed(range(max(0, end - k2), min(end, len(xs)))):
            d_h = d_h + (dys[t] if t >= start else 0.0)
            dz = d_h * (1.0 - hs[t + 1] ** 2)
            d["w_x"] += np.outer(xs[t], dz)
            d["w_h"] += np.outer(hs[t], dz)
            d["b"] += dz
            d["xs"][t] += p["w_x"] @ dz
            d_h = p["w_h"] @ dz
        if end <= k2:
            d["carry"] += d_h
    return d


@pytest.mark.parametrize(("k1", "k2"), CUTS)
def test_equals_the_loop_by_hand(k1, k2, x64):
    rng = np.random.default_rng(0)
    p = {"w_x": rng.standard_normal((D, H)), "w_h": 0.6 * rng.standard_normal((H, H)), "b": rng.standard_normal(H)}
    xs, h0, dys = rng.standard_normal((T, D)), rng.standard_normal(H), rng.standard_normal((T, H))

    def loss(p, xs, h0):
        return jnp.sum(dys * jaxrnn.unroll(jaxrnn.elman(D, H), p, xs, h0, gradient=jaxrnn.truncated(k1, k2))[1])

    d_p, d_xs, d_h0 = jax.grad(loss, (0, 1, 2))(*jax.tree.map(jnp.asarray, (p, xs, h0)))
    assert_close(d_p | {"xs": d_xs, "carry": d_h0}, elman_by_hand(p, xs, h0, dys, k1, k2), 1e-10)


def block_by_block(e, k1, k2, options):
    """The sum over blocks of the gradient of the block's losses, with the carry at its window's start held fixed."""
    cell, params, xs, carry = e.arguments()
    T = len(xs)
    lengths, resets = options.get("lengths"), options.get("resets")

    def run(params, xs, carry, a, b):
        """Steps a to b."""
        o = {} if lengths is None else {"lengths": np.clip(lengths - a, 0, b - a)}
        o |= {} if resets is None else {"resets": resets[a:b]}
        return jaxrnn.unroll(cell, params, xs[a:b], carry, gradient=jaxrnn.autodiff(), **o) if b > a else (carry, None)

    full = jaxrnn.unroll(cell, params, xs, carry, lengths=lengths, resets=resets)
    weights = cotangents(full)
    carry_weights, (y_weights,) = weights[:-1], weights[-1:]

    def loss(arguments, start):
        params, xs, carry = arguments
        end, first = min(start + k1, T), max(0, start + k1 - k2)
        before, _ = run(params, xs, carry, 0, first)
        before = before if first == 0 else jax.lax.stop_gradient(before)
        final, ys = run(params, xs, before, first, end)
        total = jnp.sum(y_weights[start:end] * ys[start - first :])
        last = np.full(xs.shape[1], T) if lengths is None else np.maximum(lengths, 1)  # a row's own last step
        here = (start < last) & (last <= end)
        total += sum(
            jnp.sum(jnp.where(here[:, None], w * c, 0.0)) for w, c in zip(carry_weights, floats(final), strict=True)
        )
        return total

    parts = [jax.grad(loss)((params, xs, carry), start) for start in range(0, T, k1)]
    return jax.tree.map(lambda *ds: sum(ds), *parts)


@pytest.mark.parametrize(("k1", "k2"), [(2, 2), (3, 5)])
@pytest.mark.parametrize("name", mostly_slow(["lstm", "gru_before"], "lstm"))
@pytest.mark.parametrize("masked", mostly_slow([False, True], 1))
def test_equals_full_bptt_of_each_blocks_losses(name, k1, k2, masked, x64):
    e = example(BY_NAME[name], T=7)
    options = {"lengths": np.array([7, 4, 0]), "resets": e.resets} if masked else {}
    found = jax.jit(lambda a: gradients(jaxrnn.truncated(k1, k2), *a, **options))(e.arguments())
    d_params, d_xs, d_carry = jax.jit(lambda _: block_by_block(e, k1, k2, options))(0)
    named = jax.tree_util.tree_leaves_with_path({"params": d_params, "xs": d_xs, "carry": d_carry})
    want = {jax.tree_util.keystr(path): d for path, d in named}
    assert_close({name: found[name] for name in want}, want, 1e-10)


def test_padding_changes_nothing(x64):
    """A loss on the final carry reaches a row's own last block, however much padding follows."""
    assert_padding_changes_nothing(jaxrnn.truncated(3), "gru", 5)


@pytest.mark.parametrize("name", ["lstm", "gru_before"])
def test_in_reverse_it_is_the_truncation_of_the_reversed_sequence(name, x64):
    cell, params, xs, carry = example(BY_NAME[name], T=7).arguments()
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((7, xs.shape[1], H)))

    def g(xs, weights, reverse):
        def loss(params, xs):
            ys = jaxrnn.unroll(cell, params, xs, carry, reverse=reverse, gradient=jaxrnn.truncated(2, 3))[1]
            return jnp.sum(weights[..., : ys.shape[-1]] * ys)

        return jax.jit(jax.grad(loss, (0, 1)))(params, xs)

    (d_params, d_xs), (want, want_xs) = g(xs, weights, True), g(xs[::-1], weights[::-1], False)
    assert_close((d_params, d_xs), (want, want_xs[::-1]), 1e-12)


@pytest.mark.parametrize("name", ["lstm_dropout_zoneout", "custom_plain"])
@pytest.mark.parametrize("gradient", [jaxrnn.truncated(5, 5), jaxrnn.truncated(2, 6)], ids=str)
def test_is_full_bptt_if_it_reaches_back_to_the_start(name, gradient, x64):
    assert_equal_to_autodiff([(gradient, ())], BY_NAME[name], (np.dtype(np.float64), 1e-10))


CELLS = ("gru_zoneout", "custom_plain", "elman_dropout", "gru_before_noisy")


@pytest.mark.parametrize(
    ("name", "case"), mostly_slow(zip(CELLS, TRANSFORMED[::3] + TRANSFORMED[4:5], strict=True), 0, 2), ids=str
)
def test_under_options_and_transformations(name, case, x64):
    """Each row of a vmapped truncated gradient is that row's own."""
    assert_equals_rows_of_autodiff(jaxrnn.truncated(2, 3), BY_NAME[name], *case, reference=jaxrnn.truncated(2, 3))


def test_the_derivative_of_the_truncated_gradient_sees_the_carries_depend_on_the_parameters(x64):
    """As a function of the parameters the truncated gradient has a derivative of its own: by finite differences."""
    e = example(BY_NAME["elman"], T=6)
    params, xs = e.arguments()[1:3]

    def g(w):
        def loss(w):
            return jnp.sum(jaxrnn.unroll(e.cell, params | {"w_h": w}, xs, gradient=jaxrnn.truncated(2, 2))[1] ** 2)

        return jnp.sum(jnp.sin(jax.grad(loss)(w)))

    w, step = params["w_h"], 1e-6
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(w.shape))
    slope = (g(w + step * direction) - g(w - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(jax.grad(g)(w) * direction), slope, rtol=1e-6)
