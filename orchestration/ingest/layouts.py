"""How the columns of a file meet those of the contract.

Belongs here: headers of CSV files, columns and types of Parquet files. Does not: the rows (csv_records, validator).
"""

import csv
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from orchestration.ingest.contract import Column, Table
from orchestration.ingest.csv_text import CsvText
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.files import LandingFile
from orchestration.ingest.inspection import Inspected, InspectedColumn, plain_name
from orchestration.ingest.names import shown

_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_HEADER = 1 << 16
_MOST_TITLES = 20
_SEPARATOR_LINE = re.compile(r"""\s*"?sep=(.)"?\s*""", re.IGNORECASE)
_WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_INSTANTS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")


@dataclass(frozen=True)
class Layout:
    """How the columns of a file meet those of the contract.

    Attributes:
        columns: names as the file has them, in order.
        sources: per contract column that is present, the name in the file.
        notices: columns that are not part of the contract.
        delimiter: of a CSV file; empty otherwise.
        header_line: line of a CSV file that holds its header; the first is 1.
        types: of a Parquet file, per contract column that is present the type that DuckDB reads.
    """

    columns: tuple[str, ...]
    sources: Mapping[str, str]
    notices: tuple[str, ...]
    delimiter: str = ""
    header_line: int = 1
    types: Mapping[str, str] = field(default_factory=dict)


def csv_layout(file: LandingFile, text: CsvText, table: Table) -> Layout:
    """Find the header of a CSV file, behind a line `sep=;` and titles of a report where there are such.

    The header is the first line that names every column that must be there; the delimiter is the one under which most
    columns of the contract are found.

    Raises:
        FileRejected: a required column is missing, or a name occurs twice.
    """
    known = {plain_name(name) for name in table.column_names}
    needed = {plain_name(column.name) for column in table.columns if column.must_be_present}
    first: tuple[list[str], str, int] | None = None
    delimiters: tuple[str, ...] = _DELIMITERS
    for number, line in enumerate(_first_lines(text), start=1):
        separator = _SEPARATOR_LINE.fullmatch(line) if number == 1 else None
        if separator:
            delimiters = (separator[1],)
            continue
        if not line.strip():
            continue
        readings = {delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in delimiters}
        delimiter = max(delimiters, key=lambda sign: sum(plain_name(name) in known for name in readings[sign]))
        names = [name.strip() for name in readings[delimiter]]
        if first is None:
            first = names, delimiter, number
        if needed <= {plain_name(name) for name in names}:
            first = names, delimiter, number
            break
    names, delimiter, number = first or ([], ",", 1)
    layout = replace(_layout(file, names, table, delimiter), header_line=number)
    above = number - 1
    if above and not (above == 1 and delimiters != _DELIMITERS):
        lines = f"{above} lines above the header were" if above > 1 else "a line above the header was"
        notice = f"{file.place}: {lines} left out"
        layout = replace(layout, notices=(*layout.notices, notice))
    return layout


def _first_lines(text: CsvText) -> list[str]:
    with text.path.open("rb") as stream:
        start = stream.read(_LONGEST_HEADER)
    lines = re.split(r"\r\n|\r|\n", start.decode("utf-8-sig", errors="replace"))
    return lines[: _MOST_TITLES + 1]


def parquet_layout(file: LandingFile, table: Table, inspected: Inspected) -> Layout:
    """Return how the columns of a Parquet file meet those of the contract.

    Raises:
        FileRejected: a required column is missing, a name occurs twice, or a column has a type that would not be read
            exactly.
    """
    layout = _layout(file, [column.name for column in inspected.columns], table, "")
    columns = {column.name: column for column in inspected.columns}
    sources, types, notices = dict(layout.sources), {}, list(layout.notices)
    for name, source in layout.sources.items():
        column, found = table.column(name), columns[source]
        objection = None if found.is_empty else _objection(column, found)
        if objection and not column.is_lenient:
            raise FileRejected(f"{file.place}: column {name} {objection}")
        if objection:
            notices.append(f"{file.place}: column {name} {objection}; it was taken as empty")
        if objection or (found.is_empty and not column.must_be_present):
            del sources[name]
        else:
            types[name] = found.sql_type
    return replace(layout, sources=sources, types=types, notices=tuple(notices))


