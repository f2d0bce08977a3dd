"""Outbox of purchase order proposals: what an ERP pulls, once each, and what became of it.

States: proposed -> approved -> exported -> acknowledged; proposed -> superseded | rejected | expired;
approved -> rejected | expired; exported -> rejected. A proposal that is approved, exported or acknowledged is
committed: it counts as on order until its purchase order line appears, and then only the line counts.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from serving.store.errors import StoreError, UnknownRow, WrongState
from serving.store.events import (
    COLUMNS,
    Refused,
    Row,
    date_of,
    instant,
    money,
    money_of,
    quantity,
    quantity_of,
    text_of,
)
from serving.store.schema import ledger_head, proposal_steps, proposals

STATES = ("proposed", "approved", "exported", "acknowledged", "rejected", "superseded", "expired")
COMMITTED = ("approved", "exported", "acknowledged")

_MOST_IDS = 500


@dataclass(frozen=True)
class Proposal:
    """One purchase order line we propose.

    Attributes:
        proposal_id: stable id; the ERP stores it and sends it back with the purchase order line.
        as_of_date: the day whose state it was decided on.
        supplier_id: from whom.
        sku: what.
        location_id: for where.
        order_units: how much.
        unit_cost: money per unit, None where unknown.
        order_by_date: last day on which ordering is in time, None where unknown.
        expires_date: day after which an undecided or unexported proposal is worthless, None = never.
        detail: further terms, as handed in.
        state: one of `STATES`.
        erp_order: number of the ERP's order, once acknowledged.
        has_order_line: whether its purchase order line has appeared in the data.
        proposed_at: when it was proposed.
        changed_at: when its state changed last.
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
    detail: Mapping[str, Any]
    state: str
    erp_order: str | None
    has_order_line: bool
    proposed_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class OpenOrders:
    """What is committed and has no purchase order line yet, and how fresh that knowledge is.

    Attributes:
        version: hand it to `propose`, which refuses lines for items decided upon since.
        proposals: committed proposals to count as on order.
    """

    version: int
    proposals: list[Proposal]


@dataclass(frozen=True)
class Outbox:
    """What a run hands to the outbox in the transaction that makes its generation current.

    Attributes:
        as_of_date: the day whose state was decided on.
        lines: all lines of the run, as of `Store.propose`; None where a later day has proposed before: a past day that
            is computed again proposes nothing.
        seen_version: `OpenOrders.version`, read before the run computed its lines.
        order_lines: purchase order and line, as `PO-17:1`, of each proposal whose line the run has seen.
    """

    as_of_date: date
    lines: Sequence[Mapping[str, Any]] | None
    seen_version: int
    order_lines: Mapping[str, str]


@dataclass
class ProposeReport:
    """What became of the lines of one run.

    Attributes:
        proposed: ids that are new.
        unchanged: ids that stood proposed with the same terms.
        superseded: ids that this run replaced or no longer wants.
        skipped: items, with the reason, that were decided upon after the run had looked, or rejected for the day.
    """

    proposed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)


def open_orders(connection: Connection) -> OpenOrders:
    """Return the committed proposals that no purchase order line stands for yet."""
    version: int = connection.execute(select(ledger_head.c.outbox_version)).scalar_one()
    found = connection.execute(
        select(proposals)
        .where(proposals.c.state.in_(COMMITTED), proposals.c.has_order_line.is_(False))
        .order_by(proposals.c.proposal_id)
    )
    return OpenOrders(version, [_proposal(row) for row in found])


