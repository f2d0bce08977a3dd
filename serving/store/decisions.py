"""Decisions of people on proposals: they approve, reject and cancel, and confirm after a restore.

Belongs here: which decision a state allows, and what it answers. Does not: what a run settles (proposing.py), what the
ERP is handed and says (handing_out.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from serving.store.errors import UnknownRow
from serving.store.events import COLUMNS, Row
from serving.store.proposals import (
    COMMITTED,
    MOVES,
    Moved,
    Proposal,
    latest_day,
    move,
    next_version,
    note,
    read,
    rows_by_id,
)
from serving.store.schema import batches, events, ledger_head
from serving.store.staging import seen_proposals, seen_steps
from serving.store.transferring import covered, supersede_covered
from serving.store.units import instant, quantity, units_text

REJECTED_DAYS = 28
REJECTED_GROWTH_PERCENT = 50
"""A rejection without terms of its own holds for so many days, or until the need has grown by so much."""

MOST_THOUSANDTHS = 2**63 - 1
"""What a column can hold; no need grows beyond it."""

DECISIONS = ("approved", "rejected", "cancelled")


@dataclass(frozen=True)
class Decision:
    """What a person decides of one proposal.

    Attributes:
        proposal_id: which.
        decision: `approved`; `rejected`, of what is not handed out yet; `cancelled`, of what is approved or handed out
            and the ERP will not order.
        event_id: an id that the caller made for it; repeating it is harmless.
        author: who decides.
        reason: why.
        order_units: of an approval what to order in place of what is proposed.
        until_date: business day from which the rejected need may be proposed again.
        until_grows_percent: the rejected need is proposed again when it has grown by more than that.
        seen_version: version of the proposal that was looked at; where it has changed since, the decision is refused.
        device: what it was made on.
    """

    proposal_id: str
    decision: str
    event_id: str
    author: str
    reason: str = ""
    order_units: Decimal | None = None
    until_date: date | None = None
    until_grows_percent: Decimal | None = None
    seen_version: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one decision.

    Attributes:
        proposal_id: which proposal.
        decision: approved, rejected or cancelled.
        is_refused: the state does not allow it, other units are approved, or there is no such proposal.
        is_known: it stood so before; nothing changes.
        message: the outcome in words, with who decided before and what stands in its place.
    """

    proposal_id: str
    decision: str
    is_refused: bool
    is_known: bool
    message: str


