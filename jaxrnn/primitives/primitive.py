"""One factory for the primitives of the library, and the parts of JAX that have no public name.

Nothing outside of `primitives` and `kernels` imports `jax.core`, `jax.extend`, `jax.interpreters` or
`jax.experimental`. Names of `jax.extend.core` are imported from JAX's own modules: `jax.extend` imports Pallas, which
takes half of the time that importing this library takes.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax._src.core import ClosedJaxpr as ClosedJaxpr
from jax._src.core import Jaxpr as Jaxpr
from jax._src.core import Primitive
from jax._src.core import Var as Var
from jax._src.core import get_opaque_trace_state as get_opaque_trace_state
from jax._src.core import jaxpr_as_fun as jaxpr_as_fun
from jax._src.core import subjaxprs as subjaxprs
from jax.core import ShapedArray, Tracer
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jax.experimental import multihost_utils
from jax.interpreters import ad, batching, mlir, xla

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "Tracer",
    "get_opaque_trace_state",
    "multihost_utils",
    "new",
    "on_mesh",
    "varying_alike",
]

Values = Sequence[Any]
Program = Callable[..., list[Any]]
"""(*operands, **params) -> results."""


def new(
    name: str,
    program: Program,
    *,
    shapes: Callable[..., list[tuple[tuple[Any, ...], Any]]],
    batch: Callable[..., Any],
    jvp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    lowered: dict[str | None, Program] | None = None,
) -> Program:
    """A primitive that computes what `program` does, with rules of its own.

    Args:
      name: the primitive's name in traced programs.
      program: (*operands, **params) -> results, in ordinary JAX.
      shapes: (*operands, **params) -> (shape, dtype) of each result, outside of any mesh.
      batch: the rule of `jax.vmap`: (operands, axes, **params) -> (results, their axes).
      jvp: (primals, tangents, **params) -> (results, their tangents); None: the rule of `program`.
      transpose: (cotangents, *operands, **params) -> a cotangent for each operand; None: it is not linear.
      lowered: by platform, the function that is compiled in place of `program`; None: `program` everywhere.

    Returns:
      (*operands, **params) -> results. Inside `jax.shard_map` it is `program` itself, so that JAX's own rules track
      which arrays vary over devices.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def abstract(*operands: Any, **params: Any) -> Any:
        if not jax.sharding.get_abstract_mesh().empty:  # types include shardings, found by JAX's own rules
            return jax.make_jaxpr(functools.partial(program, **params))(*operands).out_avals
        return [ShapedArray(shape, dtype) for shape, dtype in shapes(*operands, **params)]

    primitive.def_impl(functools.partial(xla.apply_primitive, primitive))
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = jvp or _jvp_of(program)
    if transpose is not None:
        ad.primitive_transposes[primitive] = transpose
    for platform, compiled in ({None: program} | (lowered or {})).items():
        mlir.register_lowering(primitive, mlir.lower_fun(compiled, multiple_results=True), platform=platform)

    def bind(*operands: Any, **params: Any) -> list[Any]:
        if jax.sharding.get_abstract_mesh().manual_axes:
            return program(*operands, **params)
        return primitive.bind(*operands, **params)

    return bind


def _jvp_of(program: Program) -> Callable[..., tuple[list[Any], list[Any]]]:
    """The rule of `jax.jvp` for a program, with respect to the operands that have a tangent."""

    def rule(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
        moving = [i for i, tangent in enumerate(tangents) if not is_zero(tangent)]

        def run(*values: Any) -> list[Any]:
            operands = list(primals)
            for i, value in zip(moving, values, strict=True):
                operands[i] = value
            return program(*operands, **params)

        results, d_results = jax.jvp(run, [primals[i] for i in moving], [tangents[i] for i in moving])
        pairs = zip(results, d_results, strict=True)
        return results, [_no_tangent(x) if d.dtype == jax.dtypes.float0 else d for x, d in pairs]

    return rule


def _no_tangent(x: Any) -> Any:
    return ad.Zero(jax.typeof(x).to_tangent_aval())


def is_zero(tangent: Any) -> bool:
    """Tells whether a tangent or cotangent is known to be zero."""
    return type(tangent) is ad.Zero


def is_unknown(operand: Any) -> bool:
    """Tells whether an operand of a transpose is the linear one, whose cotangent is wanted."""
    return ad.is_undefined_primal(operand)


def varying_alike(tree: Any) -> Any:
    """Makes arrays vary along the same mesh axes, as a loop's have to inside `jax.shard_map`."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    axes = frozenset().union(*map(_varying, jax.tree.leaves(tree)))

    def alike(x: Any) -> Any:
        missing = tuple(axes - _varying(x))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(alike, tree)


def _varying(x: Any) -> frozenset[str]:
    """The mesh axes along which an array varies, under the name that this version of JAX has for them."""
    aval: Any = jax.typeof(x)
    return frozenset(aval.vma if hasattr(aval, "vma") else aval.mat.varying)


def on_mesh(x: jax.Array) -> jax.Array:
    """Places an array from outside a mesh with explicit axes onto the mesh: whole, on each device."""
    mesh, explicit = jax.sharding.get_abstract_mesh(), jax.sharding.AxisType.Explicit
    if explicit not in mesh.axis_types or not jax.typeof(x).sharding.mesh.empty:
        return x
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec())
