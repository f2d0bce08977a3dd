"""A publication: a new generation and all that it changes in the outbox, in force at once.

Belongs here: working out what changes while others write, staging it, bringing it into force. Does not: what a run
makes of the outbox (proposing.py), what readers see meanwhile (staging.py).
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, create_engine, exc, func, insert, or_, select, update
from sqlalchemy.pool import StaticPool

from serving.store import epochs, proposing, staging
from serving.store.database import Database
from serving.store.errors import StoreUnavailable
from serving.store.proposals import COMMITTED, rows_by_id
from serving.store.proposing import Outbox, ProposeReport
from serving.store.schema import ledger_head, proposal_steps, proposals, staged_proposals, staged_steps
from serving.store.staging import seen_proposals, seen_steps

_LOG = logging.getLogger(__name__)
_TRIES = 3
_IDS = 5_000


@dataclass(frozen=True)
class _Prepared:
    """What a publication changes, worked out on one snapshot.

    Attributes:
        outbox_write: of the head in the snapshot; another one at the end means that somebody came between.
        publication: number under which it is staged.
        outbox_version: that the head gets.
        rows: of `proposals`, as they will be.
        steps: of `proposal_steps` that are added.
        report: what becomes of the lines.
    """

    outbox_write: int
    publication: int
    outbox_version: int
    rows: Sequence[Row[Any]]
    steps: Sequence[Row[Any]]
    report: ProposeReport


def publish(
    database: Database,
    name: str,
    fence: int,
    value: str | None,
    detail: Mapping[str, Any],
    outbox: Outbox,
    clock: Callable[[], int],
) -> ProposeReport:
    """Give the name a new value and settle the outbox with it; see `Store.publish`."""
    for _ in range(_TRIES):
        staging.fold(database)
        staging.clear(database, name, fence)
        now = clock()
        with database.read() as connection:
            author = str(epochs.require_fence(connection, name, fence).run_id)
            prepared = _prepare(connection, outbox, author, now)
        _stage(database, prepared, name, fence)
        with database.write() as connection:
            is_in_force = _bring_into_force(connection, prepared)
            if is_in_force and value is not None:
                epochs.advance(connection, name, fence, value, detail, now)
            else:
                epochs.require_fence(connection, name, fence)
        if is_in_force:
            try:
                staging.fold(database)
            except (exc.DatabaseError, StoreUnavailable):
                _LOG.warning("The publication is in force; who next changes proposals folds it in.", exc_info=True)
            return prepared.report
    # Somebody decides all the time: this once they wait.
    with staging.write(database) as connection:
        now = clock()
        author = str(epochs.require_fence(connection, name, fence).run_id)
        if value is not None:
            epochs.advance(connection, name, fence, value, detail, now)
        return proposing.settle(connection, outbox, author=author, now=now)


def _prepare(connection: Connection, outbox: Outbox, author: str, now: int) -> _Prepared:
    """Settle a copy of the part of the outbox that a run may look at, and return what that changes."""
    head = connection.execute(select(ledger_head)).one()
    before = {row.proposal_id: row for row in _relevant(connection, outbox)}
    last_steps = _last_steps(connection, sorted(before))
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as scratch:
            tables = (ledger_head, proposals, proposal_steps, staged_proposals, staged_steps)
            ledger_head.metadata.create_all(scratch, tables)
            scratch.execute(insert(ledger_head).values(**head._mapping))
            _insert(scratch, "?", proposals, list(before.values()))
            # One step stands for all there are: the next ones are numbered after it.
            _insert(scratch, "?", proposal_steps, [(*step, "", "", "", 0) for step in last_steps.items()])
            report = proposing.settle(scratch, outbox, author=author, now=now)
            # One proposal of an item is undecided at a time: what is superseded is folded before what replaces it.
            ordered = select(proposals).order_by(proposals.c.state == "proposed", proposals.c.proposal_id)
            rows = [row for row in scratch.execute(ordered) if before.get(row.proposal_id) != row]
            added = select(proposal_steps).order_by(proposal_steps.c.proposal_id, proposal_steps.c.step)
            steps = [row for row in scratch.execute(added) if row.step > last_steps.get(row.proposal_id, 0)]
            version: int = scratch.execute(select(ledger_head.c.outbox_version)).scalar_one()
    finally:
        engine.dispose()
    return _Prepared(head.outbox_write, head.publication + 1, version, rows, steps, report)


def _relevant(connection: Connection, outbox: Outbox) -> Iterator[Row[Any]]:
    """Yield the proposals that `proposing.settle` may look at, each once."""
    columns = seen_proposals.c
    day = outbox.as_of_date.isoformat()
    prefix = day.replace("-", "")
    stands = or_(columns.rejected_until_date.is_(None), columns.rejected_until_date > day)
    asked = or_(
        columns.state.in_(("proposed", *COMMITTED)),
        and_(columns.state == "rejected", stands),
        columns.held_reason.is_not(None),
        # Ids of this day, and whether a later one has proposed.
        and_(columns.proposal_id > f"{prefix}-", columns.proposal_id < f"{prefix}."),
        columns.as_of_date == select(func.max(columns.as_of_date)).scalar_subquery(),
    )
    found = {row.proposal_id: row for row in connection.execute(select(seen_proposals).where(asked))}
    named: set[str] = set().union(
        *(outbox.order_lines, outbox.ended_lines, outbox.held, outbox.counted),
        *(outbox.shipments, outbox.unshipped, outbox.ended_transfers),
    )
    found |= rows_by_id(connection, named - found.keys())
    # What was proposed after a rejection has ended it.
    for part in _parts(sorted({row.sku for row in found.values() if row.state == "rejected"})):
        rows = connection.execute(select(seen_proposals).where(columns.sku.in_(part)))
        found |= {row.proposal_id: row for row in rows}
    yield from found.values()


def _last_steps(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    last: dict[str, int] = {}
    for part in _parts(ids):
        query = select(seen_steps.c.proposal_id, func.max(seen_steps.c.step)).where(seen_steps.c.proposal_id.in_(part))
        last |= {row[0]: row[1] for row in connection.execute(query.group_by(seen_steps.c.proposal_id))}
    return last


def _stage(database: Database, prepared: _Prepared, name: str, fence: int) -> None:
    number = prepared.publication
    staged: dict[Table, list[tuple[Any, ...]]] = {
        staged_proposals: [(*row, number, position) for position, row in enumerate(prepared.rows)],
        staged_steps: [(*row, number) for row in prepared.steps],
    }
    for table, rows in staged.items():
        pace = staging.Pace()
        begun = 0
        while begun < len(rows):
            part = rows[begun : begun + pace.rows]
            begun += len(part)
            with pace.turn(database) as connection:
                # A later run clears what is staged; nobody adds to what it stages then.
                epochs.require_fence(connection, name, fence)
                _insert(connection, database.mark, table, part)


def _insert(connection: Connection, mark: str, table: Table, rows: Collection[Sequence[Any]]) -> None:
    """Insert rows in the order of the columns: past SQLAlchemy, which costs more for each row than the database."""
    if rows:
        names = ", ".join(column.name for column in table.c)
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join([mark] * len(table.c))})"
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])


def _bring_into_force(connection: Connection, prepared: _Prepared) -> bool:
    """Let what is staged be seen; False where it is not whole, or the outbox has changed since the snapshot."""
    for table, rows in ((staged_proposals, prepared.rows), (staged_steps, prepared.steps)):
        staged = select(func.count()).select_from(table).where(table.c.publication == prepared.publication)
        if connection.execute(staged).scalar_one() != len(rows):
            return False
    changed = connection.execute(
        update(ledger_head)
        .where(
            ledger_head.c.outbox_write == prepared.outbox_write, ledger_head.c.publication == prepared.publication - 1
        )
        .values(
            outbox_write=prepared.outbox_write + 1,
            outbox_version=prepared.outbox_version,
            publication=prepared.publication,
        )
    )
    return changed.rowcount == 1


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _IDS):
        yield values[start : start + _IDS]
