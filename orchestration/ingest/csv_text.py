"""A CSV file as plain UTF-8: unpacked, transcoded, checked byte by byte.

Belongs here: bytes and encodings. Does not: headers (layouts), records (csv_records).
"""

import codecs
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.errors import FileRejected
from orchestration.ingest.files import LandingFile
from orchestration.ingest.limits import Allowance

_CHUNK = 1 << 22
_BINARY_STARTS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"PK\x03\x04", b"PAR1", b"\x1f\x8b")


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


def check_start(file: LandingFile, start: bytes) -> None:
    """Look at the first bytes of a file before all of it is read.

    Raises:
        FileRejected: a CSV file begins with binary content.
    """
    is_plain = file.name.lower().endswith(".csv") and not start.startswith(_BINARY_STARTS)
    zero = start.find(b"\0")
    if is_plain and zero >= 0:
        raise _zero_byte(file, zero, start.count(b"\n", 0, zero) + 1)


def _zero_byte(file: LandingFile, at: int, line: int) -> FileRejected:
    return FileRejected(
        f"{file.place} has a zero byte at byte {at} (line {line}): it is binary, or UTF-16 without a byte order mark; "
        "save it as UTF-8"
    )


def readable_text(file: LandingFile, path: Path, work: Path, allowance: Allowance, *, number: int = 0) -> CsvText:
    """Return a CSV file as plain UTF-8: itself where it is that already, else a copy in the work folder.

    Gzip is unpacked; UTF-16 with a byte order mark is transcoded.

    Args:
        file: file of the landing folder.
        path: where it lies on this machine.
        work: folder for copies.
        allowance: what reading it may cost.
        number: tells the copies of one work folder apart, whatever the files are called.

    Raises:
        FileRejected: empty, binary, damaged, too large or in another encoding; the message names byte, line and remedy.
    """
    if file.size == 0:
        raise FileRejected(f"{file.place} is empty: export it again, with a header line")
    if file.name.lower().endswith(".gz"):
        copy = work / f"{number}.unpacked"
        _unpack(file, path, copy, allowance)
        path = copy
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        copy = work / f"{number}.utf8"
        _transcode(file, path, copy, allowance)
        path = copy
    elif start == b"PK\x03\x04":
        raise FileRejected(f"{file.place} is a ZIP archive or an Excel workbook: save it as CSV (UTF-8)")
    elif start == b"PAR1":
        raise FileRejected(f"{file.place} holds Parquet: give it the ending .parquet")
    elif start[:2] == b"\x1f\x8b":
        raise FileRejected(f"{file.place} is packed with gzip: give it the ending .csv.gz")
    text = _checked(file, path, allowance)
    allowance.check_rows(text.lines)
    return text


def _unpack(file: LandingFile, path: Path, copy: Path, allowance: Allowance) -> None:
    written = 0
    try:
        with gzip.open(path, "rb") as packed, copy.open("wb") as plain:
            while chunk := packed.read(_CHUNK):
                written += len(chunk)
                allowance.check_bytes(written, file.size)
                allowance.check_time()
                plain.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileRejected(f"{file.place} is a damaged gzip file ({error}): copy it again") from error
    if written == 0:
        raise FileRejected(f"{file.place} is empty: export it again, with a header line")


def _transcode(file: LandingFile, path: Path, copy: Path, allowance: Allowance) -> None:
    try:
        with (
            path.open("r", encoding="utf-16", newline="") as source,
            copy.open("w", encoding="utf-8", newline="") as to,
        ):
            while chunk := source.read(_CHUNK):
                allowance.check_time()
                to.write(chunk)
    except UnicodeError as error:
        raise FileRejected(f"{file.place} begins as UTF-16 but is not ({error}): save it as UTF-8") from error


def _checked(file: LandingFile, path: Path, allowance: Allowance) -> CsvText:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = line_feeds = 0
    last = b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            allowance.check_time()
            zero = chunk.find(b"\0")
            if zero >= 0:
                line = line_feeds + chunk.count(b"\n", 0, zero) + 1
                raise _zero_byte(file, offset + zero, line)
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
        f"{file.place} is not UTF-8: byte 0x{chunk[at]:02x} at byte {before + at} (line {line}), which in Latin-1 "
        f"reads {around!r}; save it as UTF-8"
    )
