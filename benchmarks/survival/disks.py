"""Disks that are full, read-only or taken away while a run writes to them, and two processes on one folder."""

import contextlib
import multiprocessing
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator

import jax
import numpy as np

import jaxrnn
from benchmarks.survival.cost import ROWS, SMALL
from jaxrnn.training import BlockEnd, FitResult, run

STEPS, FROM, UNTIL = 60, 20, 40
"""Steps of a run, and those between which it is disturbed."""


def disks() -> None:
    """Disturbs runs that save after each block, and prints what became of each.

    A run is lost unless the result in memory, and that of the same call afterwards, are bitwise the undisturbed ones.
    The disk is full by a limit of the process for the size of files. A disk is read-only by the folder's permissions,
    which hold for this process as a user without privileges.
    """
    run.SAVE_SECONDS = -1.0
    want, lost = _fit(None), 0
    for name, at in SITUATIONS.items():
        with tempfile.TemporaryDirectory() as root, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            folder = pathlib.Path(root) / "run"
            with _as_a_user(root) if at is _read_only else contextlib.nullcontext():
                found, before = _fit(folder, lambda end, at=at, folder=folder: at(end, folder)), len(told)
                _writable(folder)
                again = _fit(folder)
        whole = [_same(result, want) for result in (found, again)]
        lost += not all(whole)
        print(f"{name}: {'nothing lost' if all(whole) else f'LOST, {whole}'}; not saved: {found.history.not_saved!r}")
        for text in dict.fromkeys(str(each.message).replace(root, "...") for each in told[:before]):
            print(f"  {text[:160]}")
    sys.exit(bool(lost))


def _fit(folder: pathlib.Path | None, callback: Callable[[BlockEnd], None] | None = None) -> FitResult:
    return jaxrnn.fit(
        *SMALL, steps=STEPS, block=5, batch_size=ROWS, key=jax.random.key(0), run_dir=folder, callback=callback,
        progress=False,
    )  # fmt: skip


def _same(one: FitResult, other: FitResult) -> bool:
    trees = [(result.params, result.history.train) for result in (one, other)]
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, trees), strict=True))


@contextlib.contextmanager
def _as_a_user(root: str) -> Generator[None]:
    if os.geteuid():
        yield
        return
    os.chown(root, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _writable(folder: pathlib.Path) -> None:
    _limit(resource.RLIM_INFINITY)
    if folder.exists():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def _full_for_a_while(end: BlockEnd, _: pathlib.Path) -> None:
    _limit(0 if FROM <= end.step < UNTIL else resource.RLIM_INFINITY)


def _full_to_the_end(end: BlockEnd, _: pathlib.Path) -> None:
    _limit(0 if end.step >= FROM else resource.RLIM_INFINITY)


def _read_only(end: BlockEnd, folder: pathlib.Path) -> None:
    if end.step == FROM:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555)


def _deleted(end: BlockEnd, folder: pathlib.Path) -> None:
    if end.step == FROM:
        shutil.rmtree(folder)


def _two_processes(end: BlockEnd, folder: pathlib.Path) -> None:
    if end.step == FROM:
        other = multiprocessing.get_context("spawn").Process(target=_second, args=(folder,))
        other.start()
        other.join()
        assert other.exitcode == 0


def _second(folder: pathlib.Path) -> None:
    try:
        _fit(folder)
    except Exception as error:
        print(f"  the second process: {str(error).replace(str(folder.parent), '...')[:160]}")
        return
    sys.exit("the second process ran")


SITUATIONS = {
    "disk full for a while": _full_for_a_while, "disk full to the end": _full_to_the_end,
    "disk read-only": _read_only, "folder deleted": _deleted, "two processes": _two_processes,
}  # fmt: skip
