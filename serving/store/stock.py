"""What each location holds this instant, and the fold that defines it.

Stock is the fold of all events in the order (occurred_at, counts after other movements, source, document, line,
revision), of which only the highest revision of a (source, document, line) takes part: a count sets the stock, every
other movement adds its signed quantity. Only the last count and what follows it decide where the stock ends, so the
running state of an item is that instant and two sums: what the ledger adds after it, and what the published
generation adds that never passed through the ledger (files, SQL sources). A movement in its natural order costs one
addition; a count, a correction, or anything that may sit before the last count folds the one item anew. A count of
several lines or of a lot leaves what `fold` says; a count of lots of an item that is published too leaves at least what
was expected, until the next publication, which knows its other lots.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, text, tuple_, update

from serving.store.errors import StoreError
from serving.store.events import COLUMNS, Row
from serving.store.schema import ledger_head, live_stock, published_stock
from serving.store.units import Refused, instant, instant_of, quantity, quantity_of, text_of

PublishedUnitsAfter = Callable[[str, str, datetime], Decimal]
"""Units that published movements outside the ledger add to (sku, location_id) strictly after an instant."""

_TYPE, _SKU, _LOCATION = (COLUMNS.index(name) for name in ("event_type", "sku", "location_id"))


@dataclass(frozen=True)
class LiveStock:
    """Stock of one item at one location.

    Attributes:
        sku: stock keeping unit.
        location_id: location.
        on_hand_units: the fold of everything known; negative where the records say so.
        counted_at: instant of the last count, None if never counted.
        last_occurred_at: instant of the latest movement or count in the ledger, None if it holds none.
        sequence: watermark: every ledger event up to this one is in the figure.
        is_settled: False while published movements after a late count, or published lots beside a counted one, could
            not be read; the next publication settles it.
        version: of live stock when this item changed last.
    """

    sku: str
    location_id: str
    on_hand_units: Decimal
    counted_at: datetime | None
    last_occurred_at: datetime | None
    sequence: int
    is_settled: bool
    version: int


def fold(movements: Iterable[Mapping[str, Any]]) -> Decimal:
    """Return the units on hand after movements of one item, in any order; the definition the rest must equal.

    Lines of one document that count the item at one instant are one stocktake: they add up; lines that all name a lot
    also belong together within twelve hours. A stocktake with a line that names no lot counts the whole item. One whose
    lines all name a lot counts these lots. What is on record of a lot is its last count and what named it since; what
    lots have on record beyond the stock was sold without naming a lot. What is found more of the counted lots than is
    on record adds to stock. What is found less was first sold so; only the rest takes from stock. Stock is so at least
    what was counted, and at most what all lots have on record.

    Args:
        movements: `source`, `document`, `line`, `revision`, `occurred_at` (datetime), `movement_type`,
            `quantity_units` (Decimal) and, where known, `lot_id` each; an identity occurs once.
    """
    highest: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    for movement in movements:
        key = (movement["source"], movement["document"], movement["line"])
        if key not in highest or movement["revision"] > highest[key]["revision"]:
            highest[key] = movement
    on_hand = Decimal(0)
    records: defaultdict[str, Decimal] = defaultdict(Decimal)
    stocktake: _Stocktake | None = None
    for movement in sorted(highest.values(), key=_fold_order):
        lot, units = movement.get("lot_id"), Decimal(movement["quantity_units"])
        if movement["movement_type"] == "count":
            if stocktake is None or not stocktake.goes_on_with(movement):
                stocktake = _Stocktake(expected_units=on_hand)
            on_hand = stocktake.take(movement, records)
        else:
            on_hand += units
            if stocktake:
                stocktake.expected_units += units
            if lot is not None:
                records[lot] += units
    return on_hand


@dataclass
class _Stocktake:
    """Lines that count one item together.

    Attributes:
        expected_units: stock before, with what moved since.
        found_units: units found of the counted lots beyond what was on record of them.
        counted_units: units counted so far, by lot; those of lines without a lot under None.
        counted_at: instant at which each lot was counted last.
        last_line: the line before.
    """

    expected_units: Decimal
    found_units: Decimal = Decimal(0)
    counted_units: defaultdict[str | None, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    counted_at: dict[str, datetime] = field(default_factory=dict)
    last_line: Mapping[str, Any] = field(default_factory=dict)

    def goes_on_with(self, line: Mapping[str, Any]) -> bool:
        """Return whether a line belongs to this stocktake."""
        before = self.last_line
        by_lot = line.get("lot_id") is not None and before.get("lot_id") is not None
        is_of_document = (line["source"], line["document"]) == (before["source"], before["document"])
        return is_of_document and line["occurred_at"] - before["occurred_at"] <= (_BY_LOT if by_lot else timedelta(0))

    def take(self, line: Mapping[str, Any], records: defaultdict[str, Decimal]) -> Decimal:
        """Take in a line, bring the record of its lot up to date, and return the stock after it."""
        lot, units = line.get("lot_id"), Decimal(line["quantity_units"])
        self.last_line = line
        if lot is None:
            self.counted_units[None] += units
        else:
            # The same lot at one instant lies on two shelves; at a later one it was counted again.
            is_further_shelf = self.counted_at.get(lot) == line["occurred_at"]
            found = units if is_further_shelf else units - records[lot]
            records[lot] += found
            self.found_units += found
            self.counted_units[lot] = self.counted_units[lot] + found if lot in self.counted_at else records[lot]
            self.counted_at[lot] = line["occurred_at"]
        counted = sum(self.counted_units.values(), Decimal(0))
        if None in self.counted_units:
            return counted
        return max(
            counted, min(sum(records.values(), Decimal(0)), self.expected_units + max(self.found_units, Decimal(0)))
        )


_BY_LOT = timedelta(hours=12)


def _fold_order(movement: Mapping[str, Any]) -> tuple[Any, ...]:
    is_count = movement["movement_type"] == "count"
    identity = (movement["source"], movement["document"], movement["line"], movement["revision"])
    return (movement["occurred_at"], is_count, *identity)


def follow(
    connection: Connection, fresh: Sequence[Row], first: int, version: int, units_after: PublishedUnitsAfter | None
) -> None:
    """Bring the running state up to the events that were appended from `first` on, in their transaction."""
    last = first + len(fresh) - 1
    to_fold = {(row[_SKU], row[_LOCATION]) for row in fresh if row[_TYPE] == "count"}
    for found in connection.execute(_REVISED, {"first": first, "last": last}):
        to_fold.update(((found[0], found[1]), (found[2], found[3])))
    to_fold.update((found[0], found[1]) for found in connection.execute(_BEFORE_LOTS, {"first": first, "last": last}))
    connection.execute(_ADD[connection.dialect.name], {"first": first, "last": last, "version": version})
    for sku, location_id in sorted(to_fold):
        _refold(connection, sku, location_id, (last, version), units_after)


# Adds movements to the state of their items. A movement at or before the last count changes nothing. SQLite takes the
# movements one by one, in the order of the table: half the time of grouping them first. PostgreSQL does not let one
# statement touch a row twice, so there they are grouped, and the count is looked up beside.
_INTO_STATE = """
    INSERT INTO live_stock (
        sku, location_id, counted_at, ledger_thousandths, published_thousandths, last_occurred_at, sequence, is_settled,
        version
    )
