"""What restock decisions read, as the frames that `ml.restock` takes: periods are days.

Belongs here: renaming marts and predictions to the vocabulary of `ml`. Does not: what is decided (planning/).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal, path_literal
from orchestration.warehouse.exports import export_path, parquet_of, read_frame, read_sql

if TYPE_CHECKING:
    import pandas as pd


_SUPPLIER_TERMS = """sku, location_id, supplier_id,
            lead_time_days::integer as lead_time_periods, lead_time_days_mean::double as lead_time_mean_periods,
            lead_time_days_sd::double as lead_time_sd_periods, review_period_days::integer as review_periods,
            next_order_in_days::integer as next_order_in_periods, moq_units::double as moq_units,
            order_multiple_units::double as order_multiple_units, shelf_life_days::integer as shelf_life_periods,
            unit_cost::double as unit_cost, unit_price::double as unit_price,
            minimum_order_value::double as minimum_order_value, fixed_order_cost::double as fixed_order_cost"""

# What of the terms decides a level, apart from receipts, which shift lead times a little with each delivery.
_TERMS_OF_LEVELS = """sku, location_id, supplier_id, lead_time_days, review_period_days, moq_units,
            order_multiple_units, shelf_life_days, unit_cost, fixed_order_cost"""
_NO_LEVELS = "select '' as sku, '' as location_id, 0.0::double as held_order_up_to_units where false"


def supplier_terms(settings: Settings) -> "pd.DataFrame":
    """Return the supplier's terms of each sku and location with a supplier, times in periods of a day."""
    return read_frame(
        f"""
        select {_SUPPLIER_TERMS}
        from {read_sql(export_path(settings, "marts.fct_replenishment_terms"))}
        order by sku, location_id
        """
    )


def restock_terms(settings: Settings, policies: "pd.DataFrame", sold: "pd.DataFrame") -> "pd.DataFrame":
    """Return `supplier_terms` with the limits that the policy of each item sets, and its last day of sale.

    An item that has never sold is ordered up to at most `first_order_days` of its forecast, or its minimum order where
    that is more: until it sells, nobody knows what it is worth, and the next order comes soon enough. The days count
    from its launch.

    Args:
        settings: of the home.
        policies: as `policies_in_force`.
        sold: sku and location_id of what has sold.
    """
    return read_frame(
        f"""
        with terms as (
            select {_SUPPLIER_TERMS}, last_sale_in_days::double as last_sale_period,
                greatest(coalesce(first_sale_in_days, 1) - 1, 0) as days_before_launch
            from {read_sql(export_path(settings, "marts.fct_replenishment_terms"))}
        ),

        first_orders as (
            select sku, location_id,
                greatest(
                    ceil(round(sum(mean_units) / count(*) * any_value(first_order_days), 6)), 1,
                    coalesce(any_value(moq_units), 0)
                ) as first_order_units
            from read_parquet({path_literal(settings.predictions / "demand_forecasts.parquet")}) as forecasts
            inner join policies using (sku, location_id)
            inner join terms using (sku, location_id)
            anti join sold using (sku, location_id)
            where first_order_days is not null
                and periods_ahead - days_before_launch between 1 and ceil(first_order_days)
            group by sku, location_id
        )

        select terms.* exclude (last_sale_period, days_before_launch),
            least(order_up_to_max_units, first_order_units) as order_up_to_max_units, max_order_units, max_stock_units,
            last_sale_period
        from terms
        left join policies using (sku, location_id)
        left join first_orders using (sku, location_id)
        order by sku, location_id
        """,
        policies=policies,
        sold=sold,
    )


def policies_in_force(settings: Settings) -> "pd.DataFrame":
    """Return the policies of the business day; an archive of an earlier version lacks some of their settings."""
    return read_frame(
        f"""
        select * from (
            select null::double as first_order_days, null::double as alert_above_money_per_day,
                null::double as line_cost, null::double as no_order_above_days, null::double as hold_level_within,
                null::varchar as unknown_stock, null::varchar as plan_other_consumption
            where false
        )
        union all by name
        select * from read_parquet({path_literal(settings.predictions / "restock_policies.parquet")})
        order by sku, location_id
        """
    )


