"""Explains the loop that each layer runs."""

from typing import TYPE_CHECKING, Any

import jax

from jaxrnn import checks
from jaxrnn.diagnostics.table import table
from jaxrnn.driver import unroll
from jaxrnn.gradients.reverse_scan import ReverseScan, target
from jaxrnn.types import Cell, Model, Params, Tree

if TYPE_CHECKING:
    from jaxrnn.kernels.target import LoopChoice

PLATFORMS = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}
"""JAX's names of platforms, and the kernels' names of those that have one."""


class Explanation(tuple[tuple[str, "LoopChoice"], ...]):
    """The (cell, `LoopChoice`) of each loop, under `reverse_scan`, in the order of running; prints as a table.

    Example:
      >>> import jax, jaxrnn
      >>> model = jaxrnn.stack([jaxrnn.gru(4, 8), jaxrnn.gru(8, 6)])
      >>> params, xs = model.init(jax.random.key(0)), jax.ShapeDtypeStruct((9, 2, 4), "float32")
      >>> found = jaxrnn.diagnostics.explain(model, params, xs, platform="cpu")
      >>> [(cell, choice.loop) for cell, choice in found]
      [('GRU(4, 8)', 'scan'), ('GRU(8, 6)', 'scan')]
    """

    def __str__(self) -> str:
        rows = [(cell, choice.loop, choice.reason) for cell, choice in self]
        return "\n".join(table([("cell", "loop", "why"), *rows]))


def explain(
    cell_or_model: Cell | Model,
    params: Params,
    xs: Tree,
    *,
    gradient: ReverseScan | None = None,
    platform: str | None = None,
    **options: Any,
) -> Explanation:
    """Explains whether each cell runs as a scan or as one kernel of an accelerator, and why; nothing is computed.

    Args:
      cell_or_model: a Cell or a Model.
      params: its parameters, or their shapes.
      xs: its inputs, or their shapes.
      gradient: `reverse_scan(loop=...)`; None: the gradients that the layers were built with, or the default one.
      platform: "cpu", "cuda" (or "gpu") or "tpu"; the device need not be at hand: without a GPU, "cuda" is an H100.
        None: the platform where JAX computes.
      **options: those of `unroll` or `Model.apply`, such as `lengths`.

    Returns:
      An `Explanation`.

    Raises:
      ValueError, TypeError: an argument does not fit; with `loop="persistent"`: a kernel can't run a cell, and why.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.lstm(4, 32)
      >>> params = cell.init(jax.random.key(0))
      >>> print(jaxrnn.diagnostics.explain(cell, params, jax.ShapeDtypeStruct((9, 2, 4), "float32"), platform="cpu"))
      cell         loop  why
      -----------  ----  ------------------------------
      LSTM(4, 32)  scan  a CPU has no kernel of its own
    """
    checks.instance(
        "cell_or_model", cell_or_model, (Cell, Model), "make one with jaxrnn.lstm or jaxrnn.chain, for example"
    )
    if gradient is not None:
        checks.instance("gradient", gradient, ReverseScan, "jaxrnn.reverse_scan(loop=...): only it has a choice")
    if platform is not None:
        platform = PLATFORMS[checks.one_of("platform", platform, tuple(PLATFORMS))]

    xs = checks.array("xs", xs) if isinstance(xs, list) else xs
    for name, tree in (("params", params), ("xs", xs)):
        checks.arrays(name, tree)

    def run(params: Params, xs: Tree) -> Tree:
        if isinstance(cell_or_model, Model):
            return cell_or_model.apply(params, xs, gradient=gradient, **options)
        return unroll(cell_or_model, params, xs, gradient=gradient, **options)

    from jaxrnn.kernels.target import target_of  # imported late: few programs need kernels

    device = target_of(platform)
    with target(device):
        jax.eval_shape(run, params, xs)
    return Explanation(device.choices)
