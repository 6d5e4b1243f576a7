"""The plan of a sweep, made before anything is compiled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxrnn import checks
from jaxrnn.sweeps.groups import Group, check_members, grouped
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.program import of_function, program
from jaxrnn.sweeps.pruning import Halving
from jaxrnn.sweeps.runner import Runner
from jaxrnn.sweeps.space import Member, as_space
from jaxrnn.sweeps.strategy import check_memory, checked_strategy, choose_size, default_memory
from jaxrnn.sweeps.task import ModelTask, Task

SPACE = 2**32 - 2
"""Folded into the sweep's key for the draws of a random space."""

AnyTask = ModelTask | Task | Callable[..., dict[str, Any]]


class Plan(NamedTuple):
    """A checked sweep.

    Attributes:
      members: the hyperparameters of each member.
      steps, block: the steps of a member, and the most steps in one compiled call.
      rungs: (the step at which a rung ends, the number of members that run up to it).
      runners: one for each program.
      memory: the most bytes that a program may take.
    """

    members: list[Member]
    steps: int
    block: int
    rungs: list[tuple[int, int]]
    runners: list[Runner]
    memory: int

    @property
    def member_steps(self) -> int:
        """The steps of all members together."""
        starts = [0, *(end for end, _ in self.rungs)]
        return sum((end - start) * count for (end, count), start in zip(self.rungs, starts, strict=False))


def make_plan(
    task: AnyTask,
    space: Any,
    key: jax.Array,
    steps: int | None,
    data: Any,
    block: int,
    strategy: str | int,
    memory: int | None,
    mesh: jax.sharding.Mesh | None,
    pruning: Halving | None,
) -> Plan:
    """Checks the arguments of `sweep`."""
    checks.key("key", key)
    checked_strategy(strategy)
    members = as_space(space).members(jax.random.fold_in(key, SPACE))
    mesh = checks.mesh("mesh", mesh)
    if mesh is not None and jax.process_count() > 1:
        mesh = mesh.local_mesh  # members are independent
    if pruning is not None:
        checks.instance("pruning", pruning, Halving, "such as jaxrnn.sweeps.halving(first=100)")
    memory = default_memory() if memory is None else checks.positive_int("memory", memory)
    if isinstance(task, (ModelTask, Task)):
        if data is not None:
            raise ValueError(f"data: expected None with a task, which has its own, got {checks.short(data)}")
        steps, block = checks.positive_int("steps", steps), checks.positive_int("block", block)
    else:
        checks.function("task", task, "hyper", "key", "data")
        checks.arrays("data", data)
        checks.positive_int("block", block)
        for name, value in (("steps", steps), ("pruning", pruning)):
            if value is not None:
                raise ValueError(
                    f"{name}: expected None with a plain function, got {value!r}; see jaxrnn.task and "
                    "jaxrnn.sweeps.Task"
                )
        steps = block = 1
    check_members(task, members)
    rungs = [(steps, len(members))] if pruning is None else pruning.rungs(steps, len(members))
    length, ends = min(block, rungs[0][0]), [end for end, _ in rungs]
    if isinstance(task, Task) and any(end % length for end in ends):
        raise ValueError(f"steps: expected rungs of whole blocks of {length} for a Task, got {ends}")
    runners = [_runner(task, group, length, data, key, mesh) for group in grouped(members)]
    for runner in runners:
        check_memory(runner, memory)
    return Plan(members, steps, block, rungs, runners, memory)


def _runner(task: Any, group: Group, length: int, data: Any, key: Any, mesh: Any) -> Runner:
    what = program(task, group.static, length) if isinstance(task, (ModelTask, Task)) else of_function(task, data)
    try:
        return Runner(group, what, key, mesh)
    except Exception as error:
        if isinstance(error, jax.errors.JAXTypeError):
            error.add_note(
                f"while tracing {_decides(task, group)} with {group.static}: a number that decides a shape or a Python "
                "branch must be a Python integer, which is static; floating-point ones are traced. A learning rate "
                "that a schedule can't take goes behind it: optax.chain(optax.adam(schedule), optax.scale(hyper.lr)), "
                "with a peak of 1"
            )
        raise


def _decides(task: Any, group: Group) -> str:
    """The traced hyperparameters that must be static, tried one by one; all of them if the trial finds none."""
    first = {name: values[0].item() for name, values in group.traced.items()}
    found = []
    for name in first if isinstance(task, ModelTask) else ():

        def build(value: Any, name: str = name) -> int:
            task.build(Hyper(group.static | first | {name: value}))
            return 0

        try:
            jax.eval_shape(build, first[name])
        except Exception:  # any error of a task's own code
            found.append(name)
    return ", ".join(found or sorted(first))


def plan(
    task: AnyTask,
    space: Any,
    *,
    key: jax.Array,
    steps: int | None = None,
    data: Any = None,
    block: int = 100,
    strategy: str | int = "auto",
    memory: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    pruning: Halving | None = None,
) -> str:
    """Describes the sweep that these arguments would run: members, programs, memory and estimated time, as text.

    Each program is compiled, and a few of its steps are timed.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs}, batch_size=8)
      >>> space = jaxrnn.grid(lr=[0.1, 0.01, 0.001])
      >>> text = jaxrnn.sweeps.plan(task, space, key=jax.random.key(0), steps=20, strategy="vmap")
      >>> "3 members" in text
      True
    """
    what = make_plan(task, space, key, steps, data, block, strategy, memory, mesh, pruning)
    lines, seconds = [f"{len(what.members)} members of {what.steps} steps, {what.member_steps:,} steps in all"], 0.0
    if len(what.rungs) > 1:
        lines.append("rungs: " + ", ".join(f"{count} members up to step {end}" for end, count in what.rungs))
    for runner in what.runners:
        size, why = choose_size(runner, strategy, what.memory, what.steps)
        each = runner.seconds(size)
        count = len(runner.group.members)
        seconds += each * what.member_steps * count / len(what.members)
        static = runner.group.static or "no static hyperparameters"
        lines.append(f"{static}: {count} members, {size} at once, {runner.bytes(size):,} bytes; {why}")
    compiles = sum(runner.compiles for runner in what.runners)
    lines.append(f"{len(what.runners)} programs ({compiles} compiled to find out); about {seconds:.0f} s of training")
    return "\n".join(lines)
