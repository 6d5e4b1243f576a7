"""Pruning by successive halving."""

import dataclasses
import math

import numpy as np

from jaxrnn import checks


@dataclasses.dataclass(frozen=True)
class Halving:
    """See `halving`."""

    eta: int
    first: int

    def rungs(self, steps: int, members: int) -> list[tuple[int, int]]:
        """The rungs: (the step at which it ends, the number of members that run up to it), the last one at `steps`."""
        if self.first >= steps:
            raise ValueError(f"pruning: expected first below the sweep's {steps} steps, got {self.first}")
        ends = [self.first]
        while ends[-1] * self.eta < steps:
            ends.append(ends[-1] * self.eta)
        alive = [max(1, math.ceil(members / self.eta**rung)) for rung in range(len(ends) + 1)]
        return list(zip([*ends, steps], alive, strict=True))


def halving(*, eta: int = 3, first: int) -> Halving:
    """Successive halving: after `first` steps one in `eta` members goes on, after `first * eta` one in eta of them, ...

    Pruning saves compute: members that stop are no longer part of the program's batch.

    Args:
      eta: the factor by which the number of members shrinks.
      first: steps of the first rung, which all members take.

    Returns:
      A rule for `sweep(pruning=...)`.

    Raises:
      ValueError: an argument is not a positive integer, or eta is 1; in `sweep`: `first` is not below its steps.

    References:
      Jamieson and Talwalkar 2016, arXiv:1502.07943 (non-stochastic best arm identification).

    Example:
      >>> import jaxrnn
      >>> pruning = jaxrnn.sweeps.halving(eta=3, first=100)
      >>> pruning.rungs(1000, 27)
      [(100, 27), (300, 9), (900, 3), (1000, 1)]
    """
    if checks.positive_int("eta", eta) < 2:
        raise ValueError(f"eta: expected at least 2, got {eta}")
    return Halving(eta, checks.positive_int("first", first))


def survivors(scores: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` lowest scores, in order of index; NaN never comes before a number, ties by index."""
    order = np.argsort(np.where(np.isnan(scores), np.inf, scores), kind="stable")
    finite = order[~np.isnan(scores[order])]
    return np.sort(finite[:count])
