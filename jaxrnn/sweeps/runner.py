"""A runner: the members of a group go through one compiled program, some at a time."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.sweeps.groups import Group
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.program import SEED, Program, chunk, with_step
from jaxrnn.training.block import Progress, Report
from jaxrnn.training.saves import is_key, plain
from jaxrnn.types import Tree

LOOK = 0.3
"""Seconds for which the speed of a size is measured."""


class Runner:
    """Runs members of a group, `size` at once.

    States stay on the host between calls, so that members that stop free their memory.

    Args:
      group, program: the members and their program.
      key: the sweep's key.
      mesh: the member axis is spread over its devices; None: the default device.
    """

    def __init__(self, group: Group, program: Program, key: jax.Array, mesh: jax.sharding.Mesh | None = None) -> None:
        self.group: Group = group
        self.program: Program = program
        self._mesh = mesh
        self.devices: int = 1 if mesh is None else mesh.size
        self._compiled: dict[int, Any] = {}
        self.compile_seconds: float = 0.0  # to compile the last program
        self._step_seconds: dict[int, float] = {}  # by the number of members together
        count, seeds = len(group.members), group.traced.get(SEED)
        self.keys: jax.Array = (
            jnp.stack([key] * count) if seeds is None else jax.vmap(jax.random.fold_in, (None, 0))(key, seeds)
        )
        traced = {name: jax.ShapeDtypeStruct((), x.dtype) for name, x in group.traced.items()}
        self._state = jax.eval_shape(lambda traced: program.start(Hyper(group.static | traced), key), traced)
        self._plain = jax.eval_shape(plain, self._state)
        self.states: Tree = jax.tree.map(lambda x: np.zeros((count, *x.shape), x.dtype), self._plain)
        self._data = self._same(program.data)

    @property
    def compiles(self) -> int:
        """The number of programs compiled so far."""
        return len(self._compiled)

    @property
    def validates(self) -> bool:
        """True if members are validated."""
        return isinstance(self._state, Progress) and self._state.best is not None

    @property
    def ranks(self) -> bool:
        """True if data at the end of a rung rank members; False: the training loss does."""
        return isinstance(self._state, Progress)

    @property
    def sign(self) -> int:
        """The sign by which a score is multiplied, so that lower is better."""
        return 1 if self.program.mode == "min" else -1

    @property
    def member_bytes(self) -> int:
        """Bytes of one member's state."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self._plain))

    def compile(self, size: int) -> Any:
        """The program of `size` members."""
        if size not in self._compiled:
            places = np.zeros(size, int)
            start = time.perf_counter()
            run = jax.jit(chunk(self.program, self.group.static))  # states are not donated: an error leaves them whole
            lowered = run.lower(*self._inputs(places), self._load(places, 0), *self._bounds(0, 0, False))
            self._compiled[size] = lowered.compile()
            self.compile_seconds = time.perf_counter() - start
        return self._compiled[size]

    def bytes(self, size: int) -> int:
        """The bytes that the program of `size` members needs on each device, by XLA's own analysis."""
        memory = self.compile(size).memory_analysis()
        return memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes

    def seconds(self, size: int, most: int = 20) -> float:
        """Seconds for a step of one member, with `size` members together: the least value within `LOOK` seconds."""
        compiled, took, places = self.compile(size), [], np.arange(size) % len(self.group.members)
        stops = isinstance(self._state, Progress)  # a loop of the user's own takes whole blocks
        steps = min(most, self.program.length) if stops else self.program.length
        while len(took) < 3 or sum(took) * steps * size < LOOK:
            arguments = *self._inputs(places), self._load(places, 0), *self._bounds(0, steps, False)
            start = time.perf_counter()
            jax.block_until_ready(compiled(*arguments))
            took.append((time.perf_counter() - start) / (steps * size))
        return min(took[1:])

    def run(self, places: np.ndarray, size: int, start: int, stop: int, due_every: int) -> Iterator["Part"]:
        """Runs members from one step to another; yields after each block of each chunk.

        Args:
          places: the members, by their places in the group; all have taken `start` steps.
          size: the number of members at once. If fewer are left, copies fill them up and are thrown away; or they get a
            program of their own, if that saves more time than compiling takes.
          start, stop: steps.
          due_every: validation follows after multiples of this number of steps, and at `stop`.
        """
        for first in range(0, len(places), size):
            chosen = places[first : first + size]
            at_once = self._at_once(len(chosen), size, stop - start)
            compiled, padded, at = self.compile(at_once), np.resize(chosen, at_once), start
            inputs, states = self._inputs(padded), self._load(padded, start)
            while at < stop:
                end = min(at + self.program.length, stop)
                if self.validates:
                    end = min(end, at + due_every - at % due_every)
                due, began = end == stop or (self.validates and end % due_every == 0), time.perf_counter()
                states, report = compiled(*inputs, states, *self._bounds(at, end, due))
                report = jax.tree.map(lambda x, n=chosen.size: np.asarray(x)[:n], report)
                self._step_seconds[at_once] = (time.perf_counter() - began) / (end - at)
                if not due:
                    report = report._replace(validation={})
                yield Part(chosen, at, end, report, functools.partial(self._store, states, chosen))
                at = end
            self._store(states, chosen, None)

    def _at_once(self, count: int, size: int, steps: int) -> int:
        """The number of members that run together where `count` are left."""
        fewer = -(-count // self.devices) * self.devices
        if fewer >= size or fewer in self._compiled or size not in self._compiled:
            return min(fewer, size)
        saved = steps * self._step_seconds.get(size, 0.0) * (1 - fewer / size)
        return fewer if saved > self.compile_seconds else size

    def _inputs(self, places: np.ndarray) -> tuple[Any, Any]:
        """The members' traced hyperparameters and keys."""
        return self._split(({name: x[places] for name, x in self.group.traced.items()}, self.keys[places]))

    def _bounds(self, at: int, end: int, due: bool) -> tuple[Any, ...]:
        """Arguments that members share: whether they begin, the data, the number of steps, whether they validate."""
        shared = (jnp.asarray(at == 0), jnp.asarray(end - at, jnp.int32), jnp.asarray(due))
        fresh, steps, due_ = self._same(shared)
        return fresh, self._data, steps, due_

    def _load(self, places: np.ndarray, step: int) -> Tree:
        def one(x: np.ndarray, like: Any) -> jax.Array:
            values = jnp.asarray(x[places])
            if is_key(like):
                return jax.random.wrap_key_data(values, impl=jax.random.key_impl(self.keys))
            return values

        states = self._split(jax.tree.map(one, self.states, self._state))
        return with_step(states, self._same(jnp.asarray(step, jnp.int32)))

    def _store(self, states: Tree, places: np.ndarray, into: Tree) -> None:
        def one(kept: np.ndarray, x: Any) -> None:
            kept[places] = np.asarray(x)[: len(places)] if np.ndim(x) == kept.ndim else np.asarray(x)

        jax.tree.map(one, self.states if into is None else into, plain(states))

    def _split(self, tree: Tree) -> Tree:
        """Arrays [size, ...], spread over the devices."""
        return self._placed(tree, "members")

    def _same(self, tree: Tree) -> Tree:
        """Places the tree's arrays on all devices."""
        return self._placed(tree, "nothing")

    def _placed(self, tree: Tree, axis: str) -> Tree:
        if self._mesh is None:
            return tree
        spec = jax.sharding.PartitionSpec(*self._mesh.axis_names[: axis == "members"])
        return jax.device_put(tree, jax.sharding.NamedSharding(self._mesh, spec))


@dataclasses.dataclass(frozen=True)
class Part:
    """The results of a chunk of members in one block.

    Attributes:
      places: the members, by their places in the group.
      start, end: steps.
      report: the measurements, arrays [n, ...]; without validation unless one was due.
      store: writes the members' states into a tree like `Runner.states`; None: into that.
    """

    places: np.ndarray
    start: int
    end: int
    report: Report
    store: Callable[[Tree], None]