def judge(connection: Connection, decided: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Return what would become of decisions that are made together; nothing is changed.

    Args:
        connection: of the transaction.
        decided: fields of approval events, and `seen_version` where the decision is bound to one.
    """
    found = rows_by_id(connection, [fields["proposal_id"] for fields in decided])
    latest = latest_day(connection)
    outcomes = [_judged(connection, found.get(fields["proposal_id"]), fields, latest) for fields in decided]
    approved = {
        fields["proposal_id"]: _ordered(found[fields["proposal_id"]], fields)
        for fields, outcome in zip(decided, outcomes, strict=True)
        if fields["decision"] == "approved" and not (outcome.is_refused or outcome.is_known)
    }
    needless: dict[str, list[str]] = {}
    for row, _, by in covered(connection, [found[named] for named in approved], approved):
        what = f"transfer from {row.from_location_id}" if row.from_location_id else "order"
        told = f"the {what} of {units_text(quantity(row.order_thousandths))} ({row.proposal_id})"
        needless.setdefault(by, []).append(told)
    return [
        replace(each, message=f"{each.message}; supersedes {' and '.join(needless[each.proposal_id])}")
        if each.proposal_id in needless
        else each
        for each in outcomes
    ]


def event_of(decision: Decision, now: int) -> dict[str, Any]:
    """Return the approval event of a decision that is made at an instant, in microseconds."""
    fields = {field.name: getattr(decision, field.name) for field in dataclass_fields(decision)}
    del fields["seen_version"]
    return {"event_type": "approval", "occurred_at": instant(now), **fields}


def follow(connection: Connection, decisions: Sequence[tuple[int, Row]], now: int) -> dict[int, str]:
    """Apply the approvals among events, in the transaction that appended them.

    An approval that comes too late is kept in the log and noted on the proposal without moving it.

    Args:
        connection: of the transaction.
        decisions: events with the sequence of each.
        now: instant, microseconds.

    Returns:
        Why an approval changed nothing, by sequence.
    """
    type_at, reason_at, payload_at = (COLUMNS.index(name) for name in ("event_type", "reason", "payload"))
    fields = [
        {
            "sequence": sequence,
            "reason": "",
            **json.loads(row[payload_at]),
            **({"reason": row[reason_at]} if row[reason_at] else {}),
        }
        for sequence, row in decisions
        if row[type_at] == "approval"
    ]
    idle: dict[int, str] = {}
    for group in groups(fields):
        idle |= _apply(connection, group, now)
    return idle


def decided_until(connection: Connection) -> int | None:
    """Return when a person or the ERP last decided on a proposal or pulled one, in microseconds; None = never."""
    decided = connection.execute(
        select(events.c.sequence).where(events.c.event_type == "approval").order_by(events.c.sequence.desc()).limit(1)
    ).scalar_one_or_none()
    moments: list[int | None] = [
        connection.execute(
            select(func.max(seen_steps.c.recorded_at)).where(seen_steps.c.state == "exported")
        ).scalar_one()
    ]
    if decided is not None:
        moments += connection.execute(
            select(batches.c.ingested_at).where(batches.c.first_sequence <= decided, batches.c.last_sequence >= decided)
        ).scalars()
    return max((moment for moment in moments if moment is not None), default=None)


def restored_at(connection: Connection) -> int | None:
    """Return when the store was filled from a backup, in microseconds; None where nothing waits to be confirmed."""
    moment: int | None = connection.execute(select(ledger_head.c.restored_at)).scalar_one()
    return moment


def confirm(connection: Connection, held: Iterable[str], *, author: str, reason: str, now: int) -> list[Proposal]:
    """Take what the ERP holds as exported, and let exports go on; see `Store.confirm_restored`."""
    ids = list(dict.fromkeys(held))
    found = rows_by_id(connection, ids)
    for proposal_id in ids:
        if proposal_id not in found:
            raise UnknownRow(
                f"There is no proposal {proposal_id!r}: no publication names it, so its order is unknown. Cancel "
                "it in the ERP; the next run proposes what is still needed."
            )
    moved: list[Moved] = [
        (row, reason or "the ERP holds it, confirmed after a restore", {"exported_at": now, "withdrawn_at": None})
        for row in found.values()
        if row.state not in ("exported", "acknowledged", "received")
    ]
    if moved:
        move(connection, moved, "exported", author=author, version=next_version(connection), now=now)
    connection.execute(update(ledger_head).values(restored_at=None))
    return [read(row) for row in rows_by_id(connection, ids).values()]


def _judged(connection: Connection, row: Any, fields: Mapping[str, Any], latest: str | None) -> Outcome:
    proposal_id, decision = fields["proposal_id"], fields["decision"]

    def outcome(message: str, *, is_refused: bool = False, is_known: bool = False) -> Outcome:
        return Outcome(proposal_id, decision, is_refused, is_known, message)

    if row is None:
        return outcome("there is no such proposal; `inventorybot proposals list` shows their ids", is_refused=True)
    before = f"{row.state} by {row.changed_by} at {instant(row.changed_at):%Y-%m-%d %H:%M} UTC"
    if row.change_reason:
        before += f" ({row.change_reason})"
    seen = fields.get("seen_version")
    is_changed = seen is not None and row.version != seen
    if decision == "approved" and row.state in COMMITTED:
        standing = _standing(row)
        # Who looked before another adjusted it and names no units means what is proposed.
        is_meant = is_changed or fields.get("order_units") is not None
        if is_meant and _ordered(row, fields) != standing:
            return outcome(_other_units(row, standing, _ordered(row, fields)), is_refused=True)
        return outcome(f"approved already: {before}", is_known=True)
    if decision == "cancelled" and row.state == "cancelled":
        return outcome(f"cancelled already: {before}", is_known=True)
    refusal = _refusal(connection, row, decision, latest)
    if refusal is not None:
        return outcome(f"{before}; {refusal}", is_refused=True)
    if is_changed:
        told = f"it has changed since you looked: {row.state} by {row.changed_by}; look again"
        return outcome(told, is_refused=True)
    if decision == "cancelled" and row.has_order_line:
        return outcome(
            f"{decision}: no more of it is sent, what was shipped counts until it has come; before: {before}"
        )
    return outcome(decision if row.state == "proposed" else f"{decision}; before: {before}")


def _standing(row: Any) -> int:
    """Return what is to be ordered of a proposal, thousandths."""
    return int(row.order_thousandths if row.adjusted_thousandths is None else row.adjusted_thousandths)


def _ordered(row: Any, fields: Mapping[str, Any]) -> int:
    """Return what an approval orders, thousandths: what it says, else what is proposed."""
    units = fields.get("order_units")
    return int(row.order_thousandths if units is None else Decimal(units) * 1000)


def _other_units(row: Any, standing: int, wanted: int) -> str:
    """Return why what is approved does not get other units, and how it would."""
    told = f"{row.state} with {units_text(quantity(standing))} by {row.adjusted_by or row.changed_by}"
    units = units_text(quantity(wanted))
    if row.state == "approved":
        return f"{told}: to order {units}, reject it and approve it with {units}"
    return f"{told}: to order {units}, change the order in the ERP and acknowledge it with {units}"


def _refusal(connection: Connection, row: Any, decision: str, latest: str | None) -> str | None:
    """Return why a state does not allow a decision and what to do instead, None where it does."""
    if decision in MOVES[row.state]:
        if decision == "cancelled" and row.has_order_line and not row.from_location_id:
            return f"its purchase order line {row.erp_order} exists: cancel the line in the ERP"
        if decision != "approved":
            return None
        if row.held_reason is not None:
            return f"it is not exported: {row.held_reason}"
        other = _in_its_place(connection, row) if row.state == "rejected" else None
        if other is not None:
            return _instead(other)
        if row.expires_date is not None and latest is not None and row.expires_date < latest:
            due = "sent" if row.from_location_id else "ordered"
            return f"it had to be {due} by {row.expires_date}; the next run proposes what is still needed"
        return None
    if decision == "rejected" and row.state in COMMITTED:
        return "where the ERP will not order it, say so: `inventorybot proposals cancel`"
    if decision == "cancelled" and row.state == "proposed":
        return "reject it instead"
    other = _in_its_place(connection, row) if row.state in ("superseded", "expired") else None
    told = "" if other is None else f": {_instead(other)}"
    return f"it can no longer be {decision}{told}"


def _in_its_place(connection: Connection, row: Any) -> Any:
    """Return the latest other proposal of the same item that is undecided, on order or rejected since, if any."""
    return connection.execute(
        select(seen_proposals)
        .where(
            seen_proposals.c.sku == row.sku,
            seen_proposals.c.location_id == row.location_id,
            seen_proposals.c.from_location_id == row.from_location_id,
            seen_proposals.c.proposal_id != row.proposal_id,
            seen_proposals.c.has_order_line.is_(False),
            or_(
                and_(
                    seen_proposals.c.state.in_(("proposed", *COMMITTED)),
                    seen_proposals.c.proposed_at >= row.proposed_at,
                ),
                and_(seen_proposals.c.state == "rejected", seen_proposals.c.proposed_at > row.proposed_at),
            ),
        )
        .order_by(seen_proposals.c.proposed_at.desc(), seen_proposals.c.proposal_id)
        .limit(1)
    ).one_or_none()


def _instead(other: Any) -> str:
    units = units_text(read(other).coming_units)
    return f"{other.proposal_id} ({units} units, {other.state}) stands in its place"


def groups(decided: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield decisions in their order, as many at once as are the same, of one author, on different proposals."""
    group: list[Mapping[str, Any]] = []
    named: set[str] = set()
    for fields in decided:
        is_same = bool(group) and all(fields[name] == group[0][name] for name in ("decision", "author"))
        if group and (not is_same or fields["proposal_id"] in named):
            yield group
            group, named = [], set()
        group.append(fields)
        named.add(fields["proposal_id"])
    if group:
        yield group


def _apply(connection: Connection, group: Sequence[Mapping[str, Any]], now: int) -> dict[int, str]:
    """Move what may be moved, note what comes too late, and return why by sequence.

    A proposal that nobody knows is left alone.
    """
    decision, author = group[0]["decision"], group[0]["author"]
    found = rows_by_id(connection, [fields["proposal_id"] for fields in group])
    known = [fields for fields in group if fields["proposal_id"] in found]
    moved: list[Moved] = []
    late: list[tuple[str, str, str]] = []
    idle: dict[int, str] = {}
    for fields, outcome in zip(known, judge(connection, known), strict=True):
        row = found[outcome.proposal_id]
        if outcome.is_refused or outcome.is_known:
            late.append((outcome.proposal_id, row.state, f"{decision} too late. {fields['reason']}".strip()))
            idle[fields["sequence"]] = outcome.message
        else:
            terms = {"approved": _adjustment, "rejected": _rejection_terms}.get(decision)
            moved.append((row, fields["reason"], terms(row, fields) if terms else {}))
    if moved:
        version = next_version(connection)
        move(connection, moved, decision, author=author, version=version, now=now)
        if decision == "approved":
            approved = [row for row, _, _ in moved]
            supersede_covered(connection, approved, author=author, version=version, now=now)
    note(connection, late, author=author, now=now)
    return idle


def _adjustment(row: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an approval orders in place of the proposal; an approval without units takes back an earlier one."""
    thousandths = _ordered(row, fields)
    if thousandths == row.order_thousandths:
        return {"adjusted_thousandths": None, "adjusted_by": None}
    return {"adjusted_thousandths": thousandths, "adjusted_by": fields["author"]}


def _rejection_terms(row: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return until which day and which quantity a rejection holds.

    A need that has grown by no more than a unit, or a pack, is the same need, whatever the share says.
    """
    until, percent = fields.get("until_date"), fields.get("until_grows_percent")
    if until is None and percent is None:
        until = (date.fromisoformat(row.as_of_date) + timedelta(days=REJECTED_DAYS)).isoformat()
        percent = REJECTED_GROWTH_PERCENT
    limit = None
    if percent is not None:
        detail = json.loads(row.detail)
        # What the budget held back of an order was needed all the same.
        needed = max(Decimal(str(detail.get("needed_units") or 0)) * 1000, Decimal(row.order_thousandths))
        pack = Decimal(str(detail.get("pack_units") or 1)) * 1000
        grown = needed * (1 + Decimal(str(percent)) / 100)
        limit = min(int(max(grown, needed + pack).to_integral_value(ROUND_CEILING)), MOST_THOUSANDTHS)
    return {"rejected_until_date": until, "rejected_until_thousandths": limit}
