"""What a planner should know about single forecasts, in words: promotions, items not sold yet or asleep until a season.

Here: finding what there is to say and saying it. Not here: the numbers themselves.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.forecast.base import FittedForecaster, PreparedHistory
from ml.forecast.boosted import BoostedHistory, DemandForecaster
from ml.forecast.ensemble import CombinedForecaster
from ml.forecast.promotions import PROMOTION, UPLIFT, PromotionMemory
from ml.forecast.season import waking
from ml.schema import KEYS

NOTE_COLUMNS = ("sku", "location_id", "subject", "source", "from_day", "to_day", "factor", "note")


def forecast_notes(
    forecaster: FittedForecaster,
    history: pd.DataFrame,
    future: pd.DataFrame,
) -> pd.DataFrame:
    """Return what there is to say about the forecasts of a history.

    Args:
        forecaster: fitted.
        history: as `DemandForecaster.predict`.
        future: as `DemandForecaster.predict`.

    Returns:
        NOTE_COLUMNS, one row per promotion, per new item and per item that wakes for its season. subject: promotion,
        new_item or season. source: declared, learnt or unknown (promotion); analogues or unknown (new_item); one_year
        or two_years (season). from_day, to_day: first and last day of the promotion or of the season within the
        horizon, empty otherwise. factor: what the promotion makes of usual demand. note: a sentence without
        its end.
    """
    lead = forecaster.lead if isinstance(forecaster, CombinedForecaster) else forecaster
    prepared = lead.prepare(history, future)
    memory = lead.promotions if isinstance(lead, DemandForecaster) else PromotionMemory()
    rows = _promotion_notes(future, prepared, memory)
    if isinstance(prepared, BoostedHistory):
        rows += _new_item_notes(prepared) + _woken_notes(prepared)
    else:
        rows += _nothing_known(history, future)
    frame = pd.DataFrame(rows, columns=list(NOTE_COLUMNS))
    types = dict.fromkeys(("sku", "location_id", "subject", "source", "note"), "string")
    return frame.astype(
        types | dict.fromkeys(("from_day", "to_day"), "datetime64[ns]") | {"factor": "float64"}
    ).sort_values([*KEYS, "subject", "from_day"], ignore_index=True)


def _promotion_notes(
    future: pd.DataFrame, prepared: PreparedHistory, memory: PromotionMemory
) -> list[tuple[object, ...]]:
    days = future.assign(
        declared=future[UPLIFT].astype("float64") if UPLIFT in future else np.nan,
        is_promoted=future[PROMOTION].eq(1) if PROMOTION in future else False,
    )
    periods = prepared.panel.future_periods(prepared.panel.ahead)
    days = days[(days["is_promoted"] | days["declared"].notna()) & days["period_start"].isin(periods)]
    if days.empty:
        return []
    days = days.sort_values([*KEYS, "period_start"], ignore_index=True)
    numbers = prepared.find(days)
    series, place = np.unique(numbers, return_inverse=True)
    columns = np.searchsorted(periods, days["period_start"])
    days["effect"] = prepared.promotion_effects(series)[place, columns]
    days["column"] = columns
    goes_on = (
        (numbers[1:] == numbers[:-1])
        & (columns[1:] == columns[:-1] + 1)
        & (days["declared"].fillna(0.0).diff().to_numpy()[1:] == 0)
    )
    days["run"] = np.cumsum(np.r_[True, ~goes_on])
    rows: list[tuple[object, ...]] = []
    for _, run in days.groupby("run"):
        first, last = run.iloc[0], run.iloc[-1]
        goes_beyond = last["column"] == len(periods) - 1
        when = _when(first["period_start"], last["period_start"], goes_beyond=bool(goes_beyond))
        factor = float(run["effect"].mean())
        if pd.notna(first["declared"]):
            aside = memory.is_learnt and first["is_promoted"]
            source, note = (
                "declared",
                f"the promotion {when} is planned at {factor:.2g} times usual demand, as declared",
            )
            note += "; what past promotions taught is left aside" if aside else ""
        elif memory.is_learnt:
            taught = "past promotions" if memory.promotions is None else f"{memory.promotions:,} past promotions"
            source = "learnt"
            note = f"the promotion {when} is expected to sell {factor:.2g} times usual demand, learnt from {taught}"
        else:
            source, factor = "unknown", np.nan
            note = (
                f"a promotion {when} is planned and its effect is not known: "
                f"declare {UPLIFT} in prices, or order for it by hand"
            )
        note = note[0].upper() + note[1:]
        rows.append((*first[KEYS], "promotion", source, first["period_start"], last["period_start"], factor, note))
    return rows


def _when(first: pd.Timestamp, last: pd.Timestamp, *, goes_beyond: bool) -> str:
    if goes_beyond:
        return f"from {first:%Y-%m-%d} on"
    return f"of {first:%Y-%m-%d}" if first == last else f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _new_item_notes(prepared: BoostedHistory) -> list[tuple[object, ...]]:
    rows = np.flatnonzero(prepared.is_new)
    new_items, period = prepared.forecaster.new_items, _PERIODS.get(prepared.panel.frequency.name, "week")
    if new_items is None or not len(rows):
        return []
    found = []
    for row, like, usual, factors in zip(rows, prepared.analogues(rows), *prepared.start(rows), strict=True):
        key = prepared.panel.keys.iloc[row]
        unsold = int(prepared.unsold_periods[row])
        shelf = f" (not sold in {unsold} {period}{'s' if unsold > 1 else ''} on the shelf)" if unsold else ""
        kind = f" of {like.shared}" if like.shared and not like.shared.startswith("at ") else f" {like.shared}".rstrip()
        expected, middle = usual.mean() * factors.mean(), usual.mean()
        low, high = middle * np.exp(np.quantile(new_items.around, [0.25, 0.75]))
        note = (
            f"New{shelf}: {expected:.2g} a {period} expected, from the median of {like.items:,} items{kind}, "
            f"{like.median:.2g} a {period}; half of its like sell {low:.2g} to {high:.2g}"
        )
        found.append((*key[KEYS], "new_item", "analogues", pd.NaT, pd.NaT, np.nan, note))
    return found


def _woken_notes(prepared: BoostedHistory) -> list[tuple[object, ...]]:
    if prepared.forecaster.season is None:
        return []
    horizon, series = prepared.forecaster.horizon, prepared.panel.series
    ahead = np.tile(np.arange(1, horizon + 1), (series, 1))
    _, seasons = waking(prepared.history, np.arange(series), np.full(series, prepared.panel.length - 1), ahead)
    seasons = seasons.reshape(series, horizon)
    seasons[prepared.closed(np.arange(series))] = 0
    periods = prepared.panel.future_periods(horizon)
    found = []
    for row in np.flatnonzero(seasons.any(axis=1)):
        woken, key = np.flatnonzero(seasons[row]), prepared.panel.keys.iloc[row]
        twice = seasons[row].max() > 1
        seen = "at the smaller of two seasons" if twice else "at half of the only season seen"
        note = f"Asleep until its season: from {periods[woken[0]]:%Y-%m-%d} on it is forecast {seen}"
        source = "two_years" if twice else "one_year"
        found.append((*key[KEYS], "season", source, periods[woken[0]], periods[woken[-1]], np.nan, note))
    return found


def _nothing_known(history: pd.DataFrame, future: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return a note for each item that recent demand alone would forecast, and that has none."""
    sold = history.loc[history["demand_units"] > 0, KEYS].drop_duplicates()
    unsold = future[KEYS].drop_duplicates().merge(sold, on=KEYS, how="left", indicator=True)
    unsold = unsold[(unsold["_merge"] == "left_only") & ~_is_old(unsold, history)]
    note = "New: nothing sold yet and nothing is expected, for recent demand is all that forecasts: order it by hand"
    return [
        (sku, location, "new_item", "unknown", pd.NaT, pd.NaT, np.nan, note)
        for sku, location in unsold[KEYS].itertuples(index=False)
    ]


def _is_old(keys: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Return which items have been on the shelf for eight weeks or more."""
    first = history.groupby(KEYS)["period_start"].min()
    since = history["period_start"].max() - pd.Timedelta(weeks=8)
    return first.reindex(pd.MultiIndex.from_frame(keys[KEYS])).le(since).set_axis(keys.index)


_PERIODS = {"D": "day", "MS": "month"}
