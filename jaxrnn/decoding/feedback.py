"""The next input of a model, made of its own output."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn import checks

Feedback = Callable[..., jax.Array]
"""A function y -> x, or (y, known values of the step) -> x."""


def fed_back(feedback: Feedback | None, x: jax.Array, *known: jax.Array) -> jax.Array:
    """The next input, made from the last output.

    Args:
      feedback: see `Feedback`; None for the output itself.
      x: an input, whose shape [*batch_shape, ...] and dtype the next one must have.
      *known: the function's arguments: y [*batch_shape, O], then known values of the step.

    Raises:
      ValueError, TypeError: the result does not fit.
    """
    found = known[0] if feedback is None else checks.array("feedback", feedback(*known))
    if found.shape != x.shape:
        hint = "; say how an input is made of an output" if feedback is None else ""
        raise ValueError(f"feedback: expected inputs of shape {list(x.shape)}, got {checks.short(found)}{hint}")
    for kind, name in ((jnp.floating, "floating-point numbers"), (jnp.integer, "integers")):
        if jnp.issubdtype(x.dtype, kind) and not jnp.issubdtype(found.dtype, kind):
            raise TypeError(f"feedback: expected {name}, as xs are, got {checks.short(found)}")
    return found.astype(x.dtype)
