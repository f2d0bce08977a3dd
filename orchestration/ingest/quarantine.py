"""Quarantined rows of the batch side: look at them, correct them, judge them again, or give them up.

Belongs here: which quarantined rows are open, and turning original text back into values. Does not: judging (a
released row passes the same split as any arrival, in a batch of its own), the quarantine of the online store
(serving/store).

A row of a batch is never changed. What became of it stands in the manifest of a later batch; of a list that is replaced
as a whole, a later list supersedes it: quarantined = open + released + discarded + superseded, for ever.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from orchestration.ingest.arrivals import ArrivalReport, Claim, Release, ingest_table
from orchestration.ingest.contracts import Table, load_contract, table_named
from orchestration.ingest.errors import IngestError
from orchestration.ingest.files import read_values
from orchestration.ingest.landing import LandingPlace
from orchestration.ingest.manifests import LANDING, ONLINE_STORE, FileOutcome, Manifest, Settled, read_manifests
from orchestration.ingest.rules import literal, quoted

Status = Literal["open", "released", "discarded", "superseded"]

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
        status: open, released (judged again, with whatever result), discarded, or superseded by a later list.
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
    def door(self) -> str:
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


def find(raw: Path, references: Sequence[str]) -> list[QuarantinedRow]:
    """Return the rows that references name, in their order.

    Raises:
        IngestError: one names none; the message says what a reference looks like.
    """
    tables = {table.name for table in load_contract()}
    known: dict[str, QuarantinedRow] = {}
    for table in sorted({reference.split("/", 1)[0] for reference in references} & tables):
        batches = {reference.split("/")[1] for reference in references if reference.startswith(f"{table}/")}
        rows = list_quarantined(raw, table=table, status=None, batches=batches, limit=_EVERY_ROW)
        known.update({row.reference: row for row in rows})
    for reference in references:
        if reference not in known:
            raise IngestError(
                f"no quarantined row is called {reference!r}: names are table/batch/row/file, as the list shows them"
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
        told = Counter(settled.values())
        counted = QuarantineCounts(
            sum(manifest.rows.quarantined for manifest in manifests),
            by_status["open"],
            by_status["released"],
            by_status["discarded"],
            by_status["superseded"],
        )
        if len(found) != counted.added or (told["released"], told["discarded"]) != (
            counted.released,
            counted.discarded,
        ):
            raise IngestError(
                f"the quarantine of {table.name} does not balance: manifests tell of {counted.added} rows, {told}; "
                f"batches hold {len(found)}, {by_status}: a file in {raw / table.name} was changed or removed, "
                "restore it from a backup"
            )
        total = total + counted
    return total


def values_of(raw: Path, row: QuarantinedRow) -> dict[str, str | None]:
    """Return the values of a quarantined row by column of the contract, as text.

    Raises:
        IngestError: the original text cannot be told apart into columns (a broken line, say).
    """
    outcome = _outcome_of(raw, row)
    table = table_named(row.table)
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
    plain = {name.strip().lower().replace(" ", "_"): value for name, value in given.items()}
    return {
        name: None if plain.get(name) in (None, "") else str(plain[name])
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
        corrections: column of the contract to the text it is to have, in every one of the rows.
        ingested_at: instant of the release.
        reason: who releases them and why; kept beside the corrections.
        claim: as for `ingest_table`: a row whose source has another door stays out.

    Returns:
        The report of the batch; a row that is still refused lies in quarantine again, under that batch.

    Raises:
        IngestError: no rows, rows of several tables or doors or of a snapshot, a row that is not open, a column that
            does not exist, or a later version of the same key has arrived since.
    """
    table = table_named(_only_table(rows))
    doors = sorted({row.door for row in rows})
    if len(doors) > 1:
        raise IngestError(f"rows of one door are released at a time, these came by {', '.join(doors)}")
    unknown = sorted(set(corrections) - set(table.column_names))
    if unknown:
        raise IngestError(f"{table.name} has no column {unknown[0]!r}; it has {', '.join(table.column_names)}")
    is_whole = {column.name for column in table.columns if column.must_be_present} <= set(corrections)
    given = [{**({} if is_whole else values_of(raw, row)), **corrections} for row in rows]
    if table.arrival == "versions":
        for row, values in zip(rows, given, strict=True):
            _check_not_overtaken(raw, table, row, values)
    told = ", ".join(f"{name} = {value}" for name, value in corrections.items()) or "unchanged"
    told = f"{reason}: {told}" if reason else told
    settled = tuple(Settled(row.batch_id, row.source_file, row.source_row, "released", told) for row in rows)
    return _settle(raw, landing, table.name, Release(given, settled, doors[0]), ingested_at, claim)


def discard(
    raw: Path, landing: Path | LandingPlace, rows: Sequence[QuarantinedRow], *, reason: str, ingested_at: datetime
) -> ArrivalReport:
    """Give up quarantined rows of one table, with a reason that stays.

    Raises:
        IngestError: no rows, rows of several tables, a row that is not open, or no reason.
    """
    if not reason.strip():
        raise IngestError("a row is discarded with a reason: say why it is not wanted")
    settled = tuple(Settled(row.batch_id, row.source_file, row.source_row, "discarded", reason) for row in rows)
    return _settle(raw, landing, _only_table(rows), Release([], settled), ingested_at)


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
        raise IngestError(f"rows of one table are settled at a time, these are of {', '.join(tables) or 'none'}")
    for row in rows:
        if row.status != "open":
            raise IngestError(
                f"{row.reference} is {row.status} already; a row that was refused again has a reference of its own, "
                "which the list shows"
            )
    if table_named(tables[0]).arrival == "snapshot":
        raise IngestError(f"{tables[0]} is replaced as a whole: correct the list at its source and send it again")
    return tables[0]


def _check_not_overtaken(raw: Path, table: Table, row: QuarantinedRow, values: Mapping[str, str | None]) -> None:
    accepted = literal(str(raw / table.name / "*" / "accepted.parquet"))
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
        from read_parquet({literal(str(path))}) {wanted} order by source_file, source_row
    """).fetchall()
    return [
        QuarantinedRow(manifest.table, manifest.batch_id, file, number, text, name, reason, "open")
        for file, number, text, name, reason in found
    ]
