"""Arrival batches: what was new is committed as one immutable folder per batch, with a manifest.

Belongs here: which files are new, the order of batches, manifests, and the step that makes a batch visible. Does not:
reading (files), judging (split, rules).

    raw/<table>/<batch_id>/accepted.parquet quarantined.parquet manifest.json
    raw/.arriving/<table>/               where a batch is prepared, and the lock of the table

A batch becomes visible by one rename, after all of it is durable; a process killed before leaves nothing behind but a
folder in `.arriving`, which the next call removes. `.arriving` lies one level deeper than batches, so that no glob
over batches meets it. A batch of facts holds everything that was new at one call; each new file of a versioned table
is a batch of its own, in the order of file names, because the later arrival of a key counts; a batch of a snapshot
holds every file present.
"""

import difflib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from orchestration.ingest.contracts import Table, load_contract, table_named
from orchestration.ingest.errors import FileRejected, IngestBusy, IngestError
from orchestration.ingest.files import (
    LandingFile,
    Layout,
    content_hash,
    csv_layout,
    is_unchanged,
    look,
    parquet_layout,
    readable_text,
    sync,
)
from orchestration.ingest.photos import check_photos
from orchestration.ingest.rules import SUITES, Suite, load_suite
from orchestration.ingest.split import Counts, Splitter

ONLINE_STORE = "online_store"
_ARRIVING = ".arriving"
_LOCK_SECONDS = 60.0
_BATCH_ID = "%Y%m%dT%H%M%S.%fZ"

