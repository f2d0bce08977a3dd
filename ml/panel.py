"""Demand panels: a frame of demand laid out as dense matrices of series by periods.

Here: checking the frames, the calendar, the layout, covariates carried ahead. Not here: features and models
(`ml.forecast`), metrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ml.schema import KEYS, Doubles, Flags, Floats, Integers

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MOST_UNITS = 1e12
# A grid holds every period between the first and the last: one date with a wrong year would fill the memory.
MOST_YEARS = 60
# Gaps shorter than this are left as they are: weekends that nobody writes down, a day on which every shelf was empty.
LEAST_GAP = 3
RESERVED = {"sku", "location_id", "period_start", "demand_units", "is_in_stock", "expected_uplift"}


@dataclasses.dataclass(frozen=True)
class Frequency:
    """How periods of one length are counted, and which spans matter on them.

    Attributes:
        name: "D", "W-MON" ... "W-SUN" or "MS".
        season: periods of the short season (7 for days; 1 = none).
        year: periods of the long season (364 days keep the weekday; 52 weeks; 12 months).
        windows: trailing windows whose means become features, periods.
        level_window: trailing window that sets the scale of a series, periods.
        lags: how many last values become features.
        cycles: how many last values of the same phase of the season become features.
    """

    name: str
    season: int
    year: int
    windows: tuple[int, ...]
    level_window: int
    lags: int
    cycles: int = 4

    @classmethod
    def of(cls, freq: str, season_length: int | None = None) -> Frequency:
        """Return the frequency a pandas alias names.

        Args:
            freq: "D", "W", "W-MON" ... "W-SUN" or "MS".
            season_length: periods of the season that matters most; None takes 7 days, 52 weeks or 12 months.

        Raises:
            ValueError: for any other alias, or a season that is no positive whole number.
        """
        if season_length is not None and (int(season_length) != season_length or season_length < 1):
            raise ValueError(f"season_length is {season_length!r}: give a whole number of periods, 1 or more, or None")
        alias = str(freq)
        if alias == "D":
            short = season_length is not None and season_length <= 31
            season = int(season_length) if season_length is not None and short else 7
            year = int(season_length) if season_length is not None and not short else 364
            return cls("D", season, year, (7, 14, 28, 56, 91, 182, 364), 56, 2, 2)
        if alias == "W" or (alias.startswith("W-") and alias[2:] in WEEKDAYS):
            name = "W-SUN" if alias == "W" else alias
            year = int(season_length) if season_length is not None and season_length > 1 else 52
            return cls(name, 1, year, (2, 4, 8, 13, 26, 52), 13, 6)
        if alias == "MS":
            year = int(season_length) if season_length is not None and season_length > 1 else 12
            return cls("MS", 1, year, (2, 3, 6, 12, 24), 6, 6)
        raise ValueError(f"freq is {freq!r}: use 'D', 'W-MON' ... 'W-SUN' or 'MS' (the start of each month)")

    def ordinals(self, periods: pd.Series | pd.DatetimeIndex) -> Integers:
        """Return whole numbers that grow by one from period to period.

        Raises:
            ValueError: for what is no date, a missing period or one that is not the start of a period of this
                frequency.
        """
        stamps = _dates(periods)
        if stamps.hasnans:
            raise ValueError(
                f"period_start is missing in row {int(np.argmax(stamps.isna()))}: give every row its period"
            )
        if stamps.tz is not None:
            raise ValueError("period_start carries a time zone: pass local calendar dates without one")
        values = stamps.to_numpy().astype("datetime64[s]")
        days = values.astype("datetime64[D]")
        whole = values == days.astype("datetime64[s]")
        if self.name == "D":
            result, starts = days.astype(np.int64), whole
        elif self.name == "MS":
            months = days.astype("datetime64[M]")
            result, starts = months.astype(np.int64), whole & (months.astype("datetime64[D]") == days)
        else:
            # 1970-01-01 was a Thursday; a period is named by the weekday in its alias.
            shifted = days.astype(np.int64) + 3 - WEEKDAYS.index(self.name[2:])
            result, starts = shifted // 7, whole & (shifted % 7 == 0)
        if not starts.all():
            row = int(np.argmin(starts))
            raise ValueError(
                f"period_start {stamps[row]} in row {row} does not start a period of freq {self.name!r}: "
                "align the dates or pass the freq they have"
            )
        return np.asarray(result, dtype=np.int64)

    def periods(self, ordinals: Integers) -> pd.DatetimeIndex:
        """Return the period starts behind `ordinals`; the inverse of `ordinals`."""
        if self.name == "D":
            return pd.DatetimeIndex(ordinals.astype("datetime64[D]").astype("datetime64[ns]"))
        if self.name == "MS":
            return pd.DatetimeIndex(ordinals.astype("datetime64[M]").astype("datetime64[ns]"))
        days = ordinals * 7 - 3 + WEEKDAYS.index(self.name[2:])
        return pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[ns]"))


@dataclasses.dataclass
class Panel:
    """Demand of many series on one common grid of periods.

    Attributes:
        keys: sku and location_id, one row per series, sorted.
        frequency: how the periods are counted.
        first: ordinal of the first period.
        demand: units, float32 [series, periods]; NaN = not observed (or closed).
        bound: True where the demand is only a lower bound because the shelf was empty [series, periods].
        closed: True where the calendar forbids demand [series, periods + ahead].
        covariates: name -> float32 [series, periods + ahead]; NaN = unknown.
        ahead: periods after the last observed one that covariates and closed reach.
        last_row: column of the last row each series had, observed or not; -1 = none [series].
    """

    keys: pd.DataFrame
    frequency: Frequency
    first: int
    demand: Floats
    bound: Flags
    closed: Flags
    covariates: dict[str, Floats]
    ahead: int
    last_row: Integers

    @property
    def length(self) -> int:
        """Periods on the grid, the known future left out."""
        return int(self.demand.shape[1])

    @property
    def series(self) -> int:
        """How many series."""
        return int(self.demand.shape[0])

    def future_periods(self, horizon: int) -> pd.DatetimeIndex:
        """Return the `horizon` period starts that follow the last one of the grid."""
        last = self.first + self.length - 1
        return self.frequency.periods(np.arange(last + 1, last + 1 + horizon))


def _dates(periods: pd.Series | pd.DatetimeIndex) -> pd.DatetimeIndex:
    if isinstance(periods, pd.DatetimeIndex) or pd.api.types.is_datetime64_any_dtype(periods):
        return pd.DatetimeIndex(periods)
    if isinstance(periods.dtype, pd.PeriodDtype):
        raise ValueError("period_start holds pandas periods: pass dates, as with .dt.to_timestamp()")
    if len(periods) and pd.api.types.is_numeric_dtype(periods):
        raise ValueError(f"period_start holds numbers ({periods.iloc[0]} in row 0): pass dates")
    stamps = pd.to_datetime(periods, errors="coerce")
    wrong = (stamps.isna() & periods.notna()).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"period_start is {periods.iloc[row]!r} in row {row}, which is not a date: write it as 2024-01-31"
        )
    return pd.DatetimeIndex(stamps)


def check_frame(frame: object, name: str) -> None:
    """Refuse what is no pandas DataFrame, or one with a column twice.

    Raises:
        ValueError: naming what it is instead, or the column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{name} is a {type(frame).__name__}: pass a pandas DataFrame")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(f"{name} has the column {twice[0]!r} twice: keep one")


