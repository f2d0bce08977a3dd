"""The daily record of stock: the frames that `ml.anomaly` takes and returns."""

from typing import TYPE_CHECKING

from orchestration.home.settings import Settings
from orchestration.warehouse.exports import export_path, read_frame, read_sql

if TYPE_CHECKING:
    import pandas as pd


def stock_series(settings: Settings) -> "pd.DataFrame":
    """Return daily stock, demand and what is remarkable in the day's movements, as the anomaly detector reads them.

    One row per sku, location and day, from the first count or stock that was brought on. counted_change_units: what
    counts corrected that day; max_line_units: largest movement; repeated_line_units: largest quantity that two
    movements of one type share, 0 = none.
    """
    return read_frame(
        f"""
        with lines as (
            select sku, location_id, day, movement_type, change_units, count(*) as times
            from {read_sql(export_path(settings, "marts.fct_stock_movements"))}
            group by all
        ),

        remarkable as (
            select sku, location_id, day,
                sum(change_units * times) filter (where movement_type = 'count') as counted_change_units,
                max(abs(change_units)) filter (where movement_type <> 'count') as max_line_units,
                max(abs(change_units)) filter (where movement_type <> 'count' and times > 1) as repeated_line_units
            from lines
            group by all
        )

        select stock.sku, stock.location_id, stock.day::timestamp as day,
            stock.opening_units::double as opening_units, stock.receipt_units::double as receipt_units,
            stock.sales_units::double as sales_units, stock.other_units::double as other_units,
            stock.closing_units::double as closing_units, demand.demand_units::double as demand_units,
            demand.is_in_stock, demand.is_open, demand.unit_price::double as unit_price,
            remarkable.counted_change_units::double as counted_change_units,
            coalesce(remarkable.max_line_units, 0)::double as max_line_units,
            coalesce(remarkable.repeated_line_units, 0)::double as repeated_line_units
        from {read_sql(export_path(settings, "marts.fct_daily_stock"))} as stock
        inner join {read_sql(export_path(settings, "marts.fct_daily_demand"))} as demand
            using (sku, location_id, day)
        left join remarkable using (sku, location_id, day)
        where stock.is_stock_known
        order by stock.sku, stock.location_id, stock.day
        """
    )


def no_anomalies() -> "pd.DataFrame":
    """Return an empty frame of anomalies."""
    return read_frame(
        """
        select ''::varchar as sku, ''::varchar as location_id, now()::timestamp as day, 0::double as anomaly_score,
            ''::varchar as kind, ''::varchar as reason, 0::double as record_error_score
        where false
        """
    )
