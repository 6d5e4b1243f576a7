"""Manifests of saves: what every file of one has to be, so that damage is noticed before anything is loaded."""

import hashlib
import json
import os
import pathlib
import shutil
import warnings
from typing import Any, NamedTuple

import numpy as np

NAME, ARRAYS = "manifest.json", "arrays.npz"
KEPT = 3
"""Saves of a run that are kept."""


class Save(NamedTuple):
    """An intact save: after how many steps it was made, and what identifies its run."""

    step: int
    about: dict[str, Any]

    def check(self, kind: str, ours: dict[str, Any], folder: pathlib.Path) -> None:
        """Raises unless the save is of a run, or a sweep, that is identified as ours is."""
        for name in dict.fromkeys([*ours, *self.about]):
            want, got = ours.get(name), self.about.get(name)
            if got != want:
                raise ValueError(f"run_dir: expected a {kind} with {name} = {want}, got one with {got} in {folder}")


class DamagedError(Exception):
    """Damage of a save, by the name of the file."""


def write_manifest(folder: pathlib.Path, step: int, about: dict[str, Any]) -> None:
    """Writes the manifest of a save whose files are all there: the last of them."""
    files = {str(path.relative_to(folder)): _described(path) for path in _files(folder)}
    said = {"step": step, "about": about, "files": files}
    text = json.dumps({"sha256": _digest(said)} | said)
    partial = folder / f".{NAME}.partial"
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / NAME)
    sync(folder)


def sync(folder: pathlib.Path) -> None:
    """Puts the names in a folder on disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_save(root: pathlib.Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays as the next save of a folder, whole or not at all, and removes all but the newest few."""
    numbers = steps_in(root)
    number = max(numbers, default=0) + 1
    partial = root / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with (partial / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        file.flush()
        os.fsync(file.fileno())
    write_manifest(partial, number, about)
    os.replace(partial, root / str(number))
    sync(root)
    for old in sorted(numbers)[: -(KEPT - 1) or None]:
        shutil.rmtree(root / str(old), ignore_errors=True)


def steps_in(folder: pathlib.Path) -> list[int]:
    """The numbers of the saves in a folder."""
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


def newest_intact(argument: str, folder: pathlib.Path) -> Save | None:
    """The newest of the saves folder/<step> that is what its manifest says; None if there are none.

    Raises:
      ValueError: there are saves, and none is intact.
    """
    wrong = []
    for step in sorted(steps_in(folder), reverse=True):
        try:
            about = _checked(folder / str(step), step)
        except DamagedError as error:
            wrong.append(str(error))
            continue
        if wrong:
            warnings.warn(f"{argument}: going on from save {step}, since {'; '.join(wrong)}", stacklevel=4)
        return Save(step, about)
    if wrong:
        raise ValueError(f"{argument}: expected an intact save, got none: {'; '.join(wrong)}")
    return None


def _checked(folder: pathlib.Path, step: int) -> dict[str, Any]:
    """The identity of the run of a save all of whose files are as they were written."""
    path = folder / NAME
    try:
        said = json.loads(path.read_bytes())
        digest = said.pop("sha256")
        if digest != _digest(said) or said["step"] != step:
            raise ValueError(f"it is not the one that was written for save {step}")
        files, about = dict(said["files"]), dict(said["about"])
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing: the save was cut off") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedError(f"{path} is damaged ({error})") from error
    for name, want in files.items():
        try:
            found = _described(folder / name)
        except FileNotFoundError:
            raise DamagedError(f"{folder / name} is missing") from None
        except OSError as error:
            raise DamagedError(f"{folder / name} can't be read ({error})") from error
        if found != want:
            raise DamagedError(f"{folder / name} is damaged")
    return about


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)


def _described(path: pathlib.Path) -> list[Any]:
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _digest(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
