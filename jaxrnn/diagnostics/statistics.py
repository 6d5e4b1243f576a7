"""The gradient in each recurrent layer of a whole model, in numbers."""

import contextlib
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.backward import backward, by_lag
from jaxrnn.diagnostics.gates import GateStatistics, gates
from jaxrnn.diagnostics.layer import Layer, record
from jaxrnn.diagnostics.non_finite import FirstNonFinite, non_finite
from jaxrnn.diagnostics.random_product import random_product
from jaxrnn.driver import unroll
from jaxrnn.float_leaves import floats, paths
from jaxrnn.types import Batch, Cell, Gradient, Loss, Model, Params, Tree, rows_and_steps
from jaxrnn.validity import reading

ROWS = 8
"""The number of rows of a batch that are analysed by lag."""
MAX_LAG = 128
"""The longest lag that is analysed."""


class LayerStatistics(NamedTuple):
    """The statistics of one recurrent layer; steps count in the order in which it reads.

    Attributes:
      norm_by_lag: as `gradient_norm_by_lag`, [K+1].
      gates: as `gate_statistics`; empty for a cell that names no gates.
      first_non_finite: as `first_non_finite`, of all rows.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 1, activation=jax.nn.relu)  # here h[t] = x[t] + h[t-1] / 2
      >>> params = {"w_x": jnp.ones((1, 1)), "w_h": jnp.full((1, 1), 0.5), "b": jnp.zeros(1)}
      >>> found = jaxrnn.diagnostics.gradient_statistics(cell, params, {"xs": jnp.ones((4, 2, 1))})
      >>> found.layers["Elman"].norm_by_lag.round(3).tolist()
      [1.0, 0.5, 0.25, 0.125]
    """

    norm_by_lag: jax.Array
    gates: dict[str, GateStatistics]
    first_non_finite: FirstNonFinite


class GradientStatistics(NamedTuple):
    """The statistics of a whole model.

    Attributes:
      loss: its value.
      gradient_norms, parameter_norms: of each parameter, by its path such as "0/1/w_h".
      layers: each recurrent layer, by its path and cell, such as "0/1 LSTM".

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 1, activation=jax.nn.relu)  # here h[t] = x[t] + h[t-1] / 2
      >>> params = {"w_x": jnp.ones((1, 1)), "w_h": jnp.full((1, 1), 0.5), "b": jnp.zeros(1)}
      >>> batch = {"xs": jnp.ones((2, 1)), "targets": jnp.zeros((2, 1))}  # ys are 1 and 1.5
      >>> found = jaxrnn.diagnostics.gradient_statistics(cell, params, batch, jaxrnn.losses.mean_squared_error)
      >>> float(found.loss), float(found.gradient_norms["w_h"]), list(found.layers)
      (1.625, 1.5, ['Elman'])
    """

    loss: jax.Array
    gradient_norms: dict[str, jax.Array]
    parameter_norms: dict[str, jax.Array]
    layers: dict[str, LayerStatistics]


def gradient_statistics(
    model: Model | Cell,
    params: Params,
    batch: Batch,
    loss: Loss | None = None,
    *,
    key: jax.Array | None = None,
    rows: int = ROWS,
    max_lag: int = MAX_LAG,
    time_major: bool = True,
) -> GradientStatistics:
    """The numbers of `gradient_report` that are cheap: a pure function, to be jitted and called during training.

    They are about the whole gradient through time, whatever gradient the model was built with. Cost: two gradients of
    the batch and, for each layer, `max_lag` backward passes over `rows` rows, run as one batch.

    Args:
      model: a Model with recurrent layers, or a Cell.
      params: its parameters.
      batch: "xs" and the entries that the loss reads; "lengths", "resets" and "xs_mask" as for `fit`.
      loss: (ys, batch) -> scalar; None: an inner product of the outputs with fixed random numbers.
      key: for noise; None means evaluation.
      rows: the number of rows of the batch that are analysed by lag.
      max_lag: the longest lag, in steps.
      time_major: False: sequences in `batch` are [B, T, ...]. The loss gets time first all the same.

    Returns:
      GradientStatistics.

    Raises:
      ValueError, TypeError: an argument does not fit (the message names it); the model has no recurrent layer.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.lstm(3, 8), jaxrnn.dense(8, 1))
      >>> batch = {"xs": jax.numpy.ones((20, 8, 3)), "targets": jax.numpy.zeros((20, 8, 1))}
      >>> params = model.init(jax.random.key(0))
      >>> found = jaxrnn.diagnostics.gradient_statistics(model, params, batch, jaxrnn.losses.mean_squared_error)
      >>> list(found.layers), found.layers["0/0 LSTM"].norm_by_lag.shape
      (['0/0 LSTM'], (20,))
    """
    max_lag, rows = checks.positive_int("max_lag", max_lag), checks.positive_int("rows", rows)
    batch = checked_values(model, batch, time_major)
    with cells_outside_of_transformations():
        return _gradient_statistics(model, params, batch, loss, key, rows, max_lag)


