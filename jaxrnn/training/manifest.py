"""Manifests of saves: what every file of one has to be, so that damage is noticed before anything is loaded."""

import hashlib
import json
import os
import pathlib
import warnings
from typing import Any, NamedTuple

NAME = "manifest.json"


class Save(NamedTuple):
    """An intact save: after how many steps it was made, and what identifies its run."""

    step: int
    about: dict[str, Any]


class DamagedError(Exception):
    """What is wrong with a save."""


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


def newest_intact(argument: str, folder: pathlib.Path) -> Save | None:
    """The newest of the saves folder/<step> that is what its manifest says; None if there are none.

    Raises:
      ValueError: there are saves, and none is intact.
    """
    steps = sorted((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), reverse=True)
    wrong = []
    for step in steps:
        try:
            about = _checked(folder / str(step), step)
        except DamagedError as error:
            wrong.append(str(error))
            continue
        if wrong:
            warnings.warn(f"{argument}: going on from the save of step {step}, since {'; '.join(wrong)}", stacklevel=4)
        return Save(step, about)
    if wrong:
        raise ValueError(f"{argument}: expected an intact save, got none: {'; '.join(wrong)}")
    return None


def _checked(folder: pathlib.Path, step: int) -> dict[str, Any]:
    """What identifies the run of a save all of whose files are as they were written."""
    path = folder / NAME
    try:
        said = json.loads(path.read_bytes())
        digest = said.pop("sha256")
        if digest != _digest(said) or said["step"] != step:
            raise ValueError(f"it is not the one that was written for step {step}")
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
