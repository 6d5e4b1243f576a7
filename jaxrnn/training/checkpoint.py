"""A run's directory: saved by orbax, resumed by the next call."""

import dataclasses
import os
import pathlib
from typing import Any

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.training.history import History
from jaxrnn.training.manifest import KEPT, newest_intact, write_manifest
from jaxrnn.types import Params, Tree

SAVES = "checkpoints"


class RunDirectory:
    """Saves the state of a run; the newest three saves are kept, and each holds the best parameters so far.

    A save is written by orbax, then a manifest with the SHA-256 and size of each of its files. One that was cut off has
    no manifest; one that was damaged does not fit its own. Both are passed over for the save before, with a warning.

    Args:
      path: the directory; made if there is none.
      about: what identifies the run, a flat dict of numbers and strings; another run's directory is an error.
    """

    def __init__(self, path: Any, about: dict[str, Any]):
        try:
            import orbax.checkpoint as ocp
        except ImportError as error:
            raise ImportError('run_dir needs orbax: pip install "jaxrnn[save]"') from error
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"run_dir: expected the path of a directory, got {checks.short(path)}")
        self._ocp, self._about = ocp, about
        self.path = pathlib.Path(path).absolute()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"run_dir: expected a directory, got the file {self.path}")
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.path / SAVES, options=options)

    def restore(self, like: Tree) -> tuple[Tree, History] | None:
        """The state and history of the newest save that is intact; None if there is none at all.

        Raises:
          ValueError: the directory holds another run, or no save that is intact.
        """
        found = newest_intact("run_dir", self.path / SAVES)
        if found is None:
            return None
        step, args = found.step, self._ocp.args
        found.check("run", self._identity(like), self.path)
        target = args.StandardRestore(jax.tree.map(_abstract, plain(like)))
        items = args.Composite(state=target, history=args.StandardRestore())
        saved = self._manager.restore(step, args=items)
        history = saved["history"]
        state, read = (
            _typed(saved["state"], like),
            History(
                train={name: np.asarray(x) for name, x in history.get("train", {}).items()},
                validation={name: np.asarray(x) for name, x in history.get("validation", {}).items()},
                validation_steps=np.asarray(history.get("validation_steps", np.zeros(0, np.int64))),
                diagnostics={name: np.asarray(x) for name, x in history.get("diagnostics", {}).items()},
                diagnostic_steps=np.asarray(history.get("diagnostic_steps", np.zeros(0, np.int64))),
                compile_seconds=float(history["compile_seconds"]),
                run_seconds=float(history["run_seconds"]),
                start=int(history["start"]),
            ),
        )
        if not int(state.state.step) == read.steps == step:
            raise ValueError(
                f"run_dir: expected a state and a history of {step} steps, got one of {int(state.state.step)} and one "
                f"of {read.steps} in {self.path / SAVES / str(step)}"
            )
        # What is newer was damaged: the run goes on from here, and will save there again.
        for newer in [s for s in self._manager.all_steps() if s > step]:
            self._manager.delete(newer)
        return state, read

    def save(self, step: int, state: Tree, history: History) -> None:
        """Saves a state after `step` steps; returns when it is on disk."""
        if self._manager.latest_step() == step:
            return
        fields = jax.tree.map(np.asarray, dataclasses.asdict(history) | {"stopped": None})
        fields = {
            k: v for k, v in fields.items() if any(x.size for x in jax.tree.leaves(v))
        }  # orbax saves no empty ones
        args = self._ocp.args
        items = args.Composite(state=args.StandardSave(plain(state)), history=args.StandardSave(fields))
        self._manager.save(step, args=items, force=True)
        self._manager.wait_until_finished()
        if jax.process_index() == 0:
            write_manifest(self.path / SAVES / str(step), step, self._identity(state))

    def _identity(self, state: Tree) -> dict[str, Any]:
        """What a run must share with the one that it goes on from: what the caller named, and the state's shapes."""
        leaves = jax.tree_util.tree_leaves_with_path(plain(state))
        names = {path: jax.tree_util.keystr(path).replace("opt_state", "optimizer") for path, _ in leaves}
        return self._about | {names[path]: checks.short(x) for path, x in leaves}

    def close(self) -> None:
        """Releases orbax's resources."""
        self._manager.close()


def saved_params(path: pathlib.Path) -> Params:
    """The parameters that a run in this directory would return as of its last save, without its model and data."""
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError('jaxrnn.load needs orbax for a run_dir: pip install "jaxrnn[save]"') from error
    folder = path.absolute() / SAVES
    if not folder.is_dir():
        raise ValueError(f"path: expected the run_dir of a jaxrnn.fit, got {path}, which has no {SAVES}")
    found = newest_intact("path", folder)
    if found is None:
        raise ValueError(f"path: expected a run_dir with a save, got {path}, which has none")
    with ocp.CheckpointManager(folder) as manager:
        saved = manager.restore(found.step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
    best, last = saved.get("best"), saved.get("evaluated") or saved["state"]["params"]
    diverged = not all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(saved["state"]["params"]))
    return best["params"] if best and (diverged or int(best["step"])) else last


def is_key(x: Any) -> bool:
    """Whether it is a typed random key, or several."""
    return jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(tree: Tree) -> Tree:
    """Random keys as the integers in them."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def _typed(tree: Tree, like: Tree) -> Tree:
    """The inverse of `plain`."""

    def typed(x: Any, y: Any) -> Any:
        return jax.random.wrap_key_data(x, impl=jax.random.key_impl(y)) if is_key(y) else x

    return jax.tree.map(typed, tree, like)


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)
