"""Forecasters that every model must beat, with the interface of `ml.forecast.DemandForecaster`.

Here: the seasonal naive and the recent-distribution baseline, fast enough for every series. Not here: the gate.
"""

from __future__ import annotations

import abc
import dataclasses
import json
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import pandas as pd

from ml.forecast.base import GridForecaster, PreparedHistory
from ml.forecast.censoring import bounds_as_demand
from ml.forecast.distribution import multiplied
from ml.forecast.promotions import UPLIFT, declared_uplift
from ml.panel import Frequency, Panel, build_panel, covariate_names
from ml.schema import Doubles, Floats, Integers

SEASONAL_NAIVE, RECENT = "seasonal_naive", "recent"
Local = TypeVar("Local", bound="LocalForecaster")


@dataclasses.dataclass(frozen=True)
class LocalForecaster(GridForecaster):
    """A forecaster that learns nothing across series: each forecast is read off the history it is given.

    Attributes:
        kind: which one.
        frequency: period length.
        horizon: periods ahead.
        seed: kept for the record; nothing is random but the order of paths.
    """

    kind: str
    frequency: Frequency
    horizon: int
    seed: int = 0

    @abc.abstractmethod
    def grid(self, panel: Panel, rows: Integers, n: int) -> tuple[Doubles, Floats]:
        """Return point forecasts [series, horizon] and quantile functions [series, horizon, n]."""

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> LocalHistory:
        """Lay out a history; of the covariates only `is_open` and `expected_uplift` matter."""
        panel = self._panel(history, future)
        return LocalHistory(self, panel, declared_uplift(panel))

    def season_note(self) -> str:
        """Return that last year has no say, in words."""
        return "Last year has no say in a forecast that each series is read off its own recent demand."

    def save(self, folder: str | Path) -> None:
        """Write the forecaster into a folder, as JSON."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        document = {"kind": self.kind, "frequency": dataclasses.asdict(self.frequency), "horizon": self.horizon}
        (target / "baseline.json").write_text(json.dumps({**document, "seed": self.seed}, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a baseline that `save` wrote."""
        document = json.loads((Path(folder) / "baseline.json").read_text())
        frequency = Frequency(**{**document["frequency"], "windows": tuple(document["frequency"]["windows"])})
        return cls(document["kind"], frequency, document["horizon"], document["seed"])

    def _panel(self, history: pd.DataFrame, future: pd.DataFrame | None) -> Panel:
        names = ["is_open"] if "is_open" in covariate_names(history) else []
        names += [UPLIFT] if future is not None and UPLIFT in future.columns else []
        past = history.drop(columns=UPLIFT, errors="ignore")
        panel = build_panel(past, self.frequency, covariates=names, future=future, ahead=self.horizon)
        return bounds_as_demand(panel)


@dataclasses.dataclass(frozen=True)
class LocalSpec(Generic[Local]):
    """How a local forecaster is made: of its kind and period length alone, so demand is not looked at.

    Attributes:
        forecaster: class of the forecaster.
        kind: which one.
    """

    forecaster: type[Local]
    kind: str

    def __call__(
        self,
        demand: pd.DataFrame,
        *,
        freq: str,
        horizon: int,
        items: pd.DataFrame | None = None,
        season_length: int | None = None,
        seed: int = 0,
    ) -> Local:
        """Return the forecaster; arguments as `ml.forecast.train`."""
        return self.forecaster(self.kind, Frequency.of(freq, season_length), horizon, seed)


