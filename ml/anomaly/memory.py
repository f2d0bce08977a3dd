"""What a series remembers from day to day: the usual against which a day is held.

Each memory knows one subject: demand, the size of sales, receipts, stock, silence, prices. Means forget: the newest
value weighs 1/n while history is short, and never less than a share of its own. Values enter a memory clipped, so one
false movement does not become the usual. What is made of a memory does not belong here (`ml.anomaly.features`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Least weight of a day: halves in about 60 open days, and in 7.
_SLOW, _FAST = 0.0115, 0.094


@dataclass(frozen=True)
class Days:
    """Some series as [days, series] grids; a series that has no such day is not present on it.

    Attributes:
        present: whether the series has a row.
        demand: units wanted; receipt: units received; closing: units on record at the end.
        in_stock: whether the record had something to sell; is_open: whether the location sold at all.
        counted: counted less recorded units, NaN on a day without a count.
        price_gap: log of the price charged over the price of the day, NaN = not known.
        day_factor: how much likelier a sale was than usual, by what the whole location sold.
    """

    present: np.ndarray
    demand: np.ndarray
    receipt: np.ndarray
    closing: np.ndarray
    in_stock: np.ndarray
    is_open: np.ndarray
    counted: np.ndarray
    price_gap: np.ndarray
    day_factor: np.ndarray


def remember(days: Days) -> dict[str, np.ndarray]:
    """Carry the memory of each series from day to day.

    Returns:
        float32 [days, series] by name, as known before the day's own movements, except quiet, quiet_step, quiet_days,
        drop_step and negative_run, which include the day. Of demand: history, mean, fast, selling_share, dispersion,
        drop_step. Of the size of sales: size_log, size_spread. Of receipts: receipt_log, receipt_spread, last_receipt,
        receipt_age, pack. Of stock: peak, count_age, negative_run. Of silence: chance, quiet, quiet_days, quiet_step.
        Of prices: usual_price_gap, price_gap_spread.
    """
    span, width = days.present.shape
    out: dict[str, np.ndarray] = {}
    demand, sizes, receipts = _Demand(width), _sale_sizes(width), _Receipts(width)
    stock, silence, price_gaps = _Stock(width), _Silence(width), _price_gaps(width)

    for t in range(span):
        on = days.present[t]
        if not on.any():
            continue
        units = np.maximum(days.demand[t], 0.0)
        sold = on & (units > 0)
        able = on & days.is_open[t] & days.in_stock[t]
        seen = on & days.is_open[t] & (days.in_stock[t] | (units > 0))
        priced = on & np.isfinite(days.price_gap[t])
        # Silence and a drop are judged by what was known in the morning, so each comes before what it is judged by.
        known = {
            **stock.live(on, days.closing[t], np.isfinite(days.counted[t])),
            **silence.live(sold, able, days.closing[t], days.day_factor[t], demand),
            **demand.live(units, sold, seen, sizes_known=sizes.count),
            **receipts.live(on, days.receipt[t]),
        }
        known["size_log"], known["size_spread"] = sizes.live(_log(units), sold, first=_log(units, 1.0))
        gap = np.where(priced, days.price_gap[t], 0.0)
        known["usual_price_gap"], known["price_gap_spread"] = price_gaps.live(gap, priced, first=0.0)
        for name, values in known.items():
            if name not in out:
                out[name] = np.zeros((span, width), dtype=np.float32)
            out[name][t] = values
    return out


@dataclass
class _Usual:
    """A usual value and its spread, by a running mean and mean absolute deviation.

    Attributes:
        deviation: of the values so far; what it starts with counts until the second value.
        prior_spread: spread of a series without a history, worth `prior_count` values; the spread is never less than
            `least_spread`.
        least_rate: least weight of the newest value.
    """

    deviation: np.ndarray
    prior_spread: float
    prior_count: float
    least_spread: float
    least_rate: float
    count: np.ndarray = field(init=False)
    mean: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.count, self.mean = np.zeros(len(self.deviation)), np.zeros(len(self.deviation))

    def live(
        self, value: np.ndarray, is_new: np.ndarray, *, first: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take the day's values in, at most four spreads at once; return mean and spread of before.

        Args:
            value: of the day.
            is_new: whether there is one.
            first: the mean of a series that has no value yet.
        """
        mean = np.where(self.count > 0, self.mean, first)
        prior = self.prior_spread * self.prior_count
        spread = (self.deviation * self.count + prior) / (self.count + self.prior_count)
        spread = np.maximum(spread, self.least_spread)
        off = np.clip(value - mean, -4.0 * spread, 4.0 * spread)
        rate = np.where(is_new, np.maximum(1.0 / (self.count + 1.0), self.least_rate), 0.0)
        # 1.2533 makes a mean absolute deviation a standard deviation under normality.
        self.deviation = self.deviation + np.where(self.count > 0, rate, 0.0) * (1.2533 * np.abs(off) - self.deviation)
        self.mean, self.count = mean + rate * off, self.count + is_new
        return mean, spread


def _sale_sizes(width: int) -> _Usual:
    """Return the memory of the log size of a day's sales."""
    return _Usual(np.full(width, 0.7), prior_spread=0.8, prior_count=4.0, least_spread=0.15, least_rate=0.02)


def _price_gaps(width: int) -> _Usual:
    """Return the memory of the log of the price charged over the price of the day."""
    return _Usual(np.full(width, 0.3), prior_spread=0.3, prior_count=4.0, least_spread=0.03, least_rate=0.05)


