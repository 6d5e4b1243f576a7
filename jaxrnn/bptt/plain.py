"""Backpropagation through time as the textbooks write it, for cells of any step.

  forward:   carry[t], y[t] = step(params, carry[t-1], x[t])                           keeps the carries
  backward:  d_params, d_carry, d_x[t] = vjp(step)(params, carry[t-1], x[t])(d_carry, d_y[t])

Its purpose is to check gradients and to clip dL/dcarry. Each step runs twice, so `autodiff()`, the default for a cell
of any step, is faster.
"""

import jax
import jax.numpy as jnp

from jaxrnn.bptt.clipping import Limits
from jaxrnn.float_leaves import cotangent, floats, on_floats
from jaxrnn.masks import enter, enter_and_select_transposed, select, zero_unless
from jaxrnn.types import Cell, Inputs, Params, Step, Tree


@jax.custom_vjp
def run(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> tuple[Tree, Tree]:
    """Runs all steps like `Gradient.run`, with dL/dcarry within the limits."""
    return _forward(cell, params, carry, inputs, limits)[0]


def _forward(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> tuple[Tree, Tree]:
    def body(carry: Tree, step: Step) -> tuple[Tree, Tree]:
        before = enter(carry, inputs.initial, step.reset)
        after, y = cell.step(params, before, step.x, step.noise)
        return select(step.valid, after, before), (before, zero_unless(step.valid, y))

    final, (carries, ys) = jax.lax.scan(body, carry, inputs.steps)
    return (final, ys), (cell, params, carry, inputs, limits, carries)


def _backward(residuals: Tree, cotangents: Tree) -> Tree:
    cell, params, carry, inputs, limits, carries = residuals
    d_final, d_ys = map(floats, cotangents)

    def take_step(_: None, cell: Cell, params: Params, before: Tree, x: Tree, noise: Tree) -> tuple[Tree, Tree]:
        return cell.step(params, before, x, noise)

    def body(adjoint: Tree, at_t: Tree) -> tuple[Tree, Tree]:
        d_after, d_initial, totals = adjoint
        step, before, d_y = at_t
        local, point = on_floats(take_step, cell, params, before, step.x, step.noise)
        _, pull = jax.vjp(lambda *point: local(None, *point), *point)
        d_cell, d_params, d_before, d_x, d_noise = pull(zero_unless(step.valid, [*d_after, *d_y]))
        d_before = limits.clip(d_before, inputs.batch_axes)
        d_before, d_initial = enter_and_select_transposed(step, d_before, d_after, d_initial)
        totals = jax.tree.map(jnp.add, totals, (d_cell, d_params))
        return (d_before, d_initial, totals), (d_x, d_noise)

    d_initial, totals = jax.tree.map(jnp.zeros_like, (floats(inputs.initial), (floats(cell), floats(params))))
    start, xs = (d_final, d_initial, totals), (inputs.steps, carries, d_ys)
    (d_carry, d_initial, (d_cell, d_params)), (d_x, d_noise) = jax.lax.scan(body, start, xs, reverse=True)
    d_steps = Step(cotangent(inputs.steps.x, d_x), cotangent(inputs.steps.noise, d_noise), None, None)
    d_inputs = Inputs(d_steps, cotangent(inputs.initial, d_initial))
    return cotangent(cell, d_cell), cotangent(params, d_params), cotangent(carry, d_carry), d_inputs, None


run.defvjp(_forward, _backward)
