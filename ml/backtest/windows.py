"""The windows of a backtest: where each starts, what is seen before it and what happened in it.

Not here: sums over windows (`ml.backtest.tallies`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ml.backtest.setup import BacktestSetup
from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.metrics import forecast as metrics
from ml.panel import Panel, build_panel
from ml.schema import KEYS, Doubles, Floats, Integers
from ml.segments import abc_class, demand_class

_LOG = logging.getLogger(__name__)
_CLASSES = ["smooth", "erratic", "intermittent", "lumpy", "none"]


def windows_of(demand: pd.DataFrame, truth: pd.DataFrame | None, setup: BacktestSetup) -> Iterator[Window]:
    """Yield the windows of a backtest, the earliest first.

    Args:
        demand: as `ml.forecast.train`.
        truth: sku, location_id, period_start, demand_units: what to score against; None = the observed demand.
        setup: where the windows lie.

    Raises:
        ValueError: for demand that `train` refuses, or too little history for the windows.
    """
    panel = build_panel(demand, setup.frequency)
    actual, served = _observed(panel, truth)
    ordinals = panel.frequency.ordinals(demand["period_start"]) - panel.first
    hidden = [column for column in ("demand_units", "is_in_stock") if column in demand.columns]
    for number, start in enumerate(_starts(panel, setup)):
        past = demand[ordinals < start].reset_index(drop=True)
        future = demand[(ordinals >= start) & (ordinals < start + setup.horizon)].drop(columns=hidden)
        rows, columns = _rows_of(past, panel), slice(start, start + setup.horizon)
        yield Window(number, panel, rows, start, past, future, actual[rows, columns], served[rows, columns])


def _starts(panel: Panel, setup: BacktestSetup) -> list[int]:
    """Return the first column of each window, the earliest first."""
    end = panel.length
    if setup.last_origin is not None:
        last = panel.frequency.ordinals(pd.DatetimeIndex([setup.last_origin]))[0]
        end = int(last - panel.first + 1 + setup.horizon)
    starts = [end - setup.horizon - setup.step * back for back in range(setup.windows - 1, -1, -1)]
    if starts[0] < 2 or end > panel.length:
        needed = setup.horizon + setup.step * (setup.windows - 1) + 2
        raise ValueError(
            f"{setup.windows} windows of {setup.horizon} periods, {setup.step} apart, need {needed} periods "
            f"before the end; demand has {panel.length}: ask for fewer or shorter windows"
        )
    return starts


class Window:
    """One window: what was seen before it, what happened in it.

    Attributes:
        number: 0, 1, ... from the earliest.
        past, future: frames that a forecaster is given: everything before the window, and the window without its
            demand and stock.
        keys: of the series that were seen before; arrays are in their order.
        origin: start of the last period before; periods: starts of the periods of the window.
        actual, served: demand scored against and demand that was observed, NaN where unknown [series, horizon].
        rows: number of each series, the same in all windows; first: number of the first period, likewise.
    """

    def __init__(
        self,
        number: int,
        panel: Panel,
        rows: Integers,
        start: int,
        past: pd.DataFrame,
        future: pd.DataFrame,
        actual: Doubles,
        served: Doubles,
    ) -> None:
        self.number, self.past, self.future, self.actual, self.served = number, past, future, actual, served
        self.rows, self.first = rows, panel.first + start
        self.keys = panel.keys.iloc[rows].reset_index(drop=True)
        self.origin, *periods = panel.frequency.periods(np.arange(start - 1, start + actual.shape[1]) + panel.first)
        self.periods = pd.DatetimeIndex(periods)
        self.history = np.where(panel.bound, np.nan, panel.demand)[rows, :start].astype(np.float64)
        season = panel.frequency.season if panel.frequency.season > 1 else 1
        recent = np.nansum(self.history[:, -panel.frequency.level_window :], axis=1)
        price = np.ones(len(rows))
        if "unit_price" in panel.covariates:
            with_price = panel.covariates["unit_price"][rows, :start]
            count = np.isfinite(with_price).sum(axis=1)
            price = np.where(count > 0, np.nansum(with_price, axis=1) / np.maximum(count, 1), 1.0)
        self.weight = recent * price
        self.classes = demand_class(self.history)
        self.abc = abc_class(self.weight)
        self.absolute_scale = metrics.seasonal_scale(self.history, season)
        self.squared_scale = metrics.seasonal_scale(self.history, 1, squared=True)

    def aligned(self, forecast: pd.DataFrame) -> tuple[Doubles, Doubles]:
        """Return mean [series, horizon] and quantiles [series, horizon, levels] in the order of the window's keys."""
        names, horizon = ["mean_units", *QUANTILE_COLUMNS], len(self.periods)
        values = forecast[names].to_numpy(dtype=np.float64).reshape(-1, horizon, len(names))
        heads = forecast[KEYS].iloc[::horizon]
        position = pd.MultiIndex.from_frame(heads).get_indexer(pd.MultiIndex.from_frame(self.keys))
        if (position < 0).any():
            absent = self.keys.iloc[int(np.argmax(position < 0))]
            raise ValueError(f"the forecast lacks sku {absent['sku']!r}, location {absent['location_id']!r}")
        values = values[position]
        return values[:, :, 0], values[:, :, 1:]

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

    def drawn(
        self, chunks: Iterator[tuple[pd.DataFrame, Floats]], spans: Sequence[int], actual: Doubles, seed: int = 0
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return what paths say of sums over the observed ones of the first periods, and where what came falls.

        Args:
            chunks: of `Forecaster.sample_paths`.
            spans: lengths of the sums.
            actual: what came, NaN where unknown [series, horizon].
            seed: of the random part of the PIT, the same for every forecaster.

        Returns:
            quantiles of the sums and what came, one row per series and span; and the randomised PIT of single periods
            (span 1) and of the sums: series, period (the last one of a sum), span, demand_class, pit.
        """
        known = np.isfinite(actual)
        filled = np.where(known, actual, 0.0)
        index = pd.MultiIndex.from_frame(self.keys)
        uniform = np.random.default_rng((seed, self.number)).random((len(self.keys), actual.shape[1] + len(spans)))
        draws: dict[int, list[Floats]] = {span: [] for span in spans}
        order: list[Integers] = []
        falls: list[pd.DataFrame] = []
        for keys, paths in chunks:
            position = index.get_indexer(pd.MultiIndex.from_frame(keys))
            keep = position >= 0
            own = position[keep].astype(np.int64)
            order.append(own)
            masked = paths[keep] * known[own, None, :]
            n = masked.shape[1]
            places = [max(0, int(np.ceil(round(level * n, 6))) - 1) for level in QUANTILE_LEVELS]
            series, period = np.nonzero(known[own])
            values = masked.transpose(0, 2, 1)[series, period]
            single = own[series]
            falls.append(self._falls(single, period, 1, filled[single, period], values, uniform[single, period]))
            for number, span in enumerate(spans):
                total = masked[:, :, :span].sum(axis=2)
                draws[span].append(np.sort(total, axis=1)[:, places])
                some = known[own, :span].any(axis=1)
                came = filled[own[some], :span].sum(axis=1)
                last, chance = np.full(len(came), span - 1), uniform[own[some], actual.shape[1] + number]
                falls.append(self._falls(own[some], last, span, came, total[some], chance))
            if len(own) < len(self.keys):
                _LOG.info("series %s of %s drawn", f"{sum(map(len, order)):,}", f"{len(self.keys):,}")
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
        return pd.concat(frames, ignore_index=True), pd.concat(falls, ignore_index=True)

    def _falls(
        self, series: Integers, period: Integers, span: int, came: Doubles, draws: Floats, uniform: Doubles
    ) -> pd.DataFrame:
        """Return the PIT of what came among draws [values, draws], one row per value."""
        classes = pd.Categorical(np.asarray(self.classes)[series], categories=_CLASSES)
        return pd.DataFrame(
            {
                "series": self.rows[series].astype(np.int32),
                "period": (self.first + period).astype(np.int32),
                "span": np.int16(span),
                "demand_class": classes,
                "pit": metrics.randomised_pit(came, draws, uniform).astype(np.float32),
            }
        )


def _observed(panel: Panel, truth: pd.DataFrame | None) -> tuple[Doubles, Doubles]:
    """Return what is scored against, and the demand that was observed, both NaN where unknown [series, periods]."""
    served = np.where(panel.bound, np.nan, panel.demand).astype(np.float64)
    actual = served.copy() if truth is None else _truth(truth, panel)
    for units in (actual, served):
        units[panel.closed[:, : panel.length]] = np.nan
    return actual, served


def _rows_of(frame: pd.DataFrame, panel: Panel) -> Integers:
    """Return the rows of the panel whose series the frame has, in the panel's order."""
    pairs = pd.MultiIndex.from_frame(frame[KEYS].drop_duplicates())
    return np.unique(pd.MultiIndex.from_frame(panel.keys).get_indexer(pairs)).astype(np.int64)


def _truth(truth: pd.DataFrame, panel: Panel) -> Doubles:
    rows = pd.MultiIndex.from_frame(panel.keys).get_indexer(pd.MultiIndex.from_frame(truth[KEYS]))
    columns = panel.frequency.ordinals(truth["period_start"]) - panel.first
    use = (rows >= 0) & (columns >= 0) & (columns < panel.length)
    result = np.where(np.isfinite(panel.demand) | panel.bound, 0.0, np.nan)
    result[rows[use], columns[use]] = truth["demand_units"].to_numpy(dtype=np.float64)[use]
    return np.asarray(result, dtype=np.float64)
