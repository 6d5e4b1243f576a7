"""One sequence into another."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.models.attention_decoder import AttentionDecoder, at_attention, attach
from jaxrnn.models.causal import checked_causal
from jaxrnn.models.composite import Composite
from jaxrnn.models.tied import Tied
from jaxrnn.types import Batch, Call, Model, Params, Tree, leaf, pytree, rows_and_steps
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float


class Pair(NamedTuple):
    """The two sequences that an encoder-decoder reads.

    Attributes:
      source: [S, *batch_shape, ...], for the encoder.
      previous: [T, *batch_shape, ...], for the decoder: the target one step late, so that the decoder's output at step
        t predicts the target at step t (teacher forcing).
      lengths: of the targets, and so of `previous`, integers [*batch_shape]. None: all rows have T steps.
    """

    source: Tree
    previous: Tree
    lengths: checks.ArrayLike | None = None


@pytree
class EncoderDecoder(Composite):
    """See `encoder_decoder`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> decoder = jaxrnn.attention_decoder(jaxrnn.gru(4, 8), jaxrnn.dot_attention(8, 6))
      >>> model = jaxrnn.encoder_decoder(jaxrnn.stack([jaxrnn.gru(3, 6)]), decoder)
      >>> params, source, previous = model.init(jax.random.key(0)), jnp.ones((7, 2, 3)), jnp.ones((5, 2, 4))
      >>> carry, ys = model.apply(params, (source, previous), lengths=[7, 4])
      >>> attached = model.encode(params, source, lengths=[7, 4])  # the source is read once
      >>> carry, first = attached.apply(params["decoder"], previous[:1])
      >>> bool(jnp.allclose(first, ys[:1], atol=1e-6))
      True
    """

    encoder: Model = leaf()
    decoder: Model = leaf()
    share_embedding: bool = False

    @property
    def parts(self) -> tuple[Model, Model]:
        return self.encoder, self.decoder

    @property
    def names(self) -> tuple[str, str]:
        return "encoder", "decoder"

    @property
    def features(self) -> tuple[None, int | None]:
        return None, self.decoder.features[1]

    @property
    def source_symbols(self) -> int | None:
        """The number of symbols of the source; None if it has vectors."""
        return (self.decoder if self.share_embedding else self.encoder).input_symbols

    def carry_of_parts(self, params: Params, batch_shape: tuple[int, ...]) -> Tree:
        return self.decoder.initial_carry(params["decoder"], batch_shape)

    def reads(self, batch: Batch) -> Pair:
        for name in ("xs", "previous"):
            checks.entry("batch", batch, name)
        lengths = batch.get("targets_lengths")
        if lengths is None and batch.get("lengths") is not None:  # a loss would take these for the targets' lengths
            entries = sorted(name for name, value in batch.items() if value is not None)
            raise ValueError(
                'batch: expected the entry "targets_lengths" beside "lengths", which are those of "xs", '
                f"got a dict with {entries}"
            )
        return Pair(batch["xs"], batch["previous"], lengths)

    def encode(
        self,
        params: Params,
        source: Tree,
        *,
        lengths: checks.ArrayLike | None = None,
        mask: checks.ArrayLike | None = None,
    ) -> Model:
        """The decoder, attached to the encoder's outputs of a source; its parameters are params["decoder"]."""
        checked_params(self, params)
        if isinstance(self.decoder, Tied) and self.share_embedding:
            own = self.decoder.table(params["decoder"])
            _, source = self.decoder.embed.apply(own, source, lengths=lengths, mask=mask)
        _, values = self.encoder.apply(params["encoder"], source, lengths=lengths, mask=mask)
        return attach(self.decoder, values, lengths=lengths, mask=mask)

    @overload
    def apply(
        self, params: Params, xs: Tree, *, states: Literal[False] = False, **options: Any
    ) -> tuple[Tree, jax.Array]: ...

    @overload
    def apply(
        self, params: Params, xs: Tree, *, states: bool, **options: Any
    ) -> tuple[Tree, jax.Array, *tuple[Tree, ...]]: ...

    def apply(self, params: Params, xs: Tree, **options: Any) -> tuple[Tree, jax.Array, *tuple[Tree, ...]]:
        xs = _pair(xs, options.get("time_major", True))  # before tracing, while the values of lengths are known
        return super().apply(params, xs, **options)

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        source, previous, previous_lengths = _pair(xs)
        if call.burn_in:
            raise ValueError(
                f"burn_in: expected 0 for an encoder-decoder, which reads two sequences, got {call.burn_in}"
            )
        if call.resets is not None:
            raise ValueError(
                "resets: expected None for an encoder-decoder, whose source is one sequence, "
                f"got {checks.short(call.resets)}"
            )
        if source.ndim == previous.ndim > 1 and source.shape[1] != previous.shape[1]:
            raise ValueError(
                f"xs: expected previous with the rows of source, {checks.short(source)}, got {checks.short(previous)}"
            )
        if carry is not None:
            expected = jax.eval_shape(lambda p: self.initial_carry(p), params)
            checks.same_tree("carry", carry, expected, rows=True)
        (*_, k_encoder), (_, _, p_decoder, _, k_decoder) = self.shares(params, None, call)
        with checks.within("encoder"):
            encoding = call.of("encoder", k_encoder)._replace(states=False)
            if isinstance(self.decoder, Tied) and self.share_embedding:
                _, source = self.decoder.embed.run(self.decoder.table(p_decoder), None, source, encoding)
            _, values = self.encoder.run(params["encoder"], None, source, encoding)
        with checks.within("decoder"):
            decoder = attach(self.decoder, values, lengths=call.lengths, mask=call.mask)
            own = call.of("decoder", k_decoder)._replace(lengths=previous_lengths, mask=None)
            return decoder.run(p_decoder, carry, previous, own)


