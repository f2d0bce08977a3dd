"""The run's side of the outbox: what it proposes, what it replaces, what it finds ended.

Belongs here: all that happens in the transaction that makes a generation current. Does not: decisions of people and
the ERP (decisions.py).
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from serving.store import transferring
from serving.store.errors import StoreError
from serving.store.proposals import (
    COMMITTED,
    Item,
    Moved,
    Proposal,
    latest_day,
    move,
    new_ids,
    next_version,
    note,
    read,
    rows_by_id,
)
from serving.store.schema import ledger_head, proposals
from serving.store.staging import seen_proposals
from serving.store.units import Refused, date_of, money_of, quantity_of, text_of

OVERDUE_DAYS = 14
"""Days past its expected day after which a committed proposal without a purchase order line ends; the default."""


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
        ended_lines: `received` or `cancelled` of each proposal whose purchase order line has ended so.
        held: why a proposal is not to be handed out for now, by id; the others are.
        counted: ids of the committed proposals that the run counted as on order.
        matched: ids of the proposals whose order line does not name them.
        shipments: what was shipped of each transfer whose shipment the run has seen.
        unshipped: ids of the transfers whose shipment was corrected to nothing.
        ended_transfers: state and reason of each shipped transfer that has ended.
        overdue_days: as of `why_ended`.
    """

    as_of_date: date
    lines: Sequence[Mapping[str, Any]] | None
    seen_version: int
    order_lines: Mapping[str, str]
    ended_lines: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    counted: Collection[str] = ()
    matched: Collection[str] = ()
    shipments: Mapping[str, transferring.Shipment] = field(default_factory=dict)
    unshipped: Collection[str] = ()
    ended_transfers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    overdue_days: int = OVERDUE_DAYS


@dataclass
class ProposeReport:
    """What became of the lines of one run.

    Attributes:
        proposed: ids that are new.
        unchanged: ids that stood proposed with the same terms.
        superseded: ids that this run replaced or no longer wants.
        skipped: items, with the reason, that were decided upon after the run had looked, or are rejected.
        ended: ids, with the reason, that the run found ended: not ordered in time, never delivered, received or
            cancelled.
    """

    proposed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Announcement:
    """What `propose` will make of the lines of a run, as the outbox stands.

    Attributes:
        ids: the id of each line that will be proposed, by item.
        rejected: the rejection that holds a line back, by item.
    """

    ids: dict[Item, str]
    rejected: dict[Item, Proposal]


def open_orders(connection: Connection) -> OpenOrders:
    """Return the committed proposals that no purchase order line stands for yet."""
    version: int = connection.execute(select(ledger_head.c.outbox_version)).scalar_one()
    found = connection.execute(
        select(seen_proposals)
        .where(seen_proposals.c.state.in_(COMMITTED), seen_proposals.c.has_order_line.is_(False))
        .order_by(seen_proposals.c.proposal_id)
    )
    return OpenOrders(version, [read(row) for row in found])


def rejections(connection: Connection, day: date) -> list[Proposal]:
    """Return the rejected proposals that hold a need back on a business day, by item."""
    return [read(row) for _, row in sorted(_rejections(connection, day.isoformat()).items())]


def ended_on(connection: Connection, day: date) -> list[Proposal]:
    """Return the proposals that a run of this business day ended, by id."""
    query = (
        select(seen_proposals)
        .where(seen_proposals.c.ended_date == day.isoformat())
        .order_by(seen_proposals.c.proposal_id)
    )
    return [read(row) for row in connection.execute(query)]


