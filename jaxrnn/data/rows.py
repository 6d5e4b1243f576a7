"""Data sets: dicts of arrays in memory, and rows drawn from them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.types import Batch
from jaxrnn.validity import checked_bools, valid_steps

MISSPELT = {
    "length": "lengths", "lens": "lengths", "seq_lengths": "lengths", "sequence_lengths": "lengths", "reset": "resets",
    "masks": "mask", "target_mask": "mask", "targets_mask": "mask", "x_mask": "xs_mask", "xs_masks": "xs_mask",
    "input_mask": "xs_mask", "target_lengths": "targets_lengths", "targets_length": "targets_lengths",
}  # fmt: skip
"""Misspelt names of optional entries that change the computation: such an entry would be ignored."""


class Layout(NamedTuple):
    """The layout of the arrays of a data set.

    Attributes:
      time_major: sequences are [T, N, ...]; False: [N, T, ...]. None: [T, N, ...], and data that look like the other
        layout are refused.
      per_row: entries that are not sequences, whatever their shape: [N, ...].
    """

    time_major: bool | None = None
    per_row: tuple[str, ...] = ()


TIME_FIRST = Layout()


def checked_layout(time_major: bool | None, per_row: Sequence[str]) -> Layout:
    """The layout from the arguments of these names, checked."""
    if time_major is not None:
        checks.flag("time_major", time_major)
    for entry in checks.instance("per_row", per_row, (tuple, list)):
        checks.instance("per_row", entry, str, 'the name of an entry, such as "targets"')
    return Layout(time_major, tuple(per_row))


def checked_data(name: str, data: Any, layout: Layout = TIME_FIRST) -> tuple[dict[str, jax.Array], dict[str, int]]:
    """A dict of arrays that hold all rows, time first, and the axis of the rows in each array.

    Sequences become [T, N, ...] and have their rows on axis 1; other arrays are [N, ...]. "xs" defines T and N: an
    array whose first two axes are these is a sequence. "previous" is a sequence of any length L, and so are "targets"
    if there are "targets_lengths" or "previous".

    Raises:
      ValueError, TypeError: "xs" or all rows are missing, an array has no rows, or lengths or resets do not fit.
    """
    arrays = checked_batch(name, data, layout)
    check_counts(name, [arrays])
    return arrays, row_axes(name, arrays, layout)


def check_counts(name: str, batches: list[dict[str, jax.Array]]) -> None:
    """Raises if no step counts: lengths are all zero, or masks are all False, in all batches."""
    for entry in ("lengths", "xs_mask", "mask"):
        if entry in batches[0] and not any(np.asarray(batch[entry]).any() for batch in batches):
            raise ValueError(
                f"{name}[{entry!r}]: expected a step that counts, got {checks.short(batches[0][entry])} without any"
            )
    for lengths, mask, sequence in (
        ("lengths", "xs_mask", "xs"), ("lengths", "mask", "xs"), ("targets_lengths", "mask", "targets")
    ):  # fmt: skip
        of_targets = mask == "mask" and sequence == "xs" and "targets_lengths" in batches[0]
        if of_targets or not {lengths, mask, sequence} <= {*batches[0]}:
            continue
        T, N = batches[0][sequence].shape[:2]
        of_steps = batches[0][mask].shape[:2] == (T, N) and T != N  # [N, N] may be values of each row
        if of_steps and not any(_any_within(batch[lengths], batch[mask]) for batch in batches):
            got = f"{checks.short(batches[0][mask])} that is True only beyond them"
            raise ValueError(f"{name}[{mask!r}]: expected a step within {lengths!r} that counts, got {got}")


def _any_within(lengths: jax.Array, mask: jax.Array) -> bool:
    """Tells whether a mask [T, N, ...] is True anywhere within the rows' lengths [N]."""
    rows = np.asarray(lengths).reshape(1, -1, *(1,) * (mask.ndim - 2))
    steps = np.arange(mask.shape[0]).reshape(-1, *(1,) * (mask.ndim - 1))
    return bool((np.asarray(mask) & (steps < rows)).any())


def row_axes(name: str, arrays: Batch, layout: Layout = TIME_FIRST) -> dict[str, int]:
    """The axis of the rows in each array; the arrays are time first."""
    T, N = arrays["xs"].shape[:2]
    axes = {}
    for entry, x in arrays.items():
        if x.ndim >= 2 and x.shape[1] == N and (x.shape[0] != N or _is_sequence(entry, arrays, (T, N), layout)):
            axes[entry] = 1
        elif x.ndim >= 1 and x.shape[0] == N:
            axes[entry] = 0
        else:
            raise ValueError(
                f"{name}[{entry!r}]: expected N = {N} rows as in xs, shape [T, {N}, ...] or [{N}, ...], "
                f"got {checks.short(x)}{_rows_first(x.shape[:1] == (T,), layout)}"
            )
    return axes


def _is_sequence(entry: str, arrays: Batch, steps: tuple[int, ...], layout: Layout) -> bool:
    """Tells whether an array is a sequence: its first two axes are those of xs, or it has steps of its own."""
    if entry in layout.per_row:
        return False
    own = {"previous", "targets", "mask"} if "targets_lengths" in arrays or "previous" in arrays else set()
    own |= {name.removesuffix("_lengths") for name in arrays if name.endswith("_lengths")}
    return entry == "xs" or (entry in own and arrays[entry].ndim > 1) or arrays[entry].shape[:2] == steps


def _rows_first(looks: bool, layout: Layout) -> str:
    """The end of a message about data that look as if their rows came first."""
    hint = "; time comes first here, xs [T, N, ...]: say time_major=False for data [N, T, ...]"
    return hint if looks and layout.time_major is None else ""


