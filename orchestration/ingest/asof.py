"""The business clock: the last local day of which everything is known.

Belongs here: reading the clock off the movements. Does not: the wall clock, which nothing compares data with.
"""

from datetime import date, timedelta
from pathlib import Path

import duckdb

from orchestration.ingest.errors import IngestError
from orchestration.ingest.rules import literal

SILENT_DAYS = 28
STRAY_SHARE = 0.001
# Converting an instant to a zone is dear, and no zone moves its clocks off the quarter of an hour: microseconds.
_QUARTER_HOUR = 900_000_000


def last_complete_day(raw: Path) -> date:
    """Return the day before the local day of the latest movement: the day of the latest movement may be unfinished.

    The local day is the day in the time zone of the location (UTC for a location that is not known yet). Rows behind
    a silence of more than 28 days that are less than 0.1 % of all rows are strays (a wrong year, say) and do not move
    the clock.

    Args:
        raw: folder of arrival batches.

    Raises:
        IngestError: there are no movements.
    """
    movements = literal(str(raw / "stock_movements" / "*" / "accepted.parquet"))
    locations = literal(str(raw / "locations" / "*" / "accepted.parquet"))
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        try:
            days = connection.sql(f"""
                with current_locations as (
                    select location_id, arg_max(time_zone, batch_id) as time_zone
                    from read_parquet({locations}) group by location_id
                ),
                quarter_hours as (
                    select location_id, epoch_us(occurred_at) // {_QUARTER_HOUR} as quarter_hour, count(*) as rows
                    from read_parquet({movements}) group by all
                ),
                movements as (
                    select timezone(
                        coalesce(time_zone, 'UTC'), make_timestamptz(quarter_hour * {_QUARTER_HOUR})
                    )::date as day, rows
                    from quarter_hours left join current_locations using (location_id)
                )
                select day, sum(rows)::bigint as rows from movements group by day order by day
            """).fetchall()
        except duckdb.IOException:
            days = []
    if not days:
        raise IngestError(
            f"there are no stock movements in {raw}, so there is no day to plan for: put them into "
            "landing/stock_movements and run the ingest"
        )
    return _last_day(days) - timedelta(days=1)


def _last_day(days: list[tuple[date, int]]) -> date:
    total = sum(rows for _, rows in days)
    last, behind = days[-1][0], 0
    for (earlier, _), (later, rows) in zip(reversed(days[:-1]), reversed(days[1:]), strict=True):
        behind += rows
        if behind >= STRAY_SHARE * total:
            break
        if (later - earlier).days > SILENT_DAYS:
            last = earlier
    return last
