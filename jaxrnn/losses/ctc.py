"""Connectionist temporal classification: a loss for labels without known times."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32, checked_logits
from jaxrnn.compiled import compiled
from jaxrnn.masks import zero_unless
from jaxrnn.types import Batch, rows_and_steps
from jaxrnn.validity import valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float


def ctc_loss(
    ys: "Float[jax.Array, 'T *B O']", batch: Batch, *, blank: int = 0, time_major: bool = True
) -> "Float[jax.Array, '']":
    """Connectionist temporal classification, in nats: -log p(labels), the mean over rows.

        p(labels) = sum over alignments of prod over t of softmax(y[t])[alignment[t]]

    An alignment has one class at each step. Merge its repeats, then remove the class `blank`: the result is its labels.
    So equal labels in a row need a blank between them, and a row needs at least as many steps as labels plus pairs of
    equal neighbours. Labels that do not fit into their row have probability 0: the loss is infinite, which stops `fit`;
    its gradient is the gradient of the other rows.

    A row's loss is the negative log-likelihood of the whole row: a sum over its labels, like the other losses with
    over_time="sum". It is not divided by the number of labels, as PyTorch's default "mean" does: that would weigh the
    labels of short rows more, and rows without labels could not count.

    Args:
      ys: logits [T, B, O]; one of the O classes is the blank.
      batch: "targets", the labels, integers [L, B] from 0 to O - 1 other than `blank`; "targets_lengths", integers [B],
        the number of labels of each row; optionally "lengths", integers [B], the number of steps of each row. Entries
        past these do not count, whatever they are.
      blank: the class that stands for no label.
      time_major: False: ys [B, T, O] and "targets" [B, L].

    Returns:
      A scalar; NaN if a label is not a class, or a row has fewer than 0 or more than L labels. In float32 it can lie
      below 0 by a rounding error.

    Raises:
      ValueError, TypeError: shapes or types do not fit (the message names it); in NumPy or Python: a label is not a
        class, or labels do not fit into their row.

    References:
      Graves, Fernandez, Gomez and Schmidhuber 2006, Connectionist temporal classification, ICML.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> batch = {"targets": jnp.array([[1]]), "targets_lengths": jnp.array([1])}
      >>> loss = jaxrnn.losses.ctc_loss(jnp.zeros((2, 1, 2)), batch)  # alignments 1 1, 1 blank, blank 1: p = 3 / 4
      >>> round(float(jnp.exp(-loss)), 3)
      0.75
    """
    checks.entry("batch", batch, "targets")
    checks.entry("batch", batch, "targets_lengths")
    ys, labels = checked_logits(ys, blank), batch["targets"]
    targets = checks.array('batch["targets"]', labels)
    if not checks.flag("time_major", time_major):
        ys, targets, labels = (
            rows_and_steps(ys),
            rows_and_steps(targets),
            rows_and_steps(labels) if isinstance(labels, jax.Array) else np.asarray(labels).swapaxes(0, -1),
        )
    T, O, batch_shape = ys.shape[0], ys.shape[-1], ys.shape[1:-1]
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'batch["targets"]: expected integer labels, got {checks.short(targets)}')
    if targets.ndim < 1 or targets.shape[0] < 1 or targets.shape[1:] != batch_shape:
        shape = ", ".join(["L", *map(str, batch_shape)])
        raise ValueError(f'batch["targets"]: expected shape ({shape}) with L >= 1, got {checks.short(targets)}')
    L, targets_lengths = targets.shape[0], batch["targets_lengths"]
    is_label = valid_steps(targets_lengths, L, batch_shape, name='batch["targets_lengths"]', size="L")
    xs, lengths = batch.get("xs"), batch.get("lengths")
    expected = T if xs is None else checks.steps_of('batch["xs"]', xs, time_major)
    if expected != T:
        raise ValueError(
            f'ys: expected an output for each of the T = {expected} steps of batch["xs"], got {checks.short(ys)}'
        )
    lengths = np.full(batch_shape, T, np.int32) if lengths is None else lengths
    is_step = valid_steps(lengths, T, batch_shape)
    _check_values(labels, targets_lengths, lengths, O, blank)
    targets, count = checks.integers('batch["targets"]', targets), checks.integers("targets_lengths", targets_lengths)
    return _ctc_loss(ys, is_step, targets, is_label, count, int(blank))


@compiled
def _ctc_loss(
    ys: jax.Array, is_step: jax.Array, targets: jax.Array, is_label: jax.Array, count: jax.Array, blank: int
) -> jax.Array:
    (T, *_, O), L = ys.shape, len(targets)
    ys = zero_unless(is_step, ys).reshape(T, -1, O)
    is_step, is_label, targets = is_step.reshape(T, -1), is_label.reshape(L, -1), targets.reshape(L, -1)
    known = (targets >= 0) & (targets < O) & (targets != blank)
    count = count.reshape(-1)
    right = (known | ~is_label).all(0) & (count >= 0) & (count <= L)
    repeats = ((targets[1:] == targets[:-1]) & is_label[1:]).sum(0)
    fits = is_step.sum(0) >= is_label.sum(0) + repeats
    targets = jnp.where(is_label & known, targets, jnp.zeros_like(targets))
    # optax mixes float32 with the dtype of the logits, and picks labels by a product with one-hot vectors.
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        losses = optax.ctc_loss(
            at_least_float32(ys).swapaxes(0, 1),
            (~is_step.T).astype(jnp.float32),
            targets.T,
            (~is_label.T).astype(jnp.float32),
            blank_id=blank,
            log_epsilon=-1e30,  # stands for log 0; no sequence that fits may come near
        )
    losses = jnp.where(right, jnp.where(fits, losses, jnp.inf), jnp.nan)
    return losses.mean().astype(ys.dtype)


def _check_values(
    targets: checks.ArrayLike, targets_lengths: checks.ArrayLike, lengths: checks.ArrayLike | None, O: int, blank: int
) -> None:
    """Raises if a label is not a class or labels do not fit into their rows, as far as the values are known."""
    if not checks.in_numpy(targets, targets_lengths):
        return
    targets, targets_lengths = np.asarray(targets), np.asarray(targets_lengths)
    is_label = np.arange(len(targets)).reshape(-1, *(1,) * targets_lengths.ndim) < targets_lengths
    wrong = targets[is_label & ((targets < 0) | (targets >= O) | (targets == blank))]
    if wrong.size:
        raise checks.OutOfRangeError(
            f'batch["targets"]: expected labels from 0 to {O - 1} other than blank = {blank}, got {wrong[0]}'
        )
    needed = targets_lengths + ((targets[1:] == targets[:-1]) & is_label[1:]).sum(0)
    if checks.in_numpy(lengths) and np.any(needed > np.asarray(lengths)):
        row = tuple(np.argwhere(needed > np.asarray(lengths))[0].tolist())
        raise checks.OutOfRangeError(
            'batch["targets"]: expected a step for each label and one more between equal ones, got labels that need '
            f"{needed[row]} steps in row {list(row)} of {np.asarray(lengths)[row]} steps"
        )
