"""Models that make one output of all of a row's steps."""

import abc

import jax
import numpy as np

from jaxrnn.arguments import checked_sequence
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Call, Params, Tree


class Pooling(Stateless):
    """A model without parameters and carry, [T, *batch_shape, ...] -> [*batch_shape, ...]."""

    @property
    def keeps_time(self) -> bool:
        return False

    @property
    def needs_time(self) -> bool:
        return True

    @property
    def keeps_features(self) -> bool:
        return True

    @abc.abstractmethod
    def pooled(self, xs: jax.Array, valid: jax.Array | None) -> jax.Array:
        """The output of each row from its valid steps, bool [T, *batch_shape]; None: all are valid."""

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        xs = call.burnt_in(checked_sequence(xs))
        super().run(params, carry, xs, call.without_time)
        axes = xs.ndim - 2 if call.mask is None else np.ndim(call.mask) - 1  # symbols have no axis of features
        axes = axes if call.lengths is None else np.ndim(call.lengths)
        return (), self.pooled(xs, call.valid(xs.shape[0], xs.shape[1 : 1 + axes]))

    def check(self, xs: jax.Array) -> None:
        pass

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        return xs
