"""What a run compiles, kept for the next run of the same task."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxrnn.training.block import Task, make_block
from jaxrnn.training.diagnose import make_diagnose

KEPT = 16
"""Tasks whose programs are kept."""


class Programs(NamedTuple):
    """Jitted functions of a task.

    Attributes:
      block: see `make_block`.
      diagnose: see `make_diagnose`.
    """

    block: Any
    diagnose: Callable[..., Any]

    @classmethod
    def of(cls, task: Task, length: int) -> "Programs":
        """Those of a task, blocks having at most so many steps; of equal tasks the same."""
        dicts = (task.metrics, task.axes, task.validation_axes)
        items = tuple(None if d is None else tuple(d.items()) for d in dicts)
        rest = task._replace(metrics=None, axes=None, validation_axes=None)
        try:
            return _programs(rest, *items, length)
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            return _programs.__wrapped__(rest, *items, length)


@functools.lru_cache(KEPT)
def _programs(rest: Task, metrics: Any, axes: Any, validation_axes: Any, length: int) -> Programs:
    named = (None if items is None else dict(items) for items in (metrics, axes, validation_axes))
    task = rest._replace(**dict(zip(("metrics", "axes", "validation_axes"), named, strict=True)))
    same = None if task.mesh is None else NamedSharding(task.mesh, PartitionSpec())
    block = jax.jit(make_block(task, length), donate_argnums=0, out_shardings=same)
    return Programs(block, make_diagnose(task))
