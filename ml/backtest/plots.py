"""The picture of calibration: the PIT of each demand class.

Here: frames in, matplotlib figures out; nothing touches pyplot, so no window system and no state. Not here: pictures of
forecasts (`ml.forecast.plots`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.backtest.calibration import CLASSES
from ml.metrics.pit import BINS
from ml.metrics.verdict import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, OFF = "#1f2d3d", "#1f6f8b", "#c1121f"


def pit_histograms(
    pit: pd.DataFrame, distances: pd.DataFrame, model_spec: str, *, limit: float, period: str = "period"
) -> Figure:
    """Draw the randomised PIT of each demand class, a row of panels per class and a column per span.

    Args:
        pit: `Evaluation.pit`.
        distances: of `ml.backtest.pit_by_class`.
        model_spec: whose.
        limit: distance that no class may surely exceed.
        period: what a period is called.
    """
    from matplotlib.figure import Figure

    own = distances[distances["model_spec"] == model_spec]
    classes = [name for name in CLASSES if (own["demand_class"] == name).any()]
    spans = sorted(own["span"].unique())
    figure = Figure(figsize=(2.7 * max(1, len(spans)) + 0.4, 1.9 * max(1, len(classes)) + 1.1))
    for line, name in enumerate(classes):
        for column, span in enumerate(spans):
            axes = figure.add_subplot(len(classes), len(spans), line * len(spans) + column + 1)
            part = pit[(pit["model_spec"] == model_spec) & (pit["span"] == span) & (pit["demand_class"] == name)]
            row = own[(own["span"] == span) & (own["demand_class"] == name)]
            _histogram(axes, part["pit"].to_numpy(dtype=np.float64), row, limit)
            what = f"single {period}s" if span == 1 else f"sums of {span} {period}s"
            axes.set_title(f"{name}, {what}", loc="left", fontsize=8, color=INK)
            if line == len(classes) - 1:
                axes.set_xlabel("PIT", fontsize=7)
    figure.suptitle(
        "Are the distributions right? PIT: share of the distribution below what came; every bar would reach the line.\n"
        "Hump: too wide; both ends high: too narrow; "
        "one end high: too low or too high. Red: surely further from even than the limit.",
        fontsize=8.5,
        color=INK,
        x=0.01,
        ha="left",
    )
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 0.97))
    return figure


def _histogram(axes: Axes, values: np.ndarray, row: pd.DataFrame, limit: float) -> None:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    heights = np.histogram(values, edges)[0] * BINS / max(len(values), 1)
    is_off = bool((row["low"] > limit).any())
    axes.bar(edges[:-1], heights, width=1 / BINS, align="edge", color=OFF if is_off else ACCENT, alpha=0.75)
    axes.axhline(1.0, color=INK, linewidth=1)
    axes.set_ylim(0.0, max(2.0, 1.1 * float(heights.max(initial=0.0))))
    axes.tick_params(labelsize=6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(row):
        found = row.iloc[0]
        text = f"distance {number(found['distance'])} ({interval(found['low'], found['high'])}), {len(values):,} values"
        axes.text(0.02, 0.97, text, transform=axes.transAxes, fontsize=6.5, va="top", color=INK)
