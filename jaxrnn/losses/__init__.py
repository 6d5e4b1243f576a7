"""Losses of sequences, (ys, batch) -> scalar, and their reduction over time.

A batch is a dict: "xs" [T, B, ...], "targets", and, if rows have different lengths, "lengths" [B]. Steps past a row's
length do not count, whatever they hold. Targets with steps of their own, such as those of a `jaxrnn.encoder_decoder`,
have "targets_lengths" [B]; "lengths" are then those of xs alone.

If targets are missing inside a row, "mask" marks the targets that are there: bool, of the shape of the targets without
their features, [T, B] (or [B] with at="last"). A target whose mask is False does not count, and neither does the output
at its step, whatever they hold: NaN there reaches neither the value nor the gradient. With "lengths" a step counts if
both say so. The mask is for targets only: the model reads all inputs, so fill gaps in the inputs, and mark them by a
feature.

Every loss takes three options:

  at         "steps": a target for each step, targets [T, B, ...]. "last": one for each row, targets [B, ...], compared
             with the output at the row's last step (ys [T, B, O]), or with the one output of a model that ends in
             `jaxrnn.last` (ys [B, O]); rows of length 0 do not count.
  over_time  the reduction over steps. "mean": the mean over all steps of the batch that count. "sum": the sum over each
             row's steps that count, then the mean over all rows. For rows of T steps the sum is T times the mean, and
             so is its gradient: a learning rate (of plain gradient descent) or a clipping norm tuned for one is wrong
             by the factor T for the other, and under "sum" long rows weigh more.
  time_major False: outputs, targets and mask have the rows on axis 0 and time on axis 1, [B, T, ...], and so has "xs".
             `jaxrnn.fit` and `jaxrnn.evaluate` pass a loss time first in any case: leave the option as it is there.

Integers of any type mean the same. Where targets have one feature, its axis may be left out.
"""

from jaxrnn.losses.ctc import ctc_loss
from jaxrnn.losses.stepwise import accuracy, binary_cross_entropy, cross_entropy, f1, mean_squared_error, quantile_loss

__all__ = [
    "accuracy",
    "binary_cross_entropy",
    "cross_entropy",
    "ctc_loss",
    "f1",
    "mean_squared_error",
    "quantile_loss",
]


def __dir__() -> list[str]:
    return __all__
