"""Records of a CSV file, line by line: what DuckDB cannot read exactly is read here, and broken lines are set aside.

Belongs here: the grammar of CSV. Does not: encodings (csv_text), headers (layouts), what values mean (validator).
"""

import csv
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.csv_text import CsvText
from orchestration.ingest.layouts import Layout
from orchestration.ingest.limits import Allowance

_LONGEST_RECORD = 1 << 20
_LONGEST_SHOWN = 1 << 16
_MOST_LINES = 200
_LINES_AT_ONCE = 10_000
_OPEN, _CLOSED, _MALFORMED = "open", "closed", "malformed"
FILE_NUMBER = "file_number"
"""Name of the column that `join_lines` puts before those of the files."""


def csv_relation(
    path: Path, columns: Iterable[str], delimiter: str, *, longest: int = _LONGEST_RECORD, header_line: int = 1
) -> str:
    """Return SQL that reads a CSV file as text, one column per name, refusing any line it cannot read exactly."""
    names = ", ".join(f"{literal(name)}: 'varchar'" for name in columns)
    return (
        f"read_csv({path_literal(path)}, auto_detect = false, header = true, delim = {literal(delimiter)}, "
        f"""quote = '"', escape = '"', columns = {{{names}}}, max_line_size = {longest}, skip = {header_line - 1})"""
    )


def file_columns(layout: Layout) -> list[str]:
    """Return a distinct name for each column of a file, empty and repeated names included."""
    return [f"{position}:{name}" for position, name in enumerate(layout.columns)]


def join_lines(texts: Sequence[CsvText], layout: Layout, copy: Path, *, first_number: int) -> list[int]:
    """Write the lines behind the headers of small files with the same columns into one, the number of its file before.

    Args:
        texts: CSV files.
        layout: their columns.
        copy: file to write, with a header line.
        first_number: number of the first file.

    Returns:
        How many lines of each were written.
    """
    counts, delimiter = [], layout.delimiter.encode()
    with copy.open("wb") as to:
        to.write(b"header\n")
        for number, text in enumerate(texts, start=first_number):
            lines = text.path.read_bytes().removesuffix(b"\n").split(b"\n")[layout.header_line :]
            to.writelines(b"%d%s%s\n" % (number, delimiter, line.removesuffix(b"\r")) for line in lines)
            counts.append(len(lines))
    return counts


def source_expression(layout: Layout, column: str) -> str | None:
    """Return SQL for the text of a contract column in a CSV file; None where the file does not have it."""
    if column not in layout.sources:
        return None
    position = layout.columns.index(layout.sources[column])
    return quoted(f"{position}:{layout.columns[position]}")


@dataclass(frozen=True)
class Record:
    """One record of a CSV file.

    Attributes:
        line: line on which it begins; the header is line 1.
        text: as it stands in the file, without the last line break.
        values: its values; None when it cannot be read.
        rule: why not.
        reason: why not, in words.
    """

    line: int
    text: str
    values: list[str] | None
    rule: str = ""
    reason: str = ""


def records(text: CsvText, layout: Layout, allowance: Allowance | None = None) -> Iterator[Record]:
    """Yield every record of a CSV file behind the header, the broken ones included; blank lines are left out.

    A quotation mark that is never closed spoils its own line only: reading goes on with the next one.
    """
    lines = _Lines(text.path)
    width = len(layout.columns)
    for _ in range(layout.header_line):
        lines.next()
    while (current := lines.next()) is not None:
        number, line = current
        if allowance is not None and number % _LINES_AT_ONCE == 0:
            allowance.check_time()
        if not line.strip():
            continue
        if len(line) > _LONGEST_RECORD:
            yield _too_long(number, line)
            continue
        if '"' not in line:
            yield _by_width(number, line, line.split(layout.delimiter), width, text)
            continue
        record, taken = line, 0
        state, values = _parse(record, layout.delimiter)
        while state == _OPEN and taken < _MOST_LINES and (more := lines.peek(taken)) is not None:
            record = f"{record}\n{more}"
            taken += 1
            state, values = _parse(record, layout.delimiter)
        if taken and (state != _CLOSED or len(_without_empty_end(values, width)) != width):
            record, taken, state = line, 0, _OPEN
        lines.skip(taken)
        if state == _CLOSED:
            yield _by_width(number, record, values, width, text)
        elif state == _OPEN and text.ends_torn and number == text.lines:
            yield Record(number, record, None, "torn_line", "the file ends in the middle of this line")
        elif state == _OPEN:
            yield Record(number, record, None, "unclosed_quote", 'a quotation mark (") is opened and never closed')
        else:
            reason = 'text follows a closed quotation mark ("): write a quotation mark within a value twice'
            yield Record(number, record, None, "text_after_quote", reason)


