"""Why the forecast is what it is: what season, promotion, events, trend and attributes each add to the recent level.

Here: contributions from the booster of the mean (TreeSHAP). Not here: pictures of them (`ml.forecast.plots`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.forecast.boosted import DemandForecaster
from ml.forecast.features import FeaturePlan
from ml.schema import KEYS, Doubles

GROUPS = ("season", "last_year", "price_and_promotion", "events", "trend", "attributes", "other")


def group_of(feature: str, plan: FeaturePlan) -> str:
    """Return which of GROUPS a feature belongs to."""
    head, _, name = feature.partition("_")
    if head == "static":
        return "attributes"
    if head in ("covariate", "change", "until", "after", "effect", "near") and name in plan.covariates:
        if "price" in name or "promotion" in name:
            return "price_and_promotion"
        return "events" if name in plan.flags else "other"
    if head in ("season", "year", "year2", "phase", "weekday", "day", "time"):
        return "season"
    return "trend"


def contributions(
    forecaster: DemandForecaster,
    history: pd.DataFrame,
    future: pd.DataFrame | None = None,
    keys: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Split each forecast into the recent level and what each group of features adds to it.

    A booster adds logarithms; they become units by the logarithmic mean of level and forecast, the one split that
    leaves no rest (Ang 2005, Energy Policy 33, p. 869). The mean of the boosters has the mean of their splits. The
    season starts from the seasonal level of the series. What last year says of the total, and the floor of an item that
    wakes once a year, stand apart as `last_year`.

    Args:
        forecaster: fitted.
        history: as `DemandForecaster.predict`.
        future: as `DemandForecaster.predict`.
        keys: sku and location_id wanted; None = all.

    Returns:
        sku, location_id, period_start, level_units, season_units, last_year_units, price_and_promotion_units,
        events_units, trend_units, attributes_units, other_units, mean_units: level plus the groups is the mean,
        exactly. Behind last_year_units stand last_year_factor (what it multiplies every mean by), last_year_says (share
        of the forecast total, -0.38 = 38 % less; 0 where it is silent) and last_year_trust (0 ... 1).

    Raises:
        ValueError: for keys that cannot be forecast.
    """
    import xgboost

    prepared = forecaster.prepare(history, future)
    rows = np.arange(prepared.panel.series) if keys is None else prepared.find(keys)
    horizon = forecaster.horizon
    origins, ahead = np.full(len(rows), prepared.panel.length - 1), np.tile(np.arange(1, horizon + 1), (len(rows), 1))
    built = prepared.builder.build(rows, origins, ahead, prepared.is_new[rows])
    season = np.zeros((len(built.scale), len(GROUPS)))
    season[:, GROUPS.index("season")] = np.log(built.baseline / built.scale)
    parts = [_units(season, built.scale)] if not forecaster.mean_models else []
    matrix = xgboost.DMatrix(built.features)
    places = [GROUPS.index(group_of(name, forecaster.plan)) for name in forecaster.plan.names()]
    for model in forecaster.mean_models:
        logs = season.copy()
        shares = model.predict(matrix, pred_contribs=True)
        for column, place in enumerate([*places, GROUPS.index("trend")]):
            logs[:, place] += shares[:, column]
        parts.append(_units(logs, built.scale))
    # The level has a share in the mean of its own; what the boosters add to it counts for the rest.
    added = (1.0 - forecaster.level_share) * np.mean(parts, axis=0)
    booster_mean = built.scale + added.sum(axis=1)
    factor, floor = forecaster.seasonal(prepared.history, rows, origins, ahead)
    mean = np.maximum(booster_mean * factor, floor)
    added[:, GROUPS.index("last_year")] = mean - booster_mean
    level, closed = built.scale, prepared.closed(rows).reshape(-1)
    # What is declared for a promotion, or was missed of past ones, comes on top.
    promoted = mean * (prepared.promotions.factor[rows].reshape(-1) - 1.0)
    added[:, GROUPS.index("price_and_promotion")] += promoted
    mean = mean + promoted
    new = np.flatnonzero(prepared.is_new[rows])
    if len(new):
        # A new item is forecast around the level of its like: all of it is shifted alike.
        usual, factors = prepared.start(rows[new])
        times = np.ones((len(rows), horizon))
        times[new] = usual * factors.mean(axis=1, keepdims=True) / mean.reshape(-1, horizon)[new]
        level, added, mean = level * times.reshape(-1), added * times.reshape(-1, 1), mean * times.reshape(-1)
    frame = prepared.panel.keys.iloc[np.repeat(rows, horizon)][KEYS].reset_index(drop=True)
    frame["period_start"] = np.tile(prepared.panel.future_periods(horizon), len(rows))
    frame["level_units"] = level
    for place, name in enumerate(GROUPS):
        frame[f"{name}_units"] = added[:, place]
    seen = prepared.panel.frequency.periods(np.array([prepared.panel.first + prepared.panel.length - 1]))[0]
    told = forecaster.season_frame(seen)
    said = told.set_index("period_start").reindex(frame["period_start"])
    frame["last_year_factor"] = factor
    frame["last_year_says"] = said["last_year_says"].fillna(0.0).to_numpy()
    frame["last_year_trust"] = said["trust"].fillna(0.0).to_numpy()
    # A closed day has no demand whatever the model says: the calendar takes the rest away.
    frame.loc[closed, "season_units"] -= mean[closed]
    frame["mean_units"] = np.where(closed, 0.0, mean)
    return frame


def _units(logs: Doubles, level: Doubles) -> Doubles:
    """Return what each group adds to the level, units a period [rows, groups], from what it adds to the logarithm."""
    change = logs.sum(axis=1)
    mean = level * np.exp(change)
    # (mean - level) / ln(mean / level), which tends to the level as both meet.
    middle = np.where(np.abs(change) > 1e-9, (mean - level) / np.where(change == 0, 1.0, change), level)
    return np.asarray(logs * middle[:, None])


def importance(split: pd.DataFrame) -> pd.DataFrame:
    """Return group, mean_units and mean_absolute_units: what each group adds to the level of a forecast, per period.

    Args:
        split: from `contributions`.

    Returns:
        One row per group, the one that moves most first.
    """
    units = split[[f"{name}_units" for name in GROUPS]].to_numpy(dtype=np.float64)
    frame = pd.DataFrame(
        {"group": GROUPS, "mean_units": units.mean(axis=0), "mean_absolute_units": np.abs(units).mean(axis=0)}
    )
    return frame.sort_values("mean_absolute_units", ascending=False, kind="stable").reset_index(drop=True)
