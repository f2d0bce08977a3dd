"""Asset checks that no single layer can make: what the marts say of the feeds and the forecasts behind them."""

from pathlib import Path

import duckdb
from dagster import AssetCheckResult, AssetCheckSeverity, asset_check

from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.planning.proposals import misnamed_proposals
from orchestration.planning.transfers import misnamed_movements
from orchestration.training.forecast_totals import parting_totals
from orchestration.warehouse.exports import export_path, read_sql


@asset_check(
    asset=["marts", "fct_stock_movements"],
    name="fresh",
    description="No open location has sent no movements for longer than ever before, counted from the business day.",
)
def fresh(home: HomeResource) -> AssetCheckResult:
    """Compare each location's last movement with the business day; nothing looks at the wall clock."""
    settings = home.settings()
    silent = silent_locations(
        *(
            export_path(settings, f"marts.{name}")
            for name in ("fct_stock_movements", "fct_stock_position", "dim_locations", "dim_calendar")
        )
    )
    return AssetCheckResult(
        passed=not silent, severity=AssetCheckSeverity.WARN, metadata={"failures": "; ".join(silent) or "none"}
    )


@asset_check(
    asset=["predictions", "open_proposals"],
    name="order_lines_name_their_proposals",
    description="Every purchase order line with a proposal_id names a proposal of its own item.",
)
def order_lines_name_their_proposals(home: HomeResource, store: StoreResource) -> AssetCheckResult:
    """Hold the proposals that order lines name against the outbox."""
    failures = misnamed_proposals(home.settings(), store.open())
    return AssetCheckResult(
        passed=not failures, severity=AssetCheckSeverity.WARN, metadata={"failures": "; ".join(failures) or "none"}
    )


@asset_check(
    asset=["predictions", "open_transfers"],
    name="movements_name_their_transfers",
    description="Every movement of a transfer that names a proposal is of its product and of its two locations.",
)
def movements_name_their_transfers(home: HomeResource, store: StoreResource) -> AssetCheckResult:
    """Hold the proposals that movements of transfers name against the outbox."""
    failures = misnamed_movements(home.settings(), store.open())
    return AssetCheckResult(
        passed=not failures, severity=AssetCheckSeverity.WARN, metadata={"failures": "; ".join(failures) or "none"}
    )


def silent_locations(movements: Path, position: Path, locations: Path, calendar: Path) -> list[str]:
    """Return a sentence for each location whose feed seems to have stopped.

    A location is silent when it has had no movement for more days than in its longest pause before, and for at least
    two: shops that close on Sundays or over Christmas have shown so. One that has ended, or is closed on the business
    day, is not.

    Args:
        movements: marts.fct_stock_movements as Parquet.
        position: marts.fct_stock_position as Parquet, which holds the business day.
        locations: marts.dim_locations as Parquet.
        calendar: marts.dim_calendar as Parquet.
    """
    found = duckdb.execute(
        f"""
        with active_days as (
            select distinct location_id, day from {read_sql(movements)}
        ),
        pauses as (
            select location_id, day, day - lag(day) over (partition by location_id order by day) as days
            from active_days
        )
        select location_id, max(day)::varchar, as_of - max(day), coalesce(max(days), 1)
        from pauses cross join (select max(as_of_date) as as_of from {read_sql(position)})
        where location_id in (select location_id from {read_sql(locations)} where ended_date is null)
            and (location_id, as_of) not in (select location_id, day from {read_sql(calendar)} where not is_open)
        group by location_id, as_of
        having as_of - max(day) > greatest(coalesce(max(days), 1), 2)
        order by location_id
        """
    ).fetchall()
    return [
        f"{location} has had no movement since {day}: {pause} days, {longest} at most before; is its feed still coming?"
        for location, day, pause, longest in found
    ]


@asset_check(
    asset=["reporting", "forecast_totals"],
    name="as_last_year",
    description=(
        "The forecast of every week, in total and by category, is close to the recent weeks and to the same week of"
        " last year."
    ),
)
def as_last_year(home: HomeResource) -> AssetCheckResult:
    """Say where forecast totals part; an order that hangs on it says it too."""
    notes = parting_totals(export_path(home.settings(), "reporting.forecast_totals"))
    return AssetCheckResult(
        passed=not notes, severity=AssetCheckSeverity.WARN, metadata={"failures": " ".join(notes) or "none"}
    )
