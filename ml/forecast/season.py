"""What last year says of the coming periods: a second opinion on the total, and series that wake once a year.

Here: the factors by date, the trust in them, the floor of series asleep until their season, the words for both. Not
here: features of the year, the boosters, the distribution.

A total repeats its year far better than a series does, and a booster that has seen one year cannot know it. So the
forecast total is held against last year's same periods, once per training, and one factor per date moves every mean.
The factor depends on dates alone: a forecast never depends on what else is in the frame.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast.features import History
from ml.panel import Frequency, fill_ahead
from ml.schema import Doubles, Flags, Integers


@dataclasses.dataclass(frozen=True)
class Spans:
    """Spans of a frequency, in periods.

    Attributes:
        levels: windows of the level before an origin, this year and last.
        fewest: periods of last year's level that are worth half the trust.
        enough: periods of last year's level that are worth the whole of it.
        half: periods on either side of a date that stand for it in totals.
        step: from one origin to the next when the trust is learnt.
        spare: periods after the horizon that get a factor, for histories newer than the training.
        near: periods on either side of a date whose mean is the level of a series that wakes.
        wide: periods on either side of a date in which it must have sold.
        sold: in so many of them at least.
    """

    levels: tuple[int, ...]
    fewest: int
    enough: int
    half: int
    step: int
    spare: int
    near: int
    wide: int
    sold: int


_SPANS = {
    "D": Spans((28, 56, 84), 7, 14, 7, 7, 14, near=3, wide=14, sold=5),
    "W": Spans((4, 8, 13), 1, 2, 1, 1, 2, near=0, wide=2, sold=2),
    "M": Spans((1, 2, 3), 1, 1, 0, 1, 1, near=0, wide=0, sold=1),
}
_YEARS = {"D": (350, 380), "W": (50, 54), "M": (12, 12)}

# A contradiction below the threshold is noise. With one year seen nothing tells a season from a year's accidents but
# that it is larger than twice what totals change anyway.
ONE_YEAR_THRESHOLD, ORDINARY_CHANGES, TWO_YEARS_THRESHOLD = 0.2, 2.0, 0.05
MOST_LOG_FACTOR = 1.5
# A series wakes if it sold this much in last year's season, was asleep before it and is asleep now: less than a tenth
# of the season's level; and the season is more than twice its usual level.
FEWEST_UNITS, ASLEEP, USUAL = 20.0, 0.1, 2.0


def spans_of(frequency: Frequency) -> Spans | None:
    """Return the spans of a frequency; None where its long season is no year."""
    kind = frequency.name[0]
    shortest, longest = _YEARS[kind]
    return _SPANS[kind] if shortest <= frequency.year <= longest else None


@dataclasses.dataclass(frozen=True)
class Season:
    """The second opinion of one training.

    Attributes:
        first: ordinal of the first period after the training data.
        factors: what every mean is multiplied by, from that period on; none = last year is silent.
        contradictions: what last year says of the total against the forecast, as a share: -0.38 = 38 % less.
        trust: share of it (of its logarithm) that is believed, 0 ... 1.
        years: years behind the trust: 1 = a prior, 2 = learnt from how last year repeated the one before; 0 = silent.
        level_periods: periods of last year's level that were compared with this year's.
        woken_once: series forecast at half of the one season that was seen of them.
        woken: series forecast at the smaller of two seasons.
    """

    first: int = 0
    factors: tuple[float, ...] = ()
    contradictions: tuple[float, ...] = ()
    trust: float = 0.0
    years: int = 0
    level_periods: int = 0
    woken_once: int = 0
    woken: int = 0

    def at(self, origins: Integers, targets: Integers, level_window: int) -> Doubles:
        """Return the factor of each target seen from its origin.

        From a later origin than that of the training, the recent level has already taken in the factors of the
        periods that have passed; their mean over the level's window is divided out.

        Args:
            origins: ordinals of the last period seen [rows].
            targets: ordinals of the periods forecast [rows].
            level_window: periods of the recent level.
        """
        if not self.factors:
            return np.ones(len(targets))
        factors = np.asarray(self.factors)
        place = targets - self.first
        inside = (place >= 0) & (place < len(factors))
        result = np.where(inside, factors[np.clip(place, 0, len(factors) - 1)], 1.0)
        passed = np.concatenate([[0.0], np.cumsum(factors - 1.0)])
        end = np.clip(origins - self.first + 1, 0, len(factors))
        start = np.clip(origins - self.first + 1 - level_window, 0, len(factors))
        taken_in = 1.0 + (passed[end] - passed[start]) / level_window
        return np.asarray(np.where(inside, result / taken_in, 1.0))

    def frame(self, frequency: Frequency, seen: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return what last year does to every mean, a row per period after the last one seen.

        Args:
            frequency: of the periods.
            seen: start of the last period seen; None = the end of the training data.

        Returns:
            period_start, factor (as `at`), last_year_says (share, -0.38 = 38 % less), trust, text (empty where the
            factor is 1).
        """
        origin = self.first - 1 if seen is None else int(frequency.ordinals(pd.Series([seen]))[0])
        targets = self.first + np.arange(len(self.factors))
        coming_ones = targets > origin
        factors = self.at(np.full(len(targets), origin), targets, frequency.level_window)[coming_ones]
        said = np.asarray(self.contradictions, dtype=np.float64)[coming_ones]
        texts = [
            "" if factor == 1.0 else f"last year says {share:+.0%}, trust {self.trust:.2f}: all demand x {factor:.2f}"
            for factor, share in zip(factors, said, strict=True)
        ]
        return pd.DataFrame(
            {
                "period_start": frequency.periods(targets[coming_ones]),
                "factor": factors,
                "last_year_says": said,
                "trust": np.full(len(said), self.trust),
                "text": pd.array(texts, dtype="string"),
            }
        )

    def note(self, frequency: Frequency) -> str:
        """Return in words what last year says of the forecast total, how far it is believed, and who wakes."""
        return " ".join([self._total_note(frequency), *self._woken_notes()])

    def _total_note(self, frequency: Frequency) -> str:
        if not self.years:
            return "Last year has no effect on the total: the history is shorter than a year and a week."
        unit = {"D": "days", "W": "weeks", "M": "months"}[frequency.name[0]]
        source = (
            f"trust {self.trust:.2f}, as last year repeated the year before"
            if self.years > 1
            else f"trust {self.trust:.2f}, a prior: one year was seen, {self.level_periods} {unit} of its level"
        )
        factors = np.asarray(self.factors)
        if (factors == 1.0).all():
            return f"Last year's same weeks do not contradict the forecast total ({source})."
        strongest = int(np.argmax(np.abs(np.log(factors))))
        moved = np.flatnonzero(factors != 1.0)
        first, last, peak = (
            f"{day:%Y-%m-%d}" for day in frequency.periods(self.first + np.array([moved[0], moved[-1], strongest]))
        )
        return (
            f"Last year says {self.contradictions[strongest]:+.0%} to the total around {peak} ({source}): means are "
            f"multiplied by {factors[moved].min():.2f} to {factors[moved].max():.2f} between {first} and {last}."
        )

    def _woken_notes(self) -> list[str]:
        notes = []
        if self.woken:
            notes.append(f"{self.woken} items asleep until their season are forecast at the smaller of two seasons.")
        if self.woken_once:
            notes.append(
                f"{self.woken_once} items asleep until their season are forecast at half of the only season seen."
            )
        return notes


