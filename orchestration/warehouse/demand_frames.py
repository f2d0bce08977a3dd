"""Demand, what is known of the days to come, and the items: the frames that `ml.forecast` takes; periods are days."""

from typing import TYPE_CHECKING

from ml.schema import KEYS
from orchestration.home.settings import Settings
from orchestration.warehouse.exports import export_path, read_frame, read_sql

if TYPE_CHECKING:
    import pandas as pd


_LEAST_HORIZON = 7
# Numeric covariates that are known ahead for the days to come.
_KNOWN_AHEAD = """is_promotion::double as is_promotion, (event_name is not null and is_open)::double as is_event,
            unit_price::double as unit_price"""


def demand_history(settings: Settings, known: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return sku, location_id, period_start, demand_units, is_in_stock and covariates, one row per series and day.

    Demand is missing from the day on which the sales of a location have stopped arriving. A successor has the demand of
    its predecessors, times their shares, besides its own: while they are sold off, it is ordered for both.

    Args:
        settings: of the home.
        known: sku, location_id, unit_price, sales_known_until_date of each item, as `items`; None = they are read.
    """
    return read_frame(
        f"""
        with recorded as (
            select * from {read_sql(export_path(settings, "marts.fct_daily_demand"))}
        ),

        links as (
            select links.sku, known.location_id, links.predecessor_sku, links.share
            from ({_product_links(settings)}) as links
            inner join known
                on links.sku = known.sku and coalesce(links.location_id, known.location_id) = known.location_id
        ),

        parts as (
            select *, true as is_own from recorded semi join links using (sku, location_id)
            union all by name
            select recorded.* replace (
                    links.sku as sku, recorded.demand_units * links.share as demand_units,
                    coalesce(successors.unit_price * recorded.unit_price / nullif(predecessors.unit_price, 0),
                        successors.unit_price) as unit_price
                ),
                false as is_own
            from recorded
            inner join links on recorded.sku = links.predecessor_sku and recorded.location_id = links.location_id
            inner join known as successors
                on links.sku = successors.sku and links.location_id = successors.location_id
            left join known as predecessors
                on recorded.sku = predecessors.sku and recorded.location_id = predecessors.location_id
        ),

        -- What customers could have of either was in stock.
        linked as (
            select sku, location_id, day, sum(demand_units) as demand_units, bool_or(is_in_stock) as is_in_stock,
                bool_or(is_open) as is_open, bool_or(is_promotion) as is_promotion, max(event_name) as event_name,
                arg_max(unit_price, is_own) as unit_price
            from parts
            group by sku, location_id, day
        ),

        demand as (
            select * from recorded anti join links using (sku, location_id)
            union all by name
            from linked
        ),

        silent as (
            select sku, location_id, max(day) + interval 1 day as from_day,
                arg_max(demand.unit_price, day) as unit_price
            from demand inner join known using (sku, location_id)
            where sales_known_until_date is not null
            group by sku, location_id
        )

        select sku, location_id, day::timestamp as period_start, demand_units::double as demand_units, is_in_stock,
            is_open::double as is_open, {_KNOWN_AHEAD}
        from (
            from demand
            union all by name
            select sku, location_id, true as is_in_stock, true as is_open, false as is_promotion, unit_price,
                unnest(generate_series(from_day, (select max(day) from demand), interval 1 day))::date as day
            from silent
        )
        order by sku, location_id, day
        """,
        known=(items(settings) if known is None else known)[[*KEYS, "unit_price", "sales_known_until_date"]],
    )


def _product_links(settings: Settings) -> str:
    """Return a query of the successors of products; an earlier archive holds none, or none by location."""
    none = "select '' as sku, ''::varchar as location_id, '' as predecessor_sku, 0.0::double as share where false"
    try:
        path = export_path(settings, "marts.dim_product_links")
    except FileNotFoundError:
        return none
    return f"{none} union all by name select * replace (share::double as share) from {read_sql(path)}"


def planned_days(settings: Settings, horizon: int, categories: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return sku, location_id, period_start and covariates of the days to come, `horizon` rows per series.

    A day outside the season of a product is closed for it: every forecaster gives such a day no demand, in forecasts
    and in paths alike. History records what was sold outside a season, so there such a day stays open. The category is
    for items that a model's training did not know yet.

    Args:
        settings: of the home.
        horizon: days to come.
        categories: sku, location_id, category of each item; None = they are read.
    """
    return read_frame(
        f"""
        select sku, location_id, day::timestamp as period_start,
            (is_open and is_on_sale)::double as is_open, {_KNOWN_AHEAD},
            expected_uplift::double as expected_uplift, category
        from {read_sql(export_path(settings, "marts.fct_planned_days"))}
        left join categories using (sku, location_id)
        where days_ahead <= {horizon}
        order by sku, location_id, day
        """,
        categories=(items(settings) if categories is None else categories)[[*KEYS, "category"]],
    )


def items(settings: Settings) -> "pd.DataFrame":
    """Return the static attributes of each sku and location.

    Returns:
        sku, location_id, category, unit_cost, unit_price, sales_known_until_date (the last day of which sales have
        arrived where they have stopped; an archive of an earlier version holds none).
    """
    return read_frame(
        f"""
        select sku, location_id, category, unit_cost::double as unit_cost, unit_price::double as unit_price,
            case when active_to is null then sales_known_until_date end as sales_known_until_date
        from (
            select null::date as sales_known_until_date, null::date as active_to where false
            union all by name
            select * from {read_sql(export_path(settings, "marts.dim_item_locations"))}
        )
        order by sku, location_id
        """
    )


def protection_horizon(settings: Settings, terms: "pd.DataFrame") -> int:
    """Return the days that forecasts must reach, at least 7.

    P99 of the measured lead times plus the longest review period, and never less than the longest protection interval
    that is planned for an item.

    Args:
        settings: of the home.
        terms: as `restock_frames.supplier_terms`, with reviews_per_order as `ml.restock.reviews_per_order`.
    """
    measured = read_frame(
        f"""
        select coalesce(ceil(quantile_cont(lead_time_days, 0.99)), 0)::double as days
        from {read_sql(export_path(settings, "marts.fct_supplier_lead_times"))}
        """
    )["days"].iloc[0]
    review = terms["review_periods"].max() if terms["review_periods"].notna().any() else _LEAST_HORIZON
    lasting = terms["review_periods"] * terms["reviews_per_order"]
    planned = terms[["lead_time_periods", "next_order_in_periods"]].sum(axis=1, skipna=False) + lasting
    return int(max(_LEAST_HORIZON, measured + review, *planned.dropna()))
