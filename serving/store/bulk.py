"""The quick way for a batch of sound movements: column by column on distinct values.

Belongs here: recognising a batch without anything out of the ordinary. Does not: rules of its own; what it accepts is
what `events.typed_row` accepts, and a test holds both to the same rows.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from serving.store.events import DAY, IMPLAUSIBLE_THOUSANDTHS, INCOMING, MOVEMENT_FIELDS, MOVEMENT_TYPES, OUTGOING, Row
from serving.store.units import (
    Refused,
    identifier_of,
    instant_of,
    instants_of,
    money_of,
    optional_identifier_of,
    optional_text_of,
    quantity_of,
    source_of,
)


def typed_movements(events: Sequence[Mapping[str, Any]]) -> list[Row] | None:
    """Return a batch of sound movements as rows, several times faster than `typed_row` one by one.

    Works column by column on distinct values. Gives up with None at the first thing out of the ordinary; `typed_row`
    then finds which event it is and why.
    """
    if set(map(type, events)) != {dict}:
        return None
    present = frozenset().union(*events)
    if not present <= MOVEMENT_FIELDS:
        return None
    nothing = [None] * len(events)
    given: dict[str, list[Any]] = {
        name: [event.get(name) for event in events] if name in present else nothing for name in MOVEMENT_FIELDS
    }
    # Equal values of different types would share one conversion; so each column is held to types that may.
    if not all(set(map(type, given[name])) <= types for name, types in _ORDINARY_TYPES.items()):
        return None
    revisions = [0 if revision is None else revision for revision in given["revision"]]
    lines, kinds, stated = given["line"], given["movement_type"], given["event_type"]
    if not (
        0 <= min(lines) <= max(lines) < 2**31
        and 0 <= min(revisions) <= max(revisions) < 2**31
        and set(kinds) <= MOVEMENT_TYPES
        and set(stated) <= {None, "movement"}
    ):
        return None
    try:
        typed = {
            name: nothing if given[name] is nothing else _converted(name, given[name], read)
            for name, read in _READERS.items()
        }
    except (Refused, TypeError):
        # A signalling NaN is the one value of these types that cannot be hashed.
        return None
    recorded_ats = [
        occurred if recorded is None else recorded
        for occurred, recorded in zip(typed["occurred_at"], typed["recorded_at"], strict=True)
    ]
    quantities = typed["quantity_units"]
    signs = {
        (kind, (units > 0) - (units < 0), revision > 0)
        for kind, units, revision in zip(kinds, quantities, revisions, strict=True)
    }
    if (
        not signs <= _SOUND_SIGNS
        or max(map(abs, quantities)) > IMPLAUSIBLE_THOUSANDTHS
        or any(recorded < occurred - DAY for recorded, occurred in zip(recorded_ats, typed["occurred_at"], strict=True))
    ):
        return None
    named = zip(typed["event_id"], typed["source"], typed["document"], lines, revisions, strict=True)
    return list(
        zip(
            [
                f"{source}:{document}:{line}:{revision}" if event_id is None else event_id
                for event_id, source, document, line, revision in named
            ],
            ["count" if kind == "count" else "movement" for kind in kinds],
            typed["source"],
            typed["document"],
            lines,
            revisions,
            typed["occurred_at"],
            recorded_ats,
            typed["sku"],
            typed["location_id"],
            kinds,
            quantities,
            typed["unit_price"],
            typed["lot_id"],
            typed["reference"],
            typed["reason"],
            nothing,
            typed["author"],
            typed["device"],
            strict=True,
        )
    )


def _converted(name: str, values: list[Any], read: Callable[[str, Any], Any]) -> list[Any]:
    # Instants seldom repeat, and hashing an aware datetime costs more than converting it.
    if type(values[0]) is datetime:
        return instants_of(values) or [read(name, value) for value in values]
    known = _KNOWN.get(name)
    if known is None:
        by_value = {value: read(name, value) for value in set(values)}
        return [by_value[value] for value in values]
    return [known[value] for value in values]


class _Known(dict[Any, Any]):
    """Values of a column that come in batch after batch, with what they are read as."""

    def __init__(self, name: str, read: Callable[[str, Any], Any]) -> None:
        super().__init__()
        self._name = name
        self._read = read

    def __missing__(self, value: Any) -> Any:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[value] = read = self._read(self._name, value)
        return read


def _unless_null(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def read_optional(name: str, value: Any) -> Any:
        return None if value is None else read(name, value)

    return read_optional


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "event_id": _unless_null(identifier_of),
    "source": source_of,
    "document": identifier_of,
    "occurred_at": instant_of,
    "recorded_at": _unless_null(instant_of),
    "sku": identifier_of,
    "location_id": identifier_of,
    "quantity_units": quantity_of,
    "unit_price": _unless_null(money_of),
    "lot_id": optional_identifier_of,
    "reference": optional_identifier_of,
    "reason": optional_text_of,
    "author": optional_text_of,
    "device": optional_text_of,
}
_MOST_KNOWN = 16_384
_KNOWN = {
    name: _Known(name, _READERS[name]) for name in ("source", "sku", "location_id", "quantity_units", "unit_price")
}
_NULL = type(None)
_SOUND_SIGNS = frozenset(
    (kind, sign, is_revised)
    for kind in MOVEMENT_TYPES
    for sign in (-1, 0, 1)
    for is_revised in (False, True)
    if not (
        (kind == "count" and sign < 0)
        or (kind in OUTGOING and sign > 0)
        or (kind in INCOMING and sign < 0)
        or (kind != "count" and sign == 0 and not is_revised)
    )
)
_OPTIONAL_TEXTS = ("event_type", "event_id", "lot_id", "reference", "reason", "author", "device")
_ORDINARY_TYPES: Mapping[str, frozenset[type]] = {
    **{name: frozenset({str}) for name in ("source", "document", "sku", "location_id", "movement_type")},
    **{name: frozenset({str, _NULL}) for name in _OPTIONAL_TEXTS},
    "line": frozenset({int}),
    "revision": frozenset({int, _NULL}),
    "occurred_at": frozenset({datetime, str}),
    "recorded_at": frozenset({datetime, str, _NULL}),
    "quantity_units": frozenset({int, str, Decimal}),
    "unit_price": frozenset({int, str, Decimal, _NULL}),
}