def coming(history: History, ahead: int) -> History:
    """Return the history with its covariates carried `ahead` periods on: flags as a year before, numbers as they are.

    The forecast total is compared with last year's, so both must hold the same promotions, events and closed days.
    """
    panel, year = history.panel, history.panel.frequency.year
    length = panel.length
    past = np.clip(length - year + np.arange(ahead) % year, 0, length - 1)
    covariates = {}
    for name, values in panel.covariates.items():
        wide = np.full((panel.series, length + ahead), np.nan, dtype=np.float32)
        wide[:, :length] = values[:, :length]
        finite = values[np.isfinite(values)]
        if length >= year and ((finite == 0.0) | (finite == 1.0)).all():
            wide[:, length:] = values[:, past]
        fill_ahead(wide, length, panel.frequency.season)
        covariates[name] = wide
    closed = np.hstack([panel.closed[:, :length], panel.closed[:, past] & (length >= year)])
    result = copy.copy(history)
    result.panel = dataclasses.replace(panel, covariates=covariates, closed=closed, ahead=ahead)
    return result


def second_opinion(history: History, forecast: Doubles, wakes: Integers, prior_trust: float) -> Season:
    """Hold the forecast total against last year's same periods.

    Args:
        history: what the forecaster learnt from.
        forecast: means of the periods after it, units [series, periods].
        wakes: seasons seen of each series that wakes within them, 0 = it does not; their rise is told by the floor,
            so they are in neither total [series].
        prior_trust: trust where one year was seen, 0 ... 1.

    Returns:
        Factors and what they rest on; without factors where the history is too short.
    """
    panel = history.panel
    spans, length, year = spans_of(panel.frequency), panel.length, panel.frequency.year
    silent = Season(first=panel.first + length, woken_once=int((wakes == 1).sum()), woken=int((wakes > 1).sum()))
    if spans is None or length < year + spans.fewest:
        return silent
    totals, starts, coming_totals = _by_location(history, forecast, wakes == 0)
    reach = min(coming_totals.shape[1], year)
    level_periods = min(max(spans.levels), length - year)
    found = [
        _contradiction(totals, starts, length - 1, coming_totals[:, :reach], year, window, spans)
        for window in spans.levels
    ]
    if any(one is None for one in found):
        return silent
    logs = least_contradiction(np.stack([one for one in found if one is not None]))
    years = 2 if length >= 2 * year + spans.levels[0] else 1
    if years > 1:
        trust, threshold = repeated_share(totals, starts, year, reach, spans), TWO_YEARS_THRESHOLD
    else:
        trust = prior_trust * (1.0 if level_periods >= spans.enough else 0.5)
        threshold = max(ONE_YEAR_THRESHOLD, ORDINARY_CHANGES * ordinary_change(totals.sum(axis=0), reach, spans))
    moved = np.clip(trust * garrote(logs, threshold), -MOST_LOG_FACTOR, MOST_LOG_FACTOR)
    return dataclasses.replace(
        silent,
        factors=tuple(np.exp(moved).round(6).tolist()),
        contradictions=tuple(np.expm1(logs).round(4).tolist()),
        trust=round(trust, 4),
        years=years,
        level_periods=level_periods,
    )


