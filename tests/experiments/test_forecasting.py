"""Forecasts of CO2 and sunspots: what is known when, the baselines, and a small run from start to end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import forecast_baselines, forecasting

SMOKE = dataclasses.replace(forecasting.SMOKE, progress=False)
PARTS = ("early", "late", "test")
series = pytest.mark.parametrize("name", forecasting.TASKS)


def config(name, part="test", **options):
    return dataclasses.replace(SMOKE, series=name, part=part, **options)


@series
@pytest.mark.parametrize("part", PARTS)
def test_the_transformation_and_its_inverse(name, part):
    record = forecasting.load(config(name, part))
    at = forecast_baselines.steps_ahead(record.origins, forecasting.TASKS[name].horizon)
    known = ~np.isnan(record.z[at])  # of the early CO2, a few values a year before are missing
    assert known.mean() > 0.95
    np.testing.assert_allclose(record.back(record.z[at], at)[known], record.y[at][known], atol=1e-9)
    assert np.nanmean(record.z[: record.end]) == pytest.approx(0.0, abs=1e-9)
    assert np.nanstd(record.z[: record.end]) == pytest.approx(1.0)


@series
def test_the_parts_lie_one_after_the_other(name):
    early, late, test = (forecasting.load(config(name, part)) for part in PARTS)
    assert early.end < len(early.y) == late.end < len(late.y) == test.end < len(test.y)
    for record in (early, late, test):
        assert record.origins[0] == record.end
        assert record.origins[-1] + forecasting.TASKS[name].horizon <= len(record.y)
        assert len(record.origins) > 10


@series
def test_the_future_reaches_nothing(name, monkeypatch):
    """Neither training data nor scaling nor a forecast depends on values past what was known."""
    c = config(name, context=None)
    record, task = forecasting.load(c), forecasting.TASKS[name]
    origin = record.origins[3]
    frames = {"co2": forecasting.co2.load_pandas().data, "sunspots": forecasting.sunspots.load_pandas().data}
    frames[name].iloc[origin:, -1] += 100.0

    class Loaded:
        data = frames[name]

    monkeypatch.setattr(getattr(forecasting, name), "load_pandas", Loaded)
    changed = forecasting.load(c)
    assert (changed.y[origin:] != record.y[origin:]).all()
    np.testing.assert_array_equal(changed.z[:origin], record.z[:origin])
    for name_, want in forecasting.windows(c, record).items():
        np.testing.assert_array_equal(forecasting.windows(c, changed)[name_], want)
    params = [forecasting.build(c, outputs).init(jax.random.key(0)) for outputs in (1, len(forecasting.QUANTILES))]
    ours, theirs = (forecasting.forecast(c, r, *params) for r in (record, changed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a[:, :4], b[:, :4])
        assert a.shape == (task.horizon, len(record.origins))
    assert (ours.value[:, -1] != theirs.value[:, -1]).any()


def test_gaps_are_filled_by_the_value_before_and_masked_in_the_targets():
    z = np.array([np.nan, 1.0, np.nan, np.nan, 4.0])
    np.testing.assert_array_equal(forecasting.filled(z), [0.0, 1.0, 1.0, 1.0, 4.0])
    c = config("co2")
    record = forecasting.load(c)
    data = forecasting.windows(c, record)
    assert 0.0 < (~data["mask"]).mean() < 0.1
    np.testing.assert_array_equal(data["mask"], ~np.isnan(data["targets"][..., 0]))
    assert np.isfinite(data["xs"]).all()
    first = np.flatnonzero(~np.isnan(record.z))[0]
    for row in (0, 40):
        want = record.z[first + row + 1 : first + row + 1 + c.context]
        np.testing.assert_allclose(data["targets"][:, row, 0], want, rtol=1e-6)


def test_sequences_of_larger_cycles_are_those_of_a_larger_series():
    """The square root of sunspots, scaled: undone, they are the series times the amplitude's square."""
    c = config("sunspots")
    record, amplitudes = forecasting.load(c), forecasting.TASKS["sunspots"].amplitudes
    data = forecasting.windows(c, record)
    N = data["xs"].shape[1] // len(amplitudes)
    assert record.end - c.context == N
    for i, amplitude in enumerate(amplitudes):
        values = record.back(data["xs"][:, i * N + 3, 0].astype(np.float64), np.arange(16))
        np.testing.assert_allclose(values, amplitude**2 * record.y[3:19], rtol=1e-4, atol=1e-3)
    assert data["mask"].shape == data["xs"].shape[:2] == data["targets"].shape[:2]
    assert data["mask"].all()


def test_values_are_drawn_between_the_quantiles():
    quantiles = jnp.asarray(np.stack([np.arange(9.0), 2.0 * np.arange(9.0)[::-1]]), jnp.float32)
    levels = forecasting.QUANTILES
    for i, u in enumerate(levels):
        got = forecasting.draw(quantiles, jnp.full((2, 1), u))
        np.testing.assert_allclose(got, [[i], [2 * i]], atol=1e-5)
    between = forecasting.draw(quantiles, jnp.full((2, 1), (levels[3] + levels[4]) / 2))
    np.testing.assert_allclose(between, [[3.5], [7.0]], rtol=1e-5)
    np.testing.assert_allclose(forecasting.draw(quantiles, jnp.full((2, 1), 0.0)), [[0.0], [0.0]], atol=1e-6)


