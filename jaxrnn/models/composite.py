"""Models made of parts."""

from collections.abc import Iterator
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.types import Call, Model, Params, Tree


class Composite(Model):
    """A model of several parts, whose parameters are a dict and whose carry is a tuple with an entry for each."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parts' entries of the parameters."""
        return tuple(str(i) for i in range(len(self.parts)))

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.parts[0].features[0], self.parts[-1].features[1]

    def init(self, key: jax.Array) -> Params:
        keys = jax.random.split(checks.key("key", key), len(self.parts))
        return {name: part.init(k) for name, part, k in zip(self.names, self.parts, keys, strict=True)}

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        checked_params(self, params)
        return self.carry_of_parts(params, batch_shape)

    def carry_of_parts(self, params: Params, batch_shape: tuple[int, ...]) -> Tree:
        """The initial carry, of parameters that are checked already, with those of all parts within."""
        return tuple(
            part.carry_of_parts(params[name], batch_shape)
            if isinstance(part, Composite)
            else part.initial_carry(params[name], batch_shape)
            for name, part in zip(self.names, self.parts, strict=True)
        )

    def shares(
        self, params: Params, carry: Tree, call: Call, batch_shape: tuple[int, ...] | None = None
    ) -> Iterator[tuple[str, Any, Params, Tree, jax.Array | None]]:
        """(name, part, its parameters, its carry, its key), for each part; all are checked before the first.

        `batch_shape` is the carry's; None if it is not known yet.
        """
        count = len(self.parts)
        checked_params(self, params)
        if carry is not None:
            expected = jax.eval_shape(lambda params: self.carry_of_parts(params, batch_shape or ()), params)
            checks.same_tree("carry", carry, expected, rows=batch_shape is None)
            checks.same_dtypes("carry", carry, expected)
        carries = [None] * count if carry is None else carry
        keys = [None] * count if call.key is None else jax.random.split(call.key, count)
        return zip(self.names, self.parts, [params[name] for name in self.names], carries, keys, strict=True)