def least_contradiction(logs: Doubles) -> Doubles:
    """Return the smallest of several contradictions where all have one sign, else 0 [periods]; logs [ways, periods]."""
    agree = (logs > 0).all(axis=0) | (logs < 0).all(axis=0)
    return np.where(agree, np.sign(logs[0]) * np.abs(logs).min(axis=0), 0.0)


def garrote(logs: Doubles, threshold: float) -> Doubles:
    """Return x (1 - t² / x²) beyond the threshold t, 0 within it (Breiman 1995, Technometrics 37, p. 373)."""
    beyond = np.abs(logs) > threshold
    return np.where(beyond, logs - threshold**2 / np.where(beyond, logs, 1.0), 0.0)


def ordinary_change(total: Doubles, reach: int, spans: Spans) -> float:
    """Return the median absolute log change from a total's level to its coming periods; a peak is too rare to move it.

    Args:
        total: units per period.
        reach: periods ahead that are compared.
        spans: of the frequency.
    """
    changes = []
    for window in spans.levels:
        for origin in range(window - 1, len(total) - 1 - reach, spans.step):
            level = float(total[origin + 1 - window : origin + 1].mean())
            ahead = _smooth(total[origin + 1 : origin + 1 + reach], spans.half)
            changes.append(np.abs(_log_ratio(ahead, np.full(reach, level))))
    return float(np.median(np.concatenate(changes))) if changes else 0.0


def repeated_share(totals: Doubles, starts: Integers, year: int, reach: int, spans: Spans) -> float:
    """Return how much of the year before's changes last year's repeated, 0 ... 1: a slope of log changes.

    Args:
        totals: units per location and period.
        starts: first period of each location.
        year: periods of a year.
        reach: periods ahead that are compared.
        spans: of the frequency.
    """
    length, window = totals.shape[1], spans.levels[0]
    before, after = [], []
    for origin in range(max(length - 1 - year, year + window - 1), length - 1, spans.step):
        known = min(reach, length - 1 - origin)
        actual = totals[:, origin + 1 : origin + 1 + known]
        log = _contradiction(totals, starts, origin, actual, year, window, spans)
        if log is None:
            continue
        inside = starts <= origin - year - window + 1
        level = totals[inside, origin + 1 - window : origin + 1].sum() / window
        change = _log_ratio(_smooth(actual[inside].sum(axis=0), spans.half), np.full(known, level))
        after.append(change)
        # log (level R / actual) = log R - log (actual / level)
        before.append(log + change)
    if not before:
        return 0.0
    x, y = np.concatenate(before), np.concatenate(after)
    x, y = x - x.mean(), y - y.mean()
    spread = float((x**2).sum())
    return float(np.clip((x * y).sum() / spread, 0.0, 1.0)) if spread > 0 else 0.0


def _contradiction(
    totals: Doubles, starts: Integers, origin: int, forecast: Doubles, year: int, window: int, spans: Spans
) -> Doubles | None:
    """Return log (recent level x last year's ratio / forecast) per coming period; None = there is nothing to compare.

    Locations that had not been open for the whole of last year's level would pass for a season: they are left out.
    """
    last = origin - year
    width = min(window, last + 1)
    inside = starts <= last - width + 1
    if width < spans.fewest or not inside.any():
        return None
    level, before = (totals[inside, end + 1 - width : end + 1].sum() / width for end in (origin, last))
    if level <= 0 or before <= 0:
        return None
    around = _smooth(totals[inside, last + 1 : last + 1 + forecast.shape[1]].sum(axis=0), spans.half)
    return _log_ratio(level * around / before, _smooth(forecast[inside].sum(axis=0), spans.half))