def why_ended(proposal: Proposal, day: date, overdue_days: int = OVERDUE_DAYS) -> str | None:
    """Return why a run of this day ends a committed proposal without order line or shipment; None = it stands.

    A run asks before it counts what is on order, and its publication ends the same ones.

    Args:
        proposal: a committed proposal.
        day: business day of the run.
        overdue_days: days after its expected day for which an exported proposal waits for its line.
    """
    if proposal.state == "approved" and proposal.expires_date is not None and proposal.expires_date < day:
        return f"approved, and not exported by {proposal.expires_date}"
    if proposal.state in ("exported", "acknowledged") and proposal.expected_date is not None:
        last = proposal.expected_date + timedelta(days=overdue_days)
        if last < day:
            missing = "shipment" if proposal.is_transfer else "purchase order line"
            return f"expected on {proposal.expected_date}, and no {missing} by {last}"
    return None


def propose(
    connection: Connection,
    as_of_date: date,
    lines: Iterable[Mapping[str, Any]],
    *,
    seen_version: int,
    counted: Collection[str] = (),
    author: str,
    now: int,
) -> ProposeReport:
    """Make the lines of a run the undecided proposals; see `Store.propose`."""
    day = date_of("as_of_date", as_of_date)
    latest = latest_day(connection)
    if latest is not None and latest > day:
        raise StoreError(
            f"Proposals of {latest} were made already; a run as of {day} looks at an earlier day and may not replace "
            "them. Recompute a past day without proposing."
        )
    report = ProposeReport()
    wanted = _wanted(lines, day)
    undecided = _undecided(connection)
    decided_since = _committed_since(connection, seen_version, counted)
    rejected = _rejections(connection, day)
    replaced: list[Moved] = []
    fresh: list[dict[str, Any]] = []
    refreshed: list[tuple[Any, Mapping[str, Any]]] = []
    for key, standing in sorted(undecided.items()):
        same = wanted.get(key)
        if decided_since.by(key) is not None:
            # It was decided beside what is committed now, or is superseded already: it is right as it stands.
            continue
        if same is not None and _has_same_terms(standing, same.row):
            refreshed.append((standing, same.row))
            report.unchanged.append(standing.proposal_id)
            del wanted[key]
        else:
            is_wanted = "replaced" if same is not None else "no longer wanted"
            replaced.append((standing, f"{is_wanted} by the run as of {day}", {}))
    _refresh(connection, refreshed)
    left = sorted(wanted.items())
    for (key, line), proposal_id in zip(left, new_ids(connection, [line.row for _, line in left]), strict=True):
        sku, place, _ = key
        decided = decided_since.by(key)
        if decided is not None:
            report.skipped.append((sku, place, f"proposal {decided} was decided upon after this run had looked"))
        elif key in rejected and holds_back(rejected[key], line.needed_thousandths):
            report.skipped.append((sku, place, f"rejected as proposal {rejected[key].proposal_id}"))
        elif line.announced not in (None, proposal_id):
            report.skipped.append((sku, place, f"{line.announced} was announced, and a proposal was made since"))
        else:
            fresh.append({"proposal_id": proposal_id, **line.row})
    if replaced or fresh:
        version = next_version(connection)
        move(connection, replaced, "superseded", author=author, version=version, now=now)
        add(connection, fresh, "proposed", f"run as of {day}", author=author, version=version, now=now)
    report.superseded = [row.proposal_id for row, _, _ in replaced]
    report.proposed = [row["proposal_id"] for row in fresh]
    return report


def add(
    connection: Connection,
    made: Sequence[Mapping[str, Any]],
    state: str,
    reason: str,
    *,
    author: str,
    version: int,
    now: int,
) -> None:
    """Insert rows that are new, in a state, with the first step of their history."""
    if not made:
        return
    common = {"state": state, "has_order_line": False, "version": version, "proposed_at": now, "changed_at": now}
    common |= {"changed_by": author, "change_reason": reason}
    connection.execute(insert(proposals), [{**common, **row} for row in made])
    note(connection, [(row["proposal_id"], state, reason) for row in made], author=author, now=now)


