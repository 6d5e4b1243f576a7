"""The members of a sweep, grouped by their static hyperparameters; each group is one program."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.program import SEED, is_traced
from jaxrnn.sweeps.space import Member
from jaxrnn.sweeps.task import ModelTask
from jaxrnn.training.step import objective
from jaxrnn.training.values import check_values


@dataclasses.dataclass(frozen=True)
class Group:
    """Members of one program.

    Attributes:
      static: the hyperparameters that they share.
      traced: the other ones, float32 (the seed: uint32) arrays [n] by name.
      members: the numbers of the members, [n].
    """

    static: Member
    traced: dict[str, np.ndarray]
    members: np.ndarray


def grouped(members: list[Member]) -> list[Group]:
    """The groups, in the order of their first members."""
    found: list[tuple[Member, list[int]]] = []
    for number, member in enumerate(members):
        static = {name: value for name, value in member.items() if not is_traced(name, value)}
        for known, numbers in found:
            if known.keys() == static.keys() and all(_same(known[name], static[name]) for name in static):
                numbers.append(number)
                break
        else:
            found.append((static, [number]))
    return [
        Group(static, _columns([members[i] for i in numbers], static), np.asarray(numbers)) for static, numbers in found
    ]


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a is b or a == b)


def _columns(members: list[Member], static: Member) -> dict[str, np.ndarray]:
    names = [name for name in members[0] if name not in static]
    kinds = {name: np.uint32 if name == SEED else np.float32 for name in names}
    return {name: np.asarray([member[name] for member in members], kinds[name]) for name in names}


def check_members(task: Any, members: list[Member]) -> None:
    """Builds every member with its own hyperparameters, so that errors are found before anything is compiled.

    Raises:
      ValueError, TypeError: a member can't be built (the message names it); or no build reads a hyperparameter.
    """
    if not isinstance(task, ModelTask):
        return
    read = {SEED, "batch_size"}
    for number, member in enumerate(members):
        hyper = Hyper(member)
        try:
            built = task.build(hyper)
        except Exception as error:
            error.add_note(f"in build of member {number}: {hyper}")
            raise
        if not isinstance(built, tuple) or len(built) != 3:
            raise TypeError(f"build: expected it to return (model, loss, optimizer), got {checks.short(built)}")
        read |= hyper.read
    for group in grouped(members):
        model, loss, _ = task.build(Hyper(members[group.members[0]]))
        params = jax.eval_shape(model.init, jax.random.key(0))
        for name, arrays in (("data", task.data), ("validation", task.validation)):
            if arrays is not None:
                check_values(name, arrays, model, params, loss, task.metrics)
    unread = sorted({name for member in members for name in member} - read)
    if unread:
        for group in grouped(members):
            unread = sorted(set(unread) - _read_later(task, members[group.members[0]]))
    if unread:
        known = sorted(read - {SEED, "batch_size"})
        raise ValueError(f"space: expected hyperparameters that build reads, {known}, got {unread}")


def _read_later(task: ModelTask, member: Member) -> set[str]:
    """The hyperparameters that a member's model or loss reads while it is traced."""
    hyper = Hyper(member)
    model, loss, _ = task.build(hyper)

    def measured(key: Any, batch: Any) -> Any:
        return objective(model, loss, task.metrics, task.gradient)(model.init(key), batch, key)[1]

    jax.eval_shape(measured, jax.random.key(0), task.data)
    return hyper.read
