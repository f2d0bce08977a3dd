"""The business clock: the last local day of which everything is known, and the dates that cannot be right.

Belongs here: reading the clock off the movements. Does not: the wall clock, which nothing compares data with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from orchestration.home.business_clock import BusinessClock
from orchestration.home.sql_text import path_literal
from orchestration.ingest.codes import meant
from orchestration.ingest.errors import IngestError
from orchestration.ingest.manifests import still_counts

PAUSE_DAYS, USUAL_PAUSES, LONG_PAUSE_DAYS, DAYS_BEFORE_HISTORY = 7, 5, 28, 180
FEWEST_DOCUMENTS, BELIEVED_DAYS, PAUSE_PER_DAY = 3, 7, 20
ACTIVE_DAYS, WEEKDAY_DAYS = 28, 56
_EPOCH = date(1970, 1, 1)
_QUARTER_HOUR = 900_000_000  # microseconds


def read_clock(raw: Path) -> BusinessClock:
    """Return the business clock of what has arrived; only the highest revision of each movement counts.

    The day of the latest movement may be unfinished, so the business day is the one before it. A total of sales by day
    (daily_sales) stands for a movement at the end of its day; that day is complete if the total arrived after it. Where
    locations declare when their day ends (`day_ends_at`), that day is complete as soon as anything has arrived after
    its end; then closed days that follow it are complete too once something has arrived after them. Closed are the days
    that the calendar says so and the weekdays without any movement in eight weeks. The business day is the first of
    those of all locations that moved in the last four weeks, each in its own time zone (UTC where none is known yet).

    A date cannot be right where it lies apart from all others and few documents vouch for it. The days with movements
    fall into stretches; a pause of more than a week (of five usual ones, where movements are rare) parts them. The
    stretch with the most days is taken for the truth. A later one is believed when it has at least three documents and
    half as many a day as usual, and after more than four weeks at least two days; or when it has seven days. An earlier
    one needs the same where it lies more than half a year before. A document that has lines elsewhere vouches for none.
    Whatever its documents, a stretch that lies half a year or more away needs a day for every twenty of the pause: a
    till with a wrong year and balances dated at the beginning of time may have as many documents as they like.

    Args:
        raw: folder of arrival batches.

    Raises:
        IngestError: there are no movements.
    """
    with _current_movements(raw) as connection:
        days = _days(connection)
        if not days:
            raise IngestError(
                f"there are no stock movements in {raw}, so there is no day to plan for: put files into "
                "landing/stock_movements and run `inventorybot run`"
            )
        first, last = _believed(connection, days)
        as_of = _last_complete_day(connection, raw, _instant(first), _instant(last + 1))
    return BusinessClock(
        as_of,
        None if first == days[0] else _instant(first),
        None if last == days[-1] else _instant(last + 1),
    )


def day_under_way(raw: Path, arrived_at: datetime) -> date:
    """Return the day after the business day; the day of an arrival, UTC, where nothing has moved yet."""
    try:
        return read_clock(raw).as_of + timedelta(days=1)
    except IngestError:
        return arrived_at.astimezone(UTC).date()


@contextmanager
def _current_movements(raw: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection with `movements`, without revisions that a higher one replaces, and their `quarter_hours`."""
    files = path_literal(raw / "stock_movements", "*/accepted.parquet")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        _create_totals(connection, raw)
        try:
            connection.execute(f"""
                create view booked as
                select source, document, line, revision, occurred_at, ingested_at,
                    {meant(raw, "location_id")} as location_id
                from read_parquet({files}, union_by_name = true, hive_partitioning = false)
                where {still_counts(raw / "stock_movements")}
            """)
        except duckdb.IOException:
            connection.execute("""
                create view booked as
                select null::varchar as source, null::varchar as document, null::timestamptz as occurred_at,
                    null::timestamptz as ingested_at, null::varchar as location_id, 0 as line, 0 as revision
                where false
            """)
        connection.execute("""
            create view arrived as
            select *, epoch_us(occurred_at) // 86400000000 as utc_day from (
                select *, false as is_total from booked union all by name select *, true as is_total from totals
            )
        """)
        # All movements are looked at once. Converting an instant to a zone is dear, and no zone moves its clocks off
        # the quarter of an hour.
        connection.execute(f"""
            create table corrected as
            select source, document, line, max(revision) as revision
            from arrived where revision > 0 group by source, document, line;
            create view movements as
            select arrived.*
            from arrived left join corrected using (source, document, line)
            where corrected.revision is null or arrived.revision = corrected.revision;
            create table quarter_hours as
            select location_id, utc_day, epoch_us(occurred_at) // {_QUARTER_HOUR} as quarter_hour,
                max(occurred_at) as latest_at, max(ingested_at) as arrived_at,
                max(ingested_at) filter (is_total) as total_arrived_at
            from movements group by all
        """)
        yield connection


