"""What the gradient does while a model is trained."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.diagnostics.gradient_statistics import ROWS, gradient_statistics
from jaxrnn.training.block import Task
from jaxrnn.training.data import Batch, rows_of, take, window
from jaxrnn.types import Params


def probe(task: Task, data: Any) -> Batch:
    """A few rows to look at, the same throughout a run on a dict: its first ones, of a stream its first window.

    `data` is what a block reads: the dict, or batches with a leading axis for the steps, of which the first is taken.
    """
    if task.axes is None:
        return jax.tree.map(lambda x: x[0], data)
    batch = take(data, task.axes, jnp.arange(min(ROWS, rows_of(data))))
    return batch if task.window is None else window(batch, task.axes, jnp.zeros((), jnp.int32), task.window)


def make_diagnose(task: Task) -> Callable[[Params, Batch], dict[str, jax.Array]]:
    """A jitted function (params, batch) -> measurements by name, as `History.diagnostics` describes them."""

    @jax.jit
    def measure(params: Params, batch: Batch) -> dict[str, jax.Array]:
        found = gradient_statistics(task.model, params, batch, task.loss)
        named = {f"gradient_norm/{name}": norm for name, norm in found.gradient_norms.items()}
        for layer, statistics in found.layers.items():
            named[f"norm_by_lag/{layer}"] = statistics.norm_by_lag
            named |= {f"saturated/{layer}/{gate}": jnp.nanmean(s.saturated) for gate, s in statistics.gates.items()}
        return named

    return measure
