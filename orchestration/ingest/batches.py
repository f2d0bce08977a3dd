"""Arrival batches: what was new is committed as one immutable folder per batch, with a manifest.

Belongs here: what is new, the order of batches, and the step that makes a batch visible. Does not: reading (files,
sql_sources), judging (validator, suites), the shape of manifests (manifests).

    raw/<table>/<batch_id>/accepted.parquet quarantined.parquet ended.parquet keys.parquet manifest.json
    raw/.arriving/<table>/               where a batch is prepared, and the lock of the table

A batch becomes visible by one rename, after all of it is durable; a process killed before leaves nothing behind but a
folder in `.arriving`, which the next call removes. `.arriving` lies one level deeper than batches, so that no glob
over batches meets it. Everything in a batch came by one channel. A batch of facts holds every file that was new at one
call; each new file of a versioned table is a batch of its own, in the order of file names, because the later arrival
of a key counts; a batch of a snapshot holds every file present. Only where rows end is there an `ended.parquet`,
and only where they can a `keys.parquet` (holdings).
"""

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from orchestration.ingest.arriving import locked, remove_abandoned, unwritable
from orchestration.ingest.business_day import day_under_way
from orchestration.ingest.contract import Table, table_named
from orchestration.ingest.deliveries import (
    Delivery,
    Missing,
    delivery_of_file,
    delivery_of_source,
    find_missing,
    fresh_files,
    open_questions,
    renamed_files,
    unread_lists,
    write_ended,
)
from orchestration.ingest.errors import FileRejected, IngestError, LandingUnavailable, SourceUnavailable
from orchestration.ingest.files import LandingFile, content_hash, stat_file, sync
from orchestration.ingest.formats import Format, delivery_of
from orchestration.ingest.holdings import ENDED, KEYS, Holdings
from orchestration.ingest.inspection import inspect_here, plain_name
from orchestration.ingest.intake import Intake, distinct
from orchestration.ingest.landing import LandingFolder, LandingPlace, overlooked
from orchestration.ingest.layouts import parquet_layout
from orchestration.ingest.limits import Allowance, FileRules
from orchestration.ingest.manifests import (
    BATCH_ID,
    LANDING,
    ONLINE_STORE,
    Counts,
    FileOutcome,
    Manifest,
    Settled,
    has_rows,
    last_cursor,
    read_manifests,
)
from orchestration.ingest.names import shown
from orchestration.ingest.photos import check_photos
from orchestration.ingest.sql_sources import SqlSource, pull
from orchestration.ingest.staging import Events, Release, Stage, Staged, staging_events, staging_release
from orchestration.ingest.suites import Suite, load_suite
from orchestration.ingest.validator import RowValidator

_ARRIVING = ".arriving"
_FETCHED, _KNOWN = "fetched", "known"
_MOST_REASONS = 3

Claim = Callable[[frozenset[str], str], Mapping[str, str]]
"""Takes the sources of movements and the channel they came by; returns, per source that may not come by it, why."""