def _objection(column: Column, found: InspectedColumn) -> str | None:
    """Return why a column of a Parquet file cannot be read exactly as one of the contract, and what to do."""
    kind = found.sql_type
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT")):
        return f"has the nested type {kind}: write plain values"
    if found.arrow_type.startswith("decimal256"):
        return f"is a {found.arrow_type}, of which no more than 38 digits can be read: write it as decimal(18, 3)"
    if found.arrow_type.startswith(("duration", "month_interval", "day_time_interval")) or kind == "INTERVAL":
        return f"is a span of time ({found.arrow_type}): write {_WANTED[_family(column)]}"
    if kind == "BLOB" and not found.is_text:
        return "holds bytes that are no text in UTF-8: write it as text"
    if kind in ("VARCHAR", "BLOB", "UUID", "JSON") or kind.startswith("ENUM"):
        return None
    family = _family(column)
    is_whole = kind in _WHOLE_NUMBERS or (kind.startswith("DECIMAL") and kind.endswith(",0)"))
    is_number = is_whole or kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL")
    fits = {
        "text": is_whole,
        "number": is_number,
        "boolean": kind == "BOOLEAN" or is_whole,
        "date": kind == "DATE" or kind in _INSTANTS,
        "instant": kind in _INSTANTS or kind == "DATE",
    }
    if fits[family]:
        return None
    damaged = ", which changes codes such as 00123" if family == "text" and is_number else ""
    return f"has the type {kind}{damaged}: write {_WANTED[family]}"


def _family(column: Column) -> str:
    kind = column.data_type
    if kind == "integer" or kind.startswith("decimal"):
        return "number"
    return {"varchar": "text", "timestamp with time zone": "instant"}.get(kind, kind)


_WANTED = {
    "text": "it as text",
    "number": "numbers, or text with a decimal point",
    "boolean": "true or false",
    "date": "days",
    "instant": "instants in UTC, or text such as 2011-12-08T09:30:00Z",
}


def _layout(file: LandingFile, names: list[str], table: Table, delimiter: str) -> Layout:
    plain = [plain_name(name) for name in names]
    wanted = {plain_name(column.name): column for column in table.columns}
    twice = sorted({name for name in plain if name in wanted and plain.count(name) > 1})
    if twice:
        raise FileRejected(f"{file.place} has the column {twice[0]} more than once: keep one of them")
    missing = [column.name for name, column in wanted.items() if name not in plain and column.must_be_present]
    strangers = [name for name, simple in zip(names, plain, strict=True) if simple not in wanted and name]
    if missing:
        raise FileRejected(_missing_columns(file, missing, names, strangers))
    positions = {name: names[plain.index(name)] for name in wanted if name in plain}
    notices = []
    if strangers:
        notices.append(f"{file.place}: columns that are not part of the contract were left out: {_listed(strangers)}")
    return Layout(
        columns=tuple(names),
        sources={wanted[name].name: source for name, source in positions.items()},
        notices=tuple(notices),
        delimiter=delimiter,
    )


def _missing_columns(file: LandingFile, missing: list[str], names: list[str], strangers: list[str]) -> str:
    parts = []
    for name in missing:
        near = difflib.get_close_matches(name, strangers, n=1, cutoff=0.5)
        parts.append(f"{name} (rename {near[0]}?)" if near else name)
    header = _listed(names) or "nothing"
    return (
        f"{file.place} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(parts)}; "
        f"its first line names {header}: the first line must be the header, with the columns of the contract"
    )


def _listed(names: Iterable[str]) -> str:
    text = shown(", ".join(names))
    return text if len(text) <= 300 else text[:300] + " …"
