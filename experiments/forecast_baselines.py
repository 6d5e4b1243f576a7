"""Baselines of forecasts: last year's season, and a classical model."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX


class Forecast(NamedTuple):
    """Forecasts from several origins: value[k, i] is that of k + 1 steps past the i-th one.

    Attributes:
      value: [H, N].
      low, high: the ends of the interval that should hold 90 % of the truth, [H, N]; None: no interval.
    """

    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def steps_ahead(origins: np.ndarray, horizon: int) -> np.ndarray:
    """The indices of the values to forecast, [horizon, N]; an origin is the index of the first of them."""
    return origins + np.arange(horizon)[:, None]


def seasonal_naive(y: np.ndarray, period: int, origins: np.ndarray, horizon: int) -> Forecast:
    """The forecast that repeats the values of one period before."""
    return Forecast(y[steps_ahead(origins, horizon) - period])


def harmonics(n: int, period: float, count: int) -> np.ndarray:
    """sin and cos of 1 ... count cycles per period, [n, 2 count]."""
    angles = 2 * np.pi * np.arange(n)[:, None] * np.arange(1, count + 1) / period
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def sarimax(
    y: np.ndarray,
    end: int,
    origins: np.ndarray,
    horizon: int,
    *,
    order: tuple[int, int, int],
    season: np.ndarray | None = None,
) -> Forecast:
    """ARIMA with a constant and a season of fixed shape, by statsmodels' Kalman filter, which skips gaps.

    Its parameters are fitted to y[:end]. At each origin it has filtered all values before.

    Args:
      y: the series, NaN where there is no value.
      end: the number of values that are fitted.
      origins, horizon: see `steps_ahead`.
      order: (p, d, q).
      season: regressors of the series, known for all time, [n, E]; None: no regressors.
    """

    def part(rows: slice) -> Any:
        return None if season is None else season[rows]

    forecasts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels corrects its starting values by itself
        model = SARIMAX(y[:end], exog=part(slice(end)), order=order, trend="c")
        fitted: Any = model.fit(disp=False, maxiter=200)
        for origin in origins:
            known = fitted.apply(y[:origin], exog=part(slice(origin)))
            ahead = known.get_forecast(horizon, exog=part(slice(origin, origin + horizon)))
            forecasts.append([ahead.predicted_mean, *ahead.conf_int(alpha=0.1).T])
    return Forecast(*np.moveaxis(np.array(forecasts), 0, -1))