"""
_ADD = {
    "sqlite": text(f"""{_INTO_STATE}
    SELECT sku, location_id, NULL, quantity_thousandths, 0, occurred_at, sequence, true, :version
    FROM events
    WHERE sequence BETWEEN :first AND :last AND event_type = 'movement'
    ORDER BY sku, location_id
    ON CONFLICT (sku, location_id) DO UPDATE SET
        ledger_thousandths = ledger_thousandths
            + CASE WHEN counted_at >= excluded.last_occurred_at THEN 0 ELSE excluded.ledger_thousandths END,
        last_occurred_at = max(coalesce(last_occurred_at, excluded.last_occurred_at), excluded.last_occurred_at),
        sequence = max(sequence, excluded.sequence),
        version = excluded.version
    """),
    "postgresql": text(f"""{_INTO_STATE}
    SELECT
        event.sku,
        event.location_id,
        NULL,
        CAST(sum(
            CASE WHEN item.counted_at >= event.occurred_at THEN 0 ELSE event.quantity_thousandths END
        ) AS bigint),
        0,
        max(event.occurred_at),
        max(event.sequence),
        true,
        CAST(:version AS bigint)
    FROM events AS event
    LEFT JOIN live_stock AS item ON item.sku = event.sku AND item.location_id = event.location_id
    WHERE event.sequence BETWEEN :first AND :last AND event.event_type = 'movement'
    GROUP BY event.sku, event.location_id
    ON CONFLICT (sku, location_id) DO UPDATE SET
        ledger_thousandths = live_stock.ledger_thousandths + excluded.ledger_thousandths,
        last_occurred_at = greatest(live_stock.last_occurred_at, excluded.last_occurred_at),
        sequence = excluded.sequence,
        version = excluded.version
    """),
}

# Items of events that correct another revision of their line or are corrected by one, on both sides.
_REVISED = text("""
    SELECT DISTINCT event.sku, event.location_id, other.sku, other.location_id
    FROM events AS event
    INNER JOIN events AS other
        ON other.source = event.source
        AND other.document = event.document
        AND other.line = event.line
        AND other.revision <> event.revision
    WHERE event.sequence BETWEEN :first AND :last AND event.event_type IN ('movement', 'count')