def _log_ratio(above: Doubles, below: Doubles) -> Doubles:
    known = (above > 0) & (below > 0)
    return np.where(known, np.log(np.where(known, above, 1.0) / np.where(known, below, 1.0)), 0.0)


def _smooth(values: Doubles, half: int) -> Doubles:
    """Return means of up to `half` periods on either side; both sides of a ratio are cut alike at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    high, low = np.minimum(place + half + 1, len(values)), np.maximum(place - half, 0)
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _by_location(history: History, forecast: Doubles, kept: Flags) -> tuple[Doubles, Integers, Doubles]:
    """Return units [locations, periods], the first period of each location, and the forecast [locations, ahead].

    A period that was not observed counts as the recent level of its series: a stock-out is no season.
    """
    panel = history.panel
    codes, locations = pd.factorize(panel.keys["location_id"])
    totals = np.zeros((len(locations), panel.length))
    coming_totals = np.zeros((len(locations), forecast.shape[1]))
    starts = np.full(len(locations), panel.length, dtype=np.int64)
    np.minimum.at(starts, codes, history.first_seen.astype(np.int64))
    columns = np.arange(panel.length)
    window = panel.frequency.level_window
    for part in np.array_split(np.flatnonzero(kept), max(1, int(kept.sum()) // 1000)):
        rows, ends = np.repeat(part, panel.length), np.tile(columns, len(part))
        level = np.nan_to_num(history.mean(rows, ends, window)).reshape(len(part), -1)
        alive = columns[None, :] <= panel.last_row[part, None]
        unseen = ~history.observed[part] & alive & ~panel.closed[part, : panel.length]
        np.add.at(totals, codes[part], np.where(unseen, level, history.values[part]))
        np.add.at(coming_totals, codes[part], forecast[part])
    return totals, starts, coming_totals


def waking(history: History, rows: Integers, origins: Integers, ahead: Integers) -> tuple[Doubles, Integers]:
    """Return the floor of the mean of series that are asleep now, and woke at this time of the year before.

    A season that starts from nothing is in no level and in no ratio. Where two years were seen, the floor is their
    mean at the size of the smaller; where one was, it is half of that: an item sold in one season may not come back.

    Args:
        history: prefix sums.
        rows: series numbers [pairs].
        origins: last column that may be seen [pairs].
        ahead: periods ahead [pairs, horizons].

    Returns:
        units a period, 0 = does not wake; and the seasons seen, 0 ... 2 [pairs * horizons].
    """
    f = history.panel.frequency
    spans = spans_of(f)
    size = ahead.size
    if spans is None or history.panel.length <= f.year:
        return np.zeros(size), np.zeros(size, dtype=np.int64)
    steps = ahead.shape[1]
    row, origin, step = np.repeat(rows, steps), np.repeat(origins, steps), ahead.reshape(-1)
    usual = np.repeat(history.mean(rows, origins, f.year), steps)
    now = np.repeat(history.mean(rows, origins, f.level_window), steps)
    back = f.year * (-(-step // f.year))
    asleep, woke, units, level = [], [], [], []
    for years in (0, 1):
        shift = back + years * f.year
        width = 2 * spans.wide + 1
        last = np.minimum(origin + step - shift + spans.wide, origin)
        total = history.window(history.total, row, last, width)
        season = total / width
        sold = history.window(history.sold, row, last, width)
        before = history.mean(row, origin - shift, f.level_window)
        known = history.window(history.count, row, origin - shift, f.level_window) >= f.level_window // 2
        woke.append(
            known
            & (total >= FEWEST_UNITS)
            & (sold >= spans.sold)
            & (before <= ASLEEP * season)
            & (now <= ASLEEP * season)
            & (season > USUAL * usual)
        )
        asleep.append(known)
        units.append(total)
        around = np.minimum(origin + step - shift + spans.near, origin)
        level.append(np.nan_to_num(history.mean(row, around, 2 * spans.near + 1)))
    twice = woke[0] & woke[1]
    once = woke[0] & ~asleep[1]
    both = np.maximum(units[0] + units[1], 1e-9)
    smaller = (level[0] + level[1]) * np.minimum(units[0], units[1]) / both
    floor = np.where(twice, smaller, np.where(once, 0.5 * level[0], 0.0))
    return floor, np.where(floor > 0, np.where(twice, 2, 1), 0)


def season_from(document: dict[str, Any] | None) -> Season | None:
    """Return what `dataclasses.asdict` made of a season; None for a forecaster saved without one."""
    if document is None:
        return None
    lists = {name: tuple(document[name]) for name in ("factors", "contradictions")}
    return Season(**{**document, **lists})
