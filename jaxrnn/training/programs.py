"""The compiled programs of a run, kept for the next run of the same task."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec
from jax.stages import Wrapped

from jaxrnn.functions import wrapped
from jaxrnn.training.block import Order, Task, make_block, order_of, validate
from jaxrnn.training.diagnose import make_diagnose
from jaxrnn.training.step import measuring

KEPT = 16
"""The number of tasks whose programs are kept."""
AHEAD, MOST_ROWS = 1000, 2**20
"""The order of the data is drawn for many steps at once, with at most this many rows in all."""


class Programs(NamedTuple):
    """Jitted functions of a task.

    Attributes:
      block: see `make_block`.
      validate: see `block.validate`.
      diagnose: see `make_diagnose`.
      order: (data, key, step) -> the order of the data for the next `ahead` steps; see `Order`.
      ahead: the number of steps that `order` draws at once.
    """

    block: Wrapped
    validate: Wrapped
    diagnose: Callable[..., dict[str, jax.Array]]
    order: Callable[..., Order]
    ahead: int

    @classmethod
    def of(cls, task: Task, length: int, donate: bool) -> "Programs":
        """Makes the programs of a task for blocks of at most `length` steps, or finds those of an equal task.

        With `donate` a block overwrites the state that it gets, and an error in it leaves no state.

        A loss that reads a changed value of its module is another loss.
        """
        measuring(task.model, task.loss, task.metrics)  # checks them before they are wrapped
        metrics = None if task.metrics is None else {name: wrapped(f) for name, f in task.metrics.items()}
        dicts = {"metrics": metrics, "axes": task.axes, "validation_axes": task.validation_axes}
        entries = {name: None if d is None else Entries(d) for name, d in dicts.items()}
        task = task._replace(loss=wrapped(task.loss), **entries)
        try:
            return _programs(task, length, donate)
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            return _programs.__wrapped__(task, length, donate)


class Entries(dict[str, Any]):
    """A dict that is not changed after its creation."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(tuple(self.items()))


@functools.lru_cache(KEPT)
def _programs(task: Task, length: int, donate: bool) -> Programs:
    same = None if task.mesh is None else NamedSharding(task.mesh, PartitionSpec())
    options: Any = {"donate_argnums": 0 if donate else (), "out_shardings": same}
    block = jax.jit(make_block(task, length), **options)
    validation = jax.jit(functools.partial(validate, task), **options)
    ahead = max(length, min(AHEAD, MOST_ROWS // (task.batch_size or 1)))
    order = jax.jit(lambda data, key, step: order_of(task, data, key, step, ahead), out_shardings=same)
    return Programs(block, validation, make_diagnose(task), order, ahead)
