"""Tasks of a sweep: `task` for models, `Task` for a training loop of your own."""

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
from jaxrnn.training.step import Metrics, checked_monitor
from jaxrnn.types import Gradient, Loss, Model, Tree

Build = Callable[[Hyper], tuple[Model, Loss, optax.GradientTransformation]]


@dataclasses.dataclass(frozen=True)
class ModelTask:
    """A task of `task`; its fields are the arguments of `fit`.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, hyper.hidden), jaxrnn.dense(hyper.hidden, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs}, batch_size=8)
      >>> model, loss, optimizer = task.build(jaxrnn.Hyper(hidden=4, lr=0.01))  # those of one member
      >>> model.features, task.batch_size, task.monitor, task.mode
      ((1, 1), 8, 'loss', 'min')
    """

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
    mode: Literal["min", "max"] | None = None,
    eval_params: EvalParams | None = None,
    time_major: bool | None = None,
    per_row: Sequence[str] = (),
) -> ModelTask:
    """Declares a model, a loss and an optimizer for each member of a sweep.

    Args:
      build: (hyper) -> (model, loss, optimizer). `hyper.lr` and so on are a member's hyperparameters: floating-point
        ones may be traced, wherever they are used; integers and all other values are Python values.
      data, batch_size, validation, metrics, gradient, stream, eval_params, time_major, per_row: as for `fit`. A
        hyperparameter "batch_size" replaces the argument.
      monitor, mode: members are ranked by the lowest ("min") or highest ("max") validation "loss", or by another one of
        the `metrics`. mode=None: as for `fit`.

    Returns:
      A task for `sweep`. A member trains as `jaxrnn.fit(*build(hyper), data, key=results.key(member), ...)` would train
      it.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, hyper.hidden), jaxrnn.dense(hyper.hidden, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs}, batch_size=8)
    """
    checks.function("build", build, "hyper")
    if not isinstance(data, dict):
        raise TypeError(f"data: expected a dict of arrays that hold all rows, got {checks.short(data)}")
    if gradient is not None:
        checks.instance("gradient", gradient, Gradient, "such as jaxrnn.reverse_scan()")
    monitor, ranked = checked_monitor(monitor, mode, metrics)
    if batch_size is not None:
        checks.positive_int("batch_size", batch_size)
    if eval_params is not None:
        checks.function("eval_params", eval_params, "opt_state", "params")
    layout = checked_layout(time_major, per_row)
    data, axes = checked_data("data", data, layout)  # all programs share the arrays on the device
    if validation is not None:
        validation, _ = checked_data("validation", validation, layout)
        same_axes(data, validation, layout, stream)
    if stream is not None:
        check_pieces(data, axes, checks.positive_int("stream", stream))
    return ModelTask(
        build, data, batch_size, validation, checks.metrics(metrics) or None, gradient, stream, monitor, ranked,
        eval_params, Layout(True, layout.per_row),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """A training loop of your own; a sweep runs many copies of it at once.

    Attributes:
      init: (hyper, key) -> state, a tree of arrays.
      advance: (hyper, state, steps) -> (state, values): takes `steps` steps, a Python integer; `values` is a dict of
        arrays [steps] with at least "loss", the lower the better.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> def init(hyper, key):
      ...     return jax.random.normal(key)
      >>> def advance(hyper, state, steps):
      ...     def step(x, _):
      ...         return x - hyper.lr * x, x**2
      ...     state, losses = jax.lax.scan(step, state, length=steps)
      ...     return state, {"loss": losses}
      >>> task = jaxrnn.sweeps.Task(init, advance)
      >>> space = jaxrnn.grid(lr=[0.5, 0.01])
      >>> results = jaxrnn.sweep(task, space, key=jax.random.key(0), steps=20, block=10, progress=False)
      >>> results.members[results.best]
      {'lr': 0.5}
    """

    init: Callable[[Hyper, jax.Array], Tree]
    advance: Callable[[Hyper, Tree, int], tuple[Tree, dict[str, jax.Array]]]

    def __post_init__(self) -> None:
        checks.function("init", self.init, "hyper", "key")
        checks.function("advance", self.advance, "hyper", "state", "steps")
