"""What is put before the validator: events of the online store, released rows, and what is remembered of each file.

Belongs here: what a caller of `batches.ingest_table` hands in besides files, and how it reaches the validator. Does
not: files and databases, which the call reads itself (batches).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration.ingest.files import LandingFile
from orchestration.ingest.manifests import LANDING, ONLINE_STORE, Counts, FileOutcome, Settled
from orchestration.ingest.validator import RowValidator


@dataclass(frozen=True)
class Events:
    """Movements of the online store that batches have not seen yet.

    Attributes:
        rows: one mapping per movement: the columns of raw/stock_movements and `sequence`.
        first_sequence: first ledger sequence of the range, whether or not it is a movement.
        last_sequence: last ledger sequence of the range; the next range begins behind it.
    """

    rows: Sequence[Mapping[str, Any]]
    first_sequence: int
    last_sequence: int


@dataclass(frozen=True)
class Release:
    """Quarantined rows to be judged again, or to be given up.

    Attributes:
        rows: one mapping of contract columns to text per row that is judged again.
        settled: what becomes of each quarantined row: first those of `rows`, in their order, then the discarded.
        channel: the way the rows came by.
    """

    rows: Sequence[Mapping[str, Any]]
    settled: tuple[Settled, ...]
    channel: str = LANDING


@dataclass
class Staged:
    """What was put into a splitter, waiting for its counts."""

    name: str
    sha256: str
    size: int = 0
    mark: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    cursor: str | None = None
    file: LandingFile | None = None
    decimal: str = ""
    time_zone: str = ""
    is_full_list: bool = False
    list_of: str = ""
    asks: bool = False

    def outcome(self, rows: Counts) -> FileOutcome:
        """Return what the manifest says of it, once its rows are counted."""
        return FileOutcome(
            name=self.name,
            sha256=self.sha256,
            size=self.size,
            mark=self.mark,
            outcome="partly_quarantined" if rows.quarantined else "processed",
            reason=None,
            rows=rows,
            notices=self.notices,
            columns=self.columns,
            delimiter=self.delimiter,
            cursor=self.cursor,
            decimal=self.decimal,
            time_zone=self.time_zone,
            is_full_list=self.is_full_list,
            list_of=self.list_of,
            asks=self.asks,
        )


Stage = Callable[[RowValidator, Path], tuple[list[Staged], list[FileOutcome]]]
"""Puts rows into a splitter; returns what was staged and what was rejected."""


def staging_events(events: Events) -> Stage:
    """Return what stages movements of the online store."""

    def stage(validator: RowValidator, _: Path) -> tuple[list[Staged], list[FileOutcome]]:
        validator.add_rows(ONLINE_STORE, events.rows, [row["sequence"] for row in events.rows])
        return [Staged(ONLINE_STORE, _hash_of_rows(events.rows))], []

    return stage


def staging_release(release: Release) -> Stage:
    """Return what stages quarantined rows that are judged again, file by file as they came."""

    def stage(validator: RowValidator, _: Path) -> tuple[list[Staged], list[FileOutcome]]:
        staged = []
        for name in sorted({settled.source_file for settled in release.settled}):
            given = [
                (row, settled.source_row)
                for row, settled in zip(release.rows, release.settled, strict=False)
                if settled.source_file == name
            ]
            validator.add_rows(name, [row for row, _ in given], [number for _, number in given])
            facts = [asdict(settled) for settled in release.settled if settled.source_file == name]
            staged.append(Staged(name, _hash_of_rows([*(row for row, _ in given), *facts])))
        return staged, []

    return stage


def _hash_of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    facts = [sorted((key, str(value)) for key, value in row.items()) for row in rows]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
