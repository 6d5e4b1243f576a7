"""The encoder-decoder against its parts, and the weights of its attention against plain NumPy loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.models.oracles import B, drawn, sequence, with_nan
from tests.models.test_attention import LENGTHS, D, H, M, S, T, by_hand, decoder

O, SYMBOLS = 7, 5
TARGETS_LENGTHS = np.array([T, 2, 3, 0], np.int32)


def models():
    encoder = jaxrnn.chain(jaxrnn.embed(SYMBOLS, D), jaxrnn.bidirectional(jaxrnn.gru(D, 2), jaxrnn.gru(D, M - 2)))
    for attend in ("after", "before"):
        yield jaxrnn.encoder_decoder(
            encoder, jaxrnn.chain(jaxrnn.embed(SYMBOLS, D), decoder("additive", attend), jaxrnn.dense(H + M, O))
        )


def sentences():
    rng = np.random.default_rng(3)
    return rng.integers(0, SYMBOLS, (S, B)).astype(np.int32), rng.integers(0, SYMBOLS, (T, B)).astype(np.int32)


@pytest.mark.parametrize("model", list(models())[1:], ids=["before"])
def test_all_gradients_agree(model):
    """Where the rows of both ends are padded."""
    params, (source, previous) = drawn(model, dtype=np.float32), sentences()
    xs = model.reads({"xs": source, "previous": previous, "targets_lengths": TARGETS_LENGTHS})
    report = jaxrnn.check_gradients(model, params, xs, lengths=LENGTHS)
    assert report.ok, str(report)


@pytest.mark.parametrize("model", list(models()), ids=["after", "before"])
def test_an_encoder_decoder_is_its_parts(model, x64):
    params, (source, previous) = drawn(model), sentences()
    apply = jax.jit(model.apply)
    carry, ys = apply(params, (source, previous), lengths=LENGTHS)

    @jax.jit
    def parts(params, source, previous):
        _, memory = model.encoder.apply(params["encoder"], source, lengths=LENGTHS)
        return jaxrnn.attach(model.decoder, memory, lengths=LENGTHS).apply(params["decoder"], previous)

    assert_close((carry, ys), parts(params, source, previous), 1e-10)
    garbage = source.copy()
    for b, length in enumerate(LENGTHS):
        garbage[length:, b] = 10**6
    assert_close(apply(params, (garbage, previous), lengths=LENGTHS), (carry, ys), 1e-10)


@pytest.mark.parametrize("model", list(models()), ids=["after", "before"])
def test_the_weights_are_those_of_the_equations(model, x64):
    params, (source, previous) = drawn(model), sentences()

    @jax.jit
    def weights_and_memory(params, source, previous):
        _, memory = model.encoder.apply(params["encoder"], source, lengths=LENGTHS)
        return jaxrnn.diagnostics.attention_weights(model, params, source, previous, lengths=LENGTHS), memory

    weights, memory = weights_and_memory(params, source, previous)
    embedded, own = params["decoder"]["0"]["w"][previous], params["decoder"]["1"]
    _, want, _ = by_hand("additive", model.decoder.models[1].attend, own, embedded, np.asarray(memory), LENGTHS)
    assert_close(weights, want, 1e-10)
    np.testing.assert_allclose(np.asarray(weights).sum(-1)[:, LENGTHS > 0], 1.0, rtol=1e-12)


def vectors(attend):
    """A model of vectors, with a batch of rows whose padding is NaN."""
    model = jaxrnn.encoder_decoder(
        jaxrnn.stack([jaxrnn.gru(D, M)]),
        jaxrnn.chain(jaxrnn.dense(D, D), decoder("additive", attend), jaxrnn.dense(H + M, O)),
    )
    source, previous = with_nan(sequence(S, B, D), LENGTHS), with_nan(sequence(T, B, D, seed=2), TARGETS_LENGTHS)
    targets = np.random.default_rng(4).integers(0, O, (T, B)).astype(np.int32)
    targets[np.arange(T)[:, None] >= TARGETS_LENGTHS] = -1
    batch = {"xs": source, "previous": previous, "lengths": LENGTHS}
    return model, batch | {"targets": targets, "targets_lengths": TARGETS_LENGTHS}


@pytest.mark.parametrize("attend", ["before"])
def test_the_padding_of_what_the_decoder_reads_reaches_nothing(attend, x64):
    """The loss and its gradients, those of both ends' inputs too, are those of the rows one by one, without padding."""
    model, batch = vectors(attend)

    @jax.jit
    @jax.value_and_grad
    def rows(arguments):
        params, sources, previous_ = arguments
        losses = []
        for b in range(B):
            source, previous = sources[: LENGTHS[b], b], previous_[: TARGETS_LENGTHS[b], b]
            if len(previous) and len(source):
                _, ys = model.apply(params, (source, previous))
            elif len(previous):  # what it looks at is nothing
                nothing = np.zeros((1, D))
                _, ys = model.apply(params, (nothing, previous), lengths=0)
            else:
                continue
            picked = batch["targets"][: len(previous), b]
            losses.append(-jax.nn.log_softmax(ys)[np.arange(len(picked)), picked])
        return jnp.concatenate(losses).mean()

    @jax.jit
    @jax.value_and_grad
    def whole(arguments):
        params, source, previous = arguments
        read = batch | {"xs": source, "previous": previous}
        options = {"lengths": batch["lengths"], "key": jax.random.key(0)}
        return jaxrnn.losses.cross_entropy(model.apply(params, model.reads(read), **options)[1], read)

    params = jax.tree.map(jnp.asarray, drawn(model))
    arguments = params, batch["xs"], batch["previous"]
    assert_close(whole(arguments), rows(arguments), 1e-10)
    found = jaxrnn.evaluate(model, params, jaxrnn.losses.cross_entropy, batch, batch_size=3)["loss"]
    np.testing.assert_allclose(found, whole(arguments)[0], rtol=1e-10)


