"""Backpropagation through time, written out, for gated cells.

The reverse loop carries dL/dcarry and yields only the derivatives of the pre-activations:

  dz[t] = (d update / dz)^T dL/dcarry[t];   dL/dcarry[t-1] = (d update / dcarry)^T dL/dcarry[t] + dzh[t] @ w_h^T

The products with weights stay ordinary JAX outside the rule: zx = xs @ w_x + b, and zh, the product of the states that
the loop passed through with w_h. The rule ignores the *values* of zx and zh, but gives them the cotangents dzx and dzh:
the transpose of the latter product is then dw_h = sum_t h[t-1]^T dzh[t], one product for all of time, which also stays
one product where the unroll is vmapped with shared weights.

  path  = the loop                 (no gradient passes at first order: the rule below stands for it)
  zh    = read(path) @ w_h + b_h   (gives dw_h, db_h)
  attach(zx, zh, path)             (the values of path, with the derivatives above)

Where the update sees only the sum zx + zh of a gate (all gates of an LSTM, two of a GRU's three), that gate has one
array z and one derivative dz instead of two.

The gradient that `path` blocks is blocked by a rule, not by `stop_gradient`, so a second derivative still sees how the
path depends on everything.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, in_state_dtype, own_params
from jaxrnn.gradients.gate_groups import GateGroups, Z, gate_groups
from jaxrnn.gradients.inexact import cotangent, floats, on_floats, with_floats
from jaxrnn.gradients.known_outputs import Kept, choose, with_found, with_known
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loops import SCAN, Loop
from jaxrnn.gradients.masks import enter, enter_and_select_transposed, select, zero_unless
from jaxrnn.gradients.unread import unread
from jaxrnn.linear import affine_parts, over_rows, state_dtype
from jaxrnn.types import Inputs, Params, Step, Tree


class Rule(NamedTuple):
    """What is known of a cell once it is traced."""

    loop: Loop
    groups: GateGroups
    kept: Kept


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      carries: the carry that each step read, [T, ...].
      kept: its pre-activations, arrays [T, ...], some of them overwritten by activations, as `Kept` says.
      final: the carry after the last step.
      hs: the outputs, [T, ..., H].
    """

    carries: Tree
    kept: Z
    final: Tree
    hs: jax.Array


def run(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, loop: Loop = SCAN
) -> tuple[Tree, jax.Array]:
    """As `Gradient.run`; dL/dcarry is kept within the limits."""
    steps = inputs.steps
    z = jax.ShapeDtypeStruct((*steps.x.shape[1:-1], cell.H), state_dtype(params["w_h"].dtype))
    noise = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), steps.noise)
    rule = _rule(loop, cell, own_params(params), carry, z, noise)
    groups = rule.groups
    # The loop adds b: arrays of all zx beside those of all products would be the largest of the program.
    products = groups.by_group(affine_parts(steps.x, params["w_x"], None, groups.parts, dtype=cell.dtype))
    inputs = inputs._replace(steps=steps._replace(x=products))  # pyright: ignore[reportArgumentType]
    loop_params = {name: value for name, value in params.items() if name not in ("w_x", "initial_carry")}
    path = _path(rule, cell, loop_params, carry, inputs)

    zx = _with_bias(products, groups.split(params.get("b")))
    hs = loop.all_units(jax.vmap(cell.read)(path.carries, steps.noise))
    zh = groups.by_group(cell.recurrent_parts(params, hs, groups.parts))
    return _attach(rule, cell, loop_params, carry, inputs, limits, Z(_add(zx[0], zh[0]), zx[1], zh[1]), path)


def _with_bias(products: Tree, b: Tree) -> Tree:
    return jax.tree.map(lambda x, bias: x if bias is None else x + over_rows(bias.astype(x.dtype), x), products, b)


def _tick(
    groups: GateGroups, z: Sequence[jax.Array], cell: GatedCell, own: Params, before: Tree, noise: Tree
) -> tuple[Tree, jax.Array]:
    after = cell.advance(own, before, *groups.equations(groups.grouped(z)), noise)
    return after, cell.hidden(after)


def _rule(loop: Loop, cell: GatedCell, own: Params, carry: Tree, z: Any, noise: Tree) -> Rule:
    """Traced anew each time, since a cell's equations may read what has changed; chosen once for equal programs."""
    groups = gate_groups(cell, own, carry, z, noise, joined=loop.joined)
    tick, listed = functools.partial(_tick, groups), [z] * (len(groups.summed) + 2 * len(groups.apart))
    trees = cell, jax.eval_shape(in_state_dtype, own), carry, noise
    program = groups, str(jax.make_jaxpr(tick)(listed, *trees))
    if program not in _CHOSEN:
        if len(_CHOSEN) > 1000:
            _CHOSEN.clear()
        _CHOSEN[program] = choose(tick, listed, *trees)
    return Rule(loop, groups, _CHOSEN[program])


