"""Rows of different lengths as arrays, batches of them, and reading ahead."""

from jaxrnn.data.buckets import Bucketed, bucketed
from jaxrnn.data.padding import padded
from jaxrnn.data.prefetcher import prefetch

__all__ = [
    "Bucketed",
    "bucketed",
    "padded",
    "prefetch",
]
