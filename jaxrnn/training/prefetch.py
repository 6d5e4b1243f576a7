"""Batches that a thread reads and puts on the device before they are asked for."""

import atexit
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.training.data import Batch

SECONDS_AT_EXIT = 1.0
"""How long the interpreter's exit waits for a thread that is still reading."""


class Prefetched:
    """See `prefetch`; each iteration has a thread of its own."""

    def __init__(self, batches: Iterable[Batch], size: int, device: Any):
        self.run = getattr(batches, "run", None)
        self._batches, self._size, self._device = batches, size, device

    def __iter__(self) -> Iterator[Batch]:
        ready: queue.Queue[tuple[bool, Any]] = queue.Queue(self._size)
        stop = threading.Event()
        arguments = iter(self._batches), ready, stop, self._device
        thread = threading.Thread(target=_read, args=arguments, name="jaxrnn.prefetch", daemon=True)

        def end() -> None:
            """The thread ends at its next batch: what it puts then finds a free place."""
            stop.set()
            while not ready.empty():
                ready.get_nowait()

        def end_and_wait() -> None:
            end()
            thread.join(SECONDS_AT_EXIT)

        atexit.register(end_and_wait)
        thread.start()
        try:
            while True:
                more, value = ready.get()
                if not more:
                    if value is not None:
                        raise value
                    return
                yield value
        finally:
            end()
            atexit.unregister(end_and_wait)


def prefetch(batches: Iterable[Batch], size: int = 2, device: Any = None) -> Prefetched:
    """Reads batches ahead, in a thread, and puts them on the device: for data that do not fit into memory.

    An error of the iterable is raised where its batch would have come. The thread ends with the iteration: when the
    batches end, when the iterator is closed (`iterator.close()`) or nobody refers to it any more, or with the program.

    Args:
      batches: an iterable of batches, dicts of arrays. It is iterated over in another thread.
      size: how many batches are ready at most, besides the one being read. `fit` reads all batches of a block at once,
        so a block's (`block`, or `run` of `bucketed`) are to be ready for reading and training to overlap.
      device: a jax.Device or a Sharding; None: the default device.

    Returns:
      An iterable of the same batches, as JAX arrays.

    Raises:
      ValueError, TypeError: an argument does not fit, and which.
    """
    if isinstance(batches, (dict, str)) or not isinstance(batches, Iterable):
        raise TypeError(f"batches: expected an iterable of batches, got {checks.short(batches)}")
    checks.positive_int("size", size)
    if device is not None:
        checks.instance("device", device, (jax.Device, jax.sharding.Sharding))
    return Prefetched(batches, size, device)


def _read(batches: Iterator[Batch], ready: queue.Queue[tuple[bool, Any]], stop: threading.Event, device: Any) -> None:
    """What the thread does: (True, batch) for each batch, then (False, the error or None)."""
    error = None
    try:
        for batch in batches:
            if stop.is_set():
                return
            copied = jax.device_put(batch, device, may_alias=False)  # the iterable may write over its arrays
            ready.put((True, jax.block_until_ready(copied)))
            if stop.is_set():
                return
    except BaseException as raised:  # raised again in the consumer
        error = raised
    if not stop.is_set():
        ready.put((False, error))
