"""Parameters on disk, without the data, the model or the optimizer."""

import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxrnn import checks
from jaxrnn.fingerprints import digest
from jaxrnn.training.checkpoint import saved_params
from jaxrnn.types import Cell, Model, Params

SUFFIX = ".safetensors"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
HEADER, DIGEST = "jaxrnn", "jaxrnn.sha256"
"""Entries of a file's metadata: jaxrnn's description of the file, as JSON, and the SHA-256 of that text."""


def save(path: checks.PathLike, params: Params, model: Model | Cell | None = None) -> None:
    """Writes parameters to a safetensors file: plain arrays, which every framework reads and which hold no code.

    Its header holds the version of jaxrnn, the model's options, and the SHA-256 of each array.

    Args:
      path: of the file, ending in ".safetensors". The file is written under another name, then renamed.
      params: a nested dict of arrays.
      model: the cell or model of the parameters; `load` compares it. None: the file names no model.

    Raises:
      FileNotFoundError: the folder of `path` does not exist.
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import pathlib, tempfile
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "gru.safetensors"
      >>> jaxrnn.save(path, cell.init(jax.random.key(0)), cell)
      >>> jaxrnn.load(path, cell)["w_x"].shape
      (3, 24)
    """
    file, named, empty = checks.path("path", path), dict[str, np.ndarray](), list[str]()
    if file.suffix != SUFFIX:
        raise ValueError(f"path: expected a file that ends in {SUFFIX}, got {file}")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in a folder that exists, got {file}")

    def walk(name: str, tree: Params) -> None:
        if not isinstance(tree, dict):
            value = checks.array(f"params[{name!r}]", tree)
            if jnp.issubdtype(value.dtype, jax.dtypes.extended):
                raise TypeError(f"params[{name!r}]: expected an array of numbers, got {checks.short(value)}")
            # NumPy arrays keep their 64 bits on disk.
            named[name] = np.asarray(tree if isinstance(tree, np.ndarray) else value, order="C")
            return
        for key, value in tree.items():
            if not isinstance(key, str) or not key or "/" in key:
                raise ValueError(f"params: expected names that are strings without a slash, got {key!r}")
            walk(f"{name}/{key}" if name else key, value)
        if not tree:
            empty.append(name)

    walk("", checks.instance("params", params, dict, "such as result.params"))
    if model is not None:
        checks.same_tree("params", params, _expected(model))
    said = {
        "version": importlib.metadata.version("jaxrnn"),
        "model": None if model is None else _described(model),
        "empty": empty,
        "arrays": {name: [_sizes(x), hashlib.sha256(x.tobytes()).hexdigest()] for name, x in named.items()},
    }
    text = json.dumps(said)
    partial = file.with_name(f".{file.name}.partial")
    metadata = {HEADER: text, DIGEST: hashlib.sha256(text.encode()).hexdigest()}
    safetensors.numpy.save_file(named, partial, metadata=metadata)
    with partial.open("rb+") as written:
        os.fsync(written.fileno())  # the data are on disk before the name is
    os.replace(partial, file)


def load(path: checks.PathLike, model: Model | Cell | None = None) -> Params:
    """Reads the parameters that `save` wrote, or those of a run from its `run_dir`.

    `load` compares names and sizes before it reads an array. In a file that `save` wrote it checks each array by its
    SHA-256.

    Args:
      path: of a safetensors file; or the `run_dir` of a `jaxrnn.fit`: the parameters that it returned, or would have
        returned at its last save.
      model: the cell or model that they have to fit, with the same options (functions are compared by their names);
        None: they are not compared.

    Returns:
      A nested dict of arrays.

    Raises:
      FileNotFoundError: neither a file nor a directory is at `path`.
      ValueError: the file or directory is of another kind, is damaged, does not fit the model, or holds numbers of 64
        bits without `jax_enable_x64`.

    Example:
      >>> import pathlib, tempfile
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(3, 8), jaxrnn.dense(8, 2))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
      >>> jaxrnn.save(path, model.init(jax.random.key(0)), model)
      >>> params = jaxrnn.load(path, model)
      >>> carry, ys = model.apply(params, jax.numpy.ones((5, 2, 3)))
    """
    found = checks.path("path", path, "file or run_dir")
    expected = None if model is None else _expected(model)
    if found.is_dir():
        params = saved_params(found)
        if expected is not None:
            checks.same_tree("path", params, expected)
        return jax.tree.map(jnp.asarray, params)
    file = opened("path", found)
    if model is not None and file.model not in (None, _described(model)):
        raise ValueError(f"path: expected parameters of {_described(model)}, got those of {file.model}, in {found}")
    if expected is not None:
        there = _nested(file.shapes, file.empty)
        checks.same_tree("path", there, expected)
        for (at, x), y in zip(jax.tree_util.tree_leaves_with_path(there), jax.tree.leaves(expected), strict=True):
            if jnp.issubdtype(x.dtype, jnp.floating) != jnp.issubdtype(y.dtype, jnp.floating):
                raise ValueError(f"path{jax.tree_util.keystr(at)}: expected {y.dtype}, got {x.dtype}, in {found}")
    return _nested({name: as_it_is(f"path[{name!r}]", file.read(name)) for name in file.shapes}, file.empty)