def announce(
    connection: Connection,
    as_of_date: date,
    lines: Iterable[Mapping[str, Any]],
    *,
    seen_version: int,
    counted: Collection[str],
) -> Announcement | None:
    """Return what `propose` would make of each line; see `Store.announce_proposals`."""
    day = date_of("as_of_date", as_of_date)
    latest = latest_day(connection)
    if latest is not None and latest > day:
        return None
    undecided = _undecided(connection)
    decided_since = _committed_since(connection, seen_version, counted)
    rejected = _rejections(connection, day)
    wanted = sorted(_wanted(lines, day).items())
    ids: dict[Item, str] = {}
    held: dict[Item, Proposal] = {}
    for (key, line), proposal_id in zip(wanted, new_ids(connection, [line.row for _, line in wanted]), strict=True):
        standing = undecided.get(key)
        if decided_since.by(key) is not None:
            continue
        if standing is not None and _has_same_terms(standing, line.row):
            ids[key] = str(standing.proposal_id)
        elif key in rejected and holds_back(rejected[key], line.needed_thousandths):
            held[key] = read(rejected[key])
        else:
            ids[key] = proposal_id
    return Announcement(ids, held)


def settle(connection: Connection, outbox: Outbox, *, author: str, now: int) -> ProposeReport:
    """Propose, end what has ended and let order lines stand for their proposals, in one publication's transaction."""
    report = ProposeReport()
    if outbox.lines is not None:
        report = propose(
            connection,
            outbox.as_of_date,
            outbox.lines,
            seen_version=outbox.seen_version,
            counted=outbox.counted,
            author=author,
            now=now,
        )
        hold(connection, outbox.held)
    # After the lines: what appeared was netted by this run, and is no decision that it had missed.
    line_appeared(connection, outbox.order_lines, outbox.matched, author=author, now=now)
    transferring.shipped(connection, outbox.shipments, author=author, now=now)
    transferring.taken_back(connection, outbox.unshipped, author=author, now=now)
    report.ended = end_lines(connection, outbox.as_of_date, outbox.ended_lines, author=author, now=now)
    day = outbox.as_of_date.isoformat()
    report.ended += transferring.end(connection, day, outbox.ended_transfers, author=author, now=now)
    if outbox.lines is not None:
        report.ended += expire(connection, outbox.as_of_date, outbox.overdue_days, author=author, now=now)
    return report


def hold(connection: Connection, held: Mapping[str, str]) -> None:
    """Keep these proposals from being handed out, with the reason, and no other."""
    before = connection.execute(select(seen_proposals).where(seen_proposals.c.held_reason.is_not(None)))
    standing = rows_by_id(connection, held) | {row.proposal_id: row for row in before}
    changes = [
        {"held_id": row.proposal_id, "new_reason": held.get(row.proposal_id)}
        for row in standing.values()
        if row.held_reason != held.get(row.proposal_id)
    ]
    if changes:
        change = update(proposals).where(proposals.c.proposal_id == bindparam("held_id"))
        connection.execute(change.values(held_reason=bindparam("new_reason")), changes)


def line_appeared(
    connection: Connection, orders: Mapping[str, str], matched: Collection[str] = (), *, author: str, now: int
) -> list[str]:
    """Let purchase order lines stand for their proposals; see `Store.order_lines_appeared`."""
    waiting = [row for row in rows_by_id(connection, orders).values() if not row.has_order_line]
    moved = [
        (
            row,
            f"purchase order line {orders[row.proposal_id]} appeared"
            + (" without its proposal_id, matched by order number or units" if row.proposal_id in matched else "")
            + ("" if row.state in COMMITTED else f" although it was {row.state}"),
            {"has_order_line": True, "erp_order": row.erp_order or orders[row.proposal_id]},
        )
        for row in waiting
    ]
    if moved:
        move(connection, moved, "acknowledged", author=author, version=next_version(connection), now=now)
    return [row.proposal_id for row in waiting]


