"""Measurements of the gradient while a model is trained."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn.training.block import Task, some_rows
from jaxrnn.types import Batch, Params


def probe(task: Task, data: Batch) -> Batch:
    """A few rows of a block's data, for the diagnostics."""
    from jaxrnn.diagnostics.statistics import ROWS  # imported late: few runs need it

    return some_rows(task, data, ROWS, 0)


def make_diagnose(task: Task) -> Callable[[Params, Batch], dict[str, jax.Array]]:
    """A jitted function (params, batch) -> measurements by name, as `History.diagnostics` describes them."""
    from jaxrnn.diagnostics.statistics import gradient_statistics

    @jax.jit
    def measure(params: Params, batch: Batch) -> dict[str, jax.Array]:
        found = gradient_statistics(task.model, params, batch, task.loss)
        named = {f"gradient_norm/{name}": norm for name, norm in found.gradient_norms.items()}
        for layer, statistics in found.layers.items():
            named[f"norm_by_lag/{layer}"] = statistics.norm_by_lag
            named |= {f"saturated/{layer}/{gate}": jnp.nanmean(s.saturated) for gate, s in statistics.gates.items()}
        return named

    return measure
