"""Turn what a caller hands in into typed rows of the event log, or say why it cannot be one.

Belongs here: event types, their fields and the rules of a movement. Does not: the conversion of single values
(units.py), the quick way for whole batches (bulk.py). Knows no database. The rules are those of
great_expectations/raw/stock_movements.json, under the same names, so that live stock accepts what the warehouse
accepts; a test holds both to one verdict.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from serving.store.units import (
    Refused,
    date_of,
    identifier_of,
    instant_of,
    money,
    money_of,
    optional_identifier_of,
    optional_text_of,
    quantity,
    quantity_of,
    source_of,
    text_of,
)

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
OUTGOING = frozenset({"sale", "write_off", "transfer_out"})
INCOMING = frozenset({"return", "cancellation", "receipt", "transfer_in"})
MOVEMENT_EVENTS = ("movement", "count")
"""Event types that say something of stock; the others are decisions."""
EVENT_TYPES = frozenset(
    {
        *("movement", "count", "restock_request", "policy_override", "approval"),
        *("forecast_override", "alert_action", "snooze", "manual_order"),
    }
)

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
    "author",
    "device",
)
CONTENT = tuple(
    COLUMNS.index(name)
    for name in COLUMNS
    if name not in {"event_id", "source", "document", "line", "revision", "recorded_at", "author", "device"}
)
"""Positions of the columns that "same content" speaks of: what happened, not who retold it when."""

Row = tuple[Any, ...]
"""One event in the order of `COLUMNS`."""

MOVEMENT_FIELDS = frozenset(
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
        "author",
        "device",
    }
)
IMPLAUSIBLE_THOUSANDTHS = 1_000_000_000_000
MOST_PERCENT = 10_000
"""A need that may grow a hundredfold may grow as it likes; more is a slip of the pen."""
DAY = 86_400_000_000


@dataclass(frozen=True)
class Field:
    """How one field of a decision event is read.

    Attributes:
        read: conversion that raises `Refused`.
        is_required: whether a missing or null value is refused.
    """

    read: Callable[[str, Any], Any]
    is_required: bool = True


def typed_row(event: Mapping[str, Any], channel: str) -> Row:
    """Return the event as a row of the log.

    Args:
        event: fields of a movement (the contract columns of raw/stock_movements, and optionally `event_type` and
            `event_id`) or of a decision (`event_type`, `event_id`, `occurred_at` and the fields of its type).
            Quantities and money are int, Decimal or text; instants are datetime or ISO 8601 text, UTC where no
            offset is given.
        channel: the way it came in; it is the `source` of a decision.

    Returns:
        Values in the order of `COLUMNS`.

    Raises:
        Refused: with the rule and a reason that names field and value.
    """
    if not isinstance(event, Mapping):
        raise Refused("not_an_object", f"{_shown(event)} is not an object of fields and values")
    event_type = event.get("event_type")
    if event_type is None:
        event_type = "movement"
    if event_type in ("movement", "count"):
        return _movement_row(event, event_type)
    decision = _DECISIONS.get(event_type) if isinstance(event_type, str) else None
    if decision is None:
        raise Refused("event_type", f"event_type {event_type!r} is not one of {', '.join(sorted(EVENT_TYPES))}")
    return _decision_row(event, event_type, decision, channel)


def _movement_row(event: Mapping[str, Any], event_type: str) -> Row:
    if not event.keys() <= MOVEMENT_FIELDS:
        raise Refused("unknown_field", f"unknown field {_first_unknown(event, MOVEMENT_FIELDS)!r} in a movement")
    get = event.get
    source = source_of("source", get("source"))
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
        raise Refused("unknown_movement_type", f"movement_type {movement_type!r} is not one of {known}")
    if movement_type == "count":
        event_type = "count"
    elif event_type == "count":
        raise Refused("movement_type_type", f"a count event has movement_type {movement_type!r} instead of 'count'")
    thousandths = quantity_of("quantity_units", get("quantity_units"))
    _check_quantity(movement_type, thousandths, revision)
    if recorded_at < occurred_at - DAY:
        raise Refused(
            "recorded_before_it_occurred",
            f"recorded_at {recorded} is more than a day before occurred_at {get('occurred_at')}",
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
        optional_text_of("author", get("author")),
        optional_text_of("device", get("device")),
    )


def _check_quantity(movement_type: str, thousandths: int, revision: int) -> None:
    units = quantity(thousandths)
    if movement_type == "count":
        if thousandths < 0:
            raise Refused("count_negative", f"a count of {units} units: counted units cannot be negative")
    elif movement_type in OUTGOING and thousandths > 0:
        raise Refused("outgoing_not_negative", f"a {movement_type} of {units} units: it takes stock, so below zero")
    elif movement_type in INCOMING and thousandths < 0:
        raise Refused("incoming_not_positive", f"a {movement_type} of {units} units: it adds stock, so above zero")
    elif thousandths == 0 and revision == 0:
        raise Refused(
            "quantity_zero", f"a {movement_type} of nothing; only a count or a withdrawing revision may be zero"
        )
    if abs(thousandths) > IMPLAUSIBLE_THOUSANDTHS:
        raise Refused("quantity_implausible", f"quantity_units {units} is more than a billion units")


def _decision_row(event: Mapping[str, Any], event_type: str, fields: Mapping[str, Field], channel: str) -> Row:
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
    _check_together(event_type, values)
    sku, location_id, reason = (values.pop(name, None) for name in ("sku", "location_id", "reason"))
    return (
        event_id,
        event_type,
        channel,
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
        values.get("author"),
        optional_text_of("device", event.get("device")),
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
        raise Refused("valid_to", f"valid_to {values['valid_to']} is before valid_from {values['valid_from']}")


def _check_together(event_type: str, values: Mapping[str, Any]) -> None:
    """Refuse values of a decision that do not go together."""
    if event_type == "approval" and "order_units" in values and values["decision"] != "approved":
        raise Refused("order_units", f"order_units {values['order_units']} go with an approval, not with a rejection")
    if event_type == "forecast_override":
        wanted = {"category": {"category"}, "item": {"sku", "location_id"}}[values["scope"]]
        given = values.keys() & {"category", "sku", "location_id"}
        if given != wanted:
            named = ", ".join(sorted(given)) or "nothing"
            raise Refused(
                "scope",
                f"a forecast override of scope {values['scope']!r} names {named}; it must name "
                f"{', '.join(sorted(wanted))}",
            )
        if values["valid_to"] < values["valid_from"]:
            raise Refused("valid_to", f"valid_to {values['valid_to']} is before valid_from {values['valid_from']}")
    if event_type == "alert_action" and (values["action"] == "assign") != ("owner" in values):
        raise Refused("owner", f"an alert is assigned to an owner; action {values['action']!r} does not go with that")
    if event_type == "snooze" and not values.keys() & {"until_date", "until_money"}:
        raise Refused("until_missing", "a snooze ends: until_date or until_money is missing")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _first_unknown(event: Mapping[str, Any], known: frozenset[str] | set[str]) -> str:
    return str(min(str(name) for name in event.keys() - known))


def _number_of(name: str, value: Any) -> int:
    if type(value) is not int:
        if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
            value = int(value) if abs(value) < 2**31 else 2**31
        elif value is None:
            raise Refused(f"{name}_missing", f"{name} is missing")
        else:
            raise Refused(f"{name}_type", f"{name} {value!r} is not a whole number")
    if not 0 <= value < 2**31:
        raise Refused(f"{name}_negative" if value < 0 else f"{name}_type", f"{name} {value} is outside 0 … {2**31 - 1}")
    return int(value)


def _above_zero_text(name: str, value: Any) -> str:
    thousandths = quantity_of(name, value)
    if thousandths <= 0:
        raise Refused(f"{name}_type", f"{name} {value} is not above zero")
    return str(quantity(thousandths))


def _ordered_text(name: str, value: Any) -> str:
    text = _above_zero_text(name, value)
    if Decimal(text) * 1000 > IMPLAUSIBLE_THOUSANDTHS:
        raise Refused("quantity_implausible", f"{name} {text} is more than a billion units")
    return text


def _percent_text(name: str, value: Any) -> str:
    text = _above_zero_text(name, value)
    if Decimal(text) > MOST_PERCENT:
        raise Refused(f"{name}_type", f"{name} {text} is more than {MOST_PERCENT}; give a day, until_date, instead")
    return text


def _not_below_zero_text(name: str, value: Any) -> str:
    thousandths = quantity_of(name, value)
    if thousandths < 0:
        raise Refused(f"{name}_type", f"{name} {value} is below zero")
    return str(quantity(thousandths))


def _money_text(name: str, value: Any) -> str:
    return str(money(money_of(name, value)))


def _setting_value(name: str, value: Any) -> str:
    if isinstance(value, float):
        raise Refused(f"{name}_type", f"{name} {value!r} is a float; give an integer, a Decimal or text")
    return text_of(name, str(value))


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if value not in allowed:
            raise Refused(f"{name}_type", f"{name} {value!r} is not one of {', '.join(allowed)}")
        return str(value)

    return read


_ENVELOPE = frozenset({"event_type", "event_id", "occurred_at", "recorded_at", "device"})
_DECISIONS: Mapping[str, Mapping[str, Field]] = {
    "restock_request": {
        "sku": Field(identifier_of),
        "location_id": Field(identifier_of),
        "requested_units": Field(_ordered_text),
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
        "until_grows_percent": Field(_percent_text, is_required=False),
        "order_units": Field(_ordered_text, is_required=False),
        "reason": Field(text_of, is_required=False),
    },
    "forecast_override": {
        "scope": Field(_one_of("category", "item")),
        "category": Field(text_of, is_required=False),
        "sku": Field(identifier_of, is_required=False),
        "location_id": Field(identifier_of, is_required=False),
        # `scale` multiplies the forecast of each day by `value`, `set` replaces it.
        "method": Field(_one_of("scale", "set")),
        "value": Field(_not_below_zero_text),
        "valid_from": Field(date_of),
        "valid_to": Field(date_of),
        "author": Field(text_of),
        "reason": Field(text_of),
    },
    "alert_action": {
        "alert_id": Field(text_of),
        "action": Field(_one_of("acknowledge", "assign", "comment")),
        "owner": Field(text_of, is_required=False),
        "author": Field(text_of),
        "reason": Field(text_of, is_required=False),
    },
    "snooze": {
        "subject": Field(_one_of("alert", "proposal")),
        "subject_id": Field(text_of),
        "until_date": Field(date_of, is_required=False),
        "until_money": Field(_money_text, is_required=False),
        "author": Field(text_of),
        "reason": Field(text_of, is_required=False),
    },
    "manual_order": {
        "sku": Field(identifier_of),
        "location_id": Field(identifier_of),
        "supplier_id": Field(identifier_of),
        "order_units": Field(_ordered_text),
        "expected_date": Field(date_of, is_required=False),
        "author": Field(text_of),
        "reason": Field(text_of),
    },
}
