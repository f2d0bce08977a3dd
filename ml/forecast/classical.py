"""Classical forecasters of single series from statsforecast, with the interface of `ml.forecast.DemandForecaster`.

Here: ETS, Theta, Croston-SBA and TSB as model specs for the backtest, meant for a stratified sample of series: they fit
series by series. Not here: anything that serves forecasts to users.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from ml.forecast.baselines import LocalForecaster, LocalSpec
from ml.panel import Panel
from ml.schema import Doubles, Floats, Integers

# Two years of a season are enough for its shape, and keep a fit below a tenth of a second.
YEARS_SEEN = 2
# With fewer values than this ETS cannot be fitted; their mean and spread stand.
FEWEST_VALUES = 12
# Series between two lines of the log.
TOLD_EVERY = 100
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClassicalForecaster(LocalForecaster):
    """ETS or Theta with their normal spread; Croston-SBA or TSB with the recent spread, scaled to their level.

    `kind` "ets" is exponential smoothing with its form chosen by AICc, "theta" the dynamic optimised Theta method,
    "croston_sba" Croston's method with the correction of Syntetos and Boylan, "tsb" that of Teunter, Syntetos, Babai.
    """

    def grid(self, panel: Panel, rows: Integers, n: int) -> tuple[Doubles, Floats]:
        """Return point forecasts [series, horizon] and quantile functions [series, horizon, n], >= 0."""
        from scipy.special import ndtri

        levels = (np.arange(n) + 0.5) / n
        point = np.zeros((len(rows), self.horizon))
        grid = np.zeros((len(rows), self.horizon, n), dtype=np.float32)
        normal = self.kind in ("ets", "theta")
        for place, row in enumerate(rows):
            if place and place % TOLD_EVERY == 0:
                _LOG.info("%s: series %s of %s", self.kind, f"{place:,}", f"{len(rows):,}")
            values = self._values(panel, int(row))
            if len(values) == 0 or not values.any():
                continue
            if normal and len(values) < FEWEST_VALUES:
                point[place] = values.mean()
                grid[place] = np.maximum(values.mean() + values.std() * ndtri(levels), 0.0)
                continue
            model = self._model(len(values))
            answer = model.forecast(y=values, h=self.horizon, **({"level": [80]} if normal else {}))
            mean = np.maximum(np.nan_to_num(np.asarray(answer["mean"], dtype=np.float64)), 0.0)
            point[place] = mean
            if normal:
                spread = np.asarray(answer["hi-80"], dtype=np.float64) - np.asarray(answer["lo-80"], dtype=np.float64)
                deviation = np.nan_to_num(spread) / (2.0 * float(ndtri(0.9)))
                grid[place] = np.maximum(mean[:, None] + deviation[:, None] * ndtri(levels)[None, :], 0.0)
            else:
                recent = np.quantile(values[-self.frequency.windows[4] :], levels, method="inverted_cdf")
                grid[place] = mean[:, None] * recent[None, :] / max(float(recent.mean()), 1e-9)
        closed = panel.closed[rows, panel.length :]
        point[closed], grid[closed] = 0.0, 0.0
        return point, grid

    def _values(self, panel: Panel, row: int) -> Doubles:
        """Return what was observed from the first sale on; a gap takes the value one season before, or is dropped."""
        values = np.where(panel.bound[row], np.nan, panel.demand[row]).astype(np.float64)
        values = values[-YEARS_SEEN * self.frequency.year :]
        sold = np.nan_to_num(values) > 0
        values = values[int(sold.argmax()) :] if sold.any() else values[:0]
        season = self.frequency.season
        for place in np.flatnonzero(np.isnan(values)):
            if place >= season:
                values[place] = values[place - season]
        return values[np.isfinite(values)]

    def _model(self, length: int) -> Any:
        from statsforecast.models import TSB, AutoETS, CrostonSBA, DynamicOptimizedTheta

        season = self.frequency.season if length >= 3 * self.frequency.season else 1
        if self.kind == "ets":
            return AutoETS(season_length=season)
        if self.kind == "theta":
            # A product of seasonal factors is undefined where demand can be zero.
            return DynamicOptimizedTheta(season_length=season, decomposition_type="additive")
        return CrostonSBA() if self.kind == "croston_sba" else TSB(alpha_d=0.1, alpha_p=0.1)


train_ets = LocalSpec(ClassicalForecaster, "ets")
train_theta = LocalSpec(ClassicalForecaster, "theta")
train_croston_sba = LocalSpec(ClassicalForecaster, "croston_sba")
train_tsb = LocalSpec(ClassicalForecaster, "tsb")
