"""How the files of a source write numbers and times, and whether each is a full list, as people said or a file shows.

Belongs here: the file of answers, and telling a decimal comma from a thousands separator. Does not: reading values
(parsing).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from orchestration.ingest.contract import Column, Table, table_named
from orchestration.ingest.errors import ContractError

Decimal = Literal["point", "comma"]
DECIMALS: tuple[Decimal, ...] = ("point", "comma")
Delivery = Literal["full", "changes"]
DELIVERIES: tuple[Delivery, ...] = ("full", "changes")


class ReadAs(Protocol):
    """How a file was read."""

    @property
    def decimal(self) -> str:
        """Sign of the decimals; empty where it did not matter."""

    @property
    def time_zone(self) -> str:
        """Zone of times without an offset; empty = UTC."""


@dataclass(frozen=True)
class Format:
    """How files write numbers and times, and what they bring.

    Attributes:
        table: raw table.
        files: pattern of file names within the folder of the table, as in `pos_*.csv`.
        decimal: sign of the decimals, point or comma; the other one then separates thousands. None = not said.
        time_zone: IANA zone of times without an offset; None = UTC.
        said_by: who said so.
        delivery: full = each file is the full list of what files of this pattern bring; changes = it adds and corrects,
            and nothing ends by being missing. None = as the contract has it for the table.
        accepts: codes, parted by spaces, of rows whose end a person has confirmed, where more end than usual; None =
            none.
    """

    table: str
    files: str = "*"
    decimal: Decimal | None = None
    time_zone: str | None = None
    said_by: str = ""
    delivery: Delivery | None = None
    accepts: str | None = None

    @property
    def accepted(self) -> tuple[str, ...]:
        """Codes of rows whose end a person has confirmed."""
        return tuple((self.accepts or "").split())


def load_formats(path: Path) -> tuple[Format, ...]:
    """Read the answers of a home; no file means none.

    Raises:
        ContractError: the file cannot be read, or names a table, sign or zone that does not exist.
    """
    if not path.exists():
        return ()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return tuple(_read_format(declared, path) for declared in document.get("formats") or [])
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise ContractError(
            f"{path} is no list of formats ({error}): `inventorybot sources format` writes it"
        ) from error


def _read_format(declared: dict[str, Any], path: Path) -> Format:
    found = Format(**declared)
    table = table_named(found.table)
    check_delivery(table, found.delivery)
    if found.decimal not in (None, *DECIMALS):
        raise ContractError(f"{path.name}: decimal {found.decimal!r} is unknown; write {' or '.join(DECIMALS)}")
    if found.time_zone is not None:
        check_zone(found.time_zone)
    return found


def check_delivery(table: Table, delivery: str | None) -> None:
    """Raise where the rows of a table cannot end by being missing from a list.

    Raises:
        ContractError: the message names the table and what can be declared.
    """
    if delivery not in (None, *DELIVERIES):
        raise ContractError(f"delivery {delivery!r} is unknown; write {' or '.join(DELIVERIES)}")
    if delivery == "full" and table.ends is None:
        kind = "always is a full list" if table.arrival == "snapshot" else "has no rows that end"
        raise ContractError(f"{table.name} {kind}: nothing is to be declared for it")


def check_zone(name: str) -> None:
    """Raise where there is no time zone of that name.

    Raises:
        ContractError: the message shows how zones are written.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ContractError(f"there is no time zone {name!r}; write an IANA name, as in Europe/Berlin") from error


def save_format(path: Path, answer: Format) -> tuple[Format, ...]:
    """Add an answer to those of a home, in place of one for the same files; what it leaves open stays as it was said.

    A later answer counts before earlier ones. So an answer for the same files keeps its place where it only accepts;
    else it comes last, and what it leaves open stays where it was said.

    Returns:
        All answers, the new one last.
    """
    before = load_formats(path)
    kept = []
    last: Format | None = answer
    for place, known in enumerate(before):
        if (known.table, known.files) != (answer.table, answer.files):
            kept.append(known)
            continue
        codes = " ".join(dict.fromkeys((*known.accepted, *answer.accepted))) or None
        merged = Format(
            answer.table,
            answer.files,
            answer.decimal or known.decimal,
            answer.time_zone or known.time_zone,
            answer.said_by,
            answer.delivery or known.delivery,
            codes,
        )
        says = (answer.decimal, answer.time_zone, answer.delivery)
        is_last = all(later.table != answer.table for later in before[place + 1 :])
        if is_last or not any(says):
            kept.append(merged)
            last = None
        else:
            rest = replace(
                known,
                decimal=None if answer.decimal else known.decimal,
                time_zone=None if answer.time_zone else known.time_zone,
                delivery=None if answer.delivery else known.delivery,
            )
            kept += [rest] if any((rest.decimal, rest.time_zone, rest.delivery, rest.accepts)) else []
    kept += [last] if last is not None else []
    beside = path.with_name(f"{path.name}.tmp")
    text = yaml.safe_dump({"formats": [{k: v for k, v in asdict(one).items() if v is not None} for one in kept]})
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return tuple(kept)


def format_of(formats: Sequence[Format], table: str, name: str) -> Format:
    """Return what is known of a file: the latest answer for its name that says something of it."""
    meant = [one for one in reversed(formats) if one.table == table and fnmatchcase(name, one.files)]
    return Format(
        table,
        name,
        next((one.decimal for one in meant if one.decimal), None),
        next((one.time_zone for one in meant if one.time_zone), None),
    )


def delivery_of(formats: Sequence[Format], table: str, name: str) -> Format:
    """Return the latest answer about what a file brings, with its pattern; one that says nothing where there is none.

    `accepts` has the codes of every answer for the name.
    """
    meant = [one for one in reversed(formats) if one.table == table and fnmatchcase(name, one.files)]
    said = next((one for one in meant if one.delivery), Format(table, name))
    return replace(said, accepts=" ".join(code for one in meant for code in one.accepted) or None)


def standard_text(column: Column, text: str, read_as: ReadAs) -> str:
    """Return a text of a file as one in which the point is the decimal sign and instants have an offset.

    Args:
        column: column of the contract.
        text: as it stands in the file.
        read_as: how the file was read.
    """
    if column.data_type.startswith("decimal") and read_as.decimal:
        thousands, sign = (".", ",") if read_as.decimal == "comma" else (",", ".")
        return text.replace(thousands, "").replace(sign, ".")
    if column.data_type == "timestamp with time zone" and read_as.time_zone:
        try:
            instant = datetime.fromisoformat(text.strip())
        except ValueError:
            return text
        return text if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(read_as.time_zone)).isoformat()
    return text


_POINT, _COMMA = r"\.", ","
_CLEAR = (
    r"^\s*[+-]?(\d{{1,3}}({other}\d{{3}})+{sign}\d+|0*{sign}\d+|\d{{4,}}{sign}\d+|\d+{sign}(\d{{1,2}}|\d{{4,}})"
    r"|\d{{1,3}}({other}\d{{3}}){{2,}})\s*$"
)
CLEARLY_POINT = _CLEAR.format(sign=_POINT, other=_COMMA)
"""Numbers that only a decimal point explains: 1,234.5 and 0.125 and 1.5 and 1,234,567."""

CLEARLY_COMMA = _CLEAR.format(sign=_COMMA, other=_POINT)
"""Numbers that only a decimal comma explains: 1.234,5 and 0,125 and 1,5 and 1.234.567."""

AMBIGUOUS = r"^\s*[+-]?[1-9]\d{0,2}[.,]\d{3}\s*$"
"""Numbers such as 1.234 and 1,234: one and a bit, or more than a thousand."""
