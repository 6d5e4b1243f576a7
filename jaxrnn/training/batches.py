"""Batches of an iterable, grouped into blocks."""

from collections.abc import Iterable, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.data.rows import TIME_FIRST, Layout, check_counts, checked_batch, read_as
from jaxrnn.training.placement import everywhere
from jaxrnn.training.values import check_symbols
from jaxrnn.types import Batch, Model

MOST_SHAPES = 32
"""The largest number of batch shapes, each of which is compiled; more shapes are an error."""


END: Any = object()
"""Stands for a batch where there is none left."""


class Read(NamedTuple):
    """The data of one block.

    Attributes:
      data: a dict of arrays: of all rows, or of batches, with a leading axis for the steps of a block.
      steps: the number of steps of the block; 0: no data were left.
      ended: True if the data ended with this block.
    """

    data: Batch
    steps: int
    ended: bool


def longest_run(data: Batch | Iterable[Batch]) -> int | None:
    """The largest number of consecutive batches of one shape, from an iterable's attribute `run`; None without it."""
    run = getattr(data, "run", None)
    return run if isinstance(run, int) and run > 0 else None


class Batches:
    """Batches of an iterable, grouped for `Feed`: a block has consecutive batches of one shape.

    Args:
      data: the iterable.
      batch_size: must be None: an iterable decides its batch size.
      length: the leading axis of a block's data; copies of the last batch fill a block of fewer batches.
      stream: the number of steps in a batch of streams; None: the batches are not streams.
      mesh: the devices that get the data.
      layout: the layout of the batches.
      model: the model that reads the symbols of the batches, to check them where their values are known.
    """

    axes = None

    def __init__(
        self,
        data: Iterable[Batch],
        batch_size: int | None,
        length: int,
        stream: int | None,
        mesh: jax.sharding.Mesh | None,
        layout: Layout = TIME_FIRST,
        model: Model | None = None,
    ):
        of_others = isinstance(data, (list, tuple)) and not all(isinstance(batch, dict) for batch in data)
        if not isinstance(data, Iterable) or isinstance(data, (np.ndarray, jax.Array)) or of_others:
            raise TypeError(f"data: expected a dict of arrays or an iterable of such dicts, got {checks.short(data)}")
        if isinstance(data, Sized) and not len(data):
            raise ValueError(f"data: expected at least one batch, got none in {checks.short(data)}")
        if batch_size is not None:
            raise ValueError(f"batch_size: expected None with an iterable of batches, got {batch_size}")
        self.rows: int = 0
        self.length: int = length
        self._batches, self._mesh, self._layout, self._model = iter(data), mesh, layout, model
        self._next: Batch | None = None  # read, but not yet in a block
        self._first: dict[str, jax.Array] | None = None
        self._shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._streams, self._counts = stream is not None, False
        if stream is not None:
            self._next = self._take()
            if self._next is not None:
                T, self.rows = checked_batch("data", self._next, layout)["xs"].shape[:2]
                if stream != T:
                    raise ValueError(f"stream: expected {T}, the steps of a batch, got {stream}")

    @property
    def read_as(self) -> str:
        return "batches" if self._first is None else f"batches of {read_as(self._first)}"

    def skip(self, steps: int) -> None:
        for taken in range(steps):
            if self._take() is None:
                raise ValueError(
                    f"data: expected the {steps} batches that the run in run_dir has taken, and further ones, got an "
                    f"iterable that ended after {taken}"
                )

    def read(self, steps: int) -> Read:
        taken: list[dict[str, jax.Array]] = []
        while len(taken) < steps:
            batch = self._take()
            if batch is None:
                break
            arrays = self._checked(batch)
            if taken and (len(taken) == self.length or _shapes(arrays) != _shapes(taken[0])):
                self._next = batch
                break
            taken.append(arrays)
        ended = len(taken) < steps and self._next is None
        if not taken:
            return Read({}, 0, ended)
        if not self._counts:
            check_counts("data: batches", taken)
            self._counts = True
        filled = taken + [taken[-1]] * (self.length - len(taken))
        data = {entry: jnp.stack([batch[entry] for batch in filled]) for entry in taken[0]}
        return Read(everywhere(data, self._mesh), len(taken), ended)

    def _take(self) -> Batch | None:
        batch, self._next = self._next, None
        if batch is None and (batch := next(self._batches, END)) is None:
            raise TypeError("data: expected a dict of arrays as each batch, got None")
        return None if batch is END else batch

    def _checked(self, batch: Batch) -> dict[str, jax.Array]:
        """A batch's arrays, checked: entries and dtypes, and in streams shapes, are those of the first batch."""
        arrays = checked_batch("data", batch, self._layout)
        if all(isinstance(batch[entry], (np.ndarray, list)) for entry in ("xs", "previous") if entry in arrays):
            check_symbols("data: a batch", arrays, self._model)
        self._first = self._first or arrays
        if self._streams:
            checks.same_tree("data: a batch", arrays, self._first)
        checks.same_entries("data: a batch", arrays, self._first)
        checks.same_dtypes("data: a batch", arrays, self._first)
        self._shapes.add(_shapes(arrays))
        if len(self._shapes) > MOST_SHAPES:
            raise ValueError(
                f"data: expected batches of at most {MOST_SHAPES} different shapes, each of which is compiled, got one "
                f"more with xs {checks.short(arrays['xs'])}; jaxrnn.data.bucketed makes batches of a few shapes"
            )
        return arrays


def _shapes(arrays: dict[str, jax.Array]) -> tuple[tuple[int, ...], ...]:
    return tuple(arrays[entry].shape for entry in sorted(arrays))
