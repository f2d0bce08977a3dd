"""The event log as readers see it: its head, movements column by column, decisions one by one.

Belongs here: every read of `events` in commit order. Does not: writing (ledger.py), verifying (chain.py).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from serving.store.events import MOVEMENT_EVENTS
from serving.store.schema import batches, events, ledger_head
from serving.store.units import instant, money, quantity


@dataclass(frozen=True)
class MovementBatch:
    """Movements and counts of the log, column by column, in sequence order.

    Attributes:
        first_sequence: first sequence this batch speaks for.
        last_sequence: last one; read on from here, even where other events stand between the movements.
        columns: `sequence`, `event_id`, `ingested_at` and the contract columns of raw/stock_movements; instants are
            UTC datetimes, quantities and money Decimal.
    """

    first_sequence: int
    last_sequence: int
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.columns["sequence"])


def head(connection: Connection) -> tuple[int, str]:
    """Return sequence and chain hash of the last event."""
    row = connection.execute(select(ledger_head.c.sequence, ledger_head.c.chain_hash)).one()
    return row.sequence, row.chain_hash


def waiting_movements(connection: Connection, sequence: int) -> tuple[int, int | None]:
    """Return how many movements and counts came after `sequence`, and when the first of them did, in microseconds."""
    waiting = select(func.count(), func.min(events.c.sequence)).where(
        events.c.sequence > sequence, events.c.event_type.in_(MOVEMENT_EVENTS)
    )
    row: Any = connection.execute(waiting).one()
    count, first = row
    if first is None:
        return 0, None
    since = select(batches.c.ingested_at).where(batches.c.first_sequence <= first, batches.c.last_sequence >= first)
    return count, connection.execute(since).scalar_one()


def movements_since(connection: Connection, sequence: int, limit: int) -> MovementBatch | None:
    """Return up to `limit` movements and counts after `sequence`, None where the log ends there."""
    last_sequence, _ = head(connection)
    if last_sequence <= sequence:
        return None
    found = connection.execute(
        select(events)
        .where(events.c.sequence > sequence, events.c.event_type.in_(MOVEMENT_EVENTS))
        .order_by(events.c.sequence)
        .limit(limit)
    ).all()
    if len(found) == limit:
        last_sequence = found[-1].sequence
    as_they_are = (
        *("sequence", "event_id", "source", "document", "line", "revision"),
        *("sku", "location_id", "movement_type", "lot_id", "reference", "reason"),
    )
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in found] for name in as_they_are}
    columns["ingested_at"] = _ingested_at(connection, columns["sequence"])
    for name in ("occurred_at", "recorded_at"):
        columns[name] = [instant(getattr(row, name)) for row in found]
    columns["quantity_units"] = [quantity(row.quantity_thousandths) for row in found]
    columns["unit_price"] = [
        None if row.unit_price_ten_thousandths is None else money(row.unit_price_ten_thousandths) for row in found
    ]
    return MovementBatch(sequence + 1, last_sequence, columns)


def movements_of(connection: Connection, sku: str, location_id: str, limit: int) -> list[dict[str, Any]]:
    """Return the last movements and counts of an item, by when they occurred, the latest first."""
    found = connection.execute(
        select(events)
        .where(events.c.sku == sku, events.c.location_id == location_id, events.c.event_type.in_(MOVEMENT_EVENTS))
        .order_by(events.c.occurred_at.desc(), events.c.sequence.desc())
        .limit(limit)
    )
    as_they_are = (
        *("sequence", "event_id", "source", "document", "line", "revision", "movement_type"),
        *("lot_id", "reference", "reason", "author", "device"),
    )
    return [
        {name: getattr(row, name) for name in as_they_are}
        | {
            "occurred_at": instant(row.occurred_at),
            "recorded_at": instant(row.recorded_at),
            "quantity_units": quantity(row.quantity_thousandths),
        }
        for row in found
    ]


def _ingested_at(connection: Connection, sequences: list[int]) -> list[datetime]:
    """Return when each of these events, in ascending order, was ingested."""
    if not sequences:
        return []
    links = connection.execute(
        select(batches.c.last_sequence, batches.c.ingested_at)
        .where(batches.c.last_sequence >= sequences[0], batches.c.first_sequence <= sequences[-1])
        .order_by(batches.c.last_sequence)
    ).all()
    moments: list[datetime] = []
    remaining = iter(links)
    link = next(remaining)
    moment = instant(link.ingested_at)
    for sequence in sequences:
        while sequence > link.last_sequence:
            link = next(remaining)
            moment = instant(link.ingested_at)
        moments.append(moment)
    return moments


def decisions_since(connection: Connection, sequence: int, limit: int) -> list[dict[str, Any]]:
    """Return up to `limit` events that are no movements after `sequence`, their payload spread into fields."""
    found = connection.execute(
        select(events)
        .where(events.c.sequence > sequence, events.c.event_type.not_in(MOVEMENT_EVENTS))
        .order_by(events.c.sequence)
        .limit(limit)
    )
    return [
        {
            "sequence": row.sequence,
            "event_id": row.event_id,
            "event_type": row.event_type,
            "channel": row.source,
            "occurred_at": instant(row.occurred_at),
            "recorded_at": instant(row.recorded_at),
            "sku": row.sku,
            "location_id": row.location_id,
            "reason": row.reason,
            **json.loads(row.payload),
        }
        for row in found
    ]
