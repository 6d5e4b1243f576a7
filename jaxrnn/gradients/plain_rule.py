"""Backpropagation through time, written out, for cells of any step.

The reverse loop carries dL/dcarry, by the transpose of the step's derivative at each time:

  dL/dcarry[t-1] = (d step / dcarry)^T (dL/dcarry[t], dL/dy[t])

Parameters and inputs stay outside, as in `gated_rule`: the step's derivative is applied to them at all times in
parallel; the rule ignores the values and gives them the cotangents dL/dcarry[t] and dL/dy[t], so their transpose sums
the contributions of all steps at once.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gradients.inexact import cotangent, floats, with_floats
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.masks import enter, enter_and_select_transposed, select, zero_unless
from jaxrnn.gradients.step_rule import Arrays, Linearised, Recomputed, step_rule
from jaxrnn.types import Cell, Inputs, Params, Step, Tree

Rule = Linearised | Recomputed


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      fixed: what the rule keeps once.
      kept: what it keeps of each step, [T, ...].
      final: the carry after the last step.
      ys: the outputs, [T, ...].
    """

    fixed: Arrays
    kept: Arrays
    final: Tree
    ys: Tree


def run(cell: Cell, params: Params, carry: Tree, inputs: Inputs, limits: Limits) -> tuple[Tree, Any]:
    """As `Gradient.run`; dL/dcarry is kept within the limits."""
    steps = inputs.steps
    rule = step_rule(cell, params, carry, *steps.at_0)
    path = _path(rule, cell, params, carry, inputs)

    def local(kept: Arrays, x: jax.Array, noise: Tree) -> tuple[Arrays, Arrays]:
        return rule.local(path.fixed, kept, cell, params, rule.carry(carry, kept), x, noise)

    derivatives = jax.vmap(local)(path.kept, steps.x, steps.noise)
    return _attach(rule, cell, params, carry, inputs, limits, derivatives, path)


def _walk(rule: Rule, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
        before = enter(carry, inputs.initial, step.reset)
        after, y, kept = rule.forward(cell, params, before, step.x, step.noise)
        return select(step.valid, after, before), (kept, zero_unless(step.valid, y))

    final, (kept, ys) = jax.lax.scan(body, carry, inputs.steps)
    return Path(rule.fixed(cell, params, carry, *inputs.steps.at_0), kept, final, ys)


_path = jax.custom_vjp(_walk, nondiff_argnums=(0,))
_path.defvjp(lambda *args: (_walk(*args), None), lambda *_: (None, None, None, None))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(
    rule: Rule,
    cell: Cell,
    params: Params,
    carry: Tree,
    inputs: Inputs,
    limits: Limits,
    local: tuple[Arrays, Arrays],
    path: Path,
) -> tuple[Tree, Any]:
    del rule, cell, params, carry, inputs, limits, local
    return path.final, path.ys


def _attach_forward(rule: Rule, *args: Any) -> Any:
    del rule
    cell, params, carry, inputs, limits, _, path = args
    return (path.final, path.ys), (cell, params, carry, inputs, limits, path)


def _attach_backward(rule: Rule, residuals: Any, cotangents: Any) -> Any:
    cell, params, carry, inputs, limits, path = residuals
    d_final, d_ys = cotangents

    def body(adjoint: Any, at_t: Any) -> Any:
        d_after, d_initial = adjoint
        step, kept, d_y = at_t
        before = rule.carry(carry, kept)

        def local(before_: Arrays) -> tuple[Arrays, Arrays]:
            arguments = cell, params, with_floats(before, before_), step.x, step.noise
            return rule.local(path.fixed, kept, *arguments)

        d_carry = zero_unless(step.valid, d_after)
        _, pull = jax.vjp(local, floats(before))
        (d_before,) = pull((d_carry, d_y))
        d_before = limits.clip(d_before, inputs.steps.x.ndim - 2)
        return enter_and_select_transposed(step, d_before, d_after, d_initial), d_carry

    d_ys = jax.vmap(zero_unless)(inputs.steps.valid, floats(d_ys))
    zeros = [jnp.zeros_like(x) for x in floats(inputs.initial)]
    (d_carry, d_initial), d_carries = jax.lax.scan(
        body, (floats(d_final), zeros), (inputs.steps, path.kept, d_ys), reverse=True
    )
    d_inputs = Inputs(Step(None, None, None, None), cotangent(inputs.initial, d_initial))  # pyright: ignore
    return None, None, cotangent(carry, d_carry), d_inputs, None, (d_carries, d_ys), None


_attach.defvjp(_attach_forward, _attach_backward)