def restock_policy(policies: "pd.DataFrame") -> "pd.DataFrame":
    """Return the policy of each sku and location with a supplier as `ml.restock.recommend` reads it.

    Args:
        policies: as `policies_in_force`.
    """
    limits = ["order_up_to_max_units", "max_order_units", "max_stock_units", "first_order_days"]
    reported = [
        *("excess_above_days", "dead_after_days", "alert_above_money_per_day", "plan_other_consumption"),
        *("policy_source", "policy_note", "as_of_date"),
    ]
    return policies.drop(columns=[*limits, *reported]).rename(columns={"no_order_above_days": "no_order_above_periods"})


def segmented_items(settings: Settings) -> "pd.DataFrame":
    """Return what the segments of policies speak of, one row per sku and location."""
    return read_frame(
        f"""
        select sku, location_id, location_type, category, supplier_id, abc_class, xyz_class, demand_class,
            unit_cost::double as unit_cost, unit_price::double as unit_price,
            mean_daily_demand_units::double as mean_daily_demand_units,
            case when active_to is null then sales_known_until_date end as sales_known_until_date
        from (
            select null::date as sales_known_until_date, null::date as active_to where false
            union all by name
            select * from {read_sql(export_path(settings, "marts.dim_item_locations"))}
        )
        order by sku, location_id
        """
    )


def stock_position(settings: Settings, promised: "pd.DataFrame") -> "pd.DataFrame":
    """Return what each sku and location has and has promised for now.

    Args:
        settings: of the home.
        promised: as `promises`: what is due later, and not part of it.

    Returns:
        sku, location_id, on_hand_units, sold_since_units, unrecorded_periods (days whose sales have not arrived) and
        is_stock_unknown (never counted or fully received), of which an archive of an earlier version says nothing,
        reserved_units (with what approved transfers take from the shelf), transfer_out_units (that part of it),
        backordered_units.
    """
    return read_frame(
        f"""
        with leaving as (
            select sku, from_location_id as location_id, sum(leaving_units) as transfer_out_units
            from ({_open_transfers(settings)})
            group by sku, from_location_id
        ),

        later as (
            select sku, location_id, sum(reserved_units) as reserved_later, sum(backordered_units) as backordered_later
            from promised
            group by sku, location_id
        ),

        positions as (
            select null::integer as unrecorded_days, null::boolean as is_stock_known where false
            union all by name
            select * from {read_sql(export_path(settings, "marts.fct_stock_position"))}
        )

        select sku, location_id, on_hand_units::double as on_hand_units, sold_since_units::double as sold_since_units,
            coalesce(unrecorded_days, 0)::double as unrecorded_periods,
            not coalesce(is_stock_known, true) as is_stock_unknown,
            reserved_units::double - coalesce(reserved_later, 0) + coalesce(transfer_out_units, 0) as reserved_units,
            coalesce(transfer_out_units, 0) as transfer_out_units,
            backordered_units::double - coalesce(backordered_later, 0) as backordered_units
        from positions
        left join leaving using (sku, location_id)
        left join later using (sku, location_id)
        order by sku, location_id
        """,
        promised=promised,
    )


def promises(settings: Settings) -> "pd.DataFrame":
    """Return what customers are promised for a day after tomorrow, as `ml.restock.recommend` reads it."""
    return read_frame(
        f"""
        select sku, location_id, days_until_due as due_in_periods,
            reserved_units::double as reserved_units, backordered_units::double as backordered_units
        from {read_sql(export_path(settings, "marts.fct_reservations"))}
        where days_until_due > 1
        order by sku, location_id, days_until_due, document
        """
    )


def _open_transfers(settings: Settings) -> str:
    """Return a query of the transfers that count; an archive of an earlier version holds none."""
    path = settings.predictions / "open_transfers.parquet"
    none = """
        select '' as proposal_id, '' as sku, '' as location_id, '' as from_location_id, 0.0::double as on_order_units,
            0.0::double as leaving_units, 1::integer as periods_ahead
        where false
    """
    return f"select * from {read_sql(path)}" if path.exists() else none


