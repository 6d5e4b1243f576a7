"""The one driver: a cell over a sequence."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn import checks
from jaxrnn.gradients.autodiff import Autodiff
from jaxrnn.gradients.masks import zero_unless
from jaxrnn.gradients.reverse_scan import reverse_scan
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree


def unroll(
    cell: Cell,
    params: Params,
    xs: Any,
    carry: Tree = None,
    lengths: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    gradient: Gradient | None = None,
) -> tuple[Tree, Any]:
    """Runs a cell over a sequence: (carry, y[t]) = step(params, carry, x[t]) for t = 0 ... T-1.

    Args:
      cell: a Cell.
      params: its parameters, as `cell.init` returns them.
      xs: [T, D], [T, B, D], or with more batch axes between time and features.
      carry: the state before the first step; None for `cell.initial_carry`. The final carry of one unroll, handed to
        the next, continues it: two halves equal one whole.
      lengths: integers [*batch_shape]; None: all rows have T steps. A row ends at its own length: its carry is held
        from there, its outputs are zero, its padding (NaN included) reaches nothing. Length 0 returns the initial
        carry. Lengths above T or below 0 are an error if they are NumPy or Python values; traced values or arrays on a
        device can't be looked at: there they count as T and 0.
      resets: bool [T, *batch_shape]; True marks an episode's first step: before it the carry becomes the initial one,
        never `carry`. None: no episode ends.
      reverse: read from each row's last step to its first; ys[t] still belongs to x[t]. Episodes then restart at their
        last step; the last one starts from `carry`.
      key: a random key for the cell's noise (dropout, zoneout, process noise). None means evaluation.
      gradient: how to differentiate through time; None is `reverse_scan()`. The values do not depend on it.

    Returns:
      (carry, ys): the state after each row's last step, and the outputs [T, *batch_shape, H].

    Raises:
      ValueError, TypeError: an argument has the wrong shape, type or value, and which, while tracing.
    """
    gradient = reverse_scan() if gradient is None else gradient
    checks.instance("cell", cell, Cell, "make one with jr.lstm, jr.gru, jr.elman, jr.gated_cell or jr.cell")
    checks.instance("gradient", gradient, Gradient, "such as jr.reverse_scan() or jr.autodiff()")
    checks.flag("reverse", reverse)
    xs = checked_inputs(cell, xs)
    checked_params(cell, params)
    T, *rest = xs.shape
    batch_shape = tuple(rest[:-1])
    initial = cell.initial_carry(params, batch_shape)
    carry = initial if carry is None else checks.array_tree("carry", carry, initial)
    valid = None if lengths is None else valid_steps(lengths, T, batch_shape)
    if valid is not None:
        xs = _without_padding(xs, valid)
    if resets is not None:
        resets = checked_resets(resets, T, batch_shape)
        resets = resets if valid is None else resets & valid
    noise = None if key is None else cell.noise(checks.key("key", key), T, batch_shape)
    if valid is not None or resets is not None:
        _check_rows(initial, batch_shape)

    if reverse:
        if resets is not None:  # x[t+1] begins an episode: going back, x[t] does
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        xs, valid, resets = jax.tree.map(lambda x: jnp.flip(x, 0), (xs, valid, resets))
    inputs = Inputs(Step(xs, noise, valid, resets), None if resets is None else initial)
    _check_step(cell, params, carry, inputs.steps, gradient)
    try:
        carry, ys = gradient.run(cell, params, carry, inputs)
    except TypeError as error:
        if "forward-mode" in str(error) and "custom_vjp" in str(error):
            raise TypeError(
                f"gradient: expected autodiff() under forward-mode differentiation (jax.jvp, jax.jacfwd, "
                f"jax.linearize), got {gradient}, which has a reverse-mode rule only"
            ) from error
        raise
    return carry, jax.tree.map(lambda y: jnp.flip(y, 0), ys) if reverse else ys


def checked_inputs(cell: Cell, xs: Any) -> jax.Array:
    """An array [T, *batch_shape, D] that fits the cell."""
    xs, (D, _) = checks.array("xs", xs), cell.features
    shape = f"[T, ..., {'D' if D is None else D}]"
    if xs.ndim < 2:
        raise ValueError(f"xs: expected an array {shape}, got {checks.short(xs)}")
    if xs.shape[0] < 1:
        raise ValueError(f"xs: expected at least one time step, {shape}, got {checks.short(xs)}")
    if D is None:
        return xs
    if xs.shape[-1] != D:
        raise ValueError(f"xs: expected {D} features on the last axis, {shape}, got {checks.short(xs)}")
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise TypeError(f"xs: expected floating-point numbers, {shape}, got {checks.short(xs)}")
    return xs


def checked_params(owner: Any, params: Params) -> None:
    """Raises unless `params` have the structure and shapes that `owner.init` makes."""
    checks.same_tree("params", params, jax.eval_shape(owner.init, jax.random.key(0)))


def checked_resets(resets: Any, T: int, batch_shape: tuple[int, ...]) -> jax.Array:
    """Episode starts, bool [T, *batch_shape]."""
    resets = checks.array("resets", resets)
    if resets.shape != (T, *batch_shape):
        raise ValueError(f"resets: expected shape {(T, *batch_shape)}, got {checks.short(resets)}")
    if resets.dtype != bool:
        raise TypeError(f"resets: expected booleans, got {checks.short(resets)}")
    return resets


def valid_steps(lengths: Any, T: int, batch_shape: tuple[int, ...]) -> jax.Array:
    """Whether step t is within its row, bool [T, *batch_shape]; checks `lengths`."""
    known = not any(isinstance(x, jax.Array) for x in jax.tree.leaves(lengths))
    lengths_ = checks.array("lengths", lengths)
    if lengths_.shape != batch_shape:
        raise ValueError(f"lengths: expected shape {batch_shape}, got {checks.short(lengths_)}")
    if not jnp.issubdtype(lengths_.dtype, jnp.integer):
        raise TypeError(f"lengths: expected integers, got {checks.short(lengths_)}")
    if known and lengths_.size and (np.min(lengths) < 0 or np.max(lengths) > T):
        raise ValueError(f"lengths: expected values from 0 to T = {T}, got {np.min(lengths)} to {np.max(lengths)}")
    steps = jnp.arange(T, dtype=lengths_.dtype).reshape(T, *(1,) * len(batch_shape))
    return steps < lengths_[None]


def _check_step(cell: Cell, params: Params, carry: Tree, steps: Step, gradient: Gradient) -> None:
    """Raises if the step returns another kind of carry than it takes, or closes over what it can't."""
    at_0 = jax.tree.map(lambda x: x[0], (steps.x, steps.noise))
    jaxpr, (after, _) = jax.make_jaxpr(type(cell).step, return_shape=True)(cell, params, carry, *at_0)
    checks.array_tree("step: carry", after, jax.eval_shape(lambda x: x, carry))
    # jit's own tracers may be closed over, those of grad and vmap may not: a custom rule does not see them.
    closed = [x for x in jaxpr.consts if isinstance(x, Tracer) and "Dynamic" not in type(x).__name__]
    if closed and not isinstance(gradient, Autodiff):
        raise ValueError(
            f"step: expected a function that closes over no traced value under {gradient}, got one that closes over "
            f"{closed[0].aval}; hand it in as an argument of jax.tree_util.Partial, or use autodiff()"
        )


def _without_padding(xs: jax.Array, valid: jax.Array) -> jax.Array:
    """Padding replaced by the row's first input: a value for which the cell's step is known to be finite."""
    return jnp.where(valid[..., None], xs, zero_unless(valid[0], xs[0])[None])


def _check_rows(initial: Tree, batch_shape: tuple[int, ...]) -> None:
    for path, x in jax.tree_util.tree_leaves_with_path(initial):
        if jnp.shape(x)[: len(batch_shape)] != batch_shape:
            raise ValueError(
                f"initial_carry{jax.tree_util.keystr(path)}: expected a leading shape {batch_shape}, one entry a row, "
                f"as lengths and resets need it, got {checks.short(x)}"
            )
