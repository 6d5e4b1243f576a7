"""The influence of arrays on the carry, d carry / d array, carried forward in time: exactly.

An influence of an array on the carry is a list like `floats(carry)`, of arrays [size, *carry_leaf.shape]: the elements
of the array lie along the first axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.float_leaves import floats, with_floats
from jaxrnn.masks import select
from jaxrnn.types import Cell, Params, Tree

Arrays = list[jax.Array]


class Influence(NamedTuple):
    """Influences on a carry, a list of arrays each.

    Attributes:
      shared: the influences of the arrays that each step reads: `arrays(cell, params)`.
      rows: the influences of earlier carries, which act through the carry alone.
    """

    shared: list[Arrays]
    rows: list[Arrays]


def arrays(cell: Cell, params: Params) -> Arrays:
    """The arrays whose influence is followed: parameters and numeric options."""
    return [jnp.asarray(x) for x in floats((cell, params))]


def check(cell: Cell, params: Params, carry: Tree) -> None:
    """Raises ValueError unless the carry has real numbers: an influence is a real Jacobian."""
    del params
    leaves = floats(carry)
    if not leaves or any(jnp.iscomplexobj(x) for x in leaves):
        kinds = [str(jnp.result_type(x)) for x in jax.tree.leaves(carry)]
        raise ValueError(f"cell: expected a carry of real floating-point numbers for RTRL, got {kinds} of {cell}")


def none(of: Arrays, carry: Tree) -> list[Arrays]:
    """Zero influences, of arrays on which the carry does not depend."""
    return [[jnp.zeros((a.size, *c.shape), c.dtype) for c in floats(carry)] for a in of]


none_of_rows = none


def of_initial(cell: Cell, params: Params, batch_shape: tuple[int, ...]) -> list[Arrays]:
    """The influences of `arrays(cell, params)` on the initial carry, which may be learned."""

    def initial(values: Arrays) -> Arrays:
        cell_, params_ = with_floats((cell, params), values)
        return floats(cell_.initial_carry(params_, batch_shape))

    values = arrays(cell, params)
    carry, leaves = initial(values), jax.jacrev(initial)(values)
    return [
        [_elements_first(leaf[i], a).astype(c.dtype) for leaf, c in zip(leaves, carry, strict=True)]
        for i, a in enumerate(values)
    ]


def _elements_first(jacobian: jax.Array, a: jax.Array) -> jax.Array:
    """[*shape, *a.shape] -> [a.size, *shape]."""
    shape = jacobian.shape[: jacobian.ndim - a.ndim]
    return jnp.moveaxis(jacobian.reshape(*shape, a.size), -1, 0)


def of_itself(carry: Tree) -> list[Arrays]:
    """The influences of the carry's leaves on that carry."""

    def block(a: jax.Array, b: jax.Array) -> jax.Array:
        return (
            jnp.eye(a.size, dtype=b.dtype).reshape(a.size, *b.shape)
            if a is b
            else jnp.zeros((a.size, *b.shape), b.dtype)
        )

    leaves = floats(carry)
    return [[block(a, b) for b in leaves] for a in leaves]


def advance(cell: Cell, params: Params, influence: Influence, before: Tree, x: jax.Array, noise: Tree) -> Influence:
    """The influence on the carry after a step, from that on the carry before it."""

    def after(values: Arrays, before_: Arrays) -> Arrays:
        cell_, params_ = with_floats((cell, params), values)
        return floats(cell_.step(params_, with_floats(before, before_), x, noise)[0])

    values, carry = arrays(cell, params), floats(before)
    _, through = jax.linearize(lambda c: after(values, c), carry)
    at_once = jax.jacrev(after)(values, carry)
    shared = []
    for i, (value, entry) in enumerate(zip(values, influence.shared, strict=True)):
        direct = [_elements_first(leaf[i], value) for leaf in at_once]
        shared.append([a + b.astype(a.dtype) for a, b in zip(jax.vmap(through)(entry), direct, strict=True)])
    return Influence(shared, [jax.vmap(through)(entry) for entry in influence.rows])


def choose(mask: jax.Array | None, on_true: Influence, on_false: Influence) -> Influence:
    """Chooses row by row, as `masks.select` does for a carry."""
    if mask is None:
        return on_true
    return jax.tree.map(lambda a, b: jax.vmap(lambda a, b: select(mask, a, b))(a, b), on_true, on_false)


def apply(influence: list[Arrays], d_carry: Arrays, of: Arrays) -> Arrays:
    """The derivatives dL/d array of each array that steps read, from dL/dcarry; in the precision of the state."""
    totals = apply_to_rows(influence, d_carry)
    return [total.reshape(a.shape) for total, a in zip(totals, of, strict=True)]


def apply_to_rows(influence: list[Arrays], d_carry: Arrays) -> Arrays:
    """The derivatives for earlier carries, each flattened."""

    def total(entry: Arrays) -> jax.Array:
        parts = [jnp.tensordot(j, d, d.ndim) for j, d in zip(entry, d_carry, strict=True)]
        return sum(parts[1:], parts[0])

    return [total(entry) for entry in influence]


def observe(
    cell: Cell,
    params: Params,
    influences: tuple[Influence, Influence],
    carries: tuple[Tree, Tree],
    x: jax.Array,
    noise: Tree,
    d_y: Arrays,
) -> tuple[Arrays, Arrays]:
    """The derivatives dL/d array for `arrays(cell, params)` and for the rows, from dL/dy of a step.

    Args:
      cell, params, x, noise: the step's.
      influences: those on the carry before the step and after it.
      carries: the carries before and after it.
      d_y: dL/dy, a list like `floats(y)`.
    """
    before, values = carries[0], arrays(cell, params)

    def y(values: Arrays, before_: Arrays) -> Arrays:
        cell_, params_ = with_floats((cell, params), values)
        return floats(cell_.step(params_, with_floats(before, before_), x, noise)[1])

    _, pull = jax.vjp(y, values, floats(before))
    direct, d_before = pull(d_y)
    through = apply(influences[0].shared, d_before, values)
    direct = [a.astype(b.dtype) for a, b in zip(direct, through, strict=True)]
    return [a + b for a, b in zip(direct, through, strict=True)], apply_to_rows(influences[0].rows, d_before)
