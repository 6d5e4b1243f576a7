"""What each block of a run reads, from a dict of arrays or from batches."""

import itertools
from collections.abc import Callable, Iterable, Sized
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.gradients.truncated import Truncated
from jaxrnn.models.bidirectional import reads_backward
from jaxrnn.training.data import checked_batch, checked_data, rows_of, stacked
from jaxrnn.training.placement import check_rows, everywhere
from jaxrnn.types import Gradient


def window(gradient: Gradient | None, model: Any) -> int | None:
    """How many steps of a stream an optimizer step reads; None if the data are no streams."""
    if not isinstance(gradient, Truncated):
        return None
    if gradient.k1 != gradient.k2:
        raise ValueError(
            f"gradient: expected truncated(k1, k2) with k1 = k2 for training on streams, got {gradient}; give it to "
            "the layers, jr.stack(cells, gradient=...), to train on whole sequences"
        )
    if reads_backward(model):
        raise ValueError(
            "model: expected one that reads forward for training on streams, whose end is not known, got "
            f"{checks.short(model)}"
        )
    return gradient.k1


def feeding(
    data: Any, batch_size: int | None, length: int, k: int | None, mesh: jax.sharding.Mesh | None = None
) -> tuple[Callable[[int], tuple[Any, int]], Any, int]:
    """A function n -> (what n steps read, for how many steps it lasts), the rows' axes of a dict, the rows of streams.

    Called with -n the function skips n steps. With a mesh all of it is on each of its devices.
    """
    if isinstance(data, dict):
        arrays, axes = checked_data("data", data)
        if k is not None:
            T, N = arrays["xs"].shape[:2]
            if k > T:
                raise ValueError(f"gradient: expected k1 of at most the T = {T} steps of data, got {k}")
            if batch_size not in (None, N):
                raise ValueError(
                    f"batch_size: expected None with gradient=truncated(k, k): all {N} rows are streams that go on "
                    f"together, got {batch_size}; give truncation to the layers, jr.stack(cells, gradient=...), for "
                    "minibatches of whole sequences"
                )
            check_rows("data", N, mesh)
            arrays = everywhere(arrays, mesh)
            return lambda count: (arrays, max(count, 0)), axes, N
        if batch_size is None:
            raise ValueError(f"batch_size: expected how many of the {rows_of(arrays)} rows a minibatch has, got None")
        if checks.positive_int("batch_size", batch_size) > rows_of(arrays):
            raise ValueError(f"batch_size: expected at most the {rows_of(arrays)} rows of data, got {batch_size}")
        check_rows("batch_size", batch_size, mesh)
        arrays = everywhere(arrays, mesh)
        return lambda count: (arrays, max(count, 0)), axes, 0
    if not isinstance(data, Iterable):
        raise TypeError(f"data: expected a dict of arrays or an iterable of such dicts, got {checks.short(data)}")
    if isinstance(data, (list, tuple)) and not all(isinstance(batch, dict) for batch in data):
        raise TypeError(f"data: expected a dict of arrays or an iterable of such dicts, got {checks.short(data)}")
    if isinstance(data, Sized) and not len(data):
        raise ValueError(f"data: expected at least one batch, got none in {checks.short(data)}")
    if batch_size is not None:
        raise ValueError(f"batch_size: expected None with an iterable of batches, got {batch_size}")
    batches, rows = iter(data), 0
    first_batch = next(batches, None) if k is not None else None
    if first_batch is not None:
        T, rows = checked_batch("data", first_batch)["xs"].shape[:2]
        if k != T:
            raise ValueError(f"gradient: expected k1 = {T}, the steps of a batch, got {k}")
        batches = itertools.chain([first_batch], batches)

    first: dict[str, jax.Array] = {}

    def feed(count: int) -> tuple[Any, int]:
        if count <= 0:
            for _ in itertools.islice(batches, -count):
                pass
            return {}, 0
        found, count = stacked(batches, count, length, first)
        return everywhere(found, mesh), count

    return feed, None, rows
