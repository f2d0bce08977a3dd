"""Alerts, what was done about them, and what is snoozed.

Belongs here: rows and their history; what people decide comes as events and is applied here. Does not: which alerts
there are and when they open, recover and clear (the publication's).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from serving.store.events import COLUMNS, Row
from serving.store.schema import alert_steps, alerts, snoozes
from serving.store.units import money, money_of

_PARTS = 500


@dataclass(frozen=True)
class Alert:
    """Something that is wrong, of one kind, item, location and reference.

    Attributes:
        alert_id: its id; the same thing that comes again keeps it.
        kind: as in `stock_out`.
        state: as in pending, open, recovering or cleared.
        money: at risk.
        sku: of which item, "" of none.
        location_id: at which location, "" at none.
        reference: purchase order line, lot or supplier, "" of none.
        detail: JSON values beside it.
        owner: who is to see to it, None = nobody.
        acknowledged_by: who has said that it is seen to, None = nobody.
    """

    alert_id: str
    kind: str
    state: str
    money: Decimal
    sku: str = ""
    location_id: str = ""
    reference: str = ""
    detail: Mapping[str, Any] | None = None
    owner: str | None = None
    acknowledged_by: str | None = None


@dataclass(frozen=True)
class Snooze:
    """What is not to be shown until a day, or until so much money is at risk.

    Attributes:
        sequence: its place in the event log; of two of one subject the later one holds.
        subject: alert or proposal.
        subject_id: which.
        until_date: first business day on which it is shown again, None = no such day.
        until_money: it is shown again when more is at risk, None = whatever is.
        author: who.
        reason: why.
    """

    sequence: int
    subject: str
    subject_id: str
    until_date: date | None
    until_money: Decimal | None
    author: str
    reason: str


def put(connection: Connection, found: Sequence[Alert], author: str, now: int) -> None:
    """Add alerts, or bring those of their ids up to date; a state that changes is noted in their history.

    Owner and acknowledgement stay as people have left them, but for one that opens again.
    """
    known = _rows(connection, [alert.alert_id for alert in found])
    made, changed, noted = [], [], []
    for alert in found:
        before = known.get(alert.alert_id)
        row = {
            "state": alert.state,
            "money_ten_thousandths": money_of("money", alert.money),
            "detail": json.dumps(dict(alert.detail or {}), sort_keys=True),
            "changed_at": now,
            "cleared_at": now if alert.state == "cleared" else None,
        }
        if before is None:
            identity = {name: getattr(alert, name) for name in ("alert_id", "kind", "sku", "location_id", "reference")}
            made.append(row | identity | {"owner": alert.owner, "acknowledged_by": None, "opened_at": now})
        else:
            opens_again = before.state == "cleared" and alert.state != "cleared"
            kept = {"acknowledged_by": None if opens_again else before.acknowledged_by}
            changed.append(
                row | kept | {"opened_at": now if opens_again else before.opened_at, "named": alert.alert_id}
            )
        if before is None or before.state != alert.state:
            noted.append((alert.alert_id, alert.state, author, ""))
    if made:
        connection.execute(insert(alerts), made)
    if changed:
        connection.execute(update(alerts).where(alerts.c.alert_id == bindparam("named")), changed)
    _note(connection, noted, now)


def rows(
    connection: Connection, states: Collection[str] | None, location_ids: Collection[str] | None, after: str, limit: int
) -> list[Alert]:
    """Return alerts by id, of these states and locations alone; `after` is the last id seen."""
    query = select(alerts).where(alerts.c.alert_id > after)
    if states is not None:
        query = query.where(alerts.c.state.in_(sorted(states)))
    if location_ids is not None:
        query = query.where(alerts.c.location_id.in_(sorted(location_ids)))
    return [_alert(row) for row in connection.execute(query.order_by(alerts.c.alert_id).limit(limit))]


def steps(connection: Connection, alert_id: str) -> list[dict[str, Any]]:
    """Return the history of an alert: action, author, reason, recorded_at in microseconds."""
    found = connection.execute(
        select(alert_steps).where(alert_steps.c.alert_id == alert_id).order_by(alert_steps.c.step)
    )
    names = ("action", "author", "reason", "recorded_at")
    return [{name: getattr(row, name) for name in names} for row in found]


def unknown(connection: Connection, ids: Collection[str]) -> set[str]:
    """Return the ids that are of no alert."""
    return set(ids) - _rows(connection, sorted(set(ids))).keys()


def follow(connection: Connection, decided: Sequence[tuple[int, Row]], now: int) -> None:
    """Apply the actions and snoozes among events, in the transaction that appended them."""
    type_at, reason_at, payload_at = (COLUMNS.index(name) for name in ("event_type", "reason", "payload"))
    noted = []
    for sequence, row in decided:
        reason, fields = row[reason_at] or "", json.loads(row[payload_at])
        if row[type_at] == "alert_action":
            noted.append((fields["alert_id"], fields["action"], fields["author"], reason))
            change = {
                "acknowledge": {"acknowledged_by": fields["author"]},
                "assign": {"owner": fields.get("owner")},
                "comment": {},
            }[fields["action"]]
            is_it = alerts.c.alert_id == fields["alert_id"]
            connection.execute(update(alerts).where(is_it).values(change | {"changed_at": now}))
        elif row[type_at] == "snooze":
            until = fields.get("until_money")
            made = {name: fields.get(name) for name in ("subject", "subject_id", "until_date", "author")}
            made |= {"sequence": sequence, "reason": reason}
            made["until_money_ten_thousandths"] = None if until is None else int(Decimal(until) * 10_000)
            connection.execute(insert(snoozes).values(made))
    _note(connection, noted, now)


def snoozed(connection: Connection, subject: str, day: date) -> dict[str, Snooze]:
    """Return the snooze that holds for each alert or proposal on a business day, by its id."""
    held: dict[str, Snooze] = {}
    for row in connection.execute(select(snoozes).where(snoozes.c.subject == subject).order_by(snoozes.c.sequence)):
        until = None if row.until_date is None else date.fromisoformat(row.until_date)
        limit = row.until_money_ten_thousandths
        snooze = Snooze(
            *(row.sequence, row.subject, row.subject_id, until, None if limit is None else money(limit)),
            *(row.author, row.reason),
        )
        held[row.subject_id] = snooze
    return {named: snooze for named, snooze in held.items() if snooze.until_date is None or snooze.until_date > day}


def _rows(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _PARTS):
        query = select(alerts).where(alerts.c.alert_id.in_(ids[start : start + _PARTS]))
        found |= {row.alert_id: row for row in connection.execute(query)}
    return found


def _note(connection: Connection, noted: Sequence[tuple[str, str, str, str]], now: int) -> None:
    """Add to the history of alerts: id, action, author, reason."""
    last: dict[str, int] = {}
    ids = sorted({alert_id for alert_id, _, _, _ in noted})
    for start in range(0, len(ids), _PARTS):
        query = select(alert_steps.c.alert_id, func.max(alert_steps.c.step)).group_by(alert_steps.c.alert_id)
        found = connection.execute(query.where(alert_steps.c.alert_id.in_(ids[start : start + _PARTS])))
        last |= {row[0]: row[1] for row in found}
    made = []
    for alert_id, action, author, reason in noted:
        last[alert_id] = last.get(alert_id, 0) + 1
        named = {"alert_id": alert_id, "step": last[alert_id], "action": action}
        made.append(named | {"author": author, "reason": reason, "recorded_at": now})
    if made:
        connection.execute(insert(alert_steps), made)


def _alert(row: Any) -> Alert:
    return Alert(
        *(row.alert_id, row.kind, row.state, money(row.money_ten_thousandths), row.sku, row.location_id),
        *(row.reference, json.loads(row.detail), row.owner, row.acknowledged_by),
    )
