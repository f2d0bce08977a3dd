"""Pictures of forecasts: fan charts, calibration curve, error by lag, contributions.

Here: frames in, matplotlib figures or PNG bytes out. Nothing touches pyplot, so no window system and no state.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.features import KEYS
from ml.forecast_explain import GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, PALE = "#1f2d3d", "#1f6f8b", "#c9d6df"
PALETTE = ("#1f6f8b", "#e07a5f", "#81b29a", "#3d405b", "#f2cc8f", "#8d99ae")


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    return buffer.getvalue()


def typical_and_worst(series: pd.DataFrame, recipe: str, each: int = 3) -> pd.DataFrame:
    """Choose series to look at: around the median RMSSE, and the highest, by value-weighted score.

    Args:
        series: `Evaluation.series`.
        recipe: whose errors count.
        each: how many of a kind.

    Returns:
        sku, location_id, choice ("typical" or "worst").
    """
    scored = series[(series["recipe"] == recipe) & series["rmsse"].notna()]
    mean = scored.groupby(KEYS, as_index=False)[["rmsse", "weight"]].mean()
    half = mean["weight"] >= mean["weight"].median()
    ranked = mean[half].sort_values("rmsse", kind="stable").reset_index(drop=True)
    middle = max(0, len(ranked) // 2 - each // 2)
    chosen = [ranked.iloc[middle : middle + each].assign(choice="typical"), ranked.tail(each).assign(choice="worst")]
    return pd.concat(chosen)[[*KEYS, "choice"]].drop_duplicates(KEYS).reset_index(drop=True)


def fan_charts(history: pd.DataFrame, forecast: pd.DataFrame, keys: pd.DataFrame, *, periods: int = 120) -> Figure:
    """Draw past demand and the forecast with its 50 %, 80 % and 90 % bands, one panel per series.

    Args:
        history: sku, location_id, period_start, demand_units.
        forecast: as `DemandForecaster.predict` [, actual_units].
        keys: sku, location_id [, choice] of the series to draw.
        periods: how much history to show.
    """
    from matplotlib.figure import Figure

    columns = min(3, max(1, len(keys)))
    rows = max(1, -(-len(keys) // columns))
    figure = Figure(figsize=(4.4 * columns, 2.6 * rows))
    for place, key in enumerate(keys.itertuples(index=False)):
        axes = figure.add_subplot(rows, columns, place + 1)
        past = _of(history, key.sku, key.location_id).tail(periods)
        ahead = _of(forecast, key.sku, key.location_id)
        axes.plot(past["period_start"], past["demand_units"], color=INK, linewidth=0.8)
        for low, high, alpha in (("q05", "q95", 0.2), ("q10", "q90", 0.25), ("q30", "q70", 0.4)):
            axes.fill_between(
                ahead["period_start"],
                ahead[f"{low}_units"],
                ahead[f"{high}_units"],
                color=ACCENT,
                alpha=alpha,
                linewidth=0,
            )
        axes.plot(ahead["period_start"], ahead["mean_units"], color=ACCENT, linewidth=1.4)
        if "actual_units" in ahead.columns:
            axes.plot(ahead["period_start"], ahead["actual_units"], ".", color=INK, markersize=3)
        choice = f" ({key.choice})" if "choice" in keys.columns else ""
        _plain(axes, f"{key.sku} at {key.location_id}{choice}", "", "units a period")
        axes.tick_params(axis="x", labelrotation=30)
        axes.set_ylim(bottom=0)
    figure.tight_layout()
    return figure


def calibration_curve(calibration: pd.DataFrame, recipe: str) -> Figure:
    """Draw for each level the range P(y < q) ... P(y <= q), which must hold the level; `Evaluation.calibration`."""
    from matplotlib.figure import Figure

    part = calibration[(calibration["recipe"] == recipe) & (calibration["segment_kind"] == "all")]
    figure = Figure(figsize=(4.4, 4.0))
    axes = figure.add_subplot()
    _calibration_bars(axes, part)
    _plain(axes, f"Calibration of {recipe}: bars must cross the line", "level", "share of periods below the quantile")
    return figure


def calibration_of_sums(sums: pd.DataFrame, recipe: str) -> Figure:
    """Draw the calibration of sums over the first periods, one panel a span; `Evaluation.sums`."""
    from matplotlib.figure import Figure

    own = sums[sums["recipe"] == recipe]
    spans = own["span"].unique().tolist()
    figure = Figure(figsize=(3.6 * max(1, len(spans)), 3.4))
    for place, span in enumerate(spans, start=1):
        axes = figure.add_subplot(1, len(spans), place)
        _calibration_bars(axes, own[own["span"] == span])
        _plain(axes, f"Sums of {span} periods", "level", "share of sums below the quantile" if place == 1 else "")
    figure.tight_layout()
    return figure


def _calibration_bars(axes: Axes, shares: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1)
    color = np.where(shares["gap"].abs() > 0.02, "#c1121f", ACCENT).tolist()
    axes.vlines(shares["level"], shares["below"], shares["upto"], color=color, linewidth=4, alpha=0.7)
    # A sum that never meets its quantile exactly has no bar, only its middle.
    axes.scatter(shares["level"], (shares["below"] + shares["upto"]) / 2, color=color, marker="_", s=40)


def error_by_lag(horizons: pd.DataFrame) -> Figure:
    """Draw WAPE and bias by periods ahead, one line per recipe; `Evaluation.horizons`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.0))
    for place, (measure, label) in enumerate((("wape", "WAPE"), ("bias", "bias, positive = over-forecast")), start=1):
        axes = figure.add_subplot(1, 2, place)
        for number, (recipe, part) in enumerate(horizons.groupby("recipe", sort=False)):
            axes.plot(
                part["periods_ahead"],
                part[measure],
                label=str(recipe),
                color=PALETTE[number % len(PALETTE)],
                linewidth=1.3,
            )
        _plain(axes, label, "periods ahead", "share of demand")
        axes.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    return figure


