"""Pictures of a sweep."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn import checks
from jaxrnn.pictures import new_figure, saved
from jaxrnn.sweeps.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_sweep(results: Results, x: str, *, hue: str | None = None, path: str | None = None) -> "Figure":
    """Draws the score against one hyperparameter, with its spread over all the others (seeds, for instance).

    For a sweep with pruning the scores are those at the end of the first rung, which all members reach.

    Args:
      results: the results of a sweep.
      x: a hyperparameter of numbers; drawn on a logarithmic axis if its values span more than a factor of 20.
      hue: a hyperparameter, each of whose values gets its own line; None: one line.
      path: a file to write the picture to; None: only return it.

    Returns:
      The matplotlib Figure.

    Raises:
      ValueError: no hyperparameter has this name.
      ImportError: matplotlib is not installed.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> def train(hyper, key, data):
      ...     return {"loss": (hyper.lr - 0.1) ** 2}
      >>> results = jaxrnn.sweep(train, jaxrnn.grid(lr=[0.01, 0.1, 1.0]), key=jax.random.key(0), progress=False)
      >>> figure = jaxrnn.sweeps.plot_sweep(results, "lr")
    """
    for argument, name in ({"x": x} if hue is None else {"x": x, "hue": hue}).items():
        checks.instance(argument, name, str)
        if name not in results.members[0]:
            raise ValueError(f"{argument}: expected one of {sorted(results.members[0])}, got {name!r}")
    figure, (axes,) = new_figure("plot_sweep", (6.0, 4.0), 1, 1)
    at = np.asarray([member[x] for member in results.members], float)
    lines = np.asarray([repr(member[hue]) if hue else "" for member in results.members])
    score, when = results.columns["score"], ""
    if len(results.rungs) > 1:
        end, score = results.rungs[0]
        when = f" at step {end}, the first rung"
    for i, line in enumerate(dict.fromkeys(lines)):
        places = np.unique(at[lines == line])
        found = [score[(lines == line) & (at == place)] for place in places]
        finite = [values[np.isfinite(values)] for values in found]
        shown = [(place, np.quantile(v, [0.5, 0.25, 0.75])) for place, v in zip(places, finite, strict=True) if len(v)]
        if shown:
            middle, low, high = np.array([quartiles for _, quartiles in shown]).T
            where = [place for place, _ in shown]
            axes.plot(where, middle, ".-", color=f"C{i}", label=f"{hue} = {line}" if hue else "median")
            axes.fill_between(where, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
    lost = np.unique(at[np.isnan(score)])
    if len(lost):
        top = axes.get_xaxis_transform()
        axes.plot(lost, np.full(len(lost), 0.97), "kx", transform=top, label="some diverged")
    if (at > 0).all() and at.max() > 20 * at.min():
        axes.set_xscale("log")
    _scale(axes, results, score)
    axes.set(xlabel=x, ylabel=_score(results) + when, title="median and quartiles over all else")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return saved(figure, path)


def plot_curves(results: Results, *, path: str | None = None) -> "Figure":
    """Draws the measure that ranks members against the step, of the validation if there is one; the best in black.

    Args, Returns, Raises: as for `plot_sweep`.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> def init(hyper, key):
      ...     return jax.random.normal(key)
      >>> def advance(hyper, state, steps):
      ...     def step(x, _):
      ...         return x - hyper.lr * x, x**2
      ...     state, losses = jax.lax.scan(step, state, length=steps)
      ...     return state, {"loss": losses}
      >>> task = jaxrnn.sweeps.Task(init, advance)
      >>> results = jaxrnn.sweep(task, jaxrnn.grid(lr=[0.5, 0.1]), key=jax.random.key(0), steps=20, progress=False)
      >>> figure = jaxrnn.sweeps.plot_curves(results)
    """
    checks.instance("results", results, Results)
    figure, (axes,) = new_figure("plot_curves", (6.0, 4.0), 1, 1)
    if results.validation:
        steps, curves = results.validation_steps, results.validation[results.monitor]
        kind = f"validation {results.monitor}"
    else:
        curves = results.train[results.monitor]
        steps, kind = np.arange(1, curves.shape[1] + 1), f"training {results.monitor}"
    dots = ".-" if len(steps) < 20 else "-"
    for curve in curves:
        axes.plot(steps, curve, dots, color="C0", alpha=max(0.02, min(0.5, 10 / len(curves))), linewidth=0.8)
    order = results.order
    axes.plot(steps, curves[order[0]], dots, color="k", label=f"member {order[0]}, the best")
    _scale(axes, results, curves)
    axes.set(xlabel="step", ylabel=kind, title=f"{len(results)} members")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return saved(figure, path)


def plot_rungs(results: Results, *, path: str | None = None) -> "Figure":
    """Draws the scores of the members at each rung: of those that went on, and of those that stopped there.

    Args, Returns, Raises: as for `plot_sweep`; ValueError for a sweep without pruning.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> def init(hyper, key):
      ...     return jax.random.normal(key)
      >>> def advance(hyper, state, steps):
      ...     def step(x, _):
      ...         return x - hyper.lr * x, x**2
      ...     state, losses = jax.lax.scan(step, state, length=steps)
      ...     return state, {"loss": losses}
      >>> results = jaxrnn.sweep(
      ...     jaxrnn.sweeps.Task(init, advance), jaxrnn.grid(lr=[0.5, 0.1, 0.01]), key=jax.random.key(0), steps=20,
      ...     pruning=jaxrnn.sweeps.halving(first=10), progress=False,
      ... )
      >>> figure = jaxrnn.sweeps.plot_rungs(results)
    """
    checks.instance("results", results, Results)
    if len(results.rungs) < 2:
        raise ValueError(f"results: expected those of a sweep with pruning, got {len(results.rungs)} rung")
    figure, (axes,) = new_figure("plot_rungs", (6.0, 4.0), 1, 1)
    last = results.columns["rung"]
    ends = [end for end, _ in results.rungs]
    for member in range(len(results)):
        scores = [scores[member] for _, scores in results.rungs][: last[member] + 1]
        on = last[member] == len(ends) - 1
        style: dict[str, Any] = {"color": "C1", "alpha": 0.9} if on else {"color": "0.7", "alpha": 0.4}
        axes.plot(ends[: len(scores)], scores, ".-", linewidth=0.8, **style)
    counts = ", ".join(str((last >= i).sum()) for i in range(len(ends)))
    axes.set(xlabel="step", ylabel=_score(results), title=f"members at each rung: {counts}")
    axes.set_xscale("log")
    _scale(axes, results, results.rungs[0][1])
    axes.set_xticks(ends, [str(end) for end in ends])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    return saved(figure, path)


def _score(results: Results) -> str:
    """The name of the measure that ranks members."""
    best = "lowest" if results.mode == "min" else "highest"
    return f"{best} validation {results.monitor}" if results.validation else f"{results.monitor} of all training data"


def _scale(axes: Any, results: Results, values: np.ndarray) -> None:
    """Makes the axis of the scores logarithmic where they are losses above 0."""
    finite = values[np.isfinite(values)]
    if results.mode == "min" and len(finite) and finite.min() > 0:
        axes.set_yscale("log")
