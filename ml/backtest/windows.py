"""The windows of a backtest: where each starts, what is seen before it and what happened in it.

Not here: sums over windows (`ml.backtest.tallies`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.metrics import forecast as metrics
from ml.panel import Frequency, Panel
from ml.schema import KEYS, Doubles, Floats, Integers
from ml.segments import abc_class, demand_class


def window_starts(panel: Panel, horizon: int, windows: int, step: int, last_origin: pd.Timestamp | None) -> list[int]:
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


class Window:
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


def observed(panel: Panel, truth: pd.DataFrame | None, frequency: Frequency) -> tuple[Doubles, Doubles]:
    """Return what is scored against, and the demand that was observed, both NaN where unknown [series, periods]."""
    served = np.where(panel.bound, np.nan, panel.demand).astype(np.float64)
    actual = served.copy() if truth is None else _truth(truth, panel, frequency)
    for units in (actual, served):
        units[panel.closed[:, : panel.length]] = np.nan
    return actual, served


def positions(frame: pd.DataFrame, panel: Panel) -> Integers:
    pairs = frame[KEYS].drop_duplicates()
    return np.asarray(pd.MultiIndex.from_frame(panel.keys).get_indexer(pd.MultiIndex.from_frame(pairs)), dtype=np.int64)


def _truth(truth: pd.DataFrame, panel: Panel, frequency: Frequency) -> Doubles:
    rows = pd.MultiIndex.from_frame(panel.keys).get_indexer(pd.MultiIndex.from_frame(truth[KEYS]))
    columns = frequency.ordinals(truth["period_start"]) - panel.first
    use = (rows >= 0) & (columns >= 0) & (columns < panel.length)
    result = np.where(np.isfinite(panel.demand) | panel.bound, 0.0, np.nan)
    result[rows[use], columns[use]] = truth["demand_units"].to_numpy(dtype=np.float64)[use]
    return np.asarray(result, dtype=np.float64)


def aligned(forecast: pd.DataFrame, panel: Panel, seen: Integers, horizon: int) -> tuple[Doubles, Doubles]:
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