_CHOSEN: dict[tuple[GateGroups, str], Kept] = {}


def _walk(rule: Rule, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    groups, own = rule.groups, own_params(params)
    b, product = groups.split(params.get("b")), rule.loop.product(cell, params, groups)

    def body(initial: Tree, carry: Tree, products: Tree, step: Step) -> tuple[Tree, tuple[()], Any, Any]:
        before = enter(carry, initial, step.reset)
        zx, zh = _with_bias(products, b), product(cell.read(before, step.noise))
        z = groups.listed(groups.gates(Z(_add(zx[0], zh[0]), zx[1], zh[1])))
        (after, h), outputs = with_found(lambda z: _tick(groups, z, cell, own, before, step.noise), z)
        kept = groups.arrays(groups.grouped(rule.kept.store(z, outputs)), like=h)
        outputs = before, kept.zh, zero_unless(step.valid, h)
        return select(step.valid, after, before), (), (kept.sums, kept.zx), outputs

    steps = inputs.steps._replace(x=None)  # pyright: ignore[reportArgumentType]
    final, _, (sums, zx), (carries, zh, hs) = rule.loop.run(
        body, inputs.initial, carry, (), inputs.steps.x, steps, _batch_axes(inputs.steps.x)
    )
    return Path(carries, Z(sums, zx, zh), final, hs)


def _batch_axes(products: Tree) -> int:
    return jax.tree.leaves(products)[0].ndim - 2


def _seen(rule: Rule, *args: Any) -> Path:
    """The path where no derivative is taken: what only a derivative reads is not kept by the loop."""
    path = _walk(rule, *args)
    carries, kept = jax.tree.map(unread, (path.carries, path.kept))
    return path._replace(carries=carries, kept=kept)


_path = jax.custom_vjp(_seen, nondiff_argnums=(0,))
_path.defvjp(lambda *args: (_walk(*args), None), lambda *_: (None, None, None, None))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(
    rule: Rule,
    cell: GatedCell,
    params: Params,
    carry: Tree,
    inputs: Inputs,
    limits: Limits,
    z: Z,
    path: Path,
) -> tuple[Tree, jax.Array]:
    del rule, cell, params, carry, inputs, limits, z
    return path.final, path.hs


def _attach_forward(rule: Rule, *args: Any) -> Any:
    del rule
    cell, params, carry, inputs, limits, _, path = args
    inputs = inputs._replace(steps=inputs.steps._replace(x=None))  # the products are not read again
    return (path.final, path.hs), (cell, params, carry, inputs, limits, path)


def _attach_backward(rule: Rule, residuals: Any, cotangents: Any) -> Any:
    loop, groups = rule.loop, rule.groups
    cell, params, carry, inputs, limits, path = residuals
    d_final, d_hs = cotangents
    own, transposed = in_state_dtype(own_params(params)), loop.transposed_product(cell, params, groups)
    batch_axes = path.hs.ndim - 2

    def body(_: None, adjoint: Any, kept: Z, at_t: Any) -> Any:
        d_after, d_initial = adjoint
        step, before, d_h = at_t
        z = groups.listed(groups.gates(kept))
        local, point = on_floats(functools.partial(_tick, groups), cell, own, before, step.noise)
        _, pull = jax.vjp(with_known(local, rule.kept.known(z)), z, *point)
        d_z, d_cell_t, d_own_t, d_before, d_noise = pull(zero_unless(step.valid, [*d_after, d_h]))
        d_z = groups.grouped(d_z)

        _, pull = jax.vjp(lambda before_: cell.read(with_floats(before, before_), step.noise), floats(before))
        (d_before_read,) = pull(transposed([*d_z.sums, *d_z.zh]))
        d_before = _add(d_before, d_before_read)
        d_before = limits.clip(d_before, loop.batch_axes(batch_axes))
        d_before, d_initial = enter_and_select_transposed(step, d_before, d_after, d_initial)
        return (d_before, d_initial), (d_cell_t, d_own_t), groups.arrays(d_z, like=d_h), d_noise

    d_initial, totals = jax.tree.map(jnp.zeros_like, (floats(inputs.initial), (floats(cell), floats(own))))
    (d_carry, d_initial), (d_cell, d_own), d_z, d_noise = loop.run(
        body,
        None,
        (floats(d_final), d_initial),
        totals,
        path.kept,
        (inputs.steps, path.carries, d_hs),
        batch_axes,
        reverse=True,
    )
    d_own = [d.astype(x.dtype) for d, x in zip(d_own, floats(own_params(params)), strict=True)]
    d_params = dict.fromkeys(params) | cotangent(own, d_own)
    d_steps = Step(None, cotangent(inputs.steps.noise, d_noise), None, None)  # pyright: ignore[reportArgumentType]
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    return cotangent(cell, d_cell), d_params, cotangent(carry, d_carry), d_inputs, None, d_z, None


_attach.defvjp(_attach_forward, _attach_backward)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)