def _create_totals(connection: duckdb.DuckDBPyConnection, raw: Path) -> None:
    """Create `totals`: totals of sales by day, each a movement at the end of its day (`end_of_business_day` of dbt)."""
    zones = _versions(connection, raw, "locations", "location_id", _LOCATION)
    connection.execute("create table zones (location_id varchar, time_zone varchar, day_ends_at varchar)")
    if zones:
        connection.executemany(
            "insert into zones values (?, ?, ?)", [(name, zone, end) for name, zone, _, end in zones]
        )
    files = path_literal(raw / "daily_sales", "*/accepted.parquet")
    rows = f"read_parquet({files}) where {still_counts(raw / 'daily_sales')}"
    if not any(raw.glob("daily_sales/*/accepted.parquet")):
        rows = "(select unnest([]::varchar[]) as location_id, null as source, null as sku, null::date as day, "
        rows += "null::timestamptz as ingested_at, '' as source_file, '' as batch_id, 0 as source_row)"
    connection.execute(f"""
        create table totals as
        select source, concat(day, ' ', location_id, ' ', sku) as document, 1 as line, 0 as revision, ingested_at,
            location_id,
            timezone(coalesce(time_zone, 'UTC'), case
                when coalesce(day_ends_at, '24:00') in ('24:00', '00:00')
                    then day + interval 1 day - interval 1 microsecond
                else concat(day, ' ', day_ends_at)::timestamp
            end) as occurred_at
        from (
            select * replace ({meant(raw, "location_id")} as location_id, {meant(raw, "sku")} as sku) from {rows}
        )
        left join zones using (location_id)
        qualify row_number() over (
            partition by source, sku, location_id, day order by batch_id desc, source_row desc
        ) = 1
    """)


