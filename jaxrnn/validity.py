"""The valid steps of each row: lengths, masks with holes, and the steps at which episodes start."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks


def reading(batch: dict[str, Any]) -> dict[str, Any]:
    """The entries of a batch that say which steps are valid, as options of `unroll` and `Model.apply`."""
    return {"lengths": batch.get("lengths"), "resets": batch.get("resets"), "mask": batch.get("xs_mask")}


def valid_steps(
    lengths: Any,
    T: int,
    batch_shape: tuple[int, ...],
    *,
    name: str = "lengths",
    size: str = "T",
    time_major: bool | None = None,
) -> jax.Array:
    """A mask of the steps within each row, bool [T, *batch_shape]; checks `lengths`, called `name`, up to T.

    `time_major`: the layout that the user named; None: none.
    """
    shape = checks.array(name, lengths).shape
    if shape != batch_shape:
        looks = shape == (T,) and time_major is None
        hint = "; time comes first here: say time_major=False for sequences [B, T, ...]" if looks else ""
        raise ValueError(f"{name}: expected shape {batch_shape}, got {checks.short(checks.array(name, lengths))}{hint}")
    lengths_ = checks.lengths(lengths, T, name=name, size=size)
    steps = jnp.arange(T, dtype=jnp.int32).reshape(T, *(1,) * len(batch_shape))
    return steps < lengths_[None]


def checked_bools(name: str, value: checks.ArrayLike, T: int, batch_shape: tuple[int, ...]) -> jax.Array:
    """An array bool [T, *batch_shape]: a mask of steps, or episode starts."""
    value = checks.array(name, value)
    if value.shape != (T, *batch_shape):
        raise ValueError(f"{name}: expected shape {(T, *batch_shape)}, got {checks.short(value)}")
    if value.dtype != bool:
        raise TypeError(f"{name}: expected booleans, got {checks.short(value)}")
    return value


def checked_resets(resets: checks.ArrayLike, T: int, batch_shape: tuple[int, ...]) -> jax.Array:
    """Episode starts, bool [T, *batch_shape]."""
    return checked_bools("resets", resets, T, batch_shape)


def combined(
    T: int,
    batch_shape: tuple[int, ...],
    lengths: checks.ArrayLike | None,
    mask: checks.ArrayLike | None,
    resets: checks.ArrayLike | None,
) -> tuple[jax.Array | None, jax.Array | None]:
    """(valid, resets), bool [T, *batch_shape] or None: lengths and mask as one; no reset past a row's end."""
    valid = None if lengths is None else valid_steps(lengths, T, batch_shape)
    if resets is not None:
        resets = checked_resets(resets, T, batch_shape)
        resets = resets if valid is None else resets & valid
    if mask is not None:
        mask = checked_bools("mask", mask, T, batch_shape)
        valid = mask if valid is None else valid & mask
    return valid, resets


def last_true(flags: jax.Array) -> jax.Array:
    """The last step up to t whose flag is set, int32 [T, *batch_shape]; -1 before the first one."""
    t = jnp.arange(flags.shape[0], dtype=jnp.int32).reshape(flags.shape[0], *(1,) * (flags.ndim - 1))
    return jax.lax.cummax(jnp.where(flags, t, jnp.full_like(t, -1)))


def at_steps(x: jax.Array, at: jax.Array) -> jax.Array:
    """Entries of x [T, *batch_shape, ...] at steps [S, *batch_shape], chosen for each row: [S, *batch_shape, ...]."""
    return jnp.take_along_axis(x, at.reshape(at.shape + (1,) * (x.ndim - at.ndim)), axis=0)


def has_before(like: jax.Array, valid: jax.Array | None, resets: jax.Array | None) -> jax.Array:
    """Tells whether an earlier valid step of the same row and episode exists: bool [T, *batch_shape]."""
    read = last_true(jnp.ones_like(like, bool) if valid is None else valid)
    before = jnp.concatenate([jnp.full_like(read[:1], -1), read[:-1]])
    return (before >= 0) if resets is None else (before >= 0) & (before >= last_true(resets))
