"""A module of another library as a part of a jaxrnn model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params, checked_sequence
from jaxrnn.masks import zero_unless
from jaxrnn.types import Call, Model, Params, Tree, pytree


@pytree
class Layer(Model):
    """A module of Flax as a Model; see `jaxrnn.interop.nnx.layer` and `jaxrnn.interop.linen.layer`.

    Attributes:
      call: (params, xs, key) -> ys.
      draw: key -> params.
      sequence: whether `call` gets whole sequences [*batch, T, D] and may mix their steps.
      axes: the number of axes after time in these sequences.
    """

    call: Callable[..., Any]
    draw: Callable[[jax.Array], Params]
    sequence: bool = False
    axes: int = 1

    @property
    def needs_time(self) -> bool:
        return self.sequence

    def init(self, key: jax.Array) -> Params:
        return self.draw(checks.key("key", key))

    def run(self, params: Params, carry: Tree, xs: Any, call: Call) -> tuple[Tree, Any]:
        xs = checked_sequence(xs)
        checked_params(self, params)
        if carry is not None and not (isinstance(carry, tuple) and not carry):
            raise ValueError(f"carry: expected None or an empty tuple, got {checks.short(carry)}")
        by_step = [np.ndim(x) - 1 for x in (call.mask, call.resets) if x is not None]
        rows = np.ndim(call.lengths) if call.lengths is not None else next(iter(by_step), 0)
        valid = call.valid(xs.shape[0], xs.shape[1 : 1 + rows])
        xs = zero_unless(valid, xs)
        at = xs.ndim - 1 - self.axes if self.sequence else 0  # the number of batch axes
        if at < 0:
            raise ValueError(f"xs: expected {self.axes} axes behind time, got {checks.short(xs)}")
        ys = checks.array("module: outputs", self.call(params, jnp.moveaxis(xs, 0, at), call.key))
        if ys.ndim <= at:
            raise ValueError(f"module: expected outputs [*batch, T, ...], got {checks.short(ys)}")
        ys = jnp.moveaxis(ys, at, 0)
        if ys.shape[: 1 + rows] != xs.shape[: 1 + rows]:
            raise ValueError(
                f"module: expected outputs for the same {xs.shape[0]} steps of each row, got {checks.short(ys)}"
            )
        return (), zero_unless(valid, ys)
