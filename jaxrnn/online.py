"""Online learning: the gradient at every step, without a stored past."""

from collections.abc import Callable
from typing import Literal

import jax

from jaxrnn import arguments, checks
from jaxrnn.compiled import compiled
from jaxrnn.float_leaves import cotangent, floats
from jaxrnn.gradients.rtrl import RULES, check_step
from jaxrnn.influences.exact import Influence
from jaxrnn.types import Cell, Params, Tree

__all__ = ["rtrl_start", "rtrl_step"]


def rtrl_start(
    cell: Cell, params: Params, batch_shape: tuple[int, ...] = (), *, sparsity: Literal["snap1"] | None = None
) -> tuple[Tree, Influence]:
    """The carry and the influence before the first step of a stream, for `rtrl_step`.

    Args:
      cell: a Cell.
      params: its parameters.
      batch_shape: the axes of x[t] before its features.
      sparsity: as in `rtrl`.

    Returns:
      (carry, influence): the initial carry, and its derivative by the parameters (zero unless it is learned).

    Raises:
      ValueError, TypeError: an argument does not fit, or the cell does not allow this sparsity.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(2, 3)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, influence = jaxrnn.online.rtrl_start(cell, params, (4,))
      >>> carry.shape
      (4, 3)
    """
    _check(cell, params, sparsity)
    checks.instance("batch_shape", batch_shape, tuple, "such as (8,), or () for one row")
    return _start(cell, params, tuple(checks.positive_int("batch_shape", size) for size in batch_shape), sparsity)


@compiled
def _start(cell: Cell, params: Params, batch_shape: tuple[int, ...], sparsity: str | None) -> tuple[Tree, Influence]:
    rule = RULES[sparsity]
    carry = cell.initial_carry(params, batch_shape)
    rule.check(cell, params, carry)
    return carry, Influence(rule.of_initial(cell, params, batch_shape), [])


def rtrl_step(
    cell: Cell,
    params: Params,
    carry: Tree,
    influence: Influence,
    x: checks.ArrayLike,
    loss: Callable[[Tree], jax.Array],
    *,
    noise: Tree = None,
    sparsity: Literal["snap1"] | None = None,
) -> tuple[Tree, Influence, Tree, Params]:
    """One step of real-time recurrent learning: the gradient of this step's loss through the whole past.

    Memory and time do not depend on the number of steps: O(B * H * P) and O(B * H^2 * P) for P parameters, or O(B * P)
    with "snap1". Parameters may change between steps; the influence of the past then stays that of the parameters it
    was computed with, as in Williams and Zipser.

    Args:
      cell: a Cell.
      params: its parameters.
      carry, influence: from `rtrl_start` or the step before.
      x: the input of this step, [*batch_shape, D].
      loss: y -> scalar, this step's loss; it may close over a target, and over the parameters of a readout, whose own
        gradient is `jax.grad`'s at the y that is returned. Outside of `jax.jit`, a new function at each step compiles
        at each step: make it once, and hand a target in by `jax.tree_util.Partial(loss, target)`.
      noise: this step's noise, as `cell.noise` draws it; None in evaluation.
      sparsity: as in `rtrl`, the same at all steps.

    Returns:
      (carry, influence, y, grads): the state after the step, its dependence on the parameters, the output, and the
      gradient of loss(y) with respect to the parameters, a tree like them.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it. Raised while tracing.

    References:
      Williams and Zipser 1989, A learning algorithm for continually running fully recurrent neural networks, Neural
      Computation 1(2); Menick et al. 2021, arXiv:2006.07232 (SnAp).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(2, 3)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, influence = jaxrnn.online.rtrl_start(cell, params)
      >>> def loss(y):
      ...     return (y**2).sum()
      >>> for x in jax.numpy.ones((5, 2)):
      ...     carry, influence, y, grads = jaxrnn.online.rtrl_step(cell, params, carry, influence, x, loss)
      ...     params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
      >>> grads["w_h"].shape
      (3, 3)
    """
    _check(cell, params, sparsity)
    checks.function("loss", loss, "y")
    return _step(cell, params, carry, influence, arguments.checked_step_input(cell, x), loss, noise, sparsity)


@compiled
def _step(
    cell: Cell,
    params: Params,
    carry: Tree,
    influence: Influence,
    x: jax.Array,
    loss: Callable[[Tree], jax.Array],
    noise: Tree,
    sparsity: str | None,
) -> tuple[Tree, Influence, Tree, Params]:
    rule = RULES[sparsity]
    initial = cell.initial_carry(params, x.shape[:-1])
    carry = checks.array_tree("carry", carry, initial)
    rule.check(cell, params, carry)
    started = jax.eval_shape(lambda: _start(cell, params, x.shape[:-1], sparsity)[1])
    try:
        checks.same_tree("influence", influence, started)
    except (ValueError, TypeError) as error:
        made_by = f"rtrl_start(cell, params, {x.shape[:-1]}, sparsity={sparsity!r})"
        raise type(error)(f"influence: expected what {made_by} makes, got another: {error}") from None
    if noise is not None:
        drawn = jax.eval_shape(lambda: cell.noise(jax.random.key(0), 1, x.shape[:-1]))
        one = jax.tree.map(lambda n: jax.ShapeDtypeStruct(n.shape[1:], n.dtype), drawn)
        checks.same_tree("noise", noise, one)
    check_step(cell, params, carry, x, noise)
    after, y = cell.step(params, carry, x, noise)
    influence_after = rule.advance(cell, params, influence, carry, x, noise)
    d_y = floats(jax.grad(lambda y: checks.scalar("loss", loss(y)), allow_int=True)(y))
    found, _ = rule.observe(cell, params, (influence, influence_after), (carry, after), x, noise, d_y)
    leaves = floats(params)
    grads = [g.astype(a.dtype) for g, a in zip(found[len(found) - len(leaves) :], leaves, strict=True)]
    return after, influence_after, y, cotangent(params, grads)


def _check(cell: Cell, params: Params, sparsity: str | None) -> None:
    checks.instance("cell", cell, Cell)
    arguments.checked_params(cell, params)
    checks.one_of("sparsity", sparsity, tuple(RULES))


def __dir__() -> list[str]:
    return __all__
