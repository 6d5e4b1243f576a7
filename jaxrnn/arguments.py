"""Checks of the arguments of `unroll`, models and losses."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell
from jaxrnn.gradients.autodiff import Autodiff
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.shapes import once_by_shapes
from jaxrnn.types import Cell, Gradient, Model, Params, Step, Tree


def checked_inputs(cell: Cell, xs: Tree) -> jax.Array:
    """The inputs as an array [T, *batch_shape, D] that fits the cell; a cell that leaves D open also reads a tree."""
    D, _ = cell.features
    if D is None and not hasattr(xs, "shape"):
        return _checked_trees(xs)
    xs = checks.array("xs", xs)
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


def _checked_trees(xs: Tree) -> Tree:
    """Arrays [T, *batch_shape, ...] of the same steps and rows."""
    found = jax.tree_util.tree_leaves_with_path(xs)
    if not found:
        raise ValueError(f"xs: expected an array or a tree of arrays, got {checks.short(xs)}")
    axes = min(x.ndim for _, x in found) - 1
    lead = found[0][1].shape[:axes]
    for path, x in found:
        if axes < 1 or not x.shape[0] or x.shape[:axes] != lead:
            name = f"xs{jax.tree_util.keystr(path)}"
            expected = ", ".join(["T", *map(str, lead[1:])])
            raise ValueError(f"{name}: expected an array [{expected}, ...] of at least one step, got {checks.short(x)}")
    return xs


def steps_and_rows(xs: Tree) -> tuple[int, tuple[int, ...]]:
    """(T, batch_shape) of checked inputs."""
    shortest = min(jax.tree.leaves(xs), key=lambda x: x.ndim)
    return shortest.shape[0], shortest.shape[1:-1]


def checked_step_input(cell: Cell, x: checks.ArrayLike) -> jax.Array:
    """An array [*batch_shape, D] that fits the cell."""
    x, (D, _) = checks.array("x", x), cell.features
    if x.ndim < 1 or (D is not None and x.shape[-1] != D):
        raise ValueError(f"x: expected an array [..., {'D' if D is None else D}], got {checks.short(x)}")
    if D is not None and not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: expected floating-point numbers, got {checks.short(x)}")
    return x


def checked_sequence(xs: checks.ArrayLike) -> jax.Array:
    """Any array [T, ...]."""
    xs = checks.array("xs", xs)
    if xs.ndim < 1 or xs.shape[0] < 1:
        raise ValueError(f"xs: expected an array [T, ...] of at least one time step, got {checks.short(xs)}")
    return xs


def checked_options(
    cell: Cell | Model, xs: Tree, carry: Tree, lengths: checks.ArrayLike | None, resets: checks.ArrayLike | None,
    reverse: bool, key: jax.Array | None, mask: checks.ArrayLike | None = None, time_major: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Checks values that are known only outside of `jax.jit`; returns the options of `unroll` by name."""
    checks.flag("reverse", reverse)
    if isinstance(cell, (Cell, Model)) and cell.features[0] is None and isinstance(xs, (tuple, dict)):
        xs = jax.tree_util.tree_map_with_path(lambda path, x: checks.array(f"xs{jax.tree_util.keystr(path)}", x), xs)
    else:
        xs = checks.array("xs", xs)
    return {
        "xs": xs,
        "carry": carry,
        "lengths": None if lengths is None else checks.lengths(lengths, checks.steps("xs", xs, time_major)),
        "resets": None if resets is None else checks.array("resets", resets),
        "mask": None if mask is None else checks.array("mask", mask),
        "reverse": bool(reverse),
        "key": None if key is None else checks.key("key", key),
    }


def checked_outputs(ys: Tree, axes: int) -> jax.Array:
    """Floating-point numbers [..., O] with at least `axes` axes, none of them empty."""
    if isinstance(ys, (dict, tuple)):
        hint = "a loss is called as loss(ys, batch)" if isinstance(ys, dict) else "a model's apply returns (carry, ys)"
        raise TypeError(f"ys: expected an array, the outputs, got {checks.short(ys)}; {hint}")
    ys = checks.array("ys", ys)
    if not jnp.issubdtype(ys.dtype, jnp.floating):
        raise TypeError(f"ys: expected floating-point numbers, got {checks.short(ys)}")
    if ys.ndim < axes or 0 in ys.shape:
        raise ValueError(f"ys: expected an array [T, ..., O] of at least one time step, got {checks.short(ys)}")
    return ys


