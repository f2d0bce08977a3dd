"""Files of the landing folder: which are new, whether they can be read at all, and how.

Belongs here: finding, hashing, decoding, headers, and the line-by-line reading of CSV files with broken lines. Does
not: what the values mean (validator) or what becomes of the file (batches). The landing folder is never written to.
"""

import codecs
import csv
import difflib
import gzip
import hashlib
import os
import re
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.ingest.contract import Table
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.suites import literal, quoted

ENDINGS = (".csv", ".csv.gz", ".parquet")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")
_IGNORED = (".template", ".md")
_IGNORED_STARTS = (".", "_", "readme", "license", "notice")
_DELIMITERS = (",", ";", "\t", "|")
_CHUNK = 1 << 22
_LONGEST_RECORD = 1 << 20
_LONGEST_HEADER = 1 << 16
_MOST_LINES = 200
_OPEN, _CLOSED, _MALFORMED = "open", "closed", "malformed"
_MOST_UNPACKED = 64 << 30
_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class LandingFile:
    """A file that lies in the landing folder of a table.

    Attributes:
        path: where it lies; of an object of S3 that has not been fetched, `<table>/<name>`.
        size: bytes.
        mark: size, times of change and inode: equal marks mean that nobody has written to it in between.
        version: entity tag of an object of S3; empty otherwise.
    """

    path: Path
    size: int
    mark: tuple[int, ...]
    version: str = ""

    @property
    def name(self) -> str:
        """Name within the folder of the table."""
        return self.path.name


@dataclass(frozen=True)
class Landing:
    """What lies in the landing folder of a table.

    Attributes:
        files: files to look at, by name.
        waiting: names of files that are still being written.
        notices: what an operator should know.
    """

    files: tuple[LandingFile, ...]
    waiting: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class CsvText:
    """A CSV file that DuckDB can read: plain UTF-8.

    Attributes:
        path: the file itself, or its unpacked or transcoded copy in the work folder.
        lines: number of line feeds, plus one for a last line without.
        ends_torn: whether the last line has no line feed.
    """

    path: Path
    lines: int
    ends_torn: bool


@dataclass(frozen=True)
class Layout:
    """How the columns of a file meet those of the contract.

    Attributes:
        columns: names as the file has them, in order.
        sources: per contract column that is present, the name in the file.
        notices: columns that are not part of the contract.
        delimiter: of a CSV file; empty otherwise.
    """

    columns: tuple[str, ...]
    sources: Mapping[str, str]
    notices: tuple[str, ...]
    delimiter: str = ""


def look(folder: Path, *, settle_seconds: float = 1.0) -> Landing:
    """List the files of a table's landing folder.

    A file with the name of an unfinished download, or one that changes while it is looked at, is left for the next
    time. A file changed within the last `settle_seconds` is looked at twice, that long apart.
    """
    if not folder.is_dir():
        return Landing((), (), ())
    names, waiting, notices = sorted_by_name(folder.name, (path.name for path in folder.iterdir() if not path.is_dir()))
    found = [stat_file(folder / name) for name in names]
    now = time.time_ns()
    window = int(settle_seconds * 1e9)
    fresh = [file for file in found if 0 <= now - file.mark[1] < window]
    if fresh:
        time.sleep(settle_seconds)
    steady = [file for file in found if file not in fresh or is_unchanged(file)]
    waiting += [file.name for file in found if file not in steady]
    return Landing(tuple(steady), tuple(sorted(waiting)), tuple(notices))


