"""The encoder-decoder against its parts, and the weights of its attention against plain NumPy loops."""

import jax
import numpy as np
import optax
import pytest

import jaxrnn as jr
from tests.helpers import assert_close
from tests.models.oracles import B, drawn
from tests.models.test_attention import LENGTHS, D, H, M, S, T, by_hand, decoder

O, SYMBOLS = 7, 5


def models():
    encoder = jr.chain(jr.embed(SYMBOLS, D), jr.bidirectional(jr.gru(D, 2), jr.gru(D, M - 2)))
    for attend in ("after", "before"):
        yield jr.encoder_decoder(
            encoder, jr.chain(jr.embed(SYMBOLS, D), decoder("additive", attend), jr.dense(H + M, O))
        )


def sentences():
    rng = np.random.default_rng(3)
    return rng.integers(0, SYMBOLS, (S, B)).astype(np.int32), rng.integers(0, SYMBOLS, (T, B)).astype(np.int32)


@pytest.mark.parametrize("model", list(models()), ids=["after", "before"])
def test_all_gradients_agree(model):
    params = drawn(model, dtype=np.float32)
    report = jr.check_gradients(model, params, sentences(), lengths=LENGTHS)
    assert report.ok, str(report)


@pytest.mark.parametrize("model", list(models()), ids=["after", "before"])
def test_an_encoder_decoder_is_its_parts(model, x64):
    params, (source, previous) = drawn(model), sentences()
    carry, ys = jax.jit(model.apply)(params, (source, previous), lengths=LENGTHS)
    _, memory = model.encoder.apply(params["encoder"], source, lengths=LENGTHS)
    attached = jr.attach(model.decoder, memory, lengths=LENGTHS)
    assert_close((carry, ys), attached.apply(params["decoder"], previous), 1e-10)
    garbage = source.copy()
    for b, length in enumerate(LENGTHS):
        garbage[length:, b] = 10**6
    assert_close(model.apply(params, (garbage, previous), lengths=LENGTHS), (carry, ys), 1e-10)


@pytest.mark.parametrize("model", list(models()), ids=["after", "before"])
def test_the_weights_are_those_of_the_equations(model, x64):
    params, (source, previous) = drawn(model), sentences()
    weights = jr.attention_weights(model, params, source, previous, lengths=LENGTHS)
    _, memory = model.encoder.apply(params["encoder"], source, lengths=LENGTHS)
    embedded, own = params["decoder"]["0"]["w"][previous], params["decoder"]["1"]
    _, want, _ = by_hand("additive", model.decoder.models[1].attend, own, embedded, np.asarray(memory), LENGTHS)
    assert_close(weights, want, 1e-10)
    np.testing.assert_allclose(np.asarray(weights).sum(-1)[:, LENGTHS > 0], 1.0, rtol=1e-12)


def test_it_learns_to_write_backwards():
    """Sequences of symbols, reversed: what cannot be done without looking back."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, SYMBOLS, (5, 512)).astype(np.int32)
    previous = np.concatenate([np.zeros((1, 512), np.int32), rows[::-1][:-1]])
    data = {"xs": rows, "previous": previous, "targets": rows[::-1].copy()}
    model = jr.encoder_decoder(
        jr.chain(jr.embed(SYMBOLS, 8), jr.bidirectional(jr.gru(8, 8), jr.gru(8, 8))),
        jr.chain(
            jr.embed(SYMBOLS, 8),
            jr.attention_decoder(jr.gru(8, 16), jr.dot_attention(16, 16)),
            jr.dense(32, SYMBOLS),
        ),
    )

    def loss(ys, batch):
        return jr.cross_entropy(ys, {"targets": batch["targets"]})

    with jax.numpy_dtype_promotion("standard"):
        result = jr.fit(
            model, loss, optax.adam(2e-2), data, key=jax.random.key(0), steps=300, batch_size=64, progress=False
        )
    assert result.history.train["loss"][-20:].mean() < 0.1 * np.log(SYMBOLS)
    attached = model.encode(result.params, rows[:, :50])
    _, written = jr.generate(attached, result.params["decoder"], np.zeros((1, 50), np.int32), 5)
    assert (np.asarray(written) == rows[::-1, :50]).mean() > 0.9