def open_orders(settings: Settings) -> "pd.DataFrame":
    """Return what is on order, by purchase order line, by proposal that has none yet, and by transfer.

    What is left of a predecessor, on hand and on order, is sold before its successor, from the day on which that takes
    over: it comes like an order that keeps to its date.

    What a stock record below zero has sold came with a receipt that nobody has booked, and comes no more.

    Returns:
        sku, location_id, periods_ahead, units, overdue_periods, is_doubtful, arrives_as_planned (a transfer, or stock
        of a predecessor), is_predecessor_stock, document, line.
    """
    return read_frame(
        f"""
        select sku, location_id, periods_ahead::integer as periods_ahead,
            (open_units - coalesce(unbooked_units, 0))::double as units,
            case when is_late then days_late + 1 else 0 end as overdue_periods, is_doubtful,
            false as arrives_as_planned, false as is_predecessor_stock, purchase_order_id as document, line
        from (
            select null::decimal(18, 3) as unbooked_units where false
            union all by name
            select * from {read_sql(export_path(settings, "marts.fct_open_orders"))}
        )
        where open_units > coalesce(unbooked_units, 0)
        union all
        select sku, location_id, periods_ahead, open_units::double as units,
            greatest(1 - date_diff('day', as_of_date, expected_date::date), 0)::integer as overdue_periods,
            false as is_doubtful, false as arrives_as_planned, false as is_predecessor_stock, proposal_id as document,
            0 as line
        from read_parquet({path_literal(settings.predictions / "open_proposals.parquet")})
        union all
        select sku, location_id, periods_ahead, on_order_units::double as units, 0 as overdue_periods,
            false as is_doubtful, true as arrives_as_planned, false as is_predecessor_stock, proposal_id as document,
            0 as line
        from ({_open_transfers(settings)})
        where on_order_units > 0
        union all
        select sku, location_id, periods_ahead, units, 0 as overdue_periods, false as is_doubtful,
            true as arrives_as_planned, true as is_predecessor_stock, predecessor_sku as document, 0 as line
        from ({_predecessor_stock(settings)})
        where units > 0
        order by sku, location_id, periods_ahead, document, line
        """
    )


def _predecessor_stock(settings: Settings) -> str:
    """Return a query of what predecessors leave to each item; an earlier archive holds none, or stock alone."""
    none = """
        select '' as sku, '' as location_id, '' as predecessor_sku, 1::integer as periods_ahead,
            1::integer as days_until_takeover, 0.0::double as left_units, true as is_still_sold
        where false
    """
    try:
        path = export_path(settings, "marts.fct_predecessor_stock")
    except FileNotFoundError:
        path = None
    held = f"{none} union all by name select * from {read_sql(path)}" if path else none
    return f"""
        select sku, location_id, predecessor_sku, left_units::double as units,
            coalesce(periods_ahead, days_until_takeover)::integer as periods_ahead
        from ({held})
        where is_still_sold
    """


def rejections(settings: Settings) -> "pd.DataFrame":
    """Return sku, location_id and rejected_up_to_units (infinite = any quantity) of each need that a person rejected.

    An archive of an earlier version holds none.
    """
    path = settings.predictions / "rejected_needs.parquet"
    none = "select '' as sku, '' as location_id, 0.0::double as rejected_up_to_units where false"
    held = f"""
        select sku, location_id, coalesce(nullif(rejected_until_units, 'nan'), 'inf')::double as rejected_up_to_units
        from read_parquet({path_literal(path)})
        order by sku, location_id
        """
    return read_frame(held if path.exists() else none)


def published_levels(settings: Settings, archive: str | None) -> "pd.DataFrame":
    """Return the levels of an archived decision that this run is to keep to, as far as chance alone would move them.

    A level whose supplier, terms, costs or policy a person or the supplier has changed since is not among them: there
    is a cause for it to move.

    Args:
        settings: of the home.
        archive: name of the archive of the last business day before this one; None = there is none.

    Returns:
        sku, location_id, held_order_up_to_units.
    """
    if archive is None:
        return read_frame(_NO_LEVELS)

    def alike(now: Path, then: Path, columns: str) -> str:
        """Return a query of the items that both files say the same of; a column of one alone counts as empty."""
        files = [read_sql(now), read_sql(then)]
        chosen = []
        for kept in range(2):
            sides = (f"select * from {file} where {literal(n == kept)}" for n, file in enumerate(files))
            chosen.append(f"select {columns} from ({' union all by name '.join(sides)})")
        return f"select sku, location_id from ({' intersect '.join(chosen)})"

    def then(table: str) -> Path:
        return parquet_of(settings.archive, f"{archive}.{table}")

    policies, terms = settings.predictions / "restock_policies.parquet", "marts.fct_replenishment_terms"
    same_policy = alike(policies, then("restock_policies"), "* exclude (policy_source, policy_note, as_of_date)")
    same_terms = alike(export_path(settings, terms), then("fct_replenishment_terms"), _TERMS_OF_LEVELS)
    return read_frame(
        f"""
        select sku, location_id, order_up_to_units::double as held_order_up_to_units
        from {read_sql(then("restock_lines"))}
        inner join ({same_policy}) using (sku, location_id)
        inner join ({same_terms}) using (sku, location_id)
        where order_up_to_units is not null
        order by sku, location_id
        """
    )


