"""Rolling-origin evaluation of forecasting recipes.

Here: windows, refitting each recipe per window, and the errors by series, segment, horizon and level. Not here: the
measures themselves (`ml.metrics`) and the decision (`ml.backtest.gate`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ml.forecast.base import Forecaster, ModelSpec
from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.forecast.ensemble import Combination
from ml.metrics import forecast as metrics
from ml.panel import Frequency, Panel, build_panel
from ml.schema import KEYS, Doubles, Flags, Floats, Integers
from ml.segments import abc_class, demand_class

SEGMENTS = ("demand_class", "abc_class", "location_id")


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
    actual, served = _observed(panel, truth, frequency)
    ordinals = frequency.ordinals(demand["period_start"]) - panel.first
    starts = _window_starts(panel, horizon, windows, step, last_origin)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("series", "windows", "sums", "forecasts")}
    mixtures = dict(combinations or {})
    tallies: dict[str, _Tally] = {name: _Tally(horizon) for name in [*recipes, *mixtures]}
    tried: list[pd.DataFrame] = []
    tried_sums: list[pd.DataFrame] = []
    fitted_window, kept_fitted = max(windows - 2, 0), dict[str, Forecaster]()
    hidden = [column for column in ("demand_units", "is_in_stock") if column in demand.columns]
    for number, start in enumerate(starts):
        past = demand[ordinals < start].reset_index(drop=True)
        future = demand[(ordinals >= start) & (ordinals < start + horizon)].drop(columns=hidden)
        seen = np.unique(_positions(past, panel))
        window = _Window(panel, actual, start, horizon, seen, demand)
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
            mean, quantiles = _aligned(forecast, panel, seen, horizon)
            scored = window.score(mean, quantiles)
            scored.insert(0, "recipe", name)
            scored.insert(1, "window", number)
            parts["series"].append(scored)
            tallies[name].add(window, mean, quantiles)
            origin = frequency.periods(np.array([panel.first + start - 1]))[0]
            row = {"recipe": name, "window": number, "origin": origin, "train_seconds": seconds[name]}
            parts["windows"].append(pd.DataFrame([row | {"predict_seconds": predicted} | _headline(scored)]))
            if spans:
                sums = window.sums(model.sample_paths(past, paths, future, seed=seed), spans, window.actual)
                parts["sums"].append(_score_sums(sums).assign(recipe=name, window=number))
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
        segments=_segments(per_series),
        horizons=pd.concat([tally.horizons(name) for name, tally in tallies.items()], ignore_index=True),
        calibration=pd.concat([tally.calibration(name) for name, tally in tallies.items()], ignore_index=True),
        sums=_joined_sums(parts["sums"]),
        windows=pd.concat(parts["windows"], ignore_index=True),
        forecasts=pd.concat(parts["forecasts"], ignore_index=True) if parts["forecasts"] else pd.DataFrame(),
        tried=pd.concat(tried, ignore_index=True) if tried else pd.DataFrame(),
        tried_sums=pd.concat(tried_sums, ignore_index=True) if tried_sums else pd.DataFrame(),
        fitted=kept_fitted,
        fitted_window=fitted_window,
    )


def _observed(panel: Panel, truth: pd.DataFrame | None, frequency: Frequency) -> tuple[Doubles, Doubles]:
    """Return what is scored against, and the demand that was observed, both NaN where unknown [series, periods]."""
    served = np.where(panel.bound, np.nan, panel.demand).astype(np.float64)
    actual = served.copy() if truth is None else _truth(truth, panel, frequency)
    for units in (actual, served):
        units[panel.closed[:, : panel.length]] = np.nan
    return actual, served


def _window_starts(panel: Panel, horizon: int, windows: int, step: int, last_origin: pd.Timestamp | None) -> list[int]:
    """Return the first column of each window, the earliest first."""
    end = panel.length
    if last_origin is not None:
        end = int(panel.frequency.ordinals(pd.DatetimeIndex([last_origin]))[0] - panel.first + 1 + horizon)
    starts = [end - horizon - step * back for back in range(windows - 1, -1, -1)]
    if starts[0] < 2 or end > panel.length:
        raise ValueError(
            f"{windows} windows of {horizon} periods, {step} apart, need {horizon + step * (windows - 1) + 2} periods "
            f"before the end; demand has {panel.length}: ask for fewer or shorter windows"
        )
    return starts


def _passed(tried: Sequence[pd.DataFrame], first_unseen: pd.Timestamp) -> pd.DataFrame:
    """Return the forecasts whose period lies before the first unseen one."""
    past = [frame[frame["period_start"] < first_unseen] for frame in tried]
    return pd.concat(past, ignore_index=True) if past else pd.DataFrame()


def _positions(frame: pd.DataFrame, panel: Panel) -> Integers:
    pairs = frame[KEYS].drop_duplicates()
    return np.asarray(pd.MultiIndex.from_frame(panel.keys).get_indexer(pd.MultiIndex.from_frame(pairs)), dtype=np.int64)


def _truth(truth: pd.DataFrame, panel: Panel, frequency: Frequency) -> Doubles:
    rows = pd.MultiIndex.from_frame(panel.keys).get_indexer(pd.MultiIndex.from_frame(truth[KEYS]))
    columns = frequency.ordinals(truth["period_start"]) - panel.first
    use = (rows >= 0) & (columns >= 0) & (columns < panel.length)
    result = np.where(np.isfinite(panel.demand) | panel.bound, 0.0, np.nan)
    result[rows[use], columns[use]] = truth["demand_units"].to_numpy(dtype=np.float64)[use]
    return np.asarray(result, dtype=np.float64)


def _aligned(forecast: pd.DataFrame, panel: Panel, seen: Integers, horizon: int) -> tuple[Doubles, Doubles]:
    """Return mean [series, horizon] and quantiles [series, horizon, levels] in the order of `seen`."""
    names = ["mean_units", *QUANTILE_COLUMNS]
    values = forecast[names].to_numpy(dtype=np.float64).reshape(-1, horizon, len(names))
    heads = forecast[KEYS].iloc[::horizon]
    position = pd.MultiIndex.from_frame(heads).get_indexer(pd.MultiIndex.from_frame(panel.keys.iloc[seen]))
    if (position < 0).any():
        absent = panel.keys.iloc[seen[int(np.argmax(position < 0))]]
        raise ValueError(f"the forecast lacks sku {absent['sku']!r}, location {absent['location_id']!r}")
    values = values[position]
    return values[:, :, 0], values[:, :, 1:]


class _Window:
    """One window: what was seen before it, what happened in it."""

    def __init__(
        self, panel: Panel, actual: Doubles, start: int, horizon: int, seen: Integers, demand: pd.DataFrame
    ) -> None:
        self.keys = panel.keys.iloc[seen].reset_index(drop=True)
        self.start = start
        self.periods = panel.frequency.periods(np.arange(panel.first + start, panel.first + start + horizon))
        self.history = np.where(panel.bound, np.nan, panel.demand)[seen, :start].astype(np.float64)
        self.actual = actual[seen, start : start + horizon]
        season = panel.frequency.season if panel.frequency.season > 1 else 1
        recent = np.nansum(self.history[:, -panel.frequency.level_window :], axis=1)
        price = np.ones(len(seen))
        if "unit_price" in panel.covariates:
            with_price = panel.covariates["unit_price"][seen, :start]
            count = np.isfinite(with_price).sum(axis=1)
            price = np.where(count > 0, np.nansum(with_price, axis=1) / np.maximum(count, 1), 1.0)
        self.weight = recent * price
        self.classes = demand_class(self.history)
        self.abc = abc_class(self.weight)
        self.absolute_scale = metrics.seasonal_scale(self.history, season)
        self.squared_scale = metrics.seasonal_scale(self.history, 1, squared=True)

    def score(self, mean: Doubles, quantiles: Doubles) -> pd.DataFrame:
        known = np.isfinite(self.actual)
        count = known.sum(axis=1)
        error = np.where(known, mean - self.actual, 0.0)
        safe = np.maximum(count, 1)
        losses = metrics.pinball_loss(self.actual[:, :, None], quantiles, np.asarray(QUANTILE_LEVELS))
        pinball = np.where(known, losses.mean(axis=2), 0.0).sum(axis=1) / safe
        sold = known & (self.actual > 0)
        relative = np.where(sold, np.abs(error) / np.where(sold, self.actual, 1.0), 0.0)
        squared = np.square(error).sum(axis=1) / safe
        absolute = np.abs(error).sum(axis=1) / safe
        scale = self.absolute_scale
        frame = self.keys.assign(
            demand_class=self.classes,
            abc_class=self.abc,
            weight=self.weight,
            periods=count,
            actual_units=np.where(known, self.actual, 0.0).sum(axis=1),
            forecast_units=np.where(known, mean, 0.0).sum(axis=1),
            absolute_error=absolute,
            squared_error=squared,
            relative_error=relative.sum(axis=1),
            sold_periods=sold.sum(axis=1),
            pinball=pinball,
            mase=np.where(scale > 0, absolute / np.where(scale > 0, scale, 1.0), np.nan),
            rmsse=np.sqrt(
                np.where(
                    self.squared_scale > 0, squared / np.where(self.squared_scale > 0, self.squared_scale, 1.0), np.nan
                )
            ),
            pinball_scaled=np.where(scale > 0, pinball / np.where(scale > 0, scale, 1.0), np.nan),
        )
        return pd.DataFrame(frame[count > 0]).reset_index(drop=True)

    def observed(self, actual: Doubles, mean: Doubles, quantiles: Doubles) -> pd.DataFrame:
        rows, columns = np.nonzero(np.isfinite(actual))
        frame = self.keys.iloc[rows].reset_index(drop=True)
        frame["demand_class"] = np.asarray(self.classes)[rows]
        frame["period_start"] = self.periods[columns]
        frame["periods_ahead"] = columns + 1
        frame["actual_units"] = actual[rows, columns]
        frame["mean_units"] = mean[rows, columns]
        for place, name in enumerate(QUANTILE_COLUMNS):
            frame[name] = quantiles[rows, columns, place]
        return frame

    def sums(
        self, chunks: Iterator[tuple[pd.DataFrame, Floats]], spans: Sequence[int], actual: Doubles
    ) -> pd.DataFrame:
        """Return quantiles of the sums of paths over the observed ones of the first periods, and what came."""
        known = np.isfinite(actual)
        filled = np.where(known, actual, 0.0)
        index = pd.MultiIndex.from_frame(self.keys)
        draws: dict[int, list[Floats]] = {span: [] for span in spans}
        order = []
        for keys, paths in chunks:
            position = index.get_indexer(pd.MultiIndex.from_frame(keys))
            keep = position >= 0
            order.append(position[keep])
            masked = paths[keep] * known[position[keep], None, :]
            n = masked.shape[1]
            places = [max(0, int(np.ceil(round(level * n, 6))) - 1) for level in QUANTILE_LEVELS]
            for span in spans:
                draws[span].append(np.sort(masked[:, :, :span].sum(axis=2), axis=1)[:, places])
        rows = np.concatenate(order)
        frames = []
        for span in spans:
            some = known[rows, :span].any(axis=1)
            frame = self.keys.iloc[rows[some]].reset_index(drop=True)
            frame["demand_class"] = np.asarray(self.classes)[rows[some]]
            frame["span"] = span
            frame["period_start"] = self.periods[span - 1]
            frame["actual_units"] = filled[rows[some], :span].sum(axis=1)
            frame[list(QUANTILE_COLUMNS)] = np.concatenate(draws[span])[some].astype(np.float64)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)


def _score_sums(sums: pd.DataFrame) -> pd.DataFrame:
    """Return below, upto, pinball and rows for each span and level."""
    found = []
    for span, part in sums.groupby("span", sort=False):
        actual = part["actual_units"].to_numpy(dtype=np.float64)
        quantiles = part[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
        shares = metrics.calibration(actual, quantiles, QUANTILE_LEVELS)
        loss = metrics.pinball_loss(actual[:, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=0)
        table = {"span": span, "level": QUANTILE_LEVELS, "below": shares[:, 0], "upto": shares[:, 1], "pinball": loss}
        found.append(pd.DataFrame(table).assign(rows=len(part)))
    return pd.concat(found, ignore_index=True)


class _Tally:
    """Sums over windows from which calibration and errors by horizon follow."""

    def __init__(self, horizon: int) -> None:
        self.counts: dict[tuple[str, str], Doubles] = {}
        self.ahead = np.zeros((horizon, 5))

    def add(self, window: _Window, mean: Doubles, quantiles: Doubles) -> None:
        known = np.isfinite(window.actual)
        error = np.where(known, mean - window.actual, 0.0)
        losses = metrics.pinball_loss(window.actual[:, :, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=2)
        self.ahead[:, 0] += known.sum(axis=0)
        self.ahead[:, 1] += np.abs(error).sum(axis=0)
        self.ahead[:, 2] += error.sum(axis=0)
        self.ahead[:, 3] += np.where(known, window.actual, 0.0).sum(axis=0)
        self.ahead[:, 4] += np.where(known, losses, 0.0).sum(axis=0)
        below = (window.actual[:, :, None] < quantiles).sum(axis=1)
        upto = (window.actual[:, :, None] <= quantiles).sum(axis=1)
        classes = np.asarray(window.classes)
        groups: list[tuple[tuple[str, str], Flags]] = [(("all", "all"), np.ones(len(classes), dtype=bool))]
        groups += [(("demand_class", str(name)), classes == name) for name in np.unique(classes)]
        for key, inside in groups:
            row = np.concatenate([[known[inside].sum()], below[inside].sum(axis=0), upto[inside].sum(axis=0)])
            self.counts[key] = self.counts.get(key, np.zeros(len(row))) + row

    def calibration(self, recipe: str) -> pd.DataFrame:
        frames = []
        levels = len(QUANTILE_LEVELS)
        for (kind, segment), row in self.counts.items():
            shares = np.column_stack([row[1 : 1 + levels], row[1 + levels :]]) / max(row[0], 1.0)
            gap = metrics.calibration_gap(shares, QUANTILE_LEVELS)
            frames.append(
                pd.DataFrame(
                    {
                        "recipe": recipe,
                        "segment_kind": kind,
                        "segment": segment,
                        "level": QUANTILE_LEVELS,
                        "below": shares[:, 0],
                        "upto": shares[:, 1],
                        "gap": gap,
                        "periods": int(row[0]),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def horizons(self, recipe: str) -> pd.DataFrame:
        count = np.maximum(self.ahead[:, 0], 1)
        total = np.where(self.ahead[:, 3] > 0, self.ahead[:, 3], np.nan)
        return pd.DataFrame(
            {
                "recipe": recipe,
                "periods_ahead": np.arange(1, len(count) + 1),
                "mae": self.ahead[:, 1] / count,
                "wape": self.ahead[:, 1] / total,
                "bias": self.ahead[:, 2] / total,
                "pinball": self.ahead[:, 4] / count,
            }
        )


def _joined_sums(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["recipe", "span", "level", "below", "upto", "gap", "pinball", "rows"])
    table = pd.concat(parts, ignore_index=True)
    for name in ("below", "upto", "pinball"):
        table[name] *= table["rows"]
    table = table.groupby(["recipe", "span", "level"], as_index=False, sort=False)[
        ["below", "upto", "pinball", "rows"]
    ].sum()
    for name in ("below", "upto", "pinball"):
        table[name] /= table["rows"]
    table["gap"] = metrics.calibration_gap(table[["below", "upto"]].to_numpy(), table["level"].to_numpy().tolist())
    return table


def _headline(scored: pd.DataFrame) -> dict[str, float]:
    return {name: value for name, value in _measures(scored).items() if name in ("wrmsse", "pinball", "wape", "bias")}


def _measures(rows: pd.DataFrame) -> dict[str, float]:
    periods = rows["periods"].to_numpy(dtype=np.float64)
    total = float(rows["actual_units"].sum())
    absolute = float((rows["absolute_error"] * periods).sum())
    count = max(float(periods.sum()), 1.0)
    pinball = float((rows["pinball"] * periods).sum())
    sold = float(rows["sold_periods"].sum())
    nan = float("nan")
    return {
        "series": float(len(rows)),
        "periods": float(periods.sum()),
        "mae": absolute / count,
        "rmse": float(np.sqrt((rows["squared_error"] * periods).sum() / count)),
        "mape": float(rows["relative_error"].sum()) / sold if sold else nan,
        "wape": absolute / total if total > 0 else nan,
        "bias": (float(rows["forecast_units"].sum()) - total) / total if total > 0 else nan,
        "mase": float(rows["mase"].mean()),
        "rmsse": float(rows["rmsse"].mean()),
        "wrmsse": metrics.wrmsse(rows["rmsse"].to_numpy(dtype=np.float64), rows["weight"].to_numpy(dtype=np.float64)),
        "pinball": pinball / count,
        "wql": 2.0 * pinball / total if total > 0 else nan,
    }


def _segments(series: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for recipe, part in series.groupby("recipe", sort=False):
        rows.append({"recipe": recipe, "segment_kind": "all", "segment": "all"} | _measures(part))
        for kind in SEGMENTS:
            for segment, inside in part.groupby(kind):
                rows.append({"recipe": recipe, "segment_kind": kind, "segment": str(segment)} | _measures(inside))
    return pd.DataFrame(rows)
