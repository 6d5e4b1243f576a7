"""The embedding of symbols."""

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.linear import FLOAT32
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Params, pytree

NORMAL = jax.nn.initializers.normal(1.0)


@pytree
class Embed(Stateless):
    """See `embed`."""

    symbols: int
    O: int
    w_init: initializers.Initializer = NORMAL
    param_dtype: checks.DTypeLike = FLOAT32

    @property
    def features(self) -> tuple[None, int]:
        return None, self.O

    @property
    def input_symbols(self) -> int:
        return self.symbols

    def init(self, key: jax.Array) -> Params:
        return {"w": self.w_init(checks.key("key", key), (self.symbols, self.O), self.param_dtype)}

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        found = jnp.asarray(params["w"]).at[checks.integers("xs", xs)]
        return found.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)

    def check(self, xs: jax.Array) -> None:
        if xs.ndim < 1:
            raise ValueError(f"xs: expected an array [T, ...], got {checks.short(xs)}")
        if not jnp.issubdtype(xs.dtype, jnp.integer):
            raise TypeError(f"xs: expected integers from 0 to {self.symbols - 1}, got {checks.short(xs)}")

    def batch_shape(self, xs: jax.Array) -> tuple[int, ...]:
        return xs.shape[1:]


def embed(
    symbols: int,
    O: int,
    *,
    w_init: initializers.Initializer = NORMAL,
    param_dtype: checks.DTypeLike = FLOAT32,
) -> Embed:
    """One learned vector for each symbol: y[t] = w[x[t]].

    Args:
      symbols: the number of symbols; xs [T, ...] are integers from 0 to symbols - 1. Other integers, which can't be
        found while tracing, give NaN.
      O: output features.
      w_init: initialiser (key, shape, dtype) -> array; a standard normal by default, as in PyTorch. With
        many rare symbols a smaller one, such as `jax.nn.initializers.normal(0.1)`, can learn faster and better.
      param_dtype: dtype of the parameters.

    Returns:
      A Model with the parameter {"w": [symbols, O]} and no carry.

    Raises:
      ValueError, TypeError: an option is out of range.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer = jaxrnn.embed(10, 4)
      >>> carry, ys = layer.apply(layer.init(jax.random.key(0)), jax.numpy.array([[1, 9], [0, 3]]))
      >>> ys.shape
      (2, 2, 4)
    """
    return Embed(
        checks.positive_int("symbols", symbols),
        checks.positive_int("O", O),
        checks.initializer("w_init", w_init),
        checks.float_dtype("param_dtype", param_dtype),
    )
