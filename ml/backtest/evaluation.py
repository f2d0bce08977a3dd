"""Rolling-origin evaluation of forecasters.

Here: refitting each model spec per window and putting together what the windows show. Not here: the windows
(`ml.backtest.windows`), errors over them (`ml.backtest.tallies`), the measures themselves (`ml.metrics`) and the
decision (`ml.backtest.gate`).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ml.backtest.setup import BacktestSetup
from ml.backtest.tallies import Tally, headline, joined_sums, score_sums, segments, series_losses
from ml.backtest.windows import Window, windows_of
from ml.forecast.base import Forecaster, ModelSpec
from ml.forecast.ensemble import Combination
from ml.panel import Frequency, build_panel
from ml.schema import KEYS, Doubles
from ml.segments import demand_class

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a backtest found; every frame has a column `model_spec`.

    Attributes:
        series: one row per model spec, window and series: sku, location_id, demand_class, abc_class, weight (value of
            the sales before the window), periods, actual_units, forecast_units, absolute_error, squared_error (means
            per period), pinball (mean over levels and periods), mase, rmsse (NaN where undefined), pinball_scaled
            (pinball over the seasonal scale).
        segments: one row per model_spec, segment_kind, segment: series, periods, mae, rmse, mape, wape, bias, mase,
            rmsse, wrmsse, pinball, wql.
        horizons: one row per model spec and periods_ahead: mae, wape, bias, pinball.
        calibration: one row per model_spec, segment_kind, segment, level: below = P(y < q), upto = P(y <= q), gap.
        sums: one row per model spec, span and level: below, upto, gap, pinball of the sum over `span` periods.
        sum_losses: one row per model spec, window, series and span: demand_class, pinball (mean over levels).
        pit: randomised PIT of single periods (span 1) and of sums, one row per model spec, value and span: series and
            period as numbers, demand_class; empty where no sums are scored, because no paths are drawn then.
        windows: one row per model spec and window: origin, train_seconds, predict_seconds, wrmsse, pinball, wape, bias.
        forecasts: if kept, one row per model spec, window, series and period: demand_class, actual_units, mean_units,
            q05_units ...
        tried: the same of the members of combinations, on observed demand.
        fitted: what each model spec fitted before the window `fitted_window`, the last but one, for further proofs.
        fitted_window: number of that window.
        tried_sums: sums over the first periods by each choice of a combination, on observed demand: model_spec (names
            of the choice), window, sku, location_id, demand_class, span, period_start (the last one of the sum),
            actual_units, q05_units ...
    """

    series: pd.DataFrame
    segments: pd.DataFrame
    horizons: pd.DataFrame
    calibration: pd.DataFrame
    sums: pd.DataFrame
    sum_losses: pd.DataFrame
    pit: pd.DataFrame
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
    specs: Mapping[str, ModelSpec],
    demand: pd.DataFrame,
    setup: BacktestSetup,
    *,
    items: pd.DataFrame | None = None,
    combinations: Mapping[str, Combination] | None = None,
    truth: pd.DataFrame | None = None,
    series: pd.DataFrame | None = None,
) -> Evaluation:
    """Refit every model spec before each of several windows and score what it forecasts.

    Args:
        specs: name -> model spec.
        demand: as `ml.forecast.train`; covariates of the windows are given to the forecasters as known ahead, demand
            and stock of the windows are not.
        setup: the windows, and what is drawn and kept.
        items: static attributes.
        combinations: name -> combination of model specs. It mixes what a window fitted by what earlier windows
            forecast for periods that had passed by then.
        truth: sku, location_id, period_start, demand_units: what to score against; None = the observed demand of
            periods in stock.
        series: sku, location_id of the series to use; None = all.

    Raises:
        ValueError: for what `train` refuses, or too little history for the windows.
    """
    if series is not None:
        demand = demand.merge(series[KEYS], on=KEYS, how="inner")
        items = None if items is None else items.merge(series[KEYS], on=KEYS, how="inner")
    mixtures = dict(combinations or {})
    findings = _Findings(setup, specs, mixtures)
    fitted_window, kept_fitted = max(setup.windows - 2, 0), dict[str, Forecaster]()
    for window in windows_of(demand, truth, setup):
        fitted: dict[str, Forecaster] = {}
        seconds: dict[str, float] = {}
        for place, (name, spec) in enumerate(specs.items(), start=1):
            _LOG.info(
                "window %d of %d, after %s: fitting %s, model %d of %d, on %s series",
                *(window.number + 1, setup.windows, f"{window.origin:%Y-%m-%d}", name, place, len(specs)),
                f"{len(window.keys):,}",
            )
            clock = time.perf_counter()
            fitted[name] = spec(
                window.past,
                freq=setup.freq,
                horizon=setup.horizon,
                items=items,
                season_length=setup.season_length,
                seed=setup.seed,
            )
            seconds[name] = time.perf_counter() - clock
        passed, passed_sums = findings.passed(window.periods[0])
        choices: dict[str, Forecaster] = {}
        for name, combination in mixtures.items():
            clock = time.perf_counter()
            fitted[name] = combination(fitted, passed, passed_sums)
            choices |= combination.choices(fitted)
            members = sum(seconds[member] for member in combination.members)
            seconds[name] = members + time.perf_counter() - clock
        if window.number == fitted_window:
            kept_fitted = fitted
        _LOG.info("window %d of %d: scoring %d models", window.number + 1, setup.windows, len(fitted))
        for name, forecaster in fitted.items():
            findings.add(name, forecaster, window, seconds[name])
        for name, forecaster in choices.items():
            findings.add_choice(name, forecaster, window)
    return findings.evaluation(kept_fitted, fitted_window)


