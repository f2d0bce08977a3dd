"""The hash chain over the event log: each batch is a link that names the hash of the link before it.

Belongs here: adding a link, and walking the chain to find what was changed outside the store. Does not: what an event
is (events.py), how it enters the log (ledger.py).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, text

from serving.store import audit, proposals
from serving.store.events import COLUMNS, Row
from serving.store.schema import batches, events, ledger_head

GENESIS = "0" * 64
"""Chain hash of a ledger without events."""
LOST = "lost"
"""Channel of a link that stands for events which a restore could not bring back."""
_BEFORE_AUTHORS = COLUMNS.index("author")
_NOBODY = (None, None)
_canonical = json.JSONEncoder(separators=(",", ":"), check_circular=False)
# Text, as building the statement again costs each batch more than running it.
_ADD_BATCH = text("""
    INSERT INTO batches (batch, first_sequence, last_sequence, door, ingested_at, previous_hash, chain_hash)
    VALUES (:batch, :first_sequence, :last_sequence, :channel, :ingested_at, :previous_hash, :chain_hash)
""")
_MOVE_HEAD = text(
    "UPDATE ledger_head SET sequence = :sequence, batch = :batch, chain_hash = :chain_hash, "
    "ingested_at = :ingested_at, stock_version = stock_version + 1"
)


@dataclass(frozen=True)
class VerifyReport:
    """What a walk over the whole chain found.

    Attributes:
        events: events read.
        batches: links read.
        sequence: sequence of the head.
        chain_hash: chain hash of the head.
        problems: one sentence per break; empty when the log is whole.
    """

    events: int
    batches: int
    sequence: int
    chain_hash: str
    problems: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, added, or cut off."""
        return not self.problems


def link(connection: Connection, head: Any, channel: str, now: int, first: int, fresh: list[Row]) -> str:
    """Add a batch to the chain and move the head, with the version of live stock; returns the chain hash.

    Args:
        connection: a write transaction, to which the events of the batch belong.
        head: row of `ledger_head` before the batch.
        channel: the way the events came in.
        now: microseconds.
        first: sequence of the first event.
        fresh: rows of the batch in the order of the log.
    """
    last = first + len(fresh) - 1
    # A clock that was set back must not make a later batch look as if it had been known earlier.
    ingested_at = max(now, head.ingested_at)
    chain_hash = _chain_hash(head.chain_hash, head.batch + 1, first, channel, ingested_at, fresh)
    new_head = {"batch": head.batch + 1, "ingested_at": ingested_at, "chain_hash": chain_hash}
    connection.execute(
        _ADD_BATCH,
        {
            "first_sequence": first,
            "last_sequence": last,
            "channel": channel,
            "previous_hash": head.chain_hash,
            **new_head,
        },
    )
    connection.execute(_MOVE_HEAD, {"sequence": last, **new_head})
    return chain_hash


def _chain_hash(
    previous: str, batch: int, first: int, channel: str, ingested_at: int, rows: Sequence[Row | list[Any] | int]
) -> str:
    content = _canonical.encode([previous, batch, first, channel, ingested_at, [_hashed(row) for row in rows]])
    return hashlib.sha256(content.encode()).hexdigest()


def _hashed(row: Row | list[Any] | int) -> Row | list[Any] | int:
    """Return what the hash covers of an event: of one without author and device what it covered before there were any.

    The number of values tells both apart, so that neither can be added or removed unseen.
    """
    if isinstance(row, tuple) and row[_BEFORE_AUTHORS:] == _NOBODY:
        return row[:_BEFORE_AUTHORS]
    return row


def leave_gap(connection: Connection, until: int, now: int) -> int:
    """Give out no sequence up to `until` any more: a part of the log that was lost had them; returns how many.

    The gap is a link of the chain without events, so that it cannot be mistaken for events that somebody removed.
    """
    last = connection.execute(select(ledger_head)).one()
    if until <= last.sequence:
        return 0
    first = last.sequence + 1
    ingested_at = max(now, last.ingested_at)
    chain_hash = _chain_hash(last.chain_hash, last.batch + 1, first, LOST, ingested_at, [until])
    new_head = {"batch": last.batch + 1, "ingested_at": ingested_at, "chain_hash": chain_hash}
    connection.execute(
        _ADD_BATCH,
        {
            "first_sequence": first,
            "last_sequence": until,
            "channel": LOST,
            "previous_hash": last.chain_hash,
            **new_head,
        },
    )
    connection.execute(_MOVE_HEAD, {"sequence": until, **new_head})
    return int(until - last.sequence)