class LocalHistory(PreparedHistory):
    """A history laid out for a local forecaster; the periods of a path are independent.

    Attributes:
        forecaster: reads its forecasts off the history.
        declared: factors of usual demand declared for coming periods; NaN = none [series, horizon].
    """

    def __init__(self, forecaster: LocalForecaster, panel: Panel, declared: Doubles) -> None:
        super().__init__(panel, forecaster.horizon)
        self.forecaster, self.declared = forecaster, declared

    def forecast(self, rows: Integers, n: int) -> tuple[Doubles, Floats]:
        """Return the point forecasts [series, horizon] and the quantile functions [series, horizon, n]."""
        point, grid = self.forecaster.grid(self.panel, rows, n)
        effects = self.promotion_effects(rows)
        return point * effects, multiplied(grid, effects)

    def grid(self, rows: Integers, n: int) -> Floats:
        """Return the quantile functions of some series [series, horizon, n]."""
        return self.forecast(rows, n)[1]

    def promotion_effects(self, rows: Integers) -> Doubles:
        """Return the factors that were declared; of other promotions nothing is known [series, horizon]."""
        return np.nan_to_num(self.declared[rows], nan=1.0)


@dataclasses.dataclass(frozen=True)
class BaselineForecaster(LocalForecaster):
    """The seasonal naive, or the distribution of recent periods.

    `kind` "seasonal_naive" repeats the last season, its spread is that of past seasonal differences; "recent" is the
    distribution of the last periods, all alike. Periods out of stock are left out; a series that has ended, as
    `DemandForecaster.predict` says it, is forecast as zero.
    """

    def grid(self, panel: Panel, rows: Integers, n: int) -> tuple[Doubles, Floats]:
        """Return point forecasts [series, horizon] and quantile functions [series, horizon, n]."""
        values = np.where(panel.bound[rows], np.nan, panel.demand[rows]).astype(np.float64)
        levels = (np.arange(n) + 0.5) / n
        season = self.frequency.season if self.frequency.season > 1 else self.frequency.year
        if panel.length <= season:
            season = 1
        if self.kind == RECENT:
            recent = values[:, -self.frequency.windows[3] :]
            one = _quantiles(np.where(np.isfinite(recent), recent, np.nan), levels)
            grid = np.repeat(one[:, None, :], self.horizon, axis=1)
            point = grid.mean(axis=2)
        else:
            last = _last_season(values, season)
            # `last` starts at the phase of the first forecast period.
            point = np.tile(last, (1, -(-self.horizon // season)))[:, : self.horizon]
            steps = values[:, season:] - values[:, :-season]
            spread = _quantiles(steps[:, -26 * self.frequency.windows[0] :], levels)
            spread -= np.median(spread, axis=1, keepdims=True)
            grid = np.maximum(point[:, :, None] + spread[:, None, :], 0.0)
        last_row = panel.last_row[rows]
        ended = (last_row >= 0) & (last_row < panel.length - self.frequency.level_window)
        closed = panel.closed[rows, panel.length :] | ended[:, None]
        point[closed] = 0.0
        grid[closed] = 0.0
        return point, grid.astype(np.float32)


train_seasonal_naive = LocalSpec(BaselineForecaster, SEASONAL_NAIVE)
train_recent = LocalSpec(BaselineForecaster, RECENT)


def _quantiles(values: Doubles, levels: Doubles) -> Doubles:
    """Return empirical quantiles of each row, NaN left out, 0 for an empty row [rows, levels]."""
    if values.shape[1] == 0:
        return np.zeros((len(values), len(levels)))
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    place = np.minimum((levels[None, :] * count[:, None]).astype(np.int64), np.maximum(count[:, None] - 1, 0))
    return np.asarray(np.nan_to_num(np.take_along_axis(ordered, place, axis=1)), dtype=np.float64)


def _last_season(values: Doubles, season: int) -> Doubles:
    """Return the latest observed value of each phase, the phase of the first coming period first; 0 if none."""
    rows, length = values.shape
    cycles = -(-length // season)
    padded = np.full((rows, cycles * season), np.nan)
    padded[:, cycles * season - length :] = values
    table = padded.reshape(rows, cycles, season)[:, ::-1, :]
    known = np.isfinite(table)
    first = known.argmax(axis=1)
    latest = np.take_along_axis(table, first[:, None, :], axis=1)[:, 0, :]
    return np.asarray(np.nan_to_num(latest), dtype=np.float64)
