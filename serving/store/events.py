"""Turn what a caller hands in into typed rows of the event log, or say why it cannot be one.

Belongs here: event types, their fields, the rules of a movement, and the exact conversion of instants, quantities and
money in both directions. Knows no database. The rules are those of great_expectations/raw/stock_movements.json, under
the same names, so that live stock accepts what the warehouse accepts; a test holds both to one verdict.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any

MOVEMENT_TYPES = frozenset(
    {
        "sale",
        "return",
        "cancellation",
        "receipt",
        "adjustment",
        "write_off",
        "transfer_in",
        "transfer_out",
        "count",
    }
)
_OUTGOING = frozenset({"sale", "write_off", "transfer_out"})
_INCOMING = frozenset({"return", "cancellation", "receipt", "transfer_in"})
EVENT_TYPES = frozenset({"movement", "count", "restock_request", "policy_override", "approval"})

COLUMNS = (
    "event_id",
    "event_type",
    "source",
    "document",
    "line",
    "revision",
    "occurred_at",
    "recorded_at",
    "sku",
    "location_id",
    "movement_type",
    "quantity_thousandths",
    "unit_price_ten_thousandths",
    "lot_id",
    "reference",
    "reason",
    "payload",
)
CONTENT = tuple(
    COLUMNS.index(name)
    for name in COLUMNS
    if name not in {"event_id", "source", "document", "line", "revision", "recorded_at"}
)
"""Positions of the columns that "same content" speaks of: what happened, not who retold it when."""

Row = tuple[Any, ...]
"""One event in the order of `COLUMNS`."""

_MOVEMENT_FIELDS = frozenset(
    {
        "event_type",
        "event_id",
        "source",
        "document",
        "line",
        "revision",
        "occurred_at",
        "recorded_at",
        "sku",
        "location_id",
        "movement_type",
        "quantity_units",
        "unit_price",
        "lot_id",
        "reference",
        "reason",
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_INSTANT = -2_208_988_800_000_000  # 1900-01-01
_LAST_INSTANT = 4_102_444_800_000_000  # 2100-01-01
_EXACT = Context(prec=18, traps=[Inexact, InvalidOperation])
_THOUSANDTH = Decimal("0.001")
_TEN_THOUSANDTH = Decimal("0.0001")
_LONGEST_TEXT = 1_000
_IMPLAUSIBLE_THOUSANDTHS = 1_000_000_000_000
_DAY = 86_400_000_000
_NO_VALUES = frozenset(
    {"#N/A", "#NAME?", "#REF!", "#VALUE!", "N/A", "NULL", "NaN", "None", "\\N", "nan", "none", "null", "undefined"}
)


class Refused(Exception):
    """An event cannot be accepted; carries the rule it broke."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason


@dataclass(frozen=True)
class Field:
    """How one field of a decision event is read.

    Attributes:
        read: conversion that raises `Refused`.
        is_required: whether a missing or null value is refused.
    """

    read: Callable[[str, Any], Any]
    is_required: bool = True


def typed_row(event: Mapping[str, Any], door: str) -> Row:
    """Return the event as a row of the log.

    Args:
        event: fields of a movement (the contract columns of raw/stock_movements, and optionally `event_type` and
            `event_id`) or of a decision (`event_type`, `event_id`, `occurred_at` and the fields of its type).
            Quantities and money are int, Decimal or text; instants are datetime or ISO 8601 text, UTC where no
            offset is given.
        door: the way it came in; it is the `source` of a decision.

    Returns:
        Values in the order of `COLUMNS`.

    Raises:
        Refused: with the rule and a reason that names field and value.
    """
    event_type = event.get("event_type")
    if event_type is None:
        event_type = "movement"
    if event_type in ("movement", "count"):
        return _movement_row(event, event_type)
    decision = _DECISIONS.get(event_type) if isinstance(event_type, str) else None
    if decision is None:
        raise Refused("event_type", f"event_type {event_type!r} is none of {', '.join(sorted(EVENT_TYPES))}")
    return _decision_row(event, event_type, decision, door)


