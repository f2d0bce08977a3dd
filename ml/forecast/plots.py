"""Pictures of forecasts: fan charts, calibration curve, error by lag, contributions.

Here: frames in, matplotlib figures or PNG bytes out. Nothing touches pyplot, so no window system and no state.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.forecast.explain import GROUPS
from ml.schema import KEYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

INK, ACCENT, PALE = "#1f2d3d", "#1f6f8b", "#c9d6df"
PALETTE = ("#1f6f8b", "#e07a5f", "#81b29a", "#3d405b", "#f2cc8f", "#8d99ae", "#7b2d8b", "#b56576", "#2a9d8f", "#bc6c25")
OFF = "#c1121f"
BANDS = (("q05", "q95", "90 % band", 0.2), ("q10", "q90", "80 % band", 0.25), ("q30", "q70", "40 % band", 0.4))


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    return buffer.getvalue()


def typical_and_worst(series: pd.DataFrame, model_spec: str, each: int = 3) -> pd.DataFrame:
    """Choose series to look at: around the median RMSSE, and the highest, by value-weighted score.

    Args:
        series: `Evaluation.series`.
        model_spec: whose errors count.
        each: how many of a kind.

    Returns:
        sku, location_id, choice ("typical" or "worst").
    """
    scored = series[(series["model_spec"] == model_spec) & series["rmsse"].notna()]
    mean = scored.groupby(KEYS, as_index=False)[["rmsse", "weight"]].mean()
    half = mean["weight"] >= mean["weight"].median()
    ranked = mean[half].sort_values("rmsse", kind="stable").reset_index(drop=True)
    middle = max(0, len(ranked) // 2 - each // 2)
    chosen = [ranked.iloc[middle : middle + each].assign(choice="typical"), ranked.tail(each).assign(choice="worst")]
    return pd.concat(chosen)[[*KEYS, "choice"]].drop_duplicates(KEYS).reset_index(drop=True)


def fan_charts(
    history: pd.DataFrame, forecast: pd.DataFrame, keys: pd.DataFrame, *, periods: int = 90, period: str = "period"
) -> Figure:
    """Draw past demand and the forecast with its 40 %, 80 % and 90 % bands, one panel per series.

    Args:
        history: sku, location_id, period_start, demand_units; what lies after the start of the forecast is not drawn.
        forecast: as `DemandForecaster.predict` [, actual_units: what came].
        keys: sku, location_id [, choice] of the series to draw.
        periods: how much history to show.
        period: what a period is called on the axis.
    """
    from matplotlib.figure import Figure

    columns = min(3, max(1, len(keys)))
    rows = max(1, -(-len(keys) // columns))
    figure = Figure(figsize=(4.4 * columns, 2.6 * rows + 0.4))
    for place, key in enumerate(keys.itertuples(index=False)):
        axes = figure.add_subplot(rows, columns, place + 1)
        past = _of(history, key.sku, key.location_id)
        ahead = _of(forecast, key.sku, key.location_id)
        past = past[past["period_start"] < ahead["period_start"].min()].tail(periods)
        axes.plot(past["period_start"], past["demand_units"], color=INK, linewidth=0.8, label="demand before")
        for low, high, label, alpha in BANDS:
            axes.fill_between(
                ahead["period_start"],
                ahead[f"{low}_units"],
                ahead[f"{high}_units"],
                color=ACCENT,
                alpha=alpha,
                linewidth=0,
                step="mid",
                label=label,
            )
        axes.plot(ahead["period_start"], ahead["mean_units"], color=ACCENT, linewidth=1.4, label="forecast, mean")
        if "actual_units" in ahead.columns:
            axes.plot(ahead["period_start"], ahead["actual_units"], ".", color=INK, markersize=4, label="what came")
        choice = f" ({key.choice})" if "choice" in keys.columns else ""
        _plain(axes, f"{key.sku} at {key.location_id}{choice}", "", f"units a {period}")
        axes.tick_params(axis="x", labelrotation=30)
        axes.set_ylim(bottom=0)
    figure.tight_layout(rect=(0.0, 0.06, 1.0, 1.0))
    if len(keys):
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def calibration_curve(calibration: pd.DataFrame, model_spec: str, *, period: str = "period") -> Figure:
    """Draw for each level the range P(y < q) ... P(y <= q), which must hold the level; `Evaluation.calibration`."""
    from matplotlib.figure import Figure

    part = calibration[(calibration["model_spec"] == model_spec) & (calibration["segment_kind"] == "all")]
    figure = Figure(figsize=(5.2, 4.4))
    axes = figure.add_subplot()
    _calibration_bars(axes, part)
    title = f"Is demand below each quantile as often as promised? ({model_spec})\nEvery bar should reach the line;"
    _plain(
        axes, f"{title} it is long where many {period}s sell nothing", "promised: level of the quantile", "what came"
    )
    figure.tight_layout(rect=(0.0, 0.1, 1.0, 1.0))
    figure.legend(handles=_calibration_legend(f"{period}s"), loc="lower center", frameon=False, fontsize=7, ncols=3)
    return figure


def calibration_of_sums(sums: pd.DataFrame, model_spec: str, *, period: str = "period") -> Figure:
    """Draw the calibration of sums over the first periods, one panel a span; `Evaluation.sums`."""
    from matplotlib.figure import Figure

    own = sums[sums["model_spec"] == model_spec]
    spans = own["span"].unique().tolist()
    figure = Figure(figsize=(3.6 * max(1, len(spans)), 3.6))
    for place, span in enumerate(spans, start=1):
        axes = figure.add_subplot(1, len(spans), place)
        _calibration_bars(axes, own[own["span"] == span])
        _plain(
            axes,
            f"Demand of {span} {period}s together",
            "promised: level of the quantile",
            "what came" if place == 1 else "",
        )
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))
    figure.legend(handles=_calibration_legend("sums"), loc="lower center", frameon=False, fontsize=8, ncols=3)
    return figure


def _calibration_bars(axes: Axes, shares: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1)
    is_off = shares["gap"].abs() > 0.02
    color = np.where(is_off, OFF, ACCENT).tolist()
    axes.vlines(shares["level"], shares["below"], shares["upto"], color=color, linewidth=4, alpha=0.7)
    # Where hardly any demand meets its quantile exactly there is no bar to see, only a point.
    points = (shares["upto"] - shares["below"] < 0.03).to_numpy()
    middle = (shares["below"] + shares["upto"]) / 2
    axes.scatter(shares["level"][points], middle[points], color=np.asarray(color)[points].tolist(), marker="o", s=14)


def _calibration_legend(what: str) -> list[Line2D]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=PALE, linewidth=1, label="as promised"),
        Line2D([], [], color=ACCENT, linewidth=4, alpha=0.7, label=f"share of {what} below ... up to the quantile"),
        Line2D([], [], color=OFF, linewidth=4, alpha=0.7, label="more than 2 points off"),
    ]


def error_by_lag(horizons: pd.DataFrame, *, own: str | None = None, season: int = 1, period: str = "period") -> Figure:
    """Draw WAPE and bias by periods ahead, one line per model spec; `Evaluation.horizons`.

    Args:
        horizons: the errors; a lag at which nothing was observed is left out of its line.
        own: model spec to stand out.
        season: periods that are averaged, so that a line does not repeat the pattern of a week; 1 = none.
        period: what a period is called on the axis.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.6))
    mean = f", mean of {season} {period}s" if season > 1 else ""
    for place, (measure, label) in enumerate(
        (("wape", f"Error (WAPE{mean})"), ("bias", f"Bias{mean}: above 0 = forecast too high")), start=1
    ):
        axes = figure.add_subplot(1, 2, place)
        if measure == "bias":
            axes.axhline(0.0, color=PALE, linewidth=1)
        for number, (model_spec, part) in enumerate(horizons.groupby("model_spec", sort=False)):
            known = part[part[measure].notna()]
            drawn = known[measure].rolling(season, min_periods=1, center=True).mean()
            is_own = model_spec == own
            axes.plot(
                known["periods_ahead"],
                drawn,
                label=str(model_spec).replace("_", " "),
                color=INK if is_own else PALETTE[number % len(PALETTE)],
                linewidth=2.4 if is_own else 1.3,
                linestyle="--" if is_own else "-",
            )
        _plain(axes, label, f"{period}s ahead", "share of demand")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))
    figure.legend(handles, labels, loc="lower center", ncols=8, frameon=False, fontsize=8)
    return figure


