"""Losses of sequences, (ys, batch) -> scalar, and their reduction over time.

A batch is a dict: "xs" [T, B, ...], "targets", and where rows have different lengths "lengths" [B]. Steps past a row's
length count nothing, whatever they hold.

Every loss takes two options:

  at         "steps": a target for each step, targets [T, B, ...]. "last": one for each row, targets [B, ...], compared
             with the output at the row's last step (ys [T, B, O]), or with the one output of a model that ends in
             `jr.last` (ys [B, O]); rows of length 0 count nothing.
  over_time  how steps are put together. "mean": the mean over all valid steps of the batch. "sum": the sum over each
             row's steps, then the mean over rows. For rows of T steps the sum is T times the mean, and so is its
             gradient: a learning rate (under plain gradient descent) or a clipping norm tuned for one is wrong by the
             factor T for the other, and under "sum" long rows weigh more.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.arguments import valid_steps
from jaxrnn.gradients.masks import zero_unless
from jaxrnn.models.last import at_last_step

Batch = dict[str, Any]
At = Literal["steps", "last"]
OverTime = Literal["mean", "sum"]


def cross_entropy(
    ys: jax.Array, batch: Batch, *, at: At = "steps", over_time: OverTime = "mean", label_smoothing: Any = 0.0
) -> jax.Array:
    """Cross-entropy -log softmax(y)[target], in nats.

    With label smoothing a, -sum_k p[k] log softmax(y)[k], where p[k] is a / O, and 1 - a more for the target.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: "targets", integers from 0 to O - 1: [T, B], or [B] with at="last"; optionally "lengths" [B].
      at, over_time: see `jaxrnn.losses`.
      label_smoothing: a number in [0, 1), which may be traced.

    Returns:
      A scalar; NaN if a target is no class.

    Raises:
      ValueError, TypeError: shapes or types do not fit, and which; targets in NumPy are no classes.

    References:
      Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
    """
    smoothing = checks.rate("label_smoothing", label_smoothing)

    def pointwise(logits: jax.Array, targets: jax.Array) -> jax.Array:
        if isinstance(smoothing, float) and smoothing == 0.0:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        else:
            one_hot = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
            labels = optax.smooth_labels(one_hot, jnp.asarray(smoothing, logits.dtype))
            losses = optax.softmax_cross_entropy(logits, labels)
        return jnp.where((targets >= 0) & (targets < logits.shape[-1]), losses, jnp.nan)  # no class: no silent loss

    return _loss(pointwise, ys, batch, at, over_time, classes=True)


def binary_cross_entropy(ys: jax.Array, batch: Batch, *, at: At = "steps", over_time: OverTime = "mean") -> jax.Array:
    """Binary cross-entropy of logits, in nats; the mean over features.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: "targets", probabilities or 0 and 1, of the shape of ys (without T for at="last"); optionally "lengths".
      at, over_time: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit, and which.
    """
    return _loss(optax.sigmoid_binary_cross_entropy, ys, batch, at, over_time)


def mean_squared_error(ys: jax.Array, batch: Batch, *, at: At = "steps", over_time: OverTime = "mean") -> jax.Array:
    """Squared error (y - target)^2; the mean over features.

    Args:
      ys: [T, B, O], or [B, O] with at="last".
      batch: "targets" of the shape of ys (without T for at="last"); optionally "lengths".
      at, over_time: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit, and which.
    """
    return _loss(optax.squared_error, ys, batch, at, over_time)


def accuracy(ys: jax.Array, batch: Batch, *, at: At = "steps") -> jax.Array:
    """Share of targets that have the largest logit: a metric, with no useful gradient.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: as for `cross_entropy`.
      at: see `jaxrnn.losses`.

    Returns:
      A scalar in [0, 1]; an output that is not finite is wrong.
    """

    def correct(logits: jax.Array, targets: jax.Array) -> jax.Array:
        right = (jnp.argmax(logits, -1).astype(targets.dtype) == targets) & jnp.isfinite(logits).all(-1)
        return right.astype(jnp.result_type(float))

    return _loss(correct, ys, batch, at, "mean", classes=True)


def _loss(
    pointwise: Callable[[jax.Array, jax.Array], jax.Array],
    ys: Any,
    batch: Batch,
    at: str,
    over_time: str,
    *,
    classes: bool = False,
) -> jax.Array:
    """The reduction that all losses share; `classes`: targets are integers and have no feature axis."""
    checks.one_of("at", at, ("steps", "last"))
    checks.one_of("over_time", over_time, ("mean", "sum"))
    checks.entry("batch", batch, "targets")
    ys, targets = checks.array("ys", ys), checks.array('batch["targets"]', batch["targets"])
    lengths = batch.get("lengths")
    if not jnp.issubdtype(ys.dtype, jnp.floating):
        raise TypeError(f"ys: expected floating-point numbers, got {checks.short(ys)}")
    if ys.ndim < 1 + classes or 0 in ys.shape:
        raise ValueError(f"ys: expected an array [T, ..., O] of at least one time step, got {checks.short(ys)}")
    if classes and not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'batch["targets"]: expected integer classes, got {checks.short(targets)}')
    if classes and isinstance(batch["targets"], np.ndarray) and lengths is None:
        low, high = np.min(batch["targets"], initial=0), np.max(batch["targets"], initial=0)
        if low < 0 or high >= ys.shape[-1]:
            raise ValueError(
                f'batch["targets"]: expected classes from 0 to {ys.shape[-1] - 1}, got values from {low} to {high}'
            )
    if at == "last" and ys.ndim == targets.ndim + 1 + classes:
        ys = at_last_step(ys, lengths)
    xs = batch.get("xs")
    if at == "steps" and xs is not None and ys.shape[0] != np.shape(xs)[0]:
        raise ValueError(
            f'ys: expected an output for each of the T = {np.shape(xs)[0]} steps of batch["xs"] (at="last" is for a '
            f"model that ends in last), got {checks.short(ys)}"
        )
    expected = ys.shape[:-1] if classes else ys.shape
    if targets.shape != expected:
        which = "one a row" if at == "last" else "one a step"
        raise ValueError(f'batch["targets"]: expected shape {expected}, {which}, got {checks.short(targets)}')
    targets = targets if classes else targets.astype(ys.dtype)
    if at == "last" and lengths is None:
        return pointwise(ys, targets).mean()
    if at == "last":  # a row of length 0 has no last step
        rows = checks.array('batch["lengths"]', lengths) > 0
        losses = zero_unless(rows, pointwise(ys, targets).reshape(*rows.shape, -1).mean(-1))
        return losses.sum() / jnp.maximum(rows.sum(), 1).astype(losses.dtype)
    if lengths is None:
        losses = pointwise(ys, targets)
        return losses.mean() if over_time == "mean" else losses.sum(0).mean()
    valid = valid_steps(lengths, ys.shape[0], ys.shape[1 : 1 + np.ndim(lengths)])
    losses = pointwise(zero_unless(valid, ys), zero_unless(valid, targets))
    losses = zero_unless(valid, losses.reshape(*valid.shape, -1).mean(-1))
    if over_time == "sum":
        return losses.sum(0).mean()
    return losses.sum() / jnp.maximum(valid.sum(), 1).astype(losses.dtype)
