"""Why a version may be champion or not: what decided it, beside its hardest competitors, in sentences and as a picture.

Here: reading a verdict, whatever the model. Not here: making one (`ml.backtest.gate`, `ml.replay`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.metrics.verdict import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDERS = "cost of replayed orders"
INK, ACCENT, PALE = "#1f2d3d", "#1f6f8b", "#c9d6df"
COMPETITORS = ("#e07a5f", "#3d405b", "#81b29a", "#bc6c25", "#7b2d8b", "#b56576", "#2a9d8f")
# What lies beyond is drawn at the edge with an arrow: one competitor far off must not squeeze the others together.
_LEAST, _MOST = 0.3, 2.0
_MOST_NAMED = 6


def compared(verdict: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that decide between models: ours beside a competitor's over everything.

    Returns:
        the columns of the verdict; sums over lead times first, then the cost of replayed orders, then the rest, and of
        each measure the hardest competitor first.
    """
    measures = verdict["measure"].astype(str)
    is_reported = measures.str.startswith(("PIT distance", "fill rate", "cycle service level"))
    rows = verdict[
        (verdict["segment"] == "all") & (verdict["competitor"] != "") & verdict["ratio"].notna() & ~is_reported
    ]
    ratio = rows["ratio"].where(~rows["is_more_better"].astype(bool), 1.0 / rows["ratio"].clip(lower=1e-12))
    order = pd.DataFrame({"place": rows["measure"].map(_place), "ahead": -ratio})
    return rows.loc[order.sort_values(["place", "ahead"], kind="stable").index]


def hardest(verdict: pd.DataFrame, measure: str) -> Mapping[Hashable, Any] | None:
    """Return the row of a measure, over everything, of the hardest competitor; None where there is none."""
    rows = compared(verdict)
    rows = rows[rows["measure"] == measure]
    return None if rows.empty else rows.to_dict("records")[0]


def reason(verdict: pd.DataFrame) -> str:
    """Return in Markdown what decided: for each measure ours beside the hardest competitor's, then what was not met.

    Args:
        verdict: from `ml.metrics.verdict_frame`.
    """
    failed = verdict[~verdict["passed"].astype(bool)]
    blocking = verdict[verdict["blocks"].astype(bool)]
    head = (
        f"{'Failed' if len(failed) else 'Passed'} its gate: {int(blocking['met'].sum())} of {len(blocking)} criteria"
        f" that block are met, {int(verdict['met'].sum())} of all {len(verdict)}."
    )
    rows = compared(verdict).drop_duplicates("measure")
    lines = [f"* {_sentence(row)}" for row in rows.to_dict("records")]
    parts = [head, *(["Beside the hardest competitor of each measure:\n\n" + "\n".join(lines)] if lines else [])]
    for title, unmet in (
        ("Failed", failed),
        ("Not met, without blocking", verdict[~verdict["met"].astype(bool) & verdict["passed"].astype(bool)]),
    ):
        if len(unmet):
            named = "; ".join(unmet["criterion"].astype(str).head(_MOST_NAMED).str.replace("_", " "))
            more = f"; and {len(unmet) - _MOST_NAMED} more" if len(unmet) > _MOST_NAMED else ""
            parts.append(f"{title}: {named}{more}.")
    return "\n\n".join(parts)


def _sentence(row: Mapping[Hashable, Any]) -> str:
    ratio = float(row["ratio"])
    change = f"{abs(ratio - 1):.1%} {'less' if ratio < 1 else 'more'}"
    if math.isinf(ratio):
        change = "more than nothing"
    elif math.isclose(ratio, 1.0, abs_tol=5e-4):
        change = "alike"
    theirs = f"{str(row['competitor']).replace('_', ' ')} {number(row['theirs'])}"
    span = interval(float(row["low"]), float(row["high"]))
    return f"{row['measure']}: {number(row['ours'])}, {theirs}: {change} (ratio {number(ratio)}, 90 % interval {span})"


def _place(measure: str) -> int:
    if measure.startswith("pinball loss of "):
        return 0
    return {ORDERS: 1, "WRMSSE": 2}.get(measure, 3)


def reason_chart(verdict: pd.DataFrame, title: str) -> Figure | None:
    """Draw ours beside every competitor: each measure with the ratio to each competitor and its 90 % interval.

    Args:
        verdict: from `ml.metrics.verdict_frame`.
        title: what the picture shows, its first line.

    Returns:
        None where nothing was compared.
    """
    from matplotlib.figure import Figure

    rows = compared(verdict)
    if rows.empty:
        return None
    competitors = list(dict.fromkeys(rows["competitor"]))
    lines = len(rows) + 0.5 * rows["measure"].nunique()
    height = 0.3 * lines + 1.5
    figure = Figure(figsize=(11.0, height))
    axes = figure.add_axes((0.25, 0.62 / height, 0.4, 1.0 - 1.1 / height))
    place, ticks = 0.0, []
    for number_of_measure, (measure, part) in enumerate(rows.groupby("measure", sort=False)):
        axes.axhspan(place - 0.6, place + len(part) - 0.4, color=PALE, alpha=0.3 * (number_of_measure % 2), linewidth=0)
        ticks.append((place + (len(part) - 1) / 2, str(measure)))
        for row in part.to_dict("records"):
            _draw(axes, row, place, COMPETITORS[competitors.index(row["competitor"]) % len(COMPETITORS)])
            place += 1.0
        place += 0.5
    axes.axvline(1.0, color=ACCENT, linewidth=1.8)
    axes.set_ylim(place - 0.6, -1.5)
    axes.set_yticks([tick for tick, _ in ticks], [label for _, label in ticks], fontsize=9, color=INK)
    better = "right" if rows["is_more_better"].astype(bool).all() else "left"
    axes.set_xlabel(f"ratio ours / competitor, with 90 % interval: {better} of the line ours is better", fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for x, text in ((1.04, "competitor"), (1.36, "ours"), (1.52, "competitor's"), (1.7, "ratio (90 % interval)")):
        axes.text(x, -0.95, text, transform=axes.get_yaxis_transform(), fontsize=8.5, color=INK, weight="bold")
    figure.text(0.01, 1.0 - 0.12 / height, title, fontsize=12, color=INK, weight="bold", va="top")
    return figure


def _draw(axes: Axes, row: Mapping[Hashable, Any], place: float, color: str) -> None:
    """Draw a ratio with its interval, and both figures in columns beside it."""
    ratio, low, high = (float(row[name]) for name in ("ratio", "low", "high"))
    if math.isfinite(low) and math.isfinite(high):
        ends = np.clip([low, high], _LEAST, _MOST)
        axes.plot(ends, [place, place], color=color, linewidth=3, solid_capstyle="butt", alpha=0.55)
    drawn = min(max(ratio, _LEAST), _MOST)
    marker = "o" if drawn == ratio else "<" if ratio < drawn else ">"
    axes.plot([drawn], [place], marker, color=color, markersize=7)
    for x, text, tint in (
        (1.04, str(row["competitor"]).replace("_", " "), color),
        (1.36, number(row["ours"]), ACCENT),
        (1.52, number(row["theirs"]), color),
        (1.7, f"{number(ratio)} ({interval(low, high)})", INK),
    ):
        axes.text(x, place, text, transform=axes.get_yaxis_transform(), fontsize=8.5, color=tint, va="center")
