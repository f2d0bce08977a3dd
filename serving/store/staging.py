"""What a publication changes in the outbox, prepared beside it, so that nobody waits for it long and nobody sees half.

Belongs here: the two staged tables, what readers see through them, and folding them into the outbox. Does not: what a
publication changes (publications.py).

A publication writes the rows it changes, as they will be, into `staged_proposals` and `staged_steps`, in short
transactions. They come into force together, when `publication` of the head reaches their number. From then on readers
see them in place of the rows of the outbox, while further short transactions fold them in. Whoever changes proposals
folds first what is left, also after a kill.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, FromClause, Table, and_, delete, exists, insert, or_, select, union_all, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from serving.store import epochs
from serving.store.database import Database
from serving.store.schema import ledger_head, proposal_steps, proposals, staged_proposals, staged_steps

LOCK_SECONDS = 0.05
"""How long one transaction of a publication is to hold the write lock."""

_FIRST_ROWS, _FEWEST_ROWS, _MOST_ROWS = 1_000, 500, 5_000
_publication = select(ledger_head.c.publication).scalar_subquery()


def _seen(table: Table, staged: Table, name: str) -> FromClause:
    """Return a table as readers see it: rows that are staged and in force stand in place of those of the same key."""
    is_in_force = staged.c.publication <= _publication
    same = and_(*(staged.c[key.name] == key for key in table.primary_key))
    unchanged = select(table).where(~exists().where(same, is_in_force))
    changed = select(*(staged.c[column.name] for column in table.c)).where(is_in_force)
    return union_all(unchanged, changed).subquery(name)


seen_proposals = _seen(proposals, staged_proposals, "seen_proposals")
seen_steps = _seen(proposal_steps, staged_steps, "seen_steps")


class Pace:
    """How many rows a short transaction takes, so that others who wait for the lock come in between."""

    def __init__(self) -> None:
        self.rows = _FIRST_ROWS

    @contextmanager
    def turn(self, database: Database) -> Iterator[Connection]:
        """Yield a write transaction; afterwards leave the lock to others for as long as it was held."""
        with database.write() as connection:
            begun = time.monotonic()
            yield connection
        held = max(time.monotonic() - begun, 0.001)
        self.rows = min(_MOST_ROWS, max(_FEWEST_ROWS, int(self.rows * LOCK_SECONDS / held)))
        time.sleep(held)


@contextmanager
def write(database: Database) -> Iterator[Connection]:
    """Yield the write transaction of one who changes proposals; what a publication left staged is folded in first."""
    while True:
        fold(database)
        with database.write() as connection:
            # Another publication may have come into force between the two.
            if not _is_unfolded(connection):
                connection.execute(update(ledger_head).values(outbox_write=ledger_head.c.outbox_write + 1))
                yield connection
                return


def fold(database: Database) -> None:
    """Write what is staged and in force into the outbox, in short transactions."""
    with database.read() as connection:
        is_left = _is_unfolded(connection)
    pace = Pace()
    while is_left:
        with pace.turn(database) as connection:
            is_left = _fold_some(connection, pace.rows)


def clear(database: Database, name: str, fence: int) -> None:
    """Remove what was staged and never came into force, and steps left without their proposal.

    Raises:
        Fenced: a later claim of the name exists; what is staged now is that run's.
    """
    alone = ~exists().where(staged_proposals.c.proposal_id == staged_steps.c.proposal_id)
    given_up = {
        staged_steps: or_(staged_steps.c.publication > _publication, alone),
        staged_proposals: staged_proposals.c.publication > _publication,
    }
    pace = Pace()
    is_left = True
    while is_left:
        with pace.turn(database) as connection:
            epochs.require_fence(connection, name, fence)
            is_left = False
            for table, is_given_up in given_up.items():
                ids = select(table.c.proposal_id).where(is_given_up).limit(pace.rows)
                is_left |= connection.execute(delete(table).where(table.c.proposal_id.in_(ids))).rowcount > 0


def _is_unfolded(connection: Connection) -> bool:
    return _first_position(connection) is not None


def _first_position(connection: Connection) -> int | None:
    in_force = select(staged_proposals.c.position).where(staged_proposals.c.publication <= _publication)
    return connection.execute(in_force.order_by(staged_proposals.c.position).limit(1)).scalar_one_or_none()


def _fold_some(connection: Connection, rows: int) -> bool:
    """Fold up to so many proposals with their steps; tells whether more may be left."""
    first = _first_position(connection)
    if first is None:
        return False
    part = and_(staged_proposals.c.position < first + rows, staged_proposals.c.publication <= _publication)
    columns = [column.name for column in proposals.c]
    into: Any = (sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert)(proposals)
    staged = select(*(staged_proposals.c[name] for name in columns)).where(part).order_by(staged_proposals.c.position)
    into = into.from_select(columns, staged)
    changed = {name: into.excluded[name] for name in columns if name != "proposal_id"}
    connection.execute(into.on_conflict_do_update(index_elements=["proposal_id"], set_=changed))
    ids = select(staged_proposals.c.proposal_id).where(part)
    columns = [column.name for column in proposal_steps.c]
    noted = select(*(staged_steps.c[name] for name in columns)).where(staged_steps.c.proposal_id.in_(ids))
    connection.execute(insert(proposal_steps).from_select(columns, noted))
    connection.execute(delete(staged_steps).where(staged_steps.c.proposal_id.in_(ids)))
    connection.execute(delete(staged_proposals).where(part))
    return True
