"""What a detector of stock anomalies looks at: scale-free features of each day, from that day and earlier ones.

The features belong here. Reading a frame of daily series (`ml.anomaly.series`), the memory of each series
(`ml.anomaly.memory`) and what the features mean for a day (`ml.anomaly.detector`) do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.anomaly.memory import Days, remember
from ml.anomaly.series import OPTIONAL, REQUIRED, SeriesTable
from ml.anomaly.slips import is_slip

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the model sees of a day on which something happened, in the order of its columns. "days" is a signed log of units
# over mean daily demand.
FEATURES = (
    "history_days",  # log of days of demand history
    "selling_share",  # usual share of days with a sale
    "size_spread",  # usual spread of the log size of a sale
    "dispersion",  # variance of demand over that of a geometric count of the same mean
    "trend",  # log of the last week's rate over the last quarter's
    "activity",  # log of the share of the location's series that sold, over its usual
    "sale_days",
    "sale_z",  # log size against usual sizes, in spreads
    "sale_tail",  # decades of the negative binomial tail
    "sale_of_available",  # sale over what the record had to sell
    "sale_over_available",
    "sale_line_share",  # largest movement over the sale
    "line_z",
    "line_roundness",  # 1 = a multiple of ten, 2 = of a hundred
    "tenth_of_line_z",  # how ordinary a tenth of the largest movement is
    "price_gap",  # log of the price charged over the price of the day
    "price_gap_z",  # the same against its usual
    "returned_days",  # sales below zero
    "repeat_days",
    "repeat_share",  # repeated movement, both times, over all of the day's
    "repeat_z",  # how ordinary the size of the repeated movement is
    "repeat_gap",  # log minutes between the two
    "receipt_days",
    "receipt_z",
    "receipt_to_last",  # log ratio to the receipt before
    "receipt_gap",  # log days since the receipt before
    "receipt_off_pack",  # remainder against the greatest common divisor of earlier receipts, 0 to 1
    "receipt_to_expected",  # log ratio to what the purchase order lines had open
    "receipt_unordered",  # nothing was open on them
    "receipt_repeated",  # the receipt is one movement twice
    "receipt_slip",  # a zero too many or two digits exchanged, against the order or the receipt before
    "cover_before_receipt",  # stock before a receipt
    "other_days",
    "other_of_available",  # what other movements took, over what the record had
    "correction_days",
    "correction_share",  # of the larger of recorded and counted stock
    "correction_slip",  # counted and recorded differ by a slip of the hand
    "correction_is_a_movement",  # equals a movement since the count before
    "days_since_count",
    "opening_days",
    "closing_days",
    "closing_to_peak",  # log of closing over the highest closing before
    "deeper_below_zero",  # how much further below zero than the day before
    "negative_run",  # log of days below zero
    "quiet_decades",  # decades of the probability of no sale for so long with stock on record
)

_CHUNK_CELLS = 300_000
_MATCH_DAYS = 60


@dataclass(frozen=True)
class Facts:
    """What is known of some rows.

    Attributes:
        rows: sorted rows of the table.
        state: arrays over `rows`: mean, fast (units a day), selling_share, chance (of a sale that day), closing
            (units), quiet_days, quiet_step, drop_step, history.
        events: entries of `rows` on which something moved or was counted.
        detail: arrays over `events`, by name: the `FEATURES`, and numbers for evidence and sentences.
    """

    rows: np.ndarray
    state: dict[str, np.ndarray]
    events: np.ndarray
    detail: dict[str, np.ndarray]

    def features(self) -> np.ndarray:
        """Return the model's matrix, float32 [events, features]; NaN where a column is not given."""
        matrix = np.empty((len(self.events), len(FEATURES)), dtype=np.float32)
        for place, name in enumerate(FEATURES):
            matrix[:, place] = self.detail[name]
        return matrix


