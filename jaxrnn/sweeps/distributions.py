"""Distributions for random spaces."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax

from jaxrnn import checks


@dataclasses.dataclass(frozen=True, repr=False)
class Distribution:
    """A distribution of numbers between two ends, or over a few values; see `uniform`, `log_uniform` and `choice`."""

    kind: str
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.values)) if self.low is None else f"{self.low:g}, {self.high:g}"
        return f"{self.kind}({inside})"

    def draw(self, key: jax.Array, count: int) -> list[Any]:
        """Draws `count` values."""
        if self.low is None or self.high is None:
            return [self.values[i] for i in jax.random.randint(key, (count,), 0, len(self.values)).tolist()]
        share = jax.random.uniform(key, (count,)).tolist()
        if self.kind == "log_uniform":
            low, high = math.log(self.low), math.log(self.high)
            return [math.exp(low + (high - low) * x) for x in share]
        return [self.low + (self.high - self.low) * x for x in share]


def uniform(low: float, high: float) -> Distribution:
    """Numbers drawn uniformly between `low` and `high`.

    Example:
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.random(10, dropout=jaxrnn.sweeps.uniform(0.0, 0.5))
    """
    return Distribution("uniform", *_ends(checks.finite("low", low), checks.finite("high", high)))


def log_uniform(low: float, high: float) -> Distribution:
    """Numbers whose logarithm is drawn uniformly between the logarithms of `low` and `high`, both above 0.

    Example:
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.random(10, lr=jaxrnn.sweeps.log_uniform(1e-4, 1e-1))
    """
    return Distribution("log_uniform", *_ends(checks.above("low", low, 0.0), checks.above("high", high, 0.0)))


def choice(values: Sequence[Any]) -> Distribution:
    """One of a few values, each with the same probability.

    Example:
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.random(10, hidden=jaxrnn.sweeps.choice([16, 32, 64]))
    """
    if not isinstance(values, (list, tuple)) or not values:
        raise TypeError(f"values: expected at least one value in a list, got {checks.short(values)}")
    return Distribution("choice", values=tuple(values))


def _ends(low: checks.Number, high: checks.Number) -> tuple[float, float]:
    if not low < high:
        raise ValueError(f"high: expected a number above low = {low:g}, got {high:g}")
    return float(low), float(high)
