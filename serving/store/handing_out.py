"""Proposals and the ERP: what it is handed, what it says it ordered, what is taken back from it.

Belongs here: pulling, acknowledging, withdrawing. Does not: decisions of people (decisions.py), purchase order lines
that a run has seen (proposing.py), files and tables of an export (the caller's).

Each side owns its states: we say what is to be ordered and what is withdrawn; the ERP says which order it made, of how
many units, and that it knows of a withdrawal.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from serving.store.decisions import Outcome, restored_at
from serving.store.errors import StoreError, Unconfirmed
from serving.store.proposals import (
    Moved,
    Proposal,
    differs_from_its_id,
    move,
    next_version,
    note,
    read,
    rows_by_id,
    wrongly_adjusted,
)
from serving.store.schema import proposals
from serving.store.staging import seen_proposals
from serving.store.units import Refused, instant, quantity, quantity_of, units_text

_ENDED = ("rejected", "superseded", "expired", "cancelled")


@dataclass(frozen=True)
class Acknowledgement:
    """What the ERP says of a proposal it was handed.

    Attributes:
        proposal_id: which.
        erp_order: number of its order, None where it orders nothing.
        ordered_units: what it ordered; None = as proposed, 0 = nothing, or that it knows of a withdrawal. What it did
            not order is not on order: the next run proposes what is still needed.
    """

    proposal_id: str
    erp_order: str | None = None
    ordered_units: Decimal | None = None


def pull(connection: Connection, *, author: str, limit: int, now: int) -> list[Proposal]:
    """Hand out what is to be ordered; see `Store.pull_proposals`."""
    restored = restored_at(connection)
    if restored is not None:
        raise Unconfirmed(
            f"This store was restored from a backup at {instant(restored):%Y-%m-%d %H:%M} UTC: what was approved or "
            "exported after the backup may be in the ERP and not here. Compare `inventorybot proposals list` with the "
            "ERP, then run `inventorybot proposals confirm`, with --held for each proposal that the ERP holds."
        )
    found = connection.execute(
        select(seen_proposals)
        .where(
            seen_proposals.c.state.in_(("approved", "exported")),
            seen_proposals.c.has_order_line.is_(False),
            seen_proposals.c.held_reason.is_(None),
        )
        .order_by(seen_proposals.c.proposal_id)
        .limit(limit)
    ).all()
    changed = next((row for row in found if differs_from_its_id(row)), None)
    if changed is not None:
        units = units_text(quantity(changed.order_thousandths))
        raise StoreError(
            f"Proposal {changed.proposal_id} orders {units} of {changed.sku!r}, which does not match its id: "
            "something else has changed the store. Cancel the proposal and run again."
        )
    wrong = next(
        iter(wrongly_adjusted(connection, [row for row in found if row.adjusted_thousandths is not None])), None
    )
    if wrong is not None:
        raise StoreError(
            f"Proposal {wrong.proposal_id} orders {units_text(read(wrong).final_units)} of {wrong.sku!r}, "
            "other units than its approval says: something else has changed the store. Cancel the proposal and run "
            "again."
        )
    orders = _orders([row for row in found if row.order_id is None])
    fresh: list[Moved] = [
        (row, "pulled", {"exported_at": row.exported_at or now, "order_id": orders.get(row.proposal_id, row.order_id)})
        for row in found
        if row.state == "approved" or row.proposal_id in orders
    ]
    if fresh:
        move(connection, fresh, "exported", author=author, version=next_version(connection), now=now)
    moved = rows_by_id(connection, [row.proposal_id for row in found])
    return [read(moved[row.proposal_id]) for row in found]


def withdrawn(connection: Connection) -> list[Proposal]:
    """Return what was handed out, ended since, and the ERP has not said it knows; by id."""
    found = connection.execute(
        select(seen_proposals)
        .where(
            seen_proposals.c.exported_at.is_not(None),
            seen_proposals.c.withdrawn_at.is_(None),
            # Who cancels a line does so in the ERP; that no more of a shipped transfer is to be sent it has to be told.
            or_(
                seen_proposals.c.has_order_line.is_(False),
                and_(seen_proposals.c.from_location_id != "", seen_proposals.c.state == "cancelled"),
            ),
            seen_proposals.c.state.in_(_ENDED),
        )
        .order_by(seen_proposals.c.proposal_id)
    )
    return [read(row) for row in found]


def acknowledge(
    connection: Connection, acknowledged: Sequence[Acknowledgement], *, author: str, now: int
) -> list[Outcome]:
    """Note what the ERP ordered; see `Store.acknowledge_proposals`."""
    found = rows_by_id(connection, [each.proposal_id for each in acknowledged])
    outcomes: list[Outcome] = []
    moved: dict[str, list[Moved]] = {}
    known_withdrawals: list[Any] = []
    taken: set[str] = set()
    for said in acknowledged:
        row = found.get(said.proposal_id)
        if said.proposal_id in taken:
            outcome, change = _refused(said, "it is acknowledged twice in this list; keep one of the lines"), None
        else:
            outcome, change = _judged(row, said, now)
        taken.add(said.proposal_id)
        outcomes.append(outcome)
        if change is not None and outcome.decision == "withdrawn":
            known_withdrawals.append(row)
        elif change is not None:
            moved.setdefault(outcome.decision, []).append((row, outcome.message, change))
    if moved:
        version = next_version(connection)
        for state, rows in moved.items():
            move(connection, rows, state, author=author, version=version, now=now)
    for row in known_withdrawals:
        note(connection, [(row.proposal_id, row.state, "the ERP knows of the withdrawal")], author=author, now=now)
    _know_withdrawn(connection, [row.proposal_id for row in known_withdrawals], now)
    return outcomes


def _orders(rows: Iterable[Any]) -> dict[str, str]:
    """Return the order of each line that has none yet: one for what comes from a supplier or location together.

    The number is made from the lines, whose ids name one thing for ever: so does it.
    """

    def place(row: Any) -> tuple[str, str, str]:
        return row.supplier_id, row.from_location_id, row.location_id

    orders: dict[str, str] = {}
    by_place = groupby(sorted(rows, key=lambda row: (*place(row), row.proposal_id)), place)
    for (supplier, origin, location), group in by_place:
        lines = list(group)
        digest = hashlib.sha256("\n".join(row.proposal_id for row in lines).encode()).hexdigest()[:12]
        day = max(row.as_of_date for row in lines).replace("-", "")
        orders |= {row.proposal_id: f"{day}-{supplier or origin}-{location}-{digest}" for row in lines}
    return orders


def _know_withdrawn(connection: Connection, ids: Sequence[str], now: int) -> None:
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        connection.execute(update(proposals).where(proposals.c.proposal_id.in_(part)).values(withdrawn_at=now))


def _refused(said: Acknowledgement, message: str) -> Outcome:
    return Outcome(said.proposal_id, "acknowledged", is_refused=True, is_known=False, message=message)


def _judged(row: Any, said: Acknowledgement, now: int) -> tuple[Outcome, Mapping[str, Any] | None]:
    """Return what becomes of an acknowledgement, and what changes with it; None = nothing."""
    if row is None:
        return _refused(said, "there is no such proposal; `inventorybot proposals list` shows their ids"), None
    try:
        thousandths = None if said.ordered_units is None else quantity_of("ordered_units", said.ordered_units)
    except Refused as refused:
        return _refused(said, refused.reason), None
    if thousandths is not None and thousandths < 0:
        return _refused(said, f"ordered_units {said.ordered_units} is below zero; 0 = nothing is ordered"), None
    if thousandths != 0 and not said.erp_order:
        return _refused(said, "an order number is missing; ordered_units 0 = nothing is ordered"), None
    return _of_nothing(row, said, now) if thousandths == 0 else _of_an_order(row, said, thousandths)


def _of_nothing(row: Any, said: Acknowledgement, now: int) -> tuple[Outcome, Mapping[str, Any] | None]:
    """Judge that the ERP orders nothing of a proposal, or knows that it was withdrawn."""

    def outcome(decision: str, message: str, *, is_known: bool = False) -> Outcome:
        return Outcome(said.proposal_id, decision, is_refused=False, is_known=is_known, message=message)

    if row.state in ("exported", "acknowledged") and not row.has_order_line:
        return outcome("cancelled", "the ERP orders nothing of it"), {"withdrawn_at": now}
    if row.state in _ENDED and row.exported_at is not None:
        is_known = row.withdrawn_at is not None
        told = "the ERP knows of the withdrawal"
        return outcome("withdrawn", told, is_known=is_known), None if is_known else {"withdrawn_at": now}
    if row.has_order_line:
        if row.from_location_id:
            return _refused(
                said, "it was shipped: give the units that are sent in all, or book what comes back at its origin"
            ), None
        return _refused(said, f"its purchase order line {row.erp_order} exists: cancel the line in the ERP"), None
    return _refused(said, f"it is {row.state}; it was never handed out"), None


def _of_an_order(row: Any, said: Acknowledgement, thousandths: int | None) -> tuple[Outcome, Mapping[str, Any] | None]:
    """Judge that the ERP ordered something of a proposal."""
    asked = row.order_thousandths if row.adjusted_thousandths is None else row.adjusted_thousandths
    units = None if thousandths in (None, asked) else thousandths
    if row.erp_order is not None and row.erp_order != said.erp_order:
        twice = "move the goods" if row.from_location_id else "buy the goods"
        return _refused(
            said,
            f"it is already ERP order {row.erp_order!r}; a second order {said.erp_order!r} would {twice} twice. "
            "Cancel one of them in the ERP",
        ), None
    message = f"ERP order {said.erp_order}"
    if units is not None:
        message += f": {units_text(quantity(units))} units in place of {units_text(quantity(asked))}"
        if units < asked:
            message += ", the rest is not on order"
    # The line of an order tells its units; of a transfer that is shipped in part the ERP may still close the rest.
    is_settled = row.has_order_line and not row.from_location_id
    is_known = row.erp_order == said.erp_order and (is_settled or row.acknowledged_thousandths == units)
    if is_known:
        outcome = Outcome(said.proposal_id, "acknowledged", is_refused=False, is_known=True, message=message)
        return outcome, None
    if row.state not in ("exported", "acknowledged"):
        return _refused(said, _why_not(row, said)), None
    outcome = Outcome(said.proposal_id, "acknowledged", is_refused=False, is_known=False, message=message)
    return outcome, {"erp_order": said.erp_order, "acknowledged_thousandths": units}


def _why_not(row: Any, said: Acknowledgement) -> str:
    if row.state in _ENDED and row.exported_at is not None:
        return (
            f"it was {row.state} by {row.changed_by} ({row.change_reason}): cancel order {said.erp_order} in the ERP; "
            f"where it stays, its {'shipment' if row.from_location_id else 'purchase order line'} counts as soon as it "
            "arrives"
        )
    return f"it is {row.state}; only an exported proposal can be acknowledged"
