"""Rolling-origin evaluation of forecasting recipes.

Here: windows, refitting each recipe per window, and the errors by series, segment, horizon and level. Not here: the
measures themselves (`ml.metrics`) and the decision (`ml.backtest.gate`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ml.backtest.tallies import Tally, headline, joined_sums, score_sums, segments
from ml.backtest.windows import Window, aligned, observed, positions, window_starts
from ml.forecast.base import Forecaster, ModelSpec
from ml.forecast.ensemble import Combination
from ml.panel import Frequency, build_panel
from ml.schema import KEYS
from ml.segments import demand_class


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a backtest found; every frame has a column `recipe`.

    Attributes:
        series: one row per recipe, window and series: sku, location_id, demand_class, abc_class, weight (value of the
            sales before the window), periods, actual_units, forecast_units, absolute_error, squared_error (means per
            period), pinball (mean over levels and periods), mase, rmsse (NaN where undefined), pinball_scaled (pinball
            over the seasonal scale).
        segments: one row per recipe, segment_kind, segment: series, periods, mae, rmse, mape, wape, bias, mase, rmsse,
            wrmsse, pinball, wql.
        horizons: one row per recipe and periods_ahead: mae, wape, bias, pinball.
        calibration: one row per recipe, segment_kind, segment, level: below = P(y < q), upto = P(y <= q), gap.
        sums: one row per recipe, span and level: below, upto, gap, pinball of the sum over `span` periods.
        windows: one row per recipe and window: origin, train_seconds, predict_seconds, wrmsse, pinball, wape, bias.
        forecasts: if kept, one row per recipe, window, series and period: demand_class, actual_units, mean_units,
            q05_units ...
        tried: the same of the members of combinations, on observed demand.
        fitted: what each recipe fitted before the window `fitted_window`, the last but one, for further proofs.
        fitted_window: number of that window.
        tried_sums: sums over the first periods by each choice of a combination, on observed demand: recipe (names of
            the choice), window, sku, location_id, demand_class, span, period_start (the last one of the sum),
            actual_units, q05_units ...
    """

    series: pd.DataFrame
    segments: pd.DataFrame
    horizons: pd.DataFrame
    calibration: pd.DataFrame
    sums: pd.DataFrame
    windows: pd.DataFrame
    forecasts: pd.DataFrame
    tried: pd.DataFrame
    tried_sums: pd.DataFrame
    fitted: Mapping[str, Forecaster]
    fitted_window: int


def stratified_series(demand: pd.DataFrame, *, freq: str, most: int) -> pd.DataFrame:
    """Choose series that represent all: evenly spaced in (demand class, total demand).

    Returns:
        sku, location_id of at most `most` series; all of them if there are no more.
    """
    panel = build_panel(demand, Frequency.of(freq), covariates=[])
    if panel.series <= most:
        return panel.keys
    order = pd.DataFrame({"c": demand_class(panel.demand.astype(np.float64)), "v": np.nansum(panel.demand, axis=1)})
    ranked = order.sort_values(["c", "v"], kind="stable").index.to_numpy()
    chosen = np.sort(ranked[np.linspace(0, len(ranked) - 1, most).round().astype(np.int64)])
    return panel.keys.iloc[chosen].reset_index(drop=True)