Outcome = Literal["processed", "partly_quarantined", "rejected"]


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
class FileOutcome:
    """What became of one file, or of one range of events.

    Attributes:
        name: name within the landing folder of the table.
        sha256: hash of its content.
        size: bytes.
        mark: size, times of change and inode when it was read.
        outcome: processed, partly_quarantined or rejected.
        reason: why it was rejected; None otherwise.
        rows: what became of its rows.
        notices: what an operator should know.
        columns: columns as the file names them.
        delimiter: of a CSV file; empty otherwise.
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


@dataclass(frozen=True)
class Manifest:
    """What a batch says of itself.

    Attributes:
        table: raw table.
        batch_id: instant of the arrival as a name that sorts by time.
        ingested_at: the same instant, ISO 8601, UTC.
        rows: what became of its rows; rows_in = accepted + duplicate + quarantined.
        quarantined_by_rule: quarantined rows per rule.
        files: files of the batch.
        first_sequence: first ledger sequence of the events in it; None when there are none.
        last_sequence: last ledger sequence; the watermark of the online store.
    """

    table: str
    batch_id: str
    ingested_at: str
    rows: Counts
    quarantined_by_rule: Mapping[str, int]
    files: tuple[FileOutcome, ...]
    first_sequence: int | None = None
    last_sequence: int | None = None


@dataclass(frozen=True)
class ArrivalReport:
    """What one call of `ingest_table` came to.

    Attributes:
        table: raw table.
        batches: manifests of the batches committed by this call; empty when nothing was new.
        accepted: `accepted.parquet` of those batches that accepted rows: what to hand to `rules.validate`.
        rows: what became of the rows of this call.
        quarantined_by_rule: quarantined rows of this call per rule.
        rejected: files that lie in the landing folder and cannot be read, those of earlier calls included.
        waiting: names of files that are still being written.
        notices: what an operator should know.
        table_rows: accepted rows of the table, every batch counted (of a snapshot, the latest).
        failed: why nothing was committed and the table keeps its previous state; None when all is well.
    """

    table: str
    batches: tuple[Manifest, ...]
    accepted: tuple[Path, ...]
    rows: Counts
    quarantined_by_rule: Mapping[str, int]
    rejected: tuple[FileOutcome, ...]
    waiting: tuple[str, ...]
    notices: tuple[str, ...]
    table_rows: int
    failed: str | None


@dataclass
class _Call:
    """What one call has gathered so far."""

    table: Table
    suite: Suite
    landing: Path
    raw: Path
    arriving: Path
    ingested_at: datetime
    memory_limit: str
    committed: list[Manifest] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.raw / self.table.name


def ingest_table(
    table: Table | str,
    *,
    landing: Path,
    raw: Path,
    ingested_at: datetime,
    events: Events | None = None,
    settle_seconds: float = 1.0,
    memory_limit: str = "2GB",
    suites: Path = SUITES,
) -> ArrivalReport:
    """Take in what is new of one raw table.

    Call it once per table and run, for every table of `load_contract()`: each table then has at least one batch, if
    an empty one. Then hand `report.accepted` to `rules.validate`, where it is not empty; stop what depends on the
    table when `report.failed` is not None.

    Args:
        table: table of the contract, or its name.
        landing: landing folder; the files of the table lie in `landing/<table>/`. Never written to.
        raw: folder of arrival batches.
        ingested_at: instant that this arrival is known from, aware. It is moved forward where it does not lie behind
            the latest batch of the table, so that batches sort by arrival.
        events: for stock_movements, what the online store holds behind `ledger_watermark(raw)`.
        settle_seconds: a file changed within this time before the call is looked at twice.
        memory_limit: bound of DuckDB's memory.
        suites: folder of suites.

    Returns:
        The report. A file that cannot be read is in `rejected`; other files go on.

    Raises:
        IngestBusy: another process has been ingesting this table for a minute.
        IngestError: the raw folder cannot be written; the message names place, cause and remedy.
    """
    table = table_named(table) if isinstance(table, str) else table
    arriving = raw / _ARRIVING / table.name
    try:
        arriving.mkdir(parents=True, exist_ok=True)
        (raw / table.name).mkdir(exist_ok=True)
        with _locked(arriving, table):
            _remove_abandoned(arriving)
            suite = load_suite(table, suites)
            call = _Call(table, suite, landing, raw, arriving, ingested_at.astimezone(UTC), memory_limit)
            return _ingest(call, events, settle_seconds)
    except OSError as error:
        raise _unwritable(raw, error.strerror or str(error), error.errno) from error
    except duckdb.IOException as error:
        reason = str(error).splitlines()[0]
        full = errno.ENOSPC if "No space left" in reason else None
        raise _unwritable(raw, reason, full) from error
    except duckdb.OutOfMemoryException as error:
        reason = str(error).splitlines()[0]
        raise IngestError(
            f"{table.name} does not fit into the memory and disk that ingest may use ({reason}): free disk space in "
            f"{raw}, or split the file"
        ) from error


def read_manifests(folder: Path) -> list[Manifest]:
    """Return the manifests of a table's batches, oldest first."""
    return [_read_manifest(path) for path in sorted(folder.glob("*/manifest.json"))]


def ledger_watermark(raw: Path) -> int:
    """Return the last ledger sequence that batches have seen; 0 when none."""
    manifests = read_manifests(raw / "stock_movements")
    return max((manifest.last_sequence or 0 for manifest in manifests), default=0)


def raw_fingerprint(raw: Path) -> str:
    """Return a hash over what every batch was made from and came to, without times and names.

    Equal fingerprints mean that the same content arrived in the same order and was judged by the same rules.
    """
    digest = hashlib.sha256()
    for table in load_contract():
        for manifest in read_manifests(raw / table.name):
            if not manifest.files:
                continue
            facts = {
                "table": table.name,
                "rows": asdict(manifest.rows),
                "rules": dict(manifest.quarantined_by_rule),
                "files": sorted((file.sha256, file.outcome, *asdict(file.rows).values()) for file in manifest.files),
            }
            digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def misnamed_folders(landing: Path) -> list[str]:
    """Return a notice for each folder of the landing folder that is named almost like a raw table."""
    names = [table.name for table in load_contract()]
    notices = []
    for path in sorted(landing.iterdir()) if landing.is_dir() else []:
        near = difflib.get_close_matches(path.name, names, n=1)
        if path.is_dir() and path.name not in names and near:
            notices.append(f"{path} is no raw table and was not read: rename it to {near[0]}?")
    return notices


# --- one call --------------------------------------------------------------------------------------------------------


