"""Rows of different lengths as arrays, batches of them, reading ahead, and pieces of rollouts."""

from jaxrnn.data.buckets import Bucketed, bucketed
from jaxrnn.data.padding import padded
from jaxrnn.data.prefetcher import prefetch
from jaxrnn.data.rollouts import carries, pieces, resets_from_dones

__all__ = [
    "Bucketed",
    "bucketed",
    "carries",
    "padded",
    "pieces",
    "prefetch",
    "resets_from_dones",
]


def __dir__() -> list[str]:
    return __all__
