"""Backpropagation through time, written out, for gated cells.

  run:       zx    = xs @ w_x + b                          ordinary JAX, one product for all of time
             path  = forward loop over zx                  keeps each step's gates where zx stood, and its carry
             zh    = read(path) @ w_h + b_h                its value is not used; its transpose is dw_h
             ys    = attach(zx, zh, path)                  the custom rule: values of path, derivatives of backward
  backward:  d_gates, d_carry = vjp(update)(gates[t], carry[t-1])(d_carry)
             dz[t] = d_gates * slope(gates[t])             written where the gates stood
             d_carry += dz[t] @ w_h.T

  values:       xs @ w_x -> zx -> path -> ys             derivatives:   dw_x <- zx <- attach <- d_ys
                                  path @ w_h -> zh                      dw_h <- zh <-   |
                                                                                path    x  (none)

So each weight's derivative is one product for all of time, also where the unroll is vmapped with shared weights.
A rule, not `stop_gradient`, blocks the gradient through `path`: a second derivative still includes how the path depends
on everything. A gate that is `apart` has two derivatives, dzx and dzh, instead of one dz.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.bptt.clipping import Limits
from jaxrnn.bptt.loop import SCAN, Loop, Z
from jaxrnn.cells import gates as gate
from jaxrnn.cells.gated import GatedCell, own_params
from jaxrnn.float_leaves import cotangent, floats, on_floats, with_floats
from jaxrnn.linear import in_dtype
from jaxrnn.masks import enter, enter_and_select_transposed, select, zero_unless
from jaxrnn.types import Inputs, Params, Step, Tree


class Path(NamedTuple):
    """The values of a loop over T steps.

    Attributes:
      carries: the carry that each step read, [T, ...].
      kept: the arrays [T, ...] that each step keeps of its gates, chosen by `gates.outputs`; zh in `h`.
      final: the carry after the last step.
      ys: the outputs, [T, ..., H].
    """

    carries: Tree
    kept: Z
    final: Tree
    ys: Tree


def run(
    cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, loop: Loop = SCAN
) -> tuple[Tree, Tree]:
    """Runs all steps like `Gradient.run`, with dL/dcarry within the limits."""
    products = loop.input_product(cell, params, inputs.steps.x)
    given = {name: value for name, value in params.items() if name not in ("w_x", "initial_carry")}
    inputs = inputs._replace(steps=inputs.steps._replace(x=None))
    path = _path(loop, cell, given, carry, inputs, products)
    zx = loop.with_bias(cell, params, products)
    zh = loop.recurrent_product(cell, params, jax.vmap(cell.read)(path.carries, inputs.steps.noise))
    return _attach(loop, cell, given, carry, inputs, limits, zx, zh, path)


def _forward(loop: Loop, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, products: Z) -> Path:
    """The loop over all steps. It adds b in the loop: outside, the sum would be the largest array of the program."""
    own, product, f = own_params(params), loop.product(cell, params), tuple(cell.gates.values())

    def body(state: Tree, products: Z, step: Step) -> tuple[Tree, Z, Tree]:
        (carry, initial), _ = state
        before, zx = enter(carry, initial, step.reset), loop.with_bias(cell, params, products)
        z = loop.pre_activations(cell, zx, product(cell.read(before, step.noise)))
        gates = cell.activate(z)
        after = cell.advance(own, before, gates, step.noise)
        kept = loop.stored(gate.outputs(f, z, gates))
        y = zero_unless(step.valid, cell.output(after))
        state = (select(step.valid, after, before), initial), ()
        return state, kept._replace(h=None), (before, kept.h, y)

    start = (carry, inputs.initial), ()
    ((final, _), _), kept, (carries, zh, ys) = loop.scan(body, start, products, inputs.steps)
    return Path(carries, kept._replace(h=zh), final, ys)


def _without_derivative(loop: Loop, *args: Any) -> Path:
    return _forward(loop.without_derivative, *args)


_path = jax.custom_vjp(_without_derivative, nondiff_argnums=(0,))
_path.defvjp(lambda *args: (_forward(*args), None), lambda *_: (None,) * 5)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(
    loop: Loop, cell: GatedCell, params: Params, carry: Tree, inputs: Inputs, limits: Limits, zx: Z, zh: Z, path: Path
) -> tuple[Tree, Tree]:
    del loop, cell, params, carry, inputs, limits, zx, zh
    return path.final, path.ys


def _attach_forward(loop: Loop, *args: Any) -> Tree:
    del loop
    cell, params, _, inputs, limits, _, _, path = args
    read = {name: None if name in ("b", "b_h") else value for name, value in params.items()}
    return (path.final, path.ys), (cell, read, inputs, limits, path._replace(final=None, ys=None))


def _backward(loop: Loop, residuals: Tree, cotangents: Tree) -> Tree:
    """The loop over all steps, from the last to the first."""
    cell, params, inputs, limits, path = residuals
    d_final, d_ys = map(floats, cotangents)
    transposed = loop.transposed_product(cell, params)
    own = in_dtype(own_params(params), d_ys[0].dtype)

    def body(adjoint: Tree, kept: Tree, at_t: Tree) -> Tree:
        (d_after, d_initial), totals = adjoint
        step, before, d_y = at_t
        kept = loop.gates(cell, kept)  # each gate's output, or z: see `activated`

        def tick(z: Z, cell: GatedCell, own: Params, before: Tree, noise: Tree) -> tuple[Tree, Tree]:
            after = cell.advance(own, before, cell.activate(z, kept), noise)
            return after, cell.output(after)

        local, point = on_floats(tick, cell, own, before, step.noise)
        _, pull = jax.vjp(local, kept, *point)
        d_z, d_cell, d_own, d_before, d_noise = pull(zero_unless(step.valid, [*d_after, *d_y]))

        _, pull = jax.vjp(lambda before_: cell.read(with_floats(before, before_), step.noise), floats(before))
        (d_read,) = pull(transposed(d_z))
        d_before = limits.clip(_add(d_before, d_read), d_y[0].ndim - 1)
        d_before, d_initial = enter_and_select_transposed(step, d_before, d_after, d_initial)
        return ((d_before, d_initial), _add(totals, (d_cell, d_own))), loop.stored(d_z), d_noise

    d_initial, totals = jax.tree.map(jnp.zeros_like, (floats(inputs.initial), (floats(cell), floats(own))))
    start, xs = ((d_final, d_initial), totals), (inputs.steps, path.carries, d_ys)
    ((d_carry, d_initial), (d_cell, d_own)), d_z, d_noise = loop.scan(body, start, path.kept, xs, reverse=True)
    d_own = [d.astype(x.dtype) for d, x in zip(d_own, floats(own_params(params)), strict=True)]
    d_params = dict.fromkeys(params) | cotangent(own, d_own)
    d_steps = Step(None, cotangent(inputs.steps.noise, d_noise), None, None)  # pyright: ignore[reportArgumentType]
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    d_zx, d_zh = d_z._replace(h=None), d_z._replace(x=None)
    d_carry = cotangent(path.carries, d_carry)  # a tree like the carry
    return cotangent(cell, d_cell), d_params, d_carry, d_inputs, None, d_zx, d_zh, None


_attach.defvjp(_attach_forward, _backward)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)
