"""The one driver: a cell over a sequence."""

import inspect
from typing import Literal, overload

import jax
import jax.numpy as jnp

from jaxrnn import arguments, checks
from jaxrnn.compiled import compiled
from jaxrnn.gradients.reverse_scan import default
from jaxrnn.masks import over
from jaxrnn.primitives.primitive import varying_alike
from jaxrnn.states import with_states
from jaxrnn.types import Call, Carries, Cell, Gradient, Inputs, Params, Step, Tree, rows_and_steps
from jaxrnn.validity import at_steps, combined, last_true


@overload
def unroll(
    cell: Cell, params: Params, xs: Tree, carry: Tree = None, lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None, reverse: bool = False, key: jax.Array | None = None,
    gradient: Gradient | None = None, *, mask: checks.ArrayLike | None = None, states: Literal[False] = False,
    burn_in: int = 0, time_major: bool = True,
) -> tuple[Tree, Tree]: ...  # fmt: skip


@overload
def unroll(
    cell: Cell, params: Params, xs: Tree, carry: Tree = None, lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None, reverse: bool = False, key: jax.Array | None = None,
    gradient: Gradient | None = None, *, mask: checks.ArrayLike | None = None, states: bool,
    burn_in: int = 0, time_major: bool = True,
) -> tuple[Tree, Tree, *tuple[Tree, ...]]: ...  # fmt: skip


def unroll(
    cell: Cell,
    params: Params,
    xs: Tree,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    gradient: Gradient | None = None,
    *,
    mask: checks.ArrayLike | None = None,
    states: bool = False,
    burn_in: int = 0,
    time_major: bool = True,
) -> tuple[Tree, Tree, *tuple[Tree, ...]]:
    """Runs a cell over a sequence: (carry, y[t]) = step(params, carry, x[t]) for t = 0 ... T-1.

    The first call compiles; a second call with an equal cell, equal options and shapes runs the same program.

    Args:
      cell: a Cell.
      params: its parameters, as `cell.init` returns them.
      xs: [T, D], [T, B, D], or with more batch axes between time and features. A cell of your own may read a tree (a
        dict, a tuple, ...) of such arrays, whose batch axes are those of the array of fewest axes.
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
      gradient: the way to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()` for any
        other. All give the same values.
      mask: bool [T, *batch_shape]; where it is False, a row has no step: its carry is held, its output is zero, its
        input reaches nothing. An episode may start there. None: no holes.
      states: return the carry after every step, too.
      burn_in: the number of steps at the start that are read without a gradient; the carry before them has none.
      time_major: False: xs, resets, mask, outputs and states have the rows on axis 0 and time on axis 1, [B, T, ...].

    Returns:
      (carry, ys): the state after each row's last step, and the outputs [T, *batch_shape, H]. With `states`
      (carry, ys, states): a tree like the carry whose arrays have a leading axis T; an LSTM's has h and c.

    Raises:
      ValueError, TypeError: an argument has the wrong shape, type or value; the message names it. Raised while tracing.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, ys, states = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 2, 3)), states=True)
      >>> ys.shape, carry.c.shape, states.c.shape
      ((5, 2, 8), (2, 8), (5, 2, 8))
    """
    checks.instance("cell", cell, Cell, "make one with jaxrnn.lstm, jaxrnn.gru, jaxrnn.gated_cell or jaxrnn.cell")
    if jax.tree_util.all_leaves([cell]):
        kind = type(cell).__name__
        raise TypeError(f"cell: expected one whose class is a JAX pytree (jaxrnn.extend.pytree makes it), got a {kind}")
    gradient = default(cell) if gradient is None else gradient
    checks.instance("gradient", gradient, Gradient, "such as jaxrnn.reverse_scan() or jaxrnn.autodiff()")
    for name, flag in (("states", states), ("time_major", time_major)):
        checks.flag(name, flag)
    checks.arrays("params", params)
    checks.arrays("carry", carry)
    options = arguments.checked_options(cell, xs, carry, lengths, resets, reverse, key, mask, time_major)
    least = 1 + (not time_major) + (cell.features[0] is not None)
    burn_in = checks.burn_in(burn_in, checks.steps("xs", options["xs"], time_major, least))
    if burn_in and reverse:
        raise ValueError(f"burn_in: expected 0 with reverse, which reads those steps last, got {burn_in}")
    run = inspect.unwrap(_unroll) if gradient.has_effects else _unroll
    with checks.forward_mode(gradient):
        return run(cell, params, gradient=gradient, states=states, burn_in=burn_in, time_major=time_major, **options)


