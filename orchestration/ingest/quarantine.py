"""Quarantined rows of the batch side: look at them, correct them, judge them again, or give them up.

Belongs here: which quarantined rows are open, which accepted ones wait, and turning original text back into values.
Does not: judging (a released row passes the same split as any arrival, in a batch of its own), who waits for what (the
warehouse finds out at every run), the quarantine of the online store (serving/store).

A row of a batch is never changed. What became of it stands in the manifest of a later batch; of a list that is replaced
as a whole, a later list supersedes it: quarantined = open + released + discarded + superseded, for ever. A row that was
accepted and waits, for its product say, is none of these; corrected or discarded it is withdrawn.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.batches import ArrivalReport, Claim, ingest_table
from orchestration.ingest.contract import Table, load_contract, table_named
from orchestration.ingest.csv_records import read_values
from orchestration.ingest.errors import IngestError
from orchestration.ingest.formats import standard_text
from orchestration.ingest.inspection import plain_name
from orchestration.ingest.landing import LandingPlace
from orchestration.ingest.manifests import LANDING, ONLINE_STORE, FileOutcome, Manifest, Settled, read_manifests
from orchestration.ingest.names import shown
from orchestration.ingest.staging import Release

Status = Literal["open", "waiting", "released", "discarded", "superseded", "withdrawn"]

DAYS_TO_COME = "after_as_of"
"""Rule of the rows that wait for nothing but their day."""

_EVERY_ROW = 2**31


@dataclass(frozen=True)
class QuarantinedRow:
    """One quarantined row.

    Attributes:
        table: raw table.
        batch_id: batch that quarantined it.
        source_file: file it came in.
        source_row: its row there.
        original_text: as it stood there.
        rule: rule it broke.
        reason: why, in words.
        status: open, released (judged again, with whatever result), discarded, or superseded by a later list; waiting =
            accepted and tried again at every run; withdrawn = it waited and was corrected or discarded.
    """

    table: str
    batch_id: str
    source_file: str
    source_row: int
    original_text: str
    rule: str
    reason: str
    status: Status

    @property
    def channel(self) -> str:
        """The way it came by: landing, online_store or sql:<name>."""
        return self.source_file if self.source_file.startswith(("sql:", ONLINE_STORE)) else LANDING

    @property
    def reference(self) -> str:
        """Name of the row on the command line: `table/batch/row/file`."""
        return f"{self.table}/{self.batch_id}/{self.source_row}/{self.source_file}"


@dataclass(frozen=True)
class QuarantineCounts:
    """How many rows were quarantined, and what became of them; the first number is the sum of the others."""

    added: int
    open: int
    released: int
    discarded: int
    superseded: int

    def __add__(self, other: "QuarantineCounts") -> "QuarantineCounts":
        return QuarantineCounts(
            self.added + other.added,
            self.open + other.open,
            self.released + other.released,
            self.discarded + other.discarded,
            self.superseded + other.superseded,
        )

    @property
    def is_balanced(self) -> bool:
        """Whether nothing was lost or counted twice."""
        return self.added == self.open + self.released + self.discarded + self.superseded


def list_quarantined(
    raw: Path,
    *,
    table: str | None = None,
    rule: str | None = None,
    status: Status | None = "open",
    batches: Set[str] | None = None,
    limit: int = 1000,
) -> list[QuarantinedRow]:
    """Return quarantined rows, the latest batch first.

    Args:
        raw: folder of arrival batches.
        table: only of this table.
        rule: only under this rule.
        status: only with this status; None = every one.
        batches: only of these batches; None = of every one.
        limit: at most so many rows.
    """
    found: list[QuarantinedRow] = []
    for name in [table_named(table).name] if table else [table.name for table in load_contract()]:
        manifests = read_manifests(raw / name)
        is_replaced = table_named(name).arrival == "snapshot"
        fates: dict[tuple[str, str, int], Status] = {
            (s.batch_id, s.source_file, s.source_row): s.how for manifest in manifests for s in manifest.settled
        }
        wanted = [m for m in manifests if m.rows.quarantined and (batches is None or m.batch_id in batches)]
        for manifest in reversed(wanted):
            for row in _rows_of(raw, manifest, rule):
                standing: Status = "superseded" if is_replaced and manifest is not manifests[-1] else "open"
                known = replace(row, status=fates.get((row.batch_id, row.source_file, row.source_row), standing))
                if status in (None, known.status):
                    found.append(known)
                    if len(found) == limit:
                        return found
    return found


def list_waiting(
    raw: Path,
    held: Path,
    *,
    table: str | None = None,
    rule: str | None = None,
    batches: Set[str] | None = None,
    limit: int = 1000,
) -> list[QuarantinedRow]:
    """Return the accepted rows that the latest build let wait and nobody withdrew since, the latest batch first.

    Args:
        raw: folder of arrival batches.
        held: export of marts.fct_quarantined_rows; where there is none, nothing has been built and nothing is known
            to wait.
        table: only of this table.
        rule: only those that wait for this reason; None = of all, but for those that wait for their day alone.
        batches: only of these batches; None = of every one.
        limit: at most so many rows.
    """
    if not held.exists():
        return []
    nothing = ", ".join(f"null::varchar as {name}" for name in ("table_name", "batch_id", "source_file", "rule"))
    withdrawn = {
        (name, s.batch_id, s.source_file, s.source_row)
        for name in (declared.name for declared in load_contract())
        for manifest in read_manifests(raw / name)
        for s in manifest.settled
        if s.how == "withdrawn"
    }
    wanted = [
        "is_waiting",
        f"table_name = {literal(table_named(table).name)}" if table else "true",
        f"rule = {literal(rule)}" if rule else f"(rule <> {literal(DAYS_TO_COME)} or {bool(batches)})",
        f"batch_id in ({', '.join(map(literal, sorted(batches)))})" if batches else "true",
    ]
    # An export from before rows said so themselves lacks the column: the next run writes it.
    found = duckdb.sql(f"""
        select table_name, batch_id, source_file, source_row, original_text, rule, reason
        from (
            select {nothing}, false as is_waiting where false
            union all by name select * from read_parquet({path_literal(held)})
        ) where {" and ".join(wanted)}
        order by batch_id desc, table_name, source_file, source_row
        limit {min(limit + len(withdrawn), _EVERY_ROW)}
    """).fetchall()
    rows = [
        QuarantinedRow(name, batch_id, file, number, text, broken, reason, "waiting")
        for name, batch_id, file, number, text, broken, reason in found
    ]
    return [r for r in rows if (r.table, r.batch_id, r.source_file, r.source_row) not in withdrawn][:limit]


def find(raw: Path, references: Sequence[str], held: Path | None = None) -> list[QuarantinedRow]:
    """Return the rows that references name, in their order; those that wait too, where `held` is given.

    Raises:
        IngestError: one names none; the message says what a reference looks like.
    """
    tables = {table.name for table in load_contract()}
    known: dict[str, QuarantinedRow] = {}
    for table in sorted({reference.split("/", 1)[0] for reference in references} & tables):
        batches = {reference.split("/")[1] for reference in references if reference.startswith(f"{table}/")}
        rows = list_quarantined(raw, table=table, status=None, batches=batches, limit=_EVERY_ROW)
        waiting = list_waiting(raw, held, table=table, batches=batches, limit=_EVERY_ROW) if held else []
        # What a command shows of a name with control characters names the row too.
        known.update(
            {
                name: row
                for row in [*waiting, *_withdrawn_rows(raw, table, batches), *rows]
                for name in (row.reference, shown(row.reference))
            }
        )
    for reference in references:
        if reference not in known:
            raise IngestError(
                f"there is no quarantined or waiting row {reference!r}: give a reference table/batch/row/file, as "
                "`inventorybot quarantine list` shows it"
            )
    return [known[reference] for reference in references]


def counts(raw: Path) -> QuarantineCounts:
    """Count the quarantined rows of every table, each number read where it is kept.

    Raises:
        IngestError: batches and manifests disagree; the message names the table.
    """
    total = QuarantineCounts(0, 0, 0, 0, 0)
    for table in load_contract():
        manifests = read_manifests(raw / table.name)
        settled = {(s.batch_id, s.source_file, s.source_row): s.how for m in manifests for s in m.settled}
        found = list_quarantined(raw, table=table.name, status=None, limit=_EVERY_ROW) if manifests else []
        by_status = Counter(row.status for row in found)
        fates = Counter(settled.values())
        counted = QuarantineCounts(
            sum(manifest.rows.quarantined for manifest in manifests),
            by_status["open"],
            by_status["released"],
            by_status["discarded"],
            by_status["superseded"],
        )
        if len(found) != counted.added or (fates["released"], fates["discarded"]) != (
            counted.released,
            counted.discarded,
        ):
            raise IngestError(
                f"the quarantine of {table.name} does not balance: manifests count {counted.added} rows, {fates}; "
                f"batches hold {len(found)}, {by_status}: a file in {raw / table.name} was changed or removed, "
                "restore it from a backup"
            )
        total = total + counted
    return total


def values_of(raw: Path, row: QuarantinedRow) -> dict[str, str | None]:
    """Return the values of a quarantined row by column of the contract, as text.

    Raises:
        IngestError: the original text cannot be parsed into columns (a broken line, say).
    """
    table = table_named(row.table)
    if row.status in ("waiting", "withdrawn"):
        return _accepted_values(raw, table, row)
    outcome = _outcome_of(raw, row)
    if outcome.delimiter:
        values = read_values(row.original_text, outcome.delimiter) or []
        if len(values) != len(outcome.columns):
            raise IngestError(
                f"{row.reference} holds {len(values)} values for {len(outcome.columns)} columns: give the value of "
                "every column, or send the line again in a file"
            )
        given: dict[str, Any] = dict(zip(outcome.columns, values, strict=True))
    else:
        given = json.loads(row.original_text)
    plain = {plain_name(name): value for name, value in given.items()}
    return {
        name: None if plain.get(name) in (None, "") else standard_text(table.column(name), str(plain[name]), outcome)
        for name in table.column_names
        if name in plain
    }


def release(
    raw: Path,
    landing: Path | LandingPlace,
    rows: Sequence[QuarantinedRow],
    *,
    corrections: Mapping[str, str | None],
    ingested_at: datetime,
    reason: str = "",
    claim: Claim | None = None,
) -> ArrivalReport:
    """Judge quarantined rows of one table again, corrected; they pass the same checks as any arrival.

    Args:
        raw: folder of arrival batches.
        landing: landing folder.
        rows: open rows of one table.
        corrections: column of the contract to the text it is to have, in every one of the rows; {column} in it stands
            for the value of a column of the row, {year} for the year in which it occurred.
        ingested_at: instant of the release.
        reason: who releases them and why; kept beside the corrections.
        claim: as for `ingest_table`: a row whose source has another channel stays out.

    Returns:
        The report of the batch; a row that is still refused lies in quarantine again, under that batch.

    Raises:
        IngestError: no rows, rows of several tables or channels or of a snapshot, a row that is not open, a column that
            does not exist, or a later version of the same key has arrived since.
    """
    table = table_named(_only_table(rows))
    channels = sorted({row.channel for row in rows})
    if len(channels) > 1:
        raise IngestError(f"release rows of one channel at a time; these came from {', '.join(channels)}")
    unknown = sorted(set(corrections) - set(table.column_names))
    if unknown:
        raise IngestError(f"{table.name} has no column {unknown[0]!r}; it has {', '.join(table.column_names)}")
    is_whole = {column.name for column in table.columns if column.must_be_present} <= set(corrections)
    given = [_corrected({} if is_whole else values_of(raw, row), corrections) for row in rows]
    if table.arrival == "versions":
        for row, values in zip(rows, given, strict=True):
            _check_not_overtaken(raw, table, row, values)
    changed = ", ".join(f"{name} = {value}" for name, value in corrections.items()) or "unchanged"
    changed = f"{reason}: {changed}" if reason else changed
    settled = tuple(Settled(row.batch_id, row.source_file, row.source_row, "released", changed) for row in rows)
    return _settle(raw, landing, table.name, Release(given, settled, channels[0]), ingested_at, claim)


def discard(
    raw: Path, landing: Path | LandingPlace, rows: Sequence[QuarantinedRow], *, reason: str, ingested_at: datetime
) -> ArrivalReport:
    """Give up quarantined rows of one table, with a reason that stays.

    Raises:
        IngestError: no rows, rows of several tables, a row that is not open, or no reason.
    """
    if not reason.strip():
        raise IngestError("a discarded row needs a reason: say why it is not wanted")
    settled = tuple(Settled(row.batch_id, row.source_file, row.source_row, "discarded", reason) for row in rows)
    return _settle(raw, landing, _only_table(rows), Release([], settled), ingested_at)


def withdraw(
    raw: Path,
    landing: Path | LandingPlace,
    row: QuarantinedRow,
    *,
    corrections: Mapping[str, str | None],
    ingested_at: datetime,
    reason: str,
    claim: Claim | None = None,
) -> ArrivalReport:
    """Take back a row that waits, and bring it again corrected where there are corrections.

    A corrected movement comes under the next revision; it passes the same checks as any arrival.

    Args:
        raw: folder of arrival batches.
        landing: landing folder.
        row: a row that waits.
        corrections: column of the contract to the text it is to have; none = the row is given up.
        ingested_at: instant of the correction.
        reason: who takes it back and why; kept for ever.
        claim: as for `ingest_table`.

    Raises:
        IngestError: the row does not wait, is an event of the online store or of a list that is replaced as a whole, a
            column does not exist, there is no reason, or a later revision has come.
    """
    table = table_named(row.table)
    if row.status != "waiting":
        raise IngestError(f"{row.reference} is {row.status} and does not wait: `inventorybot quarantine show` shows it")
    if not reason.strip():
        raise IngestError("a row that is taken back needs a reason: give one")
    if table.arrival == "snapshot":
        raise IngestError(f"{table.name} is replaced as a whole: correct the list at its source and send it again")
    if row.channel == ONLINE_STORE:
        raise IngestError(
            f"{row.reference} is an event of the online store, whose ledger never changes: send the event again with "
            "the right values and the next revision, or load what it waits for"
        )
    unknown = sorted(set(corrections) - set(table.column_names))
    if unknown:
        raise IngestError(f"{table.name} has no column {unknown[0]!r}; it has {', '.join(table.column_names)}")
    changed = ", ".join(f"{name} = {value}" for name, value in corrections.items()) or "discarded"
    rows = [_next_revision(raw, table, row) | dict(corrections)] if corrections else []
    settled = Settled(row.batch_id, row.source_file, row.source_row, "withdrawn", f"{reason}: {changed}")
    channel = row.channel if rows else LANDING
    return _settle(raw, landing, table.name, Release(rows, (settled,), channel), ingested_at, claim)


def _corrected(values: Mapping[str, str | None], corrections: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return values with corrections, in which {column} and {year} stand for those of the row."""
    known = {**values, "year": (values.get("occurred_at") or "")[:4] or None}

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1]) or found[0], text)

    return {**values, **{name: None if text is None else filled(text) for name, text in corrections.items()}}


