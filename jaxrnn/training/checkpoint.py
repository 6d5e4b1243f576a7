"""A run's directory: saved in intervals, resumed by the next call."""

import contextlib
import os
import pathlib
import urllib.parse
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import jax
import numpy as np
import safetensors

from jaxrnn import checks
from jaxrnn.training.block import Guard, OnNonfinite
from jaxrnn.training.history import SAID, STEPS, History
from jaxrnn.training.lock import Lock
from jaxrnn.training.saves import ARRAYS, is_key, newest_intact, plain, put_newer_aside, write_save
from jaxrnn.types import Params, Tree

SAVES = "checkpoints"
OPTIONAL = ("best", "evaluated", "guard", "first_bad")
"""Parts of a `Progress` besides its state."""
RANKING = ("loss", "monitor", "metrics", "eval_params", "validation")
"""Entries of the identity that a run's best parameters depend on; only `resume="anyway"` lets them differ."""
Resume = Literal["same", "anyway"]


class RunDirectory(contextlib.AbstractContextManager["RunDirectory"]):
    """Saves the state of a run. The newest three saves are kept; each holds the best parameters so far.

    Args:
      path: the directory; created if it does not exist.
      about: the identity of the run, a flat dict of numbers and strings.
      resume: "anyway": a run that differs goes on, with a warning.
      on_nonfinite: the run's policy for steps that are not finite; after a change of policy its counts start anew.

    Attributes:
      path: the directory.
      saved: the number of steps at the newest save; None: there is no save.
    """

    def __init__(self, path: checks.PathLike, about: dict[str, Any], resume: Resume, on_nonfinite: OnNonfinite) -> None:
        self._about = about
        self._resume: Resume = resume
        self._on_nonfinite = on_nonfinite
        self.path: pathlib.Path = folder(path, "a sweep", "saves")
        self._lock = Lock(self.path) if jax.process_index() == 0 else None
        self.saved: int | None = None

    def restore(self, like: Tree) -> tuple[Tree, History] | None:
        """The state and history of the newest intact save; None if there are no saves.

        Raises:
          ValueError: the directory holds another run, or saves of which none is intact.
        """
        found = newest_intact("run_dir", self.path / SAVES)
        if found is None:
            return None
        refuse("run", found.differences("run", self._about), self._resume)
        expected = dict(zip(_names(like), jax.tree.leaves(plain(like)), strict=True))
        own = {name: x for name, x in expected.items() if name.startswith("state")}
        arrays = found.arrays(own, more=("history/", *OPTIONAL))
        for name in (*SAID, "on_nonfinite", *(f"history/{kind}" for kind in STEPS)):
            if name not in found.said and name not in arrays:
                raise ValueError(
                    f"run_dir: {name}: expected it in a save of this version, got nothing in {found.folder}"
                )
        other = found.said["on_nonfinite"] != [*self._on_nonfinite]
        ranked_anew = any(found.about.get(name) != self._about.get(name) for name in RANKING)
        anew = {"guard": other, "first_bad": other, "best": ranked_anew}
        for part in OPTIONAL:  # parts may be missing or differ if resume="anyway"
            names = [name for name in expected if name.startswith(part)]
            fits = all(name in arrays and arrays[name].shape == expected[name].shape for name in names)
            if not fits or anew.get(part):
                arrays |= {name: expected[name] for name in names}
        state = _typed(jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected]), like)
        if other:
            state = state._replace(guard=Guard.of(state.state, self._on_nonfinite))
        history = History.of(arrays, found.said)
        monitor = self._about["monitor"].split()[-1]
        if ranked_anew and monitor in history.validation:  # those scores are no longer compared with later ones
            history.validation[monitor] = np.full_like(history.validation[monitor], np.nan)
        if not int(state.state.step) == history.steps == found.number:
            raise ValueError(
                f"run_dir: expected a state and a history of {found.number} steps, got one of {int(state.state.step)} "
                f"and one of {history.steps} in {found.folder}"
            )
        put_newer_aside(found)
        self.saved = found.number
        return state, history

    def save(self, state: Tree, history: History) -> None:
        """Saves a state and the history up to it; returns when both are on disk."""
        if self.saved == history.steps:
            return
        if self._lock is not None:
            self._lock.renew()
            said = history.said() | {"empty": [*_empty(state.state.params)], "on_nonfinite": [*self._on_nonfinite]}
            arrays = dict(zip(_names(state), jax.tree.leaves(plain(state)), strict=True)) | history.arrays()
            write_save(self.path / SAVES, history.steps, arrays, self._about, said)
        self.saved = history.steps

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.__exit__()


