"""Measures of forecasts: point errors, scaled errors, quantile losses, calibration.

Here: pure functions of arrays. One sign everywhere: error = forecast - actual, so positive bias is over-forecast.
NaN actuals are periods nobody observed and count nowhere. Not here: which windows are scored (`ml.backtest`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.schema import Doubles, Floats


def _pairs(actual: Doubles, forecast: Doubles) -> tuple[Doubles, Doubles]:
    """Return the observed pairs, flat."""
    a, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if a.shape != f.shape:
        raise ValueError(f"actual has shape {a.shape}, forecast {f.shape}: pass arrays of one shape")
    known = np.isfinite(a)
    if not np.isfinite(f[known]).all():
        raise ValueError(
            "forecast is missing or infinite where demand was observed: every observed period needs a number"
        )
    return a[known], f[known]


def mae(actual: Doubles, forecast: Doubles) -> float:
    """Return the mean absolute error, units a period; NaN if nothing was observed."""
    a, f = _pairs(actual, forecast)
    return float(np.abs(f - a).mean()) if len(a) else float("nan")


def rmse(actual: Doubles, forecast: Doubles) -> float:
    """Return the root of the mean squared error, units a period; NaN if nothing was observed."""
    a, f = _pairs(actual, forecast)
    return float(np.sqrt(np.square(f - a).mean())) if len(a) else float("nan")


def mape(actual: Doubles, forecast: Doubles) -> float:
    """Return the mean of |error| / actual over the periods with demand, as a share; NaN if none has any."""
    a, f = _pairs(actual, forecast)
    sold = a != 0
    return float((np.abs(f - a)[sold] / np.abs(a[sold])).mean()) if sold.any() else float("nan")


def wape(actual: Doubles, forecast: Doubles) -> float:
    """Return the sum of |error| over the sum of |actual|, as a share; NaN if there was no demand."""
    a, f = _pairs(actual, forecast)
    total = np.abs(a).sum()
    return float(np.abs(f - a).sum() / total) if total > 0 else float("nan")


def bias(actual: Doubles, forecast: Doubles) -> float:
    """Return the sum of errors over the sum of actuals; positive = over-forecast; NaN if there was no demand."""
    a, f = _pairs(actual, forecast)
    total = a.sum()
    return float((f - a).sum() / total) if total > 0 else float("nan")


def seasonal_scale(history: Doubles, season: int = 1, *, squared: bool = False) -> Doubles:
    """Return what a seasonal naive forecast errs in-sample: the denominator of MASE or (squared) of RMSSE.

    Leading zeros, before the first sale, do not count (M5 competition rules). Hyndman and Koehler 2006, Int. J.
    Forecasting 22, p. 685; Makridakis et al. 2022, Int. J. Forecasting 38, p. 1328.

    Args:
        history: units a period, NaN = not observed [series, periods].
        season: periods between the two values compared.
        squared: mean squared difference instead of mean absolute difference.

    Returns:
        units (or units squared) [series]; NaN where no two values can be compared.
    """
    values = np.array(np.atleast_2d(history), dtype=np.float64)
    sold = np.nan_to_num(values) > 0
    first = np.where(sold.any(axis=1), sold.argmax(axis=1), values.shape[1])
    values[np.arange(values.shape[1])[None, :] < first[:, None]] = np.nan
    if values.shape[1] <= season:
        return np.full(len(values), np.nan)
    steps = values[:, season:] - values[:, :-season]
    steps = np.square(steps) if squared else np.abs(steps)
    count = np.isfinite(steps).sum(axis=1)
    return np.where(count > 0, np.nansum(steps, axis=1) / np.maximum(count, 1), np.nan)


def mase(actual: Doubles, forecast: Doubles, history: Doubles, season: int = 1) -> Doubles:
    """Return the mean absolute scaled error of each series (Hyndman and Koehler 2006).

    Args:
        actual: units, NaN = not observed [series, horizon].
        forecast: units [series, horizon].
        history: units before the forecast [series, periods].
        season: periods of the naive forecast in the denominator.

    Returns:
        [series]; NaN where the history never changes or nothing was observed.
    """
    return _scaled(np.abs(np.atleast_2d(forecast) - np.atleast_2d(actual)), seasonal_scale(history, season))


def rmsse(actual: Doubles, forecast: Doubles, history: Doubles, season: int = 1) -> Doubles:
    """Return the root mean squared scaled error of each series (M5); arguments and NaN as `mase`."""
    scale = seasonal_scale(history, season, squared=True)
    return np.sqrt(_scaled(np.square(np.atleast_2d(forecast) - np.atleast_2d(actual)), scale))


def _scaled(errors: Doubles, scale: Doubles) -> Doubles:
    count = np.isfinite(errors).sum(axis=1)
    mean = np.where(count > 0, np.nansum(errors, axis=1) / np.maximum(count, 1), np.nan)
    return np.where(scale > 0, mean / np.where(scale > 0, scale, 1.0), np.nan)


def wrmsse(scores: Doubles, weights: Doubles) -> float:
    """Return the weighted mean of RMSSE over series; series without a score give their weight to the others.

    Args:
        scores: RMSSE of each series, NaN = none [series].
        weights: share of value, >= 0 [series].
    """
    known = np.isfinite(scores) & (np.asarray(weights) > 0)
    return float(np.average(scores[known], weights=np.asarray(weights)[known])) if known.any() else float("nan")


def pinball_loss(actual: Doubles, quantile: Doubles, level: float | Doubles) -> Doubles:
    """Return the pinball loss of a quantile forecast, element by element.

    Args:
        actual: observed demand, units a period.
        quantile: forecast that broadcasts against it, units a period.
        level: probability that demand is at most `quantile`, in (0, 1).

    Returns:
        Non-negative losses in units; the mean over many periods is lowest for the true quantile (Koenker and Bassett
        1978, Econometrica 46, p. 38).
    """
    error = np.asarray(actual) - np.asarray(quantile)
    return np.asarray(np.maximum(level * error, (np.asarray(level) - 1.0) * error))


def wql(actual: Doubles, quantiles: Doubles, levels: Sequence[float]) -> float:
    """Return the weighted quantile loss: twice the summed pinball loss over the summed |actual|, mean over levels.

    Args:
        actual: units, NaN = not observed [...].
        quantiles: units [..., levels].
        levels: probabilities in (0, 1).
    """
    known = np.isfinite(actual)
    total = np.abs(actual[known]).sum()
    if not total > 0:
        return float("nan")
    losses = pinball_loss(actual[known][:, None], quantiles[known], np.asarray(levels)[None, :])
    return float((2.0 * losses.sum(axis=0) / total).mean())


def calibration(actual: Doubles, quantiles: Doubles, levels: Sequence[float]) -> Doubles:
    """Return for each level P(actual < quantile) and P(actual <= quantile).

    A quantile of counts is right when its level lies between the two: with many zeros both are far apart, and plain
    coverage of an interval misleads.

    Args:
        actual: units, NaN = not observed [...].
        quantiles: units [..., levels].
        levels: probabilities in (0, 1), only their number matters.

    Returns:
        shares [levels, 2]; NaN if nothing was observed.
    """
    known = np.isfinite(actual)
    if not known.any():
        return np.full((len(levels), 2), np.nan)
    a, q = actual[known][:, None], quantiles[known]
    return np.column_stack([(a < q).mean(axis=0), (a <= q).mean(axis=0)])


def calibration_gap(shares: Doubles, levels: Sequence[float]) -> Doubles:
    """Return how far each level lies outside its two shares, 0 = calibrated; positive = quantile too high [levels]."""
    wanted = np.asarray(levels)
    return np.asarray(np.maximum(shares[:, 0] - wanted, 0.0) + np.minimum(shares[:, 1] - wanted, 0.0))


def randomised_pit(actual: Doubles, draws: Doubles | Floats, uniform: Doubles) -> Doubles:
    """Return where each observation falls among equally likely draws, ties broken at random.

    Uniform on (0, 1) if the draws have the distribution of the observation (Czado, Gneiting and Held 2009,
    Biometrics 65, p. 1255).

    Args:
        actual: observed units [rows].
        draws: equally likely values [rows, draws].
        uniform: independent uniform numbers [rows].
    """
    below = (draws < actual[:, None]).sum(axis=1)
    upto = (draws <= actual[:, None]).sum(axis=1)
    return np.asarray((below + uniform * (upto - below + 1)) / (draws.shape[1] + 1), dtype=np.float64)