def _next_revision(raw: Path, table: Table, row: QuarantinedRow) -> dict[str, str | None]:
    values = _accepted_values(raw, table, row)
    if table.arrival == "versions":
        _check_not_overtaken(raw, table, row, values)
    if "revision" not in table.column_names:
        return values
    same = " and ".join(
        f"{quoted(name)}::varchar is not distinct from {literal(values[name])}"
        for name in table.key
        if name != "revision"
    )
    files = path_literal(raw / table.name, "*/accepted.parquet")
    latest = duckdb.sql(f"select max(revision) from read_parquet({files}) where {same}").fetchall()[0][0]
    if latest != int(values["revision"] or 0):
        raise IngestError(f"{row.reference} is out of date: revision {latest} has been loaded; discard this row")
    return {**values, "revision": str(latest + 1)}


def _accepted_values(raw: Path, table: Table, row: QuarantinedRow) -> dict[str, str | None]:
    file = path_literal(raw / table.name / row.batch_id / "accepted.parquet")
    known = {name for name, *_ in duckdb.sql(f"describe from read_parquet({file})").fetchall()}
    columns = ", ".join(f"{quoted(name) if name in known else 'null'}::varchar" for name in table.column_names)
    found = duckdb.sql(f"""
        select {columns} from read_parquet({file})
        where source_file = {literal(row.source_file)} and source_row = {row.source_row}
    """).fetchall()
    return dict(zip(table.column_names, found[0], strict=True))


