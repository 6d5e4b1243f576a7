"""Forecasts of CO2 and sunspots, beside last year's season and SARIMAX.

The series are statsmodels': CO2 on Mauna Loa, week by week from 1958 to 2001, with gaps; and sunspots, year by year
from 1700 to 2008. A GRU learns to predict the next value by its mean squared error; gaps are masked. A forecast of
several steps goes on with the network's own forecasts (`jaxrnn.decoding.rollout`), and so may training
(`jaxrnn.decoding.scheduled_sampling`). A second GRU, of the same size, learns the next value's quantiles. Values drawn
from them, one after the other, make many possible futures; an interval holds the middle 90 % of these.

Networks, scaling and the baselines' parameters are fitted to the values before the first origin. At each origin of the
last part, one after the other, the values before it are read and those after it are forecast.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure
from statsmodels.datasets import co2, sunspots

import jaxrnn
from experiments import command, forecast_baselines, run_folder
from experiments.forecast_baselines import Forecast

Name = Literal["co2", "sunspots"]
Part = Literal["early", "late", "test"]
QUANTILES = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99], np.float32)
MEDIAN = len(QUANTILES) // 2


@dataclasses.dataclass(frozen=True)
class Config:
    """Recurrent networks that forecast CO2 and sunspots."""

    series: Annotated[Literal[Name, "both"], tyro.conf.arg(metavar="NAME")] = "both"
    """co2, sunspots or both."""
    part: Part = "test"
    """Values to forecast: two validation parts, or the last."""
    hidden: int = 16
    """Hidden features of the GRU."""
    context: int | None = None
    """Values read before a forecast; None: the series' own."""
    sampling: float | None = None
    """Rate of scheduled sampling; None: the series' own."""
    learning_rate: float = 3e-3
    """Adam's learning rate at the start."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    steps: int | None = None
    """Steps of training; None: the series' own."""
    batch_size: int = 32
    """Sequences in a minibatch."""
    futures: int = 200
    """Futures that an interval is made of."""
    seed: int = 0
    """Seed of parameters, order and futures."""
    seeds: command.Seeds = 1
    check: command.Check = False
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/forecasting")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "context", "steps", "batch_size", "futures", "seeds")


SMOKE = Config(series="sunspots", hidden=4, steps=4, futures=4, context=16, check=True)


class Task(NamedTuple):
    """The task of a series.

    Attributes:
      period, horizon: the period of the seasonal naive forecast, and the number of values to forecast, in steps.
      held_out: the number of values in the test part, and in each of the two validation parts before it.
      every: steps from one origin to the next.
      unit: the unit of the values.
      context, sampling, steps: the defaults of the options of the same names, chosen on the validation parts.
      amplitudes: factors; the training sequences are also read with the series multiplied by each of them.
    """

    period: int
    horizon: int
    held_out: tuple[int, int]
    every: int
    unit: str
    context: int
    sampling: float
    steps: int
    amplitudes: tuple[float, ...]


TASKS: dict[str, Task] = {
    "co2": Task(52, 52, (520, 260), 13, "CO2, ppm", 104, 0.0, 600, (1.0,)),
    "sunspots": Task(11, 11, (64, 60), 1, "sunspots", 44, 0.75, 1000, (0.67, 0.8, 1.0, 1.25, 1.5)),
}


class Record(NamedTuple):
    """A series.

    Attributes:
      years: the times of the values, [n].
      y: the values; NaN in gaps.
      z: the values that the networks read and forecast, with mean 0 and standard deviation 1 before the first origin.
      zero: the value of z for an unscaled value of 0.
      end: the number of values before the first origin.
      origins: the index of the first value of each forecast.
      back: (z, its indices) -> y.
    """

    years: np.ndarray
    y: np.ndarray
    z: np.ndarray
    zero: float
    end: int
    origins: np.ndarray
    back: Callable[[np.ndarray, np.ndarray], np.ndarray]


