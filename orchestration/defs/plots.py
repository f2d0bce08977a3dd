"""Pictures of what the assets hold, for the Dagster UI: Parquet in, figure out."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from dagster import MarkdownMetadataValue, MetadataValue

from orchestration.training.figures import as_png
from orchestration.warehouse.exports import read_sql

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NOT_KNOWN = "–"
_INK, _ACCENT, _PALE = "#1f2d3d", "#1f6f8b", "#c9d6df"
_MOST_COVER = 90


def as_metadata(figure: "Figure | bytes") -> MarkdownMetadataValue:
    """Return a figure, or a PNG, as Dagster metadata."""
    png = figure if isinstance(figure, bytes) else as_png(figure)
    return MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def as_table(frame: "pd.DataFrame") -> MarkdownMetadataValue:
    """Return a table as Dagster metadata; what is not known is a dash."""
    return MetadataValue.md(frame.astype(object).where(frame.notna(), NOT_KNOWN).to_markdown(index=False))


def _figure(title: str, unit: str, *, panels: int = 1) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 if panels == 1 else 10, 3), layout="tight")
    for panel in range(panels):
        axes = figure.add_subplot(1, panels, panel + 1)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_title(title, loc="left", fontsize=10, color=_INK)
    figure.axes[0].set_ylabel(unit, fontsize=8)
    return figure


def daily_demand(parquet: Path) -> "Figure":
    """Units demanded per day over all items, by location."""
    query = f"""
        select day, location_id, sum(demand_units)::double as demand_units
        from {read_sql(parquet)} group by all order by day
    """
    return _lines_by_location(query, "demand_units", "Demand by location, 7-day mean", "units a day", window=7)


def daily_stock(parquet: Path) -> "Figure":
    """Share of items out of stock per day, by location."""
    query = f"""
        select day, location_id, 100 * avg(is_stocked_out::int)::double as out_of_stock
        from {read_sql(parquet)} group by all order by day
    """
    return _lines_by_location(query, "out_of_stock", "Items out of stock, 7-day mean", "% of items", window=7)


def lead_times(parquet: Path) -> "Figure":
    """Distribution of measured lead times."""
    with duckdb.connect() as connection:
        days = connection.sql(f"select lead_time_days::double as d from {read_sql(parquet)}").fetchnumpy()["d"]
    figure = _figure("Measured lead times", "order lines")
    axes = figure.axes[0]
    axes.hist(days, bins=40, color=_ACCENT)
    axes.set_xlabel("days from order to shelf", fontsize=8)
    return figure


def demand_classes(parquet: Path) -> "Figure":
    """Items by demand class and by ABC class."""
    with duckdb.connect() as connection:
        frame = connection.sql(
            f"""select demand_class, abc_class, count(*) as items
            from {read_sql(parquet)} group by all order by all"""
        ).df()
    table = frame.pivot_table(index="demand_class", columns="abc_class", values="items", fill_value=0)
    figure = _figure("Items by demand class", "items")
    below = table.cumsum(axis=1) - table
    for abc, shade in zip(table.columns, (_INK, _ACCENT, _PALE, "#e8e8e8"), strict=False):
        figure.axes[0].bar(table.index, table[abc], bottom=below[abc], color=shade, label=str(abc))
    figure.axes[0].legend(fontsize=8, frameon=False, title="ABC", title_fontsize=8)
    return figure


def forecast_total(parquet: Path) -> "Figure":
    """Forecast of all items per day: mean, and the sums of the 10 % and 90 % quantiles as a band."""
    with duckdb.connect() as connection:
        total = connection.sql(
            f"""select day, sum(mean_units)::double as mean,
                sum(q10_units)::double as low, sum(q90_units)::double as high
            from {read_sql(parquet)} group by day order by day"""
        ).df()
    figure = _figure("Forecast of all items", "units a day")
    axes = figure.axes[0]
    axes.fill_between(total["day"], total["low"], total["high"], color=_PALE, label="sum of the items' 10-90 % bands")
    axes.plot(total["day"], total["mean"], color=_ACCENT, label="mean")
    axes.legend(fontsize=8, frameon=False)
    return figure


def restock_lines(parquet: Path, terms: Path) -> "Figure":
    """Days of cover before and after the orders, and how the largest of them bring their position to its level.

    What is likely to be lost before an order arrives need not be bought: with it, position and order reach the level.
    """
    with duckdb.connect() as connection:
        ordered = connection.sql(
            f"""select least(days_of_cover_before, {_MOST_COVER})::double as before,
                least(days_of_cover_after, {_MOST_COVER})::double as after
            from {read_sql(parquet)} where status = 'order'"""
        ).fetchnumpy()
        largest = connection.sql(
            f"""select lines.sku || ' ' || lines.location_id as item, inventory_position_units::double as position,
                order_units::double as ordered, order_up_to_units::double as level,
                coalesce(-lost.units, 0)::double as lost
            from {read_sql(parquet)} as lines
            left join {read_sql(terms)} as lost
                on lines.sku = lost.sku and lines.location_id = lost.location_id and lost.term = 'lost_before_arrival'
            where status = 'order' order by order_units desc, item limit 8"""
        ).df()
    figure = _figure("Days of cover of the lines that order", "lines", panels=2)
    cover, items = figure.axes
    edges = [*range(0, _MOST_COVER + 1, 5)]
    cover.hist([ordered["before"], ordered["after"]], bins=edges, color=[_PALE, _ACCENT], label=["before", "after"])
    cover.set_xlabel(f"days (the last bar: {edges[-2]} and more)", fontsize=8)
    cover.legend(fontsize=8, frameon=False)
    items.barh(largest["item"], largest["position"], color=_PALE, label="position")
    items.barh(largest["item"], largest["ordered"], left=largest["position"], color=_ACCENT, label="order")
    items.barh(
        largest["item"],
        largest["lost"],
        left=largest["position"] + largest["ordered"],
        color="none",
        edgecolor=_ACCENT,
        hatch="////",
        linewidth=0,
        label="likely to be lost before it arrives",
    )
    items.plot(largest["level"], largest["item"], "|", color=_INK, markersize=12, label="level to order up to")
    items.invert_yaxis()
    items.set_title("Largest orders", loc="left", fontsize=10, color=_INK)
    items.set_xlabel("units", fontsize=8)
    items.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    return figure


def recommended_money(parquet: Path) -> "Figure":
    """Money recommended to be ordered, by supplier."""
    with duckdb.connect() as connection:
        frame = connection.sql(
            f"""select supplier_id, sum(order_value)::double as money from {read_sql(parquet)}
            where order_units > 0 group by supplier_id order by money desc"""
        ).df()
    figure = _figure("Recommended orders by supplier", "money")
    figure.axes[0].bar(frame["supplier_id"].astype(str), frame["money"], color=_ACCENT)
    figure.axes[0].tick_params(axis="x", rotation=45)
    return figure


def _lines_by_location(query: str, value: str, title: str, unit: str, *, window: int) -> "Figure":
    with duckdb.connect() as connection:
        frame = connection.sql(query).df()
    wide = frame.pivot_table(index="day", columns="location_id", values=value).rolling(window, min_periods=1).mean()
    figure = _figure(title, unit)
    for location in wide.columns:
        figure.axes[0].plot(wide.index, wide[location], linewidth=1.2, label=location)
    if len(wide.columns):
        figure.axes[0].legend(fontsize=8, frameon=False)
    return figure


OF_RELATION: dict[str, Callable[[Path], "Figure"]] = {
    "fct_daily_demand": daily_demand,
    "fct_daily_stock": daily_stock,
    "fct_supplier_lead_times": lead_times,
    "dim_item_locations": demand_classes,
    "fct_demand_forecasts": forecast_total,
    "restock_recommendations": recommended_money,
}
