"""Which loop each layer runs, and why."""

from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.diagnostics.table import table
from jaxrnn.gradients import loop_choice
from jaxrnn.gradients.limits import Limits
from jaxrnn.gradients.loop_choice import LoopChoice, choose
from jaxrnn.gradients.reverse_scan import ReverseScan, reverse_scan
from jaxrnn.types import Cell, Gradient, Inputs, Model, Params, Tree, leaf, pytree
from jaxrnn.unroll import unroll

PLATFORMS = ("cpu", "cuda", "tpu")


class Explanation(tuple[tuple[str, LoopChoice], ...]):
    """(cell, `LoopChoice`) of each loop, in the order in which they run; prints as a table."""

    def __str__(self) -> str:
        return "\n".join(table([("cell", "loop", "why"), *((cell, *choice) for cell, choice in self)]))


@pytree
class _Chooser(Gradient):
    """Notes what `asked` would choose, and runs a scan."""

    asked: ReverseScan = leaf(default_factory=reverse_scan)
    on: str = "cpu"
    chosen: list[Any] = leaf(default_factory=list)

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Any]:
        limits = Limits(self.asked.clip_norm, self.asked.clip_value)
        choice = choose(self.asked.loop, cell, params, carry, inputs, limits, self.on)
        self.chosen.append((type(cell).__name__, choice))
        return ReverseScan("scan").run(cell, params, carry, inputs)


def explain(
    cell_or_model: Cell | Model,
    params: Params,
    xs: Any,
    *,
    gradient: ReverseScan | None = None,
    platform: str | None = None,
    **options: Any,
) -> Explanation:
    """Which loop each cell runs: a scan, or one kernel of an accelerator; nothing is computed.

    Args:
      cell_or_model: a Cell or a Model.
      params: its parameters, or their shapes.
      xs: its inputs, or their shapes.
      gradient: `reverse_scan(loop=...)`; None: the default one.
      platform: "cpu", "cuda" or "tpu", which need not be at hand; None: where JAX computes.
      **options: those of `unroll` or `Model.apply`, such as `lengths`.

    Returns:
      An `Explanation`.

    Raises:
      ValueError, TypeError: an argument does not fit; with `loop="persistent"`, what keeps a cell from it.
    """
    gradient = reverse_scan() if gradient is None else gradient
    checks.instance("cell_or_model", cell_or_model, (Cell, Model), "make one with jr.lstm or jr.chain, for example")
    checks.instance("gradient", gradient, ReverseScan, "jr.reverse_scan(loop=...): only it has a choice")
    chooser = _Chooser(
        gradient, loop_choice.platform() if platform is None else checks.one_of("platform", platform, PLATFORMS)
    )

    def run(params: Params, xs: Any) -> Any:
        if isinstance(cell_or_model, Model):
            return cell_or_model.apply(params, xs, gradient=chooser, **options)
        return unroll(cell_or_model, params, xs, gradient=chooser, **options)

    jax.eval_shape(run, params, xs)
    return Explanation(chooser.chosen)