@compiled
def _unroll(
    cell: Cell,
    params: Params,
    xs: Tree,
    carry: Tree,
    lengths: jax.Array | None,
    mask: jax.Array | None,
    resets: jax.Array | None,
    key: jax.Array | None,
    gradient: Gradient,
    *,
    reverse: bool,
    states: bool,
    burn_in: int,
    time_major: bool,
) -> tuple[Tree, Tree, *tuple[Tree, ...]]:
    if not time_major:
        xs, mask, resets = jax.tree.map(rows_and_steps, (xs, mask, resets))
    xs = arguments.checked_inputs(cell, xs)
    arguments.checked_params(cell, params)
    T, batch_shape = arguments.steps_and_rows(xs)
    initial = cell.initial_carry(params, batch_shape)
    initial = jax.tree.map(lambda x: checks.array("initial_carry", x), initial)
    carry = initial if carry is None else checks.array_tree("carry", carry, initial)
    valid, resets = combined(T, batch_shape, lengths, mask, resets)
    if valid is not None:
        xs = _without_padding(xs, valid)
    noise = None if key is None else arguments.checked_noise(cell.noise(key, T, batch_shape), T)
    if valid is not None or resets is not None:
        arguments.check_rows("initial_carry", initial, batch_shape)
    if reverse:
        if resets is not None:  # where x[t+1] begins an episode, x[t] begins one in reverse order
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        xs, valid, resets = jax.tree.map(lambda x: jnp.flip(x, 0), (xs, valid, resets))
    inputs = Inputs(Step(xs, noise, valid, resets), None if resets is None else initial)
    cell, params, carry, inputs = varying_alike((cell, params, carry, inputs))
    runs = with_states(cell) if states else cell
    y = arguments.checked_output(cell, params, carry, inputs.steps, gradient)
    if valid is not None:
        arguments.check_rows("step: y", y, batch_shape)
    final, ys = _run(gradient, runs, params, carry, inputs, burn_in)
    kept = None
    if states:
        ys, kept = ys
        kept = kept if valid is None else _held(kept, carry, inputs)
    if reverse:
        ys, kept = jax.tree.map(lambda y: jnp.flip(y, 0), (ys, kept))
    if not time_major:
        ys, kept = jax.tree.map(rows_and_steps, (ys, kept))
    return (final, ys, kept) if states else (final, ys)


def run_layer(
    cell: Cell,
    params: Params,
    xs: Tree,
    carry: Tree,
    call: Call,
    *,
    gradient: Gradient | None = None,
    reverse: bool = False,
) -> tuple[Tree, Tree]:
    """Runs a cell as a layer of a model, with the options of the model's call; returns (carry, ys) like `Model.run`.

    Args:
      cell, params, xs, carry, reverse: as for `unroll`.
      call: the argument of `Model.run`.
      gradient: the layer's own; a gradient in the call comes first.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Twice(jaxrnn.Model):  # two passes of one cell
      ...     cell: jaxrnn.Cell = jaxrnn.extend.leaf()
      ...
      ...     def init(self, key):
      ...         return self.cell.init(key)
      ...
      ...     def run(self, params, carry, xs, call):
      ...         _, xs = jaxrnn.extend.run_layer(self.cell, params, xs, None, call)
      ...         return jaxrnn.extend.run_layer(self.cell, params, xs, None, call)
      >>> model = Twice(jaxrnn.gru(8, 8))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2, 8)), lengths=[5, 3])
      >>> ys.shape
      (5, 2, 8)
    """
    checks.instance("call", call, Call, "the argument of Model.run")
    carry, ys, *states = unroll(
        cell, params, xs, carry, call.lengths, call.resets, reverse, call.key, call.gradient or gradient,
        mask=call.mask, states=call.states, burn_in=call.burn_in,
    )  # fmt: skip
    if not states:
        return carry, ys
    return Carries(carry, states[0] if call.time_major else jax.tree.map(rows_and_steps, states[0])), ys


def _run(
    gradient: Gradient, cell: Cell, params: Params, carry: Tree, inputs: Inputs, burn_in: int
) -> tuple[Tree, Tree]:
    """Runs all steps, the first few of them without a gradient."""
    if not burn_in:
        return gradient.run(cell, params, carry, inputs)
    first = inputs._replace(steps=jax.tree.map(lambda x: x[:burn_in], inputs.steps))
    rest = inputs._replace(steps=jax.tree.map(lambda x: x[burn_in:], inputs.steps))
    carry, before = gradient.run(*jax.tree.map(jax.lax.stop_gradient, (cell, params, carry, first)))
    carry, after = gradient.run(cell, params, carry, rest)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), before, after)


def _held(states: Tree, start: Tree, inputs: Inputs) -> Tree:
    """The carries after all steps, from those after valid steps; elsewhere they are held, or initial after a reset."""
    valid, reset = inputs.steps.valid, inputs.steps.reset
    assert valid is not None
    at = last_true(valid)
    fresh = jnp.zeros_like(valid) if reset is None else last_true(reset) > at

    def held(x: jax.Array, before: jax.Array, initial: jax.Array) -> jax.Array:
        x = jnp.where(over(at >= 0, x), at_steps(x, jnp.maximum(at, 0)), before[None])
        return jnp.where(over(fresh, x), initial[None], x)

    return jax.tree.map(held, states, start, start if reset is None else inputs.initial)


def _without_padding(xs: Tree, valid: jax.Array) -> Tree:
    """Replaces padding by an input that the cell is meant for: the row's first one, or another row's if it has none."""
    if 0 in valid.shape:
        return xs
    has, at = valid.any(0), jnp.argmax(valid, 0).astype(jnp.int32)
    some = jnp.argmax(has.reshape(-1))

    def filled(x: jax.Array) -> jax.Array:
        first = at_steps(x, at[None])[0]
        other = first.reshape(-1, *first.shape[has.ndim :])[some].reshape((1,) * has.ndim + first.shape[has.ndim :])
        other = jnp.where(has.any(), other, jnp.zeros_like(other))
        return jnp.where(over(valid, x), x, jnp.where(over(has, first), first, other)[None])

    return jax.tree.map(filled, xs)
