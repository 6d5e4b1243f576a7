"""What models that make one output of all of a row's steps have in common."""

import abc
from typing import Any

import jax
import numpy as np

from jaxrnn.arguments import checked_resets, checked_sequence
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

    @abc.abstractmethod
    def pooled(self, xs: jax.Array, lengths: Any) -> jax.Array:
        """The output of each row; `lengths` as for `apply`."""

    def run(self, params: Params, carry: Tree, xs: Any, call: Call) -> tuple[Tree, jax.Array]:
        xs = checked_sequence(xs)
        super().run(params, carry, xs, call._replace(lengths=None, resets=None))
        if call.resets is not None:
            batch_axes = xs.ndim - 2 if call.lengths is None else np.ndim(call.lengths)
            checked_resets(call.resets, xs.shape[0], xs.shape[1 : 1 + batch_axes])
        return (), self.pooled(xs, call.lengths)

    def check(self, xs: jax.Array) -> None:
        pass

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        return xs
