"""Several processes of one sweep (`jax.distributed`): who runs which members, and what all of them have found."""

import hashlib
from typing import Any

import jax
import numpy as np

from jaxrnn.primitives.primitive import multihost_utils
from jaxrnn.types import Tree


def share(places: np.ndarray) -> np.ndarray:
    """This process's part of the members: as many as every other's; where they do not come out even, some run twice."""
    each = -(-len(places) // jax.process_count())
    first = jax.process_index() * each
    return np.resize(places, each * jax.process_count())[first : first + each]


def gathered(tree: Tree) -> list[Tree]:
    """The trees of all processes, arrays of the same shapes; this one's own alone if there is but one.

    Raises:
      RuntimeError: a process has stopped. (One that takes longer than the others is waited for.)
    """
    if jax.process_count() == 1:
        return [tree]
    try:
        found = multihost_utils.process_allgather(tree)
    except Exception as error:
        raise RuntimeError(
            f"sweep: expected to hear from {jax.process_count()} processes, but one has stopped, or began half a "
            f"minute after the others: {error}"
        ) from error
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i]), found) for i in range(jax.process_count())]


def check_same(name: str, what: Any) -> None:
    """Raises ValueError if the processes do not agree on it, as far as its `repr` says."""
    digest = np.frombuffer(hashlib.sha1(repr(what).encode(), usedforsecurity=False).digest(), np.uint32)
    for process, theirs in enumerate(gathered(digest)):
        if (theirs != digest).any():
            raise ValueError(f"{name}: expected the same in all processes, got others in process {process}")
