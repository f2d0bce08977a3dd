"""Record errors put into series on purpose, to teach and to measure a detector of stock anomalies.

How errors happen and what they do to the record of later days belongs here; how they are found does not (`ml.anomaly`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.anomaly.series import KEYS, SeriesTable
from ml.anomaly.slips import exchanged_digits

SIZES = ["small", "medium", "large"]
# Units in error in days of mean demand: up to 3 small, up to 10 medium, above large.
SIZE_EDGES_DAYS = (3.0, 10.0)
# Errors that leave nothing on the day itself: what is missing can only be missed.
INVISIBLE_KINDS = frozenset({"lost_sale", "lost_receipt", "missing_sale", "missing_receipt"})


@dataclass(frozen=True)
class _Record:
    """What errors change: arrays over the sorted rows of a table, changed in place by `_inject_one`."""

    sales: np.ndarray
    receipts: np.ndarray
    other: np.ndarray
    at_count: np.ndarray
    max_line: np.ndarray
    repeated: np.ndarray
    repeated_gap: np.ndarray
    expected: np.ndarray
    price: np.ndarray


def inject(series: pd.DataFrame, *, seed: int, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put record errors into series, as they happen: lost, double-posted, mis-keyed, booked under another sku.

    What was physically there does not change; the record does, from the error's day until the next count, which finds
    the difference (without counted_change_units no count is known and the error stays). Kinds and sizes are drawn in
    equal parts as far as the series offer movements of the size.

    Args:
        series: as `ml.anomaly.Detector.score` takes it; unchanged.
        seed: the same seed injects the same errors.
        share: errors per row on which something moved, in (0, 0.5].

    Returns:
        The series with errors, same rows, order and columns; and the errors: sku, location_id, day, kind (lost_sale,
        double_posted_sale, mis_keyed_sale, the same of receipt, mis_keyed_adjustment, mis_keyed_count, and of a swap
        missing_sale and foreign_sale, missing_receipt and foreign_receipt: one row per sku), error_units (change of
        recorded stock, signed), error_days (absolute, in days of mean demand), size (small, medium, large),
        corrected_day (day of the count that mends it, or NaT).

    Raises:
        ValueError: as `ml.anomaly.Detector.score`; when share is out of range; when nothing ever moved.
    """
    if not 0 < share <= 0.5:
        raise ValueError(
            f"share {share} is not in (0, 0.5]: it is the part of the rows with a movement to inject errors into"
        )
    table = SeriesTable.read(series)
    rng = np.random.default_rng(seed)
    sales, receipts = np.maximum(table.column("sales_units"), 0.0), np.maximum(table.column("receipt_units"), 0.0)
    counted, max_line = table.column("counted_change_units"), table.column("max_line_units")
    other = table.column("other_units") - np.nan_to_num(counted)
    other[table.starts] = 0.0
    moved = int(((sales > 0) | (receipts > 0)).sum())
    if not moved:
        raise ValueError("no row has a sale or a receipt: there is no movement that could be recorded wrongly")
    mean = np.add.reduceat(np.maximum(table.column("demand_units"), 0.0), table.starts) / table.lengths
    mean_units = np.maximum(mean, 1.0 / table.lengths)[table.code]
    line = np.where((max_line > 0) & (max_line < sales), max_line, sales)
    partner = _partner_rows(table, rng)

    record = _Record(
        sales=np.zeros(table.rows),
        receipts=np.zeros(table.rows),
        other=np.zeros(table.rows),
        at_count=np.zeros(table.rows),
        max_line=max_line.copy(),
        repeated=table.column("repeated_line_units"),
        repeated_gap=table.column("repeated_gap_minutes"),
        expected=table.column("expected_receipt_units"),
        price=table.column("sale_unit_price"),
    )
    offers = _offers(line, receipts, other, table.column("closing_units"), counted, partner, rng)
    cells = [
        (kind, rows[grade == place], units[grade == place])
        for kind, rows, units in offers
        for grade in [size_grade(np.abs(units) / mean_units[rows])]
        for place in range(len(SIZES))
    ]
    each = max(1, round(share * moved / len(cells)))
    taken = np.zeros(table.rows, dtype=bool)
    truth: list[tuple[int, str, float]] = []
    for kind, rows, units in cells:
        injected = 0
        for place in rng.permutation(len(rows))[: 3 * each]:
            row, error = int(rows[place]), float(units[place])
            touched = [row, int(partner[row])] if kind.startswith("swapped") else [row]
            if taken[touched].any():
                continue
            taken[touched] = True
            truth += _inject_one(record, kind, touched, error, line, sales, receipts, rng)
            injected += 1
            if injected == each:
                break
    closing_change, corrections = _carried(table, record, counted)
    with_errors = _booked(series, table, record, closing_change, corrections)
    return with_errors, _labels(series, table, truth, counted, mean_units)


