"""One page on the gradient of a model on its way back through time."""

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics import plots
from jaxrnn.diagnostics.jacobian_products import masked, singular_values
from jaxrnn.diagnostics.jacobians import jacobians as jacobians_of
from jaxrnn.diagnostics.layer import Layer
from jaxrnn.diagnostics.lyapunov import exponents, mean_over_rows
from jaxrnn.diagnostics.statistics import (
    MAX_LAG,
    ROWS,
    GradientStatistics,
    LayerStatistics,
    cells_outside_of_transformations,
    checked_values,
    recorded,
    statistics,
)
from jaxrnn.diagnostics.table import table
from jaxrnn.pictures import new_figure, saved
from jaxrnn.types import Batch, Cell, Loss, Model, Params, Tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VANISHING = 1e-3
"""The share of the gradient left at the longest lag below which it is vanishing."""
EXPLODING = 1e3
"""The share above which it is exploding."""
JACOBIAN_ROWS = 2
"""The number of rows of a batch whose Jacobians are computed."""
JACOBIAN_STEPS = 32
"""The number of steps whose singular values are computed, evenly over time."""


@dataclasses.dataclass(frozen=True, repr=False)
class LayerReport:
    """The report on one recurrent layer; steps count in the order in which it reads.

    Attributes:
      name: its path in the model and its cell, such as "0/1 LSTM".
      statistics: its LayerStatistics, as NumPy arrays.
      singular_values: of dh[t]/dh[t-1], [steps, rows, N], at up to 32 steps and 2 rows, NaN where a row has ended or
        starts anew; None without Jacobians.
      lyapunov_spectrum: exponents [N] in nats per step, the mean over these rows; None without Jacobians.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 1, activation=jax.nn.relu)  # here h[t] = x[t] + h[t-1] / 2
      >>> params = {"w_x": jnp.ones((1, 1)), "w_h": jnp.full((1, 1), 0.5), "b": jnp.zeros(1)}
      >>> report = jaxrnn.gradient_report(cell, params, {"xs": jnp.ones((9, 2, 1))})
      >>> layer = report.layers[0]
      >>> layer.verdict, layer.lag, f"{layer.factor:.3f}", f"{layer.lyapunov_spectrum[0]:.3f}"
      ('healthy', 8, '0.500', '-0.693')
    """

    name: str
    statistics: LayerStatistics
    singular_values: np.ndarray | None
    lyapunov_spectrum: np.ndarray | None

    @property
    def lag(self) -> int:
        """The longest lag, in steps, of any output; 0 if no gradient goes back in time."""
        known = np.flatnonzero(np.isfinite(self.statistics.norm_by_lag))
        return int(known[-1]) if len(known) else 0

    @property
    def left(self) -> float:
        """The gradient's norm after `lag` steps, relative to its norm at the outputs; it decides the verdict."""
        return float(self.statistics.norm_by_lag[self.lag])

    @property
    def factor(self) -> float:
        """The factor per step, up to the last lag with a norm above zero; NaN if no gradient goes back in time."""
        norms = self.statistics.norm_by_lag
        seen = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        return float(norms[seen[-1]]) ** (1.0 / int(seen[-1])) if len(seen) and seen[-1] else float("nan")

    @property
    def verdict(self) -> str:
        """One of "vanishing", "healthy", "exploding", "not finite", or "no gradient" (none goes back in time)."""
        if max(self.statistics.first_non_finite) >= 0:
            return "not finite"
        if not self.lag:
            return "no gradient"
        return "vanishing" if self.left < VANISHING else "exploding" if self.left > EXPLODING else "healthy"

    def __str__(self) -> str:
        if self.verdict == "not finite":
            forward, backward = (int(t) for t in self.statistics.first_non_finite)
            where = [f"{way} at step {t}" for way, t in (("forward", forward), ("backward", backward)) if t >= 0]
            return f"{self.name}: not finite, first {' and '.join(where)}"
        if self.verdict == "no gradient":
            return f"{self.name}: no gradient goes back in time"
        return f"{self.name}: {self.verdict}, {self.lag} steps back the gradient is {self.left:.2g} times what it was"