def sorted_by_name(table: str, names: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the names to read, those of files that are still being written, and a notice of each other one."""
    found, waiting, notices = [], [], []
    for name in sorted(names):
        plain = name.lower()
        if plain.startswith(_IGNORED_STARTS) or plain.endswith(_IGNORED):
            continue
        if plain.endswith(_UNFINISHED):
            waiting.append(name)
        elif plain.endswith(ENDINGS):
            found.append(name)
        else:
            stem = Path(name).stem
            notices.append(
                f"{table}/{name} is neither CSV nor Parquet and was not read: save it as {stem}.csv or {stem}.parquet"
            )
    return found, waiting, notices


def stat_file(path: Path) -> LandingFile:
    """Return a file with its mark."""
    facts = path.stat()
    return LandingFile(path, facts.st_size, (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))


def is_unchanged(file: LandingFile) -> bool:
    """Tell whether nobody has written to a file since it was listed."""
    return file.path.exists() and stat_file(file.path).mark == file.mark


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable_text(file: LandingFile, work: Path) -> CsvText:
    """Return a CSV file as plain UTF-8: itself where it is that already, else a copy in the work folder.

    Gzip is unpacked; UTF-16 with a byte order mark is transcoded.

    Raises:
        FileRejected: empty, binary, damaged or in another encoding; the message names byte, line and remedy.
    """
    if file.size == 0:
        raise FileRejected(f"{_place(file)} is empty: export it again, with a header line")
    path = file.path
    if path.name.lower().endswith(".gz"):
        path = work / f"{file.name}.unpacked"
        _unpack(file, path)
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        copy = work / f"{file.name}.utf8"
        _transcode(file, path, copy)
        path = copy
    elif start == b"PK\x03\x04":
        raise FileRejected(f"{_place(file)} is a ZIP archive or an Excel workbook: save it as CSV (UTF-8)")
    elif start == b"PAR1":
        raise FileRejected(f"{_place(file)} holds Parquet: give it the ending .parquet")
    elif start[:2] == b"\x1f\x8b":
        raise FileRejected(f"{_place(file)} is packed with gzip: give it the ending .csv.gz")
    return _checked(file, path)


def _unpack(file: LandingFile, copy: Path) -> None:
    written = 0
    try:
        with gzip.open(file.path, "rb") as packed, copy.open("wb") as plain:
            while chunk := packed.read(_CHUNK):
                written += len(chunk)
                if written > _MOST_UNPACKED:
                    raise FileRejected(f"{_place(file)} unpacks to more than {_MOST_UNPACKED >> 30} GiB: split it")
                plain.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileRejected(f"{_place(file)} is a damaged gzip file ({error}): copy it again") from error
    if written == 0:
        raise FileRejected(f"{_place(file)} is empty: export it again, with a header line")


def _transcode(file: LandingFile, path: Path, copy: Path) -> None:
    try:
        with (
            path.open("r", encoding="utf-16", newline="") as source,
            copy.open("w", encoding="utf-8", newline="") as to,
        ):
            while chunk := source.read(_CHUNK):
                to.write(chunk)
    except UnicodeError as error:
        raise FileRejected(f"{_place(file)} begins as UTF-16 but is not ({error}): save it as UTF-8") from error


def _checked(file: LandingFile, path: Path) -> CsvText:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = line_feeds = 0
    last = b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            zero = chunk.find(b"\0")
            if zero >= 0:
                line = line_feeds + chunk.count(b"\n", 0, zero) + 1
                raise FileRejected(
                    f"{_place(file)} has a zero byte at byte {offset + zero} (line {line}): it is binary, or UTF-16 "
                    "without a byte order mark; save it as UTF-8"
                )
            pending = decoder.getstate()[0]
            if pending or not chunk.isascii():
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    raise _not_utf8(file, pending + chunk, error.start, offset - len(pending), line_feeds) from error
            line_feeds += chunk.count(b"\n")
            offset += len(chunk)
            last = chunk
    pending = decoder.getstate()[0]
    if pending:
        raise _not_utf8(file, pending, 0, offset - len(pending), line_feeds)
    ends_torn = not last.endswith((b"\n", b"\r"))
    return CsvText(path, line_feeds + (0 if last.endswith(b"\n") else 1), ends_torn)


def _not_utf8(file: LandingFile, chunk: bytes, at: int, before: int, line_feeds: int) -> FileRejected:
    line = line_feeds + chunk.count(b"\n", 0, at) + 1
    around = chunk[max(0, at - 20) : at + 20].decode("latin-1").replace("\n", " ").replace("\r", " ")
    return FileRejected(
        f"{_place(file)} is not UTF-8: byte 0x{chunk[at]:02x} at byte {before + at} (line {line}), which in Latin-1 "
        f"reads {around!r}; save it as UTF-8"
    )


def _place(file: LandingFile) -> str:
    return f"{file.path.parent.name}/{file.name}"


# --- headers ---------------------------------------------------------------------------------------------------------


def csv_layout(file: LandingFile, text: CsvText, table: Table) -> Layout:
    """Read the header of a CSV file; the delimiter is the one under which most columns of the contract are found.

    Raises:
        FileRejected: a required column is missing, or a name occurs twice.
    """
    with text.path.open("rb") as stream:
        line = stream.readline(_LONGEST_HEADER)
    first = re.split(r"[\r\n]", line.decode("utf-8-sig", errors="replace"), maxsplit=1)[0]
    known = {_plain(name) for name in table.column_names}
    readings = {delimiter: next(csv.reader([first], delimiter=delimiter), []) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda sign: sum(_plain(name) in known for name in readings[sign]))
    return _layout(file, [name.strip() for name in readings[delimiter]], table, delimiter)


def parquet_layout(file: LandingFile, table: Table, connection: duckdb.DuckDBPyConnection) -> Layout:
    """Read the columns of a Parquet file.

    Raises:
        FileRejected: it is not a Parquet file, a required column is missing, or a column is nested.
    """
    if file.size == 0:
        raise FileRejected(f"{_place(file)} is empty: export it again")
    try:
        described = connection.sql(f"describe select * from read_parquet({literal(str(file.path))})").fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise FileRejected(f"{_place(file)} is not a readable Parquet file ({reason}): export it again") from error
    layout = _layout(file, [name for name, *_ in described], table, "")
    types = {name: data_type for name, data_type, *_ in described}
    for column, name in layout.sources.items():
        if types[name].endswith("]") or types[name].startswith(("STRUCT", "MAP", "UNION")):
            raise FileRejected(f"{_place(file)}: column {column} has the nested type {types[name]}: write plain values")
    return layout


def _layout(file: LandingFile, names: list[str], table: Table, delimiter: str) -> Layout:
    plain = [_plain(name) for name in names]
    wanted = {_plain(column.name): column for column in table.columns}
    twice = sorted({name for name in plain if name in wanted and plain.count(name) > 1})
    if twice:
        raise FileRejected(f"{_place(file)} has the column {twice[0]} more than once: keep one of them")
    missing = [column.name for name, column in wanted.items() if name not in plain and column.must_be_present]
    strangers = [name for name, simple in zip(names, plain, strict=True) if simple not in wanted and name]
    if missing:
        raise FileRejected(_missing_columns(file, missing, names, strangers))
    positions = {name: names[plain.index(name)] for name in wanted if name in plain}
    notices = []
    if strangers:
        notices.append(f"{_place(file)}: columns that are not part of the contract were left out: {_listed(strangers)}")
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
        f"{_place(file)} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(parts)}; "
        f"its first line names {header}: the first line must be the header, with the columns of the contract"
    )


def _plain(name: str) -> str:
    return _WORDS.sub("_", name.strip().lower()).strip("_")


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 300 else text[:300] + " …"


# --- reading ---------------------------------------------------------------------------------------------------------


def csv_relation(path: Path, columns: Iterable[str], delimiter: str, *, longest: int = _LONGEST_RECORD) -> str:
    """Return SQL that reads a CSV file as text, one column per name, refusing any line it cannot read exactly."""
    names = ", ".join(f"{literal(name)}: 'varchar'" for name in columns)
    return (
        f"read_csv({literal(str(path))}, auto_detect = false, header = true, delim = {literal(delimiter)}, "
        f"""quote = '"', escape = '"', columns = {{{names}}}, max_line_size = {longest})"""
    )


def file_columns(layout: Layout) -> list[str]:
    """Return a distinct name for each column of a file, empty and repeated names included."""
    return [f"{position}:{name}" for position, name in enumerate(layout.columns)]


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


def records(text: CsvText, layout: Layout) -> Iterator[Record]:
    """Yield every record of a CSV file behind the header, the broken ones included; blank lines are left out.

    A quotation mark that is never closed spoils its own line only: reading goes on with the next one.
    """
    lines = _Lines(text.path)
    width = len(layout.columns)
    lines.next()
    while (current := lines.next()) is not None:
        number, line = current
        if not line.strip():
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
        reason = f"the line has {len(line)} characters, at most {_LONGEST_RECORD} are allowed"
        return Record(number, line[:_LONGEST_HEADER], None, "line_too_long", reason)
    if len(values) == width:
        return Record(number, line, values)
    if len(values) < width and text.ends_torn and number == text.lines:
        reason = f"the file ends in the middle of this line: {len(values)} of {width} values"
        return Record(number, line, None, "torn_line", reason)
    rule = "too_few_values" if len(values) < width else "too_many_values"
    reason = f"{len(values)} values where the header has {width} columns: a missing or unquoted delimiter?"
    return Record(number, line, None, rule, reason)


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
    with path.open("r", encoding="utf-8-sig", newline=None) as stream:
        for line in stream:
            yield line.removesuffix("\n")


def readable_relation(copy: Path, layout: Layout) -> str:
    """Return SQL that reads what `rewrite` wrote; the first column is the line number."""
    # Quotation marks are written twice.
    return csv_relation(copy, ["line", *file_columns(layout)], ",", longest=3 * _LONGEST_RECORD)


def rewrite(text: CsvText, layout: Layout, copy: Path, broken: list[Record]) -> None:
    """Write the readable records as a CSV file that begins each with its line number; collect the others."""
    with copy.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["line", *file_columns(layout)])
        for record in records(text, layout):
            if record.values is None:
                broken.append(record)
            else:
                writer.writerow([record.line, *record.values])


def originals(text: CsvText, layout: Layout, wanted: list[int], *, is_plain: bool) -> Iterator[tuple[int, str]]:
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


def sync(path: Path) -> None:
    """Make what was written to a file, or to a folder's list of names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
