"""What a sweep trains: `task` for models, `Task` for a training loop of your own."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxrnn import checks
from jaxrnn.data.rows import checked_data
from jaxrnn.sweeps.hyper import Hyper
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


def task(
    build: Build,
    data: dict[str, Any],
    *,
    batch_size: int | None = None,
    validation: dict[str, Any] | None = None,
    metrics: Metrics | None = None,
    gradient: Gradient | None = None,
) -> ModelTask:
    """A model, a loss and an optimizer for each member of a sweep.

    Args:
      build: (hyper) -> (model, loss, optimizer). `hyper.lr` and the like are a member's hyperparameters:
        floating-point ones may be traced, wherever they end up; integers and everything else are Python values.
      data, batch_size, validation, metrics, gradient: as for `fit`. A hyperparameter "batch_size" takes the place of
        the argument.

    Returns:
      A task for `sweep`. A member is trained as `jaxrnn.fit(*build(hyper), data, key=results.key(member), ...)` would
      train it.

    Raises:
      ValueError, TypeError: an argument does not fit, and which.
    """
    checks.callable_("build", build)
    if not isinstance(data, dict):
        raise TypeError(f"data: expected a dict of arrays that hold all rows, got {checks.short(data)}")
    data, _ = checked_data("data", data)  # arrays on the device, which all programs share
    if validation is not None:
        validation, _ = checked_data("validation", validation)
    return ModelTask(build, data, batch_size, validation, checks.metrics(metrics) or None, gradient)


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
