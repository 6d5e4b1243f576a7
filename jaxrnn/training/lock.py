"""A lock that lets one process at a time use a folder."""

import contextlib
import io
import os
import pathlib
import socket
import warnings

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None

NAME = "lock"


class Lock(contextlib.AbstractContextManager["Lock"]):
    """A lock on a folder for this process; the system releases it when the process ends, however it ends.

    Raises:
      RuntimeError: another process, or another call in this one, has the folder; the message names it.
      ValueError: the file of the lock can't be written.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        try:
            self._file = _opened(folder)
        except OSError as error:
            raise ValueError(
                f"run_dir: expected a directory whose file {NAME} can be written, got {folder}: {error.strerror}"
            ) from error

    def renew(self) -> None:
        """Makes and locks the folder again if it was deleted; a warning says so.

        Raises:
          RuntimeError: another process has made the folder again, and has it.
          OSError: the folder can't be made.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._folder / NAME), os.fstat(self._file.fileno())):
                return
        self._folder.mkdir(parents=True, exist_ok=True)
        file = _opened(self._folder)
        _close(self._file)
        self._file = file
        warnings.warn(f"run_dir: {self._folder} was deleted, and is made again", stacklevel=6)

    def __exit__(self, *_: object) -> None:
        _close(self._file)


def _opened(folder: pathlib.Path) -> io.FileIO:
    """Opens and locks the file; it is not buffered, so that a full disk is noticed here and not when it is closed."""
    file = io.FileIO(folder / NAME, "a+")
    try:
        _hold(file, folder)
    except BaseException:
        file.close()
        raise
    with contextlib.suppress(OSError):  # the disk is full: the folder is locked all the same
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
    _held.add(file.fileno())
    return file


def _close(file: io.FileIO) -> None:
    _held.discard(file.fileno())
    with contextlib.suppress(OSError), file:  # the folder is gone, or the disk is full
        file.truncate(0)


def _hold(file: io.FileIO, folder: pathlib.Path) -> None:
    try:
        if fcntl is None:
            raise OSError("this system has no flock")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = (folder / NAME).read_text() or "another process"
        raise RuntimeError(
            f"run_dir: expected a folder that no other process is using, got {folder}, which {who} has"
        ) from None
    except OSError as error:
        warnings.warn(f"run_dir: {folder} can't be locked ({error}); nothing else should use it", stacklevel=6)


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
