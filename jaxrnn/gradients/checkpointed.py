"""Backpropagation through time that keeps some carries and recomputes the rest."""

import math

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.bptt.segments import put, room, take
from jaxrnn.gradients.reverse_scan import default
from jaxrnn.masks import restricted
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree


@pytree
class Checkpointed(Gradient):
    """See `checkpointed`."""

    segments: int | None = None
    checkpoints: int | None = None

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        T = inputs.T
        if not isinstance(T, int):  # symbolic: the length of segments is unknown
            return default(cell).run(cell, params, carry, inputs)

        def run(lengths: list[int], carry: Tree, ys: Tree, steps: Step, first: int | jax.Array) -> tuple[Tree, Tree]:
            """Runs steps in segments of the first length, each in segments of the second, ...; ys start at `first`."""
            T = inputs._replace(steps=steps).T
            lengths = [length for length in lengths if length < T]
            if not lengths:
                carry, block = default(cell).run(cell, params, carry, inputs._replace(steps=steps))
                return carry, put(ys, block, first)
            length, *rest = lengths
            shorter = T % length

            @jax.checkpoint
            def segment(carry: Tree, ys: Tree, steps: Step, start: int | jax.Array) -> tuple[Tree, Tree]:
                steps = take(steps, start, length)
                if shorter:  # the first segment: the next one overwrites the steps past its end
                    steps = restricted(steps, (start > 0) | (jnp.arange(length) < shorter))
                return run(rest, carry, ys, steps, first + start)

            starts = jnp.arange(0, T, length) if not shorter else jnp.array([0, *range(shorter, T, length)])
            return jax.lax.scan(lambda state, start: (segment(*state, steps, start), None), (carry, ys), starts)[0]

        y = jax.eval_shape(lambda carry: cell.step(params, carry, *inputs.steps.at_0)[1], carry)
        return run(self.lengths(T), carry, room(y, T, carry), inputs.steps, 0)

    def lengths(self, T: int) -> list[int]:
        """The steps in a segment, level by level."""
        if self.segments is not None:
            return [math.ceil(T / self.segments)]
        if self.checkpoints is not None:
            return _nested_lengths(T, self.checkpoints)
        near = range(math.ceil(0.75 * math.sqrt(T)), math.floor(1.33 * math.sqrt(T)) + 1)
        return [min(near, key=lambda length: (-T % length, abs(length - math.sqrt(T))), default=1)]


def checkpointed(*, segments: int | None = None, checkpoints: int | None = None) -> Checkpointed:
    """Backpropagation through time that keeps some carries and recomputes the steps between them in the backward pass.

    The same gradient as `autodiff()`, with the cell's default gradient inside each segment. Second derivatives are
    exact, too, in reverse mode over reverse mode; `jax.hessian` and a `jax.jvp` of a gradient need `reverse_scan()` or
    `autodiff()`. Where the number of steps is symbolic (`jax.export`), all carries are kept.

    Args:
      segments: two levels. The T steps are split into at most this many segments of equal length (the first may be
        shorter), and the carries between them are kept. Memory: O(segments + T / segments); time: each step runs
        forward twice. None: about sqrt(T) segments, of a length near sqrt(T) that divides T as evenly as possible.
      checkpoints: nested levels. At most this many carries are kept at any time, those of the innermost segment's steps
        included. Each segment is split again, as often as needed: with L levels, about L * T^(1/L) carries are kept
        and each step runs forward L times. T steps need at least about e * ln(T) checkpoints.

    Returns:
      A Gradient.

    Raises:
      ValueError: an argument is not a positive integer, or both are given; while tracing: `checkpoints` is too small
        for T.

    References:
      Griewank and Walther 2000, Algorithm 799: revolve, ACM TOMS 26(1): the optimal, binomial schedule, which equal
      splits come near to; Chen et al. 2016, arXiv:1604.06174; Gruslys et al. 2016, arXiv:1606.03401.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((16, 3))
      >>> def loss(params, gradient):
      ...     return jaxrnn.unroll(cell, params, xs, gradient=gradient)[1].sum()
      >>> a, b = (jax.grad(loss)(params, g) for g in (jaxrnn.autodiff(), jaxrnn.checkpointed(segments=4)))
      >>> bool(jax.numpy.allclose(a["w_h"], b["w_h"], rtol=1e-4, atol=1e-5))
      True
    """
    if segments is not None and checkpoints is not None:
        raise ValueError(f"checkpoints: expected None beside segments={segments!r}, got {checkpoints!r}")
    return Checkpointed(
        None if segments is None else checks.positive_int("segments", segments),
        None if checkpoints is None else checks.positive_int("checkpoints", checkpoints),
    )


def _nested_lengths(T: int, checkpoints: int) -> list[int]:
    """Finds the fewest levels that keep at most this many carries."""
    fewest = T
    for levels in range(1, max(T, 2).bit_length() + 1):
        lengths, length = [], T
        for rest in range(levels, 1, -1):
            length = math.ceil(length ** ((rest - 1) / rest))
            lengths.append(length)
        kept = sum(math.ceil(a / b) for a, b in zip([T, *lengths], [*lengths, 1], strict=True))
        if kept <= checkpoints:
            return lengths
        fewest = min(fewest, kept)
    raise ValueError(f"checkpoints: expected at least {fewest} for {T} steps, got {checkpoints}")
