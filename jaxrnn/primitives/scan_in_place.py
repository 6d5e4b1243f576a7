"""A scan that overwrites arrays as it goes, as a primitive that knows how to be vmapped and compiled.

A loop reads a[t] and makes b[t], which may overwrite a[t]. After step 1 of four:

                                 t = 0   1   2   3
  lax.scan        reads    a        a0  a1  a2  a3
                  writes   b        b0  b1   0   0
  scan_in_place   both     a        b0  b1  a2  a3

To XLA the array that a scan reads and the array that it stacks are different, and it fills the latter with zeros first.
`scan_in_place` needs one array instead of two, and no zeros: two fifths of the memory of an LSTM's gradient, and up to
a seventh of its time. Step t reads the entry of step t+1 before it ends, so that no array is read after it was written
in the same step; otherwise XLA would copy the array whole (and take 2 to 29 times as long).

Under `jax.vmap` the mapped axis of the arrays stays behind time. In a `jax.lax.scan` it would be the first axis of each
array in the carry: each step would read and write rows that are T entries apart, and the arrays would be transposed
before and after the loop (up to half of the time and the memory again).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.primitives import primitive
from jaxrnn.primitives.one_kernel import one_kernel
from jaxrnn.primitives.primitive import ClosedJaxpr, jaxpr_as_fun


def scan_in_place(
    f: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
    carry: Any,
    arrays: Any,
    xs: Any,
    reverse: bool = False,
) -> tuple[Any, Any, Any]:
    """`jax.lax.scan` that also replaces each step's entry of `arrays`.

    Args:
      f: (carry, entry, x) -> (carry, entry, y), entries of the same shapes and dtypes.
      carry: the carry before the first step.
      arrays: a tree of [T, ...].
      xs: as in `lax.scan`.
      reverse: from the last step to the first.

    Returns:
      (carry, arrays, ys).
    """
    trees = carry, arrays, xs
    program, shapes = jax.make_jaxpr(f, return_shape=True)(carry, *jax.tree.map(lambda a: a[0], (arrays, xs)))
    counts = Counts(len(program.consts), *(len(jax.tree.leaves(tree)) for tree in trees))
    operands = (*program.consts, *jax.tree.leaves(trees))
    results = _scan(*operands, body=_consts_first(program), counts=counts, reverse=reverse)
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _consts_first(program: ClosedJaxpr) -> ClosedJaxpr:
    """The program with its constants as its first arguments."""
    jaxpr = program.jaxpr
    return ClosedJaxpr(jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars]), ())


class Counts(NamedTuple):
    """The number of operands of each kind: the consts of the body, its carry, the arrays, the xs."""

    consts: int
    carry: int
    arrays: int
    xs: int

    def parts(self, values: Any) -> list[list[Any]]:
        """The operands of each kind."""
        rest = iter(values)
        return [[next(rest) for _ in range(count)] for count in self]


def _loop(*operands: Any, body: ClosedJaxpr, counts: Counts, reverse: bool) -> list[Any]:
    consts, carry, arrays, xs = counts.parts(map(primitive.on_mesh, operands))
    T, f = arrays[0].shape[0], jaxpr_as_fun(body)

    def at(t: Any, a: jax.Array) -> dict[str, Any]:
        return {"start_indices": (t, *[jnp.zeros_like(t)] * (a.ndim - 1)), "allow_negative_indices": False}

    def read(a: jax.Array, t: Any) -> jax.Array:
        return jax.lax.dynamic_slice(a, slice_sizes=(1, *a.shape[1:]), **at(t, a))[0]

    def write(a: jax.Array, entry: jax.Array, t: Any) -> jax.Array:
        return jax.lax.dynamic_update_slice(a, entry[None], **at(t, a))

    def step(state: Any, x: Any) -> Any:
        t, carry, entries, arrays = state
        results = iter(f(*consts, *carry, *entries, *x))
        carry, entries = [next(results) for _ in carry], [next(results) for _ in entries]
        arrays = [write(a, e, t) for a, e in zip(arrays, entries, strict=True)]
        following = [read(a, t - 1 if reverse else t + 1) for a in arrays]  # past the end: any entry
        return (t - 1 if reverse else t + 1, carry, following, arrays), list(results)

    first = [a[-1 if reverse else 0] for a in arrays]
    start = jnp.asarray(T - 1 if reverse else 0, jnp.int32)
    state = start, carry, first, arrays
    if isinstance(T, int):
        (_, carry, _, arrays), ys = jax.lax.scan(step, state, xs, T, reverse)
    else:  # `jax.export` with a symbolic T, which a scan reads only from an array
        (_, carry, _, arrays), ys = jax.lax.scan(
            lambda s, x: step(s, x[0]), state, (xs, jnp.arange(T)), reverse=reverse
        )
    return [*carry, *arrays, *ys]


def _shapes(*operands: Any, body: ClosedJaxpr, counts: Counts, reverse: bool) -> Any:
    del reverse
    _, carry, arrays, _ = counts.parts(operands)
    T, ys = arrays[0].shape[0], body.out_avals[counts.carry + counts.arrays :]
    stacked = [((T, *y.shape), y.dtype) for y in ys]
    return [*((x.shape, x.dtype) for x in (*carry, *arrays)), *stacked]


def _batch(operands: Any, axes: Any, *, body: ClosedJaxpr, counts: Counts, reverse: bool) -> Any:
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)

    def moved(x: Any, axis: int | None, place: int, always: bool) -> Any:
        if axis is not None:
            return jnp.moveaxis(x, axis, place)
        return jnp.repeat(jnp.expand_dims(x, place), size, place) if always else x

    def entry(x: Any, place: int) -> Any:
        return jax.eval_shape(lambda x: x[0], x) if place == 1 else x

    # The mapped axis comes first, or after time. Carry and arrays change in the loop, so they are mapped in any case.
    places = [0] * (counts.consts + counts.carry) + [1] * (counts.arrays + counts.xs)
    always = [False] * counts.consts + [True] * (counts.carry + counts.arrays) + [False] * counts.xs
    operands = [moved(*each) for each in zip(operands, axes, places, always, strict=True)]
    mapped = [0 if axis is not None or a else None for axis, a in zip(axes, always, strict=True)]
    entries = map(entry, operands, places)
    program = jax.make_jaxpr(jax.vmap(jaxpr_as_fun(body), mapped))(*entries)
    counts = counts._replace(consts=len(program.consts) + counts.consts)
    results = _scan(*program.consts, *operands, body=_consts_first(program), counts=counts, reverse=reverse)
    return results, [0] * counts.carry + [1] * (len(results) - counts.carry)


_scan = primitive.new("scan_in_place", _loop, shapes=_shapes, batch=_batch, lowered={"cpu": one_kernel(_loop, _loop)})
