"""What every forecaster is: how one is made, what it answers, and the one way from its distributions to answers.

Here: the protocols of a model spec and of what it fits, a history laid out for forecasting, `predict` and
`sample_paths` over the quantile functions of that history. Not here: any model. A new one derives from
`GridForecaster`, says how it lays out a history and how it is saved, and gets a line in `ml.forecast.kinds`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ml.forecast.distribution import (
    QUANTILE_COLUMNS,
    STANDARD_PATHS,
    Dependence,
    forecast_frame,
    grid_quantiles,
    shuffle_grid,
)
from ml.forecast.season import Season
from ml.panel import Frequency, Panel
from ml.schema import KEYS, Doubles, Floats, Integers

INDEPENDENT = Dependence(0.0, 0.0, 0.0, 0.0)
# What is laid out at a time: rows of forecasts (series times periods), and values of paths.
ROWS_AT_ONCE, VALUES_AT_ONCE = 20_000, 8_000_000


class Forecaster(Protocol):
    """What can be evaluated."""

    def predict(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> pd.DataFrame:
        """Forecast the periods after the last one of `history`; as `GridForecaster.predict`."""
        ...

    def sample_paths(
        self,
        history: pd.DataFrame,
        n: int,
        future: pd.DataFrame | None = None,
        keys: pd.DataFrame | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[pd.DataFrame, Floats]]:
        """Draw joint paths; as `GridForecaster.sample_paths`."""
        ...


class ModelSpec(Protocol):
    """A way to make a forecaster from demand; `ml.forecast.train` is one."""

    def __call__(
        self,
        demand: pd.DataFrame,
        *,
        freq: str,
        horizon: int,
        items: pd.DataFrame | None = None,
        season_length: int | None = None,
        seed: int = 0,
    ) -> Forecaster:
        """Fit on `demand`; arguments as `ml.forecast.train`."""
        ...


class FittedForecaster(Forecaster, Protocol):
    """What can be saved, mixed with others and published: a forecaster that says whole distributions."""

    @property
    def kind(self) -> str:
        """Its name in `ml.forecast.kinds.KINDS`."""
        ...

    @property
    def horizon(self) -> int:
        """Periods that are forecast."""
        ...

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> PreparedHistory:
        """Lay out a history; arguments as `predict`."""
        ...

    def season_note(self) -> str:
        """Return in words what last year says of the forecast."""
        ...

    def season_frame(self, seen: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return what last year does to the forecast, period by period."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the forecaster into a folder that `ml.forecast.load` reads."""
        ...


class PreparedHistory(abc.ABC):
    """A history laid out for forecasting from its last period.

    Attributes:
        panel: the history on its grid.
        horizon: periods that are forecast.
        rows_at_once: rows of forecasts, series times periods, that are laid out at a time.
    """

    rows_at_once: int = ROWS_AT_ONCE

    def __init__(self, panel: Panel, horizon: int) -> None:
        self.panel, self.horizon = panel, horizon

    @abc.abstractmethod
    def grid(self, rows: Integers, n: int) -> Floats:
        """Return the quantile functions of some series [series, horizon, n], rising along the last axis."""

    def forecast(self, rows: Integers, n: int) -> tuple[Doubles, Floats]:
        """Return the means [series, horizon] and the quantile functions [series, horizon, n] of some series."""
        grid = self.grid(rows, n)
        return grid.mean(axis=2, dtype=np.float64), grid

    def dependences(self, rows: Integers) -> list[Dependence]:
        """Return how the periods of each of some series hang together; here: not at all."""
        return [INDEPENDENT] * len(rows)

    def season_factors(self) -> Doubles:
        """Return what last year multiplies every mean by [horizon]; here: nothing."""
        return np.ones(self.horizon)

    def promotion_effects(self, rows: Integers) -> Doubles:
        """Return the factor of planned promotions on ordinary demand [series, horizon]; here: none."""
        return np.ones((len(rows), self.horizon))

    def find(self, keys: pd.DataFrame) -> Integers:
        """Return the series numbers of keys.

        Raises:
            ValueError: for a key that is neither in the history nor a brand-new item of the training.
        """
        rows = pd.MultiIndex.from_frame(self.panel.keys).get_indexer(pd.MultiIndex.from_frame(keys[KEYS]))
        if (rows < 0).any():
            absent = keys.iloc[int(np.argmax(rows < 0))]
            raise ValueError(
                f"keys has sku {absent['sku']!r}, location {absent['location_id']!r}, which is neither in history "
                "nor a brand-new item of the training: add its history or leave it out"
            )
        return np.asarray(rows, dtype=np.int64)

    def chunks(self, rows: Integers, most: int) -> Iterator[Integers]:
        """Split series so that a chunk has at most `most` forecast rows."""
        size = max(1, most // self.horizon)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def sample_paths(
        self, n: int, keys: pd.DataFrame | None = None, seed: int = 0
    ) -> Iterator[tuple[pd.DataFrame, Floats]]:
        """Draw joint paths of demand, in chunks of series; arguments as `GridForecaster.sample_paths`.

        Raises:
            ValueError: for less than one path, or for keys without history.
        """
        if int(n) != n or n < 1:
            raise ValueError(f"n is {n!r}: give a whole number of paths, 1 or more")
        rows = np.arange(self.panel.series) if keys is None else self.find(keys)
        return _paths(self, rows, int(n), seed)


