"""Pictures of the diagnostics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.diagnostics.gates import GateStatistics
from jaxrnn.diagnostics.jacobian_products import running, singular_values
from jaxrnn.diagnostics.lyapunov import exponents, mean_over_rows
from jaxrnn.pictures import new_figure, saved
from jaxrnn.types import Tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_hidden_gradients(gradients: Tree, path: str | None = None) -> "Figure":
    """Draws the norm of dL/dh[t] over time, the root of the sum of squares over rows and units.

    Args:
      gradients: a tree of [T, ...], as `hidden_gradients` returns.
      path: a file to write the picture to, such as "gradients.png"; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError, TypeError: the arguments are not arrays over time.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((20, 2, 3))
      >>> gradients = jaxrnn.diagnostics.hidden_gradients(cell, params, xs, lambda ys: ys[-1].sum())
      >>> figure = jaxrnn.diagnostics.plot_hidden_gradients(gradients)
    """
    title = "gradient that reaches each step, |dL/dh[t]|"
    return _plot_norms("plot_hidden_gradients", _norms("gradients", gradients), "step t", title, path)


def plot_lag_contributions(contributions: dict[str, Tree], path: str | None = None) -> "Figure":
    """Draws the norm of each lag's part of a weight's gradient.

    Args:
      contributions: {name: [K+1, ...]}, as `lag_contributions` returns.
      path: a file to write the picture to, such as "lags.png"; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError, TypeError: the arguments are not arrays over lags.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((6, 2, 3))
      >>> lags = jaxrnn.diagnostics.lag_contributions(cell, params, xs, jax.numpy.sum)
      >>> figure = jaxrnn.diagnostics.plot_lag_contributions(lags)
    """
    norms = _norms("contributions", checks.instance("contributions", contributions, dict))
    title = "part of the weights' gradient by lag"
    return _plot_norms("plot_lag_contributions", norms, "lag k (steps back from the output)", title, path)


def plot_weight_contributions(contributions: dict[str, Tree], path: str | None = None) -> "Figure":
    """Draws the norm of each step's part of a weight's gradient.

    Args:
      contributions: {name: [T, ...]}, as `weight_contributions` returns.
      path: a file to write the picture to, such as "steps.png"; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError, TypeError: the arguments are not arrays over time.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((6, 2, 3))
      >>> steps = jaxrnn.diagnostics.weight_contributions(cell, params, xs, jax.numpy.sum)
      >>> figure = jaxrnn.diagnostics.plot_weight_contributions(steps)
    """
    norms = _norms("contributions", checks.instance("contributions", contributions, dict))
    title = "part of the weights' gradient by step"
    return _plot_norms("plot_weight_contributions", norms, "step t", title, path)


def plot_gradient_norm_by_lag(norms: checks.ArrayLike, path: str | None = None) -> "Figure":
    """Draws the gradient's norm by lag, relative to its norm at the outputs.

    Args:
      norms: [K+1], as `gradient_norm_by_lag` returns, or a dict of such arrays by name.
      path: a file to write the picture to, such as "lags.png"; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError, TypeError: the arguments are not arrays over lags.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((6, 2, 3))
      >>> norms = jaxrnn.diagnostics.gradient_norm_by_lag(cell, params, xs, jax.numpy.sum)
      >>> figure = jaxrnn.diagnostics.plot_gradient_norm_by_lag({"elman": norms})
    """
    named = norms if isinstance(norms, dict) else {"": norms}
    if not named:
        raise ValueError("norms: expected at least one array [K+1], got an empty dict")
    for name, values in named.items():
        found = checks.array("norms", values)
        if found.ndim != 1 or not found.size or jnp.iscomplexobj(found):
            where = f"norms[{name!r}]" if name else "norms"
            raise ValueError(f"{where}: expected an array [K+1] of real numbers, got {checks.short(values)}")
    figure, (axes,) = new_figure("plot_gradient_norm_by_lag", (5.5, 3.8), 1, 1)
    draw_norm_by_lag(axes, {name: np.asarray(values) for name, values in named.items()}, 0.0, np.inf)
    return saved(figure, path)


def plot_state_jacobians(
    jacobians: checks.ArrayLike,
    path: str | None = None,
    *,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
) -> "Figure":
    """Draws singular values over time, and all of them beside the growth per step in the long run.

    Args:
      jacobians: [T, *batch_shape, N, N], as `state_jacobians` returns.
      path: a file to write the picture to, such as "jacobians.png"; None: only return it.
      lengths, resets, reverse: as for `state_jacobians`. Padding and episodes' starts are left out.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError, TypeError: an argument has the wrong shape, type or value.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((6, 2, 3))
      >>> figure = jaxrnn.diagnostics.plot_state_jacobians(jaxrnn.diagnostics.state_jacobians(cell, params, xs))
    """
    found = running(jacobians, lengths, resets, reverse)
    figure, (over_time, spectrum) = new_figure("plot_state_jacobians", (10.0, 3.8), 1, 2)
    values = np.where(np.asarray(found.counted)[..., None], np.asarray(singular_values(found.jacobians)), np.nan)
    shown = values.reshape(len(values), -1, values.shape[-1])
    steps = np.arange(len(shown))[::-1] if reverse else np.arange(len(shown))
    for name, column in (("largest", 0), ("median", values.shape[-1] // 2), ("smallest", -1)):
        over_time.plot(steps, _mean(shown[..., column]), label=name)
    over_time.axhline(1.0, color="0.5", linewidth=0.8)
    _log_scale(over_time, [line.get_ydata() for line in over_time.lines])
    over_time.set(xlabel="step t", ylabel="mean over rows", title="singular values of dh[t]/dh[t-1]")
    over_time.legend(frameon=False)
    draw_spectra(spectrum, {"": (values, np.asarray(mean_over_rows(exponents(found))))})
    return saved(figure, path)


def plot_gate_statistics(gates: dict[str, GateStatistics], path: str | None = None) -> "Figure":
    """Draws each gate's mean activation and saturated share over time.

    Args:
      gates: as `gate_statistics` returns.
      path: a file to write the picture to, such as "gates.png"; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: the arguments are not statistics of gates.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((6, 2, 3))
      >>> figure = jaxrnn.diagnostics.plot_gate_statistics(jaxrnn.diagnostics.gate_statistics(cell, params, xs))
    """
    for name, gate in checks.instance("gates", gates, dict).items():
        checks.instance(f"gates[{name!r}]", gate, GateStatistics)
    figure, panels = new_figure("plot_gate_statistics", (11.0, 3.6), 1, 3)
    titles = ("mean activation", "share at the lower end", "share at the upper end")
    for axes, title, part in zip(panels, titles, ("mean", "low", "high"), strict=True):
        for name, gate in gates.items():
            axes.plot(np.asarray(getattr(gate, part)), label=name)
        axes.set(xlabel="step t", title=title)
        axes.grid(alpha=0.3)
        if part != "mean":
            axes.set_ylim(-0.03, 1.03)
    figure.legend(*panels[0].get_legend_handles_labels(), title="gate", loc="outside right center", frameon=False)
    return saved(figure, path)


# Panels, drawn on existing axes.


def draw_norm_by_lag(axes: "Axes", layers: Mapping[str, checks.ArrayLike], vanishing: float, exploding: float) -> None:
    """Draws the gradient's norm by lag, relative to its norm at the outputs, for each layer; the limits are shaded."""
    for name, norms in layers.items():
        axes.plot(norms, label=name or None)
    _log_scale(axes, list(layers.values()))
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    low, high = axes.get_ylim()
    for label, limit, end, side in (("vanishing", vanishing, low, "top"), ("exploding", exploding, high, "bottom")):
        if low < limit < high:
            axes.axhspan(limit, end, color="C3", alpha=0.08, linewidth=0)
            axes.annotate(label, (0.99, limit), xycoords=("axes fraction", "data"), color="C3", ha="right", va=side)
    axes.set_ylim(low, high)
    axes.set(xlabel="lag k (steps back from the output)", ylabel="norm, relative", title="gradient k steps back")
    if any(layers):
        axes.legend(frameon=False, fontsize="small")