def test_the_interval_is_the_middle_90_percent():
    """A network that says the quantiles of U(0, 1), whatever it reads."""
    c = config("sunspots", futures=1500)
    record = forecasting.load(c)._replace(back=lambda z, at: z)
    point, interval = (forecasting.build(c, outputs).init(jax.random.key(0)) for outputs in (1, 9))
    interval["1"] = {"w": jnp.zeros_like(interval["1"]["w"]), "b": jnp.asarray(forecasting.QUANTILES)}
    found = forecasting.forecast(c, record, point, interval)
    assert found.low.mean() == pytest.approx(0.05, abs=0.003)
    assert found.high.mean() == pytest.approx(0.95, abs=0.003)


def test_the_seasonal_naive_forecast():
    y = np.sin(2 * np.pi * np.arange(40) / 8) + np.arange(40)
    found = forecast_baselines.seasonal_naive(y, 8, np.array([20, 27]), 8)
    np.testing.assert_allclose(y[forecast_baselines.steps_ahead(np.array([20, 27]), 8)] - found.value, 8.0)


def test_sarimax_finds_a_season_through_gaps_and_says_how_sure_it_is():
    rng = np.random.default_rng(0)
    season = forecast_baselines.harmonics(260, 12.0, 1)
    truth = season @ np.array([3.0, 1.0]) + 2.0
    y = truth + 0.1 * rng.standard_normal(260)
    y[30:34] = np.nan
    origins = np.arange(200, 240, 5)
    found = forecast_baselines.sarimax(y, 200, origins, 12, order=(1, 0, 0), season=season)
    at = forecast_baselines.steps_ahead(origins, 12)
    np.testing.assert_allclose(found.value, truth[at], atol=0.15)
    assert np.mean((found.low <= y[at]) & (y[at] <= found.high)) > 0.75
    np.testing.assert_allclose(found.high - found.low, 2 * 1.645 * 0.1, rtol=0.2)


def test_scores_by_hand():
    record = forecasting.load(config("sunspots"))
    task = forecasting.TASKS["sunspots"]
    truth = record.y[forecast_baselines.steps_ahead(record.origins, task.horizon)]
    error = np.where(np.arange(task.horizon)[:, None] == 0, 11.0, 0.0) + np.zeros_like(truth)
    found = forecast_baselines.Forecast(truth + error, truth + error - 1.0, truth + error + 2.0)
    got = forecasting.scores(record, task, found, forecasting.comparable(record, task, {"one": found}))
    before = record.y[: record.end]
    usual = np.mean([abs(before[t] - before[t - 11]) for t in range(11, len(before))])
    want = {"MAE": 1.0, "RMSE": 11.0**0.5, "MASE": 1.0 / usual, "coverage": 10 / 11, "width": 3.0}
    assert got == pytest.approx(want)


def test_all_methods_are_scored_on_the_values_that_all_forecast():
    """One lacks a value of each origin, the truth another one; neither is an error or a miss of the interval."""
    record, task = forecasting.load(config("sunspots")), forecasting.TASKS["sunspots"]
    at = forecast_baselines.steps_ahead(record.origins, task.horizon)
    y = record.y.copy()
    y[at[-1, -1]] = np.nan
    record = record._replace(y=y)
    truth = y[at]
    wrong = np.where(np.arange(task.horizon) == 2, 100.0, 1.0)[:, None]
    here = np.where(np.arange(task.horizon) == 2, np.nan, 0.0)[:, None]
    complete = forecast_baselines.Forecast(truth + wrong, truth + 0.5 * wrong, truth + 2 * wrong)
    gaps = forecast_baselines.Forecast(truth + here, truth + here - 1.0, truth + here + 1.0)
    known = forecasting.comparable(record, task, {"complete": complete, "gaps": gaps})
    assert np.isnan(known).sum() == len(record.origins) + 1
    assert forecasting.scores(record, task, complete, known)["MAE"] == pytest.approx(1.0)
    got = forecasting.scores(record, task, gaps, known)
    assert (got["MAE"], got["coverage"], got["width"]) == pytest.approx((0.0, 1.0, 2.0))


def test_a_small_run(tmp_path, capsys):
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = forecasting.main(dataclasses.replace(SMOKE, out=tmp_path))
    assert set(found) == {"sunspots"}
    assert np.isfinite(list(found["sunspots"].values())).all()
    folder = tmp_path / "sunspots" / "seed-0"
    assert (folder / "forecast.png").exists()
    for kind in ("point", "interval"):
        files = {path.name for path in (folder / kind).iterdir()}
        assert files == {"config.json", "metrics.json", "history.json", "curves.png", "run"}
    assert capsys.readouterr().out.count("all gradients agree") == 2


def test_both_series_are_looked_at_before_any_is_trained(monkeypatch):
    monkeypatch.setattr(forecasting, "train", None)
    with pytest.raises(SystemExit, match=r"--context: expected at most 1680 of co2, for minibatches of 32 .* got 9999"):
        forecasting.main(forecasting.Config(context=9999))
    with pytest.raises(SystemExit, match=r"--context: expected at most 238 of sunspots, .* got 300"):
        forecasting.main(forecasting.Config(context=300))


@pytest.mark.parametrize("name", ["seeds", "context", "steps", "futures"])
def test_bad_options(name):
    with pytest.raises(SystemExit, match=f"--{name}: expected a positive integer, got 0"):
        forecasting.Config(**{name: 0})


def test_one_run_is_of_one_series():
    with pytest.raises(ValueError, match="series: expected one of them, got 'both'"):
        forecasting.train(dataclasses.replace(SMOKE, series="both"))