@compiled
def _gradient_statistics(
    model: Model | Cell, params: Params, batch: Batch, loss: Loss | None, key: jax.Array | None, rows: int, max_lag: int
) -> GradientStatistics:
    return statistics(recorded(model, params, batch, loss, key), rows, max_lag)


def checked_values(model: Model | Cell, batch: Batch, time_major: bool = True) -> Batch:
    """A batch, time first, with checked lengths: inside of `jax.jit` their values are not known."""
    checks.instance("model", model, (Model, Cell), "make one with jaxrnn.stack([cell, ...])")
    checks.entry("batch", batch, "xs")
    batch = {e: np.asarray(checks.array(f"batch[{e!r}]", x)) if isinstance(x, list) else x for e, x in batch.items()}
    checks.arrays("batch", batch)
    if not checks.flag("time_major", time_major):
        lead, own = jnp.shape(batch["xs"])[:2], {"targets", "previous"} if "targets_lengths" in batch else set()
        batch = {e: rows_and_steps(x) if e in own or jnp.shape(x)[:2] == lead else x for e, x in batch.items()}
    if batch.get("lengths") is None:
        return batch
    read = batch["xs"] if isinstance(model, Cell) else model.reads(batch)
    xs = checks.array("xs", jax.tree.leaves(read, is_leaf=lambda x: x is None)[0])
    return batch | {"lengths": checks.lengths(batch["lengths"], checks.steps_of("xs", xs))}


@contextlib.contextmanager
def cells_outside_of_transformations() -> Generator[None]:
    """A context that explains the error if a model's loops can't be recorded."""
    try:
        yield
    except jax.errors.UnexpectedTracerError as error:
        raise ValueError(
            "model: expected one that runs its cells outside of jax.jit, vmap, checkpoint and scan, so that its loops "
            "can be looked at, got one that runs some within"
        ) from error


class Recorded(NamedTuple):
    """A model's loss, the norms of its parameters and of their gradients by name, and its recurrent layers by name."""

    loss: jax.Array
    gradient_norms: dict[str, jax.Array]
    parameter_norms: dict[str, jax.Array]
    layers: dict[str, Layer]


def recorded(
    model: Model | Cell,
    params: Params,
    batch: Batch,
    loss: Loss | None,
    key: jax.Array | None,
    carry: Tree = None,
) -> Recorded:
    """Runs a model and differentiates its loss, with the arguments of `gradient_statistics` and a carry."""
    of_batch: Loss = (
        (lambda ys, _: random_product(ys)) if loss is None else checks.function("loss", loss, "ys", "batch")
    )
    checked_params(model, params)
    options: dict[str, Any] = reading(batch) | {"key": key, "carry": carry}

    def run(params: Params, gradient: Gradient) -> Tree:
        if isinstance(model, Cell):
            return unroll(model, params, batch["xs"], gradient=gradient, **options)[1]
        return model.apply(params, model.reads(batch), gradient=gradient, **options)[1]

    found = record(run, params, lambda ys: of_batch(ys, batch))
    if not found.layers:
        raise ValueError(f"model: expected at least one recurrent layer, got {checks.short(model)}")

    def norms(values: list[jax.Array]) -> dict[str, jax.Array]:
        return {name: jnp.linalg.norm(jnp.reshape(x, -1)) for name, x in zip(paths(params), values, strict=True)}

    return Recorded(found.loss, norms(found.d_params), norms(floats(params)), _named(model, found.layers))


def statistics(found: Recorded, rows: int, max_lag: int) -> GradientStatistics:
    """The statistics from the result of `recorded`."""

    def of_layer(layer: Layer) -> LayerStatistics:
        norms = by_lag(layer.first_rows(rows), {}, max_lag).norms
        return LayerStatistics(norms, gates(layer), non_finite(layer, backward(layer, {})[0]))

    return GradientStatistics(*found[:3], {name: of_layer(layer) for name, layer in found.layers.items()})


def _named(model: Model | Cell, layers: list[Layer]) -> dict[str, Layer]:
    """Each layer by the path of its cell in the model; by its cell alone if the model does not list it in `parts`."""
    paths, named = {id(cell): path for path, cell in _cells(model, ())}, {}
    for layer in layers:
        name = f"{'/'.join(paths.get(id(layer.cell), ()))} {type(layer.cell).__name__}".strip()
        again = sum(other.split(" #")[0] == name for other in named)
        named[f"{name} #{again + 1}" if again else name] = layer
    return named


def _cells(part: Model | Cell, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Cell]]:
    if isinstance(part, Cell):
        yield path, part
        return
    for name, child in zip(part.names, part.parts, strict=True):
        yield from _cells(child, path if name is None else (*path, name))
