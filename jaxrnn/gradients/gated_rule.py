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

The gradient that `path` blocks is blocked by a rule, not by `stop_gradient`, so a second derivative still sees how the
path depends on everything.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, Gates, in_state_dtype, own_params
from jaxrnn.gradients.additive import is_additive
from jaxrnn.gradients.inexact import cotangent, floats, with_floats
from jaxrnn.gradients.masks import enter, select, zero_unless
from jaxrnn.linear import affine, over_rows
from jaxrnn.types import Inputs, Params, Step, Tree


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      carries: the carry that each step read, [T, ...].
      z: [T, ..., G*H]: zx + zh if the update sees no more of them, else zh.
      final: the carry after the last step.
      hs: the outputs, [T, ..., H].
    """

    carries: Tree
    z: jax.Array
    final: Tree
    hs: jax.Array


def run(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, jax.Array]:
    """As `Gradient.run`."""
    # The loop adds b: an array of all zx beside that of all products would be the largest of the program.
    products = affine(inputs.steps.x, params["w_x"], dtype=cell.dtype)
    zx = _with_bias(params, products)
    inputs = inputs._replace(steps=inputs.steps._replace(x=products))
    loop_params = {name: value for name, value in params.items() if name not in ("w_x", "initial_carry")}
    at_0 = jax.tree.map(lambda x: x[0], inputs.steps)
    z = cell.split(at_0.x)
    additive = is_additive(cell, own_params(params), carry, z, z, at_0.noise)
    path = _path(additive, cell, loop_params, carry, inputs)
    zh = cell.recurrent_product(params, jax.vmap(cell.read)(path.carries, inputs.steps.noise))
    return _attach(additive, cell, loop_params, carry, inputs, zx, zh, path)


def _with_bias(params: Params, products: jax.Array) -> jax.Array:
    return products + over_rows(params["b"].astype(products.dtype), products) if "b" in params else products


def _walk(additive: bool, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    own = own_params(params)

    def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
        before = enter(carry, inputs.initial, step.reset)
        zx = _with_bias(params, step.x)
        z = cell.recurrent_product(params, cell.read(before, step.noise))
        z = zx + z if additive else z
        after = cell.advance(own, before, *_preactivations(additive, cell, zx, z), step.noise)
        h = zero_unless(step.valid, cell.hidden(after))
        return select(step.valid, after, before), (before, z, h)

    final, (carries, z, hs) = jax.lax.scan(body, carry, inputs.steps)
    return Path(carries, z, final, hs)


def _preactivations(additive: bool, cell: GatedCell, zx: jax.Array, z: jax.Array) -> tuple[Gates, Gates]:
    """(zx, zh) for the update, from what the path stores."""
    if not additive:
        return cell.split(zx), cell.split(z)
    return cell.split(z), tuple(jnp.zeros_like(gate) for gate in cell.split(z))


_path = jax.custom_vjp(_walk, nondiff_argnums=(0,))
_path.defvjp(lambda *args: (_walk(*args), None), lambda *_: (None, None, None, None))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(
    additive: bool,
    cell: GatedCell,
    params: Params,
    carry: Tree,
    inputs: Inputs,
    zx: jax.Array,
    zh: jax.Array,
    path: Path,
) -> tuple[Tree, jax.Array]:
    del additive, cell, params, carry, inputs, zx, zh
    return path.final, path.hs


def _attach_forward(additive: bool, *args: Any) -> Any:
    cell, params, carry, inputs, _, _, path = args
    if additive:  # then zx is not needed again, and its memory is free
        inputs = inputs._replace(steps=inputs.steps._replace(x=None))
    return (path.final, path.hs), (cell, params, carry, inputs, path)


def _attach_backward(additive: bool, residuals: Any, cotangents: Any) -> Any:
    cell, params, carry, inputs, path = residuals
    d_final, d_hs = cotangents
    own, w_h = in_state_dtype(own_params(params)), params["w_h"].T

    def body(adjoint: Any, at_t: Any) -> Any:
        d_after, d_cell, d_own, d_initial = adjoint
        step, before, z, d_h = at_t

        def local(cell_: Any, own_: Any, before_: Any, zx: Gates, zh: Gates, noise_: Any) -> Any:
            tick = with_floats(cell, cell_)
            noise = with_floats(step.noise, noise_)
            after = tick.advance(with_floats(own, own_), with_floats(before, before_), zx, zh, noise)
            return floats(after), tick.hidden(after)

        def read(before_: list[jax.Array]) -> jax.Array:
            return cell.read(with_floats(before, before_), step.noise)

        zx, zh = _preactivations(additive, cell, z if additive else _with_bias(params, step.x), z)
        _, pull = jax.vjp(local, floats(cell), floats(own), floats(before), zx, zh, floats(step.noise))
        d_cell_t, d_own_t, d_before, d_zx, d_zh, d_noise = pull(zero_unless(step.valid, (d_after, d_h)))
        d_zh = jnp.concatenate(d_zh, -1)
        d_zx = None if additive else jnp.concatenate(d_zx, -1)

        _, pull = jax.vjp(read, floats(before))
        (d_before_read,) = pull(affine(d_zh, w_h, dtype=cell.dtype))
        d_before = _add(d_before, d_before_read)
        if step.valid is not None:
            d_before = select(step.valid, d_before, d_after)
        if step.reset is not None:
            d_initial = _add(d_initial, zero_unless(step.reset, d_before))
            d_before = zero_unless(~step.reset, d_before)
        return (d_before, _add(d_cell, d_cell_t), _add(d_own, d_own_t), d_initial), (d_zx, d_zh, d_noise)

    zeros = jax.tree.map(jnp.zeros_like, (floats(cell), floats(own), floats(inputs.initial)))
    (d_carry, d_cell, d_own, d_initial), (d_zx, d_zh, d_noise) = jax.lax.scan(
        body, (floats(d_final), *zeros), (inputs.steps, path.carries, path.z, d_hs), reverse=True
    )
    d_own = [d.astype(x.dtype) for d, x in zip(d_own, floats(own_params(params)), strict=True)]
    d_params = dict.fromkeys(params) | cotangent(own, d_own)
    d_steps = Step(None, cotangent(inputs.steps.noise, d_noise), None, None)  # pyright: ignore[reportArgumentType]
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    d_zx = d_zh if additive else d_zx
    return cotangent(cell, d_cell), d_params, cotangent(carry, d_carry), d_inputs, d_zx, d_zh, None


_attach.defvjp(_attach_forward, _attach_backward)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)
