"""Policy overrides with inheritance: default < segment < item, each valid from one day to another.

Overrides are events; the table here follows from them. Who belongs to which segment is the caller's knowledge.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from serving.store.events import COLUMNS, Row
from serving.store.schema import policies

_RANK = {"default": 0, "segment": 1, "item": 2}


@dataclass(frozen=True)
class PolicyOverride:
    """One override, as its author wrote it.

    Attributes:
        sequence: its place in the event log; of two with the same scope the later one counts.
        scope: default, segment or item.
        segment: name of the segment, for scope segment.
        sku: stock keeping unit, for scope item.
        location_id: location, for scope item.
        setting: what it sets, as in `target_value`.
        value: text of the value; None withdraws what the same scope set before.
        valid_from: first day.
        valid_to: last day, None = until further notice.
        reason: why.
        author: who.
    """

    sequence: int
    scope: str
    segment: str | None
    sku: str | None
    location_id: str | None
    setting: str
    value: str | None
    valid_from: date
    valid_to: date | None
    reason: str
    author: str

    @property
    def target(self) -> tuple[str | None, ...]:
        """What it speaks of; two overrides of one target and setting compete, the later one wins."""
        return (self.scope, self.segment, self.sku, self.location_id)


@dataclass(frozen=True)
class EffectivePolicy:
    """The value that holds for one item on one day.

    Attributes:
        setting: what is set.
        value: its text.
        source: the override it comes from.
        contradicts: overrides of other segments of the item that ask for another value and lost by being older.
    """

    setting: str
    value: str
    source: PolicyOverride
    contradicts: tuple[PolicyOverride, ...] = ()


def follow(connection: Connection, decisions: Sequence[tuple[int, Row]]) -> None:
    """Add the overrides among events to the table, in the transaction that appended them."""
    names = ("event_type", "sku", "location_id", "reason", "payload")
    positions = [COLUMNS.index(name) for name in names]
    for sequence, row in decisions:
        event_type, sku, location_id, reason, payload = (row[position] for position in positions)
        if event_type == "policy_override":
            fields = json.loads(payload)
            connection.execute(
                insert(policies).values(
                    sequence=sequence,
                    scope=fields["scope"],
                    segment=fields.get("segment"),
                    sku=sku,
                    location_id=location_id,
                    setting=fields["setting"],
                    value=fields.get("value"),
                    valid_from=fields["valid_from"],
                    valid_to=fields.get("valid_to"),
                    reason=reason,
                    author=fields["author"],
                )
            )


def overrides(connection: Connection, day: date | None) -> list[PolicyOverride]:
    """Return the overrides that hold on a day, all of them where no day is given, in the order they were made.

    Of several with the same target and setting that are valid on the day only the latest holds; one without a value
    is left out, as it withdraws the others.
    """
    query = select(policies).order_by(policies.c.sequence)
    if day is None:
        return [_override(row) for row in connection.execute(query)]
    on_day = day.isoformat()
    query = query.where(
        policies.c.valid_from <= on_day, or_(policies.c.valid_to.is_(None), policies.c.valid_to >= on_day)
    )
    latest: dict[tuple[Any, ...], PolicyOverride] = {}
    for row in connection.execute(query):
        override = _override(row)
        latest[override.setting, *override.target] = override
    held = [override for override in latest.values() if override.value is not None]
    return sorted(held, key=lambda override: override.sequence)


def effective(
    held: Iterable[PolicyOverride], *, sku: str, location_id: str, segments: Collection[str]
) -> dict[str, EffectivePolicy]:
    """Return what holds for one item, by setting.

    Args:
        held: overrides that hold on the day, as `overrides` returns them.
        sku: stock keeping unit.
        location_id: location.
        segments: names of the segments the item belongs to.
    """
    by_setting: dict[str, list[PolicyOverride]] = {}
    for override in held:
        if (
            override.scope == "default"
            or (override.scope == "segment" and override.segment in segments)
            or (override.scope == "item" and (override.sku, override.location_id) == (sku, location_id))
        ):
            by_setting.setdefault(override.setting, []).append(override)
    result = {}
    for setting, candidates in by_setting.items():
        winner = max(candidates, key=lambda override: (_RANK[override.scope], override.sequence))
        result[setting] = EffectivePolicy(
            setting=setting,
            value=str(winner.value),
            source=winner,
            contradicts=tuple(
                other
                for other in candidates
                if winner.scope == other.scope == "segment" and other.value != winner.value
            ),
        )
    return result


def _override(row: Any) -> PolicyOverride:
    return PolicyOverride(
        sequence=row.sequence,
        scope=row.scope,
        segment=row.segment,
        sku=row.sku,
        location_id=row.location_id,
        setting=row.setting,
        value=row.value,
        valid_from=date.fromisoformat(row.valid_from),
        valid_to=None if row.valid_to is None else date.fromisoformat(row.valid_to),
        reason=row.reason,
        author=row.author,
    )
