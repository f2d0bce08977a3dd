"""Compare-and-swap for what a link or an alias cannot do: who may publish or promote, and what stands published.

A run claims a name and gets a fence number; a later claim makes earlier ones worthless. Advancing the name to a new
value succeeds only with the highest fence, so a run declared dead cannot publish when it wakes up.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from serving.store.errors import Fenced, StoreError
from serving.store.schema import claims, epochs
from serving.store.units import instant


@dataclass(frozen=True)
class Epoch:
    """One value a name has had.

    Attributes:
        name: as in `generation` or `champion/demand_forecast`.
        number: 1 for the first value, one more for each.
        value: as in a generation id or a model version.
        run_id: who set it.
        detail: what its setter wants to remember.
        recorded_at: when.
    """

    name: str
    number: int
    value: str
    run_id: str
    detail: Mapping[str, Any]
    recorded_at: datetime


def claim(connection: Connection, name: str, run_id: str, detail: Mapping[str, Any], now: int) -> int:
    """Return a fence number above every earlier one of the name."""
    highest: int | None = connection.execute(select(func.max(claims.c.fence)).where(claims.c.name == name)).scalar_one()
    fence = (highest or 0) + 1
    connection.execute(
        insert(claims).values(name=name, fence=fence, run_id=run_id, detail=_text(detail), recorded_at=now)
    )
    return int(fence)


def advance(connection: Connection, name: str, fence: int, value: str, detail: Mapping[str, Any], now: int) -> Epoch:
    """Give the name a new value; the same fence with the current value again changes nothing.

    Raises:
        Fenced: a later claim of the name exists.
        StoreError: nobody was given this fence.
    """
    latest = require_fence(connection, name, fence)
    current = connection.execute(
        select(epochs).where(epochs.c.name == name).order_by(epochs.c.number.desc()).limit(1)
    ).one_or_none()
    if current is not None and current.fence == fence and current.value == value:
        return _epoch(current)
    connection.execute(
        insert(epochs).values(
            name=name,
            number=1 if current is None else current.number + 1,
            fence=fence,
            value=value,
            run_id=latest.run_id,
            detail=_text(detail),
            recorded_at=now,
        )
    )
    return history(connection, name)[-1]


def require_fence(connection: Connection, name: str, fence: int) -> Any:
    """Return the latest claim of the name, which must be the holder of the fence.

    Raises:
        Fenced: a later claim of the name exists.
        StoreError: nobody was given this fence.
    """
    latest = connection.execute(
        select(claims).where(claims.c.name == name).order_by(claims.c.fence.desc()).limit(1)
    ).one_or_none()
    if latest is None or fence > latest.fence or fence < 1:
        raise StoreError(f"Fence {fence} of {name!r} was never issued; claim the name first.")
    if fence < latest.fence:
        raise Fenced(
            f"Run {latest.run_id!r} claimed {name!r} after this one (fence {latest.fence} over {fence}); "
            "this run may no longer set it. Start the run again if its result is needed."
        )
    return latest


def history(connection: Connection, name: str) -> list[Epoch]:
    """Return every value the name has had, oldest first."""
    found = connection.execute(select(epochs).where(epochs.c.name == name).order_by(epochs.c.number))
    return [_epoch(row) for row in found]


def current(connection: Connection, name: str) -> Epoch | None:
    """Return the value the name has, None before the first."""
    found = connection.execute(
        select(epochs).where(epochs.c.name == name).order_by(epochs.c.number.desc()).limit(1)
    ).one_or_none()
    return None if found is None else _epoch(found)


def _text(detail: Mapping[str, Any]) -> str:
    return json.dumps(dict(detail), sort_keys=True)


def _epoch(row: Any) -> Epoch:
    return Epoch(row.name, row.number, row.value, row.run_id, json.loads(row.detail), instant(row.recorded_at))
