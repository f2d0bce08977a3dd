"""Transfers among the proposals: what an approval covers, and what movements say was shipped and has come.

Belongs here: what differs from an order of a supplier. Does not: which movements those are (the caller's).

A transfer counts once: as a committed proposal until its shipment is booked, then as what is on the way, then as stock.
What is shipped stands for that part of the proposal, as a purchase order line stands for an order; the rest is still to
be sent, until it is shipped, the ERP or a person closes it, or it is overdue.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from serving.store.proposals import COMMITTED, Moved, move, next_version, read, rows_by_id
from serving.store.staging import seen_proposals
from serving.store.units import quantity, units_text


def covered(
    connection: Connection, approved: Sequence[Any], ordered: Mapping[str, int] | None = None
) -> list[tuple[Any, str, str]]:
    """Return the undecided proposals that approvals make needless: row, why, and the approved proposal's id.

    The order and the transfers of an item that one run decided together add up to its need (`beside` in their detail),
    so that approving one leaves the others right, unless what is approved of them covers the whole need
    (`place_needed_units`). One that was decided without what is approved now would supply the same need twice.

    Args:
        connection: of the transaction.
        approved: rows that are approved together; none of them makes another one needless.
        ordered: what their approvals order, thousandths by id; None where the rows say so already.
    """
    units_of = {named: quantity(thousandths) for named, thousandths in (ordered or {}).items()}
    items: dict[tuple[str, str], list[str]] = {}
    for row in approved:
        items.setdefault((row.sku, row.location_id), []).append(row.proposal_id)
    if not items:
        return []
    taken = {row.proposal_id for row in approved}
    found = []
    for row in connection.execute(select(seen_proposals).where(seen_proposals.c.state == "proposed")).all():
        here = items.get((row.sku, row.location_id), [])
        if not here or row.proposal_id in taken:
            continue
        detail = json.loads(row.detail)
        beside = set(detail.get("beside") or ())
        apart = next((named for named in here if named not in beside), None)
        if apart is not None:
            why = f"decided without {apart}, which is approved: the next run proposes what is needed"
            found.append((row, why, apart))
            continue
        made = [read(each) for each in rows_by_id(connection, beside).values()]
        coming = [each for each in made if each.proposal_id in taken or each.state in COMMITTED]
        units = sum((units_of.get(each.proposal_id, each.coming_units) for each in coming), Decimal(0))
        needed = Decimal(str(detail.get("place_needed_units") or "Infinity"))
        if units >= needed:
            ids = " and ".join(sorted(each.proposal_id for each in coming))
            why = f"{ids} is approved, {units_text(units)} units: {units_text(needed)} are needed"
            found.append((row, why, here[0]))
    return found


def supersede_covered(connection: Connection, approved: Sequence[Any], *, author: str, version: int, now: int) -> None:
    """End the undecided proposals that approvals make needless."""
    moved: list[Moved] = [(row, why, {}) for row, why, _ in covered(connection, approved)]
    move(connection, moved, "superseded", author=author, version=version, now=now)


@dataclass(frozen=True)
class Shipment:
    """What movements say of a transfer: units that have left or come, and when, in words."""

    units: Decimal
    told: str


def shipped(connection: Connection, shipments: Mapping[str, Shipment], *, author: str, now: int) -> list[str]:
    """Let what was shipped stand for its proposal, whatever was decided of it.

    Of a proposal that nobody has approved nothing more than that is to be sent.

    Args:
        connection: of the transaction.
        shipments: what was shipped, by proposal_id.
        author: run id.
        now: instant, microseconds.

    Returns:
        Ids of the proposals whose shipment was not known before.
    """
    waiting = [row for row in rows_by_id(connection, shipments).values() if not row.has_order_line]
    moved: list[Moved] = [
        (
            row,
            f"shipped: {shipments[row.proposal_id].told}"
            + ("" if row.state in COMMITTED else f", although it was {row.state}"),
            {"has_order_line": True}
            | (
                {}
                if row.state in COMMITTED
                else {"acknowledged_thousandths": int(shipments[row.proposal_id].units * 1000)}
            ),
        )
        for row in waiting
    ]
    if moved:
        move(connection, moved, "acknowledged", author=author, version=next_version(connection), now=now)
    return [row.proposal_id for row in waiting]


def taken_back(connection: Connection, ids: Collection[str], *, author: str, now: int) -> None:
    """Let transfers wait for their shipment again whose shipment was corrected to nothing."""
    moved: list[Moved] = [
        (row, "its shipment was corrected to nothing: it waits to be shipped", {"has_order_line": False})
        for row in rows_by_id(connection, ids).values()
        if row.has_order_line and row.state == "acknowledged"
    ]
    if moved:
        move(connection, moved, "acknowledged", author=author, version=next_version(connection), now=now)


def end(
    connection: Connection, day: str, ended: Mapping[str, tuple[str, str]], *, author: str, now: int
) -> list[tuple[str, str]]:
    """End the transfers that have come, or will not come any more; returns ids with the reason.

    Args:
        connection: of the transaction.
        day: business day of the run, ISO.
        ended: state, `received` or `expired`, and why, by proposal_id.
        author: run id.
        now: instant, microseconds.
    """
    told: list[tuple[str, str]] = []
    standing = [row for row in rows_by_id(connection, ended).values() if row.has_order_line]
    for state in ("received", "expired"):
        moved: list[Moved] = [
            (row, ended[row.proposal_id][1], {"ended_date": day})
            for row in standing
            if ended[row.proposal_id][0] == state and row.state == "acknowledged"
        ]
        if moved:
            move(connection, moved, state, author=author, version=next_version(connection), now=now)
        told += [(row.proposal_id, why) for row, why, _ in moved]
    return told
