"""The derivative of one step of any cell: what a forward loop has to keep for it, and how to get at it afterwards.

Two forms of one interface. `arguments` are always what a step takes, after its cell: (cell, params, carry, x, noise).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun, subjaxprs

from jaxrnn.gradients.inexact import floats, with_floats
from jaxrnn.types import Tree

Arrays = list[jax.Array]


class Linearised:
    """The step's linear approximation, whose coefficients are kept: nothing is computed twice.

    The step is traced once, by its shapes; coefficients that depend on parameters alone are told from those that change
    from step to step.
    """

    _outputs: Any  # tree structures
    _linear: Jaxpr
    _derivatives: Any

    def __init__(self, *arguments: Any) -> None:
        def traced(*arguments: Any) -> tuple[Arrays, Arrays]:
            def at(*values: Arrays) -> Any:
                cell, *rest = map(with_floats, arguments, values)
                carry, y = cell.step(*rest)
                return (floats(carry), floats(y)), (carry, y)

            point = [floats(argument) for argument in arguments]
            _, linear, outputs = jax.linearize(at, *point, has_aux=True)
            outputs, self._outputs = jax.tree.flatten(outputs)
            program, shapes = jax.make_jaxpr(linear, return_shape=True)(*point)
            self._linear, self._derivatives = program.jaxpr, jax.tree.structure(shapes)
            return outputs, program.consts

        self._program = jax.make_jaxpr(traced)(*arguments)
        first = len(jax.tree.leaves(arguments[:2]))  # cell and params come before it
        self._varies = _depends(self._program.jaxpr, first)[self._outputs.num_leaves :]

    @property
    def possible(self) -> bool:
        """False if the step holds a `jax.custom_vjp` function: it has no linear approximation that could be applied."""
        return not _contains(self._linear, "custom_lin")

    def fixed(self, *arguments: Any) -> Arrays:
        """What is kept once for all steps."""
        return [c for c, varies in zip(self._run(arguments)[1], self._varies, strict=True) if not varies]

    def forward(self, *arguments: Any) -> tuple[Tree, Tree, Arrays]:
        """(carry, y, what is kept of this step)."""
        (carry, y), coefficients = self._run(arguments)
        return carry, y, [c for c, varies in zip(coefficients, self._varies, strict=True) if varies]

    def _run(self, arguments: Any) -> tuple[Any, Arrays]:
        results, n = jaxpr_as_fun(self._program)(*jax.tree.leaves(arguments)), self._outputs.num_leaves
        return jax.tree.unflatten(self._outputs, results[:n]), results[n:]

    def carry(self, like: Tree, kept: Arrays) -> Tree:
        """Where to take derivatives of `local`: for a linear function, anywhere."""
        del kept
        return with_floats(like, [jnp.zeros_like(x) for x in floats(like)])

    def local(self, fixed: Arrays, kept: Arrays, *arguments: Any) -> tuple[Arrays, Arrays]:
        """A function with the derivatives of (floats(carry), floats(y)); its values mean nothing."""
        sources = iter(fixed), iter(kept)
        coefficients = [next(sources[varies]) for varies in self._varies]
        apply = jaxpr_as_fun(ClosedJaxpr(self._linear, coefficients))
        return jax.tree.unflatten(self._derivatives, apply(*(x for a in arguments for x in floats(a))))


class Recomputed:
    """The step itself, run again at the carry that it read."""

    def fixed(self, *arguments: Any) -> Arrays:
        """Nothing."""
        del arguments
        return []

    def forward(self, *arguments: Any) -> tuple[Tree, Tree, Arrays]:
        """(carry, y, the carry that the step read)."""
        cell, params, carry, x, noise = arguments
        return *cell.step(params, carry, x, noise), jax.tree.leaves(carry)

    def carry(self, like: Tree, kept: Arrays) -> Tree:
        """The carry that the step read."""
        return jax.tree.unflatten(jax.tree.structure(like), kept)

    def local(self, fixed: Arrays, kept: Arrays, *arguments: Any) -> tuple[Arrays, Arrays]:
        """The step."""
        del fixed, kept
        cell, *rest = arguments
        carry, y = cell.step(*rest)
        return floats(carry), floats(y)


def step_rule(*arguments: Any) -> Linearised | Recomputed:
    """The faster of the two that this step allows."""
    rule = Linearised(*arguments)
    return rule if rule.possible else Recomputed()


def _depends(jaxpr: Jaxpr, first: int) -> list[bool]:
    """Which results depend on any input from number `first` on."""
    varying = set(jaxpr.invars[first:])
    for equation in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in varying for v in equation.invars):
            varying.update(equation.outvars)
    return [not isinstance(v, Literal) and v in varying for v in jaxpr.outvars]


def _contains(jaxpr: Jaxpr, primitive: str) -> bool:
    here = any(equation.primitive.name == primitive for equation in jaxpr.eqns)
    return here or any(_contains(inner, primitive) for inner in subjaxprs(jaxpr))
