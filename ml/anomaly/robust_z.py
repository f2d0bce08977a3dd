"""The usual rule of thumb for odd movements: the baseline of the detector, and what stands in for it.

Here: a robust z of sales, receipts and other movements. Not here: the detector (`ml.anomaly.detector`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.anomaly.series import KEYS, SeriesTable, day_number

LIMIT = 3.5
"""Robust z from which Iglewicz and Hoaglin (1993, p. 11) call a value an outlier."""

MOST_SHARE = 0.01
"""Share of the days scored that are reported at most: movements have longer tails than the normal distribution."""

_MOVEMENTS = {
    "sales_units": ("demand_spike", "Sales"),
    "receipt_units": ("record_error_receipt", "Receipts"),
    "other_units": ("record_error_adjustment", "Other movements"),
}


def robust_z_baseline(series: pd.DataFrame) -> pd.DataFrame:
    """Score each day by the largest robust z of its movements, the usual rule of thumb.

    For sales, receipts and other movements: |log(1 + units) − median| / (1.4826 · MAD) over the days on which the
    series has such a movement (Iglewicz and Hoaglin 1993); unlike the detector it sees later days too.

    Args:
        series: as `Detector.score` takes it.

    Returns:
        sku, location_id, day, anomaly_score (the z, 0 and above, no upper bound); rows and index as given.

    Raises:
        ValueError: as `Detector.score`.
    """
    table = SeriesTable.read(series)
    result = series[KEYS].copy()
    result["anomaly_score"] = _distances(table)[0].max(axis=0)[table.position]
    return result


def robust_z_report(series: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame:
    """Report the days that stand out by the robust z: what is published while no detector has passed its gate.

    Args:
        series: as `Detector.score` takes it.
        since: report this day and later ones; None = every day.

    Returns:
        As `Detector.score`: sku, location_id, day, anomaly_score in [0, 1], kind, reason, record_error_score. A score
        is 0.2 for each factor of ten by which a normal distribution rarely reaches the z. At most one day in a hundred
        gets a kind, the largest z first, and none below 3.5.

    Raises:
        ValueError: as `Detector.score`.
    """
    from scipy.special import log_ndtr

    table = SeriesTable.read(series)
    distances, medians = _distances(table)
    wanted = np.ones(table.rows, dtype=bool) if since is None else table.day >= day_number(since)
    largest, movement = distances.max(axis=0), distances.argmax(axis=0)
    decades = -(log_ndtr(-largest) + np.log(2.0)) / np.log(10.0)
    score = np.where(decades <= 4.0, 0.2 * decades, 1.0 - 0.2 * np.exp(-np.maximum(decades - 4.0, 0.0)))
    limit = max(LIMIT, float(np.quantile(largest[wanted], 1.0 - MOST_SHARE))) if wanted.any() else LIMIT
    told = np.flatnonzero(wanted & (largest >= limit))
    names = list(_MOVEMENTS)
    kind, reason = np.full(table.rows, "none", dtype=object), np.full(table.rows, "", dtype=object)
    for row in told.tolist():
        name = names[movement[row]]
        kind[row], word = _MOVEMENTS[name]
        units, usual = table.column(name)[row], np.expm1(medians[movement[row], row])
        reason[row] = (
            f"{word} of {units:,.0f} where {usual:,.0f} are usual on such a day: robust z {largest[row]:.1f}, the rule"
            " of thumb that stands in until a detector has passed its gate."
        )
    chosen = wanted[table.position]
    position = table.position[chosen]
    result = series.loc[chosen, KEYS].copy()
    result["anomaly_score"] = np.clip(np.abs(score), 0.0, 1.0)[position]
    result["kind"] = kind[position]
    result["reason"] = reason[position]
    result["record_error_score"] = np.where(movement[position] > 0, result["anomaly_score"], 0.0)
    return result


def _distances(table: SeriesTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the robust z of each movement, and the median of log(1 + units) it is from [movements, rows]."""
    distances, medians = (np.zeros((len(_MOVEMENTS), table.rows)) for _ in range(2))
    for place, name in enumerate(_MOVEMENTS):
        units = np.abs(table.column(name))
        rows = np.flatnonzero(units > 0)
        size, code = pd.Series(np.log1p(units[rows])), table.code[rows]
        median = size.groupby(code).transform("median")
        off = (size - median).abs()
        spread = off.groupby(code).transform("median")
        # Half the days alike gives a spread of 0: a tenth of log scale keeps the ratio finite.
        distances[place, rows] = (off / np.maximum(1.4826 * spread, 0.1)).to_numpy()
        medians[place, rows] = median.to_numpy()
    return distances, medians