def contribution_chart(split: pd.DataFrame, sku: str, location_id: str, *, period: str = "period") -> Figure:
    """Draw what each group adds to the recent level of one series; frame of `ml.forecast.explain.contributions`.

    Closed periods, whose forecast is zero whatever the model says, are left empty.
    """
    from matplotlib.figure import Figure

    part = _of(split, sku, location_id)
    figure = Figure(figsize=(8.0, 3.8))
    axes = figure.add_subplot()
    places = np.arange(len(part))
    opened = part["mean_units"].to_numpy(dtype=np.float64) > 0
    level = part["level_units"].to_numpy(dtype=np.float64)
    up, down = level.copy(), level.copy()
    for number, name in enumerate(GROUPS):
        values = np.where(opened, part[f"{name}_units"].to_numpy(dtype=np.float64), 0.0)
        bottom = np.where(values >= 0, up, down + values)
        axes.bar(places, np.abs(values), bottom=bottom, color=PALETTE[number], label=name.replace("_", " "), width=0.85)
        up += np.maximum(values, 0.0)
        down += np.minimum(values, 0.0)
    axes.step(places, level, where="mid", color=OFF, linewidth=1.2, label="recent level")
    forecast = part["mean_units"].to_numpy(dtype=np.float64)
    axes.plot(places, np.where(opened, forecast, np.nan), "o-", color=INK, linewidth=1, markersize=3, label="forecast")
    axes.set_ylim(bottom=min(0.0, 1.05 * float(down.min(initial=0.0))))
    axes.set_xticks(places[:: max(1, len(places) // 8)])
    stamps = pd.to_datetime(part["period_start"]).dt.strftime("%d %b %Y").tolist()
    axes.set_xticklabels(stamps[:: max(1, len(places) // 8)])
    title = f"Why {sku} at {location_id} is forecast so: bars above the recent level add, bars below take away"
    title += f"\n{period}s without a bar are closed" if not opened.all() else ""
    _plain(axes, title, "", f"units a {period}")
    figure.tight_layout(rect=(0.0, 0.1, 1.0, 1.0))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", frameon=False, fontsize=8, ncols=8)
    return figure


def importance_chart(moved: pd.DataFrame, *, period: str = "period") -> Figure:
    """Draw how far each group moves a forecast from its recent level; frame of `ml.forecast.explain.importance`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 2.6))
    axes = figure.add_subplot()
    places = np.arange(len(moved))[::-1]
    axes.barh(places, moved["mean_absolute_units"], color=ACCENT, height=0.7)
    axes.set_yticks(places, [str(name).replace("_", " ") for name in moved["group"]])
    label = f"units a {period} up or down, mean of the series explained"
    _plain(axes, "What moves forecasts away from the recent level", label, "")
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