class File(NamedTuple):
    """A safetensors file, of which only the header was read.

    Attributes:
      shapes: the arrays by name, as `jax.ShapeDtypeStruct`.
      read: name -> the array, checked by its SHA-256 if `save` wrote it.
      model: the `repr` of the model that was given to `save`; None: there was none.
      empty: the names of dicts without entries.
    """

    shapes: dict[str, jax.ShapeDtypeStruct]
    read: Callable[[str], np.ndarray]
    model: str | None
    empty: list[str]


def opened(name: str, path: checks.PathLike) -> File:
    """Opens a safetensors file; raises if it is not one, or if it differs from the description that `save` wrote."""
    found = checks.path(name, path, "file or run_dir")
    if found.suffix in PICKLES:
        raise ValueError(
            f"{name}: expected a safetensors file, as safetensors.torch.save_file(module.state_dict(), path) writes "
            f"it, got {found}, a pickle, which can run any code"
        )
    if not found.exists():
        raise FileNotFoundError(f"{name}: expected a file or a run_dir, got {found}, which does not exist")
    try:
        with safetensors.safe_open(found, "numpy") as file:
            slices = {entry: file.get_slice(entry) for entry in file.keys()}  # noqa: SIM118
            shapes = {entry: _shape(f"{name}[{entry!r}]", x) for entry, x in slices.items()}
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{name}: expected a safetensors file, got {found}: {error}") from error
    said = _said(name, found, metadata, shapes)
    digests = {entry: digest for entry, (_, digest) in said.get("arrays", {}).items()}

    def read(entry: str) -> np.ndarray:
        with safetensors.safe_open(found, "numpy") as file:
            x = file.get_tensor(entry)
        if entry in digests and hashlib.sha256(x.tobytes()).hexdigest() != digests[entry]:
            raise ValueError(f"{name}[{entry!r}]: expected what was saved, got a damaged array, in {found}")
        return x

    return File(shapes, read, said.get("model"), said.get("empty", []))


DTYPES = {"BOOL": "bool", "BF16": "bfloat16"} | {
    f"{short}{bits}": f"{long}{bits}"
    for short, long in (("F", "float"), ("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
    if (short, bits) != ("F", 8)
}
"""The dtypes of safetensors that NumPy and JAX also have."""


def _shape(name: str, x: Any) -> jax.ShapeDtypeStruct:
    if x.get_dtype() not in DTYPES:
        raise ValueError(f"{name}: expected one of the dtypes {(*DTYPES,)}, got {x.get_dtype()}")
    return jax.ShapeDtypeStruct(tuple(x.get_shape()), jnp.dtype(DTYPES[x.get_dtype()]))


def _said(name: str, path: pathlib.Path, metadata: dict[str, str], shapes: dict[str, Any]) -> dict[str, Any]:
    """The description that `save` wrote into the header; an empty dict for a file of another program."""
    if not any(entry.startswith(HEADER) for entry in metadata):
        return {}
    text = metadata.get(HEADER, "")
    if hashlib.sha256(text.encode()).hexdigest() != metadata.get(DIGEST):
        raise ValueError(f"{name}: expected the header that was saved, got a damaged one, in {path}")
    said = json.loads(text)
    arrays, there = {entry: sizes for entry, (sizes, _) in said["arrays"].items()}, shapes.items()
    if arrays != {entry: _sizes(x) for entry, x in there}:
        wrong = sorted(set(arrays) ^ set(shapes)) or [e for e, x in there if arrays[e] != _sizes(x)]
        raise ValueError(f"{name}[{wrong[0]!r}]: expected the arrays that were saved, got a damaged header, in {path}")
    return said


def _sizes(x: Any) -> list[Any]:
    return [str(x.dtype), *x.shape]


def _described(model: Model | Cell) -> str:
    """A model's options: their names, and a digest of each array among them."""
    arrays = [np.asarray(x) for x in jax.tree.leaves(model) if np.ndim(x)]
    return repr(model) + (f" with arrays {digest(arrays)[:16]}" if arrays else "")


def _expected(model: Model | Cell) -> Params:
    checks.instance("model", model, (Model, Cell), "such as jaxrnn.lstm(3, 8)")
    return jax.eval_shape(lambda: model.init(jax.random.key(0)))


def _nested(arrays: dict[str, Any], empty: list[str]) -> Params:
    params: Params = {}
    for name in (*arrays, *(name for name in empty if name)):
        *folders, last = name.split("/")
        place = params
        for folder in folders:
            place = place.setdefault(folder, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last in place or not all((*folders, last)):
            raise ValueError(f"path[{name!r}]: expected names that make a nested dict, got {sorted(arrays)}")
        place[last] = arrays.get(name, {})
    return params


def as_it_is(name: str, x: Any) -> jax.Array:
    """An array of JAX with the same numbers; raises where 64 bits would become 32."""
    if not hasattr(x, "dtype"):
        raise TypeError(f"{name}: expected an array, got {checks.short(x)}")
    if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        raise ValueError(f"{name}: expected 32 bits, got {checks.short(x)}; jax_enable_x64 keeps 64")
    return jnp.array(x)
