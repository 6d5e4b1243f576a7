"""Losses of the outputs at each step or at the last."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32, checked_outputs
from jaxrnn.masks import zero_unless
from jaxrnn.models.last import at_last_step
from jaxrnn.types import Batch, rows_and_steps
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float

    Outputs = Float[jax.Array, "T *B O"] | Float[jax.Array, "*B O"]

At = Literal["steps", "last"]
OverTime = Literal["mean", "sum"]


def cross_entropy(
    ys: "Outputs",
    batch: Batch,
    *,
    at: At = "steps",
    over_time: OverTime = "mean",
    label_smoothing: jax.typing.ArrayLike = 0.0,
    class_weights: checks.ArrayLike | None = None,
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """Cross-entropy -log softmax(y)[target], in nats.

    With label smoothing a, -sum_k p[k] log softmax(y)[k], where p[k] is a / O, plus 1 - a for the target.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: "targets", integers from 0 to O - 1: [T, B], or [B] with at="last"; optionally "lengths" [B]
        and "mask".
      at, over_time, time_major: see `jaxrnn.losses`.
      label_smoothing: a number in [0, 1), which may be traced.
      class_weights: [O] numbers of at least 0; each target has the weight of its class. The mean over targets is then
        the weighted mean. None: all have the same weight.

    Returns:
      A scalar; NaN if a target is not a class.

    Raises:
      ValueError, TypeError: shapes or types do not fit (the message names it); a target in NumPy is not a class.

    References:
      Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> batch = {"targets": jnp.array([[0, 2], [1, 1]])}
      >>> float(jaxrnn.losses.cross_entropy(jnp.zeros((2, 2, 4)), batch)) == float(jnp.log(4.0))
      True
    """
    smoothing = checks.rate("label_smoothing", label_smoothing)

    def pointwise(logits: jax.Array, targets: jax.Array) -> jax.Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        if not isinstance(smoothing, float) or smoothing != 0.0:
            a = jnp.asarray(smoothing, logits.dtype)
            uniform = -jax.nn.log_softmax(logits).mean(-1)
            uniform = jnp.where((a == 0) & ~jnp.isfinite(uniform), jnp.zeros_like(uniform), uniform)
            losses = (1 - a) * losses + a * uniform
        return jnp.where(_is_class(targets, logits), losses, jnp.nan)  # NaN shows a target that is not a class

    weigh: Callable[[jax.Array], jax.Array] | None = None
    if class_weights is not None:
        shape = checked_outputs(ys, 2).shape[-1:]
        weights = jnp.asarray(checks.not_negative("class_weights", class_weights, (shape,)))

        def weight_of(targets: jax.Array) -> jax.Array:
            return weights.at[targets].get(mode="fill", fill_value=1, wrap_negative_indices=False)

        weigh = weight_of

    return _loss(pointwise, ys, batch, at, over_time, time_major, classes=True, weigh=weigh)


def binary_cross_entropy(
    ys: "Outputs",
    batch: Batch,
    *,
    at: At = "steps",
    over_time: OverTime = "mean",
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """Binary cross-entropy of logits, in nats; the mean over features.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: "targets", probabilities or 0 and 1, of the shape of ys (without T for at="last"; without O if O is 1);
        optionally "lengths" and "mask".
      at, over_time, time_major: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit (the message names it); a target in NumPy is not a probability.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> batch = {"targets": jnp.array([[0, 1], [1, 1]])}
      >>> round(float(jaxrnn.losses.binary_cross_entropy(jnp.zeros((2, 2, 1)), batch)), 4)
      0.6931
    """
    return _loss(optax.sigmoid_binary_cross_entropy, ys, batch, at, over_time, time_major, within=(0, 1))


def mean_squared_error(
    ys: "Outputs",
    batch: Batch,
    *,
    at: At = "steps",
    over_time: OverTime = "mean",
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """Squared error (y - target)^2; the mean over features.

    Args:
      ys: [T, B, O], or [B, O] with at="last".
      batch: "targets" of the shape of ys (without T for at="last"; without O if O is 1); optionally "lengths"
        and "mask".
      at, over_time, time_major: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or types do not fit; the message names it.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> batch = {"targets": jnp.array([[1.0, 2.0], [3.0, 99.0]]), "lengths": jnp.array([2, 1])}
      >>> round(float(jaxrnn.losses.mean_squared_error(jnp.zeros((2, 2, 1)), batch)), 4)  # (1 + 4 + 9) / 3
      4.6667
    """
    return _loss(optax.squared_error, ys, batch, at, over_time, time_major)


def quantile_loss(
    ys: "Outputs",
    batch: Batch,
    *,
    quantiles: checks.ArrayLike,
    at: At = "steps",
    over_time: OverTime = "mean",
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """Quantile (pinball) loss max(q u, (q - 1) u), u = target - y; the mean over quantiles and features.

    Its expectation is smallest where y is the target's q-quantile: a share q of the targets lies below. The outputs for
    several q are not forced to be in order. At q = 1/2 the loss is half of the absolute error.

    Args:
      ys: [T, B, O * Q], or [B, O * Q] with at="last": the Q quantiles of the first feature, then those of the second.
      batch: "targets" [T, B, O] (without T for at="last"; without O if O is 1); optionally "lengths" and "mask".
      quantiles: Q numbers q in (0, 1).
      at, over_time, time_major: see `jaxrnn.losses`.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes, types or quantiles do not fit; the message names it.

    References:
      Koenker and Bassett 1978, Regression quantiles, Econometrica 46(1).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> ys, batch = jnp.zeros((1, 1, 2)), {"targets": jnp.array([[[1.0]]])}
      >>> round(float(jaxrnn.losses.quantile_loss(ys, batch, quantiles=[0.1, 0.9])), 4)  # (0.1 + 0.9) / 2
      0.5
    """
    levels = checks.levels("quantiles", quantiles)

    def pinball(ys: jax.Array, targets: jax.Array) -> jax.Array:
        u = targets[..., None] - ys.reshape(*targets.shape, levels.size)
        q = jnp.asarray(levels, u.dtype).reshape((1,) * targets.ndim + (-1,))
        return jnp.maximum(q * u, (q - 1.0) * u)

    return _loss(pinball, ys, batch, at, over_time, time_major, per_target=levels.size)


def accuracy(
    ys: "Outputs",
    batch: Batch,
    *,
    at: At = "steps",
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """Share of targets that have the largest logit: a metric, without a useful gradient.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: as for `cross_entropy`.
      at, time_major: see `jaxrnn.losses`.

    Returns:
      A scalar in [0, 1]; an output that is not finite is wrong.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> ys = jnp.array([[[2.0, 1.0], [0.0, 3.0]]])  # T = 1, B = 2, O = 2
      >>> float(jaxrnn.losses.accuracy(ys, {"targets": jnp.array([[0, 0]])}))
      0.5
    """

    def correct(logits: jax.Array, targets: jax.Array) -> jax.Array:
        return (_chosen(logits) == targets).astype(logits.dtype)

    dtype = jnp.result_type(float)
    return _loss(correct, ys, batch, at, "mean", time_major, classes=True, dtype=dtype)


def f1(
    ys: "Outputs",
    batch: Batch,
    *,
    at: At = "steps",
    average: Literal["macro", "micro"] | int = "macro",
    time_major: bool = True,
) -> "Float[jax.Array, '']":
    """F1 = 2 right / (chosen + targets) of the class of the largest logit: a metric, without a useful gradient.

    Args:
      ys: logits [T, B, O], or [B, O] with at="last".
      batch: as for `cross_entropy`.
      at, time_major: see `jaxrnn.losses`.
      average: "macro": the mean of all classes' F1, without classes that are neither chosen nor a target; "micro": the
        F1 of all classes' counts together; a class: its F1 alone.

    Returns:
      A scalar in [0, 1]; NaN if a target is not a class. An output that is not finite chooses no class.

    Raises:
      ValueError, TypeError: shapes or types do not fit; the message names it.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> ys = jax.nn.one_hot(jnp.array([[0, 1, 1, 1]]), 2)  # T = 1, B = 4: chosen classes
      >>> round(float(jaxrnn.losses.f1(ys, {"targets": jnp.array([[0, 1, 1, 0]])}, average=1)), 4)  # 2 * 2 / (3 + 2)
      0.8
    """
    given = _checked(ys, batch, at, time_major, classes=True)
    O, dtype = given.ys.shape[-1], jnp.result_type(float)
    a_class = checks.is_integer(average) and average in range(O)
    if not a_class and not (isinstance(average, str) and average in ("macro", "micro")):
        raise ValueError(f'average: expected "macro", "micro" or a class from 0 to {O - 1}, got {average!r}')
    counted = jnp.ones(given.targets.shape, bool) if given.counted is None else given.counted
    chosen, targets = (jnp.where(counted, x, -1).ravel() for x in (_chosen(given.ys), given.targets))

    def count(classes: jax.Array) -> jax.Array:
        counts = jnp.zeros(O, jnp.int32).at[classes].add(1, mode="drop", wrap_negative_indices=False)
        return counts.astype(dtype)

    right, both = count(jnp.where(chosen == targets, targets, -1)), count(chosen) + count(targets)
    if average == "micro":
        right, both = right.sum(), both.sum()
    each = 2 * right / jnp.maximum(both, 1)
    if average == "macro":
        each = each.sum() / jnp.maximum((both > 0).sum(), 1).astype(dtype)
    elif average != "micro":
        each = each[average]
    unknown = counted & ~_is_class(given.targets, given.ys)
    return jnp.where(unknown.any(), jnp.nan, each)  # NaN, as for the losses, if a target is not a class


def _is_class(targets: jax.Array, logits: jax.Array) -> jax.Array:
    return (targets >= 0) & (targets < logits.shape[-1])


def _chosen(logits: jax.Array) -> jax.Array:
    """The class of the largest logit; -1 if one of the logits is not finite."""
    return jnp.where(jnp.isfinite(logits).all(-1), jnp.argmax(logits, -1).astype(jnp.int32), -1)


class Checked(NamedTuple):
    """The checked arguments of a loss.

    Attributes:
      ys: [T, *batch_shape, O], or [*batch_shape, O] with at="last"; in float32 at least, zero where nothing counts.
      targets: of the same shape, or without features if they are classes.
      counted: the targets that count, a bool for each without its features; None: all of them.
    """

    ys: jax.Array
    targets: jax.Array
    counted: jax.Array | None


def _loss(
    pointwise: Callable[[jax.Array, jax.Array], jax.Array],
    ys: "Outputs",
    batch: Batch,
    at: str,
    over_time: str,
    time_major: bool,
    *,
    classes: bool = False,
    within: tuple[int, int] | None = None,
    per_target: int = 1,
    dtype: checks.DTypeLike | None = None,
    weigh: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """The reduction that all losses share, in float32 at least.

    `classes`: targets are integers and have no feature axis; `within`: the least and the largest value of other
    targets; `per_target`: outputs for each feature of the targets; `dtype`: of the result, None for that of ys;
    `weigh`: the weight of a target.
    """
    checks.one_of("over_time", over_time, ("mean", "sum"))
    given = _checked(ys, batch, at, time_major, classes=classes, within=within, per_target=per_target)
    dtype, counted = jnp.asarray(ys).dtype if dtype is None else dtype, given.counted
    losses = pointwise(given.ys, given.targets)
    each = None if counted is None else counted.astype(losses.dtype)
    if weigh is not None:
        weights = weigh(given.targets).astype(losses.dtype)
        each = weights if each is None else each * weights
        losses = jnp.where(weights == 0, jnp.zeros_like(losses), losses) * weights
    if counted is not None:
        losses = zero_unless(counted, losses.reshape(*counted.shape, -1).mean(-1))
    if at == "steps" and over_time == "sum":
        return losses.sum(0).mean().astype(dtype)
    if each is None:
        return losses.mean().astype(dtype)
    total = each.sum() if weigh is not None else counted.sum().astype(losses.dtype)  # pyright: ignore
    return (losses.sum() / jnp.where(total > 0, total, 1)).astype(dtype)


def _checked(
    ys: "Outputs",
    batch: Batch,
    at: str,
    time_major: bool,
    *,
    classes: bool = False,
    within: tuple[int, int] | None = None,
    per_target: int = 1,
) -> Checked:
    """The arguments of a loss, checked, time first."""
    checks.one_of("at", at, ("steps", "last"))
    checks.flag("time_major", time_major)
    ys = checked_outputs(ys, 1 + classes)
    checks.entry("batch", batch, "targets")
    given = batch["targets"]
    targets = checks.array('batch["targets"]', given)
    (name, lengths), mask = _lengths(batch), batch.get("mask")
    if ys.shape[-1] % per_target:
        raise ValueError(f"ys: expected {per_target} outputs, one a quantile, a feature, got {checks.short(ys)}")
    if classes and not jnp.issubdtype(targets.dtype, jnp.integer):
        cure = "targets.argmax(-1)" if targets.shape in (ys.shape, ys.shape[1:]) else "targets.astype(int)"
        raise TypeError(f'batch["targets"]: expected integer classes, got {checks.short(targets)}; {cure} makes some')
    if jnp.issubdtype(targets.dtype, jnp.complexfloating):
        raise TypeError(f'batch["targets"]: expected real numbers, got {checks.short(targets)}')
    features = () if classes else (ys.shape[-1] // per_target,)
    has_time = at == "steps" or _has_time(ys, targets, features, batch, lengths)
    if not time_major and has_time:
        ys = rows_and_steps(ys)
    if not time_major and at == "steps":
        targets, mask = rows_and_steps(targets), None if mask is None else rows_and_steps(jnp.asarray(mask))
    xs, own_steps = batch.get("xs"), name == "targets_lengths" or "previous" in batch
    T = ys.shape[0] if xs is None else checks.steps_of('batch["xs"]', xs, time_major)
    if at == "steps" and not own_steps and ys.shape[0] != T:
        raise ValueError(
            f'ys: expected an output for each of the T = {T} steps of batch["xs"] '
            '(at="last" is for a model that ends in last, and targets with steps of their own come with '
            f'"targets_lengths"), got {checks.short(ys)}'
        )
    if at == "last" and has_time:
        within_row = None if lengths is None else valid_steps(lengths, ys.shape[0], np.shape(lengths))
        ys = at_last_step(ys, within_row)
    lead = ys.shape[:-1]
    if targets.shape == lead and features == (1,):
        targets = targets[..., None]
    if targets.shape != (*lead, *features):
        which = "one a row" if at == "last" else "one a step"
        shape = (lead[1], lead[0], *lead[2:]) if not time_major and at == "steps" and len(lead) > 1 else lead
        hint = ""
        if targets.ndim == 2 and targets.shape[::-1] == (*lead, *features):
            hint = "; an entry of one value a row that has as many as there are steps is named in per_row"
        raise ValueError(
            f'batch["targets"]: expected shape {(*shape, *features)}, {which}, got {checks.short(given)}{hint}'
        )
    ys = at_least_float32(ys)
    targets = checks.integers('batch["targets"]', targets) if classes else targets.astype(ys.dtype)
    counted = _counted(lengths, mask, at, ys, name)
    allowed = (0, ys.shape[-1] - 1) if classes else within
    if allowed and isinstance(given, np.ndarray) and checks.in_numpy(lengths, batch.get("mask")):
        swapped = not time_major and at == "steps"
        known, marks = (
            None if x is None else np.swapaxes(x, 0, 1) if swapped else x for x in (given, batch.get("mask"))
        )
        _check_values(known, marks, lengths, lead, *allowed, kind="classes" if classes else "numbers")
    return Checked(zero_unless(counted, ys), zero_unless(counted, targets), counted)


def _has_time(
    ys: jax.Array, targets: jax.Array, features: tuple[int, ...] | None, batch: Batch, lengths: checks.ArrayLike | None
) -> bool:
    """Tells whether outputs have an axis of time, [T, ..., O] and not [..., O], for at="last"."""
    rows = [np.ndim(lengths)] if lengths is not None else []
    xs = batch.get("xs")
    if not rows and xs is not None and not isinstance(xs, (tuple, dict)):
        symbols = jnp.issubdtype(jnp.asarray(xs).dtype, jnp.integer)
        rows = [np.ndim(xs) - 1] if symbols and np.ndim(xs) < 3 else [np.ndim(xs) - 2]
    if rows:
        return ys.ndim == rows[0] + 2
    if not features or targets.ndim != ys.ndim - 1:
        return targets.ndim < ys.ndim - 1
    with_time, without = targets.shape == (*ys.shape[1:-1], *features), targets.shape == ys.shape[:-1]
    if with_time and without and features != (1,) and ys.ndim == 2:
        raise ValueError(
            f'batch["targets"]: expected shape {ys.shape}, one a row, or (1, {ys.shape[-1]}) with ys of one row, '
            f"got {checks.short(targets)}"
        )
    return with_time or (not without and targets.shape[-1:] == features)


def _lengths(batch: Batch) -> tuple[str, checks.ArrayLike | None]:
    """The lengths of the targets, and the name of their entry: the targets' own, or those of xs."""
    own = batch.get("targets_lengths")
    return ("lengths", batch.get("lengths")) if own is None else ("targets_lengths", own)


