"""Rows of the outbox: proposed order lines and transfers, their states, their ids, their history.

Belongs here: what a proposal is and how it is read and moved. Does not: what a run settles (proposing.py), what people
and the ERP decide (decisions.py), what is of transfers alone (transferring.py), what a restore puts back (recovery.py).

A run proposes; a person approves or rejects; an export hands out; the ERP acknowledges with its order number; the
purchase order line appears and is received. A proposal that is approved, exported or acknowledged is committed: it
counts as on order until its purchase order line appears, and then only the line counts. A transfer goes the same way;
the movement of its shipment is to it what the purchase order line is to an order. From each state there is a way to an
end: `MOVES`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from serving.store.errors import UnknownRow
from serving.store.schema import events, ledger_head, proposal_steps, proposals
from serving.store.staging import seen_proposals, seen_steps
from serving.store.units import instant, money, quantity, units_text

STATES = (
    *("proposed", "approved", "exported", "acknowledged", "received"),
    *("rejected", "superseded", "expired", "cancelled"),
)
COMMITTED = ("approved", "exported", "acknowledged")
MOVES: Mapping[str, frozenset[str]] = {
    "proposed": frozenset({"approved", "rejected", "superseded", "expired"}),
    "approved": frozenset({"exported", "rejected", "cancelled", "expired"}),
    "exported": frozenset({"acknowledged", "cancelled", "expired"}),
    "acknowledged": frozenset({"received", "cancelled", "expired"}),
    "rejected": frozenset({"approved", "rejected"}),
    "superseded": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
    "received": frozenset(),
}
"""To which states a proposal may come from each. Beside these, a purchase order line that appears makes it acknowledged
from any state: what the ERP did stands. A restore puts back what it finds published."""

Item = tuple[str, str, str]
"""What one proposal at a time may be undecided of: sku, location it goes to, location it leaves ("" = a supplier)."""

Moved = tuple[Any, str, Mapping[str, Any]]
"""A row that gets a new state, why, and what else changes with it."""

RESTORED_BY = "restore"
"""Author of what a reconciliation puts back."""

_AT_ONCE = 500
_ID = re.compile(r"(?P<day>\d{8})-(?P<digest>[0-9a-f]{16})-(?P<epoch>\d+)-(?P<number>\d+)")


@dataclass(frozen=True)
class Proposal:
    """One purchase order line, or one transfer between locations, that we propose.

    Attributes:
        proposal_id: stable id; the ERP stores it and sends it back with the purchase order line. It is made from what
            the proposal orders, so it never names another order.
        as_of_date: the day whose state it was decided on.
        supplier_id: from whom; "" of a transfer.
        sku: what.
        location_id: for where.
        order_units: how much.
        unit_cost: money per unit, of a transfer that of the move, None where unknown.
        order_by_date: last day on which ordering is in time, None where unknown.
        expires_date: day after which an undecided or unexported proposal is worthless, None = never.
        expected_date: day on which it should be on the shelf, None where unknown.
        detail: further terms, as handed in.
        state: one of `STATES`.
        erp_order: number of the ERP's order, once acknowledged.
        has_order_line: whether its purchase order line, or its shipment, has appeared in the data.
        proposed_at: when it was proposed.
        changed_at: when its state changed last.
        changed_by: who changed it last: a person, a run, the ERP.
        change_reason: why.
        rejected_until_date: business day from which a run may propose the rejected need again, None = no such day.
        rejected_until_units: a need above it is proposed again although it was rejected, None = no such quantity.
        held_reason: why it is not handed out for now, None = it is.
        ended_date: business day of the run that ended it, None where it stands or a person ended it.
        from_location_id: location that a transfer leaves; "" of an order.
        order_id: the order, of one supplier for one location, it was handed out in; None = not handed out.
        exported_at: when it was handed out first, None = never.
        withdrawn_at: since when the ERP knows that it ended after it was handed out, None = it has to be told.
        acknowledged_units: what the ERP ordered of it, None where that is `final_units`, or nothing yet.
        adjusted_units: what its approval orders in place of `order_units`, None where that is the same.
        adjusted_by: who said so.
        version: of the outbox when its state changed last; a decision may be bound to it.
    """

    proposal_id: str
    as_of_date: date
    supplier_id: str
    sku: str
    location_id: str
    order_units: Decimal
    unit_cost: Decimal | None
    order_by_date: date | None
    expires_date: date | None
    expected_date: date | None
    detail: Mapping[str, Any]
    state: str
    erp_order: str | None
    has_order_line: bool
    proposed_at: datetime
    changed_at: datetime
    changed_by: str
    change_reason: str
    rejected_until_date: date | None
    rejected_until_units: Decimal | None
    held_reason: str | None
    ended_date: date | None
    from_location_id: str = ""
    order_id: str | None = None
    exported_at: datetime | None = None
    withdrawn_at: datetime | None = None
    acknowledged_units: Decimal | None = None
    adjusted_units: Decimal | None = None
    adjusted_by: str | None = None
    version: int = 0

    @property
    def is_transfer(self) -> bool:
        """Whether it moves stock of our own and buys nothing."""
        return self.from_location_id != ""

    @property
    def is_committed(self) -> bool:
        """Whether somebody has approved it and it has not ended."""
        return self.state in COMMITTED

    @property
    def item(self) -> Item:
        """What it is of."""
        return self.sku, self.location_id, self.from_location_id

    @property
    def final_units(self) -> Decimal:
        """What is to be ordered: what its approval says, else what was proposed."""
        return self.order_units if self.adjusted_units is None else self.adjusted_units

    @property
    def coming_units(self) -> Decimal:
        """What is on order of it: what the ERP says it ordered, else what is to be ordered."""
        return self.final_units if self.acknowledged_units is None else self.acknowledged_units

    @property
    def rejection(self) -> str:
        """Who rejected it, until when and why, in words."""
        until = [] if self.rejected_until_date is None else [f"until {self.rejected_until_date}"]
        if self.rejected_until_units is not None:
            until.append(f"until more than {units_text(self.rejected_until_units)} are needed")
        told = " ".join(filter(None, [f"rejected by {self.changed_by}", " or ".join(until)]))
        return f"{told}: {self.change_reason}" if self.change_reason else told


def proposal(connection: Connection, proposal_id: str) -> Proposal:
    """Return one proposal.

    Raises:
        UnknownRow: there is none of that id.
    """
    found = connection.execute(select(seen_proposals).where(seen_proposals.c.proposal_id == proposal_id)).one_or_none()
    if found is None:
        raise UnknownRow(f"There is no proposal {proposal_id!r}; `inventorybot proposals list` shows the ids.")
    return read(found)


def rows(
    connection: Connection,
    *,
    state: str | None,
    location_ids: Collection[str] | None,
    supplier_id: str | None,
    after: str,
    limit: int,
) -> list[Proposal]:
    """Return proposals ordered by id; see `Store.proposals`."""
    query = select(seen_proposals).where(seen_proposals.c.proposal_id > after)
    if state is not None:
        query = query.where(seen_proposals.c.state == state)
    if location_ids is not None:
        query = query.where(seen_proposals.c.location_id.in_(sorted(location_ids)))
    if supplier_id is not None:
        query = query.where(seen_proposals.c.supplier_id == supplier_id)
    return [read(row) for row in connection.execute(query.order_by(seen_proposals.c.proposal_id).limit(limit))]


def named(connection: Connection, ids: Iterable[str]) -> dict[str, Proposal]:
    """Return the proposals that exist among ids, by id."""
    return {proposal_id: read(row) for proposal_id, row in rows_by_id(connection, ids).items()}


def of_orders(connection: Connection, numbers: Iterable[str]) -> list[Proposal]:
    """Return the proposals whose ERP order is one of these, by id."""
    found = [
        row
        for part in _parts(sorted(set(numbers)))
        for row in connection.execute(select(seen_proposals).where(seen_proposals.c.erp_order.in_(part)))
    ]
    return [read(row) for row in sorted(found, key=lambda row: str(row.proposal_id))]


def in_orders(connection: Connection, order_ids: Iterable[str]) -> list[Proposal]:
    """Return the proposals that were handed out in these orders and stand, by id."""
    found = [
        row
        for part in _parts(sorted(set(order_ids)))
        for row in connection.execute(
            select(seen_proposals).where(
                seen_proposals.c.order_id.in_(part),
                seen_proposals.c.state.in_(("exported", "acknowledged", "received")),
            )
        )
    ]
    return [read(row) for row in sorted(found, key=lambda row: str(row.proposal_id))]


def rows_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Any]:
    """Return the rows of those ids that are there."""
    found: dict[str, Any] = {}
    for part in _parts(sorted(set(ids))):
        query = select(seen_proposals).where(seen_proposals.c.proposal_id.in_(part))
        found |= {row.proposal_id: row for row in connection.execute(query)}
    return found


def steps(connection: Connection, proposal_id: str) -> list[dict[str, Any]]:
    """Return the history of a proposal: state, author, reason, recorded_at."""
    found = connection.execute(
        select(seen_steps).where(seen_steps.c.proposal_id == proposal_id).order_by(seen_steps.c.step)
    )
    return [
        {
            "state": step.state,
            "author": step.author,
            "reason": step.reason,
            "recorded_at": instant(step.recorded_at),
        }
        for step in found
    ]


def latest_day(connection: Connection) -> str | None:
    """Return the latest business day that has proposed anything, ISO."""
    latest: str | None = connection.execute(select(func.max(seen_proposals.c.as_of_date))).scalar_one()
    return latest


def new_ids(connection: Connection, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return an id for each line of one day that a rerun of the same history gives again.

    It is made from the day, from what is ordered (item, supplier or origin, units, cost), from the epoch of the outbox,
    which a restore advances, and from how often the same was proposed on that day before.
    """
    if not lines:
        return []
    epoch: int = connection.execute(select(ledger_head.c.outbox_epoch)).scalar_one()
    day = lines[0]["as_of_date"].replace("-", "")
    # A dot follows a hyphen: every id of the day.
    known = select(seen_proposals.c.proposal_id).where(
        seen_proposals.c.proposal_id > f"{day}-", seen_proposals.c.proposal_id < f"{day}."
    )
    times: dict[str, int] = {}
    ids: Sequence[str] = connection.execute(known).scalars().all()
    for proposal_id in ids:
        stem, _, number = proposal_id.rpartition("-")
        times[stem] = max(times.get(stem, 0), int(number))
    stems = [f"{day}-{_digest(line)}-{epoch}" for line in lines]
    return [f"{stem}-{times.get(stem, 0) + 1}" for stem in stems]


