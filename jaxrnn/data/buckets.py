"""Batches of rows of different lengths, in a few static shapes."""

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.data.padding import Rows, checked_rows
from jaxrnn.fingerprints import digest
from jaxrnn.types import Batch


class Bucketed:
    """An iterable of batches, see `bucketed`; each iteration begins anew.

    Attributes:
      shapes: (T, batch_size) of each bucket's batches, the shortest first.
      sizes: the number of rows in each bucket.
      padding: the share of steps that are padding, with each row once; of xs and of entries in `own_lengths` together.
      run: the number of consecutive batches of one shape (if an epoch has that many).
      endless: whether the epochs never end.

    Example:
      >>> import jax
      >>> import numpy as np
      >>> import jaxrnn
      >>> rows = {"xs": [np.ones((T, 3)) for T in (2, 2, 6, 6)]}
      >>> batches = jaxrnn.data.bucketed(rows, batch_size=2, key=jax.random.key(0), buckets=2, epochs=1)
      >>> batches
      Bucketed(4 rows in batches of 2: 2 of T = 2, 2 of T = 6; padding 0.0%, 33.3% in one bucket)
      >>> len(list(batches)), len(list(batches))
      (2, 2)
    """

    def __init__(
        self, rows: Rows, buckets: list[np.ndarray], batch_size: int, run: int, seed: list[int], epochs: int | None
    ):
        self.run: int = run
        self.endless: bool = epochs is None
        self.sizes: list[int] = [len(bucket) for bucket in buckets]
        self._steps = [rows.steps(bucket) for bucket in buckets]
        self.shapes: list[tuple[int, int]] = [(steps["xs"], batch_size) for steps in self._steps]
        self.padding: float = _padding(rows, self.sizes, self._steps)
        self._rows, self._buckets, self._batch_size, self._seed, self._epochs = rows, buckets, batch_size, seed, epochs

    @property
    def identity(self) -> str:
        """A digest of the rows, their order and the options, which tells these batches from others."""
        options = np.asarray([*self._seed, self._batch_size, self.run, self._epochs or 0, *self.sizes])
        return digest([self._rows.entries, options])

    def __repr__(self) -> str:
        N = sum(self.sizes)
        kinds = ", ".join(f"{n} of {_of(steps)}" for n, steps in zip(self.sizes, self._steps, strict=True))
        alone = _padding(self._rows, [N], [self._rows.steps(np.arange(N))])
        return (
            f"Bucketed({N} rows in batches of {self._batch_size}: {kinds}; padding {self.padding:.1%}, "
            f"{alone:.1%} in one bucket)"
        )

    def __iter__(self) -> Iterator[Batch]:
        epoch, left = 0, [bucket[:0] for bucket in self._buckets]
        while self._epochs is None or epoch < self._epochs:
            rng = np.random.default_rng([*self._seed, epoch])
            runs = []
            for i, bucket in enumerate(self._buckets):
                order = np.concatenate([left[i], rng.permutation(bucket)])
                count = len(order) // self._batch_size
                left[i] = order[count * self._batch_size :]
                batches = order[: count * self._batch_size].reshape(count, self._batch_size)
                runs += [(i, few) for few in np.array_split(batches, -(-count // self.run))]
            for number in rng.permutation(len(runs)):
                i, few = runs[number]
                for rows in few:
                    yield self._rows.batch(rows, self._steps[i])
            epoch += 1


def bucketed(
    rows: Mapping[str, Sequence[checks.ArrayLike] | np.ndarray],
    *,
    batch_size: int,
    key: jax.Array,
    buckets: int = 4,
    run: int = 10,
    epochs: int | None = None,
    own_lengths: Sequence[str] = (),
    per_row: Sequence[str] = (),
) -> Bucketed:
    """Shuffled batches of rows of different lengths, in at most `buckets` shapes: each row is padded to its bucket.

    The limits of the buckets give the fewest steps of padding. With `own_lengths`, a bucket has rows in which each of
    these sequences is short, too; then the limits are found one at a time, each the best at its time.

    An epoch draws each row once. If the rows of a bucket do not fill the last batch, they come first in the next epoch,
    so in the long run all rows are drawn equally often. Batches of one shape come in runs, because `fit` puts
    consecutive ones into one compiled call.

    Args:
      rows: by entry a list of N arrays, as for `padded`.
      batch_size: rows in a batch; a bucket has at least this many rows.
      key: the order is drawn from it. The same key gives the same batches in every iteration.
      buckets: the largest number of shapes.
      run: the number of consecutive batches of one shape.
      epochs: the number of times that each row comes. None: no end.
      own_lengths: entries that are sequences with lengths of their own; padded to the longest of the bucket.
      per_row: entries with one array for each row that is not a sequence.

    Returns:
      An iterable of batches {"xs": [T, batch_size, ...], "lengths": [batch_size], ...} in NumPy, with `shapes`,
      `sizes`, `padding`, and a `repr` that shows them.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import numpy as np
      >>> import jaxrnn
      >>> rows = {"xs": [np.ones((T, 3), np.float32) for T in (4, 5, 5, 9, 10, 10)], "targets": [0, 1, 1, 0, 1, 0]}
      >>> batches = jaxrnn.data.bucketed(rows, batch_size=3, key=jax.random.key(0), buckets=2, epochs=1)
      >>> batches.shapes
      [(5, 3), (10, 3)]
      >>> sorted(batch["xs"].shape for batch in batches)
      [(5, 3, 3), (10, 3, 3)]
    """
    found = checked_rows("rows", rows, own_lengths, per_row)
    N = len(found.lengths)
    if checks.positive_int("batch_size", batch_size) > N:
        raise ValueError(f"batch_size: expected at most the {N} rows, got {batch_size}")
    checks.positive_int("buckets", buckets)
    checks.positive_int("run", run)
    if epochs is not None:
        checks.positive_int("epochs", epochs)
    seed = np.asarray(jax.random.key_data(checks.key("key", key))).tolist()
    if own_lengths:
        parts = groups(found.all_lengths, buckets, batch_size)
    else:
        bounds = limits(found.lengths, buckets, batch_size)
        places = np.searchsorted(bounds, found.lengths)
        parts = [np.flatnonzero(places == i) for i in range(len(bounds))]
    return Bucketed(found, parts, batch_size, run, seed, epochs)


def limits(lengths: np.ndarray, buckets: int, smallest: int) -> list[int]:
    """Finds the longest length in each of at most `buckets` buckets, so that padding is least: ascending.

    A dynamic programme over the different lengths l[0] < ... < l[m-1]. With n[i] rows of length l[i], the buckets that
    hold all rows up to l[j] cost

        cost[k, j] = min over i <= j of cost[k-1, i-1] + sum_{i <= s <= j} n[s] (l[j] - l[s]),

    where lengths i to j have at least `smallest` rows.

    Args:
      lengths: int [N].
      buckets: the largest number of buckets.
      smallest: the least number of rows in a bucket; at most N.

    Returns:
      The limits; the last one is the longest length. Of equally good solutions, the one with the fewest buckets.
    """
    values, counts = np.unique(lengths.astype(np.int64), return_counts=True)
    rows = np.concatenate([[0], np.cumsum(counts)])  # the number of rows before each length
    steps = np.concatenate([[0], np.cumsum(counts * values)])
    m = len(values)
    before = np.where(np.arange(m + 1) == 0, 0.0, np.inf)  # without a bucket only zero rows cost nothing
    best, found = np.inf, [int(values[-1])]
    starts: list[np.ndarray] = []
    for _ in range(min(buckets, m)):
        after, start = np.full(m + 1, np.inf), np.zeros(m + 1, np.int64)
        for j in range(m):
            n = rows[j + 1] - rows[: j + 1]
            costs = before[: j + 1] + n * values[j] - (steps[j + 1] - steps[: j + 1])
            costs[n < smallest] = np.inf
            start[j + 1] = np.argmin(costs)
            after[j + 1] = costs[start[j + 1]]
        starts.append(start)
        before = after
        if after[m] < best:
            best, end, found = after[m], m, []
            for start in reversed(starts):
                found.insert(0, int(values[end - 1]))
                end = int(start[end])
    return found


def groups(lengths: np.ndarray, buckets: int, smallest: int) -> list[np.ndarray]:
    """Splits rows with several lengths, int [N, entries], into groups: at most `buckets` parts of few steps of padding.

    Again and again the group is split whose best split saves the most steps; a split separates rows that are longer
    than a limit in one entry from the others, with at least `smallest` rows on both sides.

    Returns:
      The rows of each group, those with the smallest longest length of the first entry first.
    """
    found = [_split(lengths, np.arange(len(lengths)), smallest)]
    while len(found) < buckets:
        best = max(found, key=lambda group: group[0])
        saved, _, parts = best
        if not saved:
            break
        found = [group for group in found if group is not best]
        found += [_split(lengths, part, smallest) for part in parts]
    return [rows for _, rows, _ in sorted(found, key=lambda group: lengths[group[1]].max(0).tolist())]


def _split(lengths: np.ndarray, rows: np.ndarray, smallest: int) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """The steps that the best split of a group saves, the group, and the two parts."""
    best, n = (0, rows, []), np.arange(1, len(rows))
    for entry in range(lengths.shape[1]):
        order = rows[np.argsort(lengths[rows, entry], kind="stable")]
        taken = lengths[order].astype(np.int64)
        below, above = np.maximum.accumulate(taken), np.maximum.accumulate(taken[::-1])[::-1]
        saved = len(rows) * below[-1].sum() - n * below[:-1].sum(1) - (len(rows) - n) * above[1:].sum(1)
        saved[(taken[1:, entry] == taken[:-1, entry]) | (np.minimum(n, len(rows) - n) < smallest)] = 0
        if len(n) and saved.max() > best[0]:
            i = int(saved.argmax()) + 1
            best = (int(saved[i - 1]), rows, [np.sort(order[:i]), np.sort(order[i:])])
    return best


def _of(steps: dict[str, int]) -> str:
    """The steps of a bucket, such as "T = 5 (targets 3)"."""
    own = ", ".join(f"{name} {most}" for name, most in steps.items() if name != "xs")
    return f"T = {steps['xs']}" + (f" ({own})" if own else "")


def _padding(rows: Rows, sizes: list[int], steps: list[dict[str, int]]) -> float:
    """The share of steps that are padding if buckets of these sizes are padded to these steps."""
    padded = sum(n * sum(most.values()) for n, most in zip(sizes, steps, strict=True))
    return 1.0 - float(rows.all_lengths.sum()) / padded