def load(config: Config) -> Record:
    """The series: of CO2 the growth over a year, of sunspots the square root."""
    name, task = config.series, TASKS[config.series]
    frame: Any
    if name == "co2":
        frame = co2.load_pandas().data
        years, y = np.asarray(frame.index.year + frame.index.dayofyear / 365.25), np.asarray(frame["co2"])
        z = np.concatenate([np.full(task.period, np.nan), y[task.period :] - y[: -task.period]])
    else:
        frame = sunspots.load_pandas().data
        years, y = np.asarray(frame["YEAR"]), np.asarray(frame["SUNACTIVITY"])
        z = np.sqrt(y)
    test, validation = task.held_out
    after = {"early": test + validation, "late": test, "test": 0}[config.part]
    stop = len(y) - after
    end = stop - (test if config.part == "test" else validation)
    center, scale = float(np.nanmean(z[:end])), float(np.nanstd(z[:end]))

    def back(z: np.ndarray, at: np.ndarray) -> np.ndarray:
        z = z * scale + center
        return y[at - task.period] + z if name == "co2" else np.maximum(z, 0.0) ** 2

    origins = np.arange(end, stop - task.horizon + 1, task.every)
    return Record(years[:stop], y[:stop], (z[:stop] - center) / scale, -center / scale, end, origins, back)


def option(config: Config, name: str) -> Any:
    """An option, or the series' own value if it is None."""
    given = getattr(config, name)
    return getattr(TASKS[config.series], name) if given is None else given


def filled(z: np.ndarray) -> np.ndarray:
    """Fills each gap with the last value before it, as a network reads it, and gaps before all values with zero."""
    last = np.maximum.accumulate(np.where(np.isnan(z), -1, np.arange(len(z))))
    return np.where(last < 0, 0.0, z[last])


def check_context(config: Config, record: Record) -> None:
    """Ends the program if there are fewer sequences of `context` values than rows in a minibatch."""
    each = -(-config.batch_size // len(TASKS[config.series].amplitudes))
    most, T = record.end - int(np.argmax(~np.isnan(record.z))) - each, option(config, "context")
    wanted = f"at most {most} of {config.series}, for minibatches of {config.batch_size} sequences"
    command.expect("context", wanted, most >= T, T)


def windows(config: Config, record: Record) -> dict[str, np.ndarray]:
    """All sequences of T values before the first origin, their next values, and a mask of those that exist.

    The amplitudes show the networks larger cycles than any before, since the largest cycles may be yet to come.
    """
    z, read, T = record.z, filled(record.z), option(config, "context")
    first = int(np.argmax(~np.isnan(z)))
    rows = np.arange(T)[:, None] + np.arange(first, record.end - T)
    amplitudes = TASKS[config.series].amplitudes

    def at_all(z: np.ndarray) -> np.ndarray:
        zs = [record.zero + amplitude * (z - record.zero) for amplitude in amplitudes]
        return np.concatenate(zs, axis=1)[..., None].astype(np.float32)

    targets = z[rows + 1]
    return {"xs": at_all(read[rows]), "targets": at_all(targets), "mask": np.tile(~np.isnan(targets), len(amplitudes))}


def build(config: Config, outputs: int = 1) -> jaxrnn.Model:
    """One GRU, and an output layer for the next value or its quantiles."""
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(1, config.hidden)]), jaxrnn.dense(config.hidden, outputs))


def point_loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Mean squared error of the next value."""
    return jaxrnn.losses.mean_squared_error(ys, batch)


def interval_loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Quantile loss of the next value."""
    return jaxrnn.losses.quantile_loss(ys, batch, quantiles=QUANTILES)


def draw(quantiles: jax.Array, u: jax.Array) -> jax.Array:
    """The value [..., 1] below which a share u [..., 1] lies: piecewise linear between the quantiles [..., Q]."""
    place = jnp.interp(u, QUANTILES, np.arange(len(QUANTILES), dtype=np.float32))
    index = np.arange(len(QUANTILES), dtype=np.float32).reshape((1,) * (u.ndim - 1) + (-1,))
    weights = jnp.maximum(1.0 - jnp.abs(place - index), 0.0)
    return jnp.sum(weights * jnp.sort(quantiles, axis=-1), axis=-1, keepdims=True)