def evaluate(
    recipes: Mapping[str, ModelSpec],
    demand: pd.DataFrame,
    *,
    freq: str,
    horizon: int,
    windows: int,
    step: int,
    items: pd.DataFrame | None = None,
    combinations: Mapping[str, Combination] | None = None,
    truth: pd.DataFrame | None = None,
    season_length: int | None = None,
    series: pd.DataFrame | None = None,
    last_origin: pd.Timestamp | None = None,
    spans: Sequence[int] = (),
    paths: int = 200,
    keep_forecasts: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Refit every recipe before each of several windows and score what it forecasts.

    Args:
        recipes: name -> recipe.
        demand: as `ml.forecast.train`; covariates of the windows are given to the forecasters as known ahead, demand
            and stock of the windows are not.
        freq: period length.
        horizon: periods a window.
        windows: how many, >= 1.
        step: periods between the starts of two windows, >= 1.
        items: static attributes.
        combinations: name -> combination of recipes. It mixes what a window fitted by what earlier windows forecast
            for periods that had passed by then.
        truth: sku, location_id, period_start, demand_units: what to score against; None = the observed demand of
            periods in stock.
        season_length: as `train`.
        series: sku, location_id of the series to use; None = all.
        last_origin: last observed period of the last window; None = the last window ends with the data.
        spans: lengths of sums, from the first period on, scored from sample paths.
        paths: paths drawn for the sums.
        keep_forecasts: keep every forecast (memory: 150 bytes a row).
        seed: given to the recipes and the paths.

    Raises:
        ValueError: for what `train` refuses, or too little history for the windows.
    """
    if windows < 1 or step < 1:
        raise ValueError(f"windows is {windows}, step is {step}: both must be 1 or more")
    if series is not None:
        demand = demand.merge(series[KEYS], on=KEYS, how="inner")
        items = None if items is None else items.merge(series[KEYS], on=KEYS, how="inner")
    frequency = Frequency.of(freq, season_length)
    panel = build_panel(demand, frequency)
    actual, served = observed(panel, truth, frequency)
    ordinals = frequency.ordinals(demand["period_start"]) - panel.first
    starts = window_starts(panel, horizon, windows, step, last_origin)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("series", "windows", "sums", "forecasts")}
    mixtures = dict(combinations or {})
    tallies: dict[str, Tally] = {name: Tally(horizon) for name in [*recipes, *mixtures]}
    tried: list[pd.DataFrame] = []
    tried_sums: list[pd.DataFrame] = []
    fitted_window, kept_fitted = max(windows - 2, 0), dict[str, Forecaster]()
    hidden = [column for column in ("demand_units", "is_in_stock") if column in demand.columns]
    for number, start in enumerate(starts):
        past = demand[ordinals < start].reset_index(drop=True)
        future = demand[(ordinals >= start) & (ordinals < start + horizon)].drop(columns=hidden)
        seen = np.unique(positions(past, panel))
        window = Window(panel, actual, start, horizon, seen, demand)
        fitted: dict[str, Forecaster] = {}
        seconds: dict[str, float] = {}
        for name, recipe in recipes.items():
            clock = time.perf_counter()
            fitted[name] = recipe(past, freq=freq, horizon=horizon, items=items, season_length=season_length, seed=seed)
            seconds[name] = time.perf_counter() - clock
        served_here = served[seen, start : start + horizon]
        passed, passed_sums = (_passed(frames, window.periods[0]) for frames in (tried, tried_sums))
        choices: dict[str, Forecaster] = {}
        for name, combination in mixtures.items():
            clock = time.perf_counter()
            fitted[name] = combination(fitted, passed, passed_sums)
            choices |= combination.choices(fitted)
            members = sum(seconds[member] for member in combination.members)
            seconds[name] = members + time.perf_counter() - clock
        if number == fitted_window:
            kept_fitted = fitted
        for name, model in fitted.items():
            clock = time.perf_counter()
            forecast = model.predict(past, future)
            predicted = time.perf_counter() - clock
            mean, quantiles = aligned(forecast, panel, seen, horizon)
            scored = window.score(mean, quantiles)
            scored.insert(0, "recipe", name)
            scored.insert(1, "window", number)
            parts["series"].append(scored)
            tallies[name].add(window, mean, quantiles)
            origin = frequency.periods(np.array([panel.first + start - 1]))[0]
            row = {"recipe": name, "window": number, "origin": origin, "train_seconds": seconds[name]}
            parts["windows"].append(pd.DataFrame([row | {"predict_seconds": predicted} | headline(scored)]))
            if spans:
                sums = window.sums(model.sample_paths(past, paths, future, seed=seed), spans, window.actual)
                parts["sums"].append(score_sums(sums).assign(recipe=name, window=number))
            if keep_forecasts:
                kept = window.observed(window.actual, mean, quantiles)
                parts["forecasts"].append(kept.assign(recipe=name, window=number))
            if any(name in combination.members for combination in mixtures.values()):
                tried.append(window.observed(served_here, mean, quantiles).assign(recipe=name, window=number))
        for name, model in choices.items():
            if spans:
                sums = window.sums(model.sample_paths(past, paths, future, seed=seed), spans, served_here)
                tried_sums.append(sums.assign(recipe=name, window=number))
    per_series = pd.concat(parts["series"], ignore_index=True)
    return Evaluation(
        series=per_series,
        segments=segments(per_series),
        horizons=pd.concat([tally.horizons(name) for name, tally in tallies.items()], ignore_index=True),
        calibration=pd.concat([tally.calibration(name) for name, tally in tallies.items()], ignore_index=True),
        sums=joined_sums(parts["sums"]),
        windows=pd.concat(parts["windows"], ignore_index=True),
        forecasts=pd.concat(parts["forecasts"], ignore_index=True) if parts["forecasts"] else pd.DataFrame(),
        tried=pd.concat(tried, ignore_index=True) if tried else pd.DataFrame(),
        tried_sums=pd.concat(tried_sums, ignore_index=True) if tried_sums else pd.DataFrame(),
        fitted=kept_fitted,
        fitted_window=fitted_window,
    )


def _passed(tried: Sequence[pd.DataFrame], first_unseen: pd.Timestamp) -> pd.DataFrame:
    """Return the forecasts whose period lies before the first unseen one."""
    past = [frame[frame["period_start"] < first_unseen] for frame in tried]
    return pd.concat(past, ignore_index=True) if past else pd.DataFrame()
