"""Backpropagation through time, written out, for gated cells.

The reverse loop carries dL/dcarry and yields only the derivatives of the pre-activations:

  dz[t] = (d update / dz)^T dL/dcarry[t];   dL/dcarry[t-1] = (d update / dcarry)^T dL/dcarry[t] + dzh[t] @ w_h^T

The products with weights stay ordinary JAX outside the rule: zx = xs @ w_x + b before it, and zh, the product of the
states that the loop passed through with w_h. The rule ignores the *value* of zh, but gives it the cotangent dzh: its
transpose is then dw_h = sum_t h[t-1]^T dzh[t], one product for all of time, which also stays one product where the
unroll is vmapped with shared weights.

  path  = the loop           (no gradient passes at first order: the rule below stands for it)
  zh    = read(path) @ w_h   (gives dw_h, db_h)
  attach(zx, zh, path)       (the values of path, with the derivatives above)

The gradient that `path` blocks is blocked by a rule, not by `stop_gradient`, so a second derivative still sees how the
path depends on everything.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gated import GatedCell, own_params
from jaxrnn.gradients.inexact import cotangent, floats, with_floats
from jaxrnn.gradients.masks import enter, select, zero_unless
from jaxrnn.linear import affine
from jaxrnn.types import Inputs, Params, Step, Tree


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      carries: the carry that each step read, [T, ...].
      zh: [T, ..., G*H].
      final: the carry after the last step.
      hs: the outputs, [T, ..., H].
    """

    carries: Tree
    zh: jax.Array
    final: Tree
    hs: jax.Array


def run(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, jax.Array]:
    """As `Gradient.run`."""
    zx = cell.input_product(params, inputs.steps.x)
    inputs = inputs._replace(steps=inputs.steps._replace(x=zx))
    recurrent = {name: value for name, value in params.items() if name not in ("w_x", "b", "initial_carry")}
    path = _path(cell, recurrent, carry, inputs)
    h_read = jax.vmap(cell.read)(path.carries, inputs.steps.noise)
    zh = cell.recurrent_product(recurrent, h_read)
    return _attach(cell, recurrent, carry, inputs, zh, path)


def _walk(cell: GatedCell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    own = own_params(params)

    def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
        before = enter(carry, inputs.initial, step.reset)
        zh = cell.recurrent_product(params, cell.read(before, step.noise))
        after = cell.advance(own, before, cell.split(step.x), cell.split(zh), step.noise)
        h = zero_unless(step.valid, cell.hidden(after))
        return select(step.valid, after, before), (before, zh, h)

    final, (carries, zh, hs) = jax.lax.scan(body, carry, inputs.steps)
    return Path(carries, zh, final, hs)


_path = jax.custom_vjp(_walk)
_path.defvjp(lambda *args: (_walk(*args), None), lambda _, __: (None, None, None, None))


@jax.custom_vjp
def _attach(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, zh: jax.Array, path: Path
) -> tuple[Tree, jax.Array]:
    del cell, params, carry, inputs, zh
    return path.final, path.hs


def _attach_forward(*args: Any) -> Any:
    cell, params, carry, inputs, _, path = args
    return (path.final, path.hs), (cell, params, carry, inputs, path)


def _attach_backward(residuals: Any, cotangents: Any) -> Any:
    cell, params, carry, inputs, path = residuals
    d_final, d_hs = cotangents
    own, w_h = own_params(params), params["w_h"].T

    def body(adjoint: Any, at_t: Any) -> Any:
        d_after, d_cell, d_own, d_initial = adjoint
        step, before, zh, d_h = at_t

        def local(cell_, own_, before_, zx, zh, noise_):  # type: ignore[no-untyped-def]
            tick = with_floats(cell, cell_)
            noise = with_floats(step.noise, noise_)
            after = tick.advance(with_floats(own, own_), with_floats(before, before_), zx, zh, noise)
            return floats(after), tick.hidden(after)

        def read(before_: list[jax.Array]) -> jax.Array:
            return cell.read(with_floats(before, before_), step.noise)

        arguments = floats(cell), floats(own), floats(before), cell.split(step.x), cell.split(zh), floats(step.noise)
        _, pull = jax.vjp(local, *arguments)
        d_cell_t, d_own_t, d_before, d_zx, d_zh, d_noise = pull(zero_unless(step.valid, (d_after, d_h)))
        # An update of zx + zh alone has one derivative for both: storing it once takes 0.6 to 0.8 of the time.
        shared = all(a is b for a, b in zip(d_zx, d_zh, strict=True))
        d_zh = jnp.concatenate(d_zh, -1)
        d_zx = None if shared else jnp.concatenate(d_zx, -1)

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
        body, (floats(d_final), *zeros), (inputs.steps, path.carries, path.zh, d_hs), reverse=True
    )
    d_zx = d_zh if d_zx is None else d_zx
    d_params = dict.fromkeys(params) | cotangent(own, d_own)
    d_steps = Step(d_zx, cotangent(inputs.steps.noise, d_noise), None, None)
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    return cotangent(cell, d_cell), d_params, cotangent(carry, d_carry), d_inputs, d_zh, None


_attach.defvjp(_attach_forward, _attach_backward)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)