def propose(
    connection: Connection,
    as_of_date: date,
    lines: Iterable[Mapping[str, Any]],
    *,
    seen_version: int,
    author: str,
    now: int,
) -> ProposeReport:
    """Make the lines of a run the undecided proposals; see `Store.propose`."""
    day = date_of("as_of_date", as_of_date)
    latest = _latest_day(connection)
    if latest is not None and latest > day:
        raise StoreError(
            f"Proposals of {latest} were made already; a run as of {day} looks at an earlier day and may not replace "
            "them. Recompute a past day without proposing."
        )
    report = ProposeReport()
    wanted = _wanted(lines, day)
    undecided = {
        (row.sku, row.location_id): row
        for row in connection.execute(select(proposals).where(proposals.c.state == "proposed"))
    }
    decided_since = {
        (row.sku, row.location_id): row.proposal_id
        for row in connection.execute(
            select(proposals).where(proposals.c.state.in_(COMMITTED), proposals.c.version > seen_version)
        )
    }
    rejected = _rejected_on(connection, day)
    replaced, fresh = [], []
    for key, standing in sorted(undecided.items()):
        same = wanted.get(key)
        if same is not None and key not in decided_since and _has_same_terms(standing, same.row):
            _refresh(connection, standing, same.row)
            report.unchanged.append(standing.proposal_id)
            del wanted[key]
        else:
            replaced.append(standing.proposal_id)
    for key, line in sorted(wanted.items()):
        refused = rejected.get(tuple(line.row[name] for name in _ORDER))
        proposal_id = _new_id(connection, line.row)
        if key in decided_since:
            reason = f"proposal {decided_since[key]} was decided upon after this run had looked"
            report.skipped.append((*key, reason))
        elif refused is not None:
            report.skipped.append((*key, f"the same order was rejected for this day as proposal {refused}"))
        elif line.announced not in (None, proposal_id):
            report.skipped.append((*key, f"{line.announced} was announced, and a proposal was made since"))
        else:
            fresh.append((proposal_id, line.row))
    if replaced or fresh:
        version = _next_version(connection)
    for proposal_id in replaced:
        _move(connection, proposal_id, "superseded", author, f"replaced by the run as of {day}", version, now)
        report.superseded.append(proposal_id)
    for proposal_id, row in fresh:
        connection.execute(
            insert(proposals).values(
                proposal_id=proposal_id,
                **row,
                state="proposed",
                has_order_line=False,
                version=version,
                proposed_at=now,
                changed_at=now,
            )
        )
        _note(connection, proposal_id, "proposed", author, f"run as of {day}", now)
        report.proposed.append(proposal_id)
    return report


def announce(
    connection: Connection, as_of_date: date, lines: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], str] | None:
    """Return the id that `propose` would give each line; see `Store.announce_proposals`."""
    day = date_of("as_of_date", as_of_date)
    latest = _latest_day(connection)
    if latest is not None and latest > day:
        return None
    undecided = {
        (row.sku, row.location_id): row
        for row in connection.execute(select(proposals).where(proposals.c.state == "proposed"))
    }
    rejected = _rejected_on(connection, day)
    ids = {}
    for key, line in sorted(_wanted(lines, day).items()):
        standing = undecided.get(key)
        if standing is not None and _has_same_terms(standing, line.row):
            ids[key] = str(standing.proposal_id)
        elif tuple(line.row[name] for name in _ORDER) not in rejected:
            ids[key] = _new_id(connection, line.row)
    return ids


def settle(connection: Connection, outbox: Outbox, *, author: str, now: int) -> ProposeReport:
    """Propose, expire and let order lines stand for their proposals, in the transaction of a publication."""
    report = ProposeReport()
    if outbox.lines is not None:
        report = propose(
            connection, outbox.as_of_date, outbox.lines, seen_version=outbox.seen_version, author=author, now=now
        )
        expire(connection, outbox.as_of_date, author=author, now=now)
    # After the lines: what appeared was netted by this run, and is no decision that it had missed.
    line_appeared(connection, outbox.order_lines, author=author, now=now)
    return report


def follow(connection: Connection, decisions: Sequence[tuple[int, Row]], now: int) -> None:
    """Apply the approvals among events, in the transaction that appended them.

    An approval that comes too late is kept in the log and noted on the proposal without moving it.
    """
    type_at, reason_at, payload_at = (COLUMNS.index(name) for name in ("event_type", "reason", "payload"))
    for _, row in decisions:
        if row[type_at] != "approval":
            continue
        fields = json.loads(row[payload_at])
        proposal_id, state = fields["proposal_id"], fields["decision"]
        found = connection.execute(select(proposals).where(proposals.c.proposal_id == proposal_id)).one_or_none()
        reason = row[reason_at] or ""
        if found is None:
            continue
        if may_become(found.state, state):
            _move(connection, proposal_id, state, fields["author"], reason, _next_version(connection), now)
        else:
            _note(connection, proposal_id, found.state, fields["author"], f"{state} too late. {reason}".strip(), now)


def may_become(state: str, decision: str) -> bool:
    """Return whether a person may still decide so."""
    return state == "proposed" or (state in ("approved", "exported") and decision == "rejected")


def pull(connection: Connection, *, author: str, limit: int, now: int) -> list[Proposal]:
    """Hand out what is to be ordered; see `Store.pull_proposals`."""
    found = connection.execute(
        select(proposals)
        .where(proposals.c.state.in_(("approved", "exported")), proposals.c.has_order_line.is_(False))
        .order_by(proposals.c.proposal_id)
        .limit(limit)
    ).all()
    fresh = [row.proposal_id for row in found if row.state == "approved"]
    if fresh:
        version = _next_version(connection)
        for proposal_id in fresh:
            _move(connection, proposal_id, "exported", author, "pulled", version, now)
    return [proposal(connection, row.proposal_id) for row in found]