def contribution_chart(split: pd.DataFrame, sku: str, location_id: str) -> Figure:
    """Draw what each group adds to the recent level of one series; frame of `ml.forecast_explain.contributions`."""
    from matplotlib.figure import Figure

    part = _of(split, sku, location_id)
    figure = Figure(figsize=(8.0, 3.2))
    axes = figure.add_subplot()
    places = np.arange(len(part))
    level = part["level_units"].to_numpy(dtype=np.float64)
    up, down = level.copy(), level.copy()
    for number, name in enumerate(GROUPS):
        values = part[f"{name}_units"].to_numpy(dtype=np.float64)
        bottom = np.where(values >= 0, up, down + values)
        axes.bar(places, np.abs(values), bottom=bottom, color=PALETTE[number], label=name.replace("_", " "), width=0.85)
        up += np.maximum(values, 0.0)
        down += np.minimum(values, 0.0)
    axes.step(places, level, where="mid", color=PALE, linewidth=1.5, label="recent level")
    axes.plot(places, part["mean_units"], ".-", color=INK, linewidth=1, markersize=4, label="forecast")
    axes.set_xticks(places[:: max(1, len(places) // 8)])
    stamps = pd.to_datetime(part["period_start"]).dt.strftime("%d %b").tolist()
    axes.set_xticklabels(stamps[:: max(1, len(places) // 8)])
    axes.legend(frameon=False, fontsize=7, ncols=4)
    _plain(axes, f"What moves {sku} at {location_id}", "", "units a period")
    return figure


def importance_chart(moved: pd.DataFrame) -> Figure:
    """Draw how far each group moves a forecast from its recent level; frame of `ml.forecast_explain.importance`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 2.6))
    axes = figure.add_subplot()
    places = np.arange(len(moved))[::-1]
    axes.barh(places, moved["mean_absolute_units"], color=ACCENT, height=0.7)
    axes.set_yticks(places, [str(name).replace("_", " ") for name in moved["group"]])
    _plain(axes, "What moves the forecasts from the recent level", "units a period, mean size", "")
    return figure


def _of(frame: pd.DataFrame, sku: object, location_id: object) -> pd.DataFrame:
    return frame[(frame["sku"] == sku) & (frame["location_id"] == location_id)].sort_values("period_start")


def _plain(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