def check_demand(demand: pd.DataFrame, name: str = "demand") -> None:
    """Refuse a demand frame that cannot be right.

    Raises:
        ValueError: for missing columns, negative or infinite demand, missing keys; the message names the value, its
            row and what to do.
    """
    check_frame(demand, name)
    missing = [column for column in (*KEYS, "period_start", "demand_units") if column not in demand.columns]
    if missing:
        raise ValueError(f"{name} lacks the columns {missing}: it has {list(demand.columns)}")
    for key in KEYS:
        absent = demand[key].isna().to_numpy()
        if absent.any():
            raise ValueError(f"{name}.{key} is missing in row {int(np.argmax(absent))}: every row needs its key")
    units = _numbers(demand["demand_units"], f"{name}.demand_units")
    for wrong, what, remedy in (
        (np.isinf(units), "infinite", "correct it, or leave it missing if it was not observed"),
        (units < 0, "negative", "demand is sales less cancellations, never below zero: net or drop it first"),
        (units > MOST_UNITS, "beyond all demand", "look whether the column holds something else"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            place = f"sku {demand['sku'].iloc[row]!r}, location {demand['location_id'].iloc[row]!r}"
            raise ValueError(
                f"{name}.demand_units is {what} ({units[row]}) in row {row} ({place}, "
                f"{demand['period_start'].iloc[row]}): {remedy}"
            )


def _numbers(column: pd.Series, name: str) -> Doubles:
    if pd.api.types.is_complex_dtype(column):
        raise ValueError(f"{name} holds complex numbers: pass real ones only")
    try:
        return np.asarray(pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds values that are not numbers ({error}): pass numbers only") from error


def _covariate(column: pd.Series, name: str) -> Doubles:
    values = _numbers(column, name)
    wrong = np.abs(values) > np.finfo(np.float32).max
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} is infinite in row {row} ({values[row]}): correct it, or leave it missing if it is not known"
        )
    return values


def _stock_flags(column: pd.Series) -> Flags:
    """Return which rows were in stock; a missing flag counts as in stock."""
    flags = column.map({True: 1.0, False: 0.0}) if column.dtype == object else column
    values = _numbers(flags, "demand.is_in_stock")
    wrong = (~np.isin(values, (0.0, 1.0)) & ~np.isnan(values)) | (np.isnan(values) & column.notna().to_numpy())
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"demand.is_in_stock is {column.iloc[row]!r} in row {row}: pass True, False or None where it is not known"
        )
    return np.asarray(values != 0.0)


