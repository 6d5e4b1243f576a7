"""Activations kept from the forward loop, so that the reverse loop takes no exp or tanh again.

The derivative of a sigmoid, a tanh or an exp can be written by its output alone. Where the reverse loop would read a
pre-activation only to apply such a function to it once more, the forward loop can leave the output in its place.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jaxrnn.gradients.inexact import on_floats

SLOPES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "logistic": lambda y: y * (1.0 - y),
    "tanh": lambda y: 1.0 - y * y,
    "exp": lambda y: y,
}
"""dy/dx by y, for each primitive that can be written so."""

Arrays = Sequence[jax.Array]


class Kept(NamedTuple):
    """Where the first outputs of a step are kept: output k in the place of the pre-activation number slots[k]."""

    slots: tuple[int, ...] = ()

    def store(self, z: Arrays, outputs: Arrays) -> list[jax.Array]:
        """What to keep of a step's pre-activations and outputs."""
        kept = list(z)
        for slot, output in zip(self.slots, outputs[: len(self.slots)], strict=True):
            kept[slot] = output
        return kept

    def known(self, kept: Arrays) -> list[jax.Array]:
        """The outputs, from what `store` returned."""
        return [kept[slot] for slot in self.slots]


def choose(f: Callable[..., Any], z: Arrays, *trees: Any) -> Kept:
    """As many outputs of f(z, *trees) as there are pre-activations whose values its derivative then needs no more."""

    def found(z: Arrays, *trees: Any) -> list[jax.Array]:
        return with_found(f, z, *trees)[1]

    outputs = jax.eval_shape(found, z, *trees)
    alike = list(itertools.takewhile(lambda y: (y.shape, y.dtype) == (z[0].shape, z[0].dtype), outputs))
    for count in range(min(len(alike), len(z)), 0, -1):
        needed = _needed(f, z, alike[:count], trees)
        free = [slot for slot in range(len(z)) if slot not in needed]
        if count <= len(free):
            return Kept(tuple(free[:count]))
    return Kept()


def _needed(f: Callable[..., Any], z: Arrays, known: Arrays, trees: Any) -> list[int]:
    """Whose values the derivatives of f depend on, the first outputs being known."""

    def derivatives(z: Arrays, known: Arrays, trees: Any) -> Any:
        local, point = on_floats(f, *trees)
        values, pull = jax.vjp(with_known(local, known), z, *point)
        return pull([jnp.ones_like(x) for x in values])

    jaxpr = jax.make_jaxpr(derivatives)(z, known, trees).jaxpr
    live = _live(jaxpr)
    return [i for i, v in enumerate(jaxpr.invars[: len(z)]) if v in live]


def _live(jaxpr: Jaxpr) -> set[Any]:
    live = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    for equation in reversed(jaxpr.eqns):
        if any(v in live for v in equation.outvars):
            live.update(v for v in equation.invars if not isinstance(v, Literal))
    return live


def with_found(f: Callable[..., Any], *arguments: Any) -> tuple[Any, list[jax.Array]]:
    """(f(*arguments), the outputs of all functions in it that are in `SLOPES`)."""
    found: list[jax.Array] = []

    def apply(equation: Any, x: jax.Array) -> jax.Array:
        found.append(equation.primitive.bind(x, **equation.params))
        return found[-1]

    return _run(f, arguments, apply), found


def with_known(f: Callable[..., Any], known: Arrays) -> Callable[..., Any]:
    """f, its first outputs in `SLOPES` known: what they come from is not read, but gets its derivative."""

    def run(*arguments: Any) -> Any:
        rest = iter(known)

        def apply(equation: Any, x: jax.Array) -> jax.Array:
            y = next(rest, None)
            if y is None:
                return equation.primitive.bind(x, **equation.params)
            return _known(SLOPES[equation.primitive.name](y), x, y)

        return _run(f, arguments, apply)

    return run


@jax.custom_jvp
def _known(slope: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    del slope, x
    return y


@_known.defjvp
def _known_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (slope, _, y), (_, d_x, _) = primals, tangents
    return y, slope * d_x


def _run(f: Callable[..., Any], arguments: Any, apply: Callable[[Any, Any], Any]) -> Any:
    """f, but each function in `SLOPES` by `apply`."""
    program, shapes = jax.make_jaxpr(f, return_shape=True)(*arguments)
    results = _evaluate(program, jax.tree.leaves(arguments), apply)
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _evaluate(program: ClosedJaxpr, arguments: list[Any], apply: Callable[[Any, Any], Any]) -> list[Any]:
    jaxpr = program.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *arguments], strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else values[v]

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        pairs = zip(inputs, equation.invars, strict=True)
        if equation.primitive.name in SLOPES:
            results = [apply(equation, *inputs)]
        elif equation.primitive.name in ("jit", "pjit"):
            results = _evaluate(equation.params["jaxpr"], inputs, apply)
        else:
            results = jaxpr_as_fun(_alone(jaxpr, equation))(*(x for x, v in pairs if not isinstance(v, Literal)))
        values.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _alone(jaxpr: Jaxpr, equation: Any) -> ClosedJaxpr:
    """A program of one equation."""
    fresh = [v for v in equation.invars if not isinstance(v, Literal)]
    return ClosedJaxpr(jaxpr.replace(constvars=[], invars=fresh, outvars=equation.outvars, eqns=[equation]), ())