def acknowledge(connection: Connection, proposal_id: str, erp_order: str, *, author: str, now: int) -> Proposal:
    """Note the ERP's order number; see `Store.acknowledge_proposal`."""
    found = proposal(connection, proposal_id)
    if found.erp_order == erp_order:
        return found
    if found.erp_order is not None:
        raise WrongState(
            f"Proposal {proposal_id} is ERP order {found.erp_order!r} already; a second order {erp_order!r} for it "
            "would buy it twice. Cancel one of them in the ERP."
        )
    if found.state != "exported":
        raise WrongState(f"Proposal {proposal_id} is {found.state}; only an exported proposal can be acknowledged.")
    connection.execute(update(proposals).where(proposals.c.proposal_id == proposal_id).values(erp_order=erp_order))
    version = _next_version(connection)
    _move(connection, proposal_id, "acknowledged", author, f"ERP order {erp_order}", version, now)
    return proposal(connection, proposal_id)


def line_appeared(connection: Connection, orders: Mapping[str, str], *, author: str, now: int) -> list[str]:
    """Let purchase order lines stand for their proposals; see `Store.order_lines_appeared`."""
    changed: list[str] = []
    waiting = {
        row.proposal_id: row
        for row in connection.execute(
            select(proposals.c.proposal_id, proposals.c.erp_order).where(proposals.c.has_order_line.is_(False))
        )
        if row.proposal_id in orders
    }
    if not waiting:
        return changed
    version = _next_version(connection)
    for proposal_id, found in sorted(waiting.items()):
        erp_order = orders[proposal_id]
        connection.execute(
            update(proposals)
            .where(proposals.c.proposal_id == proposal_id)
            .values(has_order_line=True, erp_order=found.erp_order or erp_order)
        )
        _move(
            connection, proposal_id, "acknowledged", author, f"purchase order line {erp_order} appeared", version, now
        )
        changed.append(proposal_id)
    return changed


def expire(connection: Connection, day: date, *, author: str, now: int) -> list[str]:
    """End proposals nobody took in time; see `Store.expire_proposals`."""
    found = connection.execute(
        select(proposals.c.proposal_id)
        .where(proposals.c.state.in_(("proposed", "approved")), proposals.c.expires_date < day.isoformat())
        .order_by(proposals.c.proposal_id)
    )
    ended: list[str] = list(found.scalars())
    if ended:
        version = _next_version(connection)
        for proposal_id in ended:
            _move(connection, proposal_id, "expired", author, f"not ordered by {day}", version, now)
    return ended


def proposal(connection: Connection, proposal_id: str) -> Proposal:
    """Return one proposal.

    Raises:
        UnknownRow: there is none of that id.
    """
    found = connection.execute(select(proposals).where(proposals.c.proposal_id == proposal_id)).one_or_none()
    if found is None:
        raise UnknownRow(f"There is no proposal {proposal_id!r}; list them to see their ids.")
    return _proposal(found)


def rows(connection: Connection, *, state: str | None, after: str, limit: int) -> list[Proposal]:
    """Return proposals ordered by id."""
    query = select(proposals).where(proposals.c.proposal_id > after)
    if state is not None:
        query = query.where(proposals.c.state == state)
    return [_proposal(row) for row in connection.execute(query.order_by(proposals.c.proposal_id).limit(limit))]


def named(connection: Connection, ids: Iterable[str]) -> dict[str, Proposal]:
    """Return the proposals that exist among ids, by id."""
    wanted, found = sorted(set(ids)), {}
    for start in range(0, len(wanted), _MOST_IDS):
        query = select(proposals).where(proposals.c.proposal_id.in_(wanted[start : start + _MOST_IDS]))
        found.update({row.proposal_id: _proposal(row) for row in connection.execute(query)})
    return found