def _check_calendar(frame: pd.DataFrame, name: str) -> None:
    if "is_open" in frame.columns and "is_open" not in covariate_names(frame) and frame["is_open"].notna().any():
        raise ValueError(
            f"{name}.is_open holds {frame['is_open'].dropna().iloc[0]!r} in a column of type {frame['is_open'].dtype}: "
            "pass a column of True and False, or of 1 and 0"
        )


def covariate_names(demand: pd.DataFrame) -> list[str]:
    """Return the columns of `demand` that are numeric or boolean and not part of the vocabulary."""
    return [
        str(column)
        for column in demand.columns
        if column not in RESERVED
        and (pd.api.types.is_numeric_dtype(demand[column]) or pd.api.types.is_bool_dtype(demand[column]))
    ]


def _key_codes(frame: pd.DataFrame, keys: pd.DataFrame | None) -> tuple[Integers, pd.DataFrame]:
    """Return the series number of each row (-1 = not in `keys`) and the sorted keys."""
    sku_codes, skus = pd.factorize(frame["sku"], sort=True)
    location_codes, locations = pd.factorize(frame["location_id"], sort=True)
    pair = sku_codes.astype(np.int64) * len(locations) + location_codes
    present, inverse = np.unique(pair, return_inverse=True)
    found = pd.DataFrame(
        {"sku": skus[present // max(len(locations), 1)], "location_id": locations[present % max(len(locations), 1)]}
    )
    if keys is None:
        return inverse.astype(np.int64), found
    position = pd.MultiIndex.from_frame(keys[KEYS]).get_indexer(pd.MultiIndex.from_frame(found))
    return np.asarray(position, dtype=np.int64)[inverse], keys


def _check_kinds(demand: pd.DataFrame, items: pd.DataFrame) -> None:
    for key in KEYS:
        kinds = [pd.api.types.is_numeric_dtype(frame[key]) for frame in (demand, items)]
        if kinds[0] != kinds[1] and len(demand):
            known, given = ("numbers" if kind else "texts" for kind in kinds)
            raise ValueError(
                f"demand.{key} holds {known} ({demand[key].iloc[0]!r}), items.{key} {given} ({items[key].iloc[0]!r}): "
                "no item would be found; give both the same type"
            )


def build_panel(
    demand: pd.DataFrame,
    frequency: Frequency,
    *,
    covariates: Sequence[str] | None = None,
    future: pd.DataFrame | None = None,
    ahead: int = 0,
    extra_keys: pd.DataFrame | None = None,
) -> Panel:
    """Lay a demand frame out on one grid of periods.

    Args:
        demand: sku, location_id, period_start, demand_units [, is_in_stock] [, numeric covariates]. A period without a
            row is not observed. A covariate `is_open` that is False makes the period closed: zero demand by calendar.
        frequency: period length.
        covariates: names to keep; None keeps every numeric column.
        future: sku, location_id, period_start and covariates of the periods that follow; a key that it alone names
            gets a row as well: it is planned before anything was sold.
        ahead: periods of known future to lay out.
        extra_keys: sku and location_id that need a row although they have no demand.

    Raises:
        ValueError: for what `check_demand` refuses, duplicate keys, misaligned periods, text covariates.
    """
    check_demand(demand)
    _check_calendar(demand, "demand")
    names = covariate_names(demand) if covariates is None else list(covariates)
    ordinals = frequency.ordinals(demand["period_start"])
    codes, keys = _key_codes(demand, None)
    extra = [] if extra_keys is None or extra_keys.empty else [extra_keys[KEYS]]
    for given in extra:
        _check_kinds(demand, given)
    if ahead and future is not None and len(future):
        extra.append(_planned_keys(future, keys))
    if any(len(given) for given in extra):
        types = {key: keys[key].dtype for key in KEYS} if len(keys) else {}
        both = pd.concat([keys, *(given.astype(types) for given in extra)])
        both = both.drop_duplicates().sort_values(KEYS, kind="stable").reset_index(drop=True)
        codes = np.asarray(pd.MultiIndex.from_frame(both).get_indexer(pd.MultiIndex.from_frame(keys)))[codes]
        keys = both
    if not len(ordinals):
        raise ValueError("demand has no rows: give at least one observed period, so that the calendar has an end")
    first, last = int(ordinals.min()), int(ordinals.max())
    length = last - first + 1
    if length > MOST_YEARS * frequency.year:
        rows = [int(np.argmin(ordinals)), int(np.argmax(ordinals))]
        ends = [f"{demand['period_start'].iloc[row]} (row {row})" for row in rows]
        raise ValueError(
            f"demand runs from {ends[0]} to {ends[1]}, more than {MOST_YEARS} years: correct the wrong date, or leave "
            "out what is so old"
        )
    cells = codes * length + (ordinals - first)
    shape = (len(keys), length)
    seen = np.zeros(shape[0] * shape[1], dtype=bool)
    seen[cells] = True
    if int(seen.sum()) != len(cells):
        order = np.argsort(cells, kind="stable")
        row = int(order[1:][np.diff(cells[order]) == 0][0])
        raise ValueError(
            f"demand has sku {demand['sku'].iloc[row]!r}, location {demand['location_id'].iloc[row]!r}, period "
            f"{demand['period_start'].iloc[row]} twice (again in row {row}): add the rows up or drop one"
        )
    seen = seen.reshape(shape)
    units = np.full(shape, np.nan, dtype=np.float32)
    units.reshape(-1)[cells] = _numbers(demand["demand_units"], "demand.demand_units")
    bound = np.zeros(shape, dtype=bool)
    if "is_in_stock" in demand.columns:
        bound.reshape(-1)[cells] = ~_stock_flags(demand["is_in_stock"])
    wide = (len(keys), length + ahead)
    values: dict[str, Floats] = {}
    for name in names:
        matrix = np.full(wide, np.nan, dtype=np.float32)
        if name in demand.columns:
            matrix[codes, ordinals - first] = _covariate(demand[name], f"demand.{name}")
        values[name] = matrix
    if ahead:
        if future is not None and len(future):
            _lay_out_future(values, future, keys, frequency, first, length, ahead)
        for name in names:
            fill_ahead(values[name], length, frequency.season)
    closed = np.zeros(wide, dtype=bool)
    if "is_open" in values:
        closed = values.pop("is_open") == 0
    units[closed[:, :length]] = np.nan
    last_row = np.where(seen.any(axis=1), length - 1 - seen[:, ::-1].argmax(axis=1), -1)
    return Panel(keys, frequency, first, units, bound & np.isfinite(units), closed, values, ahead, last_row)


def _planned_keys(future: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return the keys that `future` alone names: items planned before anything was sold.

    None where it names no key of `keys` at all: that is a mistake, which is told when it is laid out.
    """
    check_frame(future, "future")
    missing = [column for column in (*KEYS, "period_start") if column not in future.columns]
    if missing:
        raise ValueError(f"future lacks the columns {missing}: it has {list(future.columns)}")
    _, named = _key_codes(future, None)
    known = pd.MultiIndex.from_frame(named).isin(pd.MultiIndex.from_frame(keys))
    return named[~known] if known.any() else named[:0]


def _lay_out_future(
    values: Mapping[str, Floats],
    future: pd.DataFrame,
    keys: pd.DataFrame,
    frequency: Frequency,
    first: int,
    length: int,
    ahead: int,
) -> None:
    columns = frequency.ordinals(future["period_start"]) - first
    rows, _ = _key_codes(future, keys)
    use = (rows >= 0) & (columns >= length) & (columns < length + ahead)
    if not use.any():
        coming = frequency.periods(np.array([first + length, first + length + ahead - 1])).strftime("%Y-%m-%d")
        raise ValueError(
            f"future has no row of a known series between {coming[0]} and {coming[1]}; its first row is sku "
            f"{future['sku'].iloc[0]!r}, location {future['location_id'].iloc[0]!r}, "
            f"{future['period_start'].iloc[0]}: give the periods after the last one of history, with its keys"
        )
    _check_calendar(future, "future")
    cells = rows[use] * ahead + columns[use] - length
    if len(np.unique(cells)) != len(cells):
        order = np.argsort(cells, kind="stable")
        row = int(np.flatnonzero(use)[order[1:][np.diff(cells[order]) == 0][0]])
        raise ValueError(
            f"future has sku {future['sku'].iloc[row]!r}, location {future['location_id'].iloc[row]!r}, period "
            f"{future['period_start'].iloc[row]} twice: drop one"
        )
    for name, matrix in values.items():
        if name in future.columns:
            matrix[rows[use], columns[use]] = _covariate(future[name], f"future.{name}")[use]


def fill_ahead(matrix: Floats, length: int, season: int) -> None:
    """Fill what is unknown ahead: a flag repeats the last season it was known for, a number carries its last value."""
    ahead = matrix.shape[1] - length
    unknown = np.isnan(matrix[:, length:])
    if not unknown.any():
        return
    known = matrix[:, :length]
    finite = known[np.isfinite(known)]
    flag = bool(((finite == 0.0) | (finite == 1.0)).all())
    back = min(length, 8 * season)
    for step in range(ahead):
        rows = np.flatnonzero(unknown[:, step])
        if not len(rows):
            continue
        if flag:
            # The usual value of the same day of the season: a shop closed on Saturdays stays closed on Saturdays.
            phase = np.arange(length - back, length)
            phase = phase[(length + step - phase) % season == 0]
            recent = known[rows][:, phase]
            count = np.isfinite(recent).sum(axis=1)
            usual = np.nansum(recent, axis=1) / np.maximum(count, 1)
            matrix[rows, length + step] = np.where(count > 0, (usual > 0.5).astype(np.float32), np.nan)
        else:
            matrix[rows, length + step] = matrix[rows, length + step - 1]


def repeat_unknown(panel: Panel, demand: Floats, known: Flags) -> tuple[Floats, Flags]:
    """Return demand and known cells; periods in which nothing of a location was observed repeat those before.

    A feed that stops leaves such periods, and features of which a model has seen too few: the last whole seasons before
    them stand for them. A gap within a history is filled from three periods on; where it ends the history, always. A
    series without later rows has ended, and stays so.

    Args:
        panel: the series.
        demand: units [series, periods].
        known: cells that say something [series, periods].
    """
    seen = np.isfinite(panel.demand) | panel.closed[:, : panel.length]
    codes, locations = pd.factorize(panel.keys["location_id"])
    season, filled = panel.frequency.season, False
    for code in range(len(locations)):
        rows = np.flatnonzero(codes == code)
        last = int(panel.last_row[rows].max(initial=-1))
        observed = np.append(np.flatnonzero(seen[rows].any(axis=0)), last + 1)
        for place in np.flatnonzero(np.diff(observed) > 1):
            before, after = observed[place], observed[place + 1]
            lost = np.arange(before + 1, after)
            if after <= last and len(lost) < LEAST_GAP:
                continue
            if not filled:
                demand, known, filled = demand.copy(), known.copy(), True
            source = lost - -(-len(lost) // season) * season
            lost, source = lost[source >= 0], source[source >= 0]
            alive = rows[panel.last_row[rows] >= before + 1]
            demand[np.ix_(alive, lost)] = demand[np.ix_(alive, source)]
            known[np.ix_(alive, lost)] = known[np.ix_(alive, source)]
    return demand, known


def check_items(items: pd.DataFrame) -> None:
    """Refuse an items frame without keys or with a key twice.

    Raises:
        ValueError: naming the key.
    """
    check_frame(items, "items")
    missing = [column for column in KEYS if column not in items.columns]
    if missing:
        raise ValueError(f"items lacks the columns {missing}: it has {list(items.columns)}")
    twice = items.duplicated(KEYS)
    if twice.any():
        row = items[twice].iloc[0]
        raise ValueError(
            f"items has sku {row['sku']!r}, location {row['location_id']!r} twice: keep one row per sku and location"
        )