def folder(run_dir: checks.PathLike, other: str, saves: str) -> pathlib.Path:
    """A directory that can be written, created if it does not exist; not one with the saves of something other."""
    path = checks.path("run_dir", run_dir, "directory").absolute()
    if (path / saves).exists():
        raise ValueError(f"run_dir: expected another directory than that of {other}, got {path}")
    try:
        make_writable(path)
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory that can be written, got {path}: {error.strerror}") from error
    return path


def make_writable(path: pathlib.Path) -> None:
    """Creates a directory if it does not exist; raises OSError if it can't be written."""
    path.mkdir(parents=True, exist_ok=True)
    tried = path / f".tried-{os.getpid()}"
    tried.write_bytes(b"")
    tried.unlink()


def refuse(kind: str, differences: list[str], resume: Resume) -> None:
    """Raises for the first difference between a run and the saved one; with resume="anyway" warns of all instead."""
    if differences and resume == "same":
        others = len(differences) - 1
        more = f", and {others} more difference{'s' if others > 1 else ''}" if others else ""
        raise ValueError(f'{differences[0]}{more}; resume="anyway" goes on with the {kind} all the same')
    if differences:
        warnings.warn(f"{kind}: going on although it differs: {'; '.join(differences)}", stacklevel=4)


def saved_params(path: pathlib.Path) -> Params:
    """The parameters that a run in this directory would return at its last save, read without its model and data."""
    saves = path.absolute() / SAVES
    if not saves.is_dir():
        raise ValueError(f"path: expected the run_dir of a jaxrnn.fit, got {path}, which has no {SAVES}")
    found = newest_intact("path", saves)
    if found is None:
        raise ValueError(f"path: expected a run_dir with a save, got {path}, which has none")
    with safetensors.safe_open(found.folder / ARRAYS, "numpy") as file:
        names = file.keys()
        best = "best/step" in names and int(file.get_tensor("best/step"))
        evaluated = any(name.startswith("evaluated/") for name in names)
        prefix = "best/params/" if best else "evaluated/" if evaluated else "state/params/"
        arrays = {name.removeprefix(prefix): file.get_tensor(name) for name in names if name.startswith(prefix)}
    params: Params = {}
    for name in (*arrays, *found.said["empty"]):
        *outer, last = map(urllib.parse.unquote, name.split("/"))
        place = params
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = arrays.get(name, {})
    return params


def _empty(tree: Tree, at: str = "") -> Iterator[str]:
    """The names of the empty dicts in a dict."""
    for name, value in tree.items() if isinstance(tree, dict) else ():
        here = f"{at}{_quoted(str(name))}"
        yield from [here] if isinstance(value, dict) and not value else _empty(value, f"{here}/")


def _names(tree: Tree) -> list[str]:
    """Names of a tree's leaves, such as state/params/0/w_h, quoted as in a URL."""
    paths = [at for at, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return ["/".join(_quoted(jax.tree_util.keystr((key,), simple=True)) for key in at) for at in paths]


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _typed(tree: Tree, like: Tree) -> Tree:
    """Arrays of JAX; the inverse of `plain`."""

    def typed(x: np.ndarray, y: Any) -> Any:
        return (
            jax.random.wrap_key_data(jax.numpy.asarray(x), impl=jax.random.key_impl(y))
            if is_key(y)
            else jax.numpy.asarray(x)
        )

    return jax.tree.map(typed, tree, like)
