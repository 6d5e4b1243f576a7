"""What tells a run from another one."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.training.block import Task
from jaxrnn.training.state import TrainState
from jaxrnn.types import Params


def identity(task: Task, state: TrainState, params: Params, data: Any, held_out: Any) -> dict[str, Any]:
    """What a resumed run must share with the one before, as far as it can be told.

    An optimizer is a closure: it is known by its first update on a gradient of ones.
    """
    ones = jax.tree.map(jnp.ones_like, state.params)
    optimize = optax.with_extra_args_support(task.optimizer)
    one = jnp.ones((), jnp.result_type(*jax.tree.leaves(ones)))
    reads = {"value": one, "grad": ones, "value_fn": lambda _: one}
    update = optax.tree.norm(optimize.update(ones, state.opt_state, state.params, **reads)[0])
    return {
        "model": repr(task.model),
        "loss": getattr(task.loss, "__qualname__", repr(type(task.loss))),
        "gradient": repr(task.gradient),
        "optimizer's first update": f"{float(update):.5g}",
        "batch_size": task.batch_size,
        "stream": task.stream,
        "monitor": f"{task.mode} {task.monitor}",
        "metrics": sorted(task.metrics or {}),
        "eval_params": None if task.eval_params is None else getattr(task.eval_params, "__qualname__", "a function"),
        "rows on axes": task.axes,
        "first step": int(state.step),
        "key": np.asarray(jax.random.key_data(state.key)).tolist(),
        "params": "drawn" if params is None else digest(params),
        "data": digest(data) if isinstance(data, dict) else "batches",
        "validation": None if held_out is None else digest(held_out),
    }


def digest(tree: Any) -> str:
    """A number that two trees of arrays share if all their names, shapes, types and bytes are equal."""
    found = hashlib.sha1(usedforsecurity=False)
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        found.update(f"{jax.tree_util.keystr(path)} {checks.short(x)}".encode())
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()
