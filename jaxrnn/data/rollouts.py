"""Rollouts of reinforcement learning: where episodes start, and pieces of long rollouts."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.types import Tree

if TYPE_CHECKING:
    from jaxtyping import Bool


def resets_from_dones(dones: checks.ArrayLike, *, before: checks.ArrayLike | None = None) -> "Bool[jax.Array, 'T *B']":
    """Episode starts, for `resets`: the step after each step that is done.

    resets[t] = dones[t-1]: a done step is the last one of its episode.

    Args:
      dones: [T, *batch_shape] booleans, or numbers of which 0 is False: whether an episode ended with step t
        (terminated or truncated).
      before: [*batch_shape], dones of the step before the first one. None: False, so that the first step reads the
        `carry` that comes with it.

    Returns:
      Booleans [T, *batch_shape].

    Raises:
      ValueError, TypeError: shapes do not fit.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.data.resets_from_dones([False, True, False, False]).tolist()
      [False, False, True, False]
      >>> jaxrnn.data.resets_from_dones([False, True, False, False], before=True).tolist()
      [True, False, True, False]
    """
    dones = _booleans("dones", dones)
    if dones.ndim < 1 or not dones.shape[0]:
        raise ValueError(f"dones: expected an array [T, ...] of at least one step, got {checks.short(dones)}")
    first = jnp.zeros(dones.shape[1:], bool) if before is None else _booleans("before", before)
    if first.shape != dones.shape[1:]:
        raise ValueError(f"before: expected shape {dones.shape[1:]}, got {checks.short(first)}")
    return jnp.concatenate([first[None], dones[:-1]])


def _booleans(name: str, value: checks.ArrayLike) -> jax.Array:
    found = checks.array(name, value)
    if not jnp.issubdtype(found.dtype, jnp.number) and found.dtype != bool:
        raise TypeError(f"{name}: expected booleans or numbers, got {checks.short(found)}")
    return found.astype(bool)


def pieces(sequences: Tree, length: int, *, every: int | None = None) -> Tree:
    """Cuts long sequences into pieces, as rows of their own: [T, B, ...] -> [length, n * B, ...].

    Row p * B + b is piece p of row b: steps p * every ... p * every + length - 1. Make resets from the whole sequence,
    and cut them like the rest: a piece that begins right after a done step then begins with a reset.

    Args:
      sequences: a tree of arrays [T, B, ...].
      length: steps of a piece. For `burn_in=k`, k steps plus the steps that are learned from.
      every: steps from the start of one piece to the start of the next; (T - length) has to be a multiple of it. None:
        `length`, so that the pieces do not overlap.

    Returns:
      A tree of arrays [length, n * B, ...].

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> xs = jnp.arange(8).reshape(4, 2)  # two rows of four steps
      >>> jaxrnn.data.pieces(xs, 2).tolist()
      [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    sequences = _steps("sequences", sequences)
    starts = _starts(jax.tree.leaves(sequences)[0].shape[0], length, every)

    def cut(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x[start : start + length] for start in starts], axis=1)

    return jax.tree.map(cut, sequences)


def carries(carry: Tree, states: Tree, length: int, *, every: int | None = None) -> Tree:
    """The carry before each of the `pieces` of a sequence, from the states after its steps.

    Args:
      carry: the state before the first step, arrays [B, ...].
      states: the carry after each step, [T, B, ...], from `unroll(states=True)` or stored during the rollout.
      length, every: as for `pieces`.

    Returns:
      A tree of arrays [n * B, ...].

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((12, 2, 3))
      >>> start = cell.initial_carry(params, (2,))
      >>> _, _, states = jaxrnn.unroll(cell, params, xs, start, states=True)
      >>> starts = jaxrnn.data.carries(start, states, 4)
      >>> carry, ys = jaxrnn.unroll(cell, params, jaxrnn.data.pieces(xs, 4), starts)
      >>> starts.shape, ys.shape
      ((6, 8), (4, 6, 8))
    """
    states = _steps("states", states)
    starts = _starts(jax.tree.leaves(states)[0].shape[0], length, every)
    checks.same_tree("carry", carry, jax.tree.map(lambda x: x[0], states))

    def before(x: jax.typing.ArrayLike, after: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.asarray(x), *(after[start - 1] for start in starts[1:])])

    return jax.tree.map(before, carry, states)


def _steps(name: str, tree: Tree) -> Tree:
    tree = jax.tree.map(lambda x: checks.array(name, x), tree)
    shapes = {x.shape[:2] for x in jax.tree.leaves(tree)}
    if len(shapes) != 1 or len(next(iter(shapes))) < 2:
        raise ValueError(f"{name}: expected arrays [T, B, ...] of the same steps and rows, got shapes {sorted(shapes)}")
    return tree


def _starts(T: int, length: int, every: int | None) -> range:
    length = checks.positive_int("length", length)
    every = length if every is None else checks.positive_int("every", every)
    if length > T:
        raise ValueError(f"length: expected at most the T = {T} steps, got {length}")
    if (T - length) % every:
        raise ValueError(
            f"length: expected pieces of {length} steps, every {every}, to end with the T = {T} steps, got a rest of "
            f"{(T - length) % every} steps"
        )
    return range(0, T - length + 1, every)
