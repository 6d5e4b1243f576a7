"""Rows of different lengths as arrays of one shape."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn import checks
from jaxrnn.types import Batch


class Rows(NamedTuple):
    """Rows of different lengths, checked.

    Attributes:
      entries: by name, one array for each row.
      along_xs: the entries with a step for each step of xs, xs itself included.
      own_lengths: the entries that are sequences with lengths of their own.
      lengths: int32 [N], the lengths of xs.
    """

    entries: dict[str, list[np.ndarray]]
    along_xs: tuple[str, ...]
    own_lengths: tuple[str, ...]
    lengths: np.ndarray

    @property
    def all_lengths(self) -> np.ndarray:
        """The lengths of xs and of each sequence of `own_lengths`, int [N, 1 + len(own_lengths)]."""
        own = [[len(x) for x in self.entries[name]] for name in self.own_lengths]
        return np.stack([self.lengths, *own], 1)

    def steps(self, rows: np.ndarray) -> dict[str, int]:
        """The number of steps to which xs and each sequence of `own_lengths` are padded, in batches of some rows."""
        longest = {"xs": int(self.lengths[rows].max())}
        longest |= {name: max(len(self.entries[name][i]) for i in rows) for name in self.own_lengths}
        return {name: max(most, 1) for name, most in longest.items()}

    def batch(self, rows: np.ndarray, steps: dict[str, int]) -> Batch:
        """Some rows, padded to these numbers of steps."""
        found: Batch = {}
        for name, values in self.entries.items():
            taken = [values[i] for i in rows]
            if name in self.along_xs:
                found[name] = _padded(taken, steps["xs"])
            elif name in self.own_lengths:
                found[name] = _padded(taken, steps[name])
                found[f"{name}_lengths"] = np.array([len(x) for x in taken], np.int32)
            else:
                found[name] = np.stack(taken)
        return found | {"lengths": self.lengths[rows]}


def padded(
    rows: Mapping[str, Sequence[checks.ArrayLike] | np.ndarray],
    *,
    own_lengths: Sequence[str] = (),
    per_row: Sequence[str] = (),
    time_major: bool = True,
) -> Batch:
    """Rows of different lengths as one dict of arrays for `fit` and `evaluate`, padded with zeros.

    An entry of `rows` is one of three things:

    - A sequence along xs: an entry that no argument names. Its rows have as many steps as those of xs, [T_i, ...], and
      become [T, N, ...].
    - A value for each row: scalars, or arrays of one shape if the entry is named in `per_row`. They become [N, ...].
    - A sequence of its own, named in `own_lengths`, such as the words of a translation. Its rows [L_i, ...] become
      [L, N, ...], and the new entry "<entry>_lengths" [N] holds each L_i.

    T is the length of the longest row, L that of the longest row of the entry.

    Args:
      rows: by entry a list of N arrays, "xs" among them: [T_i, ...]. All rows of an entry have one dtype.
      own_lengths: entries that are sequences with lengths of their own.
      per_row: entries with one array for each row that is not a sequence, such as features of a speaker. If such an
        array is as long as there are steps, name the entry in `per_row` of `fit`, too.
      time_major: False: sequences become [N, T, ...].

    Returns:
      NumPy arrays: the entries, "lengths" [N], and "<entry>_lengths" [N] for each of `own_lengths`.

    Raises:
      ValueError, TypeError: an entry is none of these, or rows do not fit together; the message names it.

    Example:
      >>> import numpy as np
      >>> import jaxrnn
      >>> batch = jaxrnn.data.padded({"xs": [np.ones((2, 3)), np.ones((5, 3))], "targets": [0, 1]})
      >>> batch["xs"].shape, batch["targets"].shape, batch["lengths"].tolist()
      ((5, 2, 3), (2,), [2, 5])
    """
    checks.flag("time_major", time_major)
    found = checked_rows("rows", rows, own_lengths, per_row)
    everything = np.arange(len(found.lengths))
    batch = found.batch(everything, found.steps(everything))
    if not time_major:
        batch |= {name: batch[name].swapaxes(0, 1) for name in (*found.along_xs, *found.own_lengths)}
    return batch


def checked_rows(
    name: str,
    rows: Mapping[str, Sequence[checks.ArrayLike] | np.ndarray],
    own_lengths: Sequence[str],
    per_row: Sequence[str],
) -> Rows:
    """Checks a dict of lists with one value for each row, as described by `padded`."""
    checks.entry(name, rows, "xs")
    own, single = _named(name, rows, "own_lengths", own_lengths), _named(name, rows, "per_row", per_row)
    for entry in set(own) & set(single):
        raise ValueError(f"per_row: expected entries that are not in own_lengths, got {entry!r}")
    for made in ("lengths", *(f"{entry}_lengths" for entry in own)):
        if made in rows:
            raise ValueError(f"{name}: expected no entry {made!r}, which is made of the rows, got one")
    entries = {entry: _arrays(f"{name}[{entry!r}]", values) for entry, values in rows.items()}
    N = len(entries["xs"])
    if not all(x.ndim for x in entries["xs"]):
        raise ValueError(f"{name}['xs']: expected sequences [T_i, ...], got a scalar")
    lengths = [len(x) for x in entries["xs"]]
    along = []
    for entry, values in entries.items():
        where = f"{name}[{entry!r}]"
        if len(values) != N:
            raise ValueError(f"{where}: expected N = {N} rows as in xs, got {len(values)}")
        shapes = {x.shape for x in values}
        sequences = all(x.ndim for x in values) and len({x.shape[1:] for x in values}) == 1
        if entry in own or entry == "xs":
            fits, expected = sequences, "sequences that differ in their first axis only"
        elif entry in single or not any(x.ndim for x in values):
            fits, expected = len(shapes) == 1, "rows of one shape"
        else:
            fits = sequences and [len(x) for x in values] == lengths
            expected = "sequences as long as those of xs, scalars, or the entry's name in own_lengths or per_row"
        if not fits:
            raise ValueError(f"{where}: expected {expected}, got shapes {_some(shapes)}")
        if entry not in own and entry not in single and values[0].ndim:
            along.append(entry)
    return Rows(entries, tuple(along), own, np.array(lengths, np.int32))


def _named(name: str, rows: Mapping[str, Any], argument: str, entries: Sequence[str]) -> tuple[str, ...]:
    """The entries that an argument names."""
    named = tuple(checks.instance(argument, entries, (tuple, list)))
    for entry in named:
        if checks.instance(argument, entry, str) not in rows or entry == "xs":
            others = sorted(map(str, set(rows) - {"xs"}))
            raise ValueError(f"{argument}: expected entries of {name} other than xs, {others}, got {entry!r}")
    return named


def _arrays(name: str, values: Any) -> list[np.ndarray]:
    """One array for each row, all of one dtype."""
    if isinstance(values, np.ndarray) and values.ndim:
        values = list(values)
    if not isinstance(values, (list, tuple)) or not values:
        raise TypeError(f"{name}: expected a list of one array a row, got {checks.short(values)}")
    arrays = []
    for i, value in enumerate(values):
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "biufcV":  # V: bfloat16 and its like
            raise TypeError(f"{name}[{i}]: expected an array, got {checks.short(value)}")
        if arrays and array.dtype != arrays[0].dtype:
            raise TypeError(f"{name}[{i}]: expected {arrays[0].dtype}, as in the rows before, got {array.dtype}")
        arrays.append(array)
    return arrays


def _padded(values: list[np.ndarray], T: int) -> np.ndarray:
    """The rows as [T, N, ...] with zeros after each row's end."""
    filled = np.zeros((T, len(values), *values[0].shape[1:]), values[0].dtype)
    for i, x in enumerate(values):
        filled[: len(x), i] = x
    return filled


def _some(shapes: set[tuple[int, ...]]) -> str:
    shown = sorted(shapes)[:3]
    return ", ".join(map(str, shown)) + (" and others" if len(shapes) > 3 else "")