""")

# Items with a movement that is not after their last count, where that count is of a lot: what is left of the others
# depends on it.
_BEFORE_LOTS = text("""
    SELECT DISTINCT event.sku, event.location_id
    FROM events AS event
    INNER JOIN live_stock AS item
        ON item.sku = event.sku AND item.location_id = event.location_id AND item.counted_at >= event.occurred_at
    WHERE event.sequence BETWEEN :first AND :last AND event.event_type = 'movement'
        AND EXISTS (
            SELECT 1
            FROM events AS counted
            WHERE counted.sku = item.sku
                AND counted.location_id = item.location_id
                AND counted.occurred_at = item.counted_at
                AND counted.event_type = 'count'
                AND counted.lot_id IS NOT NULL
        )
""")

_IS_EFFECTIVE = """NOT EXISTS (
        SELECT 1
        FROM events AS later
        WHERE later.source = event.source
            AND later.document = event.document
            AND later.line = event.line
            AND later.revision > event.revision
    )"""

_LAST_COUNTS = text(f"""
    SELECT source, document, occurred_at, quantity_thousandths, lot_id
    FROM events AS event
    WHERE sku = :sku AND location_id = :location_id AND event_type = 'count' AND {_IS_EFFECTIVE}
    ORDER BY occurred_at DESC, source DESC, document DESC, line DESC, revision DESC
    LIMIT 2
""")

_LAST_WHOLE_COUNT = text(f"""
    SELECT max(occurred_at)
    FROM events AS event
    WHERE sku = :sku AND location_id = :location_id AND event_type = 'count' AND lot_id IS NULL AND {_IS_EFFECTIVE}
""")

_UNTIL = text(f"""
    SELECT source, document, line, revision, occurred_at, movement_type, quantity_thousandths, lot_id
    FROM events AS event
    WHERE sku = :sku AND location_id = :location_id AND event_type IN ('movement', 'count')
        AND occurred_at <= :instant AND {_IS_EFFECTIVE}
""")

_SUM_AFTER = text(f"""
    SELECT CAST(coalesce(sum(quantity_thousandths), 0) AS bigint)
    FROM events AS event
    WHERE sku = :sku AND location_id = :location_id AND event_type = 'movement' AND occurred_at > :instant
        AND {_IS_EFFECTIVE}
