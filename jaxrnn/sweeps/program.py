"""The program of the members that share their static hyperparameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.data.rows import checked_data, rows_of
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.space import Member
from jaxrnn.sweeps.task import ModelTask, Task
from jaxrnn.training.block import Progress, Report, make_block, no_best, validate
from jaxrnn.training.block import Task as BlockTask
from jaxrnn.training.feed import checked_stream
from jaxrnn.training.state import TrainState, checked_optimizer, train_state
from jaxrnn.types import Tree

SEED = "seed"
"""The name of the integer hyperparameter that is traced: it is folded into the sweep's key."""


@dataclasses.dataclass(frozen=True)
class Program:
    """The program of one member.

    Attributes:
      start: (hyper, key) -> state.
      block: (hyper, state, data, steps, due) -> (state, Report): the next `length` steps, or of a model's training only
        `steps` of them.
      data: the data that all members read.
      length: the steps of a block.
      axes: the axes of a state, for `jax.vmap`: 0 for the parts that each member has on its own.
      monitor, mode: the measure that ranks members, and "min" or "max".
    """

    start: Callable[[Hyper, jax.Array], Tree]
    block: Callable[..., tuple[Tree, Report]]
    data: Any
    length: int
    axes: Any
    monitor: str = "loss"
    mode: str = "min"


def is_traced(name: str, value: Any) -> bool:
    """Tells whether a hyperparameter is a number that can be traced, and so differ between members of one program."""
    return isinstance(value, float) or (name == SEED and isinstance(value, int))


def program(task: ModelTask | Task, static: Member, length: int) -> Program:
    """The program of the members with these static hyperparameters; it reads their traced ones as arguments."""
    if isinstance(task, Task):
        return _of_loop(task, length)
    arrays, axes = checked_data("data", task.data, task.layout)
    held_out, held_out_axes = arrays, axes  # without validation, the loss of all data ranks members
    if task.validation is not None:
        held_out, held_out_axes = checked_data("validation", task.validation, task.layout)
    rows = rows_of(arrays)
    batch_size = static.get("batch_size", task.batch_size)

    def build(hyper: Hyper) -> BlockTask:
        model, loss, optimizer = task.build(hyper)
        stream = checked_stream(task.stream, model)
        size = batch_size if stream is None else rows
        options = task.monitor, task.mode, task.eval_params
        return BlockTask(
            model, loss, checked_optimizer(optimizer), task.metrics, task.gradient, axes, held_out_axes, size, stream,
            None, *options,
        )  # fmt: skip

    def start(hyper: Hyper, key: jax.Array) -> Progress:
        block = build(hyper)
        streams = None if block.stream is None else rows
        state = train_state(block.model, block.optimizer, key=key, streams=streams)
        best = None if task.validation is None else no_best(state.params)
        evaluated = None if task.eval_params is None else state.params
        return Progress(state, best, jnp.zeros((), jnp.int32), evaluated)

    def block(hyper: Hyper, state: Progress, data: Any, steps: jax.Array, due: jax.Array) -> tuple[Progress, Report]:
        task = build(hyper)
        state, report = make_block(task, length)(state, data[0], steps)
        validated = functools.partial(validate, task, state.best, state, data[1])
        values = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(validated)[1])
        best, values = jax.lax.cond(due, validated, lambda: (state.best, values))
        return state._replace(best=best), report._replace(validation=values)

    if task.stream is None:
        if batch_size is None:
            raise ValueError(f"batch_size: expected how many of the {rows} rows a minibatch has, got None")
        if checks.positive_int("batch_size", batch_size) > rows:
            raise ValueError(f"batch_size: expected at most the {rows} rows of data, got {batch_size}")
    step_is_shared = Progress(TrainState(None, 0, 0, 0, 0), 0, 0, 0)  # pyright: ignore[reportArgumentType]
    return Program(start, block, (arrays, held_out), length, step_is_shared, task.monitor, task.mode)


def _of_loop(task: Task, length: int) -> Program:
    def start(hyper: Hyper, key: jax.Array) -> Tree:
        return {"state": task.init(hyper, key), "first_bad": jnp.zeros((), jnp.int32), "step": jnp.zeros((), jnp.int32)}

    def block(hyper: Hyper, state: Tree, data: Any, steps: jax.Array, due: jax.Array) -> tuple[Tree, Report]:
        del data, steps, due
        after, values = task.advance(hyper, state["state"], length)
        checks.entry("advance: values", values, "loss")
        for name, value in values.items():
            if jnp.shape(value) != (length,):
                raise ValueError(f"advance: values[{name!r}]: expected shape ({length},), got {checks.short(value)}")
        bad, alive = ~jnp.isfinite(values["loss"]), state["first_bad"] == 0
        first_bad = jnp.where(
            alive & bad.any(), state["step"] + 1 + jnp.argmax(bad).astype(jnp.int32), state["first_bad"]
        )
        held = jax.tree.map(lambda a, b: jnp.where(first_bad == 0, a, b), after, state["state"])
        values = {name: jnp.where(alive, value, jnp.nan) for name, value in values.items()}
        return {"state": held, "first_bad": first_bad, "step": state["step"] + length}, Report(values, {})

    return Program(start, block, (), length, {"state": 0, "first_bad": 0, "step": None})


def of_function(train: Callable[..., dict[str, Any]], data: Any) -> Program:
    """A plain function as a task of one step."""

    def start(hyper: Hyper, key: jax.Array) -> Tree:
        del hyper
        return {"state": key, "first_bad": jnp.zeros((), jnp.int32), "step": jnp.zeros((), jnp.int32)}

    def block(hyper: Hyper, state: Tree, data: Any, steps: jax.Array, due: jax.Array) -> tuple[Tree, Report]:
        del steps, due
        metrics = train(hyper, state["state"], data)
        checks.entry("train: metrics", metrics, "loss")
        values = {name: checks.scalar(f"train: metrics[{name!r}]", value)[None] for name, value in metrics.items()}
        bad = jnp.where(jnp.isfinite(values["loss"][0]), 0, 1).astype(jnp.int32)
        return state | {"first_bad": bad, "step": state["step"] + 1}, Report(values, {})

    return Program(start, block, data, 1, {"state": 0, "first_bad": 0, "step": None})


def first_bad(state: Tree) -> Any:
    """The first bad step of each member, 0 for none."""
    return state.first_bad if isinstance(state, Progress) else state["first_bad"]


def with_step(state: Tree, step: jax.Array) -> Tree:
    """A state after `step` steps; the step is the only part that members share."""
    if isinstance(state, Progress):
        return state._replace(state=state.state._replace(step=step))
    return state | {"step": step}


def params(state: Tree) -> Tree:
    """The parameters that a member has learned, see `Progress.learnt`; for a loop of your own, its whole state."""
    return state.learnt if isinstance(state, Progress) else state["state"]


def chunk(program: Program, static: Member) -> Callable[..., tuple[Tree, Report]]:
    """(traced, keys, states, fresh, data, steps, due) -> (states, reports) of many members at once."""

    def run(traced: Any, keys: Any, states: Any, fresh: Any, data: Any, steps: Any, due: Any) -> tuple[Tree, Report]:
        def member(traced: Any, key: Any, state: Any) -> tuple[Tree, Report]:
            hyper = Hyper(static | traced)
            state = jax.lax.cond(fresh, lambda: program.start(hyper, key), lambda: state)
            return program.block(hyper, state, data, steps, due)

        in_axes = (0, 0, program.axes)
        return jax.vmap(member, in_axes, (program.axes, 0))(traced, keys, states)

    return run