def _check_values(
    targets: Any, mask: Any, lengths: Any, lead: tuple[int, ...], least: int, most: int, *, kind: str
) -> None:
    """Raises unless all targets that count lie within these bounds; the values of all arguments are known."""
    counted = np.ones(lead, bool) if mask is None else np.asarray(mask)
    if lengths is not None and counted.ndim == np.ndim(lengths):  # at="last": a row of length 0 has no last step
        counted = counted & (np.asarray(lengths) > 0)
    elif lengths is not None:
        steps = np.arange(len(counted)).reshape(-1, *(1,) * (counted.ndim - 1))
        within = steps < np.asarray(lengths)
        counted = counted & within.reshape(within.shape + (1,) * (counted.ndim - within.ndim))
    if counted.shape == lead:
        targets = targets.reshape(*lead, -1)[counted]
    low, high = np.min(targets, initial=least), np.max(targets, initial=least)
    if not (low >= least and high <= most):  # NaN included
        got = f"values from {low} to {high}"
        if kind == "classes":
            got += f"; the model puts out {most + 1} features, one a class, counted from 0"
        raise checks.OutOfRangeError(f'batch["targets"]: expected {kind} from {least} to {most}, got {got}')


def _counted(
    lengths: checks.ArrayLike | None, mask: checks.ArrayLike | None, at: str, ys: jax.Array, name: str
) -> jax.Array | None:
    """The targets that count, bool [T, *batch_shape], or [*batch_shape] with at="last"; None: all of them."""
    within = None
    if lengths is not None and at == "last":  # a row of length 0 has no last step
        within = checks.integers(f'batch["{name}"]', lengths) > 0
    elif lengths is not None:
        within = valid_steps(lengths, ys.shape[0], ys.shape[1 : 1 + np.ndim(lengths)], name=name)
    if mask is None:
        return within
    mask = checks.array('batch["mask"]', mask)
    if mask.shape != ys.shape[:-1]:
        which = "one a row" if at == "last" else "one a step"
        hint = '; a mask of the steps that a model reads is the entry "xs_mask"' if at == "last" else ""
        raise ValueError(f'batch["mask"]: expected shape {ys.shape[:-1]}, {which}, got {checks.short(mask)}{hint}')
    if mask.dtype != bool:
        raise TypeError(f'batch["mask"]: expected booleans, got {checks.short(mask)}')
    return mask if within is None else within.reshape(within.shape + (1,) * (mask.ndim - within.ndim)) & mask
