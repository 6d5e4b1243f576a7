"""Attention, its decoder and the encoder-decoder against plain NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close
from tests.models import attention_oracles as oracles
from tests.models.oracles import B, drawn

S, T, D, H, M, A = 6, 4, 3, 4, 5, 3
LENGTHS = np.array([S, 1, 0, 4], np.int32)
ATTENTIONS = {
    "additive": (jaxrnn.additive_attention(H, M, A), oracles.additive_scores),
    "general": (jaxrnn.dot_attention(H, M), oracles.dot_scores),
}
STEP = reference.gru()
every_kind = pytest.mark.parametrize("kind", ATTENTIONS)
every_time = pytest.mark.parametrize("attend", ["after", "before"])


def decoder(kind, attend):
    return jaxrnn.attention_decoder(
        jaxrnn.gru(D + M if attend == "before" else D, H), ATTENTIONS[kind][0], attend=attend
    )


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def by_hand(kind, attend, params, xs, memory, lengths):
    """The decoder's outputs, weights and final states, row by row and step by step."""
    scores = ATTENTIONS[kind][1]
    ys, all_weights, finals = (
        np.zeros((*xs.shape[:2], H + M)),
        np.zeros((*xs.shape[:2], len(memory))),
        np.zeros((xs.shape[1], H)),
    )
    for b, length in enumerate(lengths):
        h, seen = np.zeros(H), memory[:length, b]
        for t, x in enumerate(xs[:, b]):
            if attend == "before":
                context, weights = oracles.attend(scores, params["attention"], h, seen)
                x = np.concatenate([x, context])
            h, _ = STEP(params["cell"], h, x, None)
            if attend == "after":
                context, weights = oracles.attend(scores, params["attention"], h, seen)
            ys[t, b] = np.concatenate([h, context])
            all_weights[t, b, :length] = weights
        finals[b] = h
    return ys, all_weights, finals


@every_kind
@every_time
def test_the_decoder_is_its_equations(kind, attend, precision):
    dtype, tolerance = precision
    model = decoder(kind, attend)
    params = drawn(model, dtype=dtype)
    xs, memory = random(T, B, D).astype(dtype), random(S, B, M, seed=1).astype(dtype)
    padded = memory.copy()
    for b, length in enumerate(LENGTHS):
        padded[length:, b] = np.nan
    attached = jaxrnn.attach(model, padded, lengths=LENGTHS)
    carry, ys = jax.jit(lambda m, p, x: m.apply(p, x))(attached, params, xs)
    want, _, finals = by_hand(kind, attend, params, xs, memory, LENGTHS)
    assert_close((carry, ys), (finals, want), tolerance)
    whole = by_hand(kind, attend, params, xs, memory, [S] * B)
    assert_close(jaxrnn.attach(model, memory).apply(params, xs)[1], whole[0], tolerance)


def test_plain_dot_products_have_no_parameters(x64):
    model = jaxrnn.attention_decoder(jaxrnn.gru(D, H), jaxrnn.dot_attention(H, H, general=False))
    params, xs, memory = drawn(model), random(T, B, D), random(S, B, H, seed=1)
    assert params["attention"] == {}
    _, ys = jaxrnn.attach(model, memory).apply(params, xs)
    for b in range(B):
        context, _ = oracles.attend(oracles.dot_scores, {}, np.asarray(ys[1, b, :H]), memory[:, b])
        assert_close(ys[1, b, H:], context, 1e-10)


@every_time
def test_unbatched_and_vmapped_rows_equal_a_batch(attend, x64):
    model = decoder("additive", attend)
    params, xs, memory = drawn(model), random(T, B, D), random(S, B, M, seed=1)
    _, want = jaxrnn.attach(model, memory, lengths=LENGTHS).apply(params, xs)
    rows = jax.vmap(lambda m, n, x: jaxrnn.attach(model, m, lengths=n).apply(params, x)[1], (1, 0, 1), 1)
    assert_close(rows(memory, jnp.asarray(LENGTHS), xs), want, 1e-10)
    assert_close(jaxrnn.attach(model, memory[:, 1], lengths=LENGTHS[1]).apply(params, xs[:, 1])[1], want[:, 1], 1e-10)


@every_time
def test_rows_that_end_put_out_zeros(attend, x64):
    model, lengths = decoder("general", attend), np.array([2, 4, 0, 1])
    params, xs, memory = drawn(model), random(T, B, D), random(S, B, M, seed=1)
    attached = jaxrnn.attach(model, memory)
    full = np.array(attached.apply(params, xs)[1])
    valid = np.arange(T)[:, None] < lengths
    assert_close(attached.apply(params, xs, lengths=lengths)[1], np.where(valid[..., None], full, 0.0), 1e-10)