def _withdrawn_rows(raw: Path, table: str, batches: Set[str]) -> list[QuarantinedRow]:
    return [
        QuarantinedRow(table, s.batch_id, s.source_file, s.source_row, "", "withdrawn", s.reason, "withdrawn")
        for manifest in read_manifests(raw / table)
        for s in manifest.settled
        if s.how == "withdrawn" and s.batch_id in batches
    ]


def _settle(
    raw: Path,
    landing: Path | LandingPlace,
    table: str,
    release: Release,
    ingested_at: datetime,
    claim: Claim | None = None,
) -> ArrivalReport:
    return ingest_table(table, landing=landing, raw=raw, ingested_at=ingested_at, release=release, claim=claim)


def _only_table(rows: Sequence[QuarantinedRow]) -> str:
    tables = sorted({row.table for row in rows})
    if len(tables) != 1:
        raise IngestError(f"give rows of one table at a time; these are of {', '.join(tables) or 'no table'}")
    for row in rows:
        if row.status != "open":
            raise IngestError(
                f"{row.reference} is {row.status} already; if it was refused again, it has a new reference, "
                "which `inventorybot quarantine list` shows"
            )
    if table_named(tables[0]).arrival == "snapshot":
        raise IngestError(f"{tables[0]} is replaced as a whole: correct the list at its source and send it again")
    return tables[0]