def typed_movements(events: Sequence[Mapping[str, Any]]) -> list[Row] | None:
    """Return a batch of sound movements as rows, several times faster than `typed_row` one by one.

    Works column by column on distinct values. Gives up with None at the first thing out of the ordinary; `typed_row`
    then finds which event it is and why.
    """
    if set(map(type, events)) != {dict}:
        return None
    present = frozenset().union(*events)
    if not present <= _MOVEMENT_FIELDS:
        return None
    nothing = [None] * len(events)
    given: dict[str, list[Any]] = {
        name: [event.get(name) for event in events] if name in present else nothing for name in _MOVEMENT_FIELDS
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
        or max(map(abs, quantities)) > _IMPLAUSIBLE_THOUSANDTHS
        or any(
            recorded < occurred - _DAY for recorded, occurred in zip(recorded_ats, typed["occurred_at"], strict=True)
        )
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
            strict=True,
        )
    )


def _converted(name: str, values: list[Any], read: Callable[[str, Any], Any]) -> list[Any]:
    # Instants seldom repeat, and hashing an aware datetime costs more than converting it.
    if type(values[0]) is datetime:
        return _instants(values) or [read(name, value) for value in values]
    known = _KNOWN.get(name)
    if known is None:
        by_value = {value: read(name, value) for value in set(values)}
        return [by_value[value] for value in values]
    return [known[value] for value in values]