def held_levels(settings: Settings) -> "pd.DataFrame":
    """Return what `published_levels` found for this run; an archive of an earlier version holds none."""
    path = settings.predictions / "held_levels.parquet"
    levels = "select sku, location_id, held_order_up_to_units"
    held = f"{levels} from {read_sql(path)} order by sku, location_id"
    return read_frame(held if path.exists() else _NO_LEVELS)


def rejected_transfers(settings: Settings) -> "pd.DataFrame":
    """Return the transfers that a person rejected, and up to how many units; as of `ml.restock.World`.

    An archive of an earlier version holds none.
    """
    path = settings.predictions / "rejected_transfers.parquet"
    keys = "sku, from_location_id, location_id as to_location_id"
    none = """
        select '' as sku, '' as from_location_id, '' as to_location_id, 0.0::double as rejected_up_to_units where false
    """
    held = f"""
        select {keys}, coalesce(nullif(rejected_until_units, 'nan'), 'inf')::double as rejected_up_to_units
        from {read_sql(path)}
        order by sku, from_location_id, location_id
        """
    return read_frame(held if path.exists() else none)


def previous_lines(settings: Settings, archive: str | None) -> "pd.DataFrame":
    """Return what an archived decision ordered; nothing where there is no archive.

    Returns:
        sku, location_id, decided_date, status, order_units, on_order_doubtful_units, protection_periods,
        forecast_model_version.
    """
    return read_frame(
        f"""
        select sku, location_id, as_of_date as decided_date, status, order_units, on_order_doubtful_units,
            protection_periods, forecast_model_version
        from (
            select '' as sku, '' as location_id, current_date as as_of_date, '' as status, 0.0::double as order_units,
                0.0::double as on_order_doubtful_units, 0::integer as protection_periods, '' as forecast_model_version
            where false
            {_archived_rows(settings, archive, "restock_lines")}
        )
        order by sku, location_id
        """
    )


def previous_terms(settings: Settings, archive: str | None) -> "pd.DataFrame":
    """Return the steps of an archived decision; nothing where there is no archive.

    Returns:
        sku, location_id, step, term, units.
    """
    return read_frame(
        f"""
        select sku, location_id, step, term, units
        from (
            select '' as sku, '' as location_id, 0::bigint as step, '' as term, 0.0::double as units where false
            {_archived_rows(settings, archive, "restock_terms")}
        )
        order by sku, location_id, step
        """
    )


def _archived_rows(settings: Settings, archive: str | None, table: str) -> str:
    return (
        f"union all by name select * from read_parquet({path_literal(settings.archive / archive / f'{table}.parquet')})"
        if archive
        else ""
    )


def stock_lots(settings: Settings) -> "pd.DataFrame":
    """Return units and expires_in_periods (the last period in which they can be sold) of each lot on a shelf."""
    return read_frame(
        f"""
        select sku, location_id, left_units::double as units, days_to_expiry::integer as expires_in_periods
        from {read_sql(export_path(settings, "marts.fct_stock_lots"))}
        order by sku, location_id, expires_date, lot_id
        """
    )


def transfer_lanes(settings: Settings) -> "pd.DataFrame":
    """Return from_location_id, to_location_id, lead_time_periods and unit_cost of each way that stock may move."""
    return read_frame(
        f"""
        select from_location_id, to_location_id, lead_time_days::integer as lead_time_periods,
            unit_cost::double as unit_cost
        from {read_sql(export_path(settings, "marts.dim_transfer_lanes"))}
        order by from_location_id, to_location_id
        """
    )
