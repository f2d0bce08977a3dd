"""Errors over the windows of a backtest: by segment, horizon and level, and those of sums of periods."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.backtest.windows import Window
from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.metrics import forecast as metrics
from ml.schema import KEYS, Doubles, Flags

SEGMENTS = ("demand_class", "abc_class", "location_id")


class Tally:
    """Sums over windows from which calibration and errors by horizon follow."""

    def __init__(self, horizon: int) -> None:
        self.counts: dict[tuple[str, str], Doubles] = {}
        self.ahead = np.zeros((horizon, 5))

    def add(self, window: Window, mean: Doubles, quantiles: Doubles) -> None:
        known = np.isfinite(window.actual)
        error = np.where(known, mean - window.actual, 0.0)
        losses = metrics.pinball_loss(window.actual[:, :, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=2)
        self.ahead[:, 0] += known.sum(axis=0)
        self.ahead[:, 1] += np.abs(error).sum(axis=0)
        self.ahead[:, 2] += error.sum(axis=0)
        self.ahead[:, 3] += np.where(known, window.actual, 0.0).sum(axis=0)
        self.ahead[:, 4] += np.where(known, losses, 0.0).sum(axis=0)
        below = (window.actual[:, :, None] < quantiles).sum(axis=1)
        upto = (window.actual[:, :, None] <= quantiles).sum(axis=1)
        classes = np.asarray(window.classes)
        groups: list[tuple[tuple[str, str], Flags]] = [(("all", "all"), np.ones(len(classes), dtype=bool))]
        groups += [(("demand_class", str(name)), classes == name) for name in np.unique(classes)]
        for key, inside in groups:
            row = np.concatenate([[known[inside].sum()], below[inside].sum(axis=0), upto[inside].sum(axis=0)])
            self.counts[key] = self.counts.get(key, np.zeros(len(row))) + row

    def calibration(self, model_spec: str) -> pd.DataFrame:
        frames = []
        levels = len(QUANTILE_LEVELS)
        for (kind, segment), row in self.counts.items():
            shares = np.column_stack([row[1 : 1 + levels], row[1 + levels :]]) / max(row[0], 1.0)
            gap = metrics.calibration_gap(shares, QUANTILE_LEVELS)
            frames.append(
                pd.DataFrame(
                    {
                        "model_spec": model_spec,
                        "segment_kind": kind,
                        "segment": segment,
                        "level": QUANTILE_LEVELS,
                        "below": shares[:, 0],
                        "upto": shares[:, 1],
                        "gap": gap,
                        "periods": int(row[0]),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def horizons(self, model_spec: str) -> pd.DataFrame:
        count = np.maximum(self.ahead[:, 0], 1)
        total = np.where(self.ahead[:, 3] > 0, self.ahead[:, 3], np.nan)
        return pd.DataFrame(
            {
                "model_spec": model_spec,
                "periods_ahead": np.arange(1, len(count) + 1),
                "mae": self.ahead[:, 1] / count,
                "wape": self.ahead[:, 1] / total,
                "bias": self.ahead[:, 2] / total,
                "pinball": self.ahead[:, 4] / count,
            }
        )


def segments(series: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for model_spec, part in series.groupby("model_spec", sort=False):
        rows.append({"model_spec": model_spec, "segment_kind": "all", "segment": "all"} | _measures(part))
        for kind in SEGMENTS:
            for segment, inside in part.groupby(kind):
                rows.append(
                    {"model_spec": model_spec, "segment_kind": kind, "segment": str(segment)} | _measures(inside)
                )
    return pd.DataFrame(rows)


def headline(scored: pd.DataFrame) -> dict[str, float]:
    return {name: value for name, value in _measures(scored).items() if name in ("wrmsse", "pinball", "wape", "bias")}


def joined_sums(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["model_spec", "span", "level", "below", "upto", "gap", "pinball", "rows"])
    table = pd.concat(parts, ignore_index=True)
    for name in ("below", "upto", "pinball"):
        table[name] *= table["rows"]
    table = table.groupby(["model_spec", "span", "level"], as_index=False, sort=False)[
        ["below", "upto", "pinball", "rows"]
    ].sum()
    for name in ("below", "upto", "pinball"):
        table[name] /= table["rows"]
    table["gap"] = metrics.calibration_gap(table[["below", "upto"]].to_numpy(), table["level"].to_numpy().tolist())
    return table


def score_sums(sums: pd.DataFrame) -> pd.DataFrame:
    """Return below, upto, pinball and rows for each span and level."""
    found = []
    for span, part in sums.groupby("span", sort=False):
        actual = part["actual_units"].to_numpy(dtype=np.float64)
        quantiles = part[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
        shares = metrics.calibration(actual, quantiles, QUANTILE_LEVELS)
        loss = metrics.pinball_loss(actual[:, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=0)
        table = {"span": span, "level": QUANTILE_LEVELS, "below": shares[:, 0], "upto": shares[:, 1], "pinball": loss}
        found.append(pd.DataFrame(table).assign(rows=len(part)))
    return pd.concat(found, ignore_index=True)


def series_losses(sums: pd.DataFrame) -> pd.DataFrame:
    """Return sku, location_id, demand_class, span and pinball (mean over the levels) of each sum."""
    actual = sums["actual_units"].to_numpy(dtype=np.float64)
    quantiles = sums[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
    losses = metrics.pinball_loss(actual[:, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=1)
    return sums[[*KEYS, "demand_class", "span"]].assign(pinball=losses)


def _measures(rows: pd.DataFrame) -> dict[str, float]:
    periods = rows["periods"].to_numpy(dtype=np.float64)
    total = float(rows["actual_units"].sum())
    absolute = float((rows["absolute_error"] * periods).sum())
    count = max(float(periods.sum()), 1.0)
    pinball = float((rows["pinball"] * periods).sum())
    sold = float(rows["sold_periods"].sum())
    nan = float("nan")
    return {
        "series": float(len(rows)),
        "periods": float(periods.sum()),
        "mae": absolute / count,
        "rmse": float(np.sqrt((rows["squared_error"] * periods).sum() / count)),
        "mape": float(rows["relative_error"].sum()) / sold if sold else nan,
        "wape": absolute / total if total > 0 else nan,
        "bias": (float(rows["forecast_units"].sum()) - total) / total if total > 0 else nan,
        "mase": float(rows["mase"].mean()),
        "rmsse": float(rows["rmsse"].mean()),
        "wrmsse": metrics.wrmsse(rows["rmsse"].to_numpy(dtype=np.float64), rows["weight"].to_numpy(dtype=np.float64)),
        "pinball": pinball / count,
        "wql": 2.0 * pinball / total if total > 0 else nan,
    }
