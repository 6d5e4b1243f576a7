"""The affine layer."""

from collections.abc import Callable

import jax

from jaxrnn import checks, initializers
from jaxrnn.linear import FLOAT32, affine
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Params, pytree


@pytree
class Dense(Stateless):
    """See `dense`."""

    D: int
    O: int
    bias: bool = True
    activation: Callable[[jax.Array], jax.Array] | None = None
    w_init: initializers.Initializer = initializers.GLOROT
    b_init: initializers.Initializer = initializers.ZEROS
    dtype: checks.DTypeLike | None = None
    param_dtype: checks.DTypeLike = FLOAT32

    @property
    def features(self) -> tuple[int, int]:
        return self.D, self.O

    def init(self, key: jax.Array) -> Params:
        w_key, b_key = jax.random.split(checks.key("key", key))
        params = {"w": self.w_init(w_key, (self.D, self.O), self.param_dtype)}
        return params | {"b": self.b_init(b_key, (self.O,), self.param_dtype)} if self.bias else params

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        ys = affine(xs, params["w"], params.get("b"), dtype=self.dtype)
        return ys if self.activation is None else self.activation(ys)


def dense(
    D: int,
    O: int,
    *,
    bias: bool = True,
    activation: Callable[[jax.Array], jax.Array] | None = None,
    w_init: initializers.Initializer = initializers.GLOROT,
    b_init: initializers.Initializer = initializers.ZEROS,
    dtype: checks.DTypeLike | None = None,
    param_dtype: checks.DTypeLike = FLOAT32,
) -> Dense:
    """An affine map at each time step: y[t] = activation(x[t] @ w + b).

    Args:
      D: input features.
      O: output features.
      bias: whether the parameters have a `b`.
      activation: element-wise; None: the identity.
      w_init, b_init: initialisers (key, shape, dtype) -> array.
      dtype: the factors of the product are rounded to it; the sum is accumulated in float32.
      param_dtype: dtype of the parameters.

    Returns:
      A Model with the parameters {"w": [D, O], "b": [O]} and no carry.

    Raises:
      ValueError, TypeError: an option is out of range.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer = jaxrnn.dense(8, 2)
      >>> carry, ys = layer.apply(layer.init(jax.random.key(0)), jax.numpy.ones((5, 4, 8)))
      >>> ys.shape
      (5, 4, 2)
    """
    return Dense(
        checks.positive_int("D", D),
        checks.positive_int("O", O),
        checks.flag("bias", bias),
        None if activation is None else checks.function("activation", activation, "z"),
        checks.initializer("w_init", w_init),
        checks.initializer("b_init", b_init),
        None if dtype is None else checks.float_dtype("dtype", dtype),
        checks.float_dtype("param_dtype", param_dtype),
    )