@dataclasses.dataclass(frozen=True, repr=False)
class GradientFlow:
    """The result of `gradient_report`; prints as a page.

    Attributes:
      loss: its value; None without a loss: gradients are then those of a random projection of the outputs.
      gradient_norms, parameter_norms: by parameter.
      layers: each recurrent layer.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(1, 1, activation=jax.nn.relu)  # here h[t] = x[t] + h[t-1] / 10
      >>> params = {"w_x": jnp.ones((1, 1)), "w_h": jnp.full((1, 1), 0.1), "b": jnp.zeros(1)}
      >>> report = jaxrnn.gradient_report(cell, params, {"xs": jnp.ones((9, 2, 1))}, jacobians=False)
      >>> report
      GradientFlow('vanishing', ['Elman: vanishing, 8 steps back the gradient is 1e-08 times what it was'])
    """

    loss: float | None
    gradient_norms: dict[str, float]
    parameter_norms: dict[str, float]
    layers: tuple[LayerReport, ...]

    @property
    def worst(self) -> LayerReport:
        """The layer with the worst verdict; of several with the same, the one with the most extreme factor."""
        order = ("not finite", "exploding", "vanishing", "no gradient", "healthy")

        def rank(layer: LayerReport) -> tuple[int, float]:
            return order.index(layer.verdict), -abs(float(np.nan_to_num(np.log(layer.factor))))

        return min(self.layers, key=rank)

    @property
    def verdict(self) -> str:
        """The verdict on the worst layer; "not finite" if the loss is not finite."""
        return self.worst.verdict if self._finite else "not finite"

    @property
    def _finite(self) -> bool:
        return self.loss is None or math.isfinite(self.loss)

    @property
    def _headline(self) -> str:
        """The verdict in words."""
        if self._finite or self.worst.verdict == "not finite":
            return str(self.worst)
        return f"the loss is not finite, though every step is: {self.loss}; targets may be out of range or not finite"

    def __repr__(self) -> str:
        return f"GradientFlow({self.verdict!r}, {[str(layer) for layer in self.layers]})"

    def __str__(self) -> str:
        layers: list[tuple[str, ...]] = [
            ("layer", "verdict", "gradient", "after", "per step", "largest exponent", "saturated gates")
        ]
        for layer in self.layers:
            spectrum = layer.lyapunov_spectrum
            saturated = [f"{g} {float(jnp.nanmean(s.saturated)):.0%}" for g, s in layer.statistics.gates.items()]
            exponent = "-" if spectrum is None else f"{spectrum[0]:+.3f}"
            known = layer.verdict in ("vanishing", "healthy", "exploding")
            numbers = (f"{layer.left:.1e}", f"{layer.lag} steps", f"{layer.factor:.3f}") if known else ("-",) * 3
            layers.append((layer.name, layer.verdict, *numbers, exponent, ", ".join(saturated) or "-"))
        parameters: list[tuple[str, ...]] = [("parameter", "gradient norm", "parameter norm", "ratio")]
        for name, d in self.gradient_norms.items():
            norm = self.parameter_norms[name]
            ratio = f"{d / norm:.1e}" if norm > 0 else "-"
            parameters.append((name or "params", f"{d:.2e}", f"{norm:.2e}", ratio))
        of = "no loss: of a random projection of the outputs" if self.loss is None else f"loss {self.loss:.4g}"
        return "\n".join([self._headline, of, "", *table(layers), "", *table(parameters)])

    def plot(self, path: str | None = None) -> "Figure":
        """Draws the gradient's norm by lag, the spectrum of the Jacobians, saturated gates and each parameter's norm.

        Args:
          path: a file to write the picture to, such as "gradient.png"; None: only return it.

        Returns:
          The matplotlib Figure.

        Raises:
          ImportError: matplotlib is not installed.
        """
        figure, panels = new_figure("GradientFlow.plot", (11.0, 8.0), 2, 2)
        lags, spectrum, gates, norms = panels
        norms_by_lag = {layer.name: layer.statistics.norm_by_lag for layer in self.layers}
        plots.draw_norm_by_lag(lags, norms_by_lag, VANISHING, EXPLODING)
        plots.draw_spectra(
            spectrum, {layer.name: (layer.singular_values, layer.lyapunov_spectrum) for layer in self.layers}
        )
        plots.draw_saturation(gates, {layer.name: layer.statistics.gates for layer in self.layers})
        plots.draw_parameter_norms(norms, self.gradient_norms, self.parameter_norms)
        figure.suptitle(self._headline, fontweight="bold")
        return saved(figure, path)


