"""Layer normalisation."""

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32
from jaxrnn.linear import FLOAT32, over_rows
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Params, leaf, pytree


@pytree
class LayerNorm(Stateless):
    """See `layer_norm`."""

    D: int
    epsilon: checks.Number = leaf(default=1e-5)
    param_dtype: checks.DTypeLike = FLOAT32

    @property
    def features(self) -> tuple[int, int]:
        return self.D, self.D

    def init(self, key: jax.Array) -> Params:
        return {"scale": jnp.ones(self.D, self.param_dtype), "shift": jnp.zeros(self.D, self.param_dtype)}

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        wide = at_least_float32(xs)  # squares overflow in float16
        normal = jax.nn.standardize(wide, axis=-1, epsilon=self.epsilon)
        scale, shift = (over_rows(params[name].astype(wide.dtype), wide) for name in ("scale", "shift"))
        return (normal * scale + shift).astype(xs.dtype)


def layer_norm(D: int, *, epsilon: checks.Number = 1e-5, param_dtype: checks.DTypeLike = FLOAT32) -> LayerNorm:
    """Layer normalisation at each time step: y = scale * (x - mean) / sqrt(variance + epsilon) + shift.

    Args:
      D: features.
      epsilon: added to the variance.
      param_dtype: dtype of the parameters.

    Returns:
      A Model with the parameters {"scale": [D], "shift": [D]} and no carry.

    Raises:
      ValueError, TypeError: an option is out of range.

    References:
      Ba et al. 2016, arXiv:1607.06450.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer = jaxrnn.layer_norm(8)
      >>> xs = 5.0 + jax.random.normal(jax.random.key(0), (5, 2, 8))
      >>> carry, ys = layer.apply(layer.init(jax.random.key(1)), xs)
      >>> bool(abs(ys.mean(-1)).max() < 1e-4)
      True
    """
    epsilon = checks.above("epsilon", epsilon, 0.0)
    return LayerNorm(checks.positive_int("D", D), epsilon, checks.float_dtype("param_dtype", param_dtype))