def checked_logits(ys: Tree, blank: int) -> jax.Array:
    """An array [T, ..., O], one of whose O classes is the blank."""
    ys = checked_outputs(ys, 2)
    if not checks.is_integer(blank) or not 0 <= blank < ys.shape[-1]:
        raise ValueError(f"blank: expected a class from 0 to {ys.shape[-1] - 1}, got {blank!r}")
    return ys


def at_least_float32(x: jax.Array) -> jax.Array:
    """Casts half precision to float32, in which sums of logarithms keep enough digits; other dtypes stay."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def checked_params(owner: Cell | Model, params: Params) -> None:
    """Raises unless `params` have the structure and shapes that `owner.init` makes."""
    known = not jax.tree_util.all_leaves([owner])  # a user's model may not be a pytree
    expected = _expected_params(owner) if known else jax.eval_shape(lambda: owner.init(jax.random.key(0)))
    checks.same_tree("params", params, expected)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(y.dtype, jnp.floating) and not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            name = f"params{jax.tree_util.keystr(path)}"
            raise TypeError(f"{name}: expected floating-point numbers, got {checks.short(jnp.asarray(x))}")


@once_by_shapes
def _expected_params(owner: Cell | Model) -> Params:
    return jax.eval_shape(lambda owner: owner.init(jax.random.key(0)), owner)


def check_rows(name: str, tree: Tree, batch_shape: tuple[int, ...]) -> None:
    """Raises unless each array has an entry for each row."""
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.shape(x)[: len(batch_shape)] != batch_shape:
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)}: expected a leading shape {batch_shape}, one entry a row, as "
                f"lengths and resets need it, got {checks.short(x)}"
            )


def checked_noise(noise: Tree, T: int) -> Tree:
    """The noise that a cell drew: each array has a leading axis T."""
    for path, x in jax.tree_util.tree_leaves_with_path(noise):
        if jnp.shape(x)[:1] != (T,):
            name = f"noise{jax.tree_util.keystr(path)}"
            raise ValueError(f"{name}: expected a leading axis of T = {T} steps, got {checks.short(x)}")
    return noise


def checked_output(cell: Cell, params: Params, carry: Tree, steps: Step, gradient: Gradient) -> Tree:
    """The shapes of one step's output; raises if the step's results do not fit, or if it closes over traced values."""
    x, noise = jax.tree.map(lambda x: x[0], (steps.x, steps.noise))
    if isinstance(cell, GatedCell):
        _check_hidden(cell, carry, x.shape[:-1])

    def step(*arguments: Any) -> tuple[Tree, Tree]:
        found = type(cell).step(*arguments)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"step: expected it to return a tuple (carry, y), got {checks.short(found)}")
        return jax.tree.map(lambda x: checks.array("step: carry or y", x), found)

    jaxpr, (after, y) = jax.make_jaxpr(step, return_shape=True)(cell, params, carry, x, noise)
    checks.array_tree("step: carry", after, jax.eval_shape(lambda x: x, carry))
    # A step may close over tracers of jit, but not of grad and vmap, which a custom rule does not see.
    closed = [x for x in jaxpr.consts if isinstance(x, Tracer) and "Dynamic" not in type(x).__name__]
    if closed and not isinstance(gradient, Autodiff):
        raise ValueError(
            f"step: expected a function that closes over no traced value under {gradient}, got one that closes over "
            f"{closed[0].aval}; hand it in as an argument of jax.tree_util.Partial, or use autodiff()"
        )
    return y


def _check_hidden(cell: GatedCell, carry: Tree, batch_shape: tuple[int, ...]) -> None:
    h = jax.eval_shape(lambda carry: cell.hidden(carry), carry)
    if not hasattr(h, "shape"):
        raise TypeError(f"hidden: expected an array, got {checks.short(h)}")
    if h.shape != (*batch_shape, cell.H):
        raise ValueError(f"hidden: expected an array of shape {(*batch_shape, cell.H)}, got {checks.short(h)}")
