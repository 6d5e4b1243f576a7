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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, in_state_dtype, own_params
from jaxrnn.gradients.gate_groups import GateGroups, Z, gate_groups
from jaxrnn.gradients.in_place import scan_in_place
from jaxrnn.gradients.inexact import cotangent, floats, with_floats
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.masks import enter, enter_and_select_transposed, select, zero_unless
from jaxrnn.linear import affine, affine_parts, over_rows
from jaxrnn.types import Inputs, Params, Step, Tree


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      carries: the carry that each step read, [T, ...].
      sums, zh: its pre-activations, [T, ...], as in `Z`; zx is at hand outside the loop.
      final: the carry after the last step.
      hs: the outputs, [T, ..., H].
    """

    carries: Tree
    sums: jax.Array
    zh: jax.Array
    final: Tree
    hs: jax.Array


def run(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> tuple[Tree, jax.Array]:
    """As `Gradient.run`; dL/dcarry is kept within the limits."""
    steps = inputs.steps
    groups = gate_groups(cell, params, carry, *steps.at_0)
    # The loop adds b: arrays of all zx beside those of all products would be the largest of the program.
    products = tuple(affine_parts(steps.x, params["w_x"], None, groups.parts, dtype=cell.dtype))
    inputs = inputs._replace(steps=steps._replace(x=products))  # pyright: ignore[reportArgumentType]
    loop_params = {name: value for name, value in params.items() if name not in ("w_x", "initial_carry")}
    path = _path(groups, cell, loop_params, carry, inputs)

    zx = _with_bias(products, groups.split(params.get("b")))
    hs = jax.vmap(cell.read)(path.carries, steps.noise)
    zh = affine_parts(hs, params["w_h"], params.get("b_h"), groups.parts, dtype=cell.dtype)
    return _attach(groups, cell, loop_params, carry, inputs, limits, Z(zx[0] + zh[0], zx[1], zh[1]), path)


def _with_bias(products: tuple[jax.Array, ...], b: tuple[Any, ...]) -> tuple[jax.Array, ...]:
    pairs = zip(products, b, strict=True)
    return tuple(x if bias is None else x + over_rows(bias.astype(x.dtype), x) for x, bias in pairs)


def _walk(groups: GateGroups, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    own, b = own_params(params), groups.split(params.get("b"))

    def body(carry: Tree, summed: jax.Array, step: Step) -> tuple[Tree, jax.Array, Any]:
        before = enter(carry, inputs.initial, step.reset)
        zx = _with_bias((summed, step.x), b)
        zh = groups.split(cell.recurrent_product(params, cell.read(before, step.noise)))
        z = Z(zx[0] + zh[0], zx[1], zh[1])
        after = cell.advance(own, before, *groups.equations(groups.gates(z)), step.noise)
        h = zero_unless(step.valid, cell.hidden(after))
        return select(step.valid, after, before), z.sums, (before, z.zh, h)

    summed, apart = inputs.steps.x
    steps = inputs.steps._replace(x=apart)
    final, sums, (carries, zh, hs) = scan_in_place(body, carry, summed, steps)
    return Path(carries, sums, zh, final, hs)


_path = jax.custom_vjp(_walk, nondiff_argnums=(0,))
_path.defvjp(lambda *args: (_walk(*args), None), lambda *_: (None, None, None, None))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(
    groups: GateGroups,
    cell: GatedCell,
    params: Params,
    carry: Tree,
    inputs: Inputs,
    limits: Limits,
    z: Z,
    path: Path,
) -> tuple[Tree, jax.Array]:
    del groups, cell, params, carry, inputs, limits, z
    return path.final, path.hs


def _attach_forward(groups: GateGroups, *args: Any) -> Any:
    del groups
    cell, params, carry, inputs, limits, _, path = args
    inputs = inputs._replace(steps=inputs.steps._replace(x=inputs.steps.x[1]))  # the sums' products are not read again
    return (path.final, path.hs), (cell, params, carry, inputs, limits, path)


def _attach_backward(groups: GateGroups, residuals: Any, cotangents: Any) -> Any:
    cell, params, carry, inputs, limits, path = residuals
    d_final, d_hs = cotangents
    own, b = in_state_dtype(own_params(params)), groups.split(params.get("b"))
    w_h = groups.in_order(params["w_h"])

    def body(adjoint: Any, z: Z, at_t: Any) -> Any:
        d_after, d_cell, d_own, d_initial = adjoint
        step, before, d_h = at_t

        def local(cell_: Any, own_: Any, before_: Any, z: Z, noise_: Any) -> Any:
            tick = with_floats(cell, cell_)
            noise = with_floats(step.noise, noise_)
            zs = groups.equations(z)
            after = tick.advance(with_floats(own, own_), with_floats(before, before_), *zs, noise)
            return floats(after), tick.hidden(after)

        def read(before_: list[jax.Array]) -> jax.Array:
            return cell.read(with_floats(before, before_), step.noise)

        (zx,) = _with_bias((z.zx,), b[1:])
        gates = groups.gates(z._replace(zx=zx))
        _, pull = jax.vjp(local, floats(cell), floats(own), floats(before), gates, floats(step.noise))
        d_cell_t, d_own_t, d_before, d_z, d_noise = pull(zero_unless(step.valid, (d_after, d_h)))
        d_z = groups.arrays(d_z, like=z.sums)

        _, pull = jax.vjp(read, floats(before))
        (d_before_read,) = pull(affine(jnp.concatenate([d_z.sums, d_z.zh], -1), w_h.T, dtype=cell.dtype))
        d_before = _add(d_before, d_before_read)
        d_before = limits.clip(d_before, path.hs.ndim - 2)
        d_before, d_initial = enter_and_select_transposed(step, d_before, d_after, d_initial)
        return (d_before, _add(d_cell, d_cell_t), _add(d_own, d_own_t), d_initial), d_z, d_noise

    zeros = jax.tree.map(jnp.zeros_like, (floats(cell), floats(own), floats(inputs.initial)))
    z, steps = Z(path.sums, inputs.steps.x, path.zh), inputs.steps._replace(x=None)
    (d_carry, d_cell, d_own, d_initial), d_z, d_noise = scan_in_place(
        body, (floats(d_final), *zeros), z, (steps, path.carries, d_hs), reverse=True
    )
    d_own = [d.astype(x.dtype) for d, x in zip(d_own, floats(own_params(params)), strict=True)]
    d_params = dict.fromkeys(params) | cotangent(own, d_own)
    d_steps = Step(None, cotangent(inputs.steps.noise, d_noise), None, None)  # pyright: ignore[reportArgumentType]
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    return cotangent(cell, d_cell), d_params, cotangent(carry, d_carry), d_inputs, None, d_z, None


_attach.defvjp(_attach_forward, _attach_backward)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)
