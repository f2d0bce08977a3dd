"""What became of the forecasts of earlier runs: the archive beside the actuals that have come in since.

Belongs here: fetching both and putting the measures of `ml.backtest.monitoring` together. Does not: the measures.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.planning.archive import archives_in_force
from orchestration.planning.history import LAGS
from orchestration.warehouse.build import Build
from orchestration.warehouse.demand_frames import items
from orchestration.warehouse.exports import export_path, read_frame, read_sql

if TYPE_CHECKING:
    import pandas as pd

# Four whole weeks are judged, so every weekday counts alike.
DAYS_JUDGED = 28
# A day's forecasts share that day's weather: a few days say nothing about calibration, and 2 points are its noise.
FEWEST_DAYS, CALIBRATION_LIMIT = 7, 0.05
# Not by ABC or demand class: both are read off the very days judged, so C and "none" would always look over-forecast.
SEGMENTS = ("everything", "location_id", "category")
INPUTS = ("mean_daily_units", "share_of_days_sold", "share_of_days_in_stock", "mean_price", "share_on_promotion")


@dataclass(frozen=True)
class Monitoring:
    """Forecasts of earlier runs against what happened on the last days.

    Attributes:
        since: first day judged, ISO.
        days: days judged.
        origins: runs whose forecasts are judged.
        accuracy: one row per lag: `ml.backtest.monitoring.accuracy_by_lag`.
        bias: one row per segment_kind and segment, freshest forecast of each day: `bias_alarms`.
        calibration: one row per level, freshest forecast of each day: `calibration_by_level`.
        drift: one row per input of the forecast, these days beside the four weeks before them: `drift`.
    """

    since: str
    days: int
    origins: int
    accuracy: "pd.DataFrame"
    bias: "pd.DataFrame"
    calibration: "pd.DataFrame"
    drift: "pd.DataFrame"

    def lags_behind_naive(self) -> list[int]:
        """Return the lags at which repeating the last week would have had the smaller error."""
        worse = self.accuracy["to_naive"] > 1.0
        return [int(lag) for lag in self.accuracy.loc[worse, "periods_ahead"]]

    def biased(self) -> list[str]:
        """Return the segments whose alarm fires."""
        return [
            f"{row['segment_kind']} {row['segment']} {_bias_in_words(row)}"
            for row in self.bias[self.bias["alarm"].astype(bool)].to_dict("records")
        ]

    def uncalibrated(self) -> list[str]:
        """Return the levels that are off by more than the limit, once there are days enough to say so."""
        if self.days < FEWEST_DAYS:
            return []
        off = self.calibration[self.calibration["gap"].abs() > CALIBRATION_LIMIT]
        return [f"{row['level']:.2f} by {row['gap']:+.3f}" for row in off.to_dict("records")]

    def drifted(self) -> list[str]:
        """Return the inputs whose distribution over the items has shifted."""
        return [
            f"{row['column']} (PSI {row['psi']:.2f})"
            for row in self.drift[self.drift["drifted"].astype(bool)].to_dict("records")
        ]


def _bias_in_words(row: Mapping[Hashable, Any]) -> str:
    """Return the bias of a segment as a share of what was sold, or in units where nothing was."""
    if math.isfinite(row["bias"]):
        return f"{row['bias']:+.0%}"
    return f"{row['cumulative_error_units']:,.1f} units forecast and nothing sold"


def monitor_forecasts(settings: Settings, build: Build) -> Monitoring | None:
    """Judge the forecasts that earlier runs published for the last days; None = there are none.

    Args:
        settings: of the home.
        build: whose business day ends what is judged.
    """
    from ml.backtest import accuracy_by_lag, bias_alarms, calibration_by_level, drift

    files = archived_forecasts(settings, build)
    pairs = _pairs(settings, build, files) if files else None
    if pairs is None or pairs.empty:
        return None
    import pandas as pd

    categories = items(settings)[["sku", "location_id", "category"]]
    fresh = pairs[pairs["is_freshest"]].merge(categories, on=["sku", "location_id"], how="left")
    fresh = fresh.assign(everything="all", category=fresh["category"].fillna("unknown"))
    alarms = [bias_alarms(fresh, kind).assign(segment_kind=kind) for kind in SEGMENTS]
    return Monitoring(
        since=str(pairs["period_start"].min().date()),
        days=int(pairs["period_start"].nunique()),
        origins=len(files),
        accuracy=accuracy_by_lag(pairs[pairs["periods_ahead"].isin(LAGS)]),
        bias=pd.concat(alarms, ignore_index=True),
        calibration=calibration_by_level(fresh),
        drift=drift(_inputs(settings, build, 2), _inputs(settings, build, 1), INPUTS),
    )


def archived_forecasts(settings: Settings, build: Build) -> list[Path]:
    """Return the archived forecasts made before the business day that reach the days judged, one file per origin."""
    first = (build.as_of_date - timedelta(days=DAYS_JUDGED + max(LAGS))).isoformat()
    found = [
        folder / "demand_forecasts.parquet"
        for day, folder in archives_in_force(settings, build).items()
        if day >= first
    ]
    return [path for path in found if path.exists()]


def _pairs(settings: Settings, build: Build, files: list[Path]) -> "pd.DataFrame":
    """Return forecasts of the lags and the freshest ones beside actual units and those of the same weekday before.

    Days out of stock are left out: what they would have sold is not known.
    """
    sources = ", ".join(map(path_literal, files))
    return read_frame(
        f"""
        with actuals as (
            select sku, location_id, day, demand_units::double as actual_units
            from {read_sql(export_path(settings, "marts.fct_daily_demand"))}
            where is_in_stock and is_open and day > date '{build.as_of}' - {DAYS_JUDGED + 7 + max(LAGS)}
        ),

        forecasts as (
            select * from read_parquet([{sources}], union_by_name = true)
            where day > date '{build.as_of}' - {DAYS_JUDGED} and day <= date '{build.as_of}'
        ),

        freshest as (
            select day, max(as_of_date) as as_of_date from forecasts group by day
        )

        select forecasts.sku, forecasts.location_id, forecasts.day::timestamp as period_start,
            forecasts.periods_ahead::integer as periods_ahead, freshest.as_of_date is not null as is_freshest,
            forecasts.mean_units, columns('q[0-9]+_units'), actuals.actual_units, weekday.actual_units as naive_units
        from forecasts
        inner join actuals using (sku, location_id, day)
        left join freshest on freshest.day = forecasts.day and freshest.as_of_date = forecasts.as_of_date
        left join actuals as weekday
            on weekday.sku = forecasts.sku and weekday.location_id = forecasts.location_id
            and weekday.day = forecasts.day - 7 * ceil(forecasts.periods_ahead / 7)::integer
        where forecasts.periods_ahead in {LAGS} or freshest.as_of_date is not null
        """
    )


def _inputs(settings: Settings, build: Build, back: int) -> "pd.DataFrame":
    """Return INPUTS of each sku and location over the last span of days judged (1), or the one before it (2)."""
    return read_frame(
        f"""
        select sku, location_id, avg(demand_units)::double as mean_daily_units,
            avg((demand_units > 0)::integer) as share_of_days_sold, avg(is_in_stock::integer) as share_of_days_in_stock,
            avg(unit_price)::double as mean_price, avg(is_promotion::integer) as share_on_promotion
        from {read_sql(export_path(settings, "marts.fct_daily_demand"))}
        where day > date '{build.as_of}' - {back * DAYS_JUDGED}
            and day <= date '{build.as_of}' - {(back - 1) * DAYS_JUDGED}
        group by sku, location_id
        """
    )
