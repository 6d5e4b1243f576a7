"""One table of vectors for reading symbols and for predicting them."""

import jax

from jaxrnn import checks, initializers
from jaxrnn.arguments import checked_params
from jaxrnn.linear import FLOAT32, affine
from jaxrnn.models.embed import Embed
from jaxrnn.types import Call, Model, Params, Tree, leaf, pytree

UNIT_VECTORS = jax.nn.initializers.variance_scaling(1.0, "fan_out", "normal")
"""[symbols, E]: normal of standard deviation 1 / sqrt(E)."""


@pytree
class Tied(Model):
    """See `tied`."""

    symbols: int
    E: int
    model: Model = leaf()
    bias: bool = True
    w_init: initializers.Initializer = UNIT_VECTORS
    dtype: checks.DTypeLike | None = None
    param_dtype: checks.DTypeLike = FLOAT32

    @property
    def keeps_time(self) -> bool:
        return self.model.keeps_time

    @property
    def needs_time(self) -> bool:
        return self.model.needs_time

    @property
    def features(self) -> tuple[None, int]:
        return None, self.symbols

    @property
    def parts(self) -> tuple[Model]:
        return (self.model,)

    @property
    def names(self) -> tuple[str]:
        return ("model",)

    @property
    def input_symbols(self) -> int:
        return self.symbols

    @property
    def embed(self) -> Embed:
        """The layer that reads the symbols, with the parameter {"w"}."""
        return Embed(self.symbols, self.E, self.w_init, self.param_dtype)

    def table(self, params: Params) -> Params:
        """The parameters of `embed`."""
        return {"w": params["w"]}

    def init(self, key: jax.Array) -> Params:
        w_key, model_key, b_key = jax.random.split(checks.key("key", key), 3)
        params = self.embed.init(w_key) | {"model": self.model.init(model_key)}
        return params | {"b": initializers.ZEROS(b_key, (self.symbols,), self.param_dtype)} if self.bias else params

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.model.initial_carry(params["model"], batch_shape)

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        checked_params(self, params)
        _, vectors = self.embed.run(self.table(params), None, xs, call)
        with checks.within("model"):
            carry, hs = self.model.run(params["model"], carry, vectors, call.of("model", call.key))
        hs = checks.array("model: outputs", hs)
        if hs.shape[-1] != self.E:
            raise ValueError(f"model: expected outputs of {self.E} features, as the table w has, got {hs.shape}")
        return carry, affine(hs, params["w"].T, params.get("b"), dtype=self.dtype)


def tied(
    symbols: int,
    E: int,
    model: Model,
    *,
    bias: bool = True,
    w_init: initializers.Initializer = UNIT_VECTORS,
    dtype: checks.DTypeLike | None = None,
    param_dtype: checks.DTypeLike = FLOAT32,
) -> Tied:
    """A language model with one table for reading and predicting symbols: y[t] = model(w[x[t]]) @ w.T + b.

    The gradient of w is the sum over both uses. If the model's features H differ from E, put `dense(E, H)` and
    `dense(H, E)` around it.

    Args:
      symbols: the number of symbols; xs [T, ...] are integers from 0 to symbols - 1. Other integers, which can't be
        found while tracing, give NaN.
      E: features of a symbol's vector.
      model: from E to E features.
      bias: whether the parameters have a `b`, zero at first.
      w_init: initialiser (key, shape, dtype) -> array. By default normal of standard deviation 1 / sqrt(E): the
        variance of a logit is then the mean square of the model's outputs, whatever E, and the loss begins near
        log(symbols). The standard normal of `embed` would make logits sqrt(E) times as large.
      dtype: the factors of the output product are rounded to it; the sum is accumulated in float32.
      param_dtype: dtype of w and b.

    Returns:
      A Model with the parameters {"w": [symbols, E], "model": parameters of `model`, "b": [symbols]} and the carry of
      `model`. Its outputs are logits [T, ..., symbols].

    Raises:
      ValueError, TypeError: an option is out of range, `model` is not a Model, or its features are not E.

    References:
      Press and Wolf 2017, Using the output embedding to improve language models, arXiv:1608.05859; Inan et al. 2017,
      Tying word vectors and word classifiers, arXiv:1611.01462.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.tied(20, 8, jaxrnn.stack(jaxrnn.gru(8, 8)))
      >>> carry, logits = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2), int))
      >>> logits.shape
      (5, 2, 20)
    """
    checks.positive_int("symbols", symbols)
    checks.positive_int("E", E)
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...]) first")
    D, O = model.features
    if D not in (None, E):
        raise ValueError(f"model: expected {E} input features, those of a symbol's vector, got {D}")
    if O not in (None, E):
        raise ValueError(f"model: expected {E} output features, those of a symbol's vector, got {O}")
    return Tied(
        int(symbols),
        int(E),
        model,
        checks.flag("bias", bias),
        checks.initializer("w_init", w_init),
        None if dtype is None else checks.float_dtype("dtype", dtype),
        checks.float_dtype("param_dtype", param_dtype),
    )