def _ingest(call: _Call, events: Events | None, settle_seconds: float) -> ArrivalReport:
    before = read_manifests(call.folder)
    looked = look(call.landing / call.table.name, settle_seconds=settle_seconds)
    call.waiting += looked.waiting
    call.notices += looked.notices
    seen = {file.sha256: file for manifest in before for file in manifest.files}
    marks = {file.mark: file.sha256 for manifest in before for file in manifest.files}
    hashes = {file: marks.get(file.mark) or content_hash(file.path) for file in looked.files}
    failed = None
    for files in _batches(call, looked.files, hashes, seen, before):
        failed = _take_in(call, files, hashes, None, before) or failed
    if events is not None and events.last_sequence >= events.first_sequence:
        failed = _take_in(call, [], hashes, events, before) or failed
    manifests = [*before, *call.committed]
    present = set(hashes.values())
    rejected = {
        file.sha256: file
        for manifest in manifests
        for file in manifest.files
        if file.outcome == "rejected" and file.sha256 in present
    }
    table_rows = _table_rows(call.table, manifests)
    if call.table.required and not table_rows and failed is None:
        failed = _nothing_there(call, tuple(rejected.values()))
    if not manifests:
        _commit_empty(call)
    return _report(call, rejected, table_rows, failed)


def _report(call: _Call, rejected: Mapping[str, FileOutcome], table_rows: int, failed: str | None) -> ArrivalReport:
    by_rule: dict[str, int] = {}
    for manifest in call.committed:
        for rule, rows in manifest.quarantined_by_rule.items():
            by_rule[rule] = by_rule.get(rule, 0) + rows
    return ArrivalReport(
        table=call.table.name,
        batches=tuple(call.committed),
        accepted=tuple(
            call.folder / manifest.batch_id / "accepted.parquet"
            for manifest in call.committed
            if manifest.rows.accepted
        ),
        rows=sum((manifest.rows for manifest in call.committed), Counts()),
        quarantined_by_rule=dict(sorted(by_rule.items(), key=lambda pair: (-pair[1], pair[0]))),
        rejected=tuple(rejected.values()),
        waiting=tuple(call.waiting),
        notices=tuple(call.notices + [notice for m in call.committed for file in m.files for notice in file.notices]),
        table_rows=table_rows,
        failed=failed,
    )


def _batches(
    call: _Call,
    present: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    seen: Mapping[str, FileOutcome],
    before: Sequence[Manifest],
) -> list[list[LandingFile]]:
    """Return the files of each batch to make."""
    if call.table.arrival == "snapshot":
        latest = next((manifest for manifest in reversed(before) if manifest.files), None)
        known = {file.sha256 for file in latest.files} if latest else set()
        if not present or {hashes[file] for file in present} == known:
            return []
        if len(present) > 1:
            call.notices.append(
                f"{call.table.name}: {len(present)} files together are the whole list; remove those of earlier days"
            )
        return [_distinct(present, hashes)]
    fresh = _distinct([file for file in present if hashes[file] not in seen], hashes)
    if call.table.arrival == "versions":
        return [[file] for file in fresh]
    return [fresh] if fresh else []


def _distinct(files: Sequence[LandingFile], hashes: Mapping[LandingFile, str]) -> list[LandingFile]:
    return list({hashes[file]: file for file in reversed(files)}.values())[::-1]