class _Findings:
    """What the windows have shown so far."""

    def __init__(
        self, setup: BacktestSetup, specs: Mapping[str, ModelSpec], combinations: Mapping[str, Combination]
    ) -> None:
        self.setup = setup
        self.members = {member for combination in combinations.values() for member in combination.members}
        self.tallies = {name: Tally(setup.horizon) for name in [*specs, *combinations]}
        self.series: list[pd.DataFrame] = []
        self.windows: list[pd.DataFrame] = []
        self.sums: list[pd.DataFrame] = []
        self.sum_losses: list[pd.DataFrame] = []
        self.pit: list[pd.DataFrame] = []
        self.forecasts: list[pd.DataFrame] = []
        self.tried: list[pd.DataFrame] = []
        self.tried_sums: list[pd.DataFrame] = []

    def passed(self, first_unseen: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return what members of combinations forecast, and sums of it, for periods before the first unseen one."""
        return _joined(self.tried, before=first_unseen), _joined(self.tried_sums, before=first_unseen)

    def add(self, name: str, forecaster: Forecaster, window: Window, train_seconds: float) -> None:
        """Score what a forecaster says of a window."""
        clock = time.perf_counter()
        forecast = forecaster.predict(window.past, window.future)
        predict_seconds = time.perf_counter() - clock
        mean, quantiles = window.aligned(forecast)
        scored = window.score(mean, quantiles)
        scored.insert(0, "model_spec", name)
        scored.insert(1, "window", window.number)
        self.series.append(scored)
        self.tallies[name].add(window, mean, quantiles)
        row = {"model_spec": name, "window": window.number, "origin": window.origin, "train_seconds": train_seconds}
        self.windows.append(pd.DataFrame([row | {"predict_seconds": predict_seconds} | headline(scored)]))
        if self.setup.spans:
            sums, pit = self._drawn(forecaster, window, window.actual)
            self.sums.append(score_sums(sums).assign(model_spec=name, window=window.number))
            self.sum_losses.append(series_losses(sums).assign(model_spec=name, window=window.number))
            self.pit.append(pit.assign(model_spec=pd.Categorical([name] * len(pit), categories=[*self.tallies])))
        if self.setup.keep_forecasts:
            kept = window.observed(window.actual, mean, quantiles)
            self.forecasts.append(kept.assign(model_spec=name, window=window.number))
        if name in self.members:
            tried = window.observed(window.served, mean, quantiles)
            self.tried.append(tried.assign(model_spec=name, window=window.number))

    def add_choice(self, name: str, forecaster: Forecaster, window: Window) -> None:
        """Keep the sums by a choice that a combination may make, for the windows to come."""
        if self.setup.spans:
            sums, _ = self._drawn(forecaster, window, window.served)
            self.tried_sums.append(sums.assign(model_spec=name, window=window.number))

    def evaluation(self, fitted: Mapping[str, Forecaster], fitted_window: int) -> Evaluation:
        """Return everything as tables."""
        series = pd.concat(self.series, ignore_index=True)
        return Evaluation(
            series=series,
            segments=segments(series),
            horizons=pd.concat([tally.horizons(name) for name, tally in self.tallies.items()], ignore_index=True),
            calibration=pd.concat([tally.calibration(name) for name, tally in self.tallies.items()], ignore_index=True),
            sums=joined_sums(self.sums),
            sum_losses=_joined(self.sum_losses, columns=["model_spec", "window", *KEYS, "span", "pinball"]),
            pit=_joined(self.pit, columns=["model_spec", "series", "period", "span", "demand_class", "pit"]),
            windows=pd.concat(self.windows, ignore_index=True),
            forecasts=_joined(self.forecasts),
            tried=_joined(self.tried),
            tried_sums=_joined(self.tried_sums),
            fitted=fitted,
            fitted_window=fitted_window,
        )

    def _drawn(self, forecaster: Forecaster, window: Window, actual: Doubles) -> tuple[pd.DataFrame, pd.DataFrame]:
        paths = forecaster.sample_paths(window.past, self.setup.paths, window.future, seed=self.setup.seed)
        return window.drawn(paths, self.setup.spans, actual, self.setup.seed)


def _joined(
    frames: Sequence[pd.DataFrame], *, before: pd.Timestamp | None = None, columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return frames as one, of the periods before a point of time if one is given; columns = those of no frame."""
    kept = frames if before is None else [frame[frame["period_start"] < before] for frame in frames]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=list(columns))