def verify(connection: Connection, anchors: Iterable[tuple[int, str]]) -> VerifyReport:
    """Recompute the chain from the first event and compare it with what is stored.

    Likewise the ids of proposals, and the audit list.

    Args:
        connection: a read snapshot.
        anchors: pairs of sequence and chain hash noted outside the store, as in the manifest of a generation; they
            are what tells a truncated log from a short one.
    """
    problems: list[str] = []
    stored_head = connection.execute(select(ledger_head)).one()
    chain_hash, sequence, count, links = GENESIS, 0, 0, 0
    ends = {0: GENESIS}
    lost: list[range] = []
    for link, rows in _links(connection):
        links += 1
        count += len(rows)
        where = f"batch {link.batch} (events {link.first_sequence} to {link.last_sequence})"
        if link.batch != links or link.first_sequence != sequence + 1:
            problems.append(f"{where} does not follow the batch that ends at event {sequence}: a batch is missing.")
        if link.previous_hash != chain_hash:
            problems.append(f"{where} names another predecessor than the batch before it.")
        is_gap = link.channel == LOST
        if is_gap:
            lost.append(range(link.first_sequence, link.last_sequence + 1))
        expected = [] if is_gap else list(range(link.first_sequence, link.last_sequence + 1))
        if [row[0] for row in rows] != expected:
            problems.append(f"{where} holds {len(rows)} of {len(expected)} events: some were removed or added.")
        content = [link.last_sequence] if is_gap else [row[1:] for row in rows]
        recomputed = _chain_hash(
            link.previous_hash, link.batch, link.first_sequence, link.channel, link.ingested_at, content
        )
        if recomputed != link.chain_hash:
            problems.append(f"{where} has other content than when it was written: an event was changed.")
        chain_hash, sequence = link.chain_hash, link.last_sequence
        ends[sequence] = chain_hash
    if (stored_head.sequence, stored_head.chain_hash) != (sequence, chain_hash):
        problems.append(f"The head names event {stored_head.sequence}, the log ends at event {sequence}.")
    beyond: Sequence[int] = (
        connection.execute(select(events.c.sequence).where(events.c.sequence > sequence)).scalars().all()
    )
    if beyond:
        problems.append(f"{len(beyond)} events stand after the last batch, the first is event {min(beyond)}.")
    for anchor_sequence, anchor_hash in anchors:
        # What was lost cannot be held against what was noted of it.
        if any(anchor_sequence in part for part in lost):
            continue
        if anchor_sequence > sequence:
            problems.append(
                f"The log ends at event {sequence}, an anchor names event {anchor_sequence}: its tail is gone."
            )
        elif ends.get(anchor_sequence) != anchor_hash:
            problems.append(f"The chain at event {anchor_sequence} differs from an anchor: history was rewritten.")
    problems += proposals.changed_outside(connection) + audit.changed_outside(connection)
    return VerifyReport(count, links, stored_head.sequence, stored_head.chain_hash, problems)


def _links(connection: Connection) -> Iterator[tuple[Any, list[Row]]]:
    """Yield each batch with its rows (sequence first), in one pass over the log."""
    stream = iter(
        connection.execution_options(yield_per=5_000).execute(
            select(events.c.sequence, *(events.c[name] for name in COLUMNS)).order_by(events.c.sequence)
        )
    )
    waiting = next(stream, None)
    for link in connection.execute(select(batches).order_by(batches.c.batch)).all():
        rows: list[Row] = []
        while waiting is not None and waiting[0] <= link.last_sequence:
            rows.append(tuple(waiting))
            waiting = next(stream, None)
        yield link, rows
