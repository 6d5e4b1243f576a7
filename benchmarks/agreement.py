"""The agreement of two programs before they are timed: both have to compute the same."""

from typing import Any

import jax
import numpy as np


def error(found: Any, reference: Any) -> float:
    """The largest relative error, max|a - b| / max|b|, of the leaves of two trees."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(reference), strict=True)
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)
