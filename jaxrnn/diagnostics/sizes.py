"""The parts of a model, and the cost of running it."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.diagnostics.table import table
from jaxrnn.driver import unroll
from jaxrnn.models.chain import Chain
from jaxrnn.models.stack import Stack
from jaxrnn.types import Cell, Model, Params, Tree


@dataclasses.dataclass(frozen=True)
class Part:
    """A model, or one of its parts.

    Attributes:
      name: the path of its parameters within those of the model; empty for the model itself.
      what: its options.
      outputs: the shape of its outputs; empty if it is not known, as within models of your own.
      parameters: the number of its trained numbers.
    """

    name: str
    what: str
    outputs: str
    parameters: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a compiled program, by XLA's analysis.

    Attributes:
      step_flops: floating-point operations of one time step of all rows: those of the program for a sequence of one
        step. XLA counts operations inside a loop once, so there is no number for a whole sequence.
      temporary_bytes: memory besides arguments and results, for the whole sequence.
      compile_seconds: tracing and compiling, for the whole sequence.
    """

    step_flops: float
    temporary_bytes: int
    compile_seconds: float


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """The parts and costs of a model, see `summary`; `print` it.

    Attributes:
      parts: the parts, in the order in which data pass through them, and at last the whole.
      forward: the cost of the outputs.
      gradient: the cost of the outputs and of the gradient of a scalar of them with respect to the parameters.
    """

    parts: tuple[Part, ...]
    forward: Cost
    gradient: Cost

    @property
    def parameters(self) -> int:
        """The number of trained numbers."""
        return self.parts[-1].parameters

    def __repr__(self) -> str:
        rows = [("parameters", "part", "outputs", "numbers")]
        for part in self.parts[:-1]:
            what = part.what if len(part.what) <= 60 else part.what[:57] + "..."
            rows.append((part.name, what, part.outputs, f"{part.parameters:,}"))
        rows.append(("", "all", self.parts[-1].outputs, f"{self.parameters:,}"))
        costs = [("", "FLOPs a step", "temporary memory", "compiling")]
        for name, cost in (("outputs", self.forward), ("outputs and gradient", self.gradient)):
            memory = f"{cost.temporary_bytes / 2**20:,.2f} MiB"
            costs.append((name, f"{cost.step_flops:,.0f}", memory, f"{cost.compile_seconds:.2f} s"))
        return "\n".join([*table(rows), "", *table(costs)])


def summary(model: Model | Cell, xs: Tree, *, params: Params = None, **options: Any) -> Summary:
    """Lists a model's parts, output shapes and parameters, and compiles it to find its cost. Nothing is run.

    Args:
      model: a Model, or a Cell.
      xs: [T, *batch_shape, D], as for `Model.apply`; values do not matter, a `jax.ShapeDtypeStruct` will do.
      params: its parameters, or their shapes; None: those that `init` draws.
      **options: of `Model.apply`, such as `lengths` or `gradient`.

    Returns:
      A Summary.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(3, 8), jaxrnn.gru(8, 8)]), jaxrnn.last(), jaxrnn.dense(8, 2))
      >>> found = jaxrnn.summary(model, jnp.zeros((20, 4, 3)))
      >>> found.parameters
      762
      >>> [(part.name, part.outputs) for part in found.parts]
      [('0/0', '[20, 4, 8]'), ('0/1', '[20, 4, 8]'), ('1', '[4, 8]'), ('2', '[4, 2]'), ('', '[4, 2]')]
    """
    checks.instance("model", model, (Model, Cell), "such as jaxrnn.lstm(3, 8)")
    params = jax.eval_shape(model.init, jax.random.key(0)) if params is None else params
    checked_params(model, params)
    xs = jax.tree.map(lambda x: x if hasattr(x, "aval") or hasattr(x, "sharding") else checks.array("xs", x), xs)
    params, xs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), (params, xs))

    def outputs(params: Params, xs: Tree) -> Tree:
        return _outputs(model, params, xs, **options)

    def gradient(params: Params, xs: Tree) -> Tree:
        def scalar(params: Params) -> tuple[jax.Array, Tree]:
            ys = outputs(params, xs)
            floats = [y for y in jax.tree.leaves(ys) if jnp.issubdtype(y.dtype, jnp.floating)]
            return sum((jnp.sum(jnp.square(y)) for y in floats), jnp.zeros(())), ys

        return jax.grad(scalar, has_aux=True, allow_int=True)(params)

    parts = [*_parts(model, params, xs, "")]
    if not parts or parts[-1].name:
        whole = jax.eval_shape(outputs, params, xs)
        parts.append(Part("", repr(model), _shapes(whole), _count(params)))
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), xs)
    return Summary(tuple(parts), _cost(outputs, params, xs, one, options), _cost(gradient, params, xs, one, options))


def _cost(f: Callable[..., Tree], params: Params, xs: Tree, one: Tree, options: dict[str, Any]) -> Cost:
    start = time.perf_counter()
    compiled = jax.jit(f).lower(params, xs).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    temporary = -1 if memory is None else memory.temp_size_in_bytes  # some backends do not say
    of_sequence = {"lengths", "resets", "mask", "burn_in"} & {
        name for name, value in options.items() if value is not None
    }
    step = compiled if of_sequence else jax.jit(f).lower(params, one).compile()
    flops = (step.cost_analysis() or {}).get("flops", float("nan"))
    return Cost(float(flops), temporary, seconds)


def _parts(model: Model | Cell, params: Params, xs: Tree, path: str) -> Iterator[Part]:
    """The parts of a model that reads xs, as far as the inputs of each part are known."""
    if isinstance(model, (Chain, Stack)):
        for name, part in zip(model.names, model.parts, strict=True):
            own, where = params[name], f"{path}/{name}".strip("/")
            yield from _parts(part, own, xs, where)
            xs = jax.eval_shape(functools.partial(_outputs, part), own, xs)
        return
    ys = jax.eval_shape(functools.partial(_outputs, model), params, xs)
    yield Part(path, repr(model), _shapes(ys), _count(params))


def _outputs(model: Model | Cell, params: Params, xs: Tree, **options: Any) -> Tree:
    if isinstance(model, Cell):
        return unroll(model, params, xs, **options)[1]
    return model.apply(params, xs, **options)[1]


def _shapes(ys: Tree) -> str:
    return ", ".join(str([*y.shape]) for y in jax.tree.leaves(ys))


def _count(params: Params) -> int:
    return sum(x.size for x in jax.tree.leaves(params))
