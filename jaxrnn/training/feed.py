"""What each block of a run reads, from a dict of arrays or from batches."""

from typing import Any, NamedTuple, Protocol

import jax

from jaxrnn import checks
from jaxrnn.data.rows import checked_data
from jaxrnn.gradients.truncated import Truncated
from jaxrnn.models.bidirectional import reads_backward
from jaxrnn.training.batches import Batches, Read
from jaxrnn.training.placement import check_rows, everywhere
from jaxrnn.types import Gradient


class Feed(Protocol):
    """Hands a run its data, block by block."""

    @property
    def axes(self) -> dict[str, int] | None:
        """Which of each array's axes has the rows; None if the data are batches, one for each step."""
        ...

    @property
    def rows(self) -> int:
        """How many rows the streams have; 0 if the data are none."""
        ...

    def skip(self, steps: int) -> None:
        """Passes over what so many steps read."""

    def read(self, steps: int) -> Read:
        """What the next block reads, which has at most `steps` steps."""
        ...


def window(gradient: Gradient | None, model: Any) -> int | None:
    """How many steps of a stream an optimizer step reads; None if the data are no streams."""
    if not isinstance(gradient, Truncated):
        return None
    if gradient.k1 != gradient.k2:
        raise ValueError(
            f"gradient: expected truncated(k1, k2) with k1 = k2 for training on streams, got {gradient}; give it to "
            "the layers, jaxrnn.stack(cells, gradient=...), to train on whole sequences"
        )
    if reads_backward(model):
        raise ValueError(
            "model: expected one that reads forward for training on streams, whose end is not known, got "
            f"{checks.short(model)}"
        )
    return gradient.k1


def feeding(
    data: Any, batch_size: int | None, length: int, k: int | None, mesh: jax.sharding.Mesh | None = None
) -> Feed:
    """The feed of blocks of at most `length` steps; `k` as `window` says. With a mesh all is on each of its devices."""
    if not isinstance(data, dict):
        return Batches(data, batch_size, length, k, mesh)
    arrays, axes = checked_data("data", data)
    T, N = arrays["xs"].shape[:2]
    if k is not None:
        if k > T:
            raise ValueError(f"gradient: expected k1 of at most the T = {T} steps of data, got {k}")
        if batch_size not in (None, N):
            raise ValueError(
                f"batch_size: expected None with gradient=truncated(k, k): all {N} rows are streams that go on "
                f"together, got {batch_size}; give truncation to the layers, jaxrnn.stack(cells, gradient=...), for "
                "minibatches of whole sequences"
            )
        check_rows("data", N, mesh)
        return InMemory(everywhere(arrays, mesh), axes, N, length)
    if batch_size is None:
        raise ValueError(f"batch_size: expected how many of the {N} rows a minibatch has, got None")
    if checks.positive_int("batch_size", batch_size) > N:
        raise ValueError(f"batch_size: expected at most the {N} rows of data, got {batch_size}")
    check_rows("batch_size", batch_size, mesh)
    return InMemory(everywhere(arrays, mesh), axes, 0, length)


class InMemory(NamedTuple):
    """A dict of arrays, the same for all blocks, which find their rows in it themselves; see `Feed`."""

    arrays: dict[str, jax.Array]
    axes: dict[str, int] | None
    rows: int
    length: int

    def skip(self, steps: int) -> None:
        pass

    def read(self, steps: int) -> Read:
        return Read(self.arrays, min(steps, self.length), False)
