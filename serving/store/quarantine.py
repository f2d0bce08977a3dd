"""Rows that could not be accepted: kept as they came, with place and reason, until somebody settles them.

Counts balance for ever: added = open + released + discarded. The states are called as among
the rows of files (orchestration/ingest).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, tuple_, update

from serving.store.errors import UnknownRow, WrongState
from serving.store.schema import ledger_head, quarantine, quarantine_steps
from serving.store.units import instant

_AT_ONCE = 500


@dataclass(frozen=True)
class Held:
    """A row to be put into quarantine."""

    channel: str
    position: str
    original: bytes
    rule: str
    reason: str


@dataclass(frozen=True)
class QuarantinedRow:
    """A row of the quarantine.

    Attributes:
        quarantine_id: its number here.
        channel: the way it came in.
        position: where it stands at its source.
        original: its bytes as they came.
        rule: name of the broken rule.
        reason: why, in words, with the value.
        corrected: its bytes after the last fix, None before any.
        state: open, released or discarded.
        ingested_at: when it came.
        settled_at: when it was released or discarded.
    """

    quarantine_id: int
    channel: str
    position: str
    original: bytes
    rule: str
    reason: str
    corrected: bytes | None
    state: str
    ingested_at: datetime
    settled_at: datetime | None

    @property
    def text(self) -> str:
        """What would be released: the correction, else the original, undecodable bytes escaped."""
        return (self.original if self.corrected is None else self.corrected).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Kept:
    """Where a row lies, and whether it came now."""

    quarantine_id: int
    is_new: bool


def add(connection: Connection, held: Sequence[Held], now: int) -> list[Kept]:
    """Add rows; the same bytes from the same place are there once, however often they are delivered.

    Returns:
        Where each row lies.
    """
    if not held:
        return []
    keys = [(row.channel, row.position, hashlib.sha256(row.original).hexdigest()) for row in held]
    delivery = (quarantine.c.channel, quarantine.c.position, quarantine.c.original_sha256)
    known: dict[tuple[str, str, str], int] = {}
    for start in range(0, len(keys), _AT_ONCE):
        part = tuple_(*delivery).in_(keys[start : start + _AT_ONCE])
        found = connection.execute(select(*delivery, quarantine.c.quarantine_id).where(part))
        known |= {(row[0], row[1], row[2]): row[3] for row in found}
    last: int = connection.execute(select(ledger_head.c.quarantine_id)).scalar_one()
    kept: list[Kept] = []
    added: list[dict[str, Any]] = []
    for row, key in zip(held, keys, strict=True):
        is_new = key not in known
        if is_new:
            last += 1
            known[key] = last
            added.append(
                {
                    "quarantine_id": last,
                    "channel": row.channel,
                    "position": row.position,
                    "original": row.original,
                    "original_sha256": key[2],
                    "rule": row.rule,
                    "reason": row.reason,
                    "state": "open",
                    "ingested_at": now,
                }
            )
        kept.append(Kept(known[key], is_new))
    if added:
        connection.execute(insert(quarantine), added)
        connection.execute(update(ledger_head).values(quarantine_id=last))
    return kept


def rows(
    connection: Connection, *, state: str | None, channel: str | None, after: int, limit: int
) -> list[QuarantinedRow]:
    """Return rows in the order they came."""
    query = select(quarantine).where(quarantine.c.quarantine_id > after)
    if state is not None:
        query = query.where(quarantine.c.state == state)
    if channel is not None:
        query = query.where(quarantine.c.channel == channel)
    found = connection.execute(query.order_by(quarantine.c.quarantine_id).limit(limit))
    return [_row(row) for row in found]


def row(connection: Connection, quarantine_id: int) -> QuarantinedRow:
    """Return one row.

    Raises:
        UnknownRow: there is none of that number.
    """
    found = connection.execute(select(quarantine).where(quarantine.c.quarantine_id == quarantine_id)).one_or_none()
    if found is None:
        raise UnknownRow(
            f"There is no quarantined row {quarantine_id}; `inventorybot quarantine list` shows the numbers."
        )
    return _row(found)


def open_row(connection: Connection, quarantine_id: int) -> QuarantinedRow:
    """Return one row that nobody settled yet.

    Raises:
        UnknownRow: there is none of that number.
        WrongState: it was released or discarded before.
    """
    found = row(connection, quarantine_id)
    if found.state != "open":
        raise WrongState(f"Quarantined row {quarantine_id} is {found.state} already; only an open row can be changed.")
    return found


def correct(connection: Connection, quarantine_id: int, text: bytes, author: str, reason: str, now: int) -> None:
    """Keep a corrected text beside the original."""
    open_row(connection, quarantine_id)
    connection.execute(update(quarantine).where(quarantine.c.quarantine_id == quarantine_id).values(corrected=text))
    _note(connection, quarantine_id, "fixed", author, reason, text, now)


def settle(connection: Connection, quarantine_id: int, state: str, author: str, reason: str, now: int) -> None:
    """Mark an open row as released or discarded, for good."""
    open_row(connection, quarantine_id)
    connection.execute(
        update(quarantine).where(quarantine.c.quarantine_id == quarantine_id).values(state=state, settled_at=now)
    )
    _note(connection, quarantine_id, state, author, reason, None, now)


def counts(connection: Connection) -> dict[str, int]:
    """Return how many rows were added and how many are open, released and discarded."""
    number = func.count().label("number")
    grouped = connection.execute(select(quarantine.c.state, number).group_by(quarantine.c.state))
    found: dict[str, int] = {row.state: row.number for row in grouped}
    by_state = {state: found.get(state, 0) for state in ("open", "released", "discarded")}
    return {"added": connection.execute(select(ledger_head.c.quarantine_id)).scalar_one(), **by_state}


def steps(connection: Connection, quarantine_id: int) -> list[dict[str, Any]]:
    """Return what was done to a row: action, author, reason, text, recorded_at."""
    found = connection.execute(
        select(quarantine_steps)
        .where(quarantine_steps.c.quarantine_id == quarantine_id)
        .order_by(quarantine_steps.c.step)
    )
    return [
        {
            "action": step.action,
            "author": step.author,
            "reason": step.reason,
            "text": step.text,
            "recorded_at": instant(step.recorded_at),
        }
        for step in found
    ]


def _note(
    connection: Connection, quarantine_id: int, action: str, author: str, reason: str, text: bytes | None, now: int
) -> None:
    done = connection.execute(
        select(func.count()).where(quarantine_steps.c.quarantine_id == quarantine_id)
    ).scalar_one()
    connection.execute(
        insert(quarantine_steps).values(
            quarantine_id=quarantine_id,
            step=done + 1,
            action=action,
            author=author,
            reason=reason,
            text=text,
            recorded_at=now,
        )
    )


def _row(found: Any) -> QuarantinedRow:
    return QuarantinedRow(
        quarantine_id=found.quarantine_id,
        channel=found.channel,
        position=found.position,
        original=bytes(found.original),
        rule=found.rule,
        reason=found.reason,
        corrected=None if found.corrected is None else bytes(found.corrected),
        state=found.state,
        ingested_at=instant(found.ingested_at),
        settled_at=None if found.settled_at is None else instant(found.settled_at),
    )