def steps(connection: Connection, proposal_id: str) -> list[dict[str, Any]]:
    """Return the history of a proposal: state, author, reason, recorded_at."""
    found = connection.execute(
        select(proposal_steps).where(proposal_steps.c.proposal_id == proposal_id).order_by(proposal_steps.c.step)
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


@dataclass(frozen=True)
class _Wanted:
    row: dict[str, Any]
    announced: str | None


def _wanted(lines: Iterable[Mapping[str, Any]], day: str) -> dict[tuple[str, str], _Wanted]:
    wanted: dict[tuple[str, str], _Wanted] = {}
    for line in lines:
        row = _line(line, day)
        key = (row["sku"], row["location_id"])
        if key in wanted:
            raise StoreError(f"Two lines propose {key[0]!r} for {key[1]!r}; an item has one order line a run.")
        wanted[key] = _Wanted(row, line.get("proposal_id"))
    return wanted


def _latest_day(connection: Connection) -> str | None:
    latest: str | None = connection.execute(select(func.max(proposals.c.as_of_date))).scalar_one()
    return latest


def _refresh(connection: Connection, standing: Any, row: Mapping[str, Any]) -> None:
    """Let an undecided proposal that is wanted again say so: day, dates and detail are those of the latest run."""
    names = ("as_of_date", "order_by_date", "expires_date", "detail")
    changed = {name: row[name] for name in names if getattr(standing, name) != row[name]}
    if changed:
        connection.execute(update(proposals).where(proposals.c.proposal_id == standing.proposal_id).values(**changed))


_ORDER = ("sku", "location_id", "supplier_id", "order_thousandths", "unit_cost_ten_thousandths")


def _rejected_on(connection: Connection, day: str) -> dict[tuple[Any, ...], str]:
    """Return the proposals that a person has rejected on a day, by what they would have ordered."""
    found = connection.execute(select(proposals).where(proposals.c.state == "rejected", proposals.c.as_of_date == day))
    return {tuple(getattr(row, name) for name in _ORDER): row.proposal_id for row in found}


def _line(line: Mapping[str, Any], day: str) -> dict[str, Any]:
    def optional(name: str, read: Any) -> Any:
        value = line.get(name)
        return None if value is None else read(name, value)

    try:
        row = {
            "as_of_date": day,
            "supplier_id": text_of("supplier_id", line.get("supplier_id")),
            "sku": text_of("sku", line.get("sku")),
            "location_id": text_of("location_id", line.get("location_id")),
            "order_thousandths": quantity_of("order_units", line.get("order_units")),
            "unit_cost_ten_thousandths": optional("unit_cost", money_of),
            "order_by_date": optional("order_by_date", date_of),
            "expires_date": optional("expires_date", date_of),
            "detail": json.dumps(line.get("detail") or {}, sort_keys=True),
        }
    except Refused as refused:
        raise StoreError(f"A line cannot be proposed: {refused.reason} (line {dict(line)!r}).") from refused
    if row["order_thousandths"] <= 0:
        raise StoreError(f"A line proposes {line['order_units']} units of {line['sku']!r}; propose more than zero.")
    return row


def _has_same_terms(row: Any, line: Mapping[str, Any]) -> bool:
    # The day of the run is left out: the same order, wanted again a day later, is the same proposal. Detail is left
    # out too: it explains the order and moves with every forecast.
    names = ("supplier_id", "order_thousandths", "unit_cost_ten_thousandths")
    return all(getattr(row, name) == line[name] for name in names)


def _new_id(connection: Connection, row: Mapping[str, Any]) -> str:
    """Return an id that a rerun of the same history gives again: item, supplier, day, and how many came before."""
    key = json.dumps([row["sku"], row["location_id"], row["supplier_id"], row["as_of_date"]])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    earlier = connection.execute(
        select(func.count())
        .select_from(proposals)
        .where(
            proposals.c.sku == row["sku"],
            proposals.c.location_id == row["location_id"],
            proposals.c.supplier_id == row["supplier_id"],
            proposals.c.as_of_date == row["as_of_date"],
        )
    ).scalar_one()
    return f"{row['as_of_date'].replace('-', '')}-{digest}-{earlier + 1}"


def _next_version(connection: Connection) -> int:
    version = connection.execute(select(ledger_head.c.outbox_version)).scalar_one() + 1
    connection.execute(update(ledger_head).values(outbox_version=version))
    return int(version)


def _move(
    connection: Connection, proposal_id: str, state: str, author: str, reason: str, version: int, now: int
) -> None:
    connection.execute(
        update(proposals)
        .where(proposals.c.proposal_id == proposal_id)
        .values(state=state, version=version, changed_at=now)
    )
    _note(connection, proposal_id, state, author, reason, now)


def _note(connection: Connection, proposal_id: str, state: str, author: str, reason: str, now: int) -> None:
    done = connection.execute(
        select(func.count()).select_from(proposal_steps).where(proposal_steps.c.proposal_id == proposal_id)
    ).scalar_one()
    connection.execute(
        insert(proposal_steps).values(
            proposal_id=proposal_id, step=done + 1, state=state, author=author, reason=reason, recorded_at=now
        )
    )


def _proposal(row: Any) -> Proposal:
    def day(value: str | None) -> date | None:
        return None if value is None else date.fromisoformat(value)

    return Proposal(
        proposal_id=row.proposal_id,
        as_of_date=date.fromisoformat(row.as_of_date),
        supplier_id=row.supplier_id,
        sku=row.sku,
        location_id=row.location_id,
        order_units=quantity(row.order_thousandths),
        unit_cost=None if row.unit_cost_ten_thousandths is None else money(row.unit_cost_ten_thousandths),
        order_by_date=day(row.order_by_date),
        expires_date=day(row.expires_date),
        detail=json.loads(row.detail),
        state=row.state,
        erp_order=row.erp_order,
        has_order_line=row.has_order_line,
        proposed_at=instant(row.proposed_at),
        changed_at=instant(row.changed_at),
    )
