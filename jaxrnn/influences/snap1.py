"""SnAp-1: real-time recurrent learning that keeps only the part of each influence that is there after one step.

In a gated cell an element of a weight acts directly on one unit of the state. Its influence on that unit alone is kept,
and carried forward by that unit's dependence on itself. The functions are those of `exact`; an influence on the carry
is a list like its leaves, of arrays [*batch_shape, n, H], for an array of n * H elements whose last axis runs over
the units.

Reference: Menick et al. 2021, Practical real time recurrent learning with a sparse approximation, ICLR,
arXiv:2006.07232.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.cells.gated import GatedCell, own_params
from jaxrnn.float_leaves import floats, with_floats
from jaxrnn.influences.exact import Arrays, Influence
from jaxrnn.linear import over_rows
from jaxrnn.masks import select
from jaxrnn.primitives.jaxprs import mixing_primitives
from jaxrnn.types import Cell, Params, Tree


def arrays(cell: Cell, params: Params) -> Arrays:
    """The parameters; options of the cell have no derivative here."""
    del cell
    return floats(params)


def check(cell: Cell, params: Params, carry: Tree) -> None:
    """Raises ValueError unless the cell's equations are element-wise, so that each weight acts directly on one unit."""
    if not isinstance(cell, GatedCell):
        raise ValueError(f"sparsity: expected a gated cell with 'snap1', got {cell}")
    if cell.heads > 1:
        raise ValueError(f"sparsity: expected a cell of one head with 'snap1', got {cell.heads}")
    z = jnp.zeros(cell.G * cell.H)
    row = jax.tree.map(lambda c: jnp.zeros(c.shape[-1:], c.dtype), carry)
    mixing = mixing_primitives(jax.make_jaxpr(_equations)(cell, own_params(params), row, z, z, None), cell.H)
    if mixing:
        raise ValueError(f"sparsity: expected element-wise equations with 'snap1', got {cell}, which uses {mixing}")
    shapes = {jnp.shape(x) for x in (*floats(own_params(params)), *floats(row))}
    if any(shape[-1:] != (cell.H,) for shape in shapes):
        raise ValueError(f"sparsity: expected own parameters and carries [..., {cell.H}] with 'snap1', got {shapes}")


def _equations(cell: GatedCell, own: Params, carry: Tree, zx: jax.Array, zh: jax.Array, noise: Tree) -> Tree:
    return cell.advance(own, carry, cell.activate(cell.pre_activations(zx, zh)), noise)