@pytest.mark.always
def test_a_row_of_the_decoder_ends_at_its_own_length(x64):
    """Its carry is held there, and it looks at nothing any more."""
    model, batch = vectors("after")
    params, xs = drawn(model), model.reads(batch)
    apply = jax.jit(model.apply)
    carry, _ = apply(params, xs, lengths=LENGTHS)
    attend = jax.jit(functools.partial(jaxrnn.diagnostics.attention_weights, model, lengths=LENGTHS))
    weights = attend(params, *xs[:2], targets_lengths=TARGETS_LENGTHS)
    whole = attend(params, xs.source, np.nan_to_num(xs.previous))
    valid = np.arange(T)[:, None] < TARGETS_LENGTHS
    assert_close(weights, np.where(valid[..., None], whole, 0.0), 1e-10)
    for b, n in enumerate(TARGETS_LENGTHS):
        if n:
            short = xs._replace(previous=xs.previous[:n], lengths=np.minimum(TARGETS_LENGTHS, n))
            cut, _ = apply(params, short, lengths=LENGTHS)
            assert_close(jax.tree.map(lambda x, b=b: x[b], carry), jax.tree.map(lambda x, b=b: x[b], cut), 1e-10)


def test_a_batch_norm_in_the_decoder_counts_valid_steps_only(x64):
    decoded = jaxrnn.chain(jaxrnn.batch_norm(D), decoder("additive", "after"))
    model, batch = jaxrnn.encoder_decoder(jaxrnn.stack([jaxrnn.gru(D, M)]), decoded), vectors("after")[1]
    found = jaxrnn.training.calibrate(model, drawn(model), batch)["decoder"]["0"]["statistics"]
    values = batch["previous"][np.arange(T)[:, None] < TARGETS_LENGTHS]
    assert_close(found, {"mean": values.mean(0), "variance": values.var(0)}, 1e-10)


def test_a_decoder_may_read_its_own_outputs_while_it_is_trained(x64):
    """At rate 1 the decoder reads what it would choose, as in greedy decoding."""
    choose = lambda y, x: jnp.argmax(y, -1).astype(x.dtype)  # noqa: E731
    plain = jaxrnn.chain(jaxrnn.embed(O, D), decoder("additive", "after"), jaxrnn.dense(H + M, O))
    encoder = jaxrnn.stack([jaxrnn.gru(D, M)])
    model = jaxrnn.encoder_decoder(encoder, jaxrnn.decoding.scheduled_sampling(plain, 1.0, feedback=choose))
    params, source = drawn(model), sequence(S, B, D)
    previous = np.random.default_rng(0).integers(0, O, (T, B)).astype(np.int32)
    _, ys = jax.jit(model.apply)(params, (source, previous), key=jax.random.key(0))
    attached = jaxrnn.encoder_decoder(encoder, plain).encode(params, source)
    _, written = jaxrnn.decoding.generate(attached, params["decoder"], previous[:1], T)
    np.testing.assert_array_equal(np.argmax(ys, -1), written)


