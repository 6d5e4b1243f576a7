"""The trained states of a sweep's members."""

import dataclasses
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.program import params as learnt
from jaxrnn.sweeps.runner import Runner
from jaxrnn.sweeps.space import Member
from jaxrnn.sweeps.task import ModelTask
from jaxrnn.training.block import Progress
from jaxrnn.training.state import TrainState
from jaxrnn.types import Tree


@dataclasses.dataclass(frozen=True)
class Trained:
    """The states of all members, and the function that built them.

    Attributes:
      states: for each program its members' states, NumPy arrays [n, ...].
      place: for each member its program and its place there.
      keys: the data of the members' keys, [M, ...], and their kind.
      build: `task.build`; None: the task was a loop or function of your own, or `build` was lost in pickling.
    """

    states: tuple[Tree, ...]
    place: dict[int, tuple[int, int]]
    keys: tuple[np.ndarray, str]
    build: Any

    @classmethod
    def of(cls, task: Any, runners: list[Runner], states: list[Tree] | None = None) -> "Trained":
        """Takes these states, or those of the runners at the end."""
        place = {int(n): (r, i) for r, runner in enumerate(runners) for i, n in enumerate(runner.group.members)}
        keys = [np.asarray(jax.random.key_data(runners[r].keys[i])) for r, i in (place[n] for n in range(len(place)))]
        kind = str(jax.random.key_impl(runners[0].keys))
        build = task.build if isinstance(task, ModelTask) else None
        return cls(tuple(states or (runner.states for runner in runners)), place, (np.stack(keys), kind), build)

    def params(self, member: int) -> Any:
        """See `Results.params`."""
        program, at = self.place[member]
        return learnt(jax.tree.map(lambda x: np.asarray(x[at]), self.states[program]))

    def key(self, member: int) -> jax.Array:
        """See `Results.key`."""
        values, kind = self.keys
        return jax.random.wrap_key_data(jnp.asarray(values[member]), impl=kind)

    def state(self, member: int, steps: int) -> TrainState:
        """See `Results.state`."""
        program, at = self.place[member]
        states = self.states[program]
        if not isinstance(states, Progress):
            raise TypeError("results: expected those of a jaxrnn.task, got those of a loop or function of your own")
        found = jax.tree.map(lambda x: jnp.asarray(x[at]), states.state._replace(step=None, key=None))
        key = jax.random.wrap_key_data(jnp.asarray(states.state.key[at]), impl=self.keys[1])
        return found._replace(step=jnp.asarray(steps, jnp.int32), key=key)

    def built(self, member: Member) -> Any:
        """See `Results.build`."""
        if self.build is None:
            raise TypeError(
                "results: expected those of a jaxrnn.task whose build can be pickled, got those of a loop of your own, "
                f"or of a build that another process could not read: build({checks.short(member)}) is not at hand"
            )
        return self.build(Hyper(member))

    def __getstate__(self) -> dict[str, Any]:
        fields = dict(self.__dict__)
        try:
            pickle.dumps(self.build)
            lost = getattr(self.build, "__module__", None) == "__main__"  # another process has another __main__
        except Exception:  # pickle can't store a lambda or an inner function
            lost = True
        return fields | {"build": None} if lost else fields
