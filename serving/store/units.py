"""Values as they come and as they are stored: text, identifiers, instants, quantities, money and days, exactly.

Belongs here: conversion in both directions, of one value at a time, and the refusal of what is none. Does not: which
fields an event has and what they mean together (events.py). Knows no database.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_INSTANT = -2_208_988_800_000_000  # 1900-01-01
_LAST_INSTANT = 4_102_444_800_000_000  # 2100-01-01
_EXACT = Context(prec=18, traps=[Inexact, InvalidOperation])
_THOUSANDTH = Decimal("0.001")
_TEN_THOUSANDTH = Decimal("0.0001")
_LONGEST_TEXT = 1_000
_NO_VALUES = frozenset(
    {"#N/A", "#NAME?", "#REF!", "#VALUE!", "N/A", "NULL", "NaN", "None", "\\N", "nan", "none", "null", "undefined"}
)


class Refused(Exception):
    """An event cannot be accepted; carries the rule it broke."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason


def instants_of(values: list[Any]) -> list[int] | None:
    """Return what `instant_of` makes of sound instants with an offset; None where one is not."""
    try:
        since = [value - _EPOCH for value in values]
    except TypeError:
        return None
    found = [(span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds for span in since]
    return found if min(found) >= _FIRST_INSTANT and max(found) < _LAST_INSTANT else None


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
        raise Refused("identifier_unusable", f"{name} {value!r} is a placeholder; leave it empty or write the value")
    return identifier


def source_of(name: str, value: Any) -> str:
    """Return the source of a movement: an identifier without the colon that separates the parts of a movement_id."""
    source = identifier_of(name, value)
    if ":" in source:
        # The colon separates the parts of a movement_id; within a source two identities could share one id.
        raise Refused("source_with_colon", f"{name} {source!r} contains a colon")
    return source


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
        raise Refused(f"{name}_type", f"{name} {value.isoformat()} is outside the years 1900 to 2099")
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
