"""Who did what: an append-only list whose rows name the hash of the row before, like the links of the event log.

Belongs here: adding, reading, and checking the chain. Does not: what is worth an entry (the caller's). An entry holds
no body of a request and no secret.
"""

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from serving.store.schema import audit, ledger_head

_FIELDS = ("author", "action", "object", "outcome", "credential", "address", "request_id")


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did or was refused.

    Attributes:
        author: account or key.
        action: as in `login` or `decide`.
        object: what it was done to.
        outcome: as in `done` or `refused`.
        credential: session or key it was done with, None where there is none.
        address: network address it came from.
        request_id: of the request.
    """

    author: str
    action: str
    object: str
    outcome: str
    credential: str | None = None
    address: str | None = None
    request_id: str | None = None


def add(connection: Connection, entry: AuditEntry, now: int) -> int:
    """Add an entry and return its number."""
    head = connection.execute(select(ledger_head.c.audit_id, ledger_head.c.audit_hash)).one()
    number = head.audit_id + 1
    chain_hash = _hash(head.audit_hash, number, now, astuple(entry))
    connection.execute(
        insert(audit).values(
            audit_id=number,
            recorded_at=now,
            previous_hash=head.audit_hash,
            chain_hash=chain_hash,
            **dict(zip(_FIELDS, astuple(entry), strict=True)),
        )
    )
    connection.execute(update(ledger_head).values(audit_id=number, audit_hash=chain_hash))
    return int(number)


def rows(connection: Connection, after: int, limit: int) -> list[tuple[int, int, AuditEntry]]:
    """Return entries with number and instant in microseconds, in the order they were made."""
    query = select(audit).where(audit.c.audit_id > after).order_by(audit.c.audit_id).limit(limit)
    return [(row.audit_id, row.recorded_at, _entry(row)) for row in connection.execute(query)]


def changed_outside(connection: Connection) -> list[str]:
    """Return a sentence for each break of the chain."""
    head = connection.execute(select(ledger_head.c.audit_id, ledger_head.c.audit_hash)).one()
    number, chain_hash = 0, "0" * 64
    problems = []
    for row in connection.execute(select(audit).order_by(audit.c.audit_id)):
        if (row.audit_id, row.previous_hash) != (number + 1, chain_hash):
            problems.append(f"Audit entry {row.audit_id} does not follow entry {number}: one is missing or was added.")
        if row.chain_hash != _hash(row.previous_hash, row.audit_id, row.recorded_at, astuple(_entry(row))):
            problems.append(f"Audit entry {row.audit_id} has other content than when it was written.")
        number, chain_hash = row.audit_id, row.chain_hash
    if (head.audit_id, head.audit_hash) != (number, chain_hash):
        problems.append(f"The head names audit entry {head.audit_id}, the list ends at entry {number}.")
    return problems


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(*(getattr(row, name) for name in _FIELDS))


def _hash(previous: str, number: int, now: int, fields: tuple[Any, ...]) -> str:
    content = json.dumps([previous, number, now, *fields], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