def checked_batch(name: str, batch: Any, layout: Layout = TIME_FIRST) -> dict[str, jax.Array]:
    """A dict of arrays with "xs" [T, N, ...], time first; entries that are None are left out."""
    checks.entry(name, batch, "xs")
    values = {entry: value for entry, value in batch.items() if value is not None}
    if isinstance(values["xs"], (dict, tuple)):
        raise TypeError(
            f"{name}['xs']: expected an array, got {checks.short(values['xs'])}; a model that reads a tree is trained "
            "with jaxrnn.training.make_train_step"
        )
    arrays = {entry: checks.array(f"{name}[{entry!r}]", value) for entry, value in values.items()}
    for entry in arrays:
        if entry in MISSPELT:
            raise ValueError(f"{name}: expected the entry {MISSPELT[entry]!r}, got {entry!r}, which nothing reads")
    xs = arrays["xs"]
    if xs.ndim < 2 or not all(xs.shape[:2]):
        raise ValueError(f'{name}["xs"]: expected an array [T, N, ...] with T, N >= 1, got {checks.short(xs)}')
    if xs.ndim == 2 and jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(
            f'{name}["xs"]: expected an array [T, N, D] of N rows, got {checks.short(xs)}; one sequence [T, D] is '
            "xs[:, None], a feature [T, N] is xs[..., None], symbols [T, N] are integers"
        )
    for entry in layout.per_row:
        if entry not in arrays or entry in ("xs", "resets", "previous"):
            raise ValueError(f"per_row: expected entries of {name} other than sequences, got {entry!r}")
    if layout.time_major is False:
        sequences = {entry for entry in arrays if _is_sequence(entry, arrays, xs.shape[:2], layout)}
        arrays = {entry: jnp.swapaxes(x, 0, 1) if entry in sequences else x for entry, x in arrays.items()}
    T, N = arrays["xs"].shape[:2]
    targets = arrays.get("targets", xs)
    if layout.time_major is None and targets.shape == (T,) != (N,):
        raise ValueError(
            f"{name}['targets']: expected N = {N} rows as in xs, got {checks.short(targets)}{_rows_first(True, layout)}"
        )
    if "lengths" in arrays:
        valid_steps(np.asarray(arrays["lengths"]), T, (N,), name=f"{name}['lengths']", time_major=layout.time_major)
        arrays["lengths"] = checks.integers("lengths", arrays["lengths"])
    for entry in ("resets", "xs_mask"):
        if entry in arrays:
            checked_bools(entry, arrays[entry], T, (N,))
    for entry, x in list(arrays.items()):
        whose = arrays.get(entry.removesuffix("_lengths"), x)
        if whose is not x and whose.shape[1:2] == (N,):
            valid_steps(np.asarray(x), len(whose), (N,), name=f"{name}[{entry!r}]", size="L")
            arrays[entry] = checks.integers(entry, x)
    return arrays


def same_axes(data: Batch, validation: Batch, layout: Layout, stream: int | None) -> None:
    """Raises if validation data do not say which steps count, as data do, or if their layout is probably wrong.

    The latter is so if they have other steps and as many rows, except for streams, whose validation uses later steps.
    """
    for entry in ("lengths", "targets_lengths", "xs_mask"):
        both = {"validation": validation, "data": data}
        for name, other in (("validation", "data"), ("data", "validation")):
            if entry in both[other] and entry not in both[name]:
                raise ValueError(f"{name}: expected the entry {entry!r} as in {other}, got {checks.short(both[name])}")
    (T, N), (T_held_out, N_held_out) = data["xs"].shape[:2], validation["xs"].shape[:2]
    if layout.time_major is None and stream is None and N_held_out == N and T_held_out != T:
        raise ValueError(
            f'validation["xs"]: expected the T = {T} steps of data, got {read_as(validation)} beside {read_as(data)}; '
            "say time_major=True if they are as they should be, xs [T, N, ...], or time_major=False for [N, T, ...]"
        )


def read_as(data: Batch) -> str:
    """A description of how a data set was read."""
    T, N = data["xs"].shape[:2]
    return f"{N} row{'s' * (N != 1)} of {T} step{'s' * (T != 1)}"


def rows_of(data: dict[str, jax.Array]) -> int:
    """The number of rows."""
    return data["xs"].shape[1]


def take(data: dict[str, jax.Array], axes: dict[str, int], rows: jax.Array) -> Batch:
    """The rows with the given indices."""
    return {entry: jnp.take(x, rows, axis=axes[entry]) for entry, x in data.items()}


def window(data: dict[str, jax.Array], axes: dict[str, int], start: jax.Array, count: int) -> Batch:
    """Steps start ... start+count-1 of all sequences; "lengths" count from there."""

    def cut(entry: str, x: jax.Array) -> jax.Array:
        if axes[entry] == 1:
            return jax.lax.dynamic_slice_in_dim(x, start, count, 0)
        return jnp.clip(x - start, 0, count) if entry == "lengths" else x

    return {entry: cut(entry, x) for entry, x in data.items()}


def shuffled_rows(key: jax.Array, step: jax.Array, steps: int, N: int, batch_size: int) -> jax.Array:
    """The rows of the minibatches of `steps` steps from `step` on: int [steps, batch_size].

    Each epoch is a permutation of its own, drawn from the key and the epoch's number alone, so that a run can start
    anywhere; the N mod batch_size rows at its end are left out.
    """
    per_epoch = N // batch_size
    first = step // per_epoch
    epochs = first + jnp.arange((steps - 2) // per_epoch + 2)  # the most epochs that `steps` steps can touch
    orders = jax.vmap(lambda epoch: jax.random.permutation(jax.random.fold_in(key, epoch), N))(epochs)
    batches = orders[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return jax.lax.dynamic_slice_in_dim(batches, step - first * per_epoch, steps)