def draw_spectra(axes: "Axes", layers: dict[str, tuple[np.ndarray | None, np.ndarray | None]]) -> None:
    """Draws singular values [steps, ..., N] (median and the inner 80 %) and exp(Lyapunov exponents) [N]."""
    shown = []
    for i, (name, (values, growth)) in enumerate(layers.items()):
        if values is None or growth is None:
            continue
        values = values.reshape(-1, values.shape[-1])
        values = values[np.isfinite(values).all(-1)]
        if not len(values):
            continue
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
        share = (np.arange(values.shape[-1]) + 0.5) / values.shape[-1]
        axes.fill_between(share, low, high, color=f"C{i}", alpha=0.25, linewidth=0)
        axes.plot(share, middle, color=f"C{i}", label=name or "singular values, one step")
        axes.plot(share, np.exp(growth), "--", color=f"C{i}")
        shown += [middle, np.exp(growth)]
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    axes.set(xlabel="share of directions", ylabel="factor", title="spectrum of dh[t]/dh[t-1]")
    if shown:
        axes.plot([], [], "--", color="0.3", label="growth per step, long run")
        _log_scale(axes, shown, decades=8)
        axes.legend(frameon=False, fontsize="small")
    else:
        _say(axes, "no Jacobians")


def draw_saturation(axes: "Axes", layers: dict[str, dict[str, GateStatistics]]) -> None:
    """Draws the share of time and units at which each gate is at the lower and the upper end of its range."""
    bars = [(f"{layer}: {name}", gate) for layer, gates in layers.items() for name, gate in gates.items()]
    axes.set(xlim=(0.0, 1.0), xlabel="share, mean over time", title="saturated gates")
    if not bars:
        _say(axes, "no gates")
        return
    low, high = (np.array([_mean(np.asarray(getattr(g, end))) for _, g in bars]) for end in ("low", "high"))
    at = np.arange(len(bars))
    axes.barh(at, low, height=0.6, color="C0", label="at the lower end")
    axes.barh(at, high, height=0.6, left=low, color="C1", label="at the upper end")
    for y, share in zip(at, low + high, strict=True):
        axes.annotate(f" {share:.0%}", (min(share, 0.92), y), va="center", fontsize="small")
    axes.set_yticks(at, [name for name, _ in bars])
    axes.set_ylim(max(len(bars), 4) - 0.5, -0.5)
    axes.legend(frameon=False, fontsize="small")