class _Demand:
    """How much a series sells a day, how often, and how unevenly."""

    def __init__(self, width: int) -> None:
        self.history, self.mean, self.fast, self.selling_share = (np.zeros(width) for _ in range(4))
        self.spread_ratio = np.full(width, 2.0)
        self.drop_peak = np.zeros(width)

    def floored_mean(self) -> np.ndarray:
        """Return mean demand; a series that has hardly sold counts as selling one unit in twice its known days."""
        return np.maximum(self.mean, 1.0 / (2.0 * self.history + 10.0))

    def live(
        self, units: np.ndarray, sold: np.ndarray, seen: np.ndarray, *, sizes_known: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Take a day's demand in where it was seen; return what was known before, and the drop that it is part of."""
        floor = self.floored_mean()
        dispersion = (self.spread_ratio * self.history + 20.0) / (self.history + 10.0)
        deviation = np.sqrt(dispersion * (floor + floor * floor))
        known = {
            "history": self.history,
            "mean": floor,
            "fast": self.fast,
            "selling_share": self.selling_share,
            "dispersion": dispersion,
            "drop_step": self._drop_step(deviation, seen & (self.history >= 28) & (sizes_known >= 8)),
        }
        newest = 1.0 / (self.history + 1.0)
        rate = np.where(seen, np.maximum(newest, _SLOW), 0.0)
        quick = np.where(seen, np.maximum(newest, _FAST), 0.0)
        capped = np.minimum(units, np.where(self.history >= 10, floor + 6.0 * deviation, np.inf))
        error = np.minimum((capped - self.mean) ** 2 / (floor + floor * floor), 40.0)
        self.spread_ratio = self.spread_ratio + np.where(self.history >= 3, rate, 0.0) * (error - self.spread_ratio)
        self.mean = self.mean + rate * (capped - self.mean)
        self.fast = self.fast + quick * (capped - self.fast)
        self.selling_share = self.selling_share + rate * (sold - self.selling_share)
        self.history = self.history + seen
        return known

    def _drop_step(self, deviation: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """Return how far the last week fell below the mean, on the days on which the fall grew by half a spread."""
        # With the variance v of a day's demand and weight w per day, the fast mean varies by v·w/(2−w).
        fall = (self.mean - self.fast) / (deviation * 0.222)
        drop = np.where(judged, np.maximum(fall - 1.0, 0.0), 0.0)
        peak = np.where(drop > 0, self.drop_peak, 0.0)
        self.drop_peak = np.maximum(peak, drop)
        return np.where(np.floor(drop * 2) > np.floor(peak * 2), drop, 0.0)


class _Receipts:
    """How much comes at once, in which packs, and how long ago."""

    def __init__(self, width: int) -> None:
        self.sizes = _Usual(np.full(width, 0.5), prior_spread=0.5, prior_count=3.0, least_spread=0.1, least_rate=0.05)
        self.last, self.age = np.zeros(width), np.zeros(width)
        self.pack = np.zeros(width, dtype=np.int64)

    def live(self, on: np.ndarray, units: np.ndarray) -> dict[str, np.ndarray]:
        """Take a day's receipts in; return what was known before."""
        known = {"last_receipt": self.last, "pack": self.pack, "receipt_age": self.age}
        got = on & (units > 0)
        known["receipt_log"], known["receipt_spread"] = self.sizes.live(_log(units), got, first=_log(units, 1.0))
        if got.any():
            self.pack = np.where(got, np.gcd(self.pack, np.round(units).astype(np.int64)), self.pack)
            self.last = np.where(got, units, self.last)
        self.age = np.where(got, 0.0, self.age + on)
        return known


class _Stock:
    """How high stock stood, how long it has been below zero, and when it was counted."""

    def __init__(self, width: int) -> None:
        self.peak, self.count_age, self.negative_run = (np.zeros(width) for _ in range(3))

    def live(self, on: np.ndarray, closing: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
        """Take a day's stock in; return the highest and the days since a count of before, and the run of this day."""
        known = {"peak": self.peak, "count_age": self.count_age}
        self.negative_run = np.where(on & (closing < 0), self.negative_run + 1, np.where(on, 0.0, self.negative_run))
        self.peak = np.where(on, np.maximum(self.peak, closing), self.peak)
        self.count_age = np.where(on & counted, 0.0, self.count_age + on)
        return known | {"negative_run": self.negative_run}


class _Silence:
    """How long nothing was sold although the record says there is stock.

    The more of such days, and the likelier a sale was on each, the less likely the stock is there.
    """

    def __init__(self, width: int) -> None:
        self.decades, self.days = np.zeros(width), np.zeros(width)

    def live(
        self, sold: np.ndarray, able: np.ndarray, closing: np.ndarray, day_factor: np.ndarray, demand: _Demand
    ) -> dict[str, np.ndarray]:
        """Take a day in; return the silence with this day.

        Args:
            sold: whether something was sold.
            able: whether it could have been.
            closing: units on record.
            day_factor: how much likelier a sale was than usual.
            demand: as known before the day.
        """
        by_share, by_mean = demand.selling_share * day_factor, 1.0 - np.exp(-demand.floored_mean() * day_factor)
        chance = np.clip(np.minimum(by_share, by_mean), 0.0, 0.99)
        before = self.decades
        self.decades = np.where(sold, 0.0, np.where(able, before - np.log10(1.0 - chance), before))
        self.days = np.where(sold, 0.0, self.days + able)
        # One report per decade: a silence of a month is not thirty anomalies.
        stepped = able & ~sold & (demand.history >= 14) & (closing > 0) & (np.floor(self.decades) > np.floor(before))
        return {
            "chance": np.where(able, chance, 0.0),
            "quiet": self.decades,
            "quiet_days": self.days,
            "quiet_step": np.where(stepped, self.decades, 0.0),
        }


def _log(units: np.ndarray, least: float = 1e-3) -> np.ndarray:
    """Return the log of units, of the least where there are fewer."""
    return np.asarray(np.log(np.maximum(units, least)))