def _check_not_overtaken(raw: Path, table: Table, row: QuarantinedRow, values: Mapping[str, str | None]) -> None:
    accepted = path_literal(raw / table.name, "*/accepted.parquet")
    same = " and ".join(
        f"{quoted(name)}::varchar is not distinct from {literal(values.get(name))}" for name in table.key
    )
    found = duckdb.sql(f"""
        select max(batch_id) from read_parquet({accepted}) where {same} and batch_id > {literal(row.batch_id)}
    """).fetchone()
    if found and found[0]:
        raise IngestError(
            f"{row.reference} is out of date: batch {found[0]} brought a later version of it; discard this row"
        )


def _outcome_of(raw: Path, row: QuarantinedRow) -> FileOutcome:
    for manifest in read_manifests(raw / row.table):
        if manifest.batch_id == row.batch_id:
            return next(file for file in manifest.files if file.name == row.source_file)
    raise IngestError(f"there is no batch {row.batch_id} of {row.table} in {raw}")


def _rows_of(raw: Path, manifest: Manifest, rule: str | None) -> list[QuarantinedRow]:
    path = raw / manifest.table / manifest.batch_id / "quarantined.parquet"
    wanted = f"where rule = {literal(rule)}" if rule else ""
    found = duckdb.sql(f"""
        select source_file, source_row, original_text, rule, reason
        from read_parquet({path_literal(path)}) {wanted} order by source_file, source_row
    """).fetchall()
    return [
        QuarantinedRow(manifest.table, manifest.batch_id, file, number, text, name, reason, "open")
        for file, number, text, name, reason in found
    ]
