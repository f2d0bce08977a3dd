"""What a series remembers from day to day: the usual against which a day is held.

What is made of it does not belong here (`ml.anomaly.features`).
"""

from __future__ import annotations

import numpy as np

# What `walk` remembers of a series.
MEMORY = (
    "history",
    "mean",
    "fast",
    "selling_share",
    "chance",
    "size_log",
    "size_spread",
    "dispersion",
    "receipt_log",
    "receipt_spread",
    "last_receipt",
    "receipt_age",
    "pack",
    "peak",
    "count_age",
    "negative_run",
    "quiet",
    "quiet_step",
    "quiet_days",
    "drop_step",
    "usual_price_gap",
    "price_gap_spread",
)


def walk(
    *,
    present: np.ndarray,
    demand: np.ndarray,
    receipt: np.ndarray,
    closing: np.ndarray,
    in_stock: np.ndarray,
    is_open: np.ndarray,
    counted: np.ndarray,
    price_gap: np.ndarray | None,
    day_factor: np.ndarray,
) -> dict[str, np.ndarray]:
    """Carry the memory of each series from day to day; all arrays are [days, series].

    Means forget: the weight of a day halves in about 60 open days (7 for `fast`), and is 1/n while history is short.
    Values enter a memory clipped, so one false movement does not become the usual.

    Returns:
        float32 [days, series] for each of `MEMORY`, as known before the day's own movements, except quiet,
        quiet_step, quiet_days, drop_step and negative_run, which include the day.
    """
    span, width = present.shape
    out = {name: np.zeros((span, width), dtype=np.float32) for name in MEMORY}
    zero = np.zeros(width)
    history, mean, fast, selling = zero.copy(), zero.copy(), zero.copy(), zero.copy()
    spread_ratio = np.full(width, 2.0)
    sizes, size_log, size_dev = zero.copy(), zero.copy(), np.full(width, 0.7)
    receipts, receipt_log, receipt_dev, last_receipt = zero.copy(), zero.copy(), np.full(width, 0.5), zero.copy()
    receipt_age, count_age = zero.copy(), zero.copy()
    pack = np.zeros(width, dtype=np.int64)
    peak, negative_run = zero.copy(), zero.copy()
    quiet, quiet_days, drop_peak = zero.copy(), zero.copy(), zero.copy()
    prices, gap_mean, gap_dev = zero.copy(), zero.copy(), np.full(width, 0.3)
    out["price_gap_spread"][:] = 1.0

    for t in range(span):
        on = present[t]
        if not on.any():
            continue
        x = np.maximum(demand[t], 0.0)
        sold = on & (x > 0)
        # A series that has hardly sold counts as selling one unit in twice its known days.
        floor = np.maximum(mean, 1.0 / (2.0 * history + 10.0))
        dispersion = (spread_ratio * history + 20.0) / (history + 10.0)
        out["history"][t], out["mean"][t], out["fast"][t] = history, floor, fast
        out["selling_share"][t], out["dispersion"][t] = selling, dispersion
        out["peak"][t], out["count_age"][t], out["receipt_age"][t] = peak, count_age, receipt_age
        out["last_receipt"][t], out["pack"][t] = last_receipt, pack

        below = on & (closing[t] < 0)
        negative_run = np.where(below, negative_run + 1, np.where(on, 0.0, negative_run))
        out["negative_run"][t] = negative_run
        peak = np.where(on, np.maximum(peak, closing[t]), peak)
        count_age = np.where(on & np.isfinite(counted[t]), 0.0, count_age + on)

        # No sale although the record says there is stock: the more of such days, and the likelier a sale was on each,
        # the less likely the stock is there.
        able = on & is_open[t] & in_stock[t]
        chance = np.clip(np.minimum(selling * day_factor[t], 1.0 - np.exp(-floor * day_factor[t])), 0.0, 0.99)
        before = quiet
        quiet = np.where(sold, 0.0, np.where(able, quiet - np.log10(1.0 - chance), quiet))
        quiet_days = np.where(sold, 0.0, quiet_days + able)
        # One report per decade: a silence of a month is not thirty anomalies.
        stepped = able & ~sold & (history >= 14) & (closing[t] > 0) & (np.floor(quiet) > np.floor(before))
        out["chance"][t] = np.where(able, chance, 0.0)
        out["quiet"][t], out["quiet_days"][t] = quiet, quiet_days
        out["quiet_step"][t] = np.where(stepped, quiet, 0.0)

        seen = on & is_open[t] & (in_stock[t] | (x > 0))
        rate = np.where(seen, np.maximum(1.0 / (history + 1.0), 0.0115), 0.0)
        quick = np.where(seen, np.maximum(1.0 / (history + 1.0), 0.094), 0.0)
        deviation = np.sqrt(dispersion * (floor + floor * floor))
        capped = np.minimum(x, np.where(history >= 10, floor + 6.0 * deviation, np.inf))
        # With the variance v of a day's demand and weight w per day, the fast mean varies by v·w/(2−w).
        fall = (mean - fast) / (deviation * 0.222)
        drop = np.where(seen & (history >= 28) & (sizes >= 8), np.maximum(fall - 1.0, 0.0), 0.0)
        drop_peak = np.where(drop > 0, drop_peak, 0.0)
        out["drop_step"][t] = np.where(np.floor(drop * 2) > np.floor(drop_peak * 2), drop, 0.0)
        drop_peak = np.maximum(drop_peak, drop)
        error = np.minimum((capped - mean) ** 2 / (floor + floor * floor), 40.0)
        spread_ratio += np.where(history >= 3, rate, 0.0) * (error - spread_ratio)
        mean = mean + rate * (capped - mean)
        fast = fast + quick * (capped - fast)
        selling = selling + rate * (sold - selling)
        history = history + seen

        log_x = np.log(np.maximum(x, 1e-3))
        start = np.where(sizes > 0, size_log, np.log(np.maximum(x, 1.0)))
        spread = np.maximum((size_dev * sizes + 0.8 * 4.0) / (sizes + 4.0), 0.15)
        out["size_log"][t], out["size_spread"][t] = start, spread
        size_log, size_dev, sizes = _remember(log_x, sold, start, spread, size_dev, sizes, 0.02)

        got = on & (receipt[t] > 0)
        log_r = np.log(np.maximum(receipt[t], 1e-3))
        start = np.where(receipts > 0, receipt_log, np.log(np.maximum(receipt[t], 1.0)))
        spread = np.maximum((receipt_dev * receipts + 0.5 * 3.0) / (receipts + 3.0), 0.1)
        out["receipt_log"][t], out["receipt_spread"][t] = start, spread
        if got.any():
            receipt_log, receipt_dev, receipts = _remember(log_r, got, start, spread, receipt_dev, receipts, 0.05)
            pack = np.where(got, np.gcd(pack, np.round(receipt[t]).astype(np.int64)), pack)
            last_receipt = np.where(got, receipt[t], last_receipt)
        receipt_age = np.where(got, 0.0, receipt_age + on)

        if price_gap is not None:
            told = on & np.isfinite(price_gap[t])
            gap = np.where(told, price_gap[t], 0.0)
            spread = np.maximum((gap_dev * prices + 0.3 * 4.0) / (prices + 4.0), 0.03)
            out["usual_price_gap"][t], out["price_gap_spread"][t] = gap_mean, spread
            gap_mean, gap_dev, prices = _remember(gap, told, gap_mean, spread, gap_dev, prices, 0.05)
    return out


def _remember(
    value: np.ndarray,
    is_new: np.ndarray,
    start: np.ndarray,
    spread: np.ndarray,
    deviation: np.ndarray,
    count: np.ndarray,
    least_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take values into a running mean and deviation, at most four spreads at once; return mean, deviation and count."""
    off = np.clip(value - start, -4.0 * spread, 4.0 * spread)
    rate = np.where(is_new, np.maximum(1.0 / (count + 1.0), least_rate), 0.0)
    # 1.2533 makes a mean absolute deviation a standard deviation under normality.
    deviation = deviation + np.where(count > 0, rate, 0.0) * (1.2533 * np.abs(off) - deviation)
    return start + rate * off, deviation, count + is_new