def end_lines(
    connection: Connection, day: date, ended: Mapping[str, str], *, author: str, now: int
) -> list[tuple[str, str]]:
    """End the proposals whose purchase order line was received or cancelled; returns ids with the reason."""
    told: list[tuple[str, str]] = []
    standing = [row for row in rows_by_id(connection, ended).values() if row.has_order_line]
    for state in ("received", "cancelled"):
        moved = [
            (row, f"its purchase order line was {state}", {"ended_date": day.isoformat()})
            for row in standing
            if ended[row.proposal_id] == state and row.state == "acknowledged"
        ]
        if moved:
            move(connection, moved, state, author=author, version=next_version(connection), now=now)
        told += [(row.proposal_id, reason) for row, reason, _ in moved]
    return told


def expire(
    connection: Connection, day: date, overdue_days: int = OVERDUE_DAYS, *, author: str, now: int
) -> list[tuple[str, str]]:
    """End proposals nobody took or delivered in time; see `Store.expire_proposals`."""
    undecided = select(seen_proposals).where(
        seen_proposals.c.state == "proposed", seen_proposals.c.expires_date < day.isoformat()
    )
    moved: list[Moved] = [(row, f"not decided by {row.expires_date}", {}) for row in connection.execute(undecided)]
    committed = select(seen_proposals).where(
        seen_proposals.c.state.in_(COMMITTED), seen_proposals.c.has_order_line.is_(False)
    )
    for row in connection.execute(committed):
        reason = why_ended(read(row), day, overdue_days)
        if reason is not None:
            moved.append((row, reason, {"ended_date": day.isoformat()}))
    moved.sort(key=lambda each: str(each[0].proposal_id))
    if moved:
        move(connection, moved, "expired", author=author, version=next_version(connection), now=now)
    return [(row.proposal_id, reason) for row, reason, _ in moved]


def holds_back(rejection: Any, thousandths: int) -> bool:
    """Tell whether a rejection that has not ended by its day holds back a need of so many thousandths of a unit."""
    limit = rejection.rejected_until_thousandths
    return limit is None or thousandths <= limit


@dataclass(frozen=True)
class _Wanted:
    row: dict[str, Any]
    announced: str | None
    needed_thousandths: int


def _wanted(lines: Iterable[Mapping[str, Any]], day: str) -> dict[Item, _Wanted]:
    wanted: dict[Item, _Wanted] = {}
    for line in lines:
        row = typed_line(line, day)
        key = (row["sku"], row["location_id"], row["from_location_id"])
        if key in wanted:
            origin = f" from {key[2]!r}" if key[2] else ""
            raise StoreError(
                f"Two lines propose {key[0]!r} for {key[1]!r}{origin}; an item has one order line, and one transfer "
                "from each location, per run."
            )
        needed = line.get("needed_units")
        thousandths = row["order_thousandths"] if needed is None else quantity_of("needed_units", needed)
        wanted[key] = _Wanted(row, line.get("proposal_id"), thousandths)
    return wanted


def typed_line(line: Mapping[str, Any], day: str) -> dict[str, Any]:
    """Return the columns of a line that is proposed on a day.

    Raises:
        StoreError: a field is missing, of the wrong type or without sense.
    """

    def optional(name: str, typed: Any) -> Any:
        value = line.get(name)
        return None if value is None else typed(name, value)

    try:
        origin = optional("from_location_id", text_of) if line.get("from_location_id") else ""
        row = {
            "as_of_date": day,
            "supplier_id": "" if origin else text_of("supplier_id", line.get("supplier_id")),
            "from_location_id": origin,
            "sku": text_of("sku", line.get("sku")),
            "location_id": text_of("location_id", line.get("location_id")),
            "order_thousandths": quantity_of("order_units", line.get("order_units")),
            "unit_cost_ten_thousandths": optional("unit_cost", money_of),
            "order_by_date": optional("order_by_date", date_of),
            "expires_date": optional("expires_date", date_of),
            "expected_date": optional("expected_date", date_of),
            "detail": json.dumps(line.get("detail") or {}, sort_keys=True),
        }
    except Refused as refused:
        raise StoreError(f"A line cannot be proposed: {refused.reason} (line {dict(line)!r}).") from refused
    if row["order_thousandths"] <= 0:
        raise StoreError(f"A line proposes {line['order_units']} units of {line['sku']!r}; propose more than zero.")
    if row["from_location_id"] == row["location_id"]:
        raise StoreError(f"A line moves {line['sku']!r} from {origin!r} to itself; name two locations.")
    return row


