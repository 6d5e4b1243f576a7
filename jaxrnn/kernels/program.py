"""What a kernel computes: one step of one row, and which arrays belong to what."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun


class Parts(NamedTuple):
    """The arrays of a loop, by what they are.

    Attributes:
      shared: the same at all steps and for all rows, such as weights.
      rows: the same at all steps, one for each row.
      carry: handed from step to step, one for each row.
      entries: read at each step and replaced by a result of it; with an axis of time in front.
      xs: read at each step, or written if they are results; with an axis of time in front.
    """

    shared: list[Any]
    rows: list[Any]
    carry: list[Any]
    entries: list[Any]
    xs: list[Any]

    @property
    def listed(self) -> list[Any]:
        """All of them."""
        return [x for part in self for x in part]


class Counts(NamedTuple):
    """How many there are of each, see `Parts`."""

    shared: int
    rows: int
    carry: int
    entries: int
    xs: int

    def parts(self, values: Sequence[Any]) -> Parts:
        """A list, by what its entries are."""
        rest = iter(values)
        return Parts(*([next(rest) for _ in range(count)] for count in self))

    def steps(self, values: Sequence[Any]) -> int:
        """How many there are, of arrays with an axis of time in front."""
        parts = self.parts(values)
        return [*parts.entries, *parts.xs][0].shape[0]

    @property
    def over_time(self) -> list[bool]:
        """For each array, whether it has an axis of time."""
        return [False] * (self.shared + self.rows + self.carry) + [True] * (self.entries + self.xs)


class Program(NamedTuple):
    """A loop over time whose rows have nothing to do with each other.

    Attributes:
      step: (*shared, *rows, *carry, *entries, *xs) -> (*carry, *entries, *ys), of one row.
      counts: how many of each it takes.
      reverse: from the last step to the first.
    """

    step: ClosedJaxpr
    counts: Counts
    reverse: bool

    @property
    def inputs(self) -> Parts:
        """Shapes and dtypes of what a step takes, of one row."""
        return self.counts.parts(self.step.in_avals)

    @property
    def results(self) -> Parts:
        """Shapes and dtypes of what a step returns, of one row; its outputs are `xs`."""
        counts, avals = self.counts, self.step.out_avals
        return Counts(0, 0, counts.carry, counts.entries, len(avals) - counts.carry - counts.entries).parts(avals)

    def writing(self, used: Sequence[bool]) -> "tuple[Program, list[int]]":
        """The program with only these results, and which inputs it takes; the carry stays."""
        counts, jaxpr = self.counts, self.step.jaxpr
        kept = [True] * counts.carry + list(used[counts.carry :])
        parts = Parts(*counts.parts(range(len(jaxpr.invars))))
        entries = [i for k, i in enumerate(parts.entries) if kept[counts.carry + k]]
        xs = [i for i in parts.entries if i not in entries] + parts.xs  # what is not replaced is only read
        order = [*parts.shared, *parts.rows, *parts.carry, *entries, *xs]
        outs = [v for v, keep in zip(jaxpr.outvars, kept, strict=True) if keep]
        step = ClosedJaxpr(jaxpr.replace(invars=[jaxpr.invars[i] for i in order], outvars=outs), ())
        return Program(step, counts._replace(entries=len(entries), xs=len(xs)), self.reverse), order

    def of_rows(self) -> Callable[[Sequence[Any]], list[Any]]:
        """The step of a block of rows: everything but what is shared has an axis of rows first, and features behind."""
        axes = [None] * self.counts.shared + [0] * (len(self.step.in_avals) - self.counts.shared)
        f = jax.vmap(jaxpr_as_fun(self.step), axes)

        def run(values: Sequence[Any]) -> list[Any]:
            pairs = zip(values, self.step.in_avals, axes, strict=True)
            narrow = [x.reshape((*x.shape[:1], *a.shape) if axis == 0 else a.shape) for x, a, axis in pairs]
            return [x[:, None] if x.ndim == 1 else x for x in f(*narrow)]

        return run


def features(shape: tuple[int, ...], shared: bool) -> tuple[int, ...]:
    """The shape of an array within a block: kernels want two axes at least, which may be those of rows and features."""
    missing = (2 if shared else 1) - len(shape)
    return (1,) * missing + shape