def _take_in(
    call: _Call,
    files: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    events: Events | None,
    before: Sequence[Manifest],
) -> str | None:
    """Make and commit one batch; returns why it may not be committed, or None."""
    ingested_at = _next_instant(call, before)
    batch_id = ingested_at.strftime(_BATCH_ID)
    work = call.arriving / f"{batch_id}.{os.getpid()}"
    work.mkdir()
    try:
        with Splitter(call.table, call.suite, work, ingested_at, memory_limit=call.memory_limit) as split:
            layouts, notices, rejected = _stage(call, split, files, hashes, work)
            if events is not None:
                split.add_rows(ONLINE_STORE, events.rows, [row["sequence"] for row in events.rows])
            if call.table.name == "product_photos":
                photos = split.accepted_values("photo_path", "sha256")
                split.update_rows("photo_path", check_photos(call.landing, photos))
            accepted = [manifest for manifest in before if manifest.rows.accepted] + [
                manifest for manifest in call.committed if manifest.rows.accepted
            ]
            earlier = [call.folder / manifest.batch_id / "accepted.parquet" for manifest in accepted]
            split.settle(earlier)
            failed = _refusal(call, split, [*before, *call.committed])
            if failed is not None:
                return failed
            counts = split.counts()
            outcomes = [
                _outcome(call, file, hashes[file], layouts[file], counts[file.name], notices[file])
                for file in files
                if file in layouts
            ]
            if not (outcomes or rejected or events):
                return None
            if events is not None:
                outcomes.append(_events_outcome(events, counts[ONLINE_STORE]))
            batch = work / "batch"
            batch.mkdir()
            split.write_accepted(batch / "accepted.parquet", batch_id)
            split.write_quarantined(batch / "quarantined.parquet", batch_id)
            manifest = Manifest(
                table=call.table.name,
                batch_id=batch_id,
                ingested_at=ingested_at.isoformat(),
                rows=sum((outcome.rows for outcome in outcomes), Counts()),
                quarantined_by_rule=split.quarantined_by_rule(),
                files=(*outcomes, *rejected),
                first_sequence=events.first_sequence if events else None,
                last_sequence=events.last_sequence if events else None,
            )
        _assert_balanced(manifest)
        _commit(call, manifest, batch)
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stage(
    call: _Call, split: Splitter, files: Sequence[LandingFile], hashes: Mapping[LandingFile, str], work: Path
) -> tuple[dict[LandingFile, Layout], dict[LandingFile, tuple[str, ...]], list[FileOutcome]]:
    layouts: dict[LandingFile, Layout] = {}
    notices: dict[LandingFile, tuple[str, ...]] = {}
    rejected = []
    for file in files:
        try:
            if file.name.lower().endswith(".parquet"):
                layout = parquet_layout(file, call.table, split.connection)
                split.add_parquet(file.path, layout)
                notices[file] = layout.notices
            else:
                text = readable_text(file, work)
                layout = csv_layout(file, text, call.table)
                notices[file] = layout.notices + split.add_csv(file.name, text, layout)
            layouts[file] = layout
        except FileRejected as error:
            rejected.append(
                FileOutcome(file.name, hashes[file], file.size, file.mark, "rejected", str(error), Counts())
            )
        if not is_unchanged(file):
            raise IngestError(
                f"{call.table.name}/{file.name} changed while it was read; nothing was committed: run again when it is "
                "complete (write to a name that ends in .tmp and rename)"
            )
    return layouts, notices, rejected


def _refusal(call: _Call, split: Splitter, manifests: Sequence[Manifest]) -> str | None:
    counts = sum(split.counts().values(), Counts())
    rows_before = 0 if call.table.arrival == "snapshot" else _table_rows(call.table, manifests)
    if call.table.arrival == "snapshot" and counts.rows_in and not counts.accepted:
        return (
            f"{call.table.name}: none of {counts.rows_in} rows was accepted, and the list before stays "
            f"({split.first_reason()})"
        )
    reason = split.broken_table_rule(rows_before=rows_before) if counts.rows_in else None
    return f"{reason} ({split.first_reason()})" if reason and not counts.accepted else reason


def _outcome(
    call: _Call, file: LandingFile, sha256: str, layout: Layout, rows: Counts, notices: tuple[str, ...]
) -> FileOutcome:
    outcome: Outcome = "partly_quarantined" if rows.quarantined else "processed"
    return FileOutcome(
        file.name, sha256, file.size, file.mark, outcome, None, rows, notices, layout.columns, layout.delimiter
    )


def _events_outcome(events: Events, rows: Counts) -> FileOutcome:
    facts = [sorted((key, str(value)) for key, value in row.items()) for row in events.rows]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    outcome: Outcome = "partly_quarantined" if rows.quarantined else "processed"
    return FileOutcome(ONLINE_STORE, digest, 0, (), outcome, None, rows)