""")

_LAST_OCCURRED = text(
    "SELECT max(occurred_at) FROM events WHERE sku = :sku AND location_id = :location_id "
    "AND event_type IN ('movement', 'count')"
)

_PUT = text(f"""{_INTO_STATE}
    VALUES (
        :sku, :location_id, :counted_at, :ledger_thousandths, :published_thousandths, :last_occurred_at, :sequence,
        :is_settled, :version
    )
    ON CONFLICT (sku, location_id) DO UPDATE SET
        counted_at = excluded.counted_at,
        ledger_thousandths = excluded.ledger_thousandths,
        published_thousandths = excluded.published_thousandths,
        last_occurred_at = excluded.last_occurred_at,
        sequence = excluded.sequence,
        is_settled = excluded.is_settled,
        version = excluded.version
""")

_BEFORE_ALL = -(2**62)


def _refold(
    connection: Connection, sku: str, location_id: str, at: tuple[int, int], units_after: PublishedUnitsAfter | None
) -> None:
    """Fold one item anew; `at` is the sequence of the last event and the version of live stock."""
    sequence, version = at
    item = {"sku": sku, "location_id": location_id}
    counts = connection.execute(_LAST_COUNTS, item).all()
    count = counts[0] if counts else None
    published = connection.execute(
        select(published_stock).where(published_stock.c.sku == sku, published_stock.c.location_id == location_id)
    ).one_or_none()
    published_count = None if published is None else published.counted_at
    counted_at, ledger_units = published_count, 0
    published_units = 0 if published is None else published.on_hand_thousandths
    is_settled = True
    # What is published of an item counted by lot or in several lines is the fold of all that had arrived.
    is_of_several = count is not None and (count.lot_id is not None or _is_one_stocktake(counts))
    if count is not None and (
        published_count is None
        or count.occurred_at > published_count
        or (count.occurred_at == published_count and not is_of_several)
    ):
        counted_at, ledger_units = count.occurred_at, count.quantity_thousandths
        published_units = 0
        if is_of_several:
            ledger_units = _folded_until(connection, item, counted_at)
            is_settled = published is None or count.lot_id is None
        # The published sum stood on an earlier count, or on none: what it adds after this one must be asked for.
        if published is not None and published.last_occurred_at > counted_at:
            is_settled = is_settled and units_after is not None
            if units_after is not None:
                units = units_after(sku, location_id, instant(counted_at))
                published_units = quantity_of("published units", units)
    after = _BEFORE_ALL if counted_at is None else counted_at
    ledger_units += connection.execute(_SUM_AFTER, {**item, "instant": after}).scalar_one()
    if published is not None and count is not None and count.lot_id is not None and counted_at == count.occurred_at:
        expected = _units_without_lot_counts(connection, item, published, units_after)
        ledger_units = max(ledger_units, expected - published_units)
    connection.execute(
        _PUT,
        {
            **item,
            "counted_at": counted_at,
            "ledger_thousandths": ledger_units,
            "published_thousandths": published_units,
            "last_occurred_at": connection.execute(_LAST_OCCURRED, item).scalar_one(),
            "sequence": sequence,
            "is_settled": is_settled,
            "version": version,
        },
    )


def _units_without_lot_counts(
    connection: Connection, item: Mapping[str, str], published: Any, units_after: PublishedUnitsAfter | None
) -> int:
    """Return the thousandths on hand as if no lot had been counted since the last count of the whole item.

    Which lots are published is not known here: until the next publication, lots that were not counted are taken to be
    there.
    """
    whole = connection.execute(_LAST_WHOLE_COUNT, item).scalar_one_or_none()
    if whole is None or (published.counted_at is not None and published.counted_at >= whole):
        since, units = published.counted_at, published.on_hand_thousandths
    else:
        since, units = whole, _folded_until(connection, item, whole)
        if units_after is not None and published.last_occurred_at > whole:
            units += quantity_of("published units", units_after(item["sku"], item["location_id"], instant(whole)))
    after = _BEFORE_ALL if since is None else since
    added: int = connection.execute(_SUM_AFTER, {**item, "instant": after}).scalar_one()
    return int(units) + added


def _is_one_stocktake(counts: Sequence[Any]) -> bool:
    return len({(count.source, count.document, count.occurred_at) for count in counts}) < len(counts)


def _folded_until(connection: Connection, item: Mapping[str, str], counted_at: int) -> int:
    """Return the thousandths on hand after the last count of an item, of what the ledger holds."""
    found = connection.execute(_UNTIL, {**item, "instant": counted_at})
    movements = [
        {
            **row._mapping,
            "occurred_at": instant(row.occurred_at),
            "quantity_units": quantity(row.quantity_thousandths),
        }
        for row in found
    ]
    return quantity_of("folded units", fold(movements))


Item = tuple[str, str]
"""sku and location_id."""
PublishedState = tuple[int, int | None, int]
"""Thousandths on hand, microseconds of the last count, microseconds of the last movement or count."""


def to_rebase(connection: Connection, wanted: Mapping[Item, PublishedState]) -> list[Item]:
    """Return the items whose published contribution changes, and those that are not settled, in order."""
    known = {
        (row.sku, row.location_id): (row.on_hand_thousandths, row.counted_at, row.last_occurred_at)
        for row in connection.execute(select(published_stock))
    }
    changed = {key for key in known.keys() | wanted.keys() if known.get(key) != wanted.get(key)}
    unsettled = select(live_stock.c.sku, live_stock.c.location_id).where(live_stock.c.is_settled.is_(False))
    return sorted(changed | {(row.sku, row.location_id) for row in connection.execute(unsettled)})


def rebase(
    connection: Connection,
    items: Sequence[Item],
    wanted: Mapping[Item, PublishedState],
    units_after: PublishedUnitsAfter | None,
) -> int:
    """Replace what the published generation contributes to some items; see `Store.rebase_stock`.

    Args:
        connection: a write transaction.
        items: which, of `to_rebase`.
        wanted: as `published_states` returns it; an item that it lacks is published no more.
        units_after: reads published movements that never passed through the ledger.

    Returns:
        Items whose published state changed.
    """
    known = {
        (row.sku, row.location_id): (row.on_hand_thousandths, row.counted_at, row.last_occurred_at)
        for row in connection.execute(select(published_stock).where(_is_of(published_stock, items)))
    }
    changed = {key for key in items if known.get(key) != wanted.get(key)}
    gone = changed - wanted.keys()
    if gone:
        connection.execute(published_stock.delete().where(_is_of(published_stock, sorted(gone))))
    rows = [
        {
            "sku": sku,
            "location_id": location_id,
            "on_hand_thousandths": on_hand,
            "counted_at": counted_at,
            "last_occurred_at": last_occurred_at,
        }
        for sku, location_id in sorted(changed - gone)
        for on_hand, counted_at, last_occurred_at in (wanted[sku, location_id],)
    ]
    if rows:
        connection.execute(_PUT_PUBLISHED, rows)
    held = connection.execute(select(live_stock).where(_is_of(live_stock, items))).all()
    in_ledger = {(row.sku, row.location_id) for row in held if row.last_occurred_at is not None}
    unsettled = {(row.sku, row.location_id) for row in held if not row.is_settled}
    connection.execute(update(ledger_head).values(stock_version=ledger_head.c.stock_version + 1))
    head = connection.execute(select(ledger_head.c.sequence, ledger_head.c.stock_version)).one()
    direct = [
        {
            "sku": row["sku"],
            "location_id": row["location_id"],
            "counted_at": row["counted_at"],
            "ledger_thousandths": 0,
            "published_thousandths": row["on_hand_thousandths"],
            "last_occurred_at": None,
            "sequence": head.sequence,
            "is_settled": True,
            "version": head.stock_version,
        }
        for row in rows
        if (row["sku"], row["location_id"]) not in in_ledger
    ]
    if direct:
        connection.execute(_PUT, direct)
    for sku, location_id in sorted((changed & in_ledger) | unsettled):
        _refold(connection, sku, location_id, (head.sequence, head.stock_version), units_after)
    if gone - in_ledger:
        connection.execute(live_stock.delete().where(_is_of(live_stock, sorted(gone - in_ledger))))
    return len(changed)


def _is_of(table: Table, items: Sequence[Item]) -> ColumnElement[bool]:
    return tuple_(table.c.sku, table.c.location_id).in_(items)


_PUT_PUBLISHED = text("""
    INSERT INTO published_stock (sku, location_id, on_hand_thousandths, counted_at, last_occurred_at)
    VALUES (:sku, :location_id, :on_hand_thousandths, :counted_at, :last_occurred_at)
    ON CONFLICT (sku, location_id) DO UPDATE SET
        on_hand_thousandths = excluded.on_hand_thousandths,
        counted_at = excluded.counted_at,
        last_occurred_at = excluded.last_occurred_at
