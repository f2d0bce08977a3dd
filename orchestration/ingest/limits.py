"""How much of a file ingest takes on: rows, bytes and time, so that no file of one supplier holds up all others.

Belongs here: the limits, and what is said where one is passed. Does not: reading files.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from orchestration.home.settings import Settings
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.formats import Format, load_formats

_RATIO_COUNTS_FROM = 64 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one file, and of one run.

    Attributes:
        rows: rows of a file.
        bytes: bytes of a file, unpacked.
        ratio: bytes unpacked for each packed byte, of more than 64 MiB unpacked.
        seconds: time that reading a file may take.
        files: new files of a table in one run; the others wait for the next.
        follow_links: whether links within the landing folder are followed.
    """

    rows: int = 50_000_000
    bytes: int = 16 << 30
    ratio: int = 200
    seconds: float = 600.0
    files: int = 2_000
    follow_links: bool = False


@dataclass(frozen=True)
class FileRules:
    """How a home treats files.

    Attributes:
        limits: how much of a file is taken on.
        formats: what people said of the numbers and times of files.
    """

    limits: Limits = field(default_factory=Limits)
    formats: tuple[Format, ...] = ()


def file_rules(settings: Settings) -> FileRules:
    """Return how a home treats files.

    Raises:
        ContractError: the file with what people said of formats cannot be read.
    """
    limits = Limits(
        rows=settings.file_rows,
        bytes=settings.file_gigabytes << 30,
        ratio=settings.file_ratio,
        seconds=settings.file_seconds,
        files=settings.files_a_run,
        follow_links=bool(settings.follow_links),
    )
    return FileRules(limits, load_formats(settings.formats_file))


@dataclass
class Allowance:
    """What reading one file may still cost; the clock starts when it is made.

    Attributes:
        place: table and name of the file, as messages show it.
        limits: limits of the home.
    """

    place: str
    limits: Limits
    _ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._ends_at = time.monotonic() + self.limits.seconds

    def check_time(self) -> None:
        """Raise where the time is over."""
        if time.monotonic() > self._ends_at:
            raise self.too_slow()

    def too_slow(self) -> FileRejected:
        """Return what is said of a file that takes too long."""
        return FileRejected(
            f"{self.place} takes longer than {self.limits.seconds:.0f} s to read: split it, or set "
            "INVENTORYBOT_FILE_SECONDS higher",
            may_pass=True,
        )

    def check_bytes(self, unpacked: int, packed: int) -> None:
        """Raise where a file unpacks to too much."""
        if unpacked > self.limits.bytes:
            raise FileRejected(
                f"{self.place} has more than {self.limits.bytes / (1 << 30):g} GiB: split it, or set "
                "INVENTORYBOT_FILE_GIGABYTES higher",
                may_pass=True,
            )
        if unpacked > _RATIO_COUNTS_FROM and unpacked > self.limits.ratio * max(packed, 1):
            raise FileRejected(
                f"{self.place} unpacks to more than {self.limits.ratio} times its size, as no export does: unpack it "
                "and look at it; if it is right, set INVENTORYBOT_FILE_RATIO higher",
                may_pass=True,
            )

    def check_rows(self, rows: int) -> None:
        """Raise where a file has too many rows."""
        if rows > self.limits.rows:
            raise FileRejected(
                f"{self.place} has {rows:,} rows, at most {self.limits.rows:,} are read: split it, or set "
                "INVENTORYBOT_FILE_ROWS higher",
                may_pass=True,
            )

    @contextmanager
    def watching(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Stop what a connection does when the time is over; any error of the engine rejects the file by name."""
        timer = threading.Timer(max(self._ends_at - time.monotonic(), 0.001), connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise self.too_slow() from error
        except duckdb.OutOfMemoryException as error:
            raise FileRejected(
                f"{self.place} needs more memory and disk than ingest may use: split it, or free disk space",
                may_pass=True,
            ) from error
        except (duckdb.ParserException, duckdb.BinderException):
            # Statements of our own are wrong, not the file.
            raise
        except duckdb.Error as error:
            if "No space left" in str(error):
                raise
            reason = str(error).splitlines()[0]
            raise FileRejected(f"{self.place} cannot be read ({reason}): export it again") from error
        finally:
            timer.cancel()
