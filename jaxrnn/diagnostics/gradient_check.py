"""Comparison of every gradient of a cell or model with autodiff and with finite differences."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_inputs, checked_options, checked_params, steps_and_rows
from jaxrnn.cells.custom import CustomCell
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.random_product import random_product
from jaxrnn.diagnostics.table import table
from jaxrnn.driver import unroll
from jaxrnn.float_leaves import floats, paths, with_floats
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.gradients.checkpointed import checkpointed
from jaxrnn.gradients.reverse_scan import reverse_scan
from jaxrnn.gradients.rtrl import RTRL, has_forward_mode, rtrl
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.types import Cell, Gradient, Model, Params, Tree, rows_and_steps

EXACT = 1e-9
"""Tolerance on the relative error of a gradient that equals autodiff's, in float64."""
FINITE_DIFFERENCES = 1e-5
"""Tolerance on the relative error of a directional derivative by central differences, in float64."""
LARGEST_INFLUENCE = 10**7
"""The most entries of d carry / d parameters for which `rtrl()` is compared."""
STEP = 1e-5
"""The step length of finite differences."""
SHIFT = 1e-2
"""Standard deviation of the noise that is added to parameters, inputs and carries before the comparison."""
RESOLVED = 1e-5
"""A gradient below this share of the largest one is measured against that share. Rounding limits such a gradient: it is
a sum in which larger terms cancel, such as the gradient of a bias that a `batch_norm` removes."""
SMALL = 1e-4
"""A directional derivative below this share of the loss is measured against that share: finite differences can't
resolve smaller ones."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: `error` is the relative error of `gradient` against autodiff for one `parameter`."""

    gradient: str
    parameter: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


