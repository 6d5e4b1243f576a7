"""Parameters on disk, without the data, model or optimizer that they came from."""

import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.training.checkpoint import saved_params
from jaxrnn.types import Params

SUFFIX = ".safetensors"


def save(path: Any, params: Params) -> None:
    """Writes parameters to a safetensors file: plain arrays, which every framework reads and which hold no code.

    Args:
      path: of the file, ending in ".safetensors". The file is written beside it first, and then renamed.
      params: a nested dict of arrays.

    Raises:
      FileNotFoundError: its folder does not exist.
      ImportError: safetensors is not installed.
      ValueError, TypeError: an argument does not fit, and which.

    Example:
      >>> import pathlib, tempfile
      >>> import jax
      >>> import jaxrnn
      >>> params = jaxrnn.gru(3, 8).init(jax.random.key(0))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "gru.safetensors"
      >>> jaxrnn.save(path, params)
      >>> jaxrnn.load(path)["w_x"].shape
      (3, 24)
    """
    from_numpy = _safetensors("save")
    file, named, empty = _path(path), dict[str, np.ndarray](), list[str]()
    if file.suffix != SUFFIX:
        raise ValueError(f"path: expected a file that ends in {SUFFIX}, got {file}")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in a folder that exists, got {file}")

    def walk(name: str, tree: Any) -> None:
        if not isinstance(tree, dict):
            value = checks.array(f"params[{name!r}]", tree)
            if jnp.issubdtype(value.dtype, jax.dtypes.extended):
                raise TypeError(f"params[{name!r}]: expected an array of numbers, got {checks.short(value)}")
            named[name] = np.asarray(value)
            return
        for key, value in tree.items():
            if not isinstance(key, str) or not key or "/" in key:
                raise ValueError(f"params: expected names that are strings without a slash, got {key!r}")
            walk(f"{name}/{key}" if name else key, value)
        if not tree:
            empty.append(name)

    walk("", checks.instance("params", params, dict, "such as result.params"))
    partial = file.with_name(f".{file.name}.partial")
    from_numpy.save_file(named, partial, metadata={"jaxrnn.empty": json.dumps(empty)})
    os.replace(partial, file)


def load(path: Any) -> Params:
    """Reads the parameters that `save` wrote, or those of a run from its `run_dir`.

    Args:
      path: of a safetensors file; or the `run_dir` of a `jaxrnn.fit`: the parameters that it returned, as of its last
        save, or would have returned there.

    Returns:
      A nested dict of arrays.

    Raises:
      FileNotFoundError: there is neither.
      ImportError: safetensors, or orbax for a run_dir, is not installed.
      ValueError: it is no such file or directory, or holds numbers of 64 bits without `jax_enable_x64`.
    """
    found = _path(path)
    if found.is_dir():
        return jax.tree.map(jnp.asarray, saved_params(found))
    if not found.exists():
        raise FileNotFoundError(f"path: expected a file or a run_dir, got {found}, which does not exist")
    _safetensors("load")
    import safetensors

    try:
        with safetensors.safe_open(found, "numpy") as file:
            names = list(file.keys())
            arrays = {name: file.get_tensor(name) for name in names}
            empty = json.loads((file.metadata() or {}).get("jaxrnn.empty", "[]"))
    except safetensors.SafetensorError as error:
        raise ValueError(f"path: expected a safetensors file, got {found}: {error}") from error
    params: dict[str, Any] = {}
    for name in (*arrays, *empty):
        *folders, last = name.split("/") if name else [""]
        place = params
        for folder in folders:
            place = place.setdefault(folder, {})
        if name:
            place[last] = _as_it_is(name, arrays[name]) if name in arrays else {}
    return params


def _as_it_is(name: str, x: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        raise ValueError(f"path: expected 32 bits, got {checks.short(x)} at {name}; jax_enable_x64 keeps 64")
    return jnp.asarray(x)


def _path(path: Any) -> pathlib.Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected the path of a file, got {checks.short(path)}")
    return pathlib.Path(path)


def _safetensors(name: str) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f'jaxrnn.{name} needs safetensors: pip install "jaxrnn[save]"') from error
    return safetensors.numpy