def gradient_report(
    model: Model | Cell,
    params: Params,
    batch: Batch,
    loss: Loss | None = None,
    *,
    key: jax.Array | None = None,
    carry: Tree = None,
    rows: int = ROWS,
    max_lag: int = MAX_LAG,
    jacobians: bool = True,
    time_major: bool = True,
) -> GradientFlow:
    """Reports on the gradient of each recurrent layer: whether it vanishes or explodes, and why.

    The verdict rests on one number: the gradient's norm after the longest lag, relative to its norm at the outputs
    (`jaxrnn.diagnostics.gradient_norm_by_lag`). Below 1/1000 it is "vanishing", above 1000 "exploding", else "healthy".
    So it depends on the length of the sequences, and so does whether the layer can learn from them. The report is about
    the whole gradient through time, whatever gradient the model was built with.

    Args:
      model: a Model with recurrent layers, or a Cell.
      params: its parameters.
      batch: "xs" and the entries that the loss reads; "lengths", "resets" and "xs_mask" as for `fit`.
      loss: (ys, batch) -> scalar; None: an inner product of the outputs with fixed random numbers.
      key: for noise; None means evaluation. With that of a step of `fit`, `state.step_key`, the noise is that step's.
      carry: the state before the first step, as for `unroll`; None: the initial one.
      rows: the number of rows of the batch that are analysed by lag.
      max_lag: the longest lag, in steps.
      time_major: False: sequences in `batch` are [B, T, ...]. The loss gets time first all the same.
      jacobians: whether to analyse Jacobians: of two rows, and all steps. Memory: 2 T N^2 numbers for a carry of N.

    Returns:
      A GradientFlow: `print` it; `report.verdict`, `report.layers`, `report.plot()`.

    Raises:
      ValueError, TypeError: an argument does not fit (the message names it); the model has no recurrent layer.

    References:
      Bengio, Simard and Frasconi 1994, IEEE Transactions on Neural Networks 5(2); Pascanu, Mikolov and Bengio 2013,
      arXiv:1211.5063.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.elman(3, 8), jaxrnn.dense(8, 1))
      >>> batch = {"xs": jax.random.normal(jax.random.key(0), (100, 8, 3)), "targets": jax.numpy.zeros((8, 1))}
      >>> def loss(ys, batch):
      ...     return jaxrnn.losses.mean_squared_error(ys, batch, at="last")
      >>> report = jaxrnn.gradient_report(model, model.init(jax.random.key(1)), batch, loss)
      >>> report.verdict, report.layers[0].lag
      ('vanishing', 99)
    """
    max_lag, rows = checks.positive_int("max_lag", max_lag), checks.positive_int("rows", rows)
    jacobians, batch = checks.flag("jacobians", jacobians), checked_values(model, batch, time_major)
    with cells_outside_of_transformations():
        measured = _measure(model, params, batch, loss, key, carry, rows, max_lag, jacobians)
    found, spectra = jax.tree.map(np.asarray, measured)
    layers = tuple(LayerReport(name, layer, *spectra[name]) for name, layer in found.layers.items())
    d_norms, norms = ({name: float(x) for name, x in d.items()} for d in (found.gradient_norms, found.parameter_norms))
    return GradientFlow(None if loss is None else float(found.loss), d_norms, norms, layers)


@compiled
def _measure(
    model: Model | Cell,
    params: Params,
    batch: Batch,
    loss: Loss | None,
    key: jax.Array | None,
    carry: Tree,
    rows: int,
    max_lag: int,
    jacobians: bool,
) -> tuple[GradientStatistics, dict[str, tuple[jax.Array, jax.Array] | tuple[None, None]]]:
    found = recorded(model, params, batch, loss, key, carry)
    spectra = {name: _spectra(layer) if jacobians else (None, None) for name, layer in found.layers.items()}
    return statistics(found, rows, max_lag), spectra


def _spectra(layer: Layer) -> tuple[jax.Array, jax.Array]:
    """(singular values, Lyapunov exponents) of a few rows."""
    layer = layer.first_rows(JACOBIAN_ROWS)
    steps, J = layer.inputs.steps, jacobians_of(layer)
    counted = jnp.ones(J.shape[:-2], bool) if steps.valid is None else steps.valid
    counted = counted if steps.reset is None else counted & ~steps.reset
    at = np.unique(np.linspace(0, len(J) - 1, JACOBIAN_STEPS).round().astype(int))
    values = jnp.where(counted[at][..., None], singular_values(J[at]), jnp.nan)
    return values, mean_over_rows(exponents(masked(J, counted)))