class GridForecaster(abc.ABC):
    """A forecaster that is known by the quantile functions of its prepared histories; the rest follows from them."""

    @abc.abstractmethod
    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> PreparedHistory:
        """Lay out a history; arguments as `predict`."""

    @abc.abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the forecaster into a folder, in files that load without pickle."""

    def predict(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> pd.DataFrame:
        """Forecast the periods after the last one of `history`, without refitting.

        Args:
            history: as the training demand; may be newer.
            future: sku, location_id, period_start and covariates of the coming periods. A covariate not given repeats
                its last season (flags) or its last value (numbers). `expected_uplift` is the factor of usual demand
                that somebody declares for a period; it takes the place of what past promotions taught. A key that
                the training did not know takes its text attributes from here.

        Returns:
            sku, location_id, period_start, mean_units, q05_units ... q95_units: one row per series and period, sorted;
            every series of `history`, every brand-new item of the training, and every item that only `future` names.
            A series whose rows ended 56 days (13 weeks, 6 months) or more before the end of `history` is discontinued
            and forecast as zero. One that has not sold yet starts from the median of its like
            (`ml.forecast.new_items`). A planned promotion moves nothing where the training saw too few and none is
            declared. All >= 0; quantiles never cross; the mean is that of the 500-point distribution from which paths
            are drawn.

        Raises:
            ValueError: as `ml.forecast.train`.
        """
        prepared = self.prepare(history, future)
        series, horizon = prepared.panel.series, prepared.horizon
        means = np.empty((series, horizon), dtype=np.float64)
        quantiles = np.empty((series, horizon, len(QUANTILE_COLUMNS)))
        for rows in prepared.chunks(np.arange(series), prepared.rows_at_once):
            means[rows], grid = prepared.forecast(rows, STANDARD_PATHS)
            quantiles[rows] = grid_quantiles(grid)
        return forecast_frame(prepared.panel.keys, prepared.panel.future_periods(horizon), means, quantiles)

    def sample_paths(
        self,
        history: pd.DataFrame,
        n: int,
        future: pd.DataFrame | None = None,
        keys: pd.DataFrame | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[pd.DataFrame, Floats]]:
        """Draw joint paths of demand, in chunks of series.

        The n values of a series in a period are its quantile function at (i + 0.5) / n, so their mean is the forecast
        exactly; only their order is random. The generator is keyed by (seed, sku, location_id).

        Args:
            history: as `predict`.
            n: paths, >= 1.
            future: as `predict`.
            keys: sku and location_id wanted; None = all.
            seed: decides the order.

        Yields:
            keys (sku, location_id) and float32 [series, n, horizon], units a period. Path i of every series belongs to
            the same future, so sums over series are sums of paths.

        Raises:
            ValueError: as `predict`, or for keys without history.
        """
        return self.prepare(history, future).sample_paths(n, keys, seed)

    def season_note(self) -> str:
        """Return in words what last year says of the forecast total, how far it is believed, and who wakes."""
        return "Last year has no say in this forecast."

    def season_frame(self, seen: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return what last year does to every forecast, a row per period after the last one seen.

        Args:
            seen: start of the last period of the history that is forecast; None = the end of the training data.

        Returns:
            period_start, factor (every mean is multiplied by it), last_year_says (share of the forecast total, -0.38 =
            38 % less), trust (0 ... 1), text (empty where the factor is 1). No rows = last year says nothing.
        """
        return Season().frame(Frequency.of("D"))


def _paths(prepared: PreparedHistory, rows: Integers, n: int, seed: int) -> Iterator[tuple[pd.DataFrame, Floats]]:
    for part in prepared.chunks(rows, max(1, VALUES_AT_ONCE // n)):
        grid = prepared.grid(part, n)
        chunk = prepared.panel.keys.iloc[part].reset_index(drop=True)
        pairs = list(zip(chunk["sku"], chunk["location_id"], strict=True))
        yield chunk, shuffle_grid(grid, pairs, prepared.dependences(part), seed)