def _instants(values: list[Any]) -> list[int] | None:
    """Return what `instant_of` makes of sound instants with an offset; None where one is not."""
    try:
        since = [value - _EPOCH for value in values]
    except TypeError:
        return None
    found = [(span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds for span in since]
    return found if min(found) >= _FIRST_INSTANT and max(found) < _LAST_INSTANT else None


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


def _movement_row(event: Mapping[str, Any], event_type: str) -> Row:
    if not event.keys() <= _MOVEMENT_FIELDS:
        raise Refused("unknown_field", f"unknown field {_first_unknown(event, _MOVEMENT_FIELDS)!r} in a movement")
    get = event.get
    source = _source_of("source", get("source"))
    document = identifier_of("document", get("document"))
    line = _number_of("line", get("line"))
    revision = get("revision")
    revision = 0 if revision is None else _number_of("revision", revision)
    occurred_at = instant_of("occurred_at", get("occurred_at"))
    recorded = get("recorded_at")
    recorded_at = occurred_at if recorded is None else instant_of("recorded_at", recorded)
    movement_type = get("movement_type")
    if movement_type is None:
        raise Refused("movement_type_missing", "movement_type is missing")
    if not isinstance(movement_type, str) or movement_type not in MOVEMENT_TYPES:
        known = ", ".join(sorted(MOVEMENT_TYPES))
        raise Refused("unknown_movement_type", f"movement_type {movement_type!r} is none of {known}")
    if movement_type == "count":
        event_type = "count"
    elif event_type == "count":
        raise Refused("movement_type_type", f"a count event has movement_type {movement_type!r} instead of 'count'")
    thousandths = quantity_of("quantity_units", get("quantity_units"))
    _check_quantity(movement_type, thousandths, revision)
    if recorded_at < occurred_at - _DAY:
        raise Refused(
            "recorded_before_it_occurred",
            f"recorded_at {recorded} lies more than a day before occurred_at {get('occurred_at')}",
        )
    price = get("unit_price")
    event_id = get("event_id")
    return (
        f"{source}:{document}:{line}:{revision}" if event_id is None else identifier_of("event_id", event_id),
        event_type,
        source,
        document,
        line,
        revision,
        occurred_at,
        recorded_at,
        identifier_of("sku", get("sku")),
        identifier_of("location_id", get("location_id")),
        movement_type,
        thousandths,
        None if price is None else money_of("unit_price", price),
        optional_identifier_of("lot_id", get("lot_id")),
        optional_identifier_of("reference", get("reference")),
        optional_text_of("reason", get("reason")),
        None,
    )


def _check_quantity(movement_type: str, thousandths: int, revision: int) -> None:
    units = quantity(thousandths)
    if movement_type == "count":
        if thousandths < 0:
            raise Refused("count_negative", f"a count of {units} units: counted units cannot be negative")
    elif movement_type in _OUTGOING and thousandths > 0:
        raise Refused("outgoing_not_negative", f"a {movement_type} of {units} units: it takes stock, so below zero")
    elif movement_type in _INCOMING and thousandths < 0:
        raise Refused("incoming_not_positive", f"a {movement_type} of {units} units: it adds stock, so above zero")
    elif thousandths == 0 and revision == 0:
        raise Refused(
            "quantity_zero", f"a {movement_type} of nothing; only a count or a withdrawing revision may be zero"
        )
    if abs(thousandths) > _IMPLAUSIBLE_THOUSANDTHS:
        raise Refused("quantity_implausible", f"quantity_units {units} is more than a billion units")


def _decision_row(event: Mapping[str, Any], event_type: str, fields: Mapping[str, Field], door: str) -> Row:
    known = fields.keys() | _ENVELOPE
    if not event.keys() <= known:
        raise Refused("unknown_field", f"unknown field {_first_unknown(event, known)!r} in a {event_type}")
    event_id = identifier_of("event_id", event.get("event_id"))
    occurred_at = instant_of("occurred_at", event.get("occurred_at"))
    recorded = event.get("recorded_at")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        value = event.get(name)
        if value is None or value == "":
            if field.is_required:
                raise Refused(f"{name}_missing", f"{name} is missing in a {event_type}")
            continue
        values[name] = field.read(name, value)
    if event_type == "policy_override":
        _check_scope(values)
    sku, location_id, reason = (values.pop(name, None) for name in ("sku", "location_id", "reason"))
    return (
        event_id,
        event_type,
        door,
        None,
        None,
        None,
        occurred_at,
        occurred_at if recorded is None else instant_of("recorded_at", recorded),
        sku,
        location_id,
        None,
        None,
        None,
        None,
        None,
        reason,
        json.dumps(values, sort_keys=True, separators=(",", ":")),
    )


def _check_scope(values: Mapping[str, Any]) -> None:
    wanted = {"default": set(), "segment": {"segment"}, "item": {"sku", "location_id"}}[values["scope"]]
    given = values.keys() & {"segment", "sku", "location_id"}
    if given != wanted:
        raise Refused(
            "scope",
            f"a policy override of scope {values['scope']!r} names {', '.join(sorted(given)) or 'nothing'}; "
            f"it must name {', '.join(sorted(wanted)) or 'nothing'}",
        )
    if "valid_to" in values and values["valid_to"] < values["valid_from"]:
        raise Refused("valid_to", f"valid_to {values['valid_to']} lies before valid_from {values['valid_from']}")


def _first_unknown(event: Mapping[str, Any], known: frozenset[str] | set[str]) -> str:
    return str(min(str(name) for name in event.keys() - known))


def text_of(name: str, value: Any) -> str:
    """Return required text, trimmed; refuse empty, too long, or text that a database cannot hold."""
    text = optional_text_of(name, value)
    if text is None:
        raise Refused(f"{name}_missing", f"{name} is missing")
    return text


def optional_text_of(name: str, value: Any) -> str | None:
    """Return trimmed text, None for null and for nothing but blanks."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refused(f"{name}_type", f"{name} {value!r} is not text")
    text = value.strip()
    if len(text) > _LONGEST_TEXT:
        raise Refused("text_too_long", f"{name} has {len(text)} characters, at most {_LONGEST_TEXT} are allowed")
    # isprintable is a quick way to most texts; a no-break space is not printable, and allowed.
    if not text.isprintable() and any(c == "\0" or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Refused(f"{name}_type", f"{name} {value!r} contains a null character or half a surrogate pair")
    return text or None


def identifier_of(name: str, value: Any) -> str:
    """Return required text that names something; refuse control characters, and words that stand for no value."""
    identifier = optional_identifier_of(name, value)
    if identifier is None:
        raise Refused(f"{name}_missing", f"{name} is missing")
    return identifier


def optional_identifier_of(name: str, value: Any) -> str | None:
    """Return text that names something, None for null and for nothing but blanks."""
    identifier = optional_text_of(name, value)
    if identifier is None:
        return None
    if not identifier.isprintable() and any(ord(c) < 32 or ord(c) == 127 for c in identifier):
        raise Refused("identifier_unusable", f"{name} {value!r} contains a control character")
    if identifier in _NO_VALUES:
        raise Refused("identifier_unusable", f"{name} {value!r} is no value; leave it empty or write the value")
    return identifier


def _source_of(name: str, value: Any) -> str:
    source = identifier_of(name, value)
    if ":" in source:
        # The colon separates the parts of a movement_id; within a source two identities could share one id.
        raise Refused("source_with_colon", f"{name} {source!r} contains a colon")
    return source


def _number_of(name: str, value: Any) -> int:
    if type(value) is not int:
        if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
            value = int(value) if abs(value) < 2**31 else 2**31
        elif value is None:
            raise Refused(f"{name}_missing", f"{name} is missing")
        else:
            raise Refused(f"{name}_type", f"{name} {value!r} is not a whole number")
    if not 0 <= value < 2**31:
        raise Refused(
            f"{name}_negative" if value < 0 else f"{name}_type", f"{name} {value} lies outside 0 … {2**31 - 1}"
        )
    return int(value)


def instant_of(name: str, value: Any) -> int:
    """Return microseconds since 1970 of a datetime or of ISO 8601 text; UTC where no offset is given."""
    if type(value) is str:
        value = _parsed_instant(value)
    if not isinstance(value, datetime):
        if value is None or value == "":
            raise Refused(f"{name}_missing", f"{name} is missing")
        raise Refused(f"{name}_type", f"{name} {value!r} is not an instant; use ISO 8601, as in 2026-11-23T05:46:12Z")
    since = (value.replace(tzinfo=UTC) if value.tzinfo is None else value) - _EPOCH
    instant = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not _FIRST_INSTANT <= instant < _LAST_INSTANT:
        raise Refused(f"{name}_type", f"{name} {value.isoformat()} lies outside the years 1900 to 2099")
    return instant


@lru_cache(maxsize=4_096)
def _parsed_instant(value: str) -> datetime | str:
    # A bare date is no instant: it does not say when on that day.
    if len(value) <= 10:
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def instant(microseconds: int) -> datetime:
    """Return the UTC datetime of a stored instant."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds(moment: datetime) -> int:
    """Return the stored form of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def quantity_of(name: str, value: Any) -> int:
    """Return thousandths of a unit; refuse binary floats and anything that thousandths cannot hold exactly."""
    return _exact(name, value, _THOUSANDTH, 3)


def money_of(name: str, value: Any) -> int:
    """Return ten-thousandths of money, not negative; refuse binary floats and what is not exact."""
    amount = _exact(name, value, _TEN_THOUSANDTH, 4)
    if amount < 0:
        raise Refused(f"{name}_negative", f"{name} {value} is negative")
    return amount


def _exact(name: str, value: Any, step: Decimal, digits: int) -> int:
    if value is None or value == "":
        raise Refused(f"{name}_missing", f"{name} is missing")
    if type(value) is not int and not isinstance(value, str | Decimal):
        raise Refused(
            f"{name}_type", f"{name} {value!r} is a {type(value).__name__}; give an integer, a Decimal or text"
        )
    if isinstance(value, Decimal) and not value.is_finite():
        raise Refused(f"{name}_type", f"{name} {value!r} is not a number")
    return _scaled(name, value, step, digits)


@lru_cache(maxsize=8_192)
def _scaled(name: str, value: int | str | Decimal, step: Decimal, digits: int) -> int:
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Refused(f"{name}_type", f"{name} {value!r} is not a number")
    try:
        exact = number.quantize(step, context=_EXACT)
    except Inexact:
        raise Refused(f"{name}_type", f"{name} {value} has more than {digits} decimals") from None
    except InvalidOperation:
        raise Refused(f"{name}_type", f"{name} {value} has more than {18 - digits} digits before the point") from None
    return int(exact.scaleb(digits))


def quantity(thousandths: int) -> Decimal:
    """Return units of stored thousandths, always with three decimals."""
    return Decimal(thousandths).scaleb(-3)


def units_text(units: Decimal) -> str:
    """Return units without the decimals they do not need."""
    text = f"{units:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(ten_thousandths: int) -> Decimal:
    """Return money of stored ten-thousandths, always with four decimals."""
    return Decimal(ten_thousandths).scaleb(-4)


def date_of(name: str, value: Any) -> str:
    """Return ISO text of a date or of its text."""
    if isinstance(value, datetime):
        raise Refused(f"{name}_type", f"{name} {value!r} is an instant, not a day")
    if isinstance(value, str):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            raise Refused(f"{name}_type", f"{name} {value!r} is not a day; use ISO 8601, as in 2026-11-23") from None
    if not isinstance(value, date):
        raise Refused(f"{name}_type", f"{name} {value!r} is not a day; use ISO 8601, as in 2026-11-23")
    return value.isoformat()


def _above_zero_text(name: str, value: Any) -> str:
    thousandths = quantity_of(name, value)
    if thousandths <= 0:
        raise Refused(f"{name}_type", f"{name} {value} is not above zero")
    return str(quantity(thousandths))


def _setting_value(name: str, value: Any) -> str:
    if isinstance(value, float):
        raise Refused(f"{name}_type", f"{name} {value!r} is a float; give an integer, a Decimal or text")
    return text_of(name, str(value))


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if value not in allowed:
            raise Refused(f"{name}_type", f"{name} {value!r} is none of {', '.join(allowed)}")
        return str(value)

    return read


_ENVELOPE = frozenset({"event_type", "event_id", "occurred_at", "recorded_at"})
_DECISIONS: Mapping[str, Mapping[str, Field]] = {
    "restock_request": {
        "sku": Field(identifier_of),
        "location_id": Field(identifier_of),
        "requested_units": Field(_above_zero_text),
        "needed_by_date": Field(date_of, is_required=False),
        "author": Field(text_of),
        "reason": Field(text_of, is_required=False),
    },
    "policy_override": {
        "scope": Field(_one_of("default", "segment", "item")),
        "segment": Field(text_of, is_required=False),
        "sku": Field(identifier_of, is_required=False),
        "location_id": Field(identifier_of, is_required=False),
        "setting": Field(text_of),
        "value": Field(_setting_value, is_required=False),
        "valid_from": Field(date_of),
        "valid_to": Field(date_of, is_required=False),
        "author": Field(text_of),
        "reason": Field(text_of),
    },
    "approval": {
        "proposal_id": Field(text_of),
        "decision": Field(_one_of("approved", "rejected", "cancelled")),
        "author": Field(text_of),
        "until_date": Field(date_of, is_required=False),
        "until_grows_percent": Field(_above_zero_text, is_required=False),
        "reason": Field(text_of, is_required=False),
    },
}


def _unless_null(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def read_optional(name: str, value: Any) -> Any:
        return None if value is None else read(name, value)

    return read_optional


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "event_id": _unless_null(identifier_of),
    "source": _source_of,
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
        or (kind in _OUTGOING and sign > 0)
        or (kind in _INCOMING and sign < 0)
        or (kind != "count" and sign == 0 and not is_revised)
    )
)
_ORDINARY_TYPES: Mapping[str, frozenset[type]] = {
    **{name: frozenset({str}) for name in ("source", "document", "sku", "location_id", "movement_type")},
    **{name: frozenset({str, _NULL}) for name in ("event_type", "event_id", "lot_id", "reference", "reason")},
    "line": frozenset({int}),
    "revision": frozenset({int, _NULL}),
    "occurred_at": frozenset({datetime, str}),
    "recorded_at": frozenset({datetime, str, _NULL}),
    "quantity_units": frozenset({int, str, Decimal}),
    "unit_price": frozenset({int, str, Decimal, _NULL}),
}
