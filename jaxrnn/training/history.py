"""The measurements of a run."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxrnn import checks
from jaxrnn.pictures import new_figure, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(repr=False)
class History:
    """Measurements of a run, as NumPy arrays.

    Attributes:
      train: by name, a value for each step taken, [steps - start]: "loss", "gradient_norm" and the metrics.
      validation: by name, a value for each validation; empty without validation data.
      validation_steps: int, the number of steps taken before each validation.
      diagnostics: with `diagnose_every`, by name, a value for each measurement of the gradient: "gradient_norm/0/w_h"
        and so on, the norm of a parameter's gradient, [looks]; "norm_by_lag/0/0 LSTM", a layer's
        `gradient_norm_by_lag`, [looks, K+1], NaN past the steps of a shorter batch; "saturated/0/0 LSTM/f", the
        saturated share of a gate, mean over time, [looks].
      diagnostic_steps: int, the number of steps taken before each of these.
      nonfinite: by step, from 1: the cause if it was not finite, such as "loss", "gradient of 0/w_h" or "parameter
        0/w_h".
      compile_seconds: seconds spent compiling; a resumed run includes those before.
      run_seconds: seconds spent running, without compiling.
      start: the number of steps of the state that the run began with.
      stopped: the reason why the run ended: "steps" (all were taken), "patience", "data" (an iterator ended),
        "callback" or "diverged" (see `fit(on_nonfinite=...)`).
      monitor, mode: the measure by which the best validation is chosen, and "min" or "max".
      not_saved: the reason why the last save into a run_dir failed; empty if it did not fail.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> data = {"xs": xs, "targets": xs}
      >>> history = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), data, steps=20, batch_size=4, block=10,
      ...     validation=data, key=jax.random.key(0), progress=False,
      ... ).history
      >>> sorted(history.train), history.train["loss"].shape
      (['gradient_norm', 'loss'], (20,))
      >>> history.validation_steps.tolist(), history.stopped
      ([10, 20], 'steps')
    """

    train: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    validation: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    validation_steps: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    diagnostics: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    diagnostic_steps: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    nonfinite: dict[int, str] = dataclasses.field(default_factory=dict)
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    start: int = 0
    stopped: str = "steps"
    not_saved: str = ""
    monitor: str = "loss"
    mode: str = "min"
    _rooms: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, init=False, compare=False)
    """Buffers that hold the arrays above at their front, with room to grow."""

    def __repr__(self) -> str:
        last = {name: values[-1] for name in in_order(self.train) if len(values := self.train[name])}
        last |= {f"validation {name}": values[-1] for name, values in self.validation.items()}
        shown = "".join(f", {name} {x:.4g}" for name, x in last.items())
        return f"History({self.steps} steps{shown and ', the last with' + shown[1:]}, ended: {self.stopped})"

    @property
    def steps(self) -> int:
        """Steps taken, those before `start` included."""
        return self.start + len(self.train.get("loss", ()))

    @property
    def steps_per_second(self) -> float:
        """Steps per second of running."""
        return (self.steps - self.start) / self.run_seconds if self.run_seconds else 0.0

    @property
    def first_bad_step(self) -> int | None:
        """The first step, from 1, with a loss, gradient or parameters that were not finite; None: all were finite."""
        return min(self.nonfinite, default=None)

    def since_best(self, monitor: str, best_step: int) -> int:
        """The number of finite validations since the best one."""
        later = np.searchsorted(self.validation_steps, best_step, side="right")
        return int(np.isfinite(self.validation.get(monitor, np.zeros(0))[later:]).sum())

    def extend(self, train: Mapping[str, checks.ArrayLike], validation: Mapping[str, checks.ArrayLike]) -> None:
        """Adds the values of some steps, and those of a validation unless they are empty.

        Names that are new, or no longer measured, get NaN elsewhere.
        """
        steps = self.steps - self.start
        self._extend("train", {name: np.asarray(values) for name, values in train.items()}, steps)
        if validation:
            values = {name: np.asarray(value)[None] for name, value in validation.items()}
            self._extend("validation", values, len(self.validation_steps))
            reached = np.asarray([self.steps])
            self.validation_steps = self._appended(self.validation_steps, reached, "validation_steps")

    def _extend(self, kind: str, found: dict[str, np.ndarray], past: int) -> None:
        series: dict[str, np.ndarray] = getattr(self, kind)
        count = len(next(iter(found.values())))
        found |= {name: np.full(count, np.nan, x.dtype) for name, x in series.items() if name not in found}
        for name, values in found.items():
            before = np.full(past, np.nan, values.dtype) if name not in series else series[name]
            series[name] = self._appended(before, values, f"{kind}/{name}")

    def look(self, diagnostics: dict[str, jax.Array]) -> None:
        """Adds a measurement of the gradient after the steps taken so far."""
        for name, value in jax.tree.map(np.asarray, diagnostics).items():
            past = self.diagnostics.get(name)
            if past is not None and value.ndim:  # the number of lags varies with the batch's steps
                past, value = _wider(past, value.size), _wider(value, past.shape[-1])
            self.diagnostics[name] = self._appended(past, value[None], f"diagnostics/{name}")
        self.diagnostic_steps = self._appended(self.diagnostic_steps, np.asarray([self.steps]), "diagnostic_steps")

    def _appended(self, past: np.ndarray | None, values: np.ndarray, name: str) -> np.ndarray:
        """Appends `values` to `past`; the time does not depend on the length of `past`, on average."""
        past = values[:0] if past is None else past
        count, room = len(past) + len(values), self._rooms.get(name)
        if room is None or past.base is not room or len(room) < count or room.dtype != values.dtype:
            room = np.empty((max(2 * count, 64), *values.shape[1:]), np.result_type(past, values))
            room[: len(past)] = past
            self._rooms[name] = room
        room[len(past) : count] = values
        return room[:count]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays for a save, by name."""
        named = {f"{kind}/{name}": x for kind in SERIES for name, x in getattr(self, kind).items()}
        return {f"history/{name}": x for name, x in (named | {kind: getattr(self, kind) for kind in STEPS}).items()}

    def said(self) -> dict[str, Any]:
        """The rest of a save, as JSON."""
        return {name: getattr(self, name) for name in SAID}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], said: dict[str, Any]) -> "History":
        """The inverse of `arrays` and `said`."""
        series: dict[str, Any] = {kind: {} for kind in SERIES}
        for name in arrays:
            _, kind, rest = [*name.split("/", 2), ""][:3] if name.startswith("history/") else ("", "", "")
            if kind in SERIES:
                series[kind][rest] = arrays[name]
        steps = {kind: arrays[f"history/{kind}"] for kind in STEPS}
        said = said | {"nonfinite": {int(step): what for step, what in said["nonfinite"].items()}}
        return cls(**series, **steps, **{name: said[name] for name in SAID})

    def plot(self, path: str | None = None) -> "Figure":
        """Draws each measurement against the step.

        Args:
          path: a file to write the picture to, such as "curves.png"; None: only return it.

        Returns:
          The matplotlib Figure.

        Raises:
          ImportError: matplotlib is not installed.
        """
        names = in_order(self.train)
        figure, panels = new_figure("History.plot", (4.2 * len(names), 3.2), 1, len(names))
        for axes, name in zip(panels, names, strict=True):
            steps = np.arange(self.start + 1, self.steps + 1)
            axes.plot(steps, self.train[name], color="C0", alpha=0.25, linewidth=0.8, label="training, each step")
            axes.plot(steps, _smooth(self.train[name]), color="C0", label="training, running mean")
            if name in self.validation:
                axes.plot(
                    self.validation_steps, self.validation[name], "o-", color="C1", markersize=3, label="validation"
                )
            values = np.append(self.train[name], self.validation.get(name, []))
            values = values[np.isfinite(values)]
            if name in ("loss", "gradient_norm") and values.max(initial=0) > 0 <= values.min(initial=0):
                axes.set_yscale("log")
            elif np.isfinite(self.train[name]).any():  # limits the axis to values after the first steps
                shown = np.append(_smooth(self.train[name])[len(steps) // 10 :], self.validation.get(name, []))
                low, high = np.nanmin(shown), np.nanmax(shown)
                margin = 0.05 * (high - low) or 0.05
                axes.set_ylim(low - margin, high + margin)
            scores = np.asarray(self.validation.get(self.monitor, ()), float)
            if np.isfinite(scores).any():
                lowest = self.mode == "min"
                best = np.nanargmin(np.where(np.isfinite(scores), scores if lowest else -scores, np.nan))
                label = f"{'lowest' if lowest else 'highest'} validation {self.monitor}"
                axes.axvline(self.validation_steps[best], color="C1", linestyle=":", label=label)
            axes.set(xlabel="step", title=name.replace("_", " ").replace("norm", "norm, before clipping"))
            axes.grid(alpha=0.3)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        return saved(figure, path)

    def plot_diagnostics(self, path: str | None = None) -> "Figure":
        """Draws the diagnostics over the run: each layer's gradient by lag, norms and saturated gates.

        Args:
          path: a file to write the picture to, such as "looks.png"; None: only return it.

        Returns:
          The matplotlib Figure.

        Raises:
          ImportError: matplotlib is not installed.
          ValueError: nothing was recorded.
        """
        if not self.diagnostics:
            raise ValueError("diagnostics: expected at least one look, got none: fit(diagnose_every=...) records them")
        layers, norms, shares = (
            {name.removeprefix(kind): x for name, x in self.diagnostics.items() if name.startswith(kind)}
            for kind in ("norm_by_lag/", "gradient_norm/", "saturated/")
        )
        figure, panels = new_figure("History.plot_diagnostics", (4.2 * (len(layers) + 2), 3.6), 1, len(layers) + 2)
        for axes, (name, looks) in zip(panels, layers.items(), strict=False):
            for i, values in enumerate(looks):
                late = (i + 1) / len(looks)  # pale at first, dark at the end
                label = f"step {self.diagnostic_steps[i]}" if i in (0, len(looks) - 1) else None
                axes.plot(np.where(values > 0, values, np.nan), color="C0", alpha=0.15 + 0.85 * late, label=label)
            axes.set(xlabel="lag k (steps back from the output)", yscale="log", title=f"gradient k steps back, {name}")
        for axes, found, title in zip(panels[-2:], (norms, shares), ("gradient norm", "saturated share"), strict=True):
            for name, values in found.items():
                axes.plot(self.diagnostic_steps, values, ".-", label=name)
            axes.set(xlabel="step", title=title, yscale="log" if found is norms else "linear")
        for axes in panels:
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(frameon=False, fontsize="small")
        return saved(figure, path)


SERIES, STEPS = ("train", "validation", "diagnostics"), ("validation_steps", "diagnostic_steps")
SAID = ("nonfinite", "compile_seconds", "run_seconds", "start")


def _wider(values: np.ndarray, size: int) -> np.ndarray:
    """Widens the last axis to at least `size` entries, with NaN in new ones."""
    missing = [(0, 0)] * (values.ndim - 1) + [(0, max(0, size - values.shape[-1]))]
    return np.pad(values, missing, constant_values=np.nan)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of measurements in the order of display: the loss first, the gradient's norm last."""
    return sorted(names, key=lambda name: (name != "loss", name == "gradient_norm", name))


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over a fiftieth of the run."""
    width = max(1, len(values) // 50)
    sums = np.cumsum(np.concatenate([np.zeros(1), values.astype(np.float64)]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