def test_it_learns_to_write_backwards():
    """Sequences of symbols, reversed: what cannot be done without looking back."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, SYMBOLS, (5, 512)).astype(np.int32)
    previous = np.concatenate([np.zeros((1, 512), np.int32), rows[::-1][:-1]])
    data = {"xs": rows, "previous": previous, "targets": rows[::-1].copy()}
    model = jaxrnn.encoder_decoder(
        jaxrnn.chain(jaxrnn.embed(SYMBOLS, 8), jaxrnn.bidirectional(jaxrnn.gru(8, 8), jaxrnn.gru(8, 8))),
        jaxrnn.chain(
            jaxrnn.embed(SYMBOLS, 8),
            jaxrnn.attention_decoder(jaxrnn.gru(8, 16), jaxrnn.dot_attention(16, 16)),
            jaxrnn.dense(32, SYMBOLS),
        ),
    )

    with jax.numpy_dtype_promotion("standard"):
        result = jaxrnn.fit(
            model, jaxrnn.losses.cross_entropy, optax.adam(2e-2), data, key=jax.random.key(0), steps=300, batch_size=64,
            progress=False,
        )  # fmt: skip
    assert result.history.train["loss"][-20:].mean() < 0.1 * np.log(SYMBOLS)
    attached = model.encode(result.params, rows[:, :50])
    _, written = jaxrnn.decoding.generate(attached, result.params["decoder"], np.zeros((1, 50), np.int32), 5)
    assert (np.asarray(written) == rows[::-1, :50]).mean() > 0.9


def test_attention_is_found_in_whatever_the_decoder_is(x64):
    """Inside a tied table, a shortcut, and a chain within a chain; weights are those of the same layer by itself."""
    inner = jaxrnn.attention_decoder(jaxrnn.gru(4, 4), jaxrnn.dot_attention(4, 4))
    layers = [jaxrnn.chain(inner, jaxrnn.dense(8, 4)), jaxrnn.residual(jaxrnn.chain(inner, jaxrnn.dense(8, 4)))]
    source, previous = np.array([[1, 2], [3, 0], [2, 2]]), np.array([[0, 1], [2, 3]])
    for layer in (*layers, jaxrnn.chain(layers[0])):
        encoder = jaxrnn.chain(jaxrnn.embed(5, 4), jaxrnn.gru(4, 4))
        model = jaxrnn.encoder_decoder(encoder, jaxrnn.tied(5, 4, layer))
        params = drawn(model)
        weights = jaxrnn.diagnostics.attention_weights(model, params, source, previous, lengths=[3, 2])
        plain = jaxrnn.encoder_decoder(encoder, jaxrnn.chain(jaxrnn.embed(5, 4), inner))
        own = params["decoder"]["model"]
        while "cell" not in own:
            own = own["0"]
        own = {"encoder": params["encoder"], "decoder": {"0": {"w": params["decoder"]["w"]}, "1": own}}
        want = jaxrnn.diagnostics.attention_weights(plain, own, source, previous, lengths=[3, 2])
        assert_close(weights, want, 1e-12)
        assert weights.shape == (2, 2, 3)


@pytest.mark.parametrize("lengths", [None, [3, 2]])
def test_a_shared_table_is_one_for_encoder_decoder_and_output(lengths, x64):
    """Outputs are those of two equal tables, and the gradient is the sum of theirs."""
    layer = jaxrnn.chain(jaxrnn.attention_decoder(jaxrnn.gru(4, 4), jaxrnn.dot_attention(4, 4)), jaxrnn.dense(8, 4))
    source, previous = np.array([[1, 2], [3, 0], [2, 2]]), np.array([[0, 1], [2, 3]])
    shared = jaxrnn.encoder_decoder(jaxrnn.chain(jaxrnn.gru(4, 4)), jaxrnn.tied(5, 4, layer), share_embedding=True)
    apart = jaxrnn.encoder_decoder(jaxrnn.chain(jaxrnn.embed(5, 4), jaxrnn.gru(4, 4)), jaxrnn.tied(5, 4, layer))
    params = drawn(shared)
    both = {**params, "encoder": {"0": {"w": params["decoder"]["w"]}, "1": params["encoder"]["0"]}}

    def total(model, params, source=source):
        ys = model.apply(params, (source, previous), lengths=lengths)[1]
        return (ys * np.linspace(-1.0, 1.0, ys.size).reshape(ys.shape)).sum(), ys

    (grads, ys), (wanted, want) = (
        jax.grad(total, 1, has_aux=True)(*each) for each in ((shared, params), (apart, both))
    )
    assert_close(ys, want, 1e-12)
    assert_close(grads["encoder"]["0"], wanted["encoder"]["1"], 1e-12)
    assert_close(grads["decoder"].pop("w"), wanted["encoder"]["0"]["w"] + wanted["decoder"].pop("w"), 1e-12)
    assert_close(grads["decoder"], wanted["decoder"], 1e-12)
    attached = shared.encode(params, source, lengths=lengths)
    assert_close(attached.apply(params["decoder"], previous)[1], ys, 1e-12)
    jaxrnn.check_gradients(shared, params, (source, previous), lengths=lengths)
    if lengths is not None:
        padded = np.where(np.arange(3)[:, None] < lengths, source, 99)
        np.testing.assert_array_equal(total(shared, params, padded)[1], ys)
