"""Dropout between layers."""

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Params, leaf, pytree


@pytree
class Dropout(Stateless):
    """See `dropout`."""

    rate: checks.Number = leaf()
    over_time: bool = False

    @property
    def needs_time(self) -> bool:
        return self.over_time

    @property
    def keeps_features(self) -> bool:
        return True

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        if key is None:
            return xs
        shape = (1, *xs.shape[1:]) if self.over_time else xs.shape
        keep = jax.random.bernoulli(key, 1.0 - self.rate, shape)
        return jnp.where(keep, xs / (1.0 - self.rate), 0.0)


def dropout(rate: jax.typing.ArrayLike, *, over_time: bool = False) -> Dropout:
    """Zeroes features at random and divides the others by 1 - rate; the identity in evaluation (key=None).

    Args:
      rate: probability of a zero, in [0, 1).
      over_time: whether one mask holds for all of time (the first axis of xs), instead of one mask for each step.

    Returns:
      A Model without parameters and carry.

    Raises:
      ValueError: the rate is out of range.

    References:
      Srivastava et al. 2014, JMLR 15; over_time: Gal and Ghahramani 2016, arXiv:1512.05287.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer, xs = jaxrnn.dropout(0.5), jax.numpy.ones((5, 4, 8))
      >>> carry, ys = layer.apply({}, xs, key=jax.random.key(0))
      >>> sorted(set(ys.ravel().tolist()))
      [0.0, 2.0]
      >>> carry, ys = layer.apply({}, xs)  # no key: evaluation
      >>> bool((ys == xs).all())
      True
    """
    return Dropout(checks.rate("rate", rate), checks.flag("over_time", over_time))