def size_grade(days: np.ndarray) -> np.ndarray:
    """Return 0, 1 or 2 for small, medium and large errors in days of mean demand."""
    return np.asarray(np.digitize(days, SIZE_EDGES_DAYS, right=True))


def _offers(
    line: np.ndarray,
    receipts: np.ndarray,
    other: np.ndarray,
    closing: np.ndarray,
    counted: np.ndarray,
    partner: np.ndarray,
    rng: np.random.Generator,
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return, by kind of error, the rows that could carry it and the units it would be wrong by."""
    offers: list[tuple[str, np.ndarray, np.ndarray]] = []
    for name, units in (("sale", line), ("receipt", receipts)):
        there = np.flatnonzero(units > 0)
        offers += [(f"{kind}_{name}", there, units[there]) for kind in ("lost", "double_posted")]
        paired = there[partner[there] >= 0]
        offers.append((f"swapped_{name}", paired, units[paired]))
    # A count of what is on the shelf: the closing stock of a day with a count.
    shelf = np.where(np.isfinite(counted), np.maximum(closing, 0.0), 0.0)
    for name, units in (("sale", line), ("receipt", receipts), ("adjustment", np.abs(other)), ("count", shelf)):
        there = np.flatnonzero(units > 0)
        slip = _mis_keyed(units[there], rng) - units[there]
        offers.append((f"mis_keyed_{name}", there[slip != 0], slip[slip != 0] * _sign(name, other[there[slip != 0]])))
    return [offer for offer in offers if len(offer[1])]


def _sign(name: str, other: np.ndarray) -> np.ndarray | float:
    """Return the direction of an adjustment; the other movements are positive numbers."""
    return np.sign(other) if name == "adjustment" else 1.0


def _inject_one(
    record: _Record,
    kind: str,
    touched: list[int],
    error: float,
    line: np.ndarray,
    sales: np.ndarray,
    receipts: np.ndarray,
    rng: np.random.Generator,
) -> list[tuple[int, str, float]]:
    """Change the record by one error; return row, kind and change of recorded stock of each row it touches."""
    row, name = touched[0], kind.rsplit("_", 1)[1]
    changed = {"sale": record.sales, "receipt": record.receipts, "adjustment": record.other, "count": record.at_count}[
        name
    ]
    direction = -1.0 if name == "sale" else 1.0
    if kind.startswith(("lost", "swapped")):
        changed[row] -= error
        if name == "receipt" and error >= receipts[row]:
            record.expected[row] = np.nan
        record.max_line[row] = min(record.max_line[row], _largest_left(record, row, sales, receipts))
    if kind.startswith("lost"):
        return [(row, kind, -direction * error)]
    if kind.startswith("swapped"):
        other_row = touched[1]
        if name == "receipt" and receipts[other_row] == 0 and np.isfinite(record.expected).any():
            record.expected[other_row] = 0.0
        if name == "sale":
            own = sales[other_row] * record.price[other_row] if sales[other_row] > 0 else 0.0
            record.price[other_row] = (own + error * record.price[row]) / (sales[other_row] + error)
        changed[other_row] += error
        if np.isfinite(record.max_line).any():
            record.max_line[other_row] = np.fmax(record.max_line[other_row], error)
        return [(row, f"missing_{name}", -direction * error), (other_row, f"foreign_{name}", direction * error)]
    changed[row] += error
    if kind.startswith("double"):
        record.repeated[row] = np.fmax(record.repeated[row], error) if np.isfinite(record.repeated[row]) else np.nan
        # A document sent again carries its instant; one keyed again comes minutes later.
        gap = 0.0 if rng.random() < 0.5 else float(rng.integers(1, 60))
        record.repeated_gap[row] = gap if np.isfinite(record.repeated[row]) else np.nan
    elif name != "count":
        before = {"sale": line, "receipt": receipts}.get(name)
        whole = abs(error) if before is None else before[row] + error
        record.max_line[row] = max(record.max_line[row], whole) if np.isfinite(record.max_line[row]) else np.nan
    return [(row, kind, direction * error)]


def _largest_left(record: _Record, row: int, sales: np.ndarray, receipts: np.ndarray) -> float:
    """Return the most that one movement of a day can still be after something was taken out."""
    return float(max(sales[row] + record.sales[row], receipts[row] + record.receipts[row], 0.0))


def _mis_keyed(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return units with a slip of the hand: a zero too many, or two neighbouring digits exchanged."""
    exchanged = np.where(
        (units >= 100) & (rng.random(len(units)) < 0.5), exchanged_digits(units, 1), exchanged_digits(units, 0)
    )
    can_exchange = (units >= 12) & (units == np.floor(units)) & (exchanged != units) & (exchanged > 0)
    return np.where(can_exchange & (rng.random(len(units)) < 0.5), exchanged, units * 10.0)


def _partner_rows(table: SeriesTable, rng: np.random.Generator) -> np.ndarray:
    """Return for each row another series' row of the same location and day, -1 where there is none."""
    group = table.place[table.code] * (int(table.day.max()) + 1) + table.day
    order = np.lexsort((rng.random(table.rows), group))
    ranked = group[order]
    first = np.append(True, ranked[1:] != ranked[:-1])
    begin = np.maximum.accumulate(np.where(first, np.arange(table.rows), 0))
    last = np.append(ranked[1:] != ranked[:-1], True)
    # The last of a group takes the group's first, so everyone has a partner unless alone.
    chosen = np.where(last, order[begin], np.append(order[1:], order[0]))
    partner = np.empty(table.rows, dtype=np.int64)
    partner[order] = np.where(chosen == order, -1, chosen)
    return partner


def _carried(table: SeriesTable, record: _Record, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Carry the errors through the stock: a count wipes out what came before it and leaves its own error.

    Returns:
        The change of closing stock, and of what counts correct, of each sorted row.
    """
    is_count = np.isfinite(counted)
    before_count = record.receipts - record.sales + record.other
    entered = np.where(is_count, record.at_count, before_count)
    begins = is_count.copy()
    begins[table.starts] = True
    running = np.cumsum(entered)
    at_begin = np.flatnonzero(begins)
    base = (running - entered)[at_begin][np.cumsum(begins) - 1]
    closing = running - base
    opening = np.append(0.0, closing[:-1])
    opening[table.starts] = 0.0
    return closing, np.where(is_count, closing - opening - before_count, 0.0)


def _booked(
    series: pd.DataFrame, table: SeriesTable, record: _Record, closing_change: np.ndarray, corrections: np.ndarray
) -> pd.DataFrame:
    """Return the series with the errors in it."""
    result = series.copy(deep=False)
    opening_change = np.append(0.0, closing_change[:-1])
    opening_change[table.starts] = 0.0
    demand = np.maximum(table.column("demand_units") + record.sales, 0.0)
    changed = {
        "sales_units": table.column("sales_units") + record.sales,
        "receipt_units": table.column("receipt_units") + record.receipts,
        "other_units": table.column("other_units") + record.other + corrections,
        "opening_units": table.column("opening_units") + opening_change,
        "closing_units": table.column("closing_units") + closing_change,
        "demand_units": demand,
        "counted_change_units": _as_given(series, table, "counted_change_units") + corrections,
        "max_line_units": record.max_line,
        "repeated_line_units": record.repeated,
        "repeated_gap_minutes": record.repeated_gap,
        "expected_receipt_units": record.expected,
        "sale_unit_price": record.price,
    }
    for name, values in changed.items():
        if name in series.columns:
            result[name] = values[table.position]
    return result


def _as_given(series: pd.DataFrame, table: SeriesTable, name: str) -> np.ndarray:
    """Return a column as given, NaN where it is absent, in sorted order."""
    if name not in series.columns:
        return np.full(table.rows, np.nan)
    return np.asarray(series[name].to_numpy(dtype=np.float64, na_value=np.nan)[table.order])


def _labels(
    series: pd.DataFrame,
    table: SeriesTable,
    truth: list[tuple[int, str, float]],
    counted: np.ndarray,
    mean_units: np.ndarray,
) -> pd.DataFrame:
    """Return the frame of errors."""
    rows = np.array([row for row, _, _ in truth], dtype=np.int64)
    kinds = [kind for _, kind, _ in truth]
    units = np.array([change for _, _, change in truth])
    days = np.abs(units) / mean_units[rows]
    # A wrong count is mended by a later one, everything else by one of the same day too.
    first_try = rows + np.array([kind == "mis_keyed_count" for kind in kinds], dtype=np.int64)
    places = np.where(np.isfinite(counted), np.arange(table.rows), table.rows)
    next_count = np.append(np.minimum.accumulate(places[::-1])[::-1], table.rows)[first_try]
    last_row = np.append(table.starts[1:], table.rows)[table.code[rows]] - 1
    mended = table.day[np.minimum(next_count, table.rows - 1)].astype("datetime64[D]").astype("datetime64[ns]")
    labels = series[KEYS].iloc[table.order[rows]].reset_index(drop=True)
    labels["kind"] = kinds
    labels["error_units"] = units
    labels["error_days"] = days
    labels["size"] = np.asarray(SIZES, dtype=object)[size_grade(days)]
    labels["corrected_day"] = pd.Series(np.where(next_count <= last_row, mended, np.datetime64("NaT", "ns")))
    return labels
