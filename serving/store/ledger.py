"""The append-only event log: accept events, recognise what is known, bring what follows from them up to them.

Belongs here: everything that adds to `events` and moves `stream_offsets`. Does not: the chain over the batches
(chain.py), reading back (log.py). Nothing here ever updates or deletes an event; what was wrong is reversed by a later
event or a higher revision.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Connection, and_, exc, insert, select, tuple_, update

from serving.store import alerts, authorities, chain, decisions, policies, proposals, quarantine, staging, stock
from serving.store.bulk import typed_movements
from serving.store.database import Database
from serving.store.errors import StillRefused, StoreError
from serving.store.events import COLUMNS, CONTENT, MOVEMENT_EVENTS, Row, typed_row
from serving.store.outcomes import DUPLICATE, AppendReport, EventOutcome
from serving.store.schema import events, ledger_head, stream_offsets
from serving.store.units import Refused, instant

_EVENT_ID = COLUMNS.index("event_id")
_TYPE = COLUMNS.index("event_type")
_SOURCE = COLUMNS.index("source")
_OCCURRED = COLUMNS.index("occurred_at")
_PAYLOAD = COLUMNS.index("payload")
_IDENTITY = slice(COLUMNS.index("source"), COLUMNS.index("revision") + 1)
_LOOK_UP_ROWS = 500


@dataclass(frozen=True)
class Place:
    """Where an event stood before it came here.

    Attributes:
        position: words that find it again at its source, as in `movements/0@1234` or `file.csv:17`.
        original: its bytes as they came.
    """

    position: str
    original: bytes


@dataclass(frozen=True)
class Refusal:
    """Something that could not even be read as an event, to be quarantined in the same transaction."""

    place: Place
    rule: str
    reason: str


@dataclass
class _Sorted:
    fresh: list[Row] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    conflicts: list[tuple[int, Refused]] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """What one call hands in, read and checked; everything that needs no database.

    Attributes:
        given: events as they came.
        channel: the way they came in.
        now: microseconds; becomes `ingested_at` unless an earlier batch carries a later one.
        rows: the sound ones.
        row_numbers: position in `given` of each row.
        refused: the others, by position in `given`.
        places: where each of `given` stood; made up from the event itself where absent.
        refusals: what could not be read as events.
        offsets: next offset to read, by topic and partition.
    """

    given: Sequence[Mapping[str, Any]]
    channel: str
    now: int
    rows: list[Row]
    row_numbers: list[int]
    refused: list[tuple[int, Refused]]
    places: Sequence[Place] | None
    refusals: Sequence[Refusal]
    offsets: Mapping[tuple[str, int], int]


def delivery(
    handed_in: Iterable[Mapping[str, Any]],
    *,
    channel: str,
    now: int,
    latest_instant: int,
    places: Sequence[Place] | None = None,
    refusals: Sequence[Refusal] = (),
    offsets: Mapping[tuple[str, int], int] | None = None,
) -> Delivery:
    """Read and check what a call hands in; arguments as for `Store.append`.

    Args:
        handed_in: events as `serving.store.events.typed_row` takes them.
        channel: the way they came in.
        now: microseconds.
        latest_instant: microseconds; an event that occurred later has a wrong clock.
        places: where each event stood, as many as events.
        refusals: what could not be read as events.
        offsets: next offset to read, by topic and partition.
    """
    given = list(handed_in)
    if places is not None and len(places) != len(given):
        raise ValueError(f"{len(places)} places were given for {len(given)} events")
    rows, row_numbers, refused = _typed(given, channel, latest_instant)
    return Delivery(given, channel, now, rows, row_numbers, refused, places, refusals, offsets or {})


def joined(deliveries: Sequence[Delivery]) -> Delivery:
    """Return deliveries of one channel, of events alone, as one: the events of each after those of the one before."""
    given: list[Mapping[str, Any]] = []
    rows: list[Row] = []
    row_numbers: list[int] = []
    refused: list[tuple[int, Refused]] = []
    for each in deliveries:
        rows += each.rows
        row_numbers += [len(given) + number for number in each.row_numbers]
        refused += [(len(given) + number, why) for number, why in each.refused]
        given += each.given
    now = max(each.now for each in deliveries)
    return Delivery(given, deliveries[0].channel, now, rows, row_numbers, refused, None, (), {})


def append_at_once(
    database: Database, delivered: Delivery, units_after: stock.PublishedUnitsAfter | None
) -> AppendReport:
    """Add what was delivered in a transaction of its own.

    Nearly every batch is all new: insert it blindly, and look the known events up only when a unique index objects.
    The transaction is then begun again, as a savepoint would cost every batch a copy of each page it touches.
    """
    changes_proposals = any(row[_TYPE] == "approval" for row in delivered.rows)
    write = staging.write if changes_proposals else Database.write
    try:
        with write(database) as connection:
            return append(database, connection, delivered, units_after, is_blind=True)
    except exc.IntegrityError:
        with write(database) as connection:
            return append(database, connection, delivered, units_after)


def append(
    database: Database,
    connection: Connection,
    delivered: Delivery,
    units_after: stock.PublishedUnitsAfter | None,
    *,
    is_blind: bool = False,
) -> AppendReport:
    """Add what was delivered, and all that follows from it, in a running write transaction.

    Args:
        database: the store's database.
        connection: its write transaction.
        delivered: as `delivery` returns it.
        units_after: reads published movements that never passed through the ledger.
        is_blind: take for granted that every event is new.

    Raises:
        IntegrityError: some event is known, and `is_blind` said otherwise; roll back.
    """
    given, channel, now, refusals = delivered.given, delivered.channel, delivered.now, delivered.refusals
    rows, row_numbers, invalid = delivered.rows, delivered.row_numbers, list(delivered.refused)
    head = connection.execute(select(ledger_head)).one()
    taken = authorities.taken_elsewhere(
        connection, {row[_SOURCE] for row in rows if row[_TYPE] in MOVEMENT_EVENTS}, now
    )
    if taken:
        rows, row_numbers, second_channel = _without(taken, rows, row_numbers)
        invalid += second_channel
    unknown = _of_unknown(connection, rows)
    if unknown:
        invalid += [(row_numbers[number], refused) for number, refused in unknown.items()]
        row_numbers = [row_numbers[number] for number in range(len(rows)) if number not in unknown]
        rows = [row for number, row in enumerate(rows) if number not in unknown]
    sorted_rows = _Sorted(fresh=rows) if is_blind else _sort(connection, rows)
    fresh = sorted_rows.fresh
    sequence, chain_hash = head.sequence + len(fresh), head.chain_hash
    idle: dict[int, str] = {}
    if fresh:
        first = head.sequence + 1
        _insert(database, connection, fresh, first)
        chain_hash = chain.link(connection, head, channel, now, first, fresh)
        idle = _derive(connection, fresh, head, now, units_after)
    conflicts = [(row_numbers[number], refused) for number, refused in sorted_rows.conflicts]
    unreadable = [
        (len(given) + number, Refused(refusal.rule, refusal.reason)) for number, refusal in enumerate(refusals)
    ]
    held = [*invalid, *conflicts, *unreadable]
    kept = quarantine.add(connection, [_held(delivered, number, refused) for number, refused in held], now)
    _keep_offsets(connection, channel, delivered.offsets, now)
    remarked = {row_numbers[number]: DUPLICATE for number in sorted_rows.duplicates}
    known = {*sorted_rows.duplicates, *(number for number, _ in sorted_rows.conflicts)} if idle else set()
    accepted = [row_numbers[number] for number in range(len(rows)) if number not in known] if idle else []
    remarked |= {
        accepted[at - head.sequence - 1]: EventOutcome("accepted", "without_effect", why) for at, why in idle.items()
    }
    in_conflict = {number for number, _ in conflicts}
    for (number, refused), lies in zip(held, kept, strict=True):
        result: Literal["conflict", "refused"] = "conflict" if number in in_conflict else "refused"
        remarked[number] = EventOutcome(result, refused.rule, refused.reason, lies.quarantine_id)
    return AppendReport(
        received=len(given) + len(refusals),
        accepted=len(fresh),
        duplicate=len(sorted_rows.duplicates) + sum(not lies.is_new for lies in kept),
        conflict=sum(lies.is_new for lies in kept[len(invalid) : len(invalid) + len(conflicts)]),
        invalid=sum(lies.is_new for lies in (*kept[: len(invalid)], *kept[len(invalid) + len(conflicts) :])),
        sequence=sequence,
        chain_hash=chain_hash,
        quarantine_ids=tuple(lies.quarantine_id for lies in kept if lies.is_new),
        remarked=remarked,
    )


def record(
    database: Database, connection: Connection, made: Sequence[Mapping[str, Any]], *, channel: str, now: int
) -> None:
    """Add events to the log that are in the other tables already: what a restore put back of a part that was lost."""
    rows = [typed_row(event, channel) for event in made]
    if not rows:
        return
    head = connection.execute(select(ledger_head)).one()
    _insert(database, connection, rows, head.sequence + 1)
    chain.link(connection, head, channel, now, head.sequence + 1, rows)


def _held(delivered: Delivery, number: int, refused: Refused) -> quarantine.Held:
    """Return what is quarantined of an event, or of a refusal, whose numbers follow those of the events."""
    if number >= len(delivered.given):
        place = delivered.refusals[number - len(delivered.given)].place
    elif delivered.places is not None:
        place = delivered.places[number]
    else:
        place = _own_place(delivered.given[number], number)
    return quarantine.Held(delivered.channel, place.position, place.original, refused.rule, refused.reason)


def release(
    database: Database,
    connection: Connection,
    row: quarantine.QuarantinedRow,
    *,
    check: Callable[[Mapping[str, Any]], str | None] | None,
    now: int,
    latest_instant: int,
    units_after: stock.PublishedUnitsAfter | None,
) -> AppendReport:
    """Append a quarantined row; raises `StillRefused` where it cannot be accepted, see `Store.quarantine_release`."""
    content = row.original if row.corrected is None else row.corrected
    try:
        event = json.loads(content, parse_float=Decimal)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StillRefused(
            f"Quarantined row {row.quarantine_id} is not a JSON event: {error}. Correct its text first."
        ) from error
    if not isinstance(event, Mapping):
        raise StillRefused(f"Quarantined row {row.quarantine_id} is not a JSON object. Correct its text first.")
    objection = None if check is None else check(event)
    if objection is None:
        objection = _objection(connection, event, row.channel, latest_instant)
    if objection is not None:
        said = objection.rstrip(".")
        raise StillRefused(f"Quarantined row {row.quarantine_id} is refused again: {said}. Correct its text first.")
    delivered = delivery([event], channel=row.channel, now=now, latest_instant=latest_instant)
    return append(database, connection, delivered, units_after)


def decide(
    database: Database,
    connection: Connection,
    made: Sequence[decisions.Decision],
    now: int,
    *,
    is_all_or_none: bool,
) -> list[decisions.Outcome]:
    """Append the approvals that change something; see `Store.decide`."""
    decided = [decisions.event_of(decision, now) for decision in made]
    rows: dict[int, Row] = {}
    broken = _twice(made)
    for number, event in enumerate(decided):
        try:
            if number not in broken:
                rows[number] = typed_row(event, "decision")
        except Refused as refused:
            broken[number] = refused.reason
    repeated = _repeated(connection, rows, broken)
    if broken and is_all_or_none:
        raise StoreError(f"The decision cannot be recorded: {next(iter(broken.values())).rstrip('.')}.")
    told: dict[int, decisions.Outcome] = {}
    fields = [
        {**event, "number": number, "seen_version": decision.seen_version}
        for number, (event, decision) in enumerate(zip(decided, made, strict=True))
    ]
    # A decision is judged by what those before it have made of the proposals.
    savepoint = connection.begin_nested() if is_all_or_none and len(made) > 1 else None
    for group in decisions.groups(fields):
        sound = [each for each in group if each["number"] not in broken and each["number"] not in repeated]
        told |= zip((each["number"] for each in sound), decisions.judge(connection, sound), strict=True)
        for each in group:
            number = each["number"]
            if number not in told:
                message = broken.get(number, "recorded already")
                named = (each["proposal_id"], each["decision"])
                told[number] = decisions.Outcome(*named, number in broken, number not in broken, message)
        if is_all_or_none and any(outcome.is_refused for outcome in told.values()):
            continue
        changing = [each["number"] for each in sound]
        fresh = [decided[number] for number in changing if not (told[number].is_known or told[number].is_refused)]
        if fresh:
            append(database, connection, delivery(fresh, channel="decision", now=now, latest_instant=now), None)
    if savepoint is not None:
        is_refused = any(outcome.is_refused for outcome in told.values())
        (savepoint.rollback if is_refused else savepoint.commit)()
    return [told[number] for number in range(len(made))]


def _twice(made: Sequence[decisions.Decision]) -> dict[int, str]:
    """Return why a decision cannot stand beside an earlier one of its call, by number."""
    event_ids: set[str] = set()
    proposal_ids: set[str] = set()
    twice: dict[int, str] = {}
    for number, decision in enumerate(made):
        if decision.proposal_id in proposal_ids:
            twice[number] = f"the call decides of {decision.proposal_id!r} before; decide of each proposal once"
        elif decision.event_id in event_ids:
            twice[number] = f"event_id {decision.event_id!r} names another decision of the call; use a new one"
        else:
            event_ids.add(decision.event_id)
            proposal_ids.add(decision.proposal_id)
    return twice


def _repeated(connection: Connection, rows: Mapping[int, Row], broken: dict[int, str]) -> set[int]:
    """Return the numbers of decisions that were recorded before; notes those whose event_id names another one."""
    numbers = {row[_EVENT_ID]: number for number, row in rows.items()}
    ids = sorted(numbers)
    repeated: set[int] = set()
    for start in range(0, len(ids), _LOOK_UP_ROWS):
        part = select(events).where(events.c.event_id.in_(ids[start : start + _LOOK_UP_ROWS]))
        for known in connection.execute(part):
            number = numbers[known.event_id]
            if known.payload == rows[number][_PAYLOAD]:
                repeated.add(number)
            else:
                broken[number] = f"event_id {known.event_id!r} already names another decision; use a new one"
    return repeated


def _objection(connection: Connection, event: Mapping[str, Any], channel: str, latest_instant: int) -> str | None:
    try:
        row = _checked_row(event, channel, latest_instant)
    except Refused as refused:
        return refused.reason
    if row[_TYPE] in MOVEMENT_EVENTS:
        holder = authorities.holders(connection).get(row[_SOURCE], authorities.ONLINE_STORE)
        if holder != authorities.ONLINE_STORE:
            return authorities.refusal(row[_SOURCE], holder, authorities.ONLINE_STORE)
    for unknown in _of_unknown(connection, [row]).values():
        return unknown.reason
    conflicts = _sort(connection, [row]).conflicts
    return conflicts[0][1].reason if conflicts else None


def _typed(
    given: Sequence[Mapping[str, Any]], channel: str, latest_instant: int
) -> tuple[list[Row], list[int], list[tuple[int, Refused]]]:
    """Return rows, the number of the event of each, and what was refused by number."""
    if given:
        all_rows = typed_movements(given)
        if all_rows is not None and max(row[_OCCURRED] for row in all_rows) <= latest_instant:
            return all_rows, list(range(len(given))), []
    rows: list[Row] = []
    row_numbers: list[int] = []
    refused: list[tuple[int, Refused]] = []
    for number, event in enumerate(given):
        try:
            row = _checked_row(event, channel, latest_instant)
        except Refused as why:
            refused.append((number, why))
        else:
            rows.append(row)
            row_numbers.append(number)
    return rows, row_numbers, refused


def _checked_row(event: Mapping[str, Any], channel: str, latest_instant: int) -> Row:
    row = typed_row(event, channel)
    if row[_OCCURRED] > latest_instant:
        moment = instant(row[_OCCURRED]).isoformat()
        raise Refused(
            "occurred_at_in_the_future", f"occurred_at {moment} is in the future: check the clock of the source"
        )
    return row


def _without(
    taken: Mapping[str, str], rows: list[Row], row_numbers: list[int]
) -> tuple[list[Row], list[int], list[tuple[int, Refused]]]:
    """Separate the rows of sources that another channel owns from the others."""
    kept: list[tuple[Row, int]] = []
    refused: list[tuple[int, Refused]] = []
    for row, number in zip(rows, row_numbers, strict=True):
        source = row[_SOURCE]
        if row[_TYPE] in MOVEMENT_EVENTS and source in taken:
            reason = authorities.refusal(source, taken[source], authorities.ONLINE_STORE)
            refused.append((number, Refused("second_channel", reason)))
        else:
            kept.append((row, number))
    return [row for row, _ in kept], [number for _, number in kept], refused


def _of_unknown(connection: Connection, rows: Sequence[Row]) -> dict[int, Refused]:
    """Return the decisions, by number, on proposals and alerts that do not exist; not those that are in the log."""
    named: dict[str, dict[int, str]] = {"proposal": {}, "alert": {}}
    for number, row in enumerate(rows):
        if row[_TYPE] in ("approval", "alert_action", "snooze"):
            fields = json.loads(row[_PAYLOAD])
            subject = {"approval": "proposal", "alert_action": "alert"}.get(row[_TYPE]) or fields["subject"]
            named[subject][number] = fields.get("subject_id") or fields[f"{subject}_id"]
    if not any(named.values()):
        return {}
    ids = {subject: set(numbers.values()) for subject, numbers in named.items()}
    unknown = {
        "proposal": ids["proposal"] - proposals.rows_by_id(connection, ids["proposal"]).keys(),
        "alert": alerts.unknown(connection, ids["alert"]),
    }
    missing = {
        number: (subject, each)
        for subject, numbers in named.items()
        for number, each in numbers.items()
        if each in unknown[subject]
    }
    event_ids = sorted({rows[number][_EVENT_ID] for number in missing})
    logged: set[str] = set()
    for start in range(0, len(event_ids), _LOOK_UP_ROWS):
        part = event_ids[start : start + _LOOK_UP_ROWS]
        logged |= set(connection.execute(select(events.c.event_id).where(events.c.event_id.in_(part))).scalars())
    return {
        number: Refused(f"unknown_{subject}", f"there is no {subject} {each!r}: look at the list again")
        for number, (subject, each) in missing.items()
        if rows[number][_EVENT_ID] not in logged
    }


def _insert(database: Database, connection: Connection, rows: list[Row], first: int) -> None:
    marks = ", ".join([database.mark] * (len(COLUMNS) + 1))
    statement = f"INSERT INTO events (sequence, {', '.join(COLUMNS)}) VALUES ({marks})"
    connection.exec_driver_sql(statement, [(number, *row) for number, row in enumerate(rows, first)])


def _sort(connection: Connection, rows: list[Row]) -> _Sorted:
    by_id: dict[str, Row] = {}
    by_identity: dict[Row, Row] = {}
    for start in range(0, len(rows), _LOOK_UP_ROWS):
        part = rows[start : start + _LOOK_UP_ROWS]
        stored = select(*(events.c[name] for name in COLUMNS))
        identity = tuple_(events.c.source, events.c.document, events.c.line, events.c.revision)
        for condition in (
            events.c.event_id.in_([row[_EVENT_ID] for row in part]),
            identity.in_([row[_IDENTITY] for row in part if row[_TYPE] in MOVEMENT_EVENTS]),
        ):
            for found in connection.execute(stored.where(condition)):
                stored_row: Row = tuple(found)
                by_id[stored_row[_EVENT_ID]] = stored_row
                if stored_row[_TYPE] in MOVEMENT_EVENTS:
                    by_identity[stored_row[_IDENTITY]] = stored_row
    result = _Sorted()
    for number, row in enumerate(rows):
        is_movement = row[_TYPE] in MOVEMENT_EVENTS
        same_identity = by_identity.get(row[_IDENTITY]) if is_movement else None
        same_id = by_id.get(row[_EVENT_ID])
        known = same_identity or same_id
        if known is None:
            result.fresh.append(row)
            by_id[row[_EVENT_ID]] = row
            if is_movement:
                by_identity[row[_IDENTITY]] = row
            continue
        difference = _difference(row, known, has_same_identity=same_identity is not None or not is_movement)
        if difference is None:
            result.duplicates.append(number)
        else:
            result.conflicts.append((number, difference))
    return result


def _difference(row: Row, known: Row, *, has_same_identity: bool) -> Refused | None:
    if not has_same_identity:
        return Refused(
            "event_id_conflict",
            f"event_id {row[_EVENT_ID]!r} already names {known[_TYPE]} {_words(known[_IDENTITY])}, "
            f"and cannot also name {_words(row[_IDENTITY])}",
        )
    changed = [COLUMNS[column] for column in CONTENT if row[column] != known[column]]
    if not changed:
        return None
    shown = "; ".join(
        f"{name} {known[COLUMNS.index(name)]!r} is stored, {row[COLUMNS.index(name)]!r} came" for name in changed
    )
    if row[_TYPE] in MOVEMENT_EVENTS:
        return Refused(
            "identity_conflict",
            f"{_words(row[_IDENTITY])} exists with other content ({shown}); send a correction with a higher revision",
        )
    return Refused(
        "event_id_conflict",
        f"{row[_TYPE]} {row[_EVENT_ID]!r} exists with other content ({shown}); send it under an event_id of its own",
    )


def _words(identity: Row) -> str:
    source, document, line, revision = identity
    return f"source {source!r}" if document is None else f"{source}:{document}:{line}:{revision}"


def _own_place(event: object, number: int) -> Place:
    """Return a place for an event that came without one; the same event gets the same place at every redelivery."""
    original = json.dumps(event, default=str, sort_keys=True) if isinstance(event, Mapping) else repr(event)
    encoded = original.encode("utf-8", "backslashreplace")
    if isinstance(event, Mapping):
        identity = event.get("event_id") or ":".join(
            str(event.get(name)) for name in ("source", "document", "line", "revision")
        )
        return Place(f"event {identity}", encoded)
    return Place(f"event {number} of the call", encoded)


def _derive(
    connection: Connection,
    fresh: list[Row],
    head: Any,
    now: int,
    units_after: stock.PublishedUnitsAfter | None,
) -> dict[int, str]:
    """Bring every table that follows from the log up to the last event; `head` is that before them.

    Returns:
        Why a decision changed nothing, by sequence.
    """
    idle: dict[int, str] = {}
    first = head.sequence + 1
    stock.follow(connection, fresh, first, head.stock_version + 1, units_after)
    decided = [(first + number, row) for number, row in enumerate(fresh) if row[_TYPE] not in MOVEMENT_EVENTS]
    if decided:
        policies.follow(connection, decided)
        idle = decisions.follow(connection, decided, now)
        alerts.follow(connection, decided, now)
    return idle


def _keep_offsets(connection: Connection, channel: str, offsets: Mapping[tuple[str, int], int], now: int) -> None:
    for (topic, partition), next_offset in offsets.items():
        key = and_(
            stream_offsets.c.channel == channel,
            stream_offsets.c.topic == topic,
            stream_offsets.c.partition == partition,
        )
        stored = connection.execute(select(stream_offsets.c.next_offset).where(key)).scalar_one_or_none()
        if stored is None:
            connection.execute(
                insert(stream_offsets).values(
                    channel=channel, topic=topic, partition=partition, next_offset=next_offset, recorded_at=now
                )
            )
        elif next_offset > stored:
            # A consumer that lost the partition may still finish an old batch: its events are known, and the
            # offset of its successor stands.
            connection.execute(update(stream_offsets).where(key).values(next_offset=next_offset, recorded_at=now))


def offsets(connection: Connection, channel: str) -> dict[tuple[str, int], int]:
    """Return the next offset to read of each topic and partition of a channel."""
    found = connection.execute(
        select(stream_offsets.c.topic, stream_offsets.c.partition, stream_offsets.c.next_offset).where(
            stream_offsets.c.channel == channel
        )
    )
    return {(row.topic, row.partition): row.next_offset for row in found}


def reset_offset(connection: Connection, channel: str, topic: str, partition: int, next_offset: int, now: int) -> None:
    """Set an offset, also backwards: for a topic that was made again."""
    key = and_(
        stream_offsets.c.channel == channel, stream_offsets.c.topic == topic, stream_offsets.c.partition == partition
    )
    connection.execute(stream_offsets.delete().where(key))
    _keep_offsets(connection, channel, {(topic, partition): next_offset}, now)