""")


def published_states(published: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], PublishedState]:
    """Return the state of each item, in stored units.

    Raises:
        StoreError: a row is malformed, or an item occurs twice.
    """
    states: dict[tuple[str, str], PublishedState] = {}
    for row in published:
        counted_at = row.get("counted_at")
        try:
            key = (text_of("sku", row.get("sku")), text_of("location_id", row.get("location_id")))
            state = (
                quantity_of("on_hand_units", row.get("on_hand_units")),
                None if counted_at is None else instant_of("counted_at", counted_at),
                instant_of("last_occurred_at", row.get("last_occurred_at")),
            )
        except Refused as refused:
            raise StoreError(
                f"Published stock cannot be taken over: {refused.reason} (row {dict(row)!r})."
            ) from refused
        if key in states:
            raise StoreError(f"Published stock names {key[0]!r} at {key[1]!r} twice; hand over one row per item.")
        states[key] = state
    return states


def of_item(connection: Connection, sku: str, location_id: str) -> LiveStock | None:
    """Return the stock of one item, None where nothing is known of it."""
    found = connection.execute(
        _STATE.where(live_stock.c.sku == sku, live_stock.c.location_id == location_id)
    ).one_or_none()
    return None if found is None else _live(found)


def of_all(
    connection: Connection, location_id: str | None, after: Item | None, limit: int | None, since_version: int | None
) -> list[LiveStock]:
    """Return the stock of items ordered by sku and location; see `Store.live_stocks`."""
    query = _STATE if location_id is None else _STATE.where(live_stock.c.location_id == location_id)
    if after is not None:
        query = query.where(tuple_(live_stock.c.sku, live_stock.c.location_id) > tuple_(*after))
    if since_version is not None:
        query = query.where(live_stock.c.version > since_version)
    query = query.order_by(live_stock.c.sku, live_stock.c.location_id).limit(limit)
    return [_live(row) for row in connection.execute(query)]


def version(connection: Connection) -> int:
    """Return the version of live stock."""
    reached: int = connection.execute(select(ledger_head.c.stock_version)).scalar_one()
    return reached


def advance_version(connection: Connection, to: int) -> None:
    """Let every item count as changed, at a version that none has had."""
    connection.execute(update(ledger_head).values(stock_version=to))
    connection.execute(update(live_stock).values(version=to))


# The head is read in the same statement: in the snapshot of the reader, everything up to it is folded in.
_STATE = select(live_stock, ledger_head.c.sequence.label("watermark")).join_from(
    live_stock, ledger_head, ledger_head.c.head_id == 1
)


def _live(row: Any) -> LiveStock:
    return LiveStock(
        sku=row.sku,
        location_id=row.location_id,
        on_hand_units=quantity(row.ledger_thousandths + row.published_thousandths),
        counted_at=None if row.counted_at is None else instant(row.counted_at),
        last_occurred_at=None if row.last_occurred_at is None else instant(row.last_occurred_at),
        sequence=row.watermark,
        is_settled=row.is_settled,
        version=row.version,
    )
