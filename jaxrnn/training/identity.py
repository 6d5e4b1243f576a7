"""The identity of a run: everything that tells it from another one."""

import hashlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn.fingerprints import described, digest, fingerprint
from jaxrnn.training.block import Task
from jaxrnn.training.state import TrainState
from jaxrnn.types import Batch, Params, Tree

COUNTS = (0, 10, 1_000, 100_000)
"""Counts of steps at which an optimizer is tried, so that schedules differ."""
SCALES = (1e-3, 1e3, 1.0, 1e-8)
"""Sizes of the consecutive random gradients of a trial: they reveal clipping, momentum and epsilon."""


def identity(
    task: Task,
    state: TrainState,
    params: Params,
    data: Batch | Iterable[Batch],
    held_out: Batch | None,
    time_major: bool,
) -> dict[str, Any]:
    """The properties that a resumed run must share with the one before, as far as they can be compared; see `fit`."""
    return {
        "model": repr(task.model),
        "model's functions and numbers": fingerprint(task.model),
        "loss": described(task.loss),
        "gradient": f"{task.gradient!r} {fingerprint(task.gradient)}",
        "optimizer": described(task.optimizer),
        "optimizer's state": hashlib.sha1(str(jax.tree.structure(state.opt_state)).encode()).hexdigest(),
        "optimizer's updates": updates(task.optimizer, state),
        "batch_size": task.batch_size,
        "stream": task.stream,
        "monitor": f"{task.mode} {task.monitor}",
        "metrics": {name: described(f) for name, f in sorted((task.metrics or {}).items())},
        "eval_params": None if task.eval_params is None else described(task.eval_params),
        "rows on axes": task.axes,
        "rows of the validation on axes": task.validation_axes,
        "time_major": time_major,
        "first step": int(state.step),
        "key": [str(jax.random.key_impl(state.key)), *np.ravel(jax.random.key_data(state.key)).tolist()],
        "params": "drawn" if params is None else digest(params),
        "data": data_key(data),
        "validation": None if held_out is None else digest(held_out),
    }


def data_key(data: Batch | Iterable[Batch]) -> str:
    """A key that tells data apart: the digest of a dict or list, or the attribute `identity` of another iterable."""
    if isinstance(data, (dict, list, tuple)):
        return digest(data)
    own = getattr(data, "identity", None)
    return own if isinstance(own, str) else type(data).__name__


def updates(optimizer: optax.GradientTransformation, state: TrainState) -> list[float]:
    """The answers of an optimizer to random gradients, at the start and after many steps.

    For each of COUNTS: the norms of its updates for random gradients of sizes SCALES, one after another, and for zeros.
    """
    optimize = optax.with_extra_args_support(optimizer)
    leaves, structure = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    normal = [jax.random.normal(key, x.shape, jnp.float32).astype(x.dtype) for key, x in zip(keys, leaves, strict=True)]
    direction = jax.tree.unflatten(structure, normal)

    def update(opt_state: Tree, scale: jax.Array) -> tuple[Tree, jax.Array]:
        grads = jax.tree.map(lambda x: x * scale.astype(x.dtype), direction)
        one = jnp.ones((), jnp.result_type(*leaves))
        reads = {"value": one, "grad": grads, "value_fn": lambda _: one}
        found, opt_state = optimize.update(grads, opt_state, state.params, **reads)
        return opt_state, optax.tree.norm(found).astype(jnp.float32)

    def at(count: jax.Array) -> jax.Array:
        def counted(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
            is_count = "count" in jax.tree_util.keystr(path[-1:]) and jnp.ndim(x) == 0
            return jnp.asarray(count, x.dtype) if is_count else x

        opt_state = jax.tree_util.tree_map_with_path(counted, state.opt_state)
        _, still = update(opt_state, jnp.zeros(()))
        return jnp.append(jax.lax.scan(update, opt_state, jnp.asarray(SCALES))[1], still)

    found = jax.jit(lambda: jax.lax.map(at, jnp.asarray(COUNTS, jnp.int32)))()
    return [float(f"{x:.6g}") for x in np.ravel(found)]