def draw_parameter_norms(axes: "Axes", gradients: dict[str, float], parameters: dict[str, float]) -> None:
    """Draws each parameter's gradient norm and its own norm."""
    at = np.arange(len(gradients))
    axes.plot(list(gradients.values()), at, "o", color="C3", label="gradient")
    axes.plot([parameters[name] for name in gradients], at, "s", color="0.6", label="parameter")
    axes.set_yticks(at, [name or "params" for name in gradients])
    axes.set_ylim(max(len(at), 4) - 0.5, -0.5)
    if any(x > 0 and np.isfinite(x) for x in [*gradients.values(), *parameters.values()]):
        axes.set_xscale("log")
    axes.set(xlabel="norm", title="parameters and their gradients")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")


def _plot_norms(needed_by: str, norms: dict[str, np.ndarray], xlabel: str, title: str, path: str | None) -> "Figure":
    figure, (axes,) = new_figure(needed_by, (5.5, 3.8), 1, 1)
    for name, values in norms.items():
        axes.plot(values, label=name or "h")
    _log_scale(axes, list(norms.values()))
    axes.set(xlabel=xlabel, ylabel="norm", title=title)
    axes.legend(frameon=False)
    return saved(figure, path)


def _norms(argument: str, tree: Tree) -> dict[str, np.ndarray]:
    """The norm of each array over all but its first axis, by name; NaN for zero."""
    found = {}
    for place, x in jax.tree_util.tree_leaves_with_path(tree):
        x = np.asarray(checks.array(argument, x))
        if x.ndim < 1 or not x.size or not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"{argument}: expected floating-point arrays [T, ...], none empty, got {checks.short(x)}")
        name = jax.tree_util.keystr(place, simple=True, separator="/")
        norms = np.sqrt(np.square(x.astype(np.float64)).reshape(len(x), -1).sum(-1))
        found[name] = np.where(norms > 0, norms, np.nan)  # a gap, on a log scale
    if not found:
        raise ValueError(f"{argument}: expected at least one array [T, ...], got {checks.short(tree)}")
    return found


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean of finite values over the last axis; NaN if there are none."""
    finite = np.isfinite(x)
    count = finite.sum(-1)
    return np.where(count, np.where(finite, x, 0.0).sum(-1) / np.maximum(count, 1), np.nan)


def _log_scale(axes: "Axes", shown: Sequence[Any], decades: int = 16) -> None:
    """Sets a log scale, if there are positive values, over at most `decades` decades."""
    values = np.concatenate([np.ravel(x) for x in shown])
    values = values[np.isfinite(values) & (values > 0)]
    axes.grid(alpha=0.3)
    if len(values):
        axes.set_yscale("log")
        low, high = values.min(), values.max()
        axes.set_ylim(max(low, high / 10.0**decades) / 3, high * 3)


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.5", transform=axes.transAxes)
