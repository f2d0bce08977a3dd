"""Pictures of orders: demand and stock of one item, before and after the day of the decision.

Here: frames in, matplotlib figures out. Nothing touches pyplot, so no window system and no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, PALE, WARNING = "#1f2d3d", "#1f6f8b", "#c9d6df", "#c1121f"


def expected_stock(on_hand_units: float, demand: pd.Series, arrivals: pd.Series) -> pd.Series:
    """Return stock at the end of each day at mean demand, where unmet demand is lost.

    Args:
        on_hand_units: stock before the first day, units.
        demand: mean demand of consecutive days, units.
        arrivals: units that arrive, by day, each day once; they can be sold on that day. Days that `demand` does not
            have are left out.

    Returns:
        Stock in units, on the days of `demand`, never below 0.
    """
    stock, left = [], max(on_hand_units, 0.0)
    arriving = arrivals.reindex(demand.index, fill_value=0.0)
    for units, asked in zip(arriving, demand, strict=True):
        left = max(left + units - asked, 0.0)
        stock.append(left)
    return pd.Series(stock, index=demand.index, dtype="float64")


def order_outlook(
    past: pd.DataFrame,
    forecast: pd.DataFrame,
    open_orders: pd.DataFrame,
    line: pd.Series,
    transfers: pd.DataFrame,
    *,
    days: int = 60,
) -> Figure:
    """Draw demand with its forecast, and stock with and without the order and the proposed transfers, of one item.

    Args:
        past: day, demand_units, closing_units; one row per day.
        forecast: day, mean_units, q10_units, q90_units; one row per day ahead.
        open_orders: day, open_units; what is on order and counted, by day of arrival.
        line: product_name, sku, location_id, on_hand_units, order_units, order_by_date, expected_arrival_date of the
            recommendation; both dates are missing where nothing is ordered.
        transfers: units, from_location_id, to_location_id, order_by_date, expected_arrival_date of each proposed
            transfer to the item or from it; one leaves on its last day to be sent.
        days: how much of the past to show.
    """
    from matplotlib.figure import Figure

    past = past.sort_values("day").tail(days)
    ahead = forecast.sort_values("day").set_index("day")
    figure = Figure(figsize=(9, 4.6), layout="tight")
    demand, stock = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    demand.bar(past["day"], past["demand_units"], color=INK, width=0.8, label="demand")
    demand.fill_between(
        ahead.index, ahead["q10_units"], ahead["q90_units"], step="mid", color=PALE, label="80 % interval"
    )
    demand.plot(ahead.index, ahead["mean_units"], color=ACCENT, drawstyle="steps-mid", label="forecast, mean")
    _plain(demand, f"{line['product_name']}, {line['sku']} at {line['location_id']}: demand", "units a day")

    on_order = open_orders.groupby("day")["open_units"].sum()
    on_hand = float(line["on_hand_units"])
    stock.plot(past["day"], past["closing_units"], color=INK, drawstyle="steps-post", label="stock")
    changes, marks = _planned(line, transfers)
    if changes:
        planned = on_order.add(
            pd.DataFrame(changes, columns=["day", "units"]).groupby("day")["units"].sum(), fill_value=0
        )
        what = "the order" if transfers.empty else "both" if line["order_units"] > 0 else "the transfers"
        with_it = expected_stock(on_hand, ahead["mean_units"], planned)
        stock.plot(ahead.index, with_it, color=ACCENT, drawstyle="steps-post", label=f"expected with {what}")
    # Room for the words above the lines.
    stock.margins(y=0.1 * (1 + len(marks) // 2))
    for height, (moment, text, side) in enumerate(marks):
        stock.axvline(moment, color=ACCENT, linewidth=0.8, linestyle=":")
        stock.annotate(
            text,
            (moment, 0.97 - 0.09 * (height // 2)),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            color=ACCENT,
            ha=side,
            va="top",
        )
    without = expected_stock(on_hand, ahead["mean_units"], on_order)
    stock.plot(
        ahead.index,
        without,
        color=WARNING,
        linestyle="--",
        drawstyle="steps-post",
        label=f"expected without {'it' if transfers.empty else 'them'}",
    )
    _plain(stock, f"Stock, with an order of {line['order_units']:g}{_moved(line, transfers)}", "units")
    return figure


_Mark = tuple[pd.Timestamp, str, Literal["left", "right"]]


def _planned(line: pd.Series, transfers: pd.DataFrame) -> tuple[list[tuple[pd.Timestamp, float]], list[_Mark]]:
    """Return what the order and the transfers add to the stock or take off it, by day, and what to write where."""
    changes: list[tuple[pd.Timestamp, float]] = []
    marks: list[_Mark] = []
    if line["order_units"] > 0:
        last, arrival = pd.Timestamp(line["order_by_date"]), pd.Timestamp(line["expected_arrival_date"])
        changes.append((arrival, float(line["order_units"])))
        marks += [(last, f"order by {last:%d %b} ", "right"), (arrival, f" arrives {arrival:%d %b}", "left")]
    for move in transfers.to_dict("records"):
        units, origin, goal = float(move["units"]), move["from_location_id"], move["to_location_id"]
        is_coming = goal == line["location_id"]
        day = pd.Timestamp(move["expected_arrival_date"] if is_coming else move["order_by_date"])
        changes.append((day, units if is_coming else -units))
        marks.append((day, f" {units:g} from {origin}" if is_coming else f" {units:g} to {goal}", "left"))
    return changes, marks


def _moved(line: pd.Series, transfers: pd.DataFrame) -> str:
    into = transfers.loc[transfers["to_location_id"] == line["location_id"], "units"].sum()
    out = transfers.loc[transfers["from_location_id"] == line["location_id"], "units"].sum()
    return "".join(f", {units:g} {way}" for units, way in ((into, "in"), (out, "out")) if units > 0)


def _plain(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_ylabel(unit, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.98))