@dataclass(frozen=True)
class ArrivalReport:
    """What one call of `ingest_table` came to.

    Attributes:
        table: raw table.
        batches: manifests of the batches committed by this call; empty when nothing was new.
        accepted: `accepted.parquet` of those batches that accepted rows: what to hand to `expectations.validate`.
        rows: what became of the rows of this call.
        quarantined_by_rule: quarantined rows of this call per rule.
        rejected: files that lie in the landing folder and cannot be read, those of earlier calls included.
        unavailable: why SQL sources, or a landing folder in S3, could not be read, one sentence each; the rest went on.
        waiting: names of files that are still being written.
        ended: rows of earlier batches that ended, as full lists of this call lack them.
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
    unavailable: tuple[str, ...]
    waiting: tuple[str, ...]
    ended: int
    notices: tuple[str, ...]
    table_rows: int
    failed: str | None


def ingest_table(
    table: Table | str,
    *,
    landing: Path | LandingPlace,
    raw: Path,
    ingested_at: datetime,
    events: Events | None = None,
    sources: Sequence[SqlSource] = (),
    release: Release | None = None,
    claim: Claim | None = None,
    files: FileRules | None = None,
    settle_seconds: float = 1.0,
) -> ArrivalReport:
    """Take in what is new of one raw table.

    Call it once per table and run, for every table of `load_contract()`: each table then has at least one batch, if
    an empty one. Then hand `report.accepted` to `expectations.validate`, where it is not empty; stop what depends on
    the table when `report.failed` is not None.

    Args:
        table: table of the contract, or its name.
        landing: landing folder, here or in S3; the files of the table lie in `landing/<table>/`. Never written to.
        raw: folder of arrival batches.
        ingested_at: instant that this arrival is known from, aware. It is moved forward where it does not lie behind
            the latest batch of the table, so that batches sort by arrival.
        events: for stock_movements, what the online store holds behind `manifests.ledger_watermark(raw)`.
        sources: SQL sources of this table.
        release: quarantined rows to judge again or to give up; see quarantine.py.
        claim: asks which sources of movements may come by a channel, so that no sale enters by two.
        files: how files are treated; None = the defaults.
        settle_seconds: a file changed within this time before the call is looked at twice.

    Returns:
        The report. A file that cannot be read is in `rejected`, one that changed while it was read is in `waiting`;
        other files go on.

    Raises:
        IngestBusy: another process has been ingesting this table for a minute.
        IngestError: the raw folder cannot be written; the message names place, cause and remedy.
    """
    table = table_named(table) if isinstance(table, str) else table
    place = LandingFolder(landing) if isinstance(landing, Path) else landing
    arriving = raw / _ARRIVING / table.name
    try:
        arriving.mkdir(parents=True, exist_ok=True)
        (raw / table.name).mkdir(exist_ok=True)
        with locked(arriving, table):
            remove_abandoned(arriving)
            suite = load_suite(table)
            before = read_manifests(raw / table.name)
            intake = Intake(table, place, arriving / _FETCHED, files or FileRules())
            call = _Call(table, suite, place, raw, arriving, ingested_at.astimezone(UTC), claim, before, intake)
            try:
                return call.run(events, sources, release, settle_seconds)
            finally:
                shutil.rmtree(arriving / _KNOWN, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise unwritable(raw, reason, error.errno) from error
    except duckdb.IOException as error:
        reason = str(error).splitlines()[0]
        raise unwritable(raw, reason, errno.ENOSPC if "No space left" in reason else None) from error
    except duckdb.OutOfMemoryException as error:
        reason = str(error).splitlines()[0]
        raise IngestError(
            f"{table.name} needs more memory and disk than ingest may use ({reason}); nothing was "
            f"committed: free disk space in {raw}, or split the file"
        ) from error


@dataclass
class _Call:
    """One call of `ingest_table`, under the lock of its table."""

    table: Table
    suite: Suite
    landing: LandingPlace
    raw: Path
    arriving: Path
    ingested_at: datetime
    claim: Claim | None
    before: list[Manifest]
    intake: Intake
    committed: list[Manifest] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    spoiling: list[FileOutcome] = field(default_factory=list)
    refused: list[FileOutcome] = field(default_factory=list)
    lying: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    holdings: Holdings | None = None

    @property
    def folder(self) -> Path:
        return self.raw / self.table.name

    @property
    def manifests(self) -> list[Manifest]:
        return [*self.before, *self.committed]

    def run(
        self, events: Events | None, sources: Sequence[SqlSource], release: Release | None, settle_seconds: float
    ) -> ArrivalReport:
        self.channels = frozenset(source.channel for source in sources)
        # Beside a release no file is looked at: what arrived meanwhile waits for the next ingest.
        hashes = {} if release else self._take_in_files(settle_seconds)
        for source in sources:
            full = None
            if source.is_full and self.table.ends:
                full = delivery_of_source(self.table, self.intake.rules.formats, source.channel, self._known())
            self._take_in(source.channel, self._staging_source(source), delivery=full)
        if events is not None:
            self._take_in(ONLINE_STORE, staging_events(events), events=events)
        if release is not None:
            self._take_in(LANDING, staging_release(release), settled=release.settled, came_by=release.channel)
        rejected = self._standing_rejections(set(hashes.values()))
        stands_in = self.table.stands_in is not None and has_rows(self.raw / self.table.stands_in)
        if self.table.required and not self._rows() and not stands_in and not self.failures:
            self.failures.append(self._nothing_there(rejected))
        if not self.manifests:
            self._commit_empty()
        return self._report(rejected)

    def _take_in_files(self, settle_seconds: float) -> dict[LandingFile, str]:
        """Take in what is new in the landing folder; returns the hash of every file that lies there."""
        hashes: dict[LandingFile, str] = {}
        try:
            looked = self.landing.look(self.table.name, settle_seconds=settle_seconds)
            self.waiting += map(shown, looked.waiting)
            self.notices += [*looked.notices, *overlooked(self.landing, self.table)]
            marks = {file.mark: file.sha256 for manifest in self.before for file in manifest.files if file.mark}
            hashes, refused = self.intake.hashed(looked, {mark: digest for mark, digest in marks.items() if digest})
            if refused and self.table.arrival == "snapshot":
                self.spoiling += refused
                return hashes
            batches, notices = self.intake.capped(self._batches(list(hashes), hashes))
            self.notices += notices
            self.intake.look_into([file for files in batches for file in files])
            if self.table.ends:
                self._note_renames(hashes)
                if len(batches) > 1:
                    self._expect([file for files in batches for file in files], hashes)
            for files in batches:
                self._take_in_files_of_a_batch(files, hashes)
            if refused:
                self._take_in(LANDING, lambda *_: ([], refused))
        except LandingUnavailable as error:
            self.unavailable.append(str(error))
        finally:
            shutil.rmtree(self.arriving / _FETCHED, ignore_errors=True)
        return hashes

    def _take_in_files_of_a_batch(self, files: list[LandingFile], hashes: Mapping[LandingFile, str]) -> None:
        """Make a batch of files; one that changes while it is read waits, and the others are read without it."""
        while files:
            # Files of versions come one by one.
            delivery = None
            if self.table.ends:
                known = self._files_known()
                delivery = delivery_of_file(self.table, self.intake.rules.formats, files[0].name, known, self._known())
            changed = self._take_in(LANDING, self.intake.staging(files, hashes), delivery=delivery)
            self.waiting += [shown(file.name) for file in changed]
            if self.table.arrival == "snapshot" or not changed:
                return
            files = [file for file in files if file not in changed]

    def _note_renames(self, hashes: Mapping[LandingFile, str]) -> None:
        """Remember which files lie there under a new name: they stand for what came under the old one."""
        renamed = renamed_files(hashes, self._files_known())
        self.lying = frozenset(file.name for file in hashes)
        if renamed:
            self._take_in(LANDING, lambda *_: ([], renamed))
            self.before, self.committed = self.manifests, []

    def _expect(self, files: list[LandingFile], hashes: Mapping[LandingFile, str]) -> None:
        """Read the keys of all new files first: what moves from one to another has not ended."""
        formats = self.intake.rules.formats
        lists = [file for file in files if delivery_of(formats, self.table.name, file.name).delivery != "changes"]
        with TemporaryDirectory(dir=self.arriving) as folder:
            work = Path(folder)
            with RowValidator(self.table, self.suite, work, self.ingested_at) as validator:
                staged, _ = self.intake.staging(lists, hashes)(validator, work)
                if staged:
                    self._known().attach(validator.connection)
                    self._known().expect(validator.connection, validator.origin_sql)

    def _known(self) -> Holdings:
        """Return what sources hold, read from all batches at the first use."""
        if self.holdings is None:
            self.holdings = Holdings(self.table, self.folder, self.arriving / _KNOWN, self.channels, self.lying)
            self.holdings.load(self.manifests)
        return self.holdings

    def _standing_rejections(self, present: set[str]) -> tuple[FileOutcome, ...]:
        remembered = [file for manifest in self.manifests for file in manifest.files]
        lasting = [f for f in remembered if f.outcome == "rejected" and f.sha256 in present and not f.is_tried_again]
        return tuple({(f.name, f.reason): f for f in (*lasting, *self.spoiling, *self.refused)}.values())

    def _report(self, rejected: tuple[FileOutcome, ...]) -> ArrivalReport:
        by_rule: dict[str, int] = {}
        for manifest in self.committed:
            for rule, rows in manifest.quarantined_by_rule.items():
                by_rule[rule] = by_rule.get(rule, 0) + rows
        found = [notice for manifest in self.committed for file in manifest.files for notice in file.notices]
        if self.table.ends and not any(file.asks for manifest in self.committed for file in manifest.files):
            found += open_questions(self.table, self.intake.rules.formats, self.before)
        return ArrivalReport(
            table=self.table.name,
            batches=tuple(self.committed),
            accepted=tuple(self._accepted_files(self.committed)),
            rows=sum((manifest.rows for manifest in self.committed), Counts()),
            quarantined_by_rule=dict(sorted(by_rule.items(), key=lambda pair: (-pair[1], pair[0]))),
            rejected=tuple(replace(file, name=shown(file.name), reason=shown(file.reason or "")) for file in rejected),
            unavailable=tuple(self.unavailable),
            waiting=tuple(self.waiting),
            ended=sum(manifest.ended for manifest in self.committed),
            notices=tuple(map(shown, (*self.notices, *found))),
            table_rows=self._rows(),
            failed=shown("; ".join(self.failures)) or None,
        )

    def _accepted_files(self, manifests: Sequence[Manifest]) -> list[Path]:
        return [self.folder / m.batch_id / "accepted.parquet" for m in manifests if m.rows.accepted]

    def _rows(self) -> int:
        if self.table.arrival == "snapshot":
            return self.manifests[-1].rows.accepted if self.manifests else 0
        return sum(manifest.rows.accepted for manifest in self.manifests)

    # --- what a batch is made from

    def _batches(self, present: Sequence[LandingFile], hashes: Mapping[LandingFile, str]) -> list[list[LandingFile]]:
        """Return the files of each batch to make."""
        if self.table.arrival == "snapshot":
            latest = next((m for m in reversed(self.before) if m.files and m.channel == LANDING), None)
            known = {file.sha256 for file in latest.files} if latest else set()
            if not present or {hashes[file] for file in present} == known:
                return []
            if len(present) > 1:
                self.notices.append(
                    f"{self.table.name}: {len(present)} files together are the whole list; remove those of earlier days"
                )
            return [distinct(present, hashes)]
        if self.table.arrival == "versions":
            looked = (self.table, self.intake.rules.formats, present, hashes, self._files_known())
            self.notices += unread_lists(*looked)
            return [[file] for file in fresh_files(*looked)]
        seen = {file.sha256 for file in self._files_known()}
        fresh = distinct([file for file in present if hashes[file] not in seen], hashes)
        return [fresh] if fresh else []

    def _files_known(self) -> list[FileOutcome]:
        """Return the files of earlier batches that are not tried again."""
        return [file for manifest in self.before for file in manifest.files if not file.is_tried_again]

    def _staging_source(self, source: SqlSource) -> Stage:
        def stage(validator: RowValidator, work: Path) -> tuple[list[Staged], list[FileOutcome]]:
            path = work / "pulled.parquet"
            try:
                cursor = pull(source, path, since=last_cursor(self.manifests, source.channel))
                layout = parquet_layout(
                    stat_file(path, source.channel),
                    self.table,
                    inspect_here(path, [plain_name(name) for name in self.table.column_names]),
                )
            except (SourceUnavailable, FileRejected) as error:
                self.unavailable.append(f"{source.channel}: {error}")
                return [], []
            known = Format(self.table.name, time_zone=source.time_zone)
            allowance = Allowance(source.channel, self.intake.rules.limits)
            validator.add_parquet(source.channel, path, layout, known, allowance)
            size = path.stat().st_size
            return [
                Staged(
                    *(source.channel, content_hash(path), size, (), layout.notices, layout.columns),
                    cursor=cursor,
                    time_zone=known.time_zone or "",
                )
            ], []

        return stage

    # --- one batch

    def _take_in(
        self,
        channel: str,
        stage: Stage,
        *,
        events: Events | None = None,
        settled: tuple[Settled, ...] = (),
        came_by: str | None = None,
        delivery: Delivery | None = None,
    ) -> list[LandingFile]:
        """Make one batch and commit it, unless it holds nothing or may not be committed.

        Returns:
            Files that changed while they were read: then nothing was committed.
        """
        ingested_at = self._next_instant()
        batch_id = ingested_at.strftime(BATCH_ID)
        work = self.arriving / f"{batch_id}.{os.getpid()}"
        work.mkdir()
        try:
            with RowValidator(self.table, self.suite, work, ingested_at) as validator:
                staged, rejected = stage(validator, work)
                if rejected and self.table.arrival == "snapshot":
                    # A list with a part missing would read as if that part no longer held: the list before stays.
                    self.spoiling += rejected
                    return []
                self.refused += [file for file in rejected if file.is_tried_again]
                rejected = [file for file in rejected if not self._is_told(file)]
                if staged:
                    self._check_against_the_world(validator, came_by or channel)
                missing = self._settle(validator, delivery if staged else None, ingested_at)
                refusal = missing.held or self._refusal(validator)
                if refusal is not None:
                    self.failures.append(refusal)
                    return []
                for known in staged:
                    if delivery is not None:
                        known.is_full_list, known.list_of = delivery.kind == "declared", delivery.files
                    known.asks = missing.asks and bool(missing.notice)
                    known.notices = (*known.notices, *filter(None, [missing.notice]))
                counts = validator.counts()
                outcomes = [known.outcome(counts[known.name]) for known in staged]
                if not (missing.ended or missing.is_more) and not self._is_worth_a_batch(
                    channel, outcomes, rejected, events
                ):
                    return []
                manifest = Manifest(
                    table=self.table.name,
                    batch_id=batch_id,
                    ingested_at=ingested_at.isoformat(),
                    channel=channel,
                    rows=sum((outcome.rows for outcome in outcomes), Counts()),
                    quarantined_by_rule=validator.quarantined_by_rule(),
                    files=(*outcomes, *rejected),
                    first_sequence=events.first_sequence if events else None,
                    last_sequence=events.last_sequence if events else None,
                    settled=settled,
                    ended=missing.ended,
                )
                batch = self._write(validator, manifest, work, delivery if staged else None)
                read = [known.file for known in staged if known.file is not None]
                changed = [file for file in read if not self.landing.is_unchanged(file)]
                if not changed:
                    self._publish(manifest, batch)
                    if self.holdings is not None:
                        self.holdings.record(validator.connection, manifest)
                return changed
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _settle(self, validator: RowValidator, delivery: Delivery | None, ingested_at: datetime) -> Missing:
        """Settle identities, and what a full list lacks."""
        if self.table.arrival != "versions":
            validator.settle(self._accepted_files(self.manifests))
            return Missing()
        holdings = self._known()
        holdings.attach(validator.connection)
        validator.settle([], "known.current")
        if delivery is None:
            return Missing()
        today = partial(day_under_way, self.raw, ingested_at)
        return find_missing(validator.connection, self.table, holdings, delivery, ingested_at.date(), today)

    def _is_told(self, file: FileOutcome) -> bool:
        """Tell whether the latest batch that knows a file says the same of it."""
        known = [f for m in self.manifests for f in m.files if f.name == file.name]
        return (
            bool(known) and file.is_tried_again and (known[-1].sha256, known[-1].reason) == (file.sha256, file.reason)
        )

    def _check_against_the_world(self, validator: RowValidator, channel: str) -> None:
        """Refuse rows for what no rule on values can see: a photo that is none, a source that has another channel."""
        if self.table.name == "product_photos":
            validator.update_rows(
                "photo_path", check_photos(self.landing, validator.accepted_values("photo_path", "sha256"))
            )
        if self.table.name == "stock_movements" and self.claim is not None and channel != ONLINE_STORE:
            sources = frozenset(source for (source,) in validator.accepted_values("source"))
            refused = sorted(self.claim(sources, channel).items()) if sources else []
            if refused:
                names, reasons = zip(*refused, strict=True)
                rules = ["second_channel"] * len(names)
                verdicts = {"value": names, "rule": rules, "reason": reasons}
                validator.update_rows(
                    "source", pa.table({key: pa.array(v, pa.string()) for key, v in verdicts.items()})
                )

    def _refusal(self, validator: RowValidator) -> str | None:
        rows = sum(validator.counts().values(), Counts())
        if not rows.rows_in:
            return None
        is_snapshot = self.table.arrival == "snapshot"
        if is_snapshot and not rows.accepted:
            return (
                f"{self.table.name}: none of {rows.rows_in} rows was accepted, so the list before stays "
                f"({validator.first_reason()})"
            )
        reason = validator.broken_table_rule(rows_before=0 if is_snapshot else self._rows())
        return f"{reason} ({validator.first_reason()})" if reason and not rows.accepted else reason

    def _is_worth_a_batch(
        self, channel: str, outcomes: list[FileOutcome], rejected: list[FileOutcome], events: Events | None
    ) -> bool:
        """Tell whether anything is to be remembered: a source that brought nothing but what is known is not."""
        if not channel.startswith("sql:"):
            return bool(outcomes or rejected or events)
        latest = next((m for m in reversed(self.manifests) if m.channel == channel), None)
        for outcome in outcomes:
            is_new = outcome.rows.accepted or outcome.rows.quarantined
            if latest is None or (is_new and outcome.sha256 != latest.files[0].sha256):
                return True
            if outcome.cursor != last_cursor(self.manifests, channel):
                return True
        return False

    def _next_instant(self) -> datetime:
        if not self.manifests:
            return self.ingested_at
        latest = datetime.strptime(self.manifests[-1].batch_id, BATCH_ID).replace(tzinfo=UTC)
        return max(self.ingested_at, latest + timedelta(microseconds=1))

    def _nothing_there(self, rejected: Sequence[FileOutcome]) -> str:
        reasons = [*(str(file.reason) for file in rejected), *self.unavailable]
        if len(reasons) > _MOST_REASONS:
            reasons[_MOST_REASONS:] = [f"{len(reasons) - _MOST_REASONS:,} more files were refused"]
        needed = ", ".join(column.name for column in self.table.columns if column.must_be_present)
        waiting = f" ({', '.join(self.waiting)} is still being written)" if self.waiting else ""
        remedy = "; ".join(reasons) or f"put a CSV or Parquet file into {self.landing}/{self.table.name}"
        instead = (
            f"; totals by day, in {self.landing}/{self.table.stands_in}, do as well" if self.table.stands_in else ""
        )
        return (
            f"{self.table.name} has no rows and nothing can be computed without it{waiting}: {remedy}; "
            f"it needs the columns {needed}{instead}"
        )

    # --- committing

    def _commit_empty(self) -> None:
        """Commit a batch without rows, so that a reader of every batch always finds a file with the right columns."""
        batch_id = self.ingested_at.strftime(BATCH_ID)
        work = self.arriving / f"{batch_id}.{os.getpid()}"
        work.mkdir()
        try:
            with RowValidator(self.table, self.suite, work, self.ingested_at) as validator:
                validator.settle([])
                at = self.ingested_at.isoformat()
                manifest = Manifest(self.table.name, batch_id, at, LANDING, Counts(), {}, ())
                self._publish(manifest, self._write(validator, manifest, work))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self.committed.clear()

    def _write(self, validator: RowValidator, manifest: Manifest, work: Path, delivery: Delivery | None = None) -> Path:
        """Write a batch aside, durably; returns its folder."""
        if not manifest.rows.is_balanced or manifest.rows.quarantined != sum(manifest.quarantined_by_rule.values()):
            raise IngestError(
                f"the counts of batch {manifest.batch_id} of {manifest.table} do not balance ({manifest.rows}); "
                "nothing was committed: this is a bug; please report it with the file"
            )
        batch = work / "batch"
        batch.mkdir()
        validator.write_accepted(batch / "accepted.parquet", manifest.batch_id)
        validator.write_quarantined(batch / "quarantined.parquet", manifest.batch_id)
        if manifest.ended:
            write_ended(validator.connection, self.table, batch / ENDED, manifest)
        if delivery is not None or (self.table.ends and manifest.settled):
            self._known().write(validator.connection, batch / KEYS, manifest, validator.origin_sql)
        (batch / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        for path in sorted(batch.iterdir()):
            sync(path)
        sync(batch)
        return batch

    def _publish(self, manifest: Manifest, batch: Path) -> None:
        """Make a batch visible, in one step."""
        batch.rename(self.folder / manifest.batch_id)
        sync(self.folder)
        self.committed.append(manifest)