def forecast(config: Config, record: Record, point: Any, interval: Any) -> Forecast:
    """From each origin: the point network's own forecasts, and the middle 90 % of the other network's draws.

    Args:
      config, record: the run's.
      point, interval: the parameters of the two networks.
    """
    H, T = TASKS[config.series].horizon, option(config, "context")
    at = forecast_baselines.steps_ahead(record.origins, H)
    xs = filled(record.z)[forecast_baselines.steps_ahead(record.origins - T, T)][..., None].astype(np.float32)
    shape = (config.futures, H, len(record.origins), 1)
    us = jax.random.uniform(jax.random.key(config.seed), shape)

    @jax.jit
    def values(point: Any, interval: Any) -> tuple[jax.Array, jax.Array]:
        def future(us: jax.Array) -> jax.Array:
            ys = jaxrnn.decoding.rollout(build(config, len(QUANTILES)), interval, xs, H, feedback=draw, inputs=us)[1]
            return draw(ys, us)[..., 0]

        return jaxrnn.decoding.rollout(build(config), point, xs, H)[1][..., 0], jax.vmap(future)(us)

    z, futures = values(point, interval)
    low, high = np.quantile(np.asarray(futures), [0.05, 0.95], axis=0)
    return Forecast(*(record.back(np.asarray(x), at) for x in (z, low, high)))


@functools.cache
def classical(series: Name, part: Part) -> tuple[Forecast, Forecast]:
    """The seasonal naive forecast and SARIMAX, whose orders were chosen on the late validation part.

    CO2: ARIMA(1, 1, 1) around three harmonics of the year. Sunspots: AR(9) of the square root.
    """
    record, task = load(Config(series, part)), TASKS[series]
    naive = forecast_baselines.seasonal_naive(record.y, task.period, record.origins, task.horizon)
    arguments = record.end, record.origins, task.horizon
    if series == "co2":
        season = forecast_baselines.harmonics(len(record.y), 365.25 / 7, 3)
        return naive, forecast_baselines.sarimax(record.y, *arguments, order=(1, 1, 1), season=season)
    roots = forecast_baselines.sarimax(np.sqrt(record.y), *arguments, order=(9, 0, 0))
    return naive, Forecast(*(np.maximum(x, 0.0) ** 2 for x in roots if x is not None))


def comparable(record: Record, task: Task, forecasts: dict[str, Forecast]) -> np.ndarray:
    """The values to forecast, [H, N]; NaN in gaps, and where a forecast lacks a value that it needs."""
    truth = record.y[forecast_baselines.steps_ahead(record.origins, task.horizon)]
    lacking = [np.isnan(x) for found in forecasts.values() for x in found if x is not None]
    return np.where(np.any(lacking, axis=0), np.nan, truth)


def scores(record: Record, task: Task, found: Forecast, truth: np.ndarray) -> dict[str, float]:
    """Errors over all origins and steps; MASE: the mean absolute error relative to the seasonal naive one before them.

    Args:
      record, task: the series.
      found: the forecasts of one method.
      truth: see `comparable`.
    """
    known = ~np.isnan(truth)
    error = np.abs(found.value - truth)[known]
    before = record.y[: record.end]
    usual = np.nanmean(np.abs(before[task.period :] - before[: -task.period]))
    measured = {"MAE": np.mean(error), "RMSE": np.sqrt(np.mean(error**2)), "MASE": np.mean(error) / usual}
    if found.low is not None and found.high is not None:
        inside = (found.low <= truth) & (truth <= found.high)
        measured |= {"coverage": inside[known].mean(), "width": np.mean((found.high - found.low)[known])}
    return {name: float(value) for name, value in measured.items()}


def main(config: Config) -> dict[str, Any]:
    """Trains on each series with each seed, and reports; returns the figures by series."""
    names = tuple(TASKS) if config.series == "both" else (config.series,)
    configs = {name: dataclasses.replace(config, series=name) for name in names}
    for one in configs.values():
        check_context(one, load(one))
    return {name: command.over_seeds(train, one, "MAE", config.out / name) for name, one in configs.items()}


