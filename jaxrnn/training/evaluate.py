"""A model's loss and metrics over a whole data set."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.compiled import compiled
from jaxrnn.data.rows import checked_data, rows_of
from jaxrnn.training.step import Loss, Metrics, objective
from jaxrnn.types import Model, Params

EVALUATION_BATCH = 1024
"""Rows evaluated at a time, which bounds the memory that takes."""


def evaluate(
    model: Model,
    params: Params,
    loss: Loss,
    data: dict[str, Any],
    *,
    metrics: Metrics | None = None,
    batch_size: int = EVALUATION_BATCH,
) -> dict[str, float]:
    """Loss and metrics over all rows of a data set, without noise.

    Args:
      model, params: the model and its parameters.
      loss: (ys, batch) -> scalar.
      data: a dict of arrays, as for `fit`.
      metrics: further functions (ys, batch) -> scalar, by name.
      batch_size: rows at a time. What a function returns for several batches is averaged, weighted by their rows.

    Returns:
      {"loss": ..., and the metrics}.
    """
    objective(model, loss, metrics)
    checked_params(model, params)
    batch_size = checks.positive_int("batch_size", batch_size)
    arrays, axes = checked_data("data", data)
    named = tuple(checks.metrics(metrics).items())
    found = _evaluate(model, params, arrays, loss, named, tuple(axes.items()), batch_size)
    return {name: float(value) for name, value in found.items()}


@compiled
def _evaluate(
    model: Model, params: Params, data: Any, loss: Loss, metrics: Any, axes: Any, batch_size: int
) -> dict[str, jax.Array]:
    return over_rows(model, params, loss, dict(metrics), data, dict(axes), batch_size)


def over_rows(
    model: Model,
    params: Params,
    loss: Loss,
    metrics: Metrics | None,
    data: dict[str, jax.Array],
    axes: dict[str, int],
    batch_size: int = EVALUATION_BATCH,
) -> dict[str, jax.Array]:
    """As `evaluate`, to be called while tracing."""
    N = rows_of(data)
    value = objective(model, loss, metrics)

    def rows(start: Any, count: int) -> dict[str, jax.Array]:
        batch = {e: jax.lax.dynamic_slice_in_dim(x, start, count, axes[e]) for e, x in data.items()}
        return value(params, batch, None)[1]

    full, rest = divmod(N, batch_size)
    means = []
    if full:
        starts = jnp.arange(full) * batch_size
        each = jax.lax.map(lambda start: rows(start, batch_size), starts)
        means.append(jax.tree.map(lambda x: x.mean() * (full * batch_size / N), each))
    if rest:
        means.append(jax.tree.map(lambda x: x * (rest / N), rows(full * batch_size, rest)))
    return jax.tree.map(lambda *parts: sum(parts), *means)
