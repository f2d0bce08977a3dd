"""After a restore: the outbox takes back what the published generations and the archive still know.

Belongs here: the rows that are put back, the epoch that is advanced. Does not: reading files (the caller's), copying a
store (backup.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from serving.store import chain, epochs, ledger
from serving.store.database import Database
from serving.store.decisions import Decision, event_of
from serving.store.proposals import (
    COMMITTED,
    RESTORED_BY,
    Moved,
    Proposal,
    epoch_of,
    move,
    next_version,
    note,
    read,
    rows_by_id,
    wrongly_adjusted,
)
from serving.store.proposing import add, typed_line
from serving.store.schema import ledger_head
from serving.store.staging import seen_proposals
from serving.store.units import date_of, quantity, quantity_of, text_of

# How far a proposal has come: what is published takes it further, never back.
_RANK = dict(zip(("superseded", "proposed", "approved", "exported", "acknowledged"), range(5), strict=True))
_RANK |= dict.fromkeys(("rejected", "expired", "cancelled", "received"), 5)

_DECIDED: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "adjusted_units": ("adjusted_thousandths", quantity_of),
    "adjusted_by": ("adjusted_by", text_of),
    "acknowledged_units": ("acknowledged_thousandths", quantity_of),
    "rejected_until_date": ("rejected_until_date", date_of),
    "rejected_until_units": ("rejected_until_thousandths", quantity_of),
}


@dataclass(frozen=True)
class Published:
    """What lies outside the store and outlives it.

    Attributes:
        name: name of the epochs of generations, as in `generation`.
        generation: the one that readers see; None = nothing is published.
        detail: what its epoch remembers.
        lines: proposals that generations and the archive name: `proposal_id`, `as_of_date`, the terms as of
            `Store.propose`, and `state`: as the current generation has it, with `rejected_until_date` and
            `rejected_until_units` of a rejection and its `cause`; `superseded` where only an earlier one has it;
            `adjusted_units` and `adjusted_by` where its approval orders other units, `acknowledged_units` where the
            ERP does.
        sequence: last sequence of the ledger that a generation or an arrival batch has seen.
    """

    name: str
    generation: str | None
    detail: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    sequence: int = 0


@dataclass(frozen=True)
class Recovered:
    """What a reconciliation found.

    Attributes:
        epoch: epoch of the ids that are given out from now on.
        was_behind: the store did not know the current generation.
        lost_events: sequences of the ledger that were given out after the backup and are given out no more.
        put_back: proposals that the store did not know, in the state they were published in.
        advanced: proposals that had been decided upon after the backup, now in the state they were published in.
        doubtful: proposals that may have been approved or exported after the last publication, and those that the
            backup has committed and the generation does not name any more: only the ERP knows.
    """

    epoch: int
    was_behind: bool
    lost_events: int
    put_back: list[Proposal]
    advanced: list[Proposal]
    doubtful: list[Proposal]


def advance_epoch(connection: Connection, now: int, least: int = 0) -> int:
    """Let ids be given out that were never given out before, and exports wait until somebody confirms."""
    epoch = int(max(connection.execute(select(ledger_head.c.outbox_epoch)).scalar_one(), least)) + 1
    has_proposals = connection.execute(select(seen_proposals.c.proposal_id).limit(1)).first() is not None
    connection.execute(update(ledger_head).values(outbox_epoch=epoch, restored_at=now if has_proposals else None))
    return epoch


def reconcile(database: Database, connection: Connection, published: Published, now: int) -> Recovered:
    """Take back what is published and not in the store; see `Store.reconcile`."""
    lines = {str(line["proposal_id"]): line for line in published.lines}
    known = rows_by_id(connection, lines)
    version = next_version(connection)
    lost_events = chain.leave_gap(connection, published.sequence, now)
    generation = published.generation
    was_behind = generation is not None and _adopt(connection, published.name, generation, published.detail, now)
    reason = f"put back after a restore, as generation {generation} has it"

    replaced = _undecided_elsewhere(connection, lines) if was_behind else []
    move(connection, replaced, "superseded", author=RESTORED_BY, version=version, now=now)
    # What an archive names and no generation proposes was never decidable, or is no longer.
    missing = {
        named: "superseded" if line["state"] == "proposed" and not was_behind else str(line["state"])
        for named, line in lines.items()
        if named not in known
    }
    put_back_as: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for named, state in missing.items():
        why = str(lines[named].get("cause") or reason) if state == "rejected" else reason
        put_back_as.setdefault((state, why), []).append({"proposal_id": named, **_row(lines[named])})
    for (state, why), rows in put_back_as.items():
        add(connection, rows, state, why, author=RESTORED_BY, version=version, now=now)
    # A store that knows the generation knows what was decided before it, and maybe what was decided since.
    later = [row for row in known.values() if was_behind and _RANK[row.state] < _RANK[lines[row.proposal_id]["state"]]]
    for state in _RANK:
        moved: list[Moved] = [
            (row, lines[row.proposal_id].get("cause") or reason, _decided(lines[row.proposal_id]))
            for row in later
            if lines[row.proposal_id]["state"] == state
        ]
        move(connection, moved, state, author=RESTORED_BY, version=version, now=now)
    epoch = advance_epoch(connection, now, max(map(epoch_of, lines), default=0))
    _approve_again(database, connection, [*missing, *(row.proposal_id for row in later)], epoch, reason, now)
    put_back = rows_by_id(connection, [named for named, state in missing.items() if state != "superseded"])
    advanced = rows_by_id(connection, [row.proposal_id for row in later])
    standing = select(seen_proposals).where(
        seen_proposals.c.state.in_(("proposed", *COMMITTED)), seen_proposals.c.has_order_line.is_(False)
    )
    doubtful = [
        row
        for row in connection.execute(standing.order_by(seen_proposals.c.proposal_id))
        if row.state in ("proposed", "approved")
        or (was_behind and lines.get(row.proposal_id, {}).get("state") not in COMMITTED)
    ]
    return Recovered(
        epoch,
        was_behind,
        lost_events,
        [read(row) for row in put_back.values()],
        [read(row) for row in advanced.values()],
        [read(row) for row in doubtful],
    )


def _approve_again(
    database: Database, connection: Connection, ids: Sequence[str], epoch: int, reason: str, now: int
) -> None:
    """Put the approvals back into log and histories that say what is ordered: they went with the lost part."""
    lacking = wrongly_adjusted(connection, list(rows_by_id(connection, ids).values()))
    approvals = [
        Decision(
            proposal_id=row.proposal_id,
            decision="approved",
            event_id=f"restore {epoch} {row.proposal_id}",
            author=row.adjusted_by or RESTORED_BY,
            reason=reason,
            order_units=None if row.adjusted_thousandths is None else quantity(row.adjusted_thousandths),
        )
        for row in lacking
    ]
    ledger.record(database, connection, [event_of(made, now) for made in approvals], channel=RESTORED_BY, now=now)
    for made in approvals:
        note(connection, [(made.proposal_id, "approved", reason)], author=made.author, now=now)
    moved_on = [(row.proposal_id, row.state, reason) for row in lacking if row.state != "approved"]
    note(connection, moved_on, author=RESTORED_BY, now=now)


def _row(line: Mapping[str, Any]) -> dict[str, Any]:
    typed = typed_line(line, date_of("as_of_date", line["as_of_date"]))
    return typed | dict.fromkeys(column for column, _ in _DECIDED.values()) | _decided(line)


def _decided(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line says of its approval or rejection, and of what the ERP ordered."""
    return {
        column: None if line[name] is None else typed(name, line[name])
        for name, (column, typed) in _DECIDED.items()
        if name in line
    }


def _adopt(connection: Connection, name: str, generation: str, detail: Mapping[str, Any], now: int) -> bool:
    """Make the published generation the current one of the store; tells whether the store did not know it."""
    if any(epoch.value == generation for epoch in epochs.history(connection, name)):
        return False
    fence = epochs.claim(connection, name, RESTORED_BY, {}, now)
    epochs.advance(connection, name, fence, generation, detail, now)
    return True


def _undecided_elsewhere(connection: Connection, lines: Mapping[str, Mapping[str, Any]]) -> list[Moved]:
    """Return the undecided proposals of the store that the published generation does not propose any more."""
    found = connection.execute(select(seen_proposals).where(seen_proposals.c.state == "proposed"))
    return [
        (row, "not proposed any more by the generation that is published", {})
        for row in found
        if lines.get(row.proposal_id, {}).get("state") != "proposed"
    ]
