"""Data sets: dicts of arrays in memory, and rows drawn from them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_resets, valid_steps

Batch = dict[str, Any]


def checked_data(name: str, data: Any) -> tuple[dict[str, jax.Array], dict[str, int]]:
    """A dict of arrays that hold all rows, and which of each array's axes counts the rows.

    Sequences are [T, N, ...] and have their rows on axis 1; the rest are [N, ...]. "xs" says what T and N are: an
    array whose second axis is N is a sequence if its first is T, or is not N. "previous" is one of any L, and so are
    "targets" where there are "targets_lengths" or "previous".

    Raises:
      ValueError, TypeError: there are no "xs", no row, an array without rows, or lengths or resets that do not fit.
    """
    arrays = checked_batch(name, data)
    return arrays, row_axes(name, arrays)


def row_axes(name: str, arrays: Batch) -> dict[str, int]:
    """Which of each array's axes counts the rows."""
    T, N = arrays["xs"].shape[:2]
    axes, sequences = {}, {"xs", "resets", "mask", "previous"}
    if "targets_lengths" in arrays or "previous" in arrays:
        sequences.add("targets")
    for entry, x in arrays.items():
        if x.ndim >= 2 and T == N and x.shape[:2] == (N, N) and entry not in sequences:
            raise ValueError(
                f"{name}[{entry!r}]: expected T and N to differ, so that its rows can be told from its steps, "
                f"got {checks.short(x)} with T = N = {N}; leave out a row"
            )
        if x.ndim >= 2 and x.shape[1] == N and (x.shape[0] == T or x.shape[0] != N or entry in sequences):
            axes[entry] = 1
        elif x.ndim >= 1 and x.shape[0] == N:
            axes[entry] = 0
        else:
            raise ValueError(
                f"{name}[{entry!r}]: expected N = {N} rows as in xs, shape [T, {N}, ...] or [{N}, ...], "
                f"got {checks.short(x)}"
            )
    return axes


def checked_batch(name: str, batch: Any) -> dict[str, jax.Array]:
    """A dict of arrays with "xs" [T, N, ...]; entries that are None are left out."""
    checks.entry(name, batch, "xs")
    values = {entry: value for entry, value in batch.items() if value is not None}
    arrays = {entry: checks.array(f"{name}[{entry!r}]", value) for entry, value in values.items()}
    xs = arrays["xs"]
    if xs.ndim < 2 or not all(xs.shape[:2]):
        raise ValueError(f'{name}["xs"]: expected an array [T, N, ...] with T, N >= 1, got {checks.short(xs)}')
    if xs.ndim == 2 and jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(
            f'{name}["xs"]: expected an array [T, N, D] of N rows, got {checks.short(xs)}; one sequence [T, D] is '
            "xs[:, None], a feature [T, N] is xs[..., None]"
        )
    T, N = xs.shape[:2]
    if "lengths" in arrays:
        valid_steps(np.asarray(arrays["lengths"]), T, (N,))
    if "resets" in arrays:
        checked_resets(arrays["resets"], T, (N,))
    for entry, x in arrays.items():
        whose = arrays.get(entry.removesuffix("_lengths"), x)
        if whose is not x and whose.shape[1:2] == (N,):
            valid_steps(np.asarray(x), len(whose), (N,), name=f"{name}[{entry!r}]", size="L")
    return arrays


def rows_of(data: dict[str, jax.Array]) -> int:
    """How many rows there are."""
    return data["xs"].shape[1]


def take(data: dict[str, jax.Array], axes: dict[str, int], rows: jax.Array) -> Batch:
    """The rows with the given indices."""
    return {entry: jnp.take(x, rows, axis=axes[entry]) for entry, x in data.items()}


def window(data: dict[str, jax.Array], axes: dict[str, int], start: jax.Array, count: int) -> Batch:
    """Steps start ... start+count-1 of all sequences; "lengths" count from there."""

    def cut(entry: str, x: jax.Array) -> jax.Array:
        if axes[entry] == 1:
            return jax.lax.dynamic_slice_in_dim(x, start, count, 0)
        return jnp.clip(x - start.astype(x.dtype), 0, count) if entry == "lengths" else x

    return {entry: cut(entry, x) for entry, x in data.items()}


def shuffled_rows(key: jax.Array, step: jax.Array, steps: int, N: int, batch_size: int) -> jax.Array:
    """The rows of the minibatches of `steps` steps from `step` on: int [steps, batch_size].

    Each epoch is a permutation of its own, drawn from the key and the epoch's number alone, so that a run can start
    anywhere; the N mod batch_size rows at its end are left out.
    """
    per_epoch = N // batch_size
    first = step // per_epoch
    epochs = first + jnp.arange((steps - 1) // per_epoch + 2)
    orders = jax.vmap(lambda epoch: jax.random.permutation(jax.random.fold_in(key, epoch), N))(epochs)
    batches = orders[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return jax.lax.dynamic_slice_in_dim(batches, step - first * per_epoch, steps)