def _assert_balanced(manifest: Manifest) -> None:
    rows = manifest.rows
    if rows.rows_in != rows.accepted + rows.duplicate + rows.quarantined or rows.quarantined != sum(
        manifest.quarantined_by_rule.values()
    ):
        raise IngestError(f"the counts of batch {manifest.batch_id} of {manifest.table} do not balance: {rows}")


def _next_instant(call: _Call, before: Sequence[Manifest]) -> datetime:
    taken = [manifest.batch_id for manifest in [*before, *call.committed]]
    if not taken:
        return call.ingested_at
    latest = datetime.strptime(max(taken), _BATCH_ID).replace(tzinfo=UTC)
    return max(call.ingested_at, latest + timedelta(microseconds=1))


def _table_rows(table: Table, manifests: Sequence[Manifest]) -> int:
    if table.arrival == "snapshot":
        return manifests[-1].rows.accepted if manifests else 0
    return sum(manifest.rows.accepted for manifest in manifests)


def _nothing_there(call: _Call, rejected: Sequence[FileOutcome]) -> str:
    reasons = "; ".join(str(file.reason) for file in rejected)
    needed = ", ".join(column.name for column in call.table.columns if column.must_be_present)
    waiting = f" ({', '.join(call.waiting)} is still being written)" if call.waiting else ""
    return (
        f"{call.table.name} has no rows and nothing can be computed without it{waiting}: "
        + (f"{reasons}" if reasons else f"put a CSV or Parquet file into {call.landing / call.table.name}")
        + f"; it needs the columns {needed}"
    )


# --- committing ------------------------------------------------------------------------------------------------------


def _commit_empty(call: _Call) -> None:
    """Commit a batch without rows, so that a reader of every batch always finds a file with the right columns."""
    batch_id = call.ingested_at.strftime(_BATCH_ID)
    work = call.arriving / f"{batch_id}.{os.getpid()}"
    work.mkdir()
    try:
        batch = work / "batch"
        batch.mkdir()
        with Splitter(call.table, call.suite, work, call.ingested_at) as split:
            split.settle([])
            split.write_accepted(batch / "accepted.parquet", batch_id)
            split.write_quarantined(batch / "quarantined.parquet", batch_id)
        manifest = Manifest(call.table.name, batch_id, call.ingested_at.isoformat(), Counts(), {}, ())
        _commit(replace(call, committed=[]), manifest, batch)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _commit(call: _Call, manifest: Manifest, batch: Path) -> None:
    (batch / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    for name in ("accepted.parquet", "quarantined.parquet", "manifest.json"):
        sync(batch / name)
    sync(batch)
    batch.rename(call.folder / manifest.batch_id)
    sync(call.folder)
    call.committed.append(manifest)


def _read_manifest(path: Path) -> Manifest:
    document = json.loads(path.read_text(encoding="utf-8"))
    files = [
        FileOutcome(
            **{
                **file,
                "mark": tuple(file["mark"]),
                "rows": Counts(**file["rows"]),
                "notices": tuple(file["notices"]),
                "columns": tuple(file["columns"]),
            }
        )
        for file in document["files"]
    ]
    return Manifest(**{**document, "rows": Counts(**document["rows"]), "files": tuple(files)})


@contextmanager
def _locked(arriving: Path, table: Table) -> Iterator[None]:
    """Hold a table for this process; the operating system lets go of it however the process ends."""
    with (arriving / "lock").open("a") as file:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise IngestBusy(
                        f"another process has been ingesting {table.name} for {_LOCK_SECONDS:.0f} s: wait for it to end"
                    ) from None
                time.sleep(0.05)
        yield


def _remove_abandoned(arriving: Path) -> None:
    """Remove what a killed process left; the lock is held, so nobody is at work in here."""
    for path in arriving.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _unwritable(raw: Path, reason: str, code: int | None) -> IngestError:
    remedy = "free disk space" if code == errno.ENOSPC else "give it to your user or set INVENTORYBOT_HOME elsewhere"
    return IngestError(f"{raw} cannot be written ({reason}); nothing was committed: {remedy} and run again")