def epoch_of(proposal_id: str) -> int:
    """Return the epoch in which an id was given out; 0 of an id that names none."""
    found = _ID.fullmatch(proposal_id)
    return int(found["epoch"]) if found else 0


def differs_from_its_id(row: Any) -> bool:
    """Tell whether a row orders something else than its id was made for: somebody changed it outside the store."""
    found = _ID.fullmatch(row.proposal_id)
    return found is not None and found["digest"] != _digest(row._mapping)


def changed_outside(connection: Connection) -> list[str]:
    """Return a sentence for each proposal that is not what its id or its history says."""
    last = (
        select(seen_steps.c.proposal_id, func.max(seen_steps.c.step).label("step"))
        .group_by(seen_steps.c.proposal_id)
        .subquery()
    )
    stepped = select(seen_steps.c.proposal_id, seen_steps.c.state).join(
        last, and_(seen_steps.c.proposal_id == last.c.proposal_id, seen_steps.c.step == last.c.step)
    )
    states = {row.proposal_id: row.state for row in connection.execute(stepped)}
    problems = []
    for row in connection.execute(select(seen_proposals).order_by(seen_proposals.c.proposal_id)):
        # An archive names what was on order, which a person or the ERP may have changed; it is never handed out.
        is_of_an_archive = row.state == "superseded" and row.changed_by == RESTORED_BY
        if differs_from_its_id(row) and not is_of_an_archive:
            problems.append(f"Proposal {row.proposal_id} orders something else than its id was made for.")
        if states.get(row.proposal_id) != row.state:
            told = states.get(row.proposal_id, "missing")
            problems.append(f"Proposal {row.proposal_id} is {row.state}, its history says {told}.")
    adjusted = connection.execute(select(seen_proposals).where(seen_proposals.c.adjusted_thousandths.is_not(None)))
    asked = {row.proposal_id: row for row in adjusted}
    # An adjustment that was removed is in the log alone.
    asked |= rows_by_id(connection, [named for named, said in _approvals(connection).items() if _names_units(said)])
    problems += [
        f"Proposal {row.proposal_id} orders other units than its approval says."
        for row in wrongly_adjusted(connection, [asked[named] for named in sorted(asked)])
    ]
    return problems


