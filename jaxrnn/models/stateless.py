"""Models that map each time step by itself."""

import abc

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.masks import zero_unless
from jaxrnn.types import Call, Model, Params, Tree


class Stateless(Model):
    """A model without a carry, which maps the features of each time step by itself."""

    def init(self, key: jax.Array) -> Params:
        del key
        return {}

    @abc.abstractmethod
    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        """The map of the last axis of xs [..., D]."""

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        xs, valid = self.checked(params, carry, xs, call)
        return (), zero_unless(valid, self.at_each_step(params, xs, call.key))

    def checked(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[jax.Array, jax.Array | None]:
        """The inputs, checked: (xs without padding, the valid steps: bool [T, *batch_shape], None for all)."""
        xs = checks.array("xs", xs)
        self.check(xs)
        checked_params(self, params)
        if carry is not None and not (isinstance(carry, tuple) and not carry):
            raise ValueError(f"carry: expected None or an empty tuple, got {checks.short(carry)}")
        valid = call.valid(xs.shape[0] if xs.ndim else 0, self.batch_shape(xs))
        return xs if valid is None else self.without_padding(xs, valid), valid

    @property
    def needs_time(self) -> bool:
        return False

    def batch_shape(self, xs: jax.Array) -> tuple[int, ...]:
        """The axes between time and features."""
        return xs.shape[1:-1]

    def check(self, xs: jax.Array) -> None:
        """Raises unless xs have the features that the model expects."""
        if xs.ndim < 1:
            raise ValueError(f"xs: expected an array [..., D], got {checks.short(xs)}")
        D, _ = self.features
        if D is not None and xs.shape[-1] != D:
            raise ValueError(f"xs: expected {D} features on the last axis, [..., {D}], got {checks.short(xs)}")
        if not jnp.issubdtype(xs.dtype, jnp.floating):
            raise TypeError(f"xs: expected floating-point numbers, got {checks.short(xs)}")

    def without_padding(self, xs: jax.Array, valid: jax.Array) -> jax.Array:
        """The inputs with zeros for padding: NaN there would reach the gradient of the parameters."""
        return zero_unless(valid, xs)
