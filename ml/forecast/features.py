"""Scale-free features of (series, origin, horizon) rows, from prefix sums over a panel.

Here: the sums, which features a model uses and how they are built, the static attributes of a series. Not here: the
panel itself (`ml.panel`), models.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.panel import Frequency, Panel, check_items
from ml.schema import KEYS, Doubles, Flags, Floats, Integers


class History:
    """Prefix sums over a panel, from which every trailing statistic is two look-ups.

    Prefix position j holds the sum of columns 0 ... j - 1, so the window of w periods that ends with column t is
    prefix[t + 1] - prefix[t + 1 - w]. No look-up at an origin t ever reaches a column after t.
    """

    def __init__(self, panel: Panel, usable: Flags | None = None) -> None:
        """Build the sums.

        Args:
            panel: the demand.
            usable: cells whose demand may enter a statistic [series, periods]; None takes all observed ones.
        """
        self.panel = panel
        observed = np.isfinite(panel.demand) if usable is None else np.isfinite(panel.demand) & usable
        self.observed = observed
        self.values = np.where(observed, panel.demand, np.float32(0.0))
        self.width = panel.length + 1
        self.total = self._prefix(self.values.astype(np.float64))
        self.square = self._prefix(self.values.astype(np.float64) ** 2)
        self.count = self._prefix(observed.astype(np.int32))
        self.sold = self._prefix((self.values > 0).astype(np.int32))
        columns = np.arange(panel.length, dtype=np.int32)
        self.last_sale = np.maximum.accumulate(np.where(self.values > 0, columns, -1), axis=1).astype(np.int32)
        self.first_seen = np.where(observed.any(axis=1), observed.argmax(axis=1), panel.length).astype(np.int32)
        season = panel.frequency.season
        if season > 1:
            self.phase_total = self._phase_prefix(self.values.astype(np.float64), season)
            self.phase_count = self._phase_prefix(observed.astype(np.int32), season)

    @staticmethod
    def _prefix(matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        result = np.zeros((matrix.shape[0], matrix.shape[1] + 1), dtype=matrix.dtype)
        np.cumsum(matrix, axis=1, out=result[:, 1:])
        return result

    @staticmethod
    def _phase_prefix(matrix: npt.NDArray[np.generic], season: int) -> npt.NDArray[np.float64]:
        """Return sums over columns c, c - season, c - 2 season ..., shifted right by `season` zero columns."""
        rows, length = matrix.shape
        cycles = -(-length // season)
        padded = np.zeros((rows, cycles * season), dtype=matrix.dtype)
        padded[:, :length] = matrix
        summed = np.cumsum(padded.reshape(rows, cycles, season), axis=1).reshape(rows, -1)
        result = np.zeros((rows, length + season), dtype=matrix.dtype)
        result[:, season:] = summed[:, :length]
        return result

    def window(self, sums: npt.NDArray[np.float64], rows: Integers, ends: Integers, width: int) -> Doubles:
        """Return the sums of `width` columns that end with column `ends` (clipped to the grid)."""
        high = np.clip(ends + 1, 0, self.width - 1)
        low = np.clip(ends + 1 - width, 0, self.width - 1)
        return np.asarray(sums[rows, high] - sums[rows, low], dtype=np.float64)

    def mean(self, rows: Integers, ends: Integers, width: int) -> Doubles:
        """Return mean observed demand in a window, NaN where nothing was observed."""
        count = self.window(self.count, rows, ends, width)
        total = self.window(self.total, rows, ends, width)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def phase(self, rows: Integers, columns: Integers, cycles: int) -> tuple[Doubles, Doubles]:
        """Return sum and count of `cycles` observations one season apart, the last at `columns`."""
        season = self.panel.frequency.season
        limit = self.phase_total.shape[1] - 1
        high = np.clip(columns + season, 0, limit)
        low = columns + season - cycles * season
        # Left of the grid the sums are zero, and column `low` must keep its phase.
        low_total = np.where(low >= 0, self.phase_total[rows, np.clip(low, 0, limit)], 0.0)
        low_count = np.where(low >= 0, self.phase_count[rows, np.clip(low, 0, limit)], 0)
        valid = columns >= 0
        return (
            np.where(valid, self.phase_total[rows, high] - low_total, 0.0),
            np.where(valid, self.phase_count[rows, high] - low_count, 0),
        )

    def at(self, rows: Integers, columns: Integers) -> Doubles:
        """Return the demand in single cells, NaN where it was not observed or lies outside the grid."""
        inside = (columns >= 0) & (columns < self.panel.length)
        clipped = np.clip(columns, 0, self.panel.length - 1)
        return np.where(inside & self.observed[rows, clipped], self.values[rows, clipped], np.nan)


@dataclasses.dataclass
class FeaturePlan:
    """Which features a model uses: everything needed to build the same columns again.

    Attributes:
        frequency: period length and windows.
        horizon: periods ahead.
        covariates: names of the known-ahead covariates, in order.
        flags: those of them that are only ever 0 or 1.
        rare: those of the flags that are seldom 1, such as holidays: one signed distance stands for each.
        yearly: whether at least two years were seen, so that yearly features mean something.
        statics: names of the static columns, in order.
        codes: static text column -> {value: code}.
        year_floor: share of its yearly mean that is added to both sides of a series' yearly ratios, so that a season
            that starts from nothing has one; 0 = such ratios are unknown.
    """

    frequency: Frequency
    horizon: int
    covariates: list[str]
    flags: list[str]
    rare: list[str]
    yearly: bool
    statics: list[str]
    codes: dict[str, dict[str, int]]
    year_floor: float = 0.0

    def sold_share(self) -> str:
        """Return the feature that says in what share of periods there was demand."""
        return f"sold_{self.frequency.windows[4]}"

    def names(self) -> list[str]:
        """Return the feature names in column order."""
        f = self.frequency
        names = ["horizon"]
        names += [f"mean_{w}" for w in f.windows]
        names += [f"sold_{w}" for w in (f.windows[2], f.windows[4])]
        names += ["size", "variation", "since_sale", "age", "scale"]
        names += [f"lag_{k}" for k in range(f.lags)]
        if f.season > 1:
            names += [f"season_{k}" for k in range(f.cycles)] + ["season_mean_4", "season_mean_13", "season_index"]
            names += ["phase"]
        if f.name == "D":
            names += ["weekday", "day_of_month"]
        if self.yearly:
            names += ["year_level", "year_value", "year_date", "year2_level", "time_of_year"]
        for name in self.covariates:
            if name in self.rare:
                names.append(f"near_{name}")
            elif name in self.flags:
                names += [f"covariate_{name}", f"until_{name}", f"after_{name}", f"effect_{name}"]
            else:
                names += [f"covariate_{name}", f"change_{name}"]
        return names + [f"static_{name}" for name in self.statics]


@dataclasses.dataclass
class Rows:
    """Features of a block of (series, origin) pairs and their horizons.

    Attributes:
        features: float32 [pairs * horizons, features], NaN = unknown.
        scale: units a period that the row's target is divided by, > 0 [pairs * horizons].
        baseline: seasonal level the booster starts from, units a period, > 0 [pairs * horizons].
    """

    features: Floats
    scale: Doubles
    baseline: Doubles


class FeatureBuilder:
    """Builds rows of features from a history."""

    def __init__(self, history: History, plan: FeaturePlan, statics: Floats, prior: Doubles) -> None:
        """Prepare the covariate sums.

        Args:
            history: prefix sums.
            plan: what to build.
            statics: static features [series, statics].
            prior: level expected of a series nothing is known about but its attributes, units a period, > 0 [series].
        """
        self.history = history
        self.plan = plan
        self.statics = statics
        self.prior = prior
        panel = history.panel
        length = panel.length
        self._until: dict[str, Floats] = {}
        self._after: dict[str, Floats] = {}
        self._flag_total: dict[str, Doubles] = {}
        self._flag_count: dict[str, Doubles] = {}
        self._level_total: dict[str, Doubles] = {}
        self._level_count: dict[str, Doubles] = {}
        for name in plan.covariates:
            values = panel.covariates[name]
            if name in plan.flags:
                self._until[name], self._after[name] = _distances(values == 1)
                if name in plan.rare:
                    continue
                on = (values[:, :length] == 1) & history.observed
                self._flag_total[name] = History._prefix(np.where(on, history.values, 0.0).astype(np.float64))
                self._flag_count[name] = History._prefix(on.astype(np.int32))
            else:
                known = np.isfinite(values[:, :length])
                self._level_total[name] = History._prefix(np.where(known, values[:, :length], 0.0).astype(np.float64))
                self._level_count[name] = History._prefix(known.astype(np.int32))

    def build(self, rows: Integers, origins: Integers, horizons: Integers, cold: Flags | None = None) -> Rows:
        """Return the features of every (row, origin) pair at each of its horizons.

        Args:
            rows: series numbers [pairs].
            origins: column of the last period that may be seen [pairs]; -1 = nothing.
            horizons: periods ahead, >= 1 [pairs, horizons].
            cold: pairs to be built as if the series were brand new [pairs].
        """
        plan, f, history = self.plan, self.plan.frequency, self.history
        steps = horizons.shape[1]
        prior = self.prior[rows]
        seen_total = history.total[rows, np.clip(origins + 1, 0, history.width - 1)]
        seen_count = history.count[rows, np.clip(origins + 1, 0, history.width - 1)].astype(np.float64)
        recent_total = history.window(history.total, rows, origins, f.level_window)
        recent_count = history.window(history.count, rows, origins, f.level_window)
        if cold is not None:
            for known in (seen_total, seen_count, recent_total, recent_count):
                known[cold] = 0.0
        # Two shrinkages: the recent level towards the long one, the long one towards items that look alike.
        strength = 2.0 if f.season == 1 else 0.5 * f.season
        long_level = (seen_total + strength * prior) / (seen_count + strength)
        scale = np.maximum((recent_total + strength * long_level) / (recent_count + strength), 1e-4)
        origin_columns = self._origin_features(rows, origins, scale)
        pair = np.repeat(np.arange(len(rows)), steps)
        row_of, origin_of, scale_of = rows[pair], origins[pair], scale[pair]
        ahead = horizons.reshape(-1).astype(np.int64)
        target = origin_of + ahead
        columns: list[npt.NDArray[np.floating]] = [ahead.astype(np.float32)]
        columns += [column[pair] for column in origin_columns]
        baseline = scale_of.copy()
        if f.season > 1:
            latest = target - f.season * (-(-ahead // f.season))
            for k in range(f.cycles):
                columns.append(history.at(row_of, latest - k * f.season) / scale_of)
            for cycles in (4, 13):
                total, count = history.phase(row_of, latest, cycles)
                columns.append(np.where(count > 0, total / np.maximum(count, 1), np.nan) / scale_of)
            cycles = f.level_window // f.season
            total, count = history.phase(row_of, latest, cycles)
            if cold is not None:
                hidden = cold[pair]
                total, count = np.where(hidden, 0.0, total), np.where(hidden, 0, count)
            baseline = (total + 2.0 * scale_of) / (count + 2.0)
            columns.append(baseline / scale_of)
            columns.append(((target + history.panel.first) % f.season).astype(np.float32))
        if f.name == "D":
            dates = (target + history.panel.first).astype("datetime64[D]")
            columns.append(((dates.astype(np.int64) + 3) % 7).astype(np.float32))
            columns.append((dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.float32) + 1)
        if plan.yearly:
            columns += self._yearly_features(row_of, origin_of, target, ahead, scale_of)
        first_covariate = len(columns)
        columns += self._covariate_features(row_of, origin_of, target)
        if cold is not None:
            hidden = cold[pair]
            kept = {"horizon", "phase", "weekday", "day_of_month", "time_of_year"}
            for place, name in enumerate(plan.names()[:first_covariate]):
                if name not in kept:
                    columns[place] = np.where(hidden, np.nan, columns[place])
        features = np.empty((len(ahead), len(columns) + self.statics.shape[1]), dtype=np.float32)
        for place, column in enumerate(columns):
            features[:, place] = column
        features[:, len(columns) :] = self.statics[row_of]
        return Rows(features, scale_of, baseline)

    def _origin_features(self, rows: Integers, origins: Integers, scale: Doubles) -> list[npt.NDArray[np.floating]]:
        f, history = self.plan.frequency, self.history
        columns: list[npt.NDArray[np.floating]] = [history.mean(rows, origins, w) / scale for w in f.windows]
        for width in (f.windows[2], f.windows[4]):
            count = history.window(history.count, rows, origins, width)
            sold = history.window(history.sold, rows, origins, width)
            columns.append(np.where(count > 0, sold / np.maximum(count, 1), np.nan))
        width = f.windows[4]
        count = history.window(history.count, rows, origins, width)
        sold = history.window(history.sold, rows, origins, width)
        total = history.window(history.total, rows, origins, width)
        square = history.window(history.square, rows, origins, width)
        mean = total / np.maximum(count, 1)
        variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0.0)
        columns.append(np.where(sold > 0, total / np.maximum(sold, 1), np.nan) / scale)
        columns.append(np.where(total > 0, np.sqrt(variance) / np.maximum(mean, 1e-9), np.nan))
        inside = np.clip(origins, 0, history.panel.length - 1)
        last = history.last_sale[rows, inside]
        columns.append(np.where((last >= 0) & (origins >= 0), origins - last, np.nan))
        columns.append(np.minimum(np.maximum(origins + 1 - history.first_seen[rows], 0), 2 * f.year))
        columns.append(np.log(scale))
        columns += [history.at(rows, origins - k) / scale for k in range(f.lags)]
        return columns

    def _yearly_features(
        self, rows: Integers, origins: Integers, target: Integers, ahead: Integers, scale: Doubles
    ) -> list[npt.NDArray[np.floating]]:
        """Return last year's level around the target against last year's level before the origin, and single days."""
        f, history = self.plan.frequency, self.history
        half = 7 if f.name == "D" else 1
        back = f.year * (-(-ahead // f.year))
        columns: list[npt.NDArray[np.floating]] = []
        floor = self.plan.year_floor * np.nan_to_num(history.mean(rows, origins, f.year))
        for years in (1, 2):
            shift = back + (years - 1) * f.year
            before = history.mean(rows, origins - shift, f.level_window) + floor

            def ratio(units: Doubles, below: Doubles = before) -> Doubles:
                return np.where(below > 0, (units + floor) / np.maximum(below, 1e-9), np.nan)

            end = np.minimum(target - shift + half, origins)
            columns.append(ratio(history.mean(rows, end, 2 * half + 1)))
            if years == 1:
                columns.append(ratio(history.at(rows, target - shift)))
                if f.name == "D":
                    # The same calendar date: fixed holidays move through the week.
                    dates = (target + history.panel.first).astype("datetime64[D]")
                    months = dates.astype("datetime64[M]")
                    past = (months - 12).astype("datetime64[D]") + (dates - months.astype("datetime64[D]"))
                    position = past.astype(np.int64) - history.panel.first
                    position = np.where(position <= origins, position, -1)
                    columns.append(ratio(history.at(rows, position)))
                else:
                    columns.append(history.at(rows, target - shift) / scale)
        stamps = target + history.panel.first
        if f.name == "D":
            dates = stamps.astype("datetime64[D]")
            columns.append((dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float32))
        else:
            columns.append((stamps % f.year).astype(np.float32))
        return columns

    def _covariate_features(
        self, rows: Integers, origins: Integers, target: Integers
    ) -> list[npt.NDArray[np.floating]]:
        f, history = self.plan.frequency, self.history
        columns: list[npt.NDArray[np.floating]] = []
        for name in self.plan.covariates:
            values = history.panel.covariates[name]
            place = np.clip(target, 0, values.shape[1] - 1)
            at_target = np.where(target < values.shape[1], values[rows, place], np.nan)
            if name in self.plan.rare:
                until, after = self._until[name][rows, place], self._after[name][rows, place]
                columns.append(np.where(until <= after, -until, after))
                continue
            columns.append(at_target)
            if name in self.plan.flags:
                columns.append(self._until[name][rows, place])
                columns.append(self._after[name][rows, place])
                width = f.year
                total = history.window(history.total, rows, origins, width)
                count = history.window(history.count, rows, origins, width)
                on_total = history.window(self._flag_total[name], rows, origins, width)
                on_count = history.window(self._flag_count[name], rows, origins, width)
                same_total = np.where(at_target == 1, on_total, total - on_total)
                same_count = np.where(at_target == 1, on_count, count - on_count)
                known = (same_count > 0) & (total > 0)
                ratio = (same_total / np.maximum(same_count, 1)) / np.maximum(total / np.maximum(count, 1), 1e-9)
                columns.append(np.where(known, ratio, np.nan))
            else:
                total = history.window(self._level_total[name], rows, origins, f.level_window)
                count = history.window(self._level_count[name], rows, origins, f.level_window)
                usual = np.where(count > 0, total / np.maximum(count, 1), np.nan)
                columns.append(np.where(np.abs(usual) > 1e-9, at_target / np.where(usual == 0, 1.0, usual), np.nan))
        return columns


def _distances(on: Flags, cap: int = 15) -> tuple[Floats, Floats]:
    """Return periods until the next and since the last True, both capped; 0 on it."""
    length = on.shape[1]
    columns = np.arange(length)
    before = np.maximum.accumulate(np.where(on, columns, -cap - 1), axis=1)
    after = np.minimum.accumulate(np.where(on, columns, length + cap + 1)[:, ::-1], axis=1)[:, ::-1]
    return (
        np.minimum(after - columns, cap).astype(np.float32),
        np.minimum(columns - before, cap).astype(np.float32),
    )


def static_features(
    keys: pd.DataFrame, items: pd.DataFrame | None, codes: dict[str, dict[str, int]] | None = None, *, few: int = 60
) -> tuple[Floats, list[str], dict[str, dict[str, int]]]:
    """Return the static attributes of each series as numbers.

    Text becomes the rank of its value among those seen in training; a value never seen is unknown (NaN), because
    XGBoost refuses new categories. The keys themselves are attributes when they have at most `few` values. Other text
    with more values than that and than a fifth of the series is a name, not an attribute, and is left out.

    Args:
        keys: sku and location_id of each series.
        items: sku, location_id and attributes, or None.
        codes: codes learnt in training; None learns them.
        few: most values a key may have to be used as an attribute.

    Returns:
        float32 [series, columns], the column names, and the codes of the text columns.

    Raises:
        ValueError: if `items` names a key twice or lacks one of its columns.
    """
    table = keys[KEYS].reset_index(drop=True)
    if items is not None:
        check_items(items)
        table = table.merge(items, on=KEYS, how="left", validate="many_to_one")
    learn = codes is None
    learnt: dict[str, dict[str, int]] = {} if codes is None else codes
    columns: list[Floats] = []
    names: list[str] = []
    for name in [str(column) for column in table.columns]:
        column = table[name]
        if name in KEYS or not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
            if pd.api.types.is_datetime64_any_dtype(column):
                continue
            text = column.astype("string")
            if learn:
                values = sorted(text.dropna().unique().tolist())
                most = few if name in KEYS else max(few, len(table) // 5)
                if not 1 < len(values) <= most:
                    continue
                learnt[name] = {value: rank for rank, value in enumerate(values)}
            if name not in learnt:
                continue
            columns.append(
                np.asarray(text.map(learnt[name]).to_numpy(dtype=np.float32, na_value=np.nan), dtype=np.float32)
            )
        else:
            numbers = pd.to_numeric(column).astype("Float64").to_numpy(dtype=np.float32, na_value=np.nan)
            columns.append(np.where(np.isfinite(numbers), numbers, np.float32(np.nan)))
        names.append(name)
    matrix = np.column_stack(columns).astype(np.float32) if columns else np.zeros((len(table), 0), dtype=np.float32)
    return matrix, names, learnt


def nameless(plan: FeaturePlan, statics: Floats, rows: Flags) -> Floats:
    """Return static features without the name of the item in some rows [series, columns]."""
    result = statics.copy()
    if "sku" in plan.statics:
        result[rows, plan.statics.index("sku")] = np.nan
    return result
