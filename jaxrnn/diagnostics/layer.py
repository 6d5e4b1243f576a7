"""One cell's loop over a sequence, as `unroll` prepared it, for the diagnostics."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import steps_and_rows
from jaxrnn.driver import unroll
from jaxrnn.float_leaves import floats, with_floats
from jaxrnn.gradients.autodiff import Autodiff
from jaxrnn.masks import take_step
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, leaf, pytree

OutputLoss = Callable[[Tree], jax.Array]
"""(ys) -> scalar."""


class Layer(NamedTuple):
    """One loop, with time in the order in which it ran: under `reverse`, backward.

    Attributes:
      cell, params: the cell and its parameters.
      inputs: its inputs.
      before, after: the carries before and after each step, [T, ...].
      ys: the outputs [T, ...].
      d_ys: the loss's derivative with respect to the floating-point leaves of ys; empty without a loss.
    """

    cell: Any
    params: Params
    inputs: Inputs
    before: Tree
    after: Tree
    ys: Tree
    d_ys: list[jax.Array]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes between time and features."""
        return steps_and_rows(self.inputs.steps.x)[1]

    def first_rows(self, count: int) -> "Layer":
        """The first rows of the first batch axis."""
        if not self.batch_shape or count >= self.batch_shape[0]:
            return self
        B = self.batch_shape[0]

        def rows(tree: Tree, axis: int) -> Tree:
            cut = (slice(None),) * axis + (slice(count),)
            return jax.tree.map(lambda x: x[cut] if jnp.shape(x)[axis : axis + 1] == (B,) else x, tree)

        inputs = Inputs(rows(self.inputs.steps, 1), rows(self.inputs.initial, 0))
        before, after, ys, d_ys = rows((self.before, self.after, self.ys, self.d_ys), 1)
        return Layer(self.cell, self.params, inputs, before, after, ys, d_ys)


@pytree
class Recorder(Autodiff):
    """Runs like `autodiff`, and records every loop.

    Attributes:
      shifts: for each loop, arrays that are added to the floating-point leaves of its outputs; None: nothing.
      cells: the cell of each loop so far, kept apart from the layers, since a cell can't be a result of `jax.grad`.
      layers: each loop so far, without its cell.
    """

    shifts: list[list[jax.Array]] | None = leaf(default=None)
    cells: list[Cell] = leaf(default_factory=list)
    layers: list[Layer] = leaf(default_factory=list)

    @property
    def has_effects(self) -> bool:
        return True

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        def body(carry: Tree, step: Step) -> tuple[Tree, Tree]:
            after, y = take_step(cell, params, carry, step, inputs.initial)
            return after, (carry, after, y)

        final, (before, after, ys) = jax.lax.scan(body, carry, inputs.steps)
        if self.shifts is not None:
            shifts = self.shifts[len(self.layers)]
            ys = with_floats(ys, [y + shift for y, shift in zip(floats(ys), shifts, strict=True)])
        self.cells.append(cell)
        self.layers.append(Layer(None, params, inputs, before, after, ys, []))
        return final, ys


class Record(NamedTuple):
    """The loss of a call, its gradient, and its loops.

    Attributes:
      loss: its value.
      d_params: the loss's derivative with respect to the floating-point leaves of the parameters.
      layers: every loop, in the order in which they ran.
    """

    loss: jax.Array
    d_params: list[jax.Array]
    layers: list[Layer]


Run = Callable[[Params, Gradient], Tree]
"""(params, gradient) -> ys."""


def record(run: Run, params: Params, loss: OutputLoss) -> Record:
    """Runs, and differentiates the loss of the outputs."""
    checks.function("loss", loss, "ys")

    def checked(gradient: Gradient, params: Params) -> jax.Array:
        return checks.scalar("loss", loss(run(params, gradient)))

    def outputs() -> list[list[jax.Array]]:
        recorder = Recorder()
        checked(recorder, params)
        return [floats(layer.ys) for layer in recorder.layers]

    recorders = []

    def value(values: list[jax.Array], shifts: list[list[jax.Array]]) -> tuple[jax.Array, list[Layer]]:
        recorder = Recorder(shifts=shifts)
        recorders.append(recorder)
        return checked(recorder, with_floats(params, values)), recorder.layers

    shifts = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(outputs))
    differentiate = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)
    (found, layers), (d_params, d_ys) = differentiate(floats(params), shifts)
    named = zip(layers, recorders[-1].cells, d_ys, strict=True)
    return Record(found, d_params, [layer._replace(cell=cell, d_ys=d) for layer, cell, d in named])


def record_cell(cell: Cell, params: Params, loss: OutputLoss, options: dict[str, Any]) -> Layer:
    """The loop of one `unroll` with a loss (ys) -> scalar; `options` are the arguments of `unroll`, `xs` included."""
    run: Run = lambda params, gradient: unroll(cell, params, gradient=gradient, **options)[1]  # noqa: E731
    return record(run, params, loss).layers[0]


def run_cell(cell: Cell, params: Params, options: dict[str, Any]) -> Layer:
    """The loop of one `unroll`; `options` are the arguments of `unroll`, `xs` included."""
    recorder = Recorder()
    unroll(cell, params, gradient=recorder, **options)
    return recorder.layers[0]._replace(cell=cell)


def in_time(tree: Tree, reverse: bool) -> Tree:
    """Reverses arrays [T, ...] between the order in which a loop ran and that of x[t]."""
    return jax.tree.map(lambda x: jnp.flip(x, 0), tree) if reverse else tree
