"""The data of each block of a run, from a dict of arrays or from batches."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import jax

from jaxrnn import checks
from jaxrnn.data.rows import TIME_FIRST, Layout, checked_data, read_as, rows_of
from jaxrnn.models.bidirectional import reads_backward
from jaxrnn.training.batches import Batches, Read
from jaxrnn.training.placement import check_rows, everywhere
from jaxrnn.types import Batch, Model


class Feed(Protocol):
    """Hands a run its data, block by block."""

    @property
    def axes(self) -> dict[str, int] | None:
        """The axis of the rows for each array; None if the data are batches, one for each step."""
        ...

    @property
    def length(self) -> int:
        """The largest number of steps in a block."""
        ...

    @property
    def rows(self) -> int:
        """The number of rows of the streams; 0 if the data are not streams."""
        ...

    @property
    def read_as(self) -> str:
        """A description of how the data were read."""
        ...

    def skip(self, steps: int) -> None:
        """Skips the data of `steps` steps."""

    def read(self, steps: int) -> Read:
        """The data of the next block, of at most `steps` steps."""
        ...


def checked_stream(stream: int | None, model: Model) -> int | None:
    """The number of steps that an optimizer step reads of a stream; None if the data are not streams."""
    if stream is None:
        return None
    if reads_backward(model):
        raise ValueError(
            "model: expected one that reads forward for training on streams, whose end is not known, got "
            f"{checks.short(model)}"
        )
    return checks.positive_int("stream", stream)


def feeding(
    data: Batch | Iterable[Batch],
    batch_size: int | None,
    length: int,
    stream: int | None,
    mesh: jax.sharding.Mesh | None = None,
    layout: Layout = TIME_FIRST,
    model: Model | None = None,
) -> Feed:
    """The feed of blocks of at most `length` steps; with a mesh, each of its devices gets all data.

    `model`: the model that reads the symbols of the data, to check them where their values are known.
    """
    if not isinstance(data, dict):
        return Batches(data, batch_size, length, stream, mesh, layout, model)
    arrays, axes = checked_data("data", data, layout)
    N = rows_of(arrays)
    if stream is not None:
        check_pieces(arrays, axes, stream)
        if batch_size not in (None, N):
            raise ValueError(
                f"batch_size: expected None with stream={stream}: all {N} rows are streams that go on together, got "
                f"{batch_size}"
            )
        check_rows("data", N, mesh)
        return InMemory(everywhere(arrays, mesh), axes, N, length)
    if batch_size is None:
        raise ValueError(
            f"batch_size: expected how many of the {N} rows a minibatch has, got None; {N} are all of them"
        )
    if checks.positive_int("batch_size", batch_size) > N:
        raise ValueError(f"batch_size: expected at most the {N} rows of data, got {batch_size}")
    check_rows("batch_size", batch_size, mesh)
    return InMemory(everywhere(arrays, mesh), axes, 0, length)


def check_pieces(arrays: dict[str, jax.Array], axes: dict[str, int], stream: int) -> None:
    """Raises unless the streams can be read `stream` steps at a time."""
    T = len(arrays["xs"])
    if stream > T:
        raise ValueError(f"stream: expected at most the T = {T} steps of data, got {stream}")
    for entry, x in arrays.items():
        if axes[entry] == 1 and len(x) != T:
            raise ValueError(f"data[{entry!r}]: expected the T = {T} steps of xs in streams, got {checks.short(x)}")


class InMemory(NamedTuple):
    """A dict of arrays, the same for all blocks, which select their own rows; see `Feed`."""

    arrays: dict[str, jax.Array]
    axes: dict[str, int] | None
    rows: int
    length: int

    @property
    def read_as(self) -> str:
        return read_as(self.arrays)

    def skip(self, steps: int) -> None:
        pass

    def read(self, steps: int) -> Read:
        return Read(self.arrays, min(steps, self.length), False)
