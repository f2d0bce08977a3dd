"""The tables an outside system pulls, a page at a time, bound to one generation.

Here: which tables, which filters, the order of rows, the cursor. Not here: HTTP (api/app.py), files (generations.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from serving.published.generations import Generation, GenerationRemovedError, Generations, NothingPublishedError


class CursorError(ValueError):
    """A cursor that this endpoint did not make, or made for another question."""


@dataclass(frozen=True)
class Table:
    """One table of the endpoint.

    Attributes:
        relation: schema and table in the generation.
        key: columns that identify a row; rows come in their order.
        description: grain, for the reference page.
    """

    relation: str
    key: tuple[str, ...]
    description: str


TABLES = {
    "stock": Table(
        "marts.fct_stock_position",
        ("sku", "location_id"),
        "Stock on hand and on order at each location. One row per sku and location.",
    ),
    "forecasts": Table(
        "reporting.fct_demand_forecasts",
        ("sku", "location_id", "day"),
        "Forecast demand of each coming day: mean and quantiles. One row per sku, location and day.",
    ),
    "recommendations": Table(
        "reporting.restock_recommendations",
        ("sku", "location_id", "supplier_id"),
        "What to order, from whom, by when and why. One row per sku, location and supplier.",
    ),
    "transfers": Table(
        "reporting.stock_transfers",
        ("sku", "from_location_id", "to_location_id", "state", "proposal_id"),
        "What to move between locations, from where, by when and why. One row per proposal.",
    ),
    "anomalies": Table(
        "reporting.fct_stock_anomalies",
        ("sku", "location_id", "day"),
        "Days on which the stock record or the demand looks wrong. One row per sku, location and day.",
    ),
}

_CONDITIONS = {
    "sku": "sku in (select unnest(?::varchar[]))",
    "location_id": "location_id in (select unnest(?::varchar[]))",
    "supplier_id": "supplier_id in (select unnest(?::varchar[]))",
    "from_location_id": "from_location_id in (select unnest(?::varchar[]))",
    "to_location_id": "to_location_id in (select unnest(?::varchar[]))",
    "state": "state in (select unnest(?::varchar[]))",
    "status": "status in (select unnest(?::varchar[]))",
    "from_day": "day >= ?::date",
    "to_day": "day <= ?::date",
    "min_score": "anomaly_score >= ?::double",
}

# Key columns as text that sorts like the column; an exception line may have no supplier, and what a past day would move
# has no id.
_KEY_TEXT = {
    "day": "day::varchar",
    "supplier_id": "coalesce(supplier_id, '')",
    "proposal_id": "coalesce(proposal_id, '')",
}


@dataclass(frozen=True)
class Page:
    """Rows of one generation.

    Attributes:
        generation: where they come from.
        as_of: business day of that generation, ISO date.
        knowledge: what a day that was looked back at was decided with; None = it was current.
        columns: names, in the order of the table.
        rows: values in the order of the key.
        next_cursor: where the next page begins; None after the last row.
    """

    generation: str
    as_of: str
    knowledge: str | None
    columns: list[str]
    rows: list[tuple[Any, ...]]
    next_cursor: str | None


def page(
    generations: Generations,
    name: str,
    filters: Mapping[str, Any],
    limit: int,
    cursor: str | None = None,
    *,
    as_of: date | None = None,
) -> Page:
    """Read one page.

    Args:
        generations: where to read.
        name: a key of `TABLES`.
        filters: sku, location_id, supplier_id, status, from_location_id, to_location_id, state: lists of text;
            from_day and to_day: dates, inclusive; min_score: number in [0, 1]. None or an empty list filters nothing.
        limit: most rows of the page, at least 1.
        cursor: `next_cursor` of the page before, with the same filters; None begins in the generation of `as_of`.
        as_of: business day whose generation is read; None = the current one.

    Returns:
        The page. Following its cursor gives every row of that generation once, also after a newer one was published.

    Raises:
        DayNotPublishedError: no generation is of that day.
        CursorError: the cursor is damaged or belongs to another table or other filters.
        GenerationRemovedError: its generation is no longer kept.
        NothingPublishedError: there is nothing to read.
    """
    wanted = {key: value for key, value in filters.items() if value not in (None, [])}
    question = _digest(name, wanted | ({} if as_of is None else {"as_of": as_of}))
    if cursor is not None:
        named, after = _decoded(cursor, question, len(TABLES[name].key))
        return _read(generations, generations.kept(named), name, wanted, limit, question, after)
    # Between finding the current generation and reading it, a publication may have removed it.
    for _ in range(3):
        try:
            generation = generations.current() if as_of is None else generations.of_day(as_of)
            return _read(generations, generation, name, wanted, limit, question, None)
        except GenerationRemovedError:
            continue
    raise NothingPublishedError("generations are removed before they can be read; raise INVENTORYBOT_GENERATIONS_KEPT")


def _read(
    generations: Generations,
    generation: Generation,
    name: str,
    wanted: Mapping[str, Any],
    limit: int,
    question: str,
    after: list[str] | None,
) -> Page:
    table, conditions, values = TABLES[name], [_CONDITIONS[key] for key in wanted], list(wanted.values())
    key = ", ".join(_KEY_TEXT.get(column, column) for column in table.key)
    if after is not None:
        # The first comparison lets DuckDB skip row groups; the second one decides.
        conditions += [f"{table.key[0]} >= ?", f"({key}) > ({', '.join('?' * len(after))})"]
        values += [after[0], *after]
    where = f"where {' and '.join(conditions)}" if conditions else ""
    with generations.cursor(generation) as connection:
        answer = connection.execute(
            f"select *, {key} from {table.relation} {where} order by {key} limit {limit + 1}", values
        )
        width = len(answer.description) - len(table.key)
        columns = [column[0] for column in answer.description[:width]]
        found = answer.fetchall()
    rows = [row[:width] for row in found[:limit]]
    more = None if len(found) <= limit else _encoded(generation.name, question, found[limit - 1][width:])
    return Page(generation.name, generation.as_of, generation.knowledge, columns, rows, more)


def _digest(name: str, wanted: Mapping[str, Any]) -> str:
    plain = {key: value.isoformat() if isinstance(value, date) else value for key, value in wanted.items()}
    return hashlib.sha256(json.dumps([name, plain], sort_keys=True).encode()).hexdigest()[:16]


def _encoded(generation: str, question: str, key: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([generation, question, *key]).encode()).decode().rstrip("=")


def _decoded(cursor: str, question: str, width: int) -> tuple[str, list[str]]:
    damaged = CursorError("the cursor is damaged; take next_cursor as it came, or ask again without cursor")
    try:
        parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise damaged from None
    if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(part, str) for part in parts):
        raise damaged
    generation, asked, *after = parts
    if asked != question:
        raise CursorError("the cursor belongs to another table or other filters; repeat the filters of its first page")
    if len(after) != width or any("\ud800" <= character <= "\udfff" for part in after for character in part):
        raise damaged
    return generation, after
