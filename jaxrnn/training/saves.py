"""Saves of runs and sweeps: written whole or not at all, and checked before anything is loaded.

A save is a folder of two files: `arrays.safetensors`, and `manifest.json` with the SHA-256 and size of the first, the
identity of the run, and a SHA-256 of its own. A save is written as `.partial`, synchronised to disk, and then renamed.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from jaxrnn.types import Tree

MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
KEPT = 3
"""The number of saves that are kept."""


class Save(NamedTuple):
    """An intact save.

    Attributes:
      folder: its folder.
      number: its number: for a run, the number of steps before it.
      about: the identity of the run.
      said: further information, as JSON.
    """

    folder: pathlib.Path
    number: int
    about: dict[str, Any]
    said: dict[str, Any]

    def differences(self, kind: str, ours: dict[str, Any]) -> list[str]:
        """Differences between the run or sweep of this save and ours, one sentence each."""
        want, got = _by_path(ours), _by_path(self.about)
        names = dict.fromkeys([*want, *got])
        found = [name for name in names if json.dumps(want.get(name)) != json.dumps(got.get(name))]  # NaN equals NaN
        of = {name.split(".")[0] for name in found}
        found = [
            name for name in found if "'s " not in name or name.split("'s ")[0] not in of
        ]  # a difference has one name
        return [
            f"run_dir: expected a {kind} with {_differs(name, want.get(name), got.get(name))} in "
            f"{self.folder.parent.parent}"
            for name in found
        ]

    def arrays(self, expected: Mapping[str, Any], more: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """Reads the arrays. All names, shapes and dtypes are compared before any array is read.

        Args:
          expected: by name, values that have a shape and a dtype.
          more: prefixes of names of further arrays, whose sizes are not known.

        Raises:
          ValueError: an array is missing, unknown, or of another shape or dtype; the message names it.
        """
        with safetensors.safe_open(self.folder / ARRAYS, "numpy") as file:
            names = file.keys()
            slices = {name: file.get_slice(name) for name in names}
            found = {name: f"{x.get_dtype().lower()}{list(x.get_shape())}" for name, x in slices.items()}
            wanted = {name: _sizes(x) for name, x in expected.items()}
            for name in dict.fromkeys([*wanted, *found]):
                want, got = wanted.get(name, "nothing"), found.get(name, "nothing")
                if want != got and not (name.startswith(more) and name not in wanted):
                    raise ValueError(f"run_dir: {name}: expected {want}, got {got} in {self.folder}")
            return {name: _as_it_was(file.get_tensor(name), expected.get(name)) for name in names}


def _by_path(about: dict[str, Any]) -> dict[str, Any]:
    """The entries of nested dicts by their paths, such as "optimizer.b1"."""
    found: dict[str, Any] = {}
    for name, value in about.items():
        inner = _by_path(value) if isinstance(value, dict) else None
        found |= {f"{name}.{key}": x for key, x in inner.items()} if inner else {name: value}
    return found


def _differs(name: str, want: Any, got: Any) -> str:
    """The end of a sentence about two values; digests and long lists are not shown."""
    if any((isinstance(x, list) and len(x) > 8) or re.fullmatch("[0-9a-f]{16,}", str(x)) for x in (want, got)):
        return f"the same {name}, got one with another"
    return f"{name} = {want}, got one with {got}"


class DamagedError(Exception):
    """A damaged save; the message names the file."""


def write_save(
    root: pathlib.Path, number: int, arrays: Mapping[str, Any], about: dict[str, Any], said: dict[str, Any]
) -> None:
    """Writes a save into a folder, whole or not at all, and removes all saves but the newest few.

    Raises:
      OSError: the save could not be written; its partial files are removed.
    """
    partial, older = root / ".partial", numbers(root)
    _remove(partial)
    try:
        partial.mkdir(parents=True)
        data = safetensors.numpy.save({name: _stored(x) for name, x in arrays.items()})
        _write(partial / ARRAYS, data)
        files = {ARRAYS: [len(data), hashlib.sha256(data).hexdigest()]}
        manifest = {"number": number, "about": about, "said": said, "files": files}
        _write(partial / MANIFEST, json.dumps({"sha256": _digest(manifest)} | manifest).encode())
        _sync(partial)
        _remove(root / str(number))  # remains of a write that seemed to fail
        os.replace(partial, root / str(number))
        _sync(root)
    except BaseException:
        _remove(partial)
        raise
    for old in sorted({*older} - {number})[: -(KEPT - 1) or None]:
        _remove(root / str(old))


def numbers(root: pathlib.Path) -> list[int]:
    """The numbers of the saves in a folder, also of those that are damaged; none if the folder does not exist.

    Raises:
      OSError: the folder can't be read.
    """
    if not os.path.lexists(root):
        return []
    return [int(name) for name in os.listdir(root) if name.isdecimal() and name == str(int(name))]


def _remove(path: pathlib.Path) -> None:
    """Removes a folder, or a file or link in its place, if it can be removed."""
    if path.is_symlink() or path.is_file():
        with contextlib.suppress(OSError):
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def newest_intact(argument: str, root: pathlib.Path) -> Save | None:
    """The newest of a folder's saves that agrees with its manifest; None if there are no saves.

    Raises:
      ValueError: there are saves, but none is intact; or the folder can't be read.
    """
    wrong = []
    try:
        found = sorted(numbers(root), reverse=True)
    except OSError as error:
        raise ValueError(
            f"{argument}: expected a folder of saves that can be read, got {root}: {error.strerror}"
        ) from error
    for number in found:
        try:
            save = _checked(root / str(number), number)
        except DamagedError as error:
            wrong.append(str(error))
            continue
        if wrong:
            warnings.warn(f"{argument}: going on from save {number}, since {'; '.join(wrong)}", stacklevel=4)
        return save
    if wrong:
        anew = "; another run_dir begins anew" if argument == "run_dir" else ""
        raise ValueError(f"{argument}: expected an intact save, got none: {'; '.join(wrong)}{anew}")
    return None


def put_newer_aside(save: Save) -> None:
    """Renames damaged saves that are newer than `save`: the run continues from it and will save again."""
    for number in numbers(save.folder.parent):
        if number > save.number:
            aside = save.folder.parent / f"{number}.damaged"
            _remove(aside)
            os.replace(save.folder.parent / str(number), aside)


def _checked(folder: pathlib.Path, number: int) -> Save:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        digest = manifest.pop("sha256")
        if digest != _digest(manifest) or manifest["number"] != number:
            raise ValueError(f"it is not the one that was written for save {number}")
        files, save = manifest["files"], Save(folder, number, manifest["about"], manifest["said"])
        if not all(isinstance(x, dict) for x in (files, save.about, save.said)) or [*files] != [ARRAYS]:
            raise ValueError(f"it does not describe {ARRAYS}")
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error})") from error
    path = folder / ARRAYS
    try:
        with path.open("rb") as file:
            found = [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    except OSError as error:
        raise DamagedError(f"{path} can't be read ({error})") from error
    if found != files[ARRAYS]:
        raise DamagedError(f"{path} is damaged")
    return save


def is_key(x: Any) -> bool:
    """Tells whether a value is a typed random key, or an array of them."""
    return jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(tree: Tree) -> Tree:
    """The tree with its random keys replaced by their integers."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def _write(path: pathlib.Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: pathlib.Path) -> None:
    """Writes the names in a folder to disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):  # some file systems do not support it
            os.fsync(handle)
        os.close(handle)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _stored(x: Any) -> np.ndarray:
    """An array in a form that safetensors takes: complex numbers [...] as pairs [..., 2]."""
    x = np.asarray(x, order="C")
    return x[..., None].view(x.real.dtype) if np.iscomplexobj(x) else x


def _as_it_was(x: np.ndarray, like: Any) -> np.ndarray:
    return x.view(like.dtype)[..., 0] if like is not None and np.issubdtype(like.dtype, np.complexfloating) else x


SHORT = {"bfloat16": "bf16", "bool": "bool"}


def _sizes(x: Any) -> str:
    """A dtype and shape in safetensors' notation: f32[3, 8]."""
    dtype, shape = np.dtype(x.dtype), list(x.shape)
    if dtype.kind == "c":
        dtype, shape = np.real(np.zeros((), dtype)).dtype, [*shape, 2]
    short = SHORT.get(dtype.name) or f"{dtype.name[0]}{8 * dtype.itemsize}"
    return f"{short}{shape}"
