"""The effect of padding and resets on one step."""

import jax
import jax.numpy as jnp

from jaxrnn.types import Cell, Params, Step, Tree


def select(mask: jax.Array | None, on_true: Tree, on_false: Tree) -> Tree:
    """Selects row by row: where(mask, on_true, on_false), for trees of arrays [*batch_shape, ...]; None: all true."""
    if mask is None:
        return on_true
    return jax.tree.map(lambda a, b: jnp.where(over(mask, a), a, b), on_true, on_false)


def zero_unless(mask: jax.Array | None, tree: Tree) -> Tree:
    """`tree` where the mask holds, zero elsewhere."""
    if mask is None:
        return tree
    return jax.tree.map(lambda a: jnp.where(over(mask, a), a, jnp.zeros_like(a)), tree)


def enter(carry: Tree, initial: Tree, reset: jax.Array | None) -> Tree:
    """The carry that a step reads: the initial one in the rows where an episode starts."""
    return carry if reset is None else select(reset, initial, carry)


def take_step(cell: Cell, params: Params, carry: Tree, step: Step, initial: Tree) -> tuple[Tree, Tree]:
    """One step of a loop, padding and resets included: (carry, y)."""
    before = enter(carry, initial, step.reset)
    after, y = cell.step(params, before, step.x, step.noise)
    return select(step.valid, after, before), zero_unless(step.valid, y)


def enter_and_select_transposed(step: Step, d_before: Tree, d_after: Tree, d_initial: Tree) -> tuple[Tree, Tree]:
    """The derivative of the carry before a step, from that of the carry that the step read.

    The two differ where the mask holds the carry or a reset replaces it.

    Args:
      step: the step's masks.
      d_before: the derivative that the step returns, zero on padding.
      d_after: the derivative of the carry after the step.
      d_initial: the sum so far of the initial carry's derivative; without resets it is returned as it is.

    Returns:
      (d_carry, d_initial).
    """
    d_carry = select(step.valid, d_before, d_after)
    if step.reset is None:
        return d_carry, d_initial
    d_initial = jax.tree.map(jnp.add, d_initial, zero_unless(step.reset, d_carry))
    return zero_unless(~step.reset, d_carry), d_initial


def restricted(steps: Step, inside: jax.Array) -> Step:
    """The steps as they are where `inside`, bool [T], holds; on all others every row's carry is held."""

    def both(mask: jax.Array) -> jax.Array:
        return mask & inside.reshape(inside.shape + (1,) * (mask.ndim - 1))

    valid = inside if steps.valid is None else both(steps.valid)
    return steps._replace(valid=valid, reset=None if steps.reset is None else both(steps.reset))


def over(mask: jax.Array, x: jax.Array) -> jax.Array:
    """A mask [*batch_shape] that broadcasts over the features of x [*batch_shape, ...]; both may have time."""
    return mask.reshape(mask.shape + (1,) * (jnp.ndim(x) - mask.ndim))