def _days(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Return the days with movements, counted from 1970 in UTC."""
    return [day for (day,) in connection.sql("select distinct utc_day from quarter_hours order by utc_day").fetchall()]


def _believed(connection: duckdb.DuckDBPyConnection, days: Sequence[int]) -> tuple[int, int]:
    """Return the first and the last day whose date can be right."""
    pauses = [later - earlier for earlier, later in pairwise(days)]
    usual = USUAL_PAUSES * (sorted(pauses)[int(0.8 * (len(pauses) - 1))] if pauses else 1)
    starts = [0, *(n + 1 for n, pause in enumerate(pauses) if pause > max(PAUSE_DAYS, usual)), len(days)]
    stretches = [days[start:end] for start, end in pairwise(starts)]
    if len(stretches) == 1:
        return days[0], days[-1]
    place = max(range(len(stretches)), key=lambda n: (len(stretches[n]), n))
    truth = stretches[place]
    usual_documents = _documents(connection, truth[0], truth[-1]) / len(truth)

    def is_believed(stretch: Sequence[int], pause: int) -> bool:
        if pause >= DAYS_BEFORE_HISTORY and len(stretch) * PAUSE_PER_DAY < pause:
            return False
        if len(stretch) >= BELIEVED_DAYS:
            return True
        fewest = max(FEWEST_DOCUMENTS, len(stretch) * usual_documents / 2)
        is_short = pause > LONG_PAUSE_DAYS and len(stretch) < 2
        return not is_short and _documents(connection, stretch[0], stretch[-1]) >= fewest

    first, last = truth[0], truth[-1]
    for stretch in stretches[place + 1 :]:
        if is_believed(stretch, stretch[0] - last):
            last = stretch[-1]
    for stretch in reversed(stretches[:place]):
        pause = first - stretch[-1]
        if pause <= max(DAYS_BEFORE_HISTORY, usual) or is_believed(stretch, pause):
            first = stretch[0]
    return first, last


def _documents(connection: duckdb.DuckDBPyConnection, first: int, last: int) -> int:
    """Return the documents all of whose lines lie in a span of days."""
    return int(
        connection.execute(
            """
            select count(*) from (
                select source, document from movements group by source, document
                having min(utc_day) >= ? and max(utc_day) <= ?
            )
            """,
            [first, last],
        ).fetchall()[0][0]
    )


@dataclass(frozen=True)
class _Location:
    """A location in use: its zone, the end of its day, its latest movement, the days on which it is closed.

    Where that movement is a total of its day, `total_arrived_at` says since when it has been known.
    """

    zone: ZoneInfo
    day_ends_at: time | None
    latest_day: date
    weekdays: frozenset[int]
    closed_days: frozenset[date]
    total_arrived_at: datetime | None = None

    def is_over(self, day: date, arrived_at: datetime) -> bool:
        """Return whether something has arrived after the end of a day."""
        if self.day_ends_at in (None, time(0)):
            ends_at = datetime.combine(day + timedelta(days=1), time(0), self.zone)
        else:
            ends_at = datetime.combine(day, self.day_ends_at or time(0), self.zone)
        return arrived_at >= ends_at

    def has_total_of(self, day: date) -> bool:
        """Return whether the total of a day came after its end: before, it may lack what was sold since."""
        return self.total_arrived_at is not None and self.is_over(day, self.total_arrived_at)

    def is_closed(self, day: date) -> bool:
        return day > self.latest_day and (day in self.closed_days or day.weekday() not in self.weekdays)

    def last_complete_day(self, latest_at: datetime, arrived_at: datetime) -> date:
        today = latest_at.astimezone(self.zone).date()
        complete = today - timedelta(days=1)
        is_ended = self.day_ends_at is not None and self.is_over(today, arrived_at)
        if is_ended or (self.latest_day == today and self.has_total_of(today)):
            complete = today
        while self.is_closed(following := complete + timedelta(days=1)) and self.is_over(following, arrived_at):
            complete = following
        return complete


def _last_complete_day(
    connection: duckdb.DuckDBPyConnection, raw: Path, counts_from: datetime, counts_until: datetime
) -> date:
    latest_at, arrived_at = connection.execute(
        "select max(latest_at) filter (latest_at >= ? and latest_at < ?), max(arrived_at) from quarter_hours",
        [counts_from, counts_until],
    ).fetchall()[0]
    return min(location.last_complete_day(latest_at, arrived_at) for location in _locations(connection, raw, latest_at))


def _locations(connection: duckdb.DuckDBPyConnection, raw: Path, latest_at: datetime) -> list[_Location]:
    """Return the locations that moved in the last four weeks, and on which weekdays they did in the last eight."""
    known = {name: rest for name, *rest in _versions(connection, raw, "locations", "location_id", _LOCATION)}
    events = _versions(connection, raw, "calendar_events", "date, country, event_name, location_id", _EVENT)
    moved = connection.execute(
        """
        with spans as (
            select *, latest_at > $latest::timestamptz - to_days($weekday_days) as is_recent
            from quarter_hours where latest_at <= $latest
        )
        select location_id, max(latest_at), list(quarter_hour) filter (is_recent), bool_and(is_recent),
            arg_max_null(total_arrived_at, latest_at)
        from spans group by location_id having max(latest_at) > $latest::timestamptz - to_days($active_days)
        """,
        {"latest": latest_at, "weekday_days": WEEKDAY_DAYS, "active_days": ACTIVE_DAYS},
    ).fetchall()
    # What is booked for a location that nobody knows waits, and holds no day up.
    in_use = [location for location in moved if location[0] in known] or moved
    found = []
    for name, moved_at, quarter_hours, is_young, total_arrived_at in in_use:
        zone_name, country, day_ends_at = known.get(name, ("UTC", None, None))
        zone = ZoneInfo(zone_name)
        instants = (datetime.fromtimestamp(quarter_hour * _QUARTER_HOUR / 1e6, UTC) for quarter_hour in quarter_hours)
        weekdays = frozenset(instant.astimezone(zone).weekday() for instant in instants)
        found.append(
            _Location(
                zone,
                time.fromisoformat(day_ends_at.replace("24:", "00:")) if day_ends_at else None,
                moved_at.astimezone(zone).date(),
                frozenset(range(7)) if is_young else weekdays,
                frozenset(
                    day
                    for day, where, at, kind in events
                    if kind == "closed" and (at == name or (at is None and where == country))
                ),
                total_arrived_at,
            )
        )
    return found


_LOCATION = {"location_id": "varchar", "time_zone": "varchar", "country": "varchar", "day_ends_at": "varchar"}
_EVENT = {"date": "date", "country": "varchar", "location_id": "varchar", "event_type": "varchar"}


def _versions(
    connection: duckdb.DuckDBPyConnection, raw: Path, table: str, key: str, columns: dict[str, str]
) -> list[tuple[Any, ...]]:
    """Return the latest version of each key of a raw table; a batch from before a column existed lacks it."""
    if not any(raw.glob(f"{table}/*/accepted.parquet")):
        return []
    files = path_literal(raw / table, "*/accepted.parquet")
    nothing = ", ".join(f"null::{kind} as {name}" for name, kind in columns.items())
    return connection.sql(f"""
        select {", ".join(columns)} from (
            select {nothing}, null::varchar as batch_id, null::integer as source_row where false
            union all by name
            select * from read_parquet({files}, union_by_name = true, hive_partitioning = false)
        )
        qualify row_number() over (partition by {key} order by batch_id desc, source_row desc) = 1
    """).fetchall()


def _instant(utc_day: int) -> datetime:
    """Return the instant at which a day begins that is counted from 1970 in UTC."""
    return datetime.combine(_EPOCH + timedelta(days=utc_day), time(0), UTC)