def _pair(xs: Tree, time_major: bool = True) -> Pair:
    if not isinstance(xs, tuple) or len(xs) not in (2, 3):
        raise TypeError(f"xs: expected a pair (source, previous), and lengths of previous, got {checks.short(xs)}")
    source, previous, lengths = Pair(checks.array("xs[0]", xs[0]), checks.array("xs[1]", xs[1]), *xs[2:])
    if lengths is not None:  # checked before the encoder runs
        first = previous if time_major else rows_and_steps(previous)
        valid_steps(lengths, len(first), first.shape[1 : 1 + np.ndim(lengths)], name="xs[2]")
    return Pair(source, previous, lengths)


def encoder_decoder(encoder: Model, decoder: Model, *, share_embedding: bool = False) -> EncoderDecoder:
    """A sequence into another of another length: the decoder attends to the encoder's outputs.

    `apply` takes a pair of sequences as xs, (source, previous), or a triple with the lengths of `previous`. Its option
    `lengths` is the source's. The decoder reads `previous` [T, *batch_shape, ...], the target one step late; padding of
    either sequence reaches nothing. In a batch of data the three are "xs", "previous" and "targets_lengths", which the
    losses read, too; the source's lengths are "lengths". A batch with "lengths" must have "targets_lengths".

    To decode step by step, `attached = model.encode(params, source, lengths=lengths)` is a model for
    `jaxrnn.decoding.generate` and `jaxrnn.decoding.beam_search`, with the parameters params["decoder"].

    Args:
      encoder: the decoder attends to its outputs, [S, *batch_shape, M].
      decoder: a model that reads forward and has an output at each step, with a `jaxrnn.attention_decoder` in it.
      share_embedding: whether source and target have the same symbols and one table of vectors, that of `decoder`, a
        `jaxrnn.tied` model. The source is then of symbols, and `encoder` reads their vectors, so it has no embedding of
        its own. A decoder that copies from its source learns to do so much sooner.

    Returns:
      A Model with the parameters {"encoder", "decoder"} and the carry of the decoder.

    Raises:
      ValueError, TypeError: an argument is not a Model, one of them has no output at each step, the decoder reads
        backward, and so would read the answers, or the features do not fit.

    References:
      Sutskever et al. 2014, arXiv:1409.3215; Bahdanau et al. 2015, arXiv:1409.0473; one table for all: Press and Wolf
      2017, arXiv:1608.05859.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> encoder = jaxrnn.chain(jaxrnn.embed(10, 4), jaxrnn.gru(4, 6))
      >>> layer = jaxrnn.attention_decoder(jaxrnn.gru(4, 8), jaxrnn.dot_attention(8, 6))
      >>> decoder = jaxrnn.chain(jaxrnn.embed(12, 4), layer, jaxrnn.dense(8 + 6, 12))
      >>> model = jaxrnn.encoder_decoder(encoder, decoder)
      >>> source, previous = jax.numpy.ones((7, 2), int), jax.numpy.ones((5, 2), int)
      >>> carry, logits = model.apply(model.init(jax.random.key(0)), (source, previous), lengths=[7, 4])
      >>> logits.shape
      (5, 2, 12)
    """
    checks.instance("encoder", encoder, Model, "put cells into jaxrnn.stack([cell, ...])")
    checked_causal("decoder", decoder)
    if not encoder.keeps_time:
        raise ValueError(f"encoder: expected one with an output at each step, got {encoder!r}, which ends in last")
    if checks.flag("share_embedding", share_embedding):
        if not isinstance(decoder, Tied):
            raise ValueError(f"share_embedding: expected a decoder that jaxrnn.tied has made, got {decoder!r}")
        if encoder.features[0] not in (None, decoder.E) or encoder.input_symbols is not None:
            raise ValueError(
                f"encoder: expected one that reads vectors of {decoder.E} features, those of the shared table, "
                f"got {encoder!r}"
            )
    for layer in jax.tree.leaves(decoder, is_leaf=lambda part: isinstance(part, AttentionDecoder)):
        if isinstance(layer, AttentionDecoder):
            M = encoder.features[1]
            if M is not None and M != layer.attention.M:
                raise ValueError(f"decoder: expected attention to {M} features, the encoder's, got {layer.attention.M}")
            return EncoderDecoder(encoder, decoder, share_embedding)
    raise ValueError(f"decoder: expected one with a jaxrnn.attention_decoder in it, got {decoder!r}")


