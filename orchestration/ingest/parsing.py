"""How text is read as the types of the contract, in SQL: exactly, or not at all.

Belongs here: one column at a time. Does not: rules about values (suites), what becomes of a row (validator).

The plain casts of DuckDB are too kind: 3.5 becomes the integer 4, 1.2345 loses its last digit as decimal(18,3), 0x1F is
31, 1_000 is 1000, epoch is a day. A value is accepted here when it is exactly what it says; what a binary float adds to
a decimal (0.30000000000000004) is not counted as a digit.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.home.sql_text import literal, quoted
from orchestration.ingest.contract import Column
from orchestration.ingest.formats import Decimal

INSTANT = "timestamp with time zone"
"""Type of the contract for instants."""

FIRST_DAY, END_DAY = "1900-01-01", "2100-01-01"
"""Days and instants outside [1900, 2100) are refused: they are a wrong year or a marker for something else."""

_BLANKS = "' ' || chr(9) || chr(10) || chr(13) || chr(160) || chr(8203) || chr(12288) || chr(65279)"
_NOISE = "1e-9"
_NOT_NUMBERS = "'nan', '+nan', '-nan', 'inf', '+inf', '-inf', 'infinity', '+infinity', '-infinity'"


@dataclass(frozen=True)
class Reading:
    """How one column of the contract is read from a relation.

    Attributes:
        column: column of the contract.
        source: SQL of its value in the relation; None where the relation does not have it.
        is_typed: whether the relation has it in the type of the contract already; otherwise `source` is text.
        decimal: sign of the decimals where somebody said so or the file shows it; the other one separates thousands.
        time_zone: zone of instants without an offset.
    """

    column: Column
    source: str | None
    is_typed: bool = False
    decimal: Decimal | None = None
    time_zone: str | None = None

    @property
    def can_fail(self) -> bool:
        """Whether a value may be there and still be unreadable."""
        return self.source is not None and self.column.data_type not in ("varchar", "boolean" if self.is_typed else "")

    @property
    def given(self) -> str:
        """Name of the value as it was given, trimmed."""
        return quoted(f"given·{self.column.name}")

    def given_sql(self) -> str:
        """Return SQL of the value as it was given, trimmed; blank is null."""
        if self.is_typed and self.column.data_type != "varchar":
            return f"{self.source} as {self.given}"
        text = self.source
        # Trimming a set of characters costs ten times the rest; most values plainly need none.
        clean = " and ".join(f"not suffix({text}, {sign})" for sign in ("' '", "chr(9)", "chr(10)", "chr(13)"))
        trimmed = f"nullif(nfc_normalize(trim({text}, {_BLANKS})), '')"
        return (
            f"case when {text} >= '!' and {clean} and strlen({text}) = length({text}) then {text} "
            f"else {trimmed} end as {self.given}"
        )

    def typed_sql(self) -> str:
        """Return SQL that reads the given value as its type; null where it cannot be read exactly."""
        name = quoted(self.column.name)
        if self.source is None:
            return f"null::{self.column.data_type} as {name}"
        return f"{self._value()} as {name}"

    def _value(self) -> str:
        text, kind = self.given, self.column.data_type
        if kind == "varchar":
            return text
        if kind == "boolean":
            return text if self.is_typed else f"try_cast(lower({text}) as boolean)"
        if kind == "date":
            return self._day(text)
        if kind == INSTANT:
            return self._instant(text)
        if self.is_typed:
            return text
        if kind == "integer":
            number = f"try_cast({text} as integer)"
            noise = f"abs(try_cast({text} as double) - {number}) <= {_NOISE}"
            return f"case when {noise} and not contains({text}, '_') then {number} end"
        text = self._with_decimal_point(text)
        # The cast of text gives up on 5.6e-17, and reads 9.9999999999999999999e-24 as 0.001.
        by_double = f"try_cast(try_cast({text} as double) as {kind})"
        number = f"case when contains(lower({text}), 'e') then {by_double} else try_cast({text} as {kind}) end"
        noise = f"abs(try_cast({text} as double) - ({number})::double) <= {_NOISE} + 1e-15 * abs(({number})::double)"
        return f"case when {noise} and not contains({text}, '_') then {number} end"

    def _with_decimal_point(self, text: str) -> str:
        if self.decimal is None:
            return text
        point, comma = (".", ",") if self.decimal == "point" else (",", ".")
        shape = f"^[+-]?[0-9]{{1,3}}([{comma}][0-9]{{3}})+([{point}][0-9]+)?$"
        grouped = f"case when regexp_matches({text}, '{shape}') then replace({text}, '{comma}', '') end"
        return f"replace(case when contains({text}, '{comma}') then {grouped} else {text} end, '{point}', '.')"

    def _day(self, text: str) -> str:
        day = text if self.is_typed else f"try_cast({text} as date)"
        limits = f"{day} >= date '{FIRST_DAY}' and {day} < date '{END_DAY}'"
        if self.is_typed:
            return f"case when {limits} then {day} end"
        whole = f"(length({text}) <= 10 or try_cast({text} as timestamp) = {day}::timestamp)"
        return f"case when {_starts_with_digit(text)} and {limits} and {whole} then {day} end"

    def _instant(self, text: str) -> str:
        if self.is_typed:
            return _within_limits(text)
        # Each is named thrice: what is written out more than once is computed once only where it is a plain cast.
        read = f"coalesce({_within_limits(self._instant_of(text))}, {_within_limits(self._instant_of(_iso(text)))})"
        return f"case when {_starts_with_digit(text)} and length({text}) > 10 then {read} end"

    def _instant_of(self, text: str) -> str:
        if self.time_zone is None:
            return f"try_cast({text} as timestamptz)"
        # Behind the day, only an offset or a zone has a letter or a sign.
        has_offset = f"regexp_matches(substr({text}, 12), '[A-Za-z+-]')"
        local = f"timezone({literal(self.time_zone)}, try_cast({text} as timestamp))"
        return f"case when {has_offset} then try_cast({text} as timestamptz) else {local} end"

    def is_unreadable(self) -> str:
        """Return SQL that is true where a value is given but cannot be read."""
        return f"{self.given} is not null and {quoted(self.column.name)} is null"

    def reason_sql(self) -> str:
        """Return SQL that says why the given value cannot be read."""
        text = f"{self.given}::varchar"
        start = f"{literal(self.column.name + ' is ')} || left({text}, 80) || "
        kind = self.column.data_type
        if kind == "boolean":
            return f"{start}': write true or false'"
        if kind == "date":
            return f"""{start}case
                when try_cast({text} as timestamp) is not null then ': a day has no time, and lies in 1900 to 2099'
                else ': not a day; write it as 2011-12-08' end"""
        if kind == INSTANT:
            return f"""{start}case
                when try_cast({text} as date) is not null and length({text}) <= 10
                then ': a day without a time does not say when; write 2011-12-08T09:30:00Z'
                when try_cast({text} as timestamptz) is not null then ': an instant lies in 1900 to 2099'
                else ': not an instant; write it as 2011-12-08T09:30:00Z or with an offset' end"""
        limit, fault = "2147483648", "not a whole number"
        if kind.startswith("decimal"):
            size, scale = kind.removeprefix("decimal(").removesuffix(")").split(",")
            limit, fault = f"1e{int(size) - int(scale)}", f"more than {scale} decimals"
        return f"""{start}case
            when lower({text}) in ({_NOT_NUMBERS}) then ': not a number'
            when contains({text}, ',') or contains({text}, '_') or contains({text}, '''')
            then ': a thousands separator or a decimal comma; write digits and a decimal point, or say once how the '
                || 'source writes numbers: inventorybot sources format'
            when try_cast({text} as double) is null then ': not a number'
            when abs(try_cast({text} as double)) >= {limit} then ': too large'
            else ': {fault}' end"""


_ISO = r"^(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d)"
_ISO_OFFSET = r" ?(Z|[+-]\d\d(?::?\d\d)?)?$"
_ISO_SECONDS = r":?(\d\d(?:[.]\d+)?)"


def _iso(text: str) -> str:
    """Return SQL of an instant of ISO 8601 as DuckDB reads it: with capital letters, separators and seconds."""
    upper = f"replace(upper({text}), ',', '.')"
    whole = f"regexp_replace({upper}, '{_ISO}{_ISO_OFFSET}', '\\1-\\2-\\3 \\4:\\5:00\\6')"
    return f"regexp_replace({whole}, '{_ISO}{_ISO_SECONDS}{_ISO_OFFSET}', '\\1-\\2-\\3 \\4:\\5:\\6\\7')"


def _within_limits(instant: str) -> str:
    limits = f"{instant} >= timestamptz '{FIRST_DAY}' and {instant} < timestamptz '{END_DAY}'"
    return f"case when {limits} then {instant} end"


def _starts_with_digit(text: str) -> str:
    return f"{text} >= '0' and {text} < ':'"


def text_of(value: Any) -> str | None:
    """Return a value as the text that a file would hold; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
