"""Backpropagation through time, written out, for cells of any step.

The reverse loop carries dL/dcarry, through `jax.vjp` of the step with respect to its carry at each time:

  dL/dcarry[t-1] = (d step / dcarry)^T (dL/dcarry[t], dL/dy[t])

Parameters and inputs stay outside, as in `gated_rule`: the step is applied once more to the carries that the loop
passed through, at all times in parallel; the rule ignores the values and gives them the cotangents dL/dcarry[t] and
dL/dy[t], so their transpose sums the contributions of all steps at once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.gradients.inexact import cotangent, floats, with_floats
from jaxrnn.gradients.masks import enter, select, zero_unless
from jaxrnn.types import Cell, Inputs, Params, Step, Tree


class Path(NamedTuple):
    """What a loop over T steps passed through.

    Attributes:
      carries: the carry that each step read, [T, ...].
      final: the carry after the last step.
      ys: the outputs, [T, ...].
    """

    carries: Tree
    final: Tree
    ys: Tree


def run(cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
    """As `Gradient.run`."""
    steps = inputs.steps
    path = _path(cell, params, carry, inputs)
    local = jax.vmap(lambda before, x, noise: cell.step(params, before, x, noise))(path.carries, steps.x, steps.noise)
    return _attach(cell, params, carry, inputs, local, path)


def _walk(cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> Path:
    def body(carry: Tree, step: Step) -> tuple[Tree, Any]:
        before = enter(carry, inputs.initial, step.reset)
        after, y = cell.step(params, before, step.x, step.noise)
        return select(step.valid, after, before), (before, zero_unless(step.valid, y))

    final, (carries, ys) = jax.lax.scan(body, carry, inputs.steps)
    return Path(carries, final, ys)


_path = jax.custom_vjp(_walk)
_path.defvjp(lambda *args: (_walk(*args), None), lambda _, __: (None, None, None, None))


@jax.custom_vjp
def _attach(
    cell: Cell, params: Params, carry: Tree, inputs: Inputs, local: tuple[Tree, Tree], path: Path
) -> tuple[Tree, Any]:
    del cell, params, carry, inputs, local
    return path.final, path.ys


def _attach_forward(*args: Any) -> Any:
    cell, params, carry, inputs, local, path = args
    return (path.final, path.ys), (cell, params, carry, inputs, local, path)


def _attach_backward(residuals: Any, cotangents: Any) -> Any:
    cell, params, carry, inputs, local, path = residuals
    d_final, d_ys = cotangents

    def body(adjoint: Any, at_t: Any) -> Any:
        d_after, d_initial = adjoint
        step, before, d_y = at_t

        def local(before_: list[jax.Array]) -> Any:
            after, y = cell.step(params, with_floats(before, before_), step.x, step.noise)
            return floats(after), floats(y)

        d_local = zero_unless(step.valid, (d_after, d_y))
        _, pull = jax.vjp(local, floats(before))
        (d_before,) = pull(d_local)
        if step.valid is not None:
            d_before = select(step.valid, d_before, d_after)
        if step.reset is not None:
            d_initial = jax.tree.map(jnp.add, d_initial, zero_unless(step.reset, d_before))
            d_before = zero_unless(~step.reset, d_before)
        return (d_before, d_initial), d_local

    zeros = [jnp.zeros_like(x) for x in floats(inputs.initial)]
    (d_carry, d_initial), (d_after, d_y) = jax.lax.scan(
        body, (floats(d_final), zeros), (inputs.steps, path.carries, floats(d_ys)), reverse=True
    )
    d_local = cotangent(local[0], d_after), cotangent(local[1], d_y)
    d_inputs = Inputs(Step(None, None, None, None), cotangent(inputs.initial, d_initial))  # pyright: ignore
    return None, None, cotangent(carry, d_carry), d_inputs, d_local, None


_attach.defvjp(_attach_forward, _attach_backward)
