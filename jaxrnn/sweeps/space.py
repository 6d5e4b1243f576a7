"""Spaces of hyperparameters: the members of a sweep."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.sweeps.distributions import Distribution

NOT_NEGATIVE = ("lr", "learning_rate", "weight_decay", "clip", "clip_norm", "clip_value", "dropout", "momentum", "tau")
"""Names of hyperparameters whose values are never below 0."""

Member = dict[str, Any]
"""A member's hyperparameters by name: Python numbers, strings, or other values given to the space."""


@dataclasses.dataclass(frozen=True)
class Space:
    """A space of hyperparameters; see `grid`, `zipped`, `random` and `table`.

    Attributes:
      names: the names of the hyperparameters.
      rows: the members, unless they are drawn at random.
      count, distributions: the number of members that are drawn, and their distributions.
    """

    names: tuple[str, ...]
    rows: tuple[Member, ...] = ()
    count: int | None = None
    distributions: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def members(self, key: jax.Array) -> list[Member]:
        """All members, checked; a random space draws them with `key`."""
        if self.count is None:
            return [dict(row) for row in self.rows]
        keys = jax.random.split(key, len(self.names))
        columns = {
            name: [_plain(name, v) for v in value.draw(k, self.count)]
            if isinstance(value, Distribution)
            else [_plain(name, value)] * self.count
            for k, (name, value) in zip(keys, self.distributions.items(), strict=True)
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def grid(**values: Any) -> Space:
    """Every combination of the values: the last name varies fastest.

    A member's floating-point numbers are traced: all their values go through one compiled program. The integer `seed`
    is traced, too. All other values (integers, strings, functions) are static, and each combination of static values
    compiles once.

    Args:
      **values: for each hyperparameter a list (or array [n]) of its values, or one value for all members.

    Returns:
      A Space.

    Raises:
      ValueError, TypeError: a list is empty, or a number is not finite, or below 0 where that has no meaning.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> space = jaxrnn.grid(hidden=[8, 16], lr=[0.1, 0.01])
      >>> space.members(jax.random.key(0))[:2]
      [{'hidden': 8, 'lr': 0.1}, {'hidden': 8, 'lr': 0.01}]
    """
    columns = {name: _column(name, value) for name, value in _named(values).items()}
    rows = itertools.product(*columns.values())
    return Space(tuple(columns), tuple(dict(zip(columns, row, strict=True)) for row in rows))


def zipped(**values: Any) -> Space:
    """Members of the first value of each list, then of the second values, and so on; one value stands for all members.

    Args, Returns, Raises: as for `grid`; ValueError also if the lists are of different lengths.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.zipped(hidden=[8, 16], lr=[0.1, 0.01], seed=3)
      >>> space.members(jax.random.key(0))
      [{'hidden': 8, 'lr': 0.1, 'seed': 3}, {'hidden': 16, 'lr': 0.01, 'seed': 3}]
    """
    columns = {name: _column(name, value) for name, value in _named(values).items()}
    lengths = {name: len(column) for name, column in columns.items() if _is_list(values[name])}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"space: expected lists of one length, got {lengths}")
    count = next(iter(lengths.values()), 1)
    columns = {name: column if name in lengths else column * count for name, column in columns.items()}
    return Space(
        tuple(columns), tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    )


def random(count: int, **values: Any) -> Space:
    """Members drawn at random, from the sweep's key (Bergstra and Bengio 2012, JMLR 13).

    Args:
      count: the number of members.
      **values: for each hyperparameter `jaxrnn.sweeps.uniform`, `jaxrnn.sweeps.log_uniform` or `jaxrnn.sweeps.choice`,
        or one value for all members.

    Returns:
      A Space.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.random(10, lr=jaxrnn.sweeps.log_uniform(1e-4, 1e-1), hidden=32)
      >>> members = space.members(jax.random.key(0))
      >>> len(members), all(1e-4 <= member["lr"] <= 1e-1 for member in members)
      (10, True)
    """
    for name, value in _named(values).items():
        if _is_list(value):
            raise TypeError(
                f"{name}: expected a distribution or one value, got {checks.short(value)}; see jaxrnn.sweeps.choice"
            )
        if not isinstance(value, Distribution):
            _plain(name, value)
        elif name in NOT_NEGATIVE and value.low is not None and value.low < 0:
            raise ValueError(f"{name}: expected no numbers below 0, got {value}")
    return Space(tuple(values), count=checks.positive_int("count", count), distributions=dict(values))


def table(rows: Iterable[Mapping[str, Any]]) -> Space:
    """Members from a list of your own.

    Args:
      rows: a dict of hyperparameters for each member, all with the same names.

    Returns:
      A Space.

    Raises:
      ValueError, TypeError: there are no members, their names differ, or a number is not finite.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> space = jaxrnn.sweeps.table([{"lr": 0.1, "hidden": 8}, {"lr": 0.01, "hidden": 32}])
      >>> len(space.members(jax.random.key(0)))
      2
    """
    checks.instance("rows", rows, Iterable)
    found = [dict(row) if isinstance(row, Mapping) else checks.instance("space", row, dict) for row in rows]
    if not found:
        raise ValueError("space: expected at least one member, got none")
    names = tuple(_named(found[0]))
    for i, row in enumerate(found):
        if set(row) != set(names):
            raise ValueError(f"space[{i}]: expected the names {sorted(names)}, got {sorted(row)}")
    return Space(
        names,
        tuple(
            {name: _plain(f"space[{i}][{name!r}]", row[name], name) for name in names} for i, row in enumerate(found)
        ),
    )


def as_space(space: Any) -> Space:
    """A Space as it is, or a list of dicts as a Space."""
    if isinstance(space, (list, tuple)):
        return table(space)
    return checks.instance("space", space, Space, "such as jaxrnn.grid(lr=[1e-3, 1e-2]) or a list of dicts")


def _named(values: dict[str, Any]) -> dict[str, Any]:
    if not values:
        raise ValueError("space: expected at least one hyperparameter, got none")
    return values


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, range)) or getattr(value, "ndim", 0) > 0


def _column(name: str, value: Any) -> list[Any]:
    if getattr(value, "ndim", 0) > 1:
        raise ValueError(f"{name}: expected a list of values or an array [n], got {checks.short(value)}")
    if isinstance(value, Distribution):
        raise TypeError(f"{name}: expected a list of values, got {value}; distributions are for jaxrnn.sweeps.random")
    values = list(value) if _is_list(value) else [value]
    if not values:
        raise ValueError(f"{name}: expected at least one value, got none: the space has no members")
    return [_plain(f"{name}[{i}]" if _is_list(value) else name, v, name) for i, v in enumerate(values)]


def _plain(where: str, value: Any, name: str | None = None) -> Any:
    """A value, converted to a Python number if it is a number."""
    if isinstance(value, (list, tuple, dict)) or getattr(value, "ndim", 0) > 0:
        raise TypeError(f"{where}: expected one value, got {checks.short(value)}")
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{where}: expected a number, a string or the like, got {checks.short(value)}")
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value) and not (value > 0 and name not in NOT_NEGATIVE):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    if (name or where) == "seed" and not (checks.is_integer(value) and 0 <= value < 2**32):
        raise ValueError(f"{where}: expected an integer from 0 to 2**32 - 1, got {value!r}")
    if isinstance(value, (int, float)) and (name or where) in NOT_NEGATIVE and value < 0:
        raise ValueError(f"{where}: expected a number of at least 0, got {value}")
    return value
