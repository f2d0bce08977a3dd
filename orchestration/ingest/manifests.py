"""What arrival batches say of themselves: one `manifest.json` per batch, the only memory that ingest has.

Belongs here: the shape of manifests and what is read off all of them together. Does not: making batches (batches).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from orchestration.ingest.contract import load_contract

BATCH_ID = "%Y%m%dT%H%M%S.%fZ"
"""Batch ids are instants in UTC; as text they sort by time."""

LANDING = "landing"
ONLINE_STORE = "online_store"

Outcome = Literal["processed", "partly_quarantined", "rejected"]
Settlement = Literal["released", "discarded", "withdrawn"]


@dataclass(frozen=True)
class Counts:
    """What became of rows; `rows_in` is always the sum of the others."""

    rows_in: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows_in + other.rows_in,
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.quarantined + other.quarantined,
        )

    @property
    def is_balanced(self) -> bool:
        """Whether nothing was lost or counted twice."""
        return self.rows_in == self.accepted + self.duplicate + self.quarantined


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file, or of what one SQL source, the online store or a release brought.

    Attributes:
        name: name within the landing folder of the table; `sql:<name>` of a SQL source.
        sha256: hash of its content.
        size: bytes.
        mark: size, times of change and inode when it was read; empty for what is no file.
        outcome: processed, partly_quarantined or rejected.
        reason: why it was rejected; None otherwise.
        rows: what became of its rows.
        notices: what an operator should know.
        columns: columns as the file names them.
        delimiter: of a CSV file; empty otherwise.
        cursor: of a SQL source, the highest value of its cursor column that was seen.
        decimal: how its numbers were read: point, comma, or empty where that is the same.
        time_zone: zone of its times without an offset; empty = UTC.
        is_tried_again: whether every run tries a rejected file again.
        is_full_list: whether it was declared to be the full list of what its source brings.
        list_of: pattern of the files that it was declared with.
        asks: whether its last notice is a question that stands until somebody says what the file brings.
        renamed_from: earlier name of a file that was not read again under its new one; None = it was read.
    """

    name: str
    sha256: str
    size: int
    mark: tuple[int, ...]
    outcome: Outcome
    reason: str | None
    rows: Counts
    notices: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    cursor: str | None = None
    decimal: str = ""
    time_zone: str = ""
    is_tried_again: bool = False
    is_full_list: bool = False
    list_of: str = ""
    asks: bool = False
    renamed_from: str | None = None


@dataclass(frozen=True)
class Settled:
    """A quarantined row that is no longer open, or an accepted one that waited and counts no longer.

    Attributes:
        batch_id: batch that brought it.
        source_file: file it came in.
        source_row: its row there.
        how: released (with or without corrections, judged again in this batch) or discarded; withdrawn = it had been
            accepted and waited, and was discarded or is corrected in this batch.
        reason: why it was discarded, or what was corrected.
    """

    batch_id: str
    source_file: str
    source_row: int
    how: Settlement
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a batch says of itself.

    Attributes:
        table: raw table.
        batch_id: instant of the arrival as a name that sorts by time.
        ingested_at: the same instant, ISO 8601, UTC.
        channel: the way it came by: landing, online_store or sql:<name>.
        rows: what became of its rows.
        quarantined_by_rule: quarantined rows per rule.
        files: what it was made from; empty for the batch that only gives a table its columns.
        first_sequence: first ledger sequence of the events in it; None when there are none.
        last_sequence: last ledger sequence; the watermark of the online store.
        settled: quarantined rows of earlier batches that this batch settles.
        ended: rows of earlier batches that ended because this one, a full list, no longer has them.
    """

    table: str
    batch_id: str
    ingested_at: str
    channel: str
    rows: Counts
    quarantined_by_rule: Mapping[str, int]
    files: tuple[FileOutcome, ...]
    first_sequence: int | None = None
    last_sequence: int | None = None
    settled: tuple[Settled, ...] = ()
    ended: int = 0

    def to_json(self) -> str:
        """Return the manifest as the text of `manifest.json`."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_manifests(folder: Path) -> list[Manifest]:
    """Return the manifests of a table's batches, oldest first."""
    return [_read_manifest(path) for path in sorted(folder.glob("*/manifest.json"))]


def has_rows(folder: Path) -> bool:
    """Return whether a table has ever had an accepted row."""
    return any(manifest.rows.accepted for manifest in read_manifests(folder))


def rejected_files(raw: Path) -> list[tuple[str, FileOutcome]]:
    """Return the files that were rejected and not taken in since, each with its table, in the order of the contract."""
    rejected = []
    for table in load_contract():
        last = {file.name: file for manifest in read_manifests(raw / table.name) for file in manifest.files}
        rejected += [(table.name, file) for file in last.values() if file.outcome == "rejected"]
    return rejected


def _read_manifest(path: Path) -> Manifest:
    document = json.loads(path.read_text(encoding="utf-8"))
    # Manifests of 0.1.0 hold it under another name.
    document["channel"] = document.pop("door", None) or document["channel"]
    sequences = ("mark", "notices", "columns")
    files = (
        {**file, **{name: tuple(file[name]) for name in sequences}, "rows": Counts(**file["rows"])}
        for file in document["files"]
    )
    return Manifest(
        **{
            **document,
            "rows": Counts(**document["rows"]),
            "files": tuple(FileOutcome(**file) for file in files),
            "settled": tuple(Settled(**settled) for settled in document["settled"]),
        }
    )


def still_counts(folder: Path) -> str:
    """Return the SQL condition on accepted rows of a table that nobody has withdrawn them."""
    places = sorted(
        (settled.batch_id, settled.source_file.replace("'", "''"), settled.source_row)
        for manifest in read_manifests(folder)
        for settled in manifest.settled
        if settled.how == "withdrawn"
    )
    listed = ", ".join(f"('{batch_id}', '{file}', {row})" for batch_id, file, row in places)
    return f"(batch_id, source_file, source_row) not in ({listed})" if places else "true"


def ledger_watermark(raw: Path) -> int:
    """Return the last ledger sequence that batches have seen; 0 when none."""
    manifests = read_manifests(raw / "stock_movements")
    return max((manifest.last_sequence or 0 for manifest in manifests), default=0)


def last_cursor(manifests: Iterable[Manifest], channel: str) -> str | None:
    """Return the cursor up to which a SQL source has been read; None when it never was."""
    cursors = [
        file.cursor for manifest in manifests if manifest.channel == channel for file in manifest.files if file.cursor
    ]
    return cursors[-1] if cursors else None
