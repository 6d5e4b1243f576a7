"""A model's loss and metrics over a whole data set."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.compiled import compiled
from jaxrnn.data.rows import checked_data, checked_layout, rows_of
from jaxrnn.float_leaves import floats, paths
from jaxrnn.training.step import Metrics, measuring, outputs
from jaxrnn.training.values import check_symbols, check_values, not_finite
from jaxrnn.types import Batch, Loss, Model, Params, Tree

EVALUATION_BATCH = 1024
"""Rows evaluated at a time: a bound on the memory that evaluation takes."""


def evaluate(
    model: Model,
    params: Params,
    loss: Loss,
    data: Batch,
    *,
    metrics: Metrics | None = None,
    batch_size: int = EVALUATION_BATCH,
    time_major: bool | None = None,
    per_row: Sequence[str] = (),
) -> dict[str, float]:
    """Loss and metrics of all rows of a data set, without noise.

    Args:
      model, params: the model and its parameters.
      loss: (ys, batch) -> scalar.
      data: a dict of arrays, as for `fit`.
      metrics: further functions (ys, batch) -> scalar, by name.
      batch_size: rows that the model reads at a time. Loss and metrics are computed from the outputs of all rows at
        once.
      time_major, per_row: as for `fit`.

    Returns:
      {"loss": ..., and the metrics}. If the loss is not finite, a warning says so and names what else is not: an entry
      of the data, or a parameter.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(3, 8), jaxrnn.dense(8, 2))
      >>> data = {"xs": jax.numpy.ones((5, 20, 3)), "targets": jax.numpy.zeros((5, 20), int)}
      >>> found = jaxrnn.evaluate(
      ...     model, model.init(jax.random.key(0)), jaxrnn.losses.cross_entropy, data,
      ...     metrics={"accuracy": jaxrnn.losses.accuracy},
      ... )
      >>> sorted(found)
      ['accuracy', 'loss']
    """
    measuring(model, loss, metrics)
    checked_params(model, params)
    batch_size = checks.positive_int("batch_size", batch_size)
    arrays, axes = checked_data("data", data, checked_layout(time_major, per_row))
    check_symbols("data", arrays, model)
    named = tuple(checks.metrics(metrics).items())
    found = _evaluate(model, params, arrays, loss, named, tuple(axes.items()), batch_size)
    values = {name: float(value) for name, value in found.items()}
    if not np.isfinite(values["loss"]):
        check_values("data", arrays, model, params, loss, metrics)
        bad = [path for path, x in zip(paths(params), floats(params), strict=True) if not jnp.isfinite(x).all()]
        why = not_finite("data", arrays) or (f"parameter {bad[0]} is not" if bad else "")
        warnings.warn(f"evaluate: the loss is {values['loss']}{why and f'; {why}'}", stacklevel=2)
    return values


@compiled
def _evaluate(
    model: Model, params: Params, data: Batch, loss: Loss, metrics: Any, axes: Any, batch_size: int
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
    """Evaluates like `evaluate`, to be called while tracing."""
    N, axis = rows_of(data), int(model.keeps_time)

    def ys(start: jax.typing.ArrayLike, count: int) -> Tree:
        batch = {e: jax.lax.dynamic_slice_in_dim(x, start, count, axes[e]) for e, x in data.items()}
        return outputs(model, params, batch)[1]

    def joined(y: jax.Array) -> jax.Array:
        """Joins outputs of pieces [pieces, ..., batch_size, ...] into outputs of all rows."""
        y = jnp.moveaxis(y, 0, axis)
        return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])

    full, rest = divmod(N, batch_size)
    if full + (rest > 0) == 1:
        found = ys(0, N)
    else:
        pieces = jax.lax.map(lambda start: ys(start, batch_size), jnp.arange(full) * batch_size)
        found = jax.tree.map(joined, pieces)
        if rest:
            last = ys(full * batch_size, rest)
            found = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis), found, last)
    return measuring(model, loss, metrics)(found, data)
