"""A lock that lets one process at a time use a folder."""

import contextlib
import os
import pathlib
import socket
import warnings
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None

NAME = "lock"


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder for this process; the system releases the lock when the process ends, however it ends.

    Raises:
      RuntimeError: another process, or another call in this one, has the folder; the message names it.
      OSError: the folder can't be written.
    """
    with (folder / NAME).open("a+") as file:
        if fcntl is not None:
            _hold(file, folder)
        with contextlib.suppress(OSError):  # the disk is full: the folder is locked all the same
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        _held.add(file.fileno())
        try:
            yield
        finally:
            _held.discard(file.fileno())
            with contextlib.suppress(OSError):  # the folder is gone, or the disk is full
                file.truncate(0)


def _hold(file: object, folder: pathlib.Path) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # pyright: ignore
    except BlockingIOError:
        who = (folder / NAME).read_text() or "another process"
        raise RuntimeError(
            f"run_dir: expected a folder that no other process is using, got {folder}, which {who} has"
        ) from None
    except OSError as error:
        warnings.warn(f"run_dir: {folder} can't be locked ({error}); nothing else should use it", stacklevel=5)


_held: set[int] = set()


def _let_go() -> None:
    """Drops a parent's locks in a forked child, so that the locks end with the parent."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle in _held:
        os.dup2(nothing, handle, inheritable=False)
    os.close(nothing)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
