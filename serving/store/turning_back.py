"""A business day that goes back: what runs of a day that has not been did to the outbox is undone.

Belongs here: the outbox alone. Does not: telling that the day goes back (orchestration/planning/proposals.py).
"""

from dataclasses import replace
from datetime import date

from sqlalchemy import Connection, select, update

from serving.store.proposals import COMMITTED, Moved, move, next_version, read
from serving.store.proposing import OVERDUE_DAYS, why_ended
from serving.store.schema import proposals
from serving.store.staging import seen_proposals, seen_steps
from serving.store.units import date_of


def turn_back(
    connection: Connection, as_of_date: date, overdue_days: int = OVERDUE_DAYS, *, author: str, now: int
) -> list[str]:
    """Let committed proposals stand again that ended for a later day alone; see `Store.turn_back`."""
    day = date_of("as_of_date", as_of_date)
    item = (seen_proposals.c.sku, seen_proposals.c.location_id, seen_proposals.c.from_location_id)
    committed = select(*item).where(seen_proposals.c.state.in_(COMMITTED), seen_proposals.c.as_of_date > day)
    # What a person has committed to since stands for the need: ordering it twice would be worse than once too late.
    taken = {(row.sku, row.location_id, row.from_location_id) for row in connection.execute(committed)}
    ended = select(seen_proposals).where(seen_proposals.c.state == "expired", seen_proposals.c.ended_date > day)
    moved: dict[str, list[Moved]] = {}
    for row in connection.execute(ended.order_by(seen_proposals.c.proposal_id)).all():
        before = _state_before(connection, row.proposal_id)
        stood = replace(read(row), state=before)
        stands = before in COMMITTED and why_ended(stood, as_of_date, overdue_days) is None
        if stands and read(row).item not in taken:
            reason = f"the business day went back to {day}: it ended for a later day, which has not been"
            moved.setdefault(before, []).append((row, reason, {}))
    for state, rows in moved.items():
        move(connection, rows, state, author=author, version=next_version(connection), now=now)
    for column in (proposals.c.as_of_date, proposals.c.ended_date):
        connection.execute(update(proposals).where(column > day).values({column: day}))
    return sorted(row.proposal_id for rows in moved.values() for row, _, _ in rows)


def _state_before(connection: Connection, proposal_id: str) -> str:
    """Return the state an expired proposal had before."""
    state: str | None = connection.execute(
        select(seen_steps.c.state)
        .where(seen_steps.c.proposal_id == proposal_id, seen_steps.c.state != "expired")
        .order_by(seen_steps.c.step.desc())
        .limit(1)
    ).scalar_one_or_none()
    return state or "expired"