def train(config: Config) -> dict[str, Any]:
    """One run on one series: trains both networks and writes their folder."""
    if config.series == "both":
        raise ValueError("series: expected one of them, got 'both'")
    record, task, folder = load(config), TASKS[config.series], config.out / config.series / f"seed-{config.seed}"
    data, point, interval = windows(config, record), build(config), build(config, len(QUANTILES))
    if config.check:
        for model in (point, interval):
            params = model.init(jax.random.key(config.seed))
            command.check_gradient(model, params, data["xs"][:16, :4])
    rate, steps = option(config, "sampling"), option(config, "steps")
    schedule = optax.cosine_decay_schedule(config.learning_rate, steps)
    results = [
        jaxrnn.fit(
            model,
            loss,
            optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule)),
            data,
            key=jax.random.key(config.seed),
            steps=steps,
            batch_size=config.batch_size,
            run_dir=command.run_dir(config, folder / name),
            progress=config.progress,
        )
        for name, model, loss in (
            ("point", jaxrnn.decoding.scheduled_sampling(point, rate), point_loss),
            ("interval", interval, interval_loss),
        )
    ]
    naive, sarimax = classical(config.series, config.part)
    gru = forecast(config, record, *(result.params for result in results))
    forecasts = {"seasonal naive": naive, "SARIMAX": sarimax, "GRU": gru}
    truth = comparable(record, task, forecasts)
    measured = {name: scores(record, task, found, truth) for name, found in forecasts.items()}
    found = measured["GRU"] | {
        f"{name} {score}": value for name in ("seasonal naive", "SARIMAX") for score, value in measured[name].items()
    }
    found |= {
        "parameters": sum(x.size for result in results for x in jax.tree.leaves(result.params)),
        "training seconds": sum(result.history.run_seconds for result in results),
        "compile seconds": sum(result.history.compile_seconds for result in results),
    }
    for name, result in zip(("point", "interval"), results, strict=True):
        run_folder.write(folder / name, config, found, result.history)
    plot(config, record, forecasts, truth, folder / "forecast.png")
    print(f"\n{run_folder.table({'series': config.series, 'seed': config.seed} | found)}")
    return found


def plot(config: Config, record: Record, forecasts: dict[str, Forecast], truth: np.ndarray, path: pathlib.Path) -> None:
    """The last forecasts that do not overlap, and the error against the number of steps ahead."""
    task = TASKS[config.series]
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2.4, 1.0])
    apart = int(np.ceil(task.horizon / task.every))
    shown = np.arange(len(record.origins))[::-apart][:4]
    first = record.origins[shown[-1]] - task.horizon // 2
    left.plot(record.years[first:], record.y[first:], "k.-", linewidth=0.8, markersize=3, label="measured")
    colors = {"seasonal naive": "0.6", "SARIMAX": "C0", "GRU": "C1"}
    for name, found in forecasts.items():
        for i in shown:
            years = record.years[record.origins[i] + np.arange(task.horizon)]
            label = name if i == shown[0] else None
            left.plot(years, found.value[:, i], color=colors[name], label=label, linewidth=1.4)
            if name == "GRU" and found.low is not None and found.high is not None:
                interval = None if label is None else "GRU, 90 %"
                left.fill_between(years, found.low[:, i], found.high[:, i], color="C1", alpha=0.2, label=interval)
        error = np.nanmean(np.abs(found.value - truth), axis=1)
        right.plot(np.arange(1, task.horizon + 1), error, color=colors[name], label=name)
    for i in shown:
        left.axvline(record.years[record.origins[i]], color="0.8", linewidth=0.8, zorder=0)
    left.set(xlabel="year", ylabel=task.unit, title=f"{len(shown)} forecasts, each from a grey line on")
    right.set(xlabel="steps ahead", ylabel="mean absolute error", title=f"Mean over {len(record.origins)} origins")
    right.set_ylim(bottom=0.0)
    right.grid(alpha=0.3)
    left.legend(frameon=False, fontsize="small")
    right.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    command.run(main, SMOKE)