def wrongly_adjusted(connection: Connection, rows: Sequence[Any]) -> list[Any]:
    """Return the rows that order other units than their last approval says: somebody changed them outside the store.

    An approval that came too late says nothing. Each decision that was appended left one step in the history of its
    proposal: the state it gave it, or that it was too late.
    """
    if not rows:
        return []
    decided = _approvals(connection)
    made: dict[str, list[Any]] = {}
    for part in _parts([row.proposal_id for row in rows]):
        found = select(seen_steps).where(seen_steps.c.proposal_id.in_(part))
        for step in connection.execute(found.order_by(seen_steps.c.proposal_id, seen_steps.c.step)):
            made.setdefault(step.proposal_id, []).append(step)
    return [
        row
        for row in rows
        if (row.adjusted_thousandths, row.adjusted_by)
        != _approved_units(row, decided.get(row.proposal_id, ()), made.get(row.proposal_id, ()))
    ]


def _approvals(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return the fields of the decisions in the log by proposal, in their order."""
    query = select(events.c.payload, events.c.reason).where(events.c.event_type == "approval")
    decided: dict[str, list[dict[str, Any]]] = {}
    for event in connection.execute(query.order_by(events.c.sequence)):
        fields = {"reason": event.reason or "", **json.loads(event.payload)}
        decided.setdefault(fields["proposal_id"], []).append(fields)
    return decided


def _names_units(decided: Sequence[Mapping[str, Any]]) -> bool:
    return any("order_units" in fields for fields in decided)


def _approved_units(
    row: Any, decided: Sequence[Mapping[str, Any]], made: Sequence[Any]
) -> tuple[int | None, str | None]:
    """Return the adjustment, thousandths and author, of the last approval that its history says had an effect."""
    adjustment: tuple[int | None, str | None] = (None, None)
    begun = 0
    for fields in decided:
        effective = (fields["decision"], fields["reason"])
        late = f"{fields['decision']} too late. {fields['reason']}".strip()
        for number, step in enumerate(made[begun:], begun):
            if step.author == fields["author"] and (step.reason == late or (step.state, step.reason) == effective):
                begun = number + 1
                if step.reason != late and step.state == "approved":
                    units = Decimal(fields.get("order_units", 0)) * 1000 or row.order_thousandths
                    is_other = units != row.order_thousandths
                    adjustment = (int(units), fields["author"]) if is_other else (None, None)
                break
    return adjustment


def next_version(connection: Connection) -> int:
    """Advance the version of the outbox and return it."""
    version = connection.execute(select(ledger_head.c.outbox_version)).scalar_one() + 1
    connection.execute(update(ledger_head).values(outbox_version=version))
    return int(version)


_CHANGING = ("state", "version", "changed_at", "changed_by", "change_reason")
_KEPT = ("erp_order", "has_order_line", "order_id", "exported_at", "withdrawn_at", "acknowledged_thousandths")
_ADJUSTED = ("adjusted_thousandths", "adjusted_by")
_ENDING = ("rejected_until_date", "rejected_until_thousandths", "ended_date")
_MOVE = (
    update(proposals)
    .where(proposals.c.proposal_id == bindparam("moved_id"))
    .values({name: bindparam(f"new_{name}") for name in (*_CHANGING, *_KEPT, *_ADJUSTED, *_ENDING)})
)


def move(
    connection: Connection,
    moved: Sequence[Moved],
    state: str,
    *,
    author: str,
    version: int,
    now: int,
) -> None:
    """Give rows a new state and note it in their history, each with its reason and further columns."""
    changes = [
        {
            "state": state,
            "version": version,
            "changed_at": now,
            "changed_by": author,
            "change_reason": reason,
            **{name: getattr(row, name) for name in (*_KEPT, *_ADJUSTED)},
            **dict.fromkeys(_ENDING),
            **also,
        }
        for row, reason, also in moved
    ]
    if not changes:
        return
    ids = [row.proposal_id for row, _, _ in moved]
    connection.execute(
        _MOVE,
        [
            {"moved_id": proposal_id} | {f"new_{name}": value for name, value in change.items()}
            for proposal_id, change in zip(ids, changes, strict=True)
        ],
    )
    note(connection, [(row.proposal_id, state, reason) for row, reason, _ in moved], author=author, now=now)


def note(connection: Connection, noted: Sequence[tuple[str, str, str]], *, author: str, now: int) -> None:
    """Add to the history of proposals: id, the state it is in, and why."""
    done: dict[str, int] = {}
    for part in _parts([proposal_id for proposal_id, _, _ in noted]):
        last = (
            select(seen_steps.c.proposal_id, func.max(seen_steps.c.step))
            .where(seen_steps.c.proposal_id.in_(part))
            .group_by(seen_steps.c.proposal_id)
        )
        done |= {row[0]: row[1] for row in connection.execute(last)}
    made = []
    for proposal_id, state, reason in noted:
        done[proposal_id] = done.get(proposal_id, 0) + 1
        named = {"proposal_id": proposal_id, "step": done[proposal_id], "state": state}
        made.append(named | {"author": author, "reason": reason, "recorded_at": now})
    if made:
        connection.execute(insert(proposal_steps), made)


def read(row: Any) -> Proposal:
    """Return a row as its callers see it."""

    def day(value: str | None) -> date | None:
        return None if value is None else date.fromisoformat(value)

    cost, limit = row.unit_cost_ten_thousandths, row.rejected_until_thousandths
    acknowledged, adjusted = row.acknowledged_thousandths, row.adjusted_thousandths
    return Proposal(
        proposal_id=row.proposal_id,
        as_of_date=date.fromisoformat(row.as_of_date),
        supplier_id=row.supplier_id,
        sku=row.sku,
        location_id=row.location_id,
        order_units=quantity(row.order_thousandths),
        unit_cost=None if cost is None else money(cost),
        order_by_date=day(row.order_by_date),
        expires_date=day(row.expires_date),
        expected_date=day(row.expected_date),
        detail=json.loads(row.detail),
        state=row.state,
        erp_order=row.erp_order,
        has_order_line=row.has_order_line,
        proposed_at=instant(row.proposed_at),
        changed_at=instant(row.changed_at),
        changed_by=row.changed_by,
        change_reason=row.change_reason,
        rejected_until_date=day(row.rejected_until_date),
        rejected_until_units=None if limit is None else quantity(limit),
        held_reason=row.held_reason,
        ended_date=day(row.ended_date),
        from_location_id=row.from_location_id,
        order_id=row.order_id,
        exported_at=None if row.exported_at is None else instant(row.exported_at),
        withdrawn_at=None if row.withdrawn_at is None else instant(row.withdrawn_at),
        acknowledged_units=None if acknowledged is None else quantity(acknowledged),
        adjusted_units=None if adjusted is None else quantity(adjusted),
        adjusted_by=row.adjusted_by,
        version=row.version,
    )


def _digest(line: Mapping[str, Any]) -> str:
    ordered = ["sku", "location_id", "supplier_id", "order_thousandths", "unit_cost_ten_thousandths"]
    # The ids of orders are those that were given before there were transfers.
    ordered += ["from_location_id"] if line["from_location_id"] else []
    return hashlib.sha256(json.dumps([line[name] for name in ordered]).encode()).hexdigest()[:16]


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
