"""Live stock and a run: what came by files and SQL sources reaches the online store's live stock with each publication.

Belongs here: the fold of the movements that never passed through the ledger. Does not: the running state itself
(serving/store/stock.py), the fold that the warehouse publishes (dbt_project/), which a test holds this one to.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.sql_text import path_literal
from orchestration.ingest.codes import meant
from orchestration.ingest.manifests import BATCH_ID, ONLINE_STORE, still_counts
from orchestration.warehouse.exports import parquet_of, read_sql

if TYPE_CHECKING:
    from serving.store import Store


def rebase_live_stock(
    raw: Path,
    exports: Path,
    ingested_until: datetime,
    store: "Store",
    *,
    counts_from: datetime | None = None,
    counts_until: datetime | None = None,
) -> int:
    """Base live stock on every movement that has arrived by now, whatever its channel.

    Safe to repeat. Does nothing while the ledger is empty: where all movements come by files, stock is what the
    published generation says.

    Args:
        raw: folder of arrival batches.
        exports: folder of the exports, whose products and locations are the known ones.
        ingested_until: instant up to which arrivals count; that of the build that was published.
        store: online store.
        counts_from: movements before it have a date that cannot be right, and wait; None = there are none.
        counts_until: so have movements from it on; None = there are none.

    Returns:
        Items whose published contribution changed.
    """
    if store.head()[0] == 0:
        return 0
    with _outside(raw, exports, ingested_until, store, counts_from, counts_until) as outside:
        return store.rebase_stock(outside.states(), units_after=outside.units_after)


_TOTALS = """
    select source, document, 1 as line, 0 as revision, occurred_at, sku, location_id,
        case when counted_units > 0 then 'sale' else 'return' end as movement_type, -counted_units as quantity_units,
        null::varchar as lot_id, 'daily_sales' as source_file
    from {} where is_counted