def facts_in_chunks(table: SeriesTable, wanted: np.ndarray) -> Iterator[Facts]:
    """Yield the facts of the wanted rows, some series at a time so that memory stays bounded.

    Args:
        table: every row counts as history.
        wanted: bool over the sorted rows.
    """
    activity = _location_activity(table)
    first_day, span = int(table.day.min()), int(table.day.max() - table.day.min() + 1)
    width = max(1, _CHUNK_CELLS // span)
    for low in range(0, len(table.starts), width):
        high = min(low + width, len(table.starts))
        end = int(table.starts[high]) if high < len(table.starts) else table.rows
        rows = slice(int(table.starts[low]), end)
        if wanted[rows].any():
            yield _facts(table, rows, low, high - low, first_day, span, activity, wanted[rows])


def _location_activity(table: SeriesTable) -> np.ndarray:
    """Return, per location and day, the log of the share of series that sold over the location's usual share.

    A holiday or a sale moves every series of a location; what all of them do is not an anomaly of one.
    """
    first, days = int(table.day.min()), int(table.day.max() - table.day.min() + 1)
    cell = table.place[table.code] * days + (table.day - first)
    size = (int(table.place.max()) + 1) * days
    sold_rows = table.column("sales_units") > 0
    able = ((table.column("is_in_stock") > 0) & (table.column("is_open") > 0)) | sold_rows
    there = np.bincount(cell, weights=able, minlength=size).reshape(-1, days)
    sold = np.bincount(cell, weights=sold_rows, minlength=size).reshape(-1, days)
    usual_sold, usual_there = np.zeros(len(there)), np.zeros(len(there))
    log_ratio = np.zeros_like(there)
    for day in range(days):
        share = (usual_sold + 1.0) / (usual_there + 4.0)
        # Ten pseudo-series hold the ratio near one where a location has few.
        calm = 10.0 * share + 0.1
        log_ratio[:, day] = np.log((sold[:, day] + calm) / (share * there[:, day] + calm))
        moved = there[:, day] > 0
        usual_sold = np.where(moved, 0.97 * usual_sold + sold[:, day], usual_sold)
        usual_there = np.where(moved, 0.97 * usual_there + there[:, day], usual_there)
    return np.asarray(np.clip(log_ratio, -3.0, 3.0))


def _facts(
    table: SeriesTable,
    rows: slice,
    low: int,
    width: int,
    first_day: int,
    span: int,
    activity: np.ndarray,
    wanted: np.ndarray,
) -> Facts:
    """Work out the facts of a run of series: a [days, series] grid, walked once day by day."""
    cell = (table.day[rows] - first_day) * width + (table.code[rows] - low)

    def grid(values: np.ndarray, absent: float = 0.0) -> np.ndarray:
        flat = np.full(span * width, absent)
        flat[cell] = values
        return flat.reshape(span, width)

    columns = {name: table.column(name, rows) for name in [*REQUIRED, *OPTIONAL]}
    with np.errstate(divide="ignore", invalid="ignore"):
        price_gap = np.log(columns["sale_unit_price"] / columns["unit_price"])
    price_gap[~np.isfinite(price_gap)] = np.nan
    place = table.place[low : low + width]
    memory = remember(
        Days(
            present=grid(np.ones(len(cell))) > 0,
            demand=grid(columns["demand_units"]),
            receipt=grid(columns["receipt_units"]),
            closing=grid(columns["closing_units"]),
            in_stock=grid(columns["is_in_stock"]) > 0,
            is_open=grid(columns["is_open"]) > 0,
            counted=grid(columns["counted_change_units"], np.nan),
            price_gap=grid(price_gap, np.nan),
            day_factor=np.exp(activity[place].T),
        )
    )
    kept = np.flatnonzero(wanted)
    wanted_cell = cell[kept]
    state = {
        name: memory[name].reshape(-1)[wanted_cell]
        for name in (
            "mean",
            "fast",
            "selling_share",
            "chance",
            "quiet_days",
            "quiet_step",
            "drop_step",
            "history",
        )
    }
    state["closing"] = columns["closing_units"][kept]
    moved = (columns["receipt_units"] != 0) | (columns["sales_units"] != 0) | (columns["other_units"] != 0)
    events = np.flatnonzero((moved | np.isfinite(columns["counted_change_units"]))[kept])
    here = kept[events]
    sorted_rows = np.arange(rows.start, rows.stop)[here]
    events_seen = _Events.of(
        table,
        sorted_rows,
        {name: values[here] for name, values in columns.items()},
        activity=activity[table.place[table.code[sorted_rows]], table.day[sorted_rows] - first_day],
        price_gap=price_gap[here],
    )
    usual = {name: values.reshape(-1)[cell[here]].astype(np.float64) for name, values in memory.items()}
    return Facts(
        rows=np.arange(rows.start, rows.stop)[kept], state=state, events=events, detail=_details(events_seen, usual)
    )


@dataclass(frozen=True)
class _Events:
    """The numbers of days on which something moved or was counted; each array has one entry per day.

    Attributes:
        opening, receipt, sales, other, closing: units; what a series' first day books beside sales and receipts is the
            opening stock, and a count's correction is no other movement.
        correction: counted less recorded units, 0 without a count.
        demand: units wanted; available: units that the record had to sell.
        line: units of the largest movement, the day's largest sum where movements are not known.
        repeated: units that two documents of the day share, and repeated_minutes between them.
        expected_receipt: units open on the orders that the receipts name, NaN = not known.
        price_gap: log of the price charged over the price of the day; activity: log of what the whole location sold
            over its usual.
        matched_days_ago: days since a movement of exactly the correction, NaN where there is none.
    """

    opening: np.ndarray
    receipt: np.ndarray
    sales: np.ndarray
    other: np.ndarray
    closing: np.ndarray
    correction: np.ndarray
    demand: np.ndarray
    available: np.ndarray
    line: np.ndarray
    repeated: np.ndarray
    repeated_minutes: np.ndarray
    expected_receipt: np.ndarray
    price_gap: np.ndarray
    activity: np.ndarray
    matched_days_ago: np.ndarray

    @classmethod
    def of(
        cls,
        table: SeriesTable,
        rows: np.ndarray,
        given: dict[str, np.ndarray],
        *,
        activity: np.ndarray,
        price_gap: np.ndarray,
    ) -> _Events:
        """Return the numbers of some sorted rows of the table, from its columns for them."""
        sales, receipt = given["sales_units"], given["receipt_units"]
        correction = np.nan_to_num(given["counted_change_units"])
        opens = (rows == table.starts[table.code[rows]]) & (given["opening_units"] == 0)
        opening = np.where(opens, given["other_units"], given["opening_units"])
        other = np.where(opens, 0.0, given["other_units"] - correction)
        largest = np.maximum(np.maximum(sales, receipt), np.abs(other))
        return cls(
            opening=opening,
            receipt=receipt,
            sales=sales,
            other=other,
            closing=given["closing_units"],
            correction=correction,
            demand=given["demand_units"],
            available=opening + receipt + np.maximum(other, 0.0),
            line=np.where(np.isfinite(given["max_line_units"]), given["max_line_units"], largest),
            repeated=given["repeated_line_units"],
            repeated_minutes=given["repeated_gap_minutes"],
            expected_receipt=given["expected_receipt_units"],
            price_gap=price_gap,
            activity=activity,
            matched_days_ago=_matching_movement(table, rows, correction),
        )


def _details(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the `FEATURES` of days by name, and numbers for evidence and sentences.

    Args:
        events: what happened.
        usual: what the series remembers (`ml.anomaly.memory.remember`), for the same days.
    """
    expected_demand = np.maximum(usual["mean"] * np.exp(events.activity), 1e-6)
    sale_tail = _upper_tail(events.sales, expected_demand, usual["dispersion"])
    return {
        **_usual_features(usual),
        "activity": events.activity,
        "sale_tail": sale_tail,
        **_sale_features(events, usual),
        **_price_features(events, usual),
        **_repeat_features(events, usual),
        **_receipt_features(events, usual),
        **_correction_features(events, usual),
        **_stock_features(events, usual),
        # From here on: for evidence and sentences.
        "demand": events.demand,
        "demand_z": _only(events.demand > 0, _size_z(events.demand, usual)),
        "demand_tail": np.where(
            events.demand == events.sales, sale_tail, _upper_tail(events.demand, expected_demand, usual["dispersion"])
        ),
        "sales": events.sales,
        "receipt": events.receipt,
        "other": events.other,
        "opening": events.opening,
        "correction": events.correction,
        "available": events.available,
        "repeated": events.repeated,
        "repeat_minutes": events.repeated_minutes,
        "expected_receipt": events.expected_receipt,
        "last_receipt": usual["last_receipt"],
        "matched_days_ago": events.matched_days_ago,
        "usual_low": np.exp(usual["size_log"] - usual["size_spread"]),
        "usual_high": np.exp(usual["size_log"] + usual["size_spread"]),
    }


def _usual_features(usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Say what kind of series it is."""
    return {
        "history_days": np.log1p(usual["history"]),
        "selling_share": usual["selling_share"],
        "size_spread": usual["size_spread"],
        "dispersion": usual["dispersion"],
        "trend": np.log((usual["fast"] + 0.1 * usual["mean"]) / (1.1 * usual["mean"])),
    }


def _sale_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold the sale and its largest movement against usual sizes and what there was to sell."""
    sales, line, mean = events.sales, events.line, usual["mean"]
    sold = sales > 0
    sale_line = np.minimum(line, np.maximum(sales, 0.0))
    roundness = ((line >= 100) & (np.mod(line, 100) == 0)).astype(float) + ((line >= 10) & (np.mod(line, 10) == 0))
    return {
        "sale_days": _signed_log(np.maximum(sales, 0.0), mean),
        "sale_z": _only(sold, _size_z(sales, usual)),
        "sale_of_available": _only(sold, np.clip(sales / np.maximum(events.available, 1e-3), 0.0, 5.0)),
        "sale_over_available": _only(sold, _signed_log(sales - events.available, mean)),
        "sale_line_share": _only(sold, sale_line / np.maximum(sales, 1e-9)),
        "line_z": _only(sold, _size_z(sale_line, usual)),
        "line_roundness": roundness,
        "tenth_of_line_z": _only(sold & (roundness > 0), np.abs(_size_z(sale_line / 10.0, usual)), np.nan),
        "returned_days": _signed_log(np.minimum(sales, 0.0), mean),
    }


def _price_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold the price charged against the price of the day and how far the two usually are apart."""
    off = (events.price_gap - usual["usual_price_gap"]) / usual["price_gap_spread"]
    return {"price_gap": events.price_gap, "price_gap_z": np.clip(off, -12.0, 12.0)}


def _repeat_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Say what two documents of the day share."""
    repeated = events.repeated
    moved = np.maximum(np.abs(events.sales) + events.receipt + np.abs(events.other), 1e-9)
    return {
        "repeat_days": _signed_log(repeated, usual["mean"]),
        "repeat_share": 2.0 * repeated / moved,
        "repeat_z": _only(repeated > 0, _size_z(repeated, usual), np.nan),
        "repeat_gap": _only(repeated > 0, np.log1p(np.maximum(events.repeated_minutes, 0.0)), np.nan),
    }


def _receipt_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold a receipt against earlier ones and against what was ordered."""
    got, expected, last = events.receipt, events.expected_receipt, usual["last_receipt"]
    receiving = got > 0
    size_z = np.clip((_log(got) - usual["receipt_log"]) / usual["receipt_spread"], -12.0, 12.0)
    pack = np.maximum(usual["pack"], 1.0)
    slip = np.where(np.isfinite(expected), is_slip(got, expected), is_slip(got, last))
    return {
        "receipt_days": _only(receiving, _signed_log(got, usual["mean"])),
        "receipt_z": _only(receiving, size_z),
        "receipt_to_last": _only(receiving & (last > 0), _log(got) - _log(last), np.nan),
        "receipt_gap": _only(receiving, np.log1p(usual["receipt_age"]), np.nan),
        "receipt_off_pack": _only(receiving & (usual["pack"] > 1), np.mod(got, pack) / pack),
        "receipt_to_expected": _only(receiving & (expected > 0), _log(got) - _log(expected), np.nan),
        "receipt_unordered": (receiving & (expected == 0)).astype(float),
        "receipt_repeated": (receiving & (2.0 * events.repeated == got)).astype(float),
        "receipt_slip": (receiving & slip).astype(float),
        "cover_before_receipt": _only(receiving, _signed_log(events.opening, usual["mean"]), np.nan),
    }


def _correction_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold a count against what was recorded."""
    correction, counted = events.correction, events.closing
    recorded = counted - correction
    larger = np.maximum(np.maximum(np.abs(counted), np.abs(recorded)), 1e-9)
    return {
        "correction_days": _signed_log(correction, usual["mean"]),
        "correction_share": np.abs(correction) / larger,
        "correction_slip": ((correction != 0) & is_slip(counted, recorded)).astype(float),
        "correction_is_a_movement": np.isfinite(events.matched_days_ago).astype(float),
        "days_since_count": np.log1p(usual["count_age"]),
    }


def _stock_features(events: _Events, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold stock, and what other movements took of it, against days of demand and the highest stock before."""
    opening, closing, mean = events.opening, events.closing, usual["mean"]
    had = np.maximum(opening + events.receipt, 1e-3)
    deeper = np.maximum(np.minimum(opening, 0.0) - np.minimum(closing, 0.0), 0.0)
    to_peak = np.log((np.maximum(closing, 0.0) + mean) / (usual["peak"] + mean))
    return {
        "other_days": _signed_log(events.other, mean),
        "other_of_available": np.clip(-np.minimum(events.other, 0.0) / had, 0.0, 5.0),
        "opening_days": _signed_log(opening, mean),
        "closing_days": _signed_log(closing, mean),
        "closing_to_peak": np.clip(to_peak, -6.0, 6.0),
        "deeper_below_zero": np.log1p(deeper / mean),
        "negative_run": np.log1p(usual["negative_run"]),
        "quiet_decades": usual["quiet"],
    }


def _signed_log(units: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return units in days of mean demand on a signed log scale."""
    return np.asarray(np.sign(units) * np.log1p(np.abs(units) / mean))


def _only(where: np.ndarray, values: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return the values where they mean something."""
    return np.where(where, values, otherwise)


def _log(units: np.ndarray) -> np.ndarray:
    """Return the log of units; what is below a thousandth counts as one."""
    return np.asarray(np.log(np.maximum(units, 1e-3)))


def _size_z(units: np.ndarray, usual: dict[str, np.ndarray]) -> np.ndarray:
    """Return how many spreads the log of units lies off the usual size of a sale."""
    return np.asarray(np.clip((_log(units) - usual["size_log"]) / usual["size_spread"], -12.0, 12.0))


def _upper_tail(units: np.ndarray, expected: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """Return decades of the probability that a negative binomial of that mean reaches the units, 0 to 30.

    Dispersion is the variance over m + m², so 1 is a geometric count. For whole x the upper tail of the negative
    binomial is a regularised incomplete beta function, I_p(x, k) with p = m/(m + k), defined between whole numbers too.
    """
    from scipy.special import betainc

    decades = np.zeros(len(units))
    above = units > expected
    m = expected[above]
    # The variance v = d·(m + m²) is that of a negative binomial with k = m²/(v − m).
    k = np.clip(m * m / np.maximum(dispersion[above] * (m + m * m) - m, 1e-3 * m), 0.005, 1e3)
    tail = betainc(units[above], k, m / (m + k))
    decades[above] = np.minimum(-np.log10(np.maximum(tail, 1e-30)), 30.0)
    return decades


def _matching_movement(table: SeriesTable, rows: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """Return how many days before a count a movement of exactly its correction is on record, NaN where none is.

    More found than recorded fits a sale that was posted twice or belongs to another sku; fewer fits a receipt that did.
    Rows up to 60 back are searched, the latest match is given.
    """
    ago = np.full(len(rows), np.nan)
    places = np.flatnonzero(np.abs(correction) >= 1)
    if not len(places):
        return ago
    at = rows[places][:, None] - np.arange(_MATCH_DAYS + 1)
    same = at >= table.starts[table.code[rows[places]]][:, None]
    at = np.maximum(at, 0)
    units = correction[places][:, None]
    flat = at.ravel()
    line = np.nan_to_num(table.column("max_line_units", flat), nan=-1.0).reshape(at.shape)
    left = table.column("sales_units", flat).reshape(at.shape)
    came = table.column("receipt_units", flat).reshape(at.shape)
    fits = same & np.where(units > 0, (left == units) | ((line == units) & (left >= units)), came == -units)
    days = table.day[rows[places]][:, None] - table.day[at]
    best = np.where(fits & (days <= _MATCH_DAYS), days, _MATCH_DAYS + 1).min(axis=1)
    ago[places[best <= _MATCH_DAYS]] = best[best <= _MATCH_DAYS]
    return ago
