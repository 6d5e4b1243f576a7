"""Ctrl-C and SIGTERM during a run."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that end a run, and what handles them before somebody else does."""


class Interrupts(contextlib.AbstractContextManager["Interrupts"]):
    """Makes SIGINT and SIGTERM exceptions that come between two blocks, or while a run waits for its data.

    SIGINT becomes KeyboardInterrupt, SIGTERM `SystemExit(143)`. A signal that somebody else handles is left to them, as
    are all signals outside of the main thread. The second signal in a block does not wait for the block's end.

    Args:
      active: False: signals are left as they are.
      waits: whether a signal waits until `leave` is called, whatever is under way.

    Attributes:
      caught: the signal that waits, or None.
    """

    def __init__(self, *, active: bool = True, waits: bool = False) -> None:
        self.caught: int | None = None
        self.waits, self._active = waits, active
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if self._active and threading.current_thread() is threading.main_thread():
            for number, default in DEFAULTS.items():
                if signal.getsignal(number) is default:
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps signals waiting until its end."""
        before, self.waits = self.waits, True
        try:
            yield
        finally:
            self.waits = before
        if not before:
            self.leave()

    def leave(self) -> None:
        """Raises what a signal that waits stands for."""
        caught, self.caught = self.caught, None
        if caught is not None:
            raise KeyboardInterrupt if caught == signal.SIGINT else SystemExit(128 + caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        second, self.caught = self.caught is not None, number
        if second or not self.waits:
            self.leave()