def _by_width(number: int, line: str, values: list[str], width: int, text: CsvText) -> Record:
    values = _without_empty_end(values, width)
    if len(line) > _LONGEST_RECORD:
        return _too_long(number, line)
    if len(values) == width:
        return Record(number, line, values)
    if len(values) < width and text.ends_torn and number == text.lines:
        reason = f"the file ends in the middle of this line: {len(values)} of {width} values"
        return Record(number, line, None, "torn_line", reason)
    rule = "too_few_values" if len(values) < width else "too_many_values"
    reason = f"{len(values)} values where the header has {width} columns: a missing or unquoted delimiter?"
    return Record(number, line, None, rule, reason)


def _too_long(number: int, line: str) -> Record:
    reason = f"the line has more than {_LONGEST_RECORD} characters: a missing quotation mark or line break?"
    return Record(number, line[:_LONGEST_SHOWN], None, "line_too_long", reason)


def _without_empty_end(values: list[str], width: int) -> list[str]:
    """Return the values without the empty ones behind the last column, as DuckDB reads them."""
    while len(values) > width and not values[-1].strip():
        values = values[:-1]
    return values


def _parse(record: str, delimiter: str) -> tuple[str, list[str]]:
    """Return whether the quotation marks of a record close, and its values where they do."""
    values: list[str] = []
    at, end = 0, len(record)
    while True:
        # As DuckDB reads them: one blank before a quotation mark and those behind it are not part of the value; a mark
        # behind more blanks is a sign like any other.
        first = at + record.startswith(" ", at)
        if first < end and record[first] == '"':
            parts = []
            at = first + 1
            while True:
                close = record.find('"', at)
                if close < 0:
                    return _OPEN, []
                parts.append(record[at:close])
                at = close + 1
                if at == end or record[at] != '"':
                    break
                parts.append('"')
                at += 1
            while at < end and record[at] == " ":
                at += 1
            if at < end and not record.startswith(delimiter, at):
                return _MALFORMED, []
            values.append("".join(parts))
        else:
            stop = record.find(delimiter, at)
            stop = end if stop < 0 else stop
            values.append(record[at:stop])
            at = stop
        if at >= end:
            return _CLOSED, values
        at += len(delimiter)
        if at >= end:
            return _CLOSED, [*values, ""]


class _Lines:
    """Lines of a text file with a look ahead; every kind of line break counts as one."""

    def __init__(self, path: Path) -> None:
        self._lines = _decoded_lines(path)
        self._ahead: list[str] = []
        self._number = 0

    def next(self) -> tuple[int, str] | None:
        line = self.peek(0)
        if line is None:
            return None
        self.skip(1)
        return self._number, line

    def peek(self, distance: int) -> str | None:
        while len(self._ahead) <= distance:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[distance]

    def skip(self, count: int) -> None:
        del self._ahead[:count]
        self._number += count


def _decoded_lines(path: Path) -> Iterator[str]:
    """Yield lines; of one that is too long, no more than shows that it is."""
    with path.open("r", encoding="utf-8-sig", newline=None) as stream:
        while line := stream.readline(_LONGEST_RECORD + 2):
            rest = line
            while len(rest) > _LONGEST_RECORD and not rest.endswith("\n"):
                rest = stream.readline(_LONGEST_RECORD + 2)
            yield line.removesuffix("\n")


def readable_relation(copy: Path, layout: Layout) -> str:
    """Return SQL that reads what `rewrite` wrote; the first column is the line number."""
    # Quotation marks are written twice.
    return csv_relation(copy, ["line", *file_columns(layout)], ",", longest=3 * _LONGEST_RECORD)


def rewrite(text: CsvText, layout: Layout, copy: Path, broken: list[Record], allowance: Allowance) -> None:
    """Write the readable records as a CSV file that begins each with its line number; collect the others."""
    with copy.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["line", *file_columns(layout)])
        for record in records(text, layout, allowance):
            if record.values is None:
                broken.append(record)
            else:
                writer.writerow([record.line, *record.values])


def originals(text: CsvText, layout: Layout, wanted: Sequence[int], *, is_plain: bool) -> Iterator[tuple[int, str]]:
    """Yield the text of records as it stands in the file.

    Args:
        text: CSV file.
        layout: its columns.
        wanted: lines on which the records begin, ascending.
        is_plain: whether every record is known to be one line ended by a line feed.
    """
    if not wanted:
        return
    if not is_plain:
        for record in records(text, layout):
            at = bisect_left(wanted, record.line)
            if at < len(wanted) and wanted[at] == record.line:
                yield record.line, record.text
        return
    pending = iter(wanted)
    line = next(pending, None)
    with text.path.open("rb") as stream:
        for number, content in enumerate(stream, start=1):
            if number == line:
                yield number, content.rstrip(b"\r\n").decode("utf-8")
                line = next(pending, None)
                if line is None:
                    return


def read_values(text: str, delimiter: str) -> list[str] | None:
    """Return the values of one CSV record; None when its quotation marks do not close."""
    state, values = _parse(text, delimiter)
    return values if state == _CLOSED else None
