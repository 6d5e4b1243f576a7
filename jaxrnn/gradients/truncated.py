"""Truncated backpropagation through time: each loss reaches back only a few steps."""

import math

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.bptt.segments import put, room, take
from jaxrnn.gradients.reverse_scan import default
from jaxrnn.masks import restricted, select
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree


@pytree
class Truncated(Gradient):
    """See `truncated`."""

    k1: int
    k2: int

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        T, k1, k2 = inputs.T, self.k1, self.k2

        def run(carry: Tree, steps: Step) -> tuple[Tree, Tree]:
            return default(cell).run(cell, params, carry, inputs._replace(steps=steps))

        if isinstance(T, int) and k2 >= T:
            return run(carry, inputs.steps)
        # The window of block j is `width` blocks and ends with block j. The window's first `idle` steps only lead from
        # the start of a block, where the carry is known, to the step where the gradient ends.
        blocks, width = -(-T // k1), math.ceil(k2 / k1)
        idle = width * k1 - k2
        steps = _padded(inputs.steps, T, (width - 1) * k1, blocks * k1 - T)

        @jax.checkpoint
        def window(carry: Tree, steps: Step, j: jax.Array) -> tuple[Tree, Tree, Tree]:
            seen = take(steps, j * k1, width * k1)
            if idle:
                carry, _ = run(carry, jax.tree.map(lambda a: a[:idle], seen))
                known = ((j + 1) * k1 <= k2) | (jnp.asarray(T) <= k2)  # the window starts at the sequence's start
                carry = jax.tree.map(lambda a, b: jnp.where(known, a, b), carry, blocked(carry))
            carry, ys = run(carry, jax.tree.map(lambda a: a[idle:], seen))
            some = None if seen.valid is None else seen.valid[-k1:].any(0)
            return carry, some, jax.tree.map(lambda y: y[-k1:], ys)

        def body(state: Tree, j: jax.Array) -> tuple[Tree, None]:
            starts, final, ys = state  # the carries at the starts of the window's blocks
            carry, some, block = window(jax.tree.map(lambda a: a[0], starts), steps, j)
            starts = jax.tree.map(lambda a, c: jnp.concatenate([a[1:], c[None]]), starts, blocked(carry))
            final = select(some, carry, final)  # an ended row keeps its last block's carry, not blocked
            return (starts, final, put(ys, block, j * k1)), None

        shapes = jax.eval_shape(lambda carry: window(carry, steps, jnp.int32(0)), carry)[2]
        ys = room(jax.tree.map(lambda y: jax.ShapeDtypeStruct(y.shape[1:], y.dtype), shapes), blocks * k1, carry)
        starts = jax.tree.map(lambda a: jnp.broadcast_to(a, (width, *jnp.shape(a))), carry)
        (_, carry, ys), _ = jax.lax.scan(body, (starts, carry, ys), jnp.arange(blocks))
        return carry, jax.tree.map(lambda y: y[:T], ys)


def truncated(k1: int, k2: int | None = None) -> Truncated:
    """Truncated backpropagation through time.

    The T steps are cut into blocks of k1. The losses of a block, steps j*k1 to (j+1)*k1 - 1, reach back to the last k2
    steps before the block's end, step (j+1)*k1 - k2, and no further. So the gradient differs from BPTT's, on purpose. A
    loss reaches back over k2 - k1 + 1 to k2 steps, its own included. The usual case is k2 = k1: a block is cut off from
    those before it. A last block of fewer than k1 steps counts as a whole one. If k2 >= T, nothing is cut and the
    gradient is BPTT's. Blocks are counted from the first step that the loop reads. Under `reverse` with `lengths` that
    step is padding in the shorter rows, so their cuts lie elsewhere than in a row alone.

    Args:
      k1: steps in a block.
      k2: number of steps that a block reaches back from its end, itself included; at least k1. None: k1.

    Returns:
      A Gradient. Memory: O(T / k1 + k2); time: each step runs k2 / k1 times, forward and back, and once more forward.

    Raises:
      ValueError: k1 or k2 is not a positive integer, or k2 is below k1.

    References:
      Williams and Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent network
      trajectories, Neural Computation 2(4), BPTT(h; h'), with h = k2 and h' = k1; Sutskever 2013, Training recurrent
      neural networks, section 2.8.6.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> params = cell.init(jax.random.key(0))
      >>> def loss(xs):
      ...     return jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.truncated(4))[1][-1].sum()
      >>> d_xs = jax.grad(loss)(jax.numpy.ones((12, 3)))
      >>> [t for t in range(12) if d_xs[t].any()]
      [8, 9, 10, 11]
    """
    k1 = checks.positive_int("k1", k1)
    k2 = k1 if k2 is None else checks.positive_int("k2", k2)
    if k2 < k1:
        raise ValueError(f"k2: expected at least k1 = {k1}, got {k2}")
    return Truncated(k1, k2)


@jax.custom_vjp
def blocked(carry: Tree) -> Tree:
    """Blocks the gradient of the carry. Unlike under `stop_gradient`, derivatives of the zero gradient are right."""
    return carry


blocked.defvjp(lambda carry: (carry, None), lambda _, __: (None,))


def _padded(steps: Step, T: int, before: int, after: int) -> Step:
    """Adds steps on both sides, on which the carry is held."""
    if isinstance(after, int) and not before and not after:
        return steps

    def with_edges(a: jax.Array) -> jax.Array:
        first, last = (jnp.broadcast_to(x, (count, *a.shape[1:])) for x, count in ((a[:1], before), (a[-1:], after)))
        return jnp.concatenate([first, a, last])

    t = jnp.arange(before + T + after) - before
    return restricted(jax.tree.map(with_edges, steps), (t >= 0) & (t < T))