"""


class _Outside:
    """The effective movements of known items that never passed through the ledger."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, at_hand: set[tuple[str, str]]) -> None:
        self._connection = connection
        self._at_hand = at_hand

    def states(self) -> list[dict[str, Any]]:
        """Return what `Store.rebase_stock` takes: stock, last count and last movement of each item.

        Of an item counted by lot or in several lines, it is the fold of both channels up to its last count.
        """
        from serving.store import fold

        found = self._connection.execute("""
            with counts as (
                select sku, location_id, max(occurred_at) as counted_at,
                    arg_max(quantity_units, row(occurred_at, source, document, line, revision)) as counted_units
                from outside where movement_type = 'count' group by sku, location_id
            )
            select sku, location_id,
                coalesce(any_value(counted_units), 0) + coalesce(sum(quantity_units) filter (
                    movement_type <> 'count' and (counted_at is null or occurred_at > counted_at)
                ), 0),
                any_value(counted_at), max(occurred_at)
            from outside left join counts using (sku, location_id) group by sku, location_id
        """)
        names = ("sku", "location_id", "on_hand_units", "counted_at", "last_occurred_at")
        states = {row[:2]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
        for item, movements in self._counted_by_part().items():
            counted_at = max(line["occurred_at"] for line in movements if line["movement_type"] == "count")
            until = (line for line in movements if line["occurred_at"] <= counted_at)
            states[item] |= {
                "on_hand_units": fold(until) + self.units_after(*item, counted_at),
                "counted_at": counted_at,
                "last_occurred_at": max(states[item]["last_occurred_at"], counted_at),
            }
        return list(states.values())

    def _counted_by_part(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Return the movements, of both channels, of each item that is counted by lot or in several lines."""
        found = self._connection.execute("""
            select sku, location_id,
                source, document, line, revision, occurred_at, movement_type, quantity_units, lot_id
            from effective semi join counted_by_part using (sku, location_id) semi join outside using (sku, location_id)
        """)
        names = [column[0] for column in found.description or []]
        movements: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in found.fetchall():
            movements[row[:2]].append(dict(zip(names, row, strict=True)))
        return movements

    def units_after(self, sku: str, location_id: str, instant: datetime) -> Decimal:
        """Return what the movements of an item add strictly after an instant."""
        relation = "counted_items" if (sku, location_id) in self._at_hand else "outside"
        (units,) = self._connection.execute(
            f"select coalesce(sum(quantity_units), 0)::decimal(18, 3) from {relation} "
            "where sku = ? and location_id = ? and occurred_at > ? and movement_type <> 'count'",
            [sku, location_id, instant],
        ).fetchall()[0]
        return Decimal(units)


@contextmanager
def _outside(
    raw: Path,
    exports: Path,
    ingested_until: datetime,
    store: "Store",
    counts_from: datetime | None,
    counts_until: datetime | None,
) -> Iterator[_Outside]:
    until = ingested_until.strftime(BATCH_ID)
    dated = "".join(
        f" and occurred_at {side} timestamptz '{instant.isoformat()}'"
        for side, instant in ((">=", counts_from), ("<", counts_until))
        if instant
    )
    # Only an item that the ledger holds, and that was counted, may ask what came after its count.
    counted = {
        (item.sku, item.location_id) for item in store.live_stocks() if item.counted_at and item.last_occurred_at
    }
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        # References are those of the warehouse: a movement of an unknown item is held there, and counts nowhere. So are
        # totals of sales by day: which of them count is decided there.
        connection.execute(f"""
            create view arrived as
            select * replace ({meant(raw, "sku")} as sku, {meant(raw, "location_id")} as location_id)
            from read_parquet({path_literal(raw, "stock_movements/*/accepted.parquet")})
            where batch_id <= '{until}' and {still_counts(raw / "stock_movements")}
            union all by name
            {_TOTALS.format(read_sql(parquet_of(exports, "marts.fct_daily_sales")))};
            create view corrected as
            select source, document, line, max(revision) as revision
            from arrived where revision > 0 group by source, document, line;
            create table in_ledger (source varchar, document varchar, line integer);
            create view effective as
            select arrived.*
            from arrived
            left join corrected using (source, document, line)
            where (corrected.revision is null or arrived.revision = corrected.revision)
                and sku in (select sku from {read_sql(parquet_of(exports, "marts.dim_products"))})
                and location_id in (
                    select location_id from {read_sql(parquet_of(exports, "marts.dim_locations"))}
                ){dated};
            create view outside as
            from effective anti join in_ledger using (source, document, line) where source_file <> '{ONLINE_STORE}';
        """)
        _leave_out_what_the_ledger_holds(connection, store)
        by_part = connection.execute("""
            create table counted_by_part as
            select distinct sku, location_id from (
                select sku, location_id from effective where movement_type = 'count'
                group by sku, location_id, source, document, occurred_at having count(*) > 1 or count(lot_id) > 0
            );
            from counted_by_part
        """)
        counted |= {(sku, location_id) for sku, location_id in by_part.fetchall()}
        # One pass over the batches serves all such items.
        connection.execute(
            # The type is said because an empty list has none.
            "create table counted_items as select * from outside "
            "semi join (select unnest($skus::varchar[]) as sku, unnest($locations::varchar[]) as location_id) "
            "using (sku, location_id)",
            {"skus": [sku for sku, _ in counted], "locations": [location for _, location in counted]},
        )
        yield _Outside(connection, counted)


def _leave_out_what_the_ledger_holds(connection: duckdb.DuckDBPyConnection, store: "Store") -> None:
    """Note the lines that came by files and by events: those of a source that was transferred and sent again.

    The warehouse takes such a line once, as a duplicate or a correction; the ledger holds it already.
    """
    by_event = {source for source, channel in store.authorities().items() if channel == ONLINE_STORE}
    found = connection.execute(f"select distinct source from arrived where source_file <> '{ONLINE_STORE}'").fetchall()
    handed_over = by_event & {source for (source,) in found}
    if not handed_over:
        return
    for batch in store.events_since(0):
        names = ("source", "document", "line")
        lines = [line for line in zip(*(batch.columns[name] for name in names), strict=True) if line[0] in handed_over]
        connection.execute(
            "insert into in_ledger select unnest($source), unnest($document), unnest($line)",
            {name: [line[place] for line in lines] for place, name in enumerate(names)},
        )
