"""The one driver: a cell over a sequence."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import arguments, checks
from jaxrnn.compiled import compiled
from jaxrnn.gradients.reverse_scan import default
from jaxrnn.primitives.primitive import varying_alike
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

    It is compiled at its first call; a second one with an equal cell, options and shapes runs the same program.

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
      gradient: how to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()`
        for any other. The values do not depend on it.

    Returns:
      (carry, ys): the state after each row's last step, and the outputs [T, *batch_shape, H].

    Raises:
      ValueError, TypeError: an argument has the wrong shape, type or value, and which, while tracing.
    """
    checks.instance(
        "cell", cell, Cell, "make one with jaxrnn.lstm, jaxrnn.gru, jaxrnn.elman, jaxrnn.gated_cell or jaxrnn.cell"
    )
    if jax.tree_util.all_leaves([cell]):
        kind = type(cell).__name__
        raise TypeError(f"cell: expected one whose class is a JAX pytree (jaxrnn.types.pytree makes it), got a {kind}")
    gradient = default(cell) if gradient is None else gradient
    checks.instance("gradient", gradient, Gradient, "such as jaxrnn.reverse_scan() or jaxrnn.autodiff()")
    options = arguments.checked_options(xs, carry, lengths, resets, reverse, key)
    run = inspect.unwrap(_unroll) if gradient.has_effects else _unroll
    with checks.forward_mode(gradient):
        return run(cell, params, gradient=gradient, **options)


@compiled
def _unroll(
    cell: Cell,
    params: Params,
    xs: Any,
    carry: Tree,
    lengths: Any,
    resets: Any,
    key: jax.Array | None,
    gradient: Gradient,
    *,
    reverse: bool,
) -> tuple[Tree, Any]:
    xs = arguments.checked_inputs(cell, xs)
    arguments.checked_params(cell, params)
    T, *rest = xs.shape
    batch_shape = tuple(rest[:-1])
    initial = cell.initial_carry(params, batch_shape)
    initial = jax.tree.map(lambda x: checks.array("initial_carry", x), initial)
    carry = initial if carry is None else checks.array_tree("carry", carry, initial)
    valid = None if lengths is None else arguments.valid_steps(lengths, T, batch_shape)
    if valid is not None:
        xs = _without_padding(xs, valid)
    if resets is not None:
        resets = arguments.checked_resets(resets, T, batch_shape)
        resets = resets if valid is None else resets & valid
    noise = None if key is None else arguments.checked_noise(cell.noise(key, T, batch_shape), T)
    if valid is not None or resets is not None:
        arguments.check_rows("initial_carry", initial, batch_shape)
    if reverse:
        if resets is not None:  # x[t+1] begins an episode: going back, x[t] does
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        xs, valid, resets = jax.tree.map(lambda x: jnp.flip(x, 0), (xs, valid, resets))
    inputs = Inputs(Step(xs, noise, valid, resets), None if resets is None else initial)
    cell, params, carry, inputs = varying_alike((cell, params, carry, inputs))
    y = arguments.checked_output(cell, params, carry, inputs.steps, gradient)
    if valid is not None:
        arguments.check_rows("step: y", y, batch_shape)
    carry, ys = gradient.run(cell, params, carry, inputs)
    return carry, jax.tree.map(lambda y: jnp.flip(y, 0), ys) if reverse else ys


def _without_padding(xs: jax.Array, valid: jax.Array) -> jax.Array:
    """Padding replaced by the row's first input, or another row's if it is empty: one that the cell is meant for."""
    if 0 in valid.shape:
        return xs
    first, some = xs[0], jnp.argmax(valid[0].reshape(-1))
    other = xs[0].reshape(-1, xs.shape[-1])[some].reshape((1,) * (first.ndim - 1) + first.shape[-1:])
    other = jnp.where(valid.any(), other, jnp.zeros_like(other))
    return jnp.where(valid[..., None], xs, jnp.where(valid[0][..., None], first, other)[None])
