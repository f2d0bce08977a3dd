"""What became of published forecasts: accuracy by lag, bias alarm, calibration and drift once actuals are in.

Here: pure functions from the forecast archive and the actuals to tables. Not here: the archive, assets and checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.metrics import forecast as metrics
from ml.schema import KEYS, Doubles


def matched(archive: pd.DataFrame, actuals: pd.DataFrame) -> pd.DataFrame:
    """Return the archived forecasts whose period has come, with what happened.

    Args:
        archive: sku, location_id, period_start, periods_ahead, mean_units, q05_units ... q95_units.
        actuals: sku, location_id, period_start, demand_units [, is_in_stock]; periods out of stock are left out.

    Returns:
        the archive's columns and actual_units.
    """
    known = actuals[actuals["demand_units"].notna()]
    if "is_in_stock" in known.columns:
        known = known[known["is_in_stock"].astype(bool)]
    known = known[[*KEYS, "period_start", "demand_units"]].rename(columns={"demand_units": "actual_units"})
    return archive.merge(known, on=[*KEYS, "period_start"], how="inner", validate="many_to_one")


def accuracy_by_lag(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the errors of matched forecasts, one row per lag.

    Args:
        pairs: from `matched` [, naive_units: a simple forecast to compare with, NaN = none].

    Returns:
        periods_ahead, periods, mae (units), wape, bias (positive = over-forecast), pinball (units), to_naive (sum of
        absolute errors over that of the simple forecast where there is one; NaN = nowhere).
    """
    rows = []
    for ahead, part in pairs.groupby("periods_ahead"):
        actual, mean = (part[name].to_numpy(dtype=np.float64) for name in ("actual_units", "mean_units"))
        quantiles = part[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
        losses = metrics.pinball_loss(actual[:, None], quantiles, np.asarray(QUANTILE_LEVELS))
        rows.append(
            {
                "periods_ahead": ahead,
                "periods": len(part),
                "mae": metrics.mae(actual, mean),
                "wape": metrics.wape(actual, mean),
                "bias": metrics.bias(actual, mean),
                "pinball": float(losses.mean()),
                "to_naive": _to_naive(part),
            }
        )
    return pd.DataFrame(rows, columns=["periods_ahead", "periods", "mae", "wape", "bias", "pinball", "to_naive"])


def _to_naive(pairs: pd.DataFrame) -> float:
    if "naive_units" not in pairs:
        return float("nan")
    known = pairs[pairs["naive_units"].notna()]
    own = float((known["mean_units"] - known["actual_units"]).abs().sum())
    naive = float((known["naive_units"] - known["actual_units"]).abs().sum())
    return own / naive if naive > 0 else float("nan")


def calibration_by_level(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return level, below = P(y < q), upto = P(y <= q) and gap of matched forecasts, one row per level.

    The gap is how far the level lies outside below ... upto; positive = the quantile is too high.
    """
    actual = pairs["actual_units"].to_numpy(dtype=np.float64)
    shares = metrics.calibration(actual, pairs[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64), QUANTILE_LEVELS)
    gap = metrics.calibration_gap(shares, QUANTILE_LEVELS)
    return pd.DataFrame({"level": QUANTILE_LEVELS, "below": shares[:, 0], "upto": shares[:, 1], "gap": gap})


def bias_alarms(pairs: pd.DataFrame, segment: str) -> pd.DataFrame:
    """Say for each segment whether its total is forecast too high or too low for longer than chance allows.

    The alarm is |cumulative error| > 3 * 1.25 * MAD * sqrt(n) on the segment's total per period, MAD being the mean
    absolute deviation of the errors from their median (1.25 MAD is one standard deviation of normal errors). It needs
    one forecast a period: pass one lag, or one origin.

    Args:
        pairs: from `matched`, with a column named `segment`.
        segment: column to sum within.

    Returns:
        segment, periods, cumulative_error_units (positive = over-forecast), limit_units, bias (share), alarm.

    Raises:
        ValueError: if a series has two forecasts of one period.
    """
    twice = pairs.duplicated([*KEYS, "period_start"])
    if twice.any():
        row = pairs[twice].iloc[0]
        raise ValueError(
            f"sku {row['sku']!r}, location {row['location_id']!r} has two forecasts of {row['period_start']}: "
            "choose one periods_ahead or one origin"
        )
    rows = []
    totals = pairs.groupby([segment, "period_start"])[["mean_units", "actual_units"]].sum().reset_index()
    for name, part in totals.groupby(segment):
        error = (part["mean_units"] - part["actual_units"]).to_numpy(dtype=np.float64)
        deviation = float(np.abs(error - np.median(error)).mean())
        limit = 3.0 * 1.25 * deviation * np.sqrt(len(error))
        total = float(part["actual_units"].sum())
        rows.append(
            {
                "segment": name,
                "periods": len(error),
                "cumulative_error_units": float(error.sum()),
                "limit_units": limit,
                "bias": float(error.sum()) / total if total > 0 else float("nan"),
                "alarm": bool(len(error) >= 5 and abs(error.sum()) > limit),
            }
        )
    return pd.DataFrame(rows, columns=["segment", "periods", "cumulative_error_units", "limit_units", "bias", "alarm"])


def population_stability(reference: Doubles, current: Doubles, bins: int = 10) -> float:
    """Return the population stability index between two samples; above 0.25 is read as a shift.

    Bins are quantiles of the reference, so that each holds the same share of it; ties are kept together. Half an
    observation stands in for an empty bin.

    Args:
        reference: values then, NaN left out.
        current: values now, NaN left out.
        bins: at most this many.
    """
    then, now = reference[np.isfinite(reference)], current[np.isfinite(current)]
    if not len(then) or not len(now):
        return float("nan")
    edges = np.unique(np.quantile(then, np.arange(1, bins) / bins))
    counts = [
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) for values in (then, now)
    ]
    shares = [np.maximum(count, 0.5) / max(count.sum(), 1) for count in counts]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def drift(
    reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], *, limit: float = 0.25, bins: int = 10
) -> pd.DataFrame:
    """Return column, psi, limit, drifted for each column that both frames have.

    Of few rows the index is large by chance alone: without a shift, psi / (1/n + 1/m) is distributed as chi squared
    with bins - 1 degrees of freedom (Yurdakul 2018, Western Michigan University, ch. 3), so the limit is at least its
    99.9 % point.

    Args:
        reference: rows then.
        current: rows now.
        columns: numeric columns to compare.
        limit: index that is read as a shift in large samples.
        bins: as `population_stability`.
    """
    from scipy.stats import chi2

    rows = []
    for name in columns:
        then, now = (frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (reference, current))
        psi = population_stability(then, now, bins)
        counts = [max(int(np.isfinite(values).sum()), 1) for values in (then, now)]
        chance = float(chi2.ppf(0.999, bins - 1)) * sum(1.0 / count for count in counts)
        allowed = max(limit, chance)
        rows.append({"column": name, "psi": psi, "limit": allowed, "drifted": bool(psi > allowed)})
    return pd.DataFrame(rows, columns=["column", "psi", "limit", "drifted"])
