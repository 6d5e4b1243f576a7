"""Losses of the outputs at each step or at the last."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32, checked_outputs, valid_steps
from jaxrnn.masks import zero_unless
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
      batch: "targets", integers from 0 to O - 1: [T, B], or [B] with at="last"; optionally "lengths" [B]
        and "mask".
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
      batch: "targets", probabilities or 0 and 1, of the shape of ys (without T for at="last"); optionally "lengths"
        and "mask".
      at, over_time: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit, and which; targets in NumPy are no probabilities.
    """
    return _loss(optax.sigmoid_binary_cross_entropy, ys, batch, at, over_time, within=(0, 1))


def mean_squared_error(ys: jax.Array, batch: Batch, *, at: At = "steps", over_time: OverTime = "mean") -> jax.Array:
    """Squared error (y - target)^2; the mean over features.

    Args:
      ys: [T, B, O], or [B, O] with at="last".
      batch: "targets" of the shape of ys (without T for at="last"); optionally "lengths"
        and "mask".
      at, over_time: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit, and which.
    """
    return _loss(optax.squared_error, ys, batch, at, over_time)


def quantile_loss(
    ys: jax.Array, batch: Batch, *, quantiles: Any, at: At = "steps", over_time: OverTime = "mean"
) -> jax.Array:
    """Quantile (pinball) loss max(q u, (q - 1) u), u = target - y; the mean over quantiles and features.

    Its expectation is smallest where y is the target's q-quantile: a share q of the targets lies below. Nothing keeps
    the outputs for several q in order. At q = 1/2 it is half of the absolute error.

    Args:
      ys: [T, B, O * Q], or [B, O * Q] with at="last": the Q quantiles of the first feature, then those of the second.
      batch: "targets" [T, B, O] (without T for at="last"); optionally "lengths" and "mask".
      quantiles: Q numbers q in (0, 1).
      at, over_time: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes, types or quantiles do not fit, and which.

    References:
      Koenker and Bassett 1978, Regression quantiles, Econometrica 46(1).
    """
    levels = checks.levels("quantiles", quantiles)

    def pinball(ys: jax.Array, targets: jax.Array) -> jax.Array:
        u = targets[..., None] - ys.reshape(*targets.shape, levels.size)
        q = jnp.asarray(levels, u.dtype).reshape((1,) * targets.ndim + (-1,))
        return jnp.maximum(q * u, (q - 1.0) * u)

    return _loss(pinball, ys, batch, at, over_time, per_target=levels.size)


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
        return right.astype(logits.dtype)

    return _loss(correct, ys, batch, at, "mean", classes=True, dtype=jnp.result_type(float))


def _loss(
    pointwise: Callable[[jax.Array, jax.Array], jax.Array],
    ys: Any,
    batch: Batch,
    at: str,
    over_time: str,
    *,
    classes: bool = False,
    within: tuple[int, int] | None = None,
    per_target: int = 1,
    dtype: Any = None,
) -> jax.Array:
    """The reduction that all losses share, in float32 at least.

    `classes`: targets are integers and have no feature axis; `within`: the least and the largest that other targets may
    be; `per_target`: outputs for each feature of the targets; `dtype`: of the result, None for that of ys.
    """
    checks.one_of("at", at, ("steps", "last"))
    checks.one_of("over_time", over_time, ("mean", "sum"))
    checks.entry("batch", batch, "targets")
    ys, targets = checked_outputs(ys, 1 + classes), checks.array('batch["targets"]', batch["targets"])
    (name, lengths), mask = _lengths(batch), batch.get("mask")
    if ys.shape[-1] % per_target:
        raise ValueError(f"ys: expected {per_target} outputs, one a quantile, a feature, got {checks.short(ys)}")
    if classes and not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'batch["targets"]: expected integer classes, got {checks.short(targets)}')
    allowed = (0, ys.shape[-1] - 1) if classes else within
    if allowed and isinstance(batch["targets"], np.ndarray) and lengths is None and mask is None:
        _check_values(batch["targets"], *allowed, "classes" if classes else "numbers")
    if at == "last" and ys.ndim == targets.ndim + 1 + classes:
        ys = at_last_step(ys, lengths)
    xs, own_steps = batch.get("xs"), name == "targets_lengths" or "previous" in batch
    if at == "steps" and xs is not None and not own_steps and ys.shape[0] != np.shape(xs)[0]:
        raise ValueError(
            f'ys: expected an output for each of the T = {np.shape(xs)[0]} steps of batch["xs"] (at="last" is for a '
            'model that ends in last, and targets with steps of their own come with "targets_lengths"), '
            f"got {checks.short(ys)}"
        )
    expected = ys.shape[:-1] if classes else (*ys.shape[:-1], ys.shape[-1] // per_target)
    if targets.shape != expected:
        which = "one a row" if at == "last" else "one a step"
        raise ValueError(f'batch["targets"]: expected shape {expected}, {which}, got {checks.short(targets)}')
    dtype, ys = ys.dtype if dtype is None else dtype, at_least_float32(ys)
    targets = targets if classes else targets.astype(ys.dtype)
    counted = _counted(lengths, mask, at, ys, name)
    losses = pointwise(zero_unless(counted, ys), zero_unless(counted, targets))
    if counted is not None:
        losses = zero_unless(counted, losses.reshape(*counted.shape, -1).mean(-1))
    if at == "steps" and over_time == "sum":
        return losses.sum(0).mean().astype(dtype)
    if counted is None:
        return losses.mean().astype(dtype)
    return (losses.sum() / jnp.maximum(counted.sum(), 1).astype(losses.dtype)).astype(dtype)


def _lengths(batch: Batch) -> tuple[str, Any]:
    """The lengths of the targets, and the entry that has them: their own, or those of xs."""
    own = batch.get("targets_lengths")
    return ("lengths", batch.get("lengths")) if own is None else ("targets_lengths", own)


def _check_values(targets: np.ndarray, least: int, most: int, kind: str) -> None:
    """Raises unless all targets lie within these bounds."""
    low, high = np.min(targets, initial=least), np.max(targets, initial=least)
    if not (low >= least and high <= most):  # NaN included
        raise ValueError(f'batch["targets"]: expected {kind} from {least} to {most}, got values from {low} to {high}')


def _counted(lengths: Any, mask: Any, at: str, ys: jax.Array, name: str) -> jax.Array | None:
    """Which targets count, bool [T, *batch_shape], or [*batch_shape] with at="last"; None: all of them."""
    within = None
    if lengths is not None and at == "last":  # a row of length 0 has no last step
        within = checks.array(f'batch["{name}"]', lengths) > 0
    elif lengths is not None:
        within = valid_steps(lengths, ys.shape[0], ys.shape[1 : 1 + np.ndim(lengths)], name=name)
    if mask is None:
        return within
    mask = checks.array('batch["mask"]', mask)
    if mask.shape != ys.shape[:-1]:
        which = "one a row" if at == "last" else "one a step"
        raise ValueError(f'batch["mask"]: expected shape {ys.shape[:-1]}, {which}, got {checks.short(mask)}')
    if mask.dtype != bool:
        raise TypeError(f'batch["mask"]: expected booleans, got {checks.short(mask)}')
    return mask if within is None else within.reshape(within.shape + (1,) * (mask.ndim - within.ndim)) & mask
