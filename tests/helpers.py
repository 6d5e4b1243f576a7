"""What the tests share: the relative error, random examples of a registry entry, one loss and its gradients."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.registry import BY_NAME, D, Entry, H, initial_row


def mostly_slow(values: Iterable[Any], *quick: Any) -> list[Any]:
    """The values of a test's parameter: those that are not named here, by name or by place, are marked slow."""
    values = [*values]
    named = [value if isinstance(value, str) else getattr(value, "name", None) for value in values]
    assert {x for x in quick if isinstance(x, str)} <= {*named}
    assert all(x < len(values) for x in quick if isinstance(x, int))
    return [
        pytest.param(
            *(value if type(value) is tuple else (value,)),
            marks=() if i in quick or name in quick else pytest.mark.slow,
        )
        for i, (value, name) in enumerate(zip(values, named, strict=True))
    ]


def relative_error(a: Any, b: Any) -> float:
    """max|a - b| / max|b|; NaN counts as wrong."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    difference, scale = np.max(np.abs(a - b), initial=0.0), np.max(np.abs(b), initial=0.0)
    if np.isnan(difference):
        return np.inf
    return float(difference / scale) if scale > 0 else float(np.where(difference == 0, 0.0, np.inf))


def assert_close(got: Any, want: Any, tolerance: float) -> None:
    """Each leaf of `got` within a relative error of that leaf of `want`; only the containers' types may differ."""
    named, wanted = jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)
    assert len(named) == len(wanted) > 0
    errors = {jax.tree_util.keystr(path): relative_error(a, b) for (path, a), b in zip(named, wanted, strict=True)}
    wrong = {path: error for path, error in errors.items() if not error <= tolerance}
    assert not wrong, f"relative errors above {tolerance}: {wrong}"


def is_float(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def floats(tree: Any) -> list[Any]:
    """The leaves that can be differentiated."""
    return [x for x in jax.tree.leaves(tree) if is_float(x)]


def merge(tree: Any, values: list[Any]) -> Any:
    """The tree with those leaves replaced."""
    rest = iter(values)
    return jax.tree.map(lambda x: next(rest) if is_float(x) else x, tree)


class Example(NamedTuple):
    """Random data for a cell, as NumPy arrays.

    Attributes:
      cell: the cell.
      params: all of them normal, so that no zero or one from `init` hides an error.
      xs: [T, *batch_shape, D].
      carry: leaves [*batch_shape, ...].
      initial: the initial carry of one row.
      lengths: a row of no step, one of one step, the rest longer.
      resets: about a third of the steps.
    """

    cell: jaxrnn.Cell
    params: Any
    xs: np.ndarray
    carry: Any
    initial: Any
    lengths: np.ndarray
    resets: np.ndarray

    def arguments(self) -> tuple[Any, ...]:
        """What can be differentiated, as JAX arrays."""
        return self.cell, *jax.tree.map(jnp.asarray, (self.params, self.xs, self.carry))


def random_like(shapes: Any, rng: np.random.Generator, dtype: Any, scale: float = 1.0) -> Any:
    """Normal numbers for the floats of a tree, small integers for its integers."""

    def draw(x: Any) -> np.ndarray:
        if jnp.issubdtype(x.dtype, jnp.integer):
            return rng.integers(1, 4, x.shape).astype(x.dtype)
        return (scale * rng.standard_normal(x.shape)).astype(dtype)

    return jax.tree.map(draw, shapes)


def example(
    entry: Entry, dtype: Any = np.float64, *, T: int = 5, batch: tuple[int, ...] = (3,), seed: int = 0
) -> Example:
    rng = np.random.default_rng(seed)
    cell = jax.tree.map(lambda x: x.astype(dtype) if isinstance(x, np.ndarray) else x, entry.build())
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0)), rng, dtype, 0.7)
    carry = random_like(jax.eval_shape(lambda p: cell.initial_carry(p, batch), params), rng, dtype)
    xs = rng.standard_normal((T, *batch, D)).astype(dtype)
    lengths = np.resize([1, T, 0, T - 1], batch).astype(np.int32)
    resets = rng.random((T, *batch)) < 0.35
    return Example(cell, params, xs, carry, initial_row(entry, cell, params), lengths, resets)


def weighted_sum(outputs: Any, seed: int = 7) -> jax.Array:
    """A linear loss: the inner product of all outputs with fixed random numbers, their cotangents."""
    pairs = zip(cotangents(outputs, seed), floats(outputs), strict=True)
    return sum(jnp.vdot(jnp.asarray(w, x.dtype), x) for w, x in pairs)


def cotangents(outputs: Any, seed: int = 7) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(x.shape) for x in floats(outputs)]


def gradients(
    gradient: jaxrnn.Gradient,
    cell: Any,
    params: Any,
    xs: Any,
    carry: Any,
    *,
    fixed: tuple[str, ...] = (),
    run: Any = jaxrnn.unroll,
    **options: Any,
) -> dict[str, Any]:
    """The outputs of an unroll, and the derivatives of `weighted_sum` with respect to all that has one.

    `fixed` names arguments that are not differentiated; `run` is what stands for the unroll.
    """
    everything = {"cell": cell, "params": params, "xs": xs, "carry": carry}
    arguments = {name: x for name, x in everything.items() if name not in fixed}

    def loss(values: list[Any]) -> tuple[jax.Array, Any]:
        a = everything | merge(arguments, values)
        outputs = run(a["cell"], a["params"], a["xs"], a["carry"], gradient=gradient, **options)
        return weighted_sum(outputs), outputs

    found, outputs = jax.grad(loss, has_aux=True)(floats(arguments))
    paths = [path for path, x in jax.tree_util.tree_leaves_with_path(arguments) if is_float(x)]
    return {"outputs": outputs} | {jax.tree_util.keystr(p): g for p, g in zip(paths, found, strict=True)}


def assert_padding_changes_nothing(gradient, name, T):
    """The derivatives of a loss on outputs and final carry do not depend on how much padding follows."""
    e = example(BY_NAME[name], T=T)
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((T, *e.xs.shape[1:-1], H)))

    @functools.partial(jax.jit, static_argnums=3)
    def g(params, xs, carry, lengths):
        def loss(params, xs, carry):
            lengths_ = None if lengths is None else np.full(xs.shape[1], lengths)
            final, ys = jaxrnn.unroll(e.cell, params, xs, carry, lengths=lengths_, gradient=gradient)
            return jnp.sum(weights * ys[:T]) + sum(jnp.sum(jnp.cos(x)) for x in floats(final))

        return jax.grad(loss, (0, 1, 2))(params, xs, carry)

    _, params, xs, carry = e.arguments()
    padded = jnp.concatenate([xs, jnp.full((3, *xs.shape[1:]), jnp.nan, xs.dtype)])
    want = g(params, xs, carry, None)
    d_params, d_xs, d_carry = g(params, padded, carry, T)
    assert_close((d_params, d_xs[:T], d_carry), want, 1e-12)
    np.testing.assert_array_equal(d_xs[T:], 0.0)
