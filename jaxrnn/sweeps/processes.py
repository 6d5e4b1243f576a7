"""Several processes of one sweep (`jax.distributed`): the members of each process, and the exchange of results."""

import hashlib
from typing import Any

import jax
import numpy as np

from jaxrnn.primitives.primitive import multihost_utils
from jaxrnn.types import Tree


def share(places: np.ndarray) -> np.ndarray:
    """This process's part of the members, as large as every other's; if they do not divide evenly, some run twice."""
    each = -(-len(places) // jax.process_count())
    first = jax.process_index() * each
    return np.resize(places, each * jax.process_count())[first : first + each]


def gathered(tree: Tree) -> list[Tree]:
    """The trees of all processes, arrays of the same shapes; with one process, only its own tree.

    Raises:
      RuntimeError: a process has stopped. (Slower processes are waited for.)
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
    """Raises ValueError if the processes differ in a value, as far as its `repr` shows."""
    digest = np.frombuffer(hashlib.sha1(repr(what).encode(), usedforsecurity=False).digest(), np.uint32)
    for process, theirs in enumerate(gathered(digest)):
        if (theirs != digest).any():
            raise ValueError(f"{name}: expected the same in all processes, got others in process {process}")
