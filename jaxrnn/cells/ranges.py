"""The ranges of element-wise activations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

RANGES = (
    (jnp.tanh, (-1.0, 1.0)),
    (jax.nn.tanh, (-1.0, 1.0)),
    (jax.nn.hard_tanh, (-1.0, 1.0)),
    (jax.nn.soft_sign, (-1.0, 1.0)),
    (jax.nn.sigmoid, (0.0, 1.0)),
    (jax.nn.hard_sigmoid, (0.0, 1.0)),
    (jax.nn.relu6, (0.0, 6.0)),
    (jax.nn.relu, (0.0, float("inf"))),
    (jax.nn.softplus, (0.0, float("inf"))),
)


def activation_range(activation: Callable[[Any], Any]) -> tuple[float, float] | None:
    """The range of a well-known activation that has a bound; None for any other."""
    return next((bounds for known, bounds in RANGES if known is activation), None)