@dataclasses.dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradients`; prints as a table.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell, xs = jaxrnn.elman(2, 3), jax.numpy.ones((4, 2))
      >>> params, gradients = cell.init(jax.random.key(0)), (jaxrnn.truncated(1, 1),)  # another gradient on purpose
      >>> report = jaxrnn.check_gradients(cell, params, xs, gradients=gradients, directions=1)
      >>> report.ok, sorted({row.gradient for row in report.rows if not row.ok})
      (False, ['truncated(k1=1, k2=1)'])
    """

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """True if every row is within its tolerance."""
        return all(row.ok for row in self.rows)

    @property
    def max_error(self) -> float:
        """The largest relative error, that of the finite differences included; NaN if any is."""
        return float(np.max([row.error for row in self.rows]))

    def __str__(self) -> str:
        cells = [("gradient", "parameter", "relative error", "tolerance", "verdict")]
        for r in self.rows:
            cells.append((r.gradient, r.parameter, f"{r.error:.1e}", f"{r.tolerance:.0e}", "ok" if r.ok else "WRONG"))
        right = "all gradients agree with that of jax.grad through lax.scan"
        verdict = right if self.ok else "SOME GRADIENTS ARE WRONG"
        return "\n".join([*table(cells), verdict])


def check_gradients(
    cell_or_model: Cell | Model,
    params: Params,
    xs: Tree,
    *,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    mask: checks.ArrayLike | None = None,
    key: jax.Array | None = None,
    gradients: tuple[Gradient, ...] | None = None,
    directions: int = 4,
    time_major: bool = True,
) -> GradientReport:
    """Compares ways of differentiating a cell or model through time, on the user's own data.

    The loss is the inner product of the outputs and of the final carry with fixed random numbers. Its derivatives with
    respect to each parameter, the inputs and the initial carry are taken near the values given: normal numbers of
    standard deviation 0.01 move these away from kinks such as relu's at zero. All is computed in float64, whatever the
    session's default and the cell's dtypes, in three ways: by `autodiff()`, by each of `gradients`, and by central
    finite differences of the loss along random directions. Finite differences read only values, so they also find a
    wrong rule inside the user's own step, which all other ways share. The statistics of a `batch_norm`, which are not
    trained, stay as they are.

    Args:
      cell_or_model: a Cell or a Model.
      params: its parameters.
      xs: [T, ..., D], as for `unroll`, or other inputs of the model. A few steps and rows are enough.
      carry, lengths, resets, mask: as for `unroll`.
      key: if given, noise is drawn from it, the same for all.
      gradients: the gradients to compare with autodiff; None: all that should equal it: `reverse_scan()`,
        `checkpointed()` and, for a cell of moderate size whose step has a forward mode, `rtrl()`, which has no
        gradient for `xs`.
      directions: the number of random directions for each parameter.
      time_major: False: xs, resets and mask have the rows on axis 0 and time on axis 1.

    Returns:
      A GradientReport: `print` it; `report.ok`, `report.max_error`. The relative error is max|a - b| / max|b|, for each
      parameter; b is autodiff's gradient, and max|b| counts as at least 1e-5 of the largest one.

    Raises:
      ValueError, TypeError: as `unroll` does.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(2, 3)
      >>> report = jaxrnn.check_gradients(cell, cell.init(jax.random.key(0)), jax.numpy.ones((4, 2)))
      >>> report.ok, report.max_error < 1e-5
      (True, True)
    """
    checks.instance("cell_or_model", cell_or_model, (Cell, Model))
    checks.positive_int("directions", directions)
    if gradients is not None:
        for gradient in checks.instance("gradients", gradients, (tuple, list)):
            checks.instance("gradients", gradient, Gradient)
    checked_params(cell_or_model, params)
    if isinstance(cell_or_model, Cell):
        xs = checked_inputs(cell_or_model, xs)
    else:
        xs = checks.array("xs", xs) if xs is None else jax.tree.map(lambda x: checks.array("xs", x), xs)
    if cell_or_model.features[0] is not None and not jnp.issubdtype(jax.tree.leaves(xs)[0].dtype, jnp.floating):
        raise TypeError(f"xs: expected floating-point numbers, got {checks.short(xs)}")
    if not checks.flag("time_major", time_major):
        checks.steps("xs", xs, time_major, 2 + (cell_or_model.features[0] is not None))
        xs, resets, mask = jax.tree.map(lambda x: rows_and_steps(jnp.asarray(x)), (xs, resets, mask))
    batch_shape = _batch_shape(cell_or_model, params, xs)
    compared = _equal_to_autodiff(cell_or_model, params, xs, batch_shape) if gradients is None else gradients
    if carry is not None:
        carry = checks.array_tree("carry", carry, cell_or_model.initial_carry(params, batch_shape))
    options = checked_options(cell_or_model, xs, None, lengths, resets, False, key, mask)
    options = {name: options[name] for name in ("lengths", "resets", "key", "mask")}
    with jax.enable_x64(True):
        thing = _without_dtypes(cell_or_model)
        thing, params, xs, carry = jax.tree.map(_float64, (thing, params, xs, carry))
        initial = thing.initial_carry(params, batch_shape)
        carry = initial if carry is None else jax.tree.map(lambda x, like: x.astype(like.dtype), carry, initial)
        arguments = {"params": params, "xs": xs, "carry": carry}
        values, names = floats(arguments), paths(arguments)
        constant = tuple("/".join(("params", *path, "statistics", "")) for path in batch_norms(thing))
        varied = [i for i, name in enumerate(names) if not name.startswith(constant)]
        moved = _nearby(values)
        arguments = with_floats(arguments, [moved[i] if i in varied else x for i, x in enumerate(values)])
        reference = _gradients(thing, arguments, tuple(range(len(values))), options, autodiff())
        least = RESOLVED * max((float(jnp.max(jnp.abs(reference[i]), initial=0.0)) for i in varied), default=0.0)
        rows = []
        for gradient in compared:
            some = [i for i in varied if names[i].split("/")[0] != "xs" or not isinstance(gradient, RTRL)]
            found = _gradients(thing, arguments, tuple(some), options, gradient)
            for i, a in zip(some, found, strict=True):
                rows.append(Row(repr(gradient), names[i], _relative_error(a, reference[i], least), EXACT))

        def along(direction: list[Any]) -> Any:
            return _along(thing, arguments, options, reference, direction)

        errors = _finite_differences(along, [x.shape for x in values], varied, directions, least)
        rows += [Row("finite differences", names[i], e, FINITE_DIFFERENCES) for i, e in errors.items()]
    return GradientReport(tuple(rows))


def _loss(thing: Cell | Model, arguments: dict[str, Any], options: dict[str, Any], gradient: Gradient) -> jax.Array:
    params, xs, carry = (arguments[name] for name in ("params", "xs", "carry"))
    if isinstance(thing, Cell):
        return random_product(unroll(thing, params, xs, carry, gradient=gradient, **options))
    return random_product(thing.apply(params, xs, carry=carry, gradient=gradient, **options))


@functools.partial(compiled, hurried=True)
def _gradients(
    thing: Cell | Model, arguments: dict[str, Any], chosen: tuple[int, ...], options: dict[str, Any], gradient: Gradient
) -> list[jax.Array]:
    """The derivatives of the loss with respect to some of the floating-point arguments, by number."""
    values = floats(arguments)

    def loss(some: list[jax.Array]) -> jax.Array:
        merged = dict(enumerate(values)) | dict(zip(chosen, some, strict=True))
        return _loss(thing, with_floats(arguments, list(merged.values())), options, gradient)

    return jax.grad(loss)([values[i] for i in chosen])


@functools.partial(compiled, hurried=True)
def _along(
    thing: Cell | Model, arguments: dict[str, Any], options: dict[str, Any], gradient: list[Any], direction: list[Any]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Along a direction: the slope by finite differences, the slope by the gradient, and the size of the loss."""

    def moved(by: float) -> jax.Array:
        values = [v + by * d for v, d in zip(floats(arguments), direction, strict=True)]
        return _loss(thing, with_floats(arguments, values), options, autodiff())

    ahead, behind = moved(STEP), moved(-STEP)
    slope = sum(jnp.vdot(g, d) for g, d in zip(gradient, direction, strict=True))
    return (ahead - behind) / (2.0 * STEP), jnp.asarray(slope), jnp.abs(ahead)


def _equal_to_autodiff(
    thing: Cell | Model, params: Params, xs: Tree, batch_shape: tuple[int, ...]
) -> tuple[Gradient, ...]:
    compared = reverse_scan(), checkpointed()
    if not isinstance(thing, Cell):
        return compared
    carry = thing.initial_carry(params, batch_shape)
    sizes = [sum(jnp.size(x) for x in floats(tree)) for tree in (params, carry)]
    small = sizes[0] * sizes[1] <= LARGEST_INFLUENCE
    return (
        (*compared, rtrl())
        if small and _has_forward_mode(thing, params, carry, jax.tree.map(lambda x: x[0], xs))
        else compared
    )


@compiled
def _has_forward_mode(*arguments: Any) -> jax.Array:
    """Returns an array for the sake of `compiled`: the answer is found once for equal cells and shapes."""
    return jnp.asarray(has_forward_mode(*arguments, None))


def _nearby(values: list[jax.Array]) -> list[jax.Array]:
    """The values plus noise: a carry or bias of exactly zero may lie on a kink, where differences give no slope."""
    rng = np.random.default_rng(1)  # JAX's generator would compile a program for each shape
    return [jnp.asarray(np.asarray(x) + SHIFT * rng.standard_normal(x.shape), x.dtype) for x in values]


def _relative_error(a: Any, b: Any, least: float) -> float:
    a, b = np.asarray(a), np.asarray(b)
    difference, scale = np.max(np.abs(a - b), initial=0.0), np.max(np.abs(b), initial=least)
    return float(difference / scale) if scale > 0 else float(np.where(difference == 0, 0.0, np.inf))


def _finite_differences(
    along: Any, shapes: list[tuple[int, ...]], varied: list[int], directions: int, least: float
) -> dict[int, float]:
    """The error of the gradient along random directions of unit length, for each array that is varied.

    The error is relative to the derivative along them, to a share of the loss, or to `least`, whichever is the largest.
    """
    errors, rng = {}, np.random.default_rng(0)
    for i in varied:
        found = []
        for _ in range(directions):
            direction = [np.zeros(shape) for shape in shapes]
            random = rng.standard_normal(shapes[i])
            direction[i] = random / max(float(np.linalg.norm(random)), 1e-300)
            found.append([float(x) for x in along(direction)])
        measured, slopes, sizes = np.array(found).T
        scale = max(np.max(np.abs(slopes)), SMALL * np.max(sizes), least)
        errors[i] = 0.0 if scale == 0 else float(np.max(np.abs(measured - slopes)) / scale)
    return errors


def _in_float64(f: Any, *arguments: Any) -> Tree:
    return jax.tree.map(_float64, f(*arguments))


def _float64(x: Any) -> Any:
    if isinstance(x, float):
        return x
    x = jnp.asarray(x)
    return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _without_dtypes(thing: Any) -> Any:
    """A cell or model, and all parts of it, with products and carries in the parameters' own dtype."""
    if isinstance(thing, CustomCell):
        in_float64 = jax.tree_util.Partial(_in_float64, thing.initial_carry_fn)
        return dataclasses.replace(thing, initial_carry_fn=in_float64)
    if type(thing) is tuple:  # parts; a named tuple is an option like the carry
        return tuple(_without_dtypes(x) for x in thing)
    if not isinstance(thing, (Cell, Model)):
        return thing
    fields = {f.name: _without_dtypes(getattr(thing, f.name)) for f in dataclasses.fields(thing)}  # pyright: ignore
    return dataclasses.replace(thing, **(fields | ({"dtype": None} if "dtype" in fields else {})))  # pyright: ignore


def _batch_shape(thing: Cell | Model, params: Params, xs: Tree) -> tuple[int, ...]:
    if isinstance(thing, Cell):
        return steps_and_rows(xs)[1]
    x = jax.tree.leaves(xs)[0]
    if x.ndim > 3:  # the carry tells axes of rows from axes of features
        final = jax.tree.leaves(jax.eval_shape(lambda params, xs: thing.apply(params, xs)[0], params, xs))
        one = jax.tree.leaves(jax.eval_shape(thing.initial_carry, params))
        if final:
            return final[0].shape[: final[0].ndim - one[0].ndim]
    return x.shape[1:-1] if jnp.issubdtype(x.dtype, jnp.floating) else x.shape[1:]