def _undecided(connection: Connection) -> dict[Item, Any]:
    found = connection.execute(select(seen_proposals).where(seen_proposals.c.state == "proposed"))
    return {(row.sku, row.location_id, row.from_location_id): row for row in found}


@dataclass(frozen=True)
class _Since:
    """Proposals that were committed after a run had looked, by the place they supply and by the place they leave."""

    supplied: Mapping[tuple[str, str], str]
    left: Mapping[tuple[str, str], str]

    def by(self, item: Item) -> str | None:
        """Return the proposal that makes what the run found of an item out of date; None = there is none."""
        sku, place, origin = item
        return self.supplied.get((sku, place)) or (self.left.get((sku, origin)) if origin else None)


def _committed_since(connection: Connection, seen_version: int, counted: Collection[str]) -> _Since:
    """Return the proposals that were committed after a run had looked; what it counted may have moved on."""
    query = select(seen_proposals).where(seen_proposals.c.state.in_(COMMITTED), seen_proposals.c.version > seen_version)
    known = set(counted)
    since = [row for row in connection.execute(query) if row.proposal_id not in known]
    return _Since(
        {(row.sku, row.location_id): row.proposal_id for row in since},
        {(row.sku, row.from_location_id): row.proposal_id for row in since if row.from_location_id},
    )


def _rejections(connection: Connection, day: str) -> dict[Item, Any]:
    """Return the rejection that stands for each item on a day; what was proposed after it has ended it."""
    found = connection.execute(
        select(seen_proposals)
        .where(
            seen_proposals.c.state == "rejected",
            seen_proposals.c.as_of_date <= day,
            or_(seen_proposals.c.rejected_until_date.is_(None), seen_proposals.c.rejected_until_date > day),
        )
        .order_by(seen_proposals.c.changed_at, seen_proposals.c.version)
    )
    rejected = {(row.sku, row.location_id, row.from_location_id): row for row in found}
    item = (seen_proposals.c.sku, seen_proposals.c.location_id, seen_proposals.c.from_location_id)
    latest = (
        select(*item, func.max(seen_proposals.c.proposed_at)).where(seen_proposals.c.as_of_date <= day).group_by(*item)
    )
    proposed = {(row[0], row[1], row[2]): row[3] for row in connection.execute(latest)} if rejected else {}
    return {key: row for key, row in rejected.items() if proposed[key] <= row.changed_at}


_REFRESHED = ("as_of_date", "order_by_date", "expires_date", "expected_date", "detail")
_REFRESH = (
    update(proposals)
    .where(proposals.c.proposal_id == bindparam("refreshed_id"))
    .values({name: bindparam(f"new_{name}") for name in _REFRESHED})
)


def _refresh(connection: Connection, wanted_again: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
    """Let undecided proposals that are wanted again say so: day, dates and detail are those of the latest run."""
    changes = [
        {"refreshed_id": standing.proposal_id} | {f"new_{name}": row[name] for name in _REFRESHED}
        for standing, row in wanted_again
        if any(getattr(standing, name) != row[name] for name in _REFRESHED)
    ]
    if changes:
        connection.execute(_REFRESH, changes)


def _has_same_terms(row: Any, line: Mapping[str, Any]) -> bool:
    # The day of the run is left out: the same order, wanted again a day later, is the same proposal. Detail is left
    # out too: it explains the order and moves with every forecast.
    names = ("supplier_id", "order_thousandths", "unit_cost_ten_thousandths")
    return all(getattr(row, name) == line[name] for name in names)
