"""What a sweep trains: `task` for models, `Task` for a training loop of your own."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import optax

from jaxrnn import checks
from jaxrnn.data.rows import TIME_FIRST, Layout, checked_data, checked_layout, same_axes
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.training.block import EvalParams
from jaxrnn.training.feed import check_pieces
from jaxrnn.training.step import Loss, Metrics
from jaxrnn.types import Gradient, Model, Tree

Build = Callable[[Hyper], tuple[Model, Loss, optax.GradientTransformation]]


@dataclasses.dataclass(frozen=True)
class ModelTask:
    """What `task` makes; its fields are the arguments of `fit`."""

    build: Build
    data: dict[str, Any]
    batch_size: int | None = None
    validation: dict[str, Any] | None = None
    metrics: Metrics | None = None
    gradient: Gradient | None = None
    stream: int | None = None
    monitor: str = "loss"
    mode: str = "min"
    eval_params: EvalParams | None = None
    layout: Layout = TIME_FIRST


def task(
    build: Build,
    data: dict[str, Any],
    *,
    batch_size: int | None = None,
    validation: dict[str, Any] | None = None,
    metrics: Metrics | None = None,
    gradient: Gradient | None = None,
    stream: int | None = None,
    monitor: str = "loss",
    mode: Literal["min", "max"] = "min",
    eval_params: EvalParams | None = None,
    time_major: bool | None = None,
    per_row: Sequence[str] = (),
) -> ModelTask:
    """A model, a loss and an optimizer for each member of a sweep.

    Args:
      build: (hyper) -> (model, loss, optimizer). `hyper.lr` and the like are a member's hyperparameters:
        floating-point ones may be traced, wherever they end up; integers and everything else are Python values.
      data, batch_size, validation, metrics, gradient, stream, eval_params, time_major, per_row: as for `fit`. A
        hyperparameter "batch_size" takes the place of the argument.
      monitor, mode: members are ranked by the lowest ("min") or highest ("max") validation "loss", or another one of
        the `metrics`.

    Returns:
      A task for `sweep`. A member is trained as `jaxrnn.fit(*build(hyper), data, key=results.key(member), ...)` would
      train it.

    Raises:
      ValueError, TypeError: an argument does not fit, and which.
    """
    checks.callable_("build", build)
    if not isinstance(data, dict):
        raise TypeError(f"data: expected a dict of arrays that hold all rows, got {checks.short(data)}")
    checks.one_of("mode", mode, ("min", "max"))
    checks.one_of("monitor", monitor, ("loss", *checks.metrics(metrics)))
    if batch_size is not None:
        checks.positive_int("batch_size", batch_size)
    if eval_params is not None:
        checks.function("eval_params", eval_params, "opt_state", "params")
    layout = checked_layout(time_major, per_row)
    data, axes = checked_data("data", data, layout)  # arrays on the device, which all programs share
    if validation is not None:
        validation, _ = checked_data("validation", validation, layout)
        same_axes(data, validation, layout, stream)
    if stream is not None:
        check_pieces(data, axes, checks.positive_int("stream", stream))
    return ModelTask(
        build, data, batch_size, validation, checks.metrics(metrics) or None, gradient, stream, monitor, mode,
        eval_params, Layout(True, layout.per_row),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """A training loop of your own, of which a sweep runs many copies at once.

    Attributes:
      init: (hyper, key) -> state, a tree of arrays.
      advance: (hyper, state, steps) -> (state, values): takes `steps` steps, a Python integer; `values` is a dict of
        arrays [steps] with at least "loss", the lower the better.
    """

    init: Callable[[Hyper, jax.Array], Tree]
    advance: Callable[[Hyper, Tree, int], tuple[Tree, dict[str, jax.Array]]]