def none(of: Arrays, carry: Tree) -> list[Arrays]:
    """Zero influences, of arrays on which the carry does not depend."""
    leaves = floats(carry)
    return [[jnp.zeros((*c.shape[:-1], a.size // c.shape[-1], c.shape[-1]), c.dtype) for c in leaves] for a in of]


def none_of_rows(of: Arrays, carry: Tree) -> list[Arrays]:
    """Zero influences of other carries."""
    return [[jnp.zeros((*c.shape[:-1], 1, c.shape[-1]), c.dtype) for c in floats(carry)] for _ in of]


def of_initial(cell: GatedCell, params: Params, batch_shape: tuple[int, ...]) -> list[Arrays]:
    """The influences of the parameters on the initial carry: a learned carry's parameters act on one unit each."""
    values = arrays(cell, params)
    _, derivatives = jax.linearize(lambda v: floats(cell.initial_carry(with_floats(params, v), batch_shape)), values)
    entries = none(values, cell.initial_carry(params, batch_shape))
    for i, (path, a) in enumerate(jax.tree_util.tree_leaves_with_path(params)):
        if path[0].key == "initial_carry":
            tangent = [jnp.ones_like(a) if j == i else jnp.zeros_like(v) for j, v in enumerate(values)]
            entries[i] = [d[..., None, :] for d in derivatives(tangent)]
    return entries


def of_itself(carry: Tree) -> list[Arrays]:
    """The influences of the carry's leaves on that carry."""
    leaves = floats(carry)
    return [[jnp.full((*c.shape[:-1], 1, c.shape[-1]), a is c, c.dtype) for c in leaves] for a in leaves]


def advance(
    cell: GatedCell, params: Params, influence: Influence, before: Tree, x: jax.Array, noise: Tree
) -> Influence:
    """The influence on the carry after a step, from that on the carry before it."""
    own, carry, H = own_params(params), floats(before), cell.H
    read = cell.read(before, noise)
    zx, zh = cell.input_product(params, x), cell.recurrent_product(params, read)

    def after(carry: Arrays, zx: jax.Array, zh: jax.Array, own_: Arrays) -> Arrays:
        return floats(_equations(cell, with_floats(own, own_), with_floats(before, carry), zx, zh, noise))

    # The derivative of element-wise equations is a number for each unit: a product with a tangent of ones.
    point = carry, zx, zh, floats(own)
    _, derivatives = jax.linearize(after, *point)
    zeros = jax.tree.map(jnp.zeros_like, point)

    def by(part: int, i: int, tangent: jax.Array) -> Arrays:
        """The derivatives of the carry's leaves by leaf i of a part of the point, along a tangent."""
        changed = list(zeros)
        changed[part] = [tangent if j == i else z for j, z in enumerate(zeros[part])]
        return derivatives(*changed)

    def by_gate(part: int, g: int) -> Arrays:
        """The derivatives of the carry's leaves by the pre-activations of a gate."""
        changed = list(zeros)
        changed[part] = zeros[part].at[..., g * H : (g + 1) * H].set(1)
        return derivatives(*changed)

    ones = jax.tree.map(jnp.ones_like, point)
    by_carry = [by(0, i, one) for i, one in enumerate(ones[0])]
    by_zx, by_zh = ([by_gate(part, g) for g in range(cell.G)] for part in (1, 2))
    _, reads = jax.linearize(lambda c: cell.read(with_floats(before, c), noise), carry)
    itself = jnp.diagonal(params["w_h"].reshape(H, cell.G, H), axis1=0, axis2=2).astype(read.dtype)  # [G, H]

    leaves = range(len(carry))
    through = []  # [i][c]: derivative of leaf c after the step by leaf i before it
    for i in leaves:
        d_read = reads([ones[0][j] if j == i else zeros[0][j] for j in leaves])
        recurrent = [_sum(by_zh[g][c] * over_rows(itself[g], read) for g in range(cell.G)) * d_read for c in leaves]
        through.append([by_carry[i][c] + recurrent[c] for c in leaves])

    def carried(entry: Arrays) -> Arrays:
        return [_sum(through[i][c][..., None, :] * entry[i] for i in leaves) for c in leaves]

    def weight(by_z: list[Arrays], source: jax.Array | None) -> Arrays:
        """[*batch_shape, n, H] for each leaf: the derivative by a weight on `source`, or by a bias."""
        gates = [jnp.stack([by_z[g][c] for g in range(cell.G)], -2) for c in leaves]  # [*batch_shape, G, H]
        if source is None:
            return gates
        products = [source[..., :, None, None] * g[..., None, :, :] for g in gates]
        return [p.reshape(*p.shape[:-3], -1, H) for p in products]

    def rows_of(i: int, a: jax.Array) -> Arrays:
        """The derivatives of the carry's leaves by an array [..., H] of the cell's own, one row [H] after the other."""
        basis = jnp.eye(a.size // H, dtype=a.dtype)
        tangents = jnp.broadcast_to(basis[..., None], (*basis.shape, H)).reshape(-1, *a.shape)
        return [jnp.moveaxis(d, 0, -2) for d in jax.vmap(lambda t: by(3, i, t))(tangents)]

    at_once = {"w_x": weight(by_zx, x.astype(read.dtype)), "w_h": weight(by_zh, read)}
    at_once |= {"b": weight(by_zx, None), "b_h": weight(by_zh, None)}
    at_once = {name: at_once[name] for name in at_once if name in params}
    at_once |= with_floats(own, [rows_of(i, a) for i, a in enumerate(floats(own))])
    initial = none(floats(params.get("initial_carry", {})), before)
    at_once |= {"initial_carry": with_floats(params["initial_carry"], initial)} if initial else {}
    direct = _in_order(params, at_once)
    shared = [
        [a + b for a, b in zip(carried(e), d, strict=True)] for e, d in zip(influence.shared, direct, strict=True)
    ]
    return Influence(shared, [carried(entry) for entry in influence.rows])


def _in_order(params: Params, entries: dict[str, Any]) -> list[Arrays]:
    """The entries of a tree like the parameters, each a list, in the order of the parameters' leaves."""
    return jax.tree.leaves(
        jax.tree.map(lambda _, entry: tuple(entry), params, entries), is_leaf=lambda x: isinstance(x, tuple)
    )


def choose(mask: jax.Array | None, on_true: Influence, on_false: Influence) -> Influence:
    """Chooses row by row."""
    return select(mask, on_true, on_false)


def apply(influence: list[Arrays], d_carry: Arrays, of: Arrays) -> Arrays:
    """The derivatives dL/d array of each array that steps read, from dL/dcarry; in the precision of the state."""
    totals = _by_row(influence, d_carry)
    return [d.sum(range(d.ndim - 2)).reshape(a.shape) for d, a in zip(totals, of, strict=True)]


def apply_to_rows(influence: list[Arrays], d_carry: Arrays) -> Arrays:
    """The derivatives for earlier carries, each flattened."""
    return [total.reshape(-1) for total in _by_row(influence, d_carry)]


def _by_row(influence: list[Arrays], d_carry: Arrays) -> Arrays:
    return [_sum(j * d[..., None, :] for j, d in zip(entry, d_carry, strict=True)) for entry in influence]


def _sum(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, parts)


def observe(
    cell: GatedCell,
    params: Params,
    influences: tuple[Influence, Influence],
    carries: tuple[Tree, Tree],
    x: jax.Array,
    noise: Tree,
    d_y: Arrays,
) -> tuple[Arrays, Arrays]:
    """The derivatives dL/d array from dL/dy of a step, as in `exact`; y is a function of the carry after the step."""
    del x, noise
    after = carries[1]
    _, pull = jax.vjp(lambda c: floats(cell.hidden(with_floats(after, c))), floats(after))
    (d_after,) = pull(d_y)
    shared, rows = influences[1]
    return apply(shared, d_after, arrays(cell, params)), apply_to_rows(rows, d_after)
