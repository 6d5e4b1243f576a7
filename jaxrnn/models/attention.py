"""Attention: weights of a query over the steps of a memory, and the memory's mean under these weights."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.linear import FLOAT32, affine, over_rows
from jaxrnn.masks import zero_unless
from jaxrnn.types import Options, Params, pytree


class Memory(NamedTuple):
    """A memory that queries attend to.

    Attributes:
      values: [*batch_shape, S, M], zeros past a row's length.
      valid: bool [*batch_shape, S]; None: all steps are valid.
    """

    values: jax.Array
    valid: jax.Array | None = None


class Attention(Options, abc.ABC):
    """A score for each pair of a query and a step of the memory; the weights are its softmax over the steps."""

    Q: int
    M: int

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Params:
        """Draws the parameters."""

    @abc.abstractmethod
    def keys(self, params: Params, values: jax.Array) -> jax.Array:
        """The keys [*batch_shape, S, ...] that queries are compared with: all that does not depend on the query."""

    @abc.abstractmethod
    def scores(self, params: Params, query: jax.Array, keys: jax.Array) -> jax.Array:
        """The scores [..., *batch_shape, S] of queries [..., *batch_shape, Q]."""

    def attend(self, params: Params, query: jax.Array, keys: jax.Array, memory: Memory) -> tuple[jax.Array, jax.Array]:
        """Attends to a memory: (context [..., *batch_shape, M], weights [..., *batch_shape, S]).

        The weights of a row are positive up to its length, zero past it, and sum to 1; for a row without any step the
        context is zero.
        """
        scores = self.scores(params, query, keys)
        if memory.valid is not None:
            valid = jnp.broadcast_to(memory.valid, scores.shape)
            scores = jnp.where(valid, scores, jnp.finfo(scores.dtype).min)
            weights = zero_unless(valid, jax.nn.softmax(scores))
        else:
            weights = jax.nn.softmax(scores)
        return jnp.einsum("...s,...sm->...m", weights, over_rows(memory.values, weights[..., None])), weights


@pytree
class AdditiveAttention(Attention):
    """See `additive_attention`."""

    Q: int
    M: int
    A: int
    w_init: initializers.Initializer = initializers.GLOROT
    param_dtype: checks.DTypeLike = FLOAT32

    def init(self, key: jax.Array) -> Params:
        q, m, v = jax.random.split(checks.key("key", key), 3)
        return {
            "w_q": self.w_init(q, (self.Q, self.A), self.param_dtype),
            "w_m": self.w_init(m, (self.M, self.A), self.param_dtype),
            "b": jnp.zeros(self.A, self.param_dtype),
            "v": self.w_init(v, (self.A, 1), self.param_dtype),
        }

    def keys(self, params: Params, values: jax.Array) -> jax.Array:
        return affine(values, params["w_m"], params["b"])

    def scores(self, params: Params, query: jax.Array, keys: jax.Array) -> jax.Array:
        z = affine(query, params["w_q"], None)[..., None, :]
        return affine(jnp.tanh(z + over_rows(keys, z)), params["v"], None)[..., 0]


@pytree
class DotAttention(Attention):
    """See `dot_attention`."""

    Q: int
    M: int
    general: bool = True
    w_init: initializers.Initializer = initializers.GLOROT
    param_dtype: checks.DTypeLike = FLOAT32

    def init(self, key: jax.Array) -> Params:
        return {"w": self.w_init(checks.key("key", key), (self.M, self.Q), self.param_dtype)} if self.general else {}

    def keys(self, params: Params, values: jax.Array) -> jax.Array:
        return affine(values, params["w"], None) if self.general else values

    def scores(self, params: Params, query: jax.Array, keys: jax.Array) -> jax.Array:
        return jnp.einsum("...q,...sq->...s", query, over_rows(keys, query[..., None]))


def additive_attention(
    Q: int,
    M: int,
    A: int,
    *,
    w_init: initializers.Initializer = initializers.GLOROT,
    param_dtype: checks.DTypeLike = FLOAT32,
) -> AdditiveAttention:
    """Bahdanau's attention: score(q, m[s]) = tanh(q @ w_q + m[s] @ w_m + b) @ v.

    Args:
      Q: features of the query.
      M: features of the memory.
      A: features of the vectors in which query and memory are compared.
      w_init: initialiser (key, shape, dtype) -> array.
      param_dtype: dtype of the parameters.

    Returns:
      An Attention with the parameters {"w_q": [Q, A], "w_m": [M, A], "b": [A], "v": [A, 1]}, for
      `jaxrnn.attention_decoder`.

    Raises:
      ValueError, TypeError: an option is out of range.

    References:
      Bahdanau et al. 2015, Neural machine translation by jointly learning to align and translate, arXiv:1409.0473.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> attention = jaxrnn.additive_attention(8, 6, 4)
      >>> {name: w.shape for name, w in attention.init(jax.random.key(0)).items()}
      {'w_q': (8, 4), 'w_m': (6, 4), 'b': (4,), 'v': (4, 1)}
      >>> layer = jaxrnn.attention_decoder(jaxrnn.gru(3, 8), attention)
    """
    return AdditiveAttention(
        checks.positive_int("Q", Q),
        checks.positive_int("M", M),
        checks.positive_int("A", A),
        checks.initializer("w_init", w_init),
        checks.float_dtype("param_dtype", param_dtype),
    )


def dot_attention(
    Q: int,
    M: int,
    *,
    general: bool = True,
    w_init: initializers.Initializer = initializers.GLOROT,
    param_dtype: checks.DTypeLike = FLOAT32,
) -> DotAttention:
    """Luong's attention: score(q, m[s]) = q . (m[s] @ w), the paper's "general" form, or q . m[s], its "dot" form.

    Args:
      Q: features of the query.
      M: features of the memory.
      general: whether the score has a `w`; without it Q and M must be equal.
      w_init: initialiser (key, shape, dtype) -> array.
      param_dtype: dtype of the parameters.

    Returns:
      An Attention with the parameters {"w": [M, Q]}, for `jaxrnn.attention_decoder`.

    Raises:
      ValueError, TypeError: an option is out of range.

    References:
      Luong et al. 2015, Effective approaches to attention-based neural machine translation, arXiv:1508.04025.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> attention = jaxrnn.dot_attention(8, 6)
      >>> attention.init(jax.random.key(0))["w"].shape
      (6, 8)
      >>> layer = jaxrnn.attention_decoder(jaxrnn.gru(3, 8), attention)
    """
    Q, M = checks.positive_int("Q", Q), checks.positive_int("M", M)
    if not checks.flag("general", general) and Q != M:
        raise ValueError(f"M: expected the {Q} features of the query with general=False, got {M}")
    return DotAttention(
        Q, M, general, checks.initializer("w_init", w_init), checks.float_dtype("param_dtype", param_dtype)
    )
