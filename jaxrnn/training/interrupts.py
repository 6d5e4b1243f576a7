"""Ctrl-C and SIGTERM during a run."""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None
DEFAULTS: dict[signal.Signals, Handler] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that end a run, and their default handlers."""


class Interrupts(contextlib.AbstractContextManager["Interrupts"]):
    """Turns SIGINT and SIGTERM into exceptions between two blocks, or while a run waits for its data.

    SIGINT becomes KeyboardInterrupt, SIGTERM `SystemExit(143)`. Signals with a handler other than the default are left
    alone, as are all signals outside of the main thread. A second signal of the same kind does not wait for the end of
    the block, which is lost then. Python drops an exception that is raised in a callback of the garbage collector or in
    `__del__`. So a signal stays caught when its exception is raised, and is raised again at the end of the next block,
    until `hold` is called.

    Args:
      active: False: signals are left as they are.
      waits: whether signals wait until `leave` is called.

    Attributes:
      caught: the last signal that has not ended the run, or None.
    """

    def __init__(self, *, active: bool = True, waits: bool = False) -> None:
        self.caught: int | None = None
        self.waits: bool = waits
        self._active = active
        self._before: dict[int, Handler] = {}

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
    def held(self) -> Generator[None]:
        """Keeps signals waiting inside the context."""
        before, self.waits = self.waits, True
        try:
            yield
        finally:
            self.waits = before
        if not before:
            self.leave()

    def hold(self, error: BaseException) -> None:
        """Keeps further signals waiting while what this exception leaves is saved."""
        self.waits = True
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.caught = None

    def leave(self) -> None:
        """Raises the exception of the waiting signal, if there is one."""
        if self.caught is not None:
            raise KeyboardInterrupt if self.caught == signal.SIGINT else SystemExit(128 + self.caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        second, self.caught = self.caught == number, number
        if second or not self.waits:
            self.leave()