def attention_weights(
    model: EncoderDecoder,
    params: Params,
    source: Tree,
    previous: Tree,
    *,
    lengths: checks.ArrayLike | None = None,
    targets_lengths: checks.ArrayLike | None = None,
    mask: checks.ArrayLike | None = None,
) -> "Float[jax.Array, 'T *B S']":
    """The weights of the decoder's attention to the source, at each step of `previous`.

    Args:
      model: an `encoder_decoder`. Of several attention layers in its decoder, the first one counts.
      params: its parameters.
      source: [S, *batch_shape, ...].
      previous: [T, *batch_shape, ...].
      lengths: of the source, integers [*batch_shape]; None: all rows have S steps.
      targets_lengths: of `previous`, integers [*batch_shape]; None: all rows have T steps.
      mask: bool [S, *batch_shape]: the valid steps of the source; None: no holes.

    Returns:
      The weights [T, *batch_shape, S], which sum to 1 over the last axis; zero past a length.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> decoder = jaxrnn.attention_decoder(jaxrnn.gru(4, 8), jaxrnn.dot_attention(8, 6))
      >>> model = jaxrnn.encoder_decoder(jaxrnn.stack(jaxrnn.gru(3, 6)), decoder)
      >>> params = model.init(jax.random.key(0))
      >>> source, previous = jax.numpy.ones((7, 2, 3)), jax.numpy.ones((5, 2, 4))
      >>> weights = jaxrnn.diagnostics.attention_weights(model, params, source, previous, lengths=[7, 4])
      >>> weights.shape, int((weights[0, 1] > 0).sum())
      ((5, 2, 7), 4)
    """
    checks.instance("model", model, EncoderDecoder, "make one with jaxrnn.encoder_decoder")
    decoder, weights = model.encode(params, source, lengths=lengths, mask=mask), Weights()
    xs = jax.tree.map(lambda x: checks.array("previous", x), previous)
    T = checks.steps("previous", xs)
    decoder.check_symbols("previous", previous, T, targets_lengths, None)
    targets_lengths = None if targets_lengths is None else checks.lengths(targets_lengths, T, name="targets_lengths")

    def recording(part: AttentionDecoder) -> Recording:
        options = {field.name: getattr(part, field.name) for field in dataclasses.fields(AttentionDecoder)}
        return Recording(**options, weights=weights)

    decoder = at_attention(decoder, recording)
    decoder.run(params["decoder"], None, xs, Call(targets_lengths))
    return weights.found[0]


class Weights:
    """The weights of attention layers, in the order in which they run."""

    def __init__(self) -> None:
        self.found: list[jax.Array] = []


@pytree
class Recording(AttentionDecoder):
    """An attention layer that records its weights while it is traced."""

    weights: Any = None

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        carry, ys, weights = self.attending(params, carry, xs, call)
        self.weights.found.append(weights)
        return carry, ys
