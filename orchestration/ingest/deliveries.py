"""Deliveries of versioned tables: which files are new, which is a full list, and which rows end as a list lacks them.

Belongs here: what files, SQL sources and people say of deliveries, and comparing a full list with the rows before. Does
not: duplicates and conflicts (identity), committing (batches), what an ended row still means (the warehouse).

A list that lacks much of what it had is more likely a broken export than an end of it all: it is held until somebody
says that these very rows have ended.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from glob import escape
from pathlib import Path
from typing import Literal

import duckdb

from orchestration.home.sql_text import literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table
from orchestration.ingest.files import LandingFile
from orchestration.ingest.formats import Format, delivery_of
from orchestration.ingest.identity import current_versions, joined_on_key
from orchestration.ingest.manifests import FileOutcome, Manifest
from orchestration.ingest.names import shown

ENDED = "ended.parquet"
"""Rows that ended by a batch, beside those that it brought."""

_MOST_SHOWN = 3
_FEWEST_UNDECLARED = 10


@dataclass(frozen=True)
class Delivery:
    """What a file or a pull is compared with.

    Attributes:
        name: name of the file, or the channel of a SQL source.
        scope: SQL condition on the rows `earlier` that the same source brought.
        kind: declared = a full list, as somebody said or as a SQL source without a cursor is; again = a file that comes
            again under its name, which is taken for a full list where it lacks few rows; unknown = nobody said what
            it is.
        accepts: code of the rows whose end a person has confirmed. A row that comes again comes by another batch
            and has another code, so that a code serves once.
        is_one_of_several: whether files of other names are known of the table.
    """

    name: str
    scope: str
    kind: Literal["declared", "again", "unknown"]
    accepts: str | None = None
    is_one_of_several: bool = False

    @property
    def speaks_for(self) -> str:
        """SQL condition on rows `earlier` that it may repeat; a full list takes over what another source brought."""
        return self.scope if self.kind == "declared" else "true"


@dataclass(frozen=True)
class Missing:
    """What a delivery lacks.

    Attributes:
        ended: rows that end by it.
        notice: what an operator should know; empty = nothing.
        held: why it may not be committed; None = it may.
        is_end: whether what it lacks ends.
    """

    ended: int = 0
    notice: str = ""
    held: str | None = None
    is_end: bool = False


def delivery_of_file(
    table: Table, formats: Sequence[Format], name: str, known: Sequence[FileOutcome]
) -> Delivery | None:
    """Return what a file of the landing folder is compared with; None where nothing ends by it.

    Args:
        table: table of the contract.
        formats: what people said of files.
        name: name of the file.
        known: files of earlier batches.
    """
    said = delivery_of(formats, table.name, name)
    if table.ends is None or said.delivery == "changes":
        return None
    by_files = "earlier.source_file not like 'sql:%'"
    if said.delivery == "full":
        return Delivery(
            name, f"{by_files} and earlier.source_file glob {literal(said.files)}", "declared", said.accepts
        )
    names = {file.name for file in known if file.outcome != "rejected" and not file.name.startswith("sql:")}
    comes_again = any(file.name == name and file.outcome != "rejected" for file in known)
    scope = f"earlier.source_file = {literal(name)}" if comes_again else by_files
    kind: Literal["again", "unknown"] = "again" if comes_again and table.ends == "file" else "unknown"
    return Delivery(name, scope, kind, is_one_of_several=bool(names - {name}))


def delivery_of_source(table: Table, formats: Sequence[Format], channel: str) -> Delivery | None:
    """Return what a full read of a SQL source is compared with."""
    if table.ends is None:
        return None
    accepts = delivery_of(formats, table.name, channel).accepts
    return Delivery(channel, f"earlier.source_file = {literal(channel)}", "declared", accepts)


def fresh_files(
    table: Table,
    formats: Sequence[Format],
    present: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    known: Sequence[FileOutcome],
) -> Iterator[LandingFile]:
    """Yield the files of a versioned table that are a delivery: a list that returns to what it once was is one too.

    Of the full lists that one declaration speaks of, the last by name is the newest and the only one.
    """
    by_name = {file.name: file.sha256 for file in known}
    kept = {(file.sha256, _without_name_time(file.mark)) for file in known if file.mark}
    latest = known[-1].sha256 if known else ""
    said = {file: delivery_of(formats, table.name, file.name) for file in present}
    newest = {said[file].files: file for file in present if said[file].delivery == "full"}
    for file in present:
        digest = hashes[file]
        if said[file].delivery == "full":
            if newest[said[file].files] == file and _is_new_list(file, digest, known):
                yield file
            continue
        is_renamed = (digest, _without_name_time(file.mark)) in kept
        if digest not in (by_name.get(file.name), latest) and not is_renamed:
            latest = digest
            yield file


def unread_lists(
    table: Table,
    formats: Sequence[Format],
    present: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    known: Sequence[FileOutcome],
) -> list[str]:
    """Return a notice for each full list that is never read, as one of a later name lies beside it."""
    read = {file.sha256 for file in known}
    said = {file: delivery_of(formats, table.name, file.name) for file in present}
    newest = {said[file].files: file for file in present if said[file].delivery == "full"}
    return [
        f"{file.place} was not read: {shown(newest[said[file].files].name)} is the newer full list, by its name; if it "
        f"is a list of its own, say so: `inventorybot sources format {table.name}{_files_option(file.name)} "
        "--delivery full`"
        for file in present
        if said[file].delivery == "full" and newest[said[file].files] != file and hashes[file] not in read
    ]


def _is_new_list(file: LandingFile, digest: str, known: Sequence[FileOutcome]) -> bool:
    """Tell whether a full list was not read yet: one that lay there before a later one was read is no news."""
    read = [outcome for outcome in known if outcome.is_full_list and outcome.mark]
    if (digest, _without_name_time(file.mark)) in {(one.sha256, _without_name_time(one.mark)) for one in read}:
        return False
    return not read or read[-1].sha256 != digest


def _without_name_time(mark: tuple[int, ...]) -> tuple[int, ...]:
    """Return a mark without the time that renaming changes."""
    size, modified, _, inode = mark
    return size, modified, inode


def find_missing(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    earlier: Sequence[Path],
    ended: Sequence[Path],
    delivery: Delivery,
    today: date,
) -> Missing:
    """Compare a delivery with the rows before; fill the table `ended` with those that end by it.

    What was over before the list begins, and is over today, may be missing: it ends unasked, and counts for nothing. A
    row of the list that is refused is not missing from it. Where a refused row tells no known key, nobody knows which
    row it is, and nothing ends.

    Args:
        connection: one that holds the table `staged`, and `broken` with lines that cannot be read.
        table: table of the contract.
        earlier: `accepted.parquet` of earlier batches.
        ended: `ended.parquet` of earlier batches.
        delivery: what is compared.
        today: day of the arrival, UTC.
    """
    if not earlier:
        return Missing()
    over = (
        f"coalesce(earlier.{quoted(table.over_by)} < least((select min({quoted(table.over_by)}) from staged), "
        f"date {literal(today.isoformat())}), false)"
        if table.over_by
        else "false"
    )
    closed = f"and earlier.status not in ({', '.join(map(literal, table.closed_as))})" if table.closed_as else ""
    key = ", ".join(f"missing.{quoted(name)}" for name in table.key)
    connection.execute(f"create table current as {current_versions(table, earlier, ended)}")
    connection.execute(f"""
        create table ended as
        select earlier.*, {over} as is_over,
            exists (select 1 from staged where {joined_on_key(table, "staged", "earlier")}) as is_there
        from current as earlier where {delivery.scope} {closed}
    """)
    (at_stake,) = connection.sql("select count(*) from ended where not is_over").fetchall()[0]
    connection.execute("delete from ended where is_there")
    (ending,) = connection.sql("select count(*) from ended").fetchall()[0]
    (strangers,) = connection.sql(f"""
        select (select count(*) from broken) + (
            select count(*) from staged where "·failed" is not null
                and not exists (select 1 from current as earlier where {joined_on_key(table, "staged", "earlier")})
        )
    """).fetchall()[0]
    count, code = connection.sql(f"""
        select count(*),
            left(sha256(coalesce(string_agg(concat_ws('|', {key}, batch_id), chr(10) order by {key}), '')), 8)
        from ended as missing where not is_over
    """).fetchall()[0]
    examples = connection.sql(
        f"select {key} from ended as missing where not is_over order by all limit {_MOST_SHOWN}"
    ).fetchall()
    named = "; ".join(", ".join("" if value is None else str(value) for value in example) for example in examples)
    found = _judged(table, delivery, count, at_stake, strangers, code, shown(named))
    if not found.is_end:
        connection.execute("delete from ended")
        return found
    return replace(found, ended=ending)


def _judged(
    table: Table, delivery: Delivery, count: int, at_stake: int, strangers: int, code: str, named: str
) -> Missing:
    if not count:
        return Missing(is_end=delivery.kind != "unknown")
    lacks = f"{table.name}: {shown(delivery.name)} lacks {count:,} of {at_stake:,} rows ({named})"
    few = count <= max(1, int(table.most_ended_share * at_stake)) and count < at_stake
    is_list = delivery.kind == "declared" or (delivery.kind == "again" and few and at_stake >= _FEWEST_UNDECLARED)
    command = f"`inventorybot sources format {table.name}"
    files = _files_option(delivery.name)
    of_these = files if delivery.is_one_of_several else ""
    if not is_list:
        # A file that lacks most is one of changes; where it nearly holds all, it may be meant as a list. Of a few rows,
        # a correction sent alone lacks no more than a list does.
        return Missing(
            notice=f"{lacks}, which still count: say once whether such files are full lists, {command}{of_these} "
            f"--delivery full`, or bring changes, {command}{of_these} --delivery changes` (--files takes a pattern of "
            "the files of which each replaces the one before)"
            if few or delivery.kind == "again"
            else ""
        )
    if strangers:
        return Missing(
            notice=f"{lacks}, which still count: {strangers:,} rows of it are refused and tell no known key; correct "
            "them and send the list again"
        )
    if few or code == delivery.accepts:
        return Missing(
            is_end=True, notice=f"{table.name}: {count:,} rows ended, {shown(delivery.name)} lacks them ({named})"
        )
    changes = (
        f"write `delivers: changes` for {delivery.name[4:]} in sources.yml"
        if delivery.name.startswith("sql:")
        else f"{command}{files} --delivery changes`"
    )
    return Missing(
        held=f"{lacks}, more than {table.most_ended_share:.0%} of a full list, so the list before stays: send the "
        f"whole list again; if these rows have ended, {command} --accept {code}`; if it brings changes only, {changes}"
    )


def _files_option(name: str) -> str:
    """Return the option with which a remedy means the files of one name and no others."""
    return f" --files {shlex.quote(escape(shown(name)))}"


def write_ended(connection: duckdb.DuckDBPyConnection, table: Table, path: Path, manifest: Manifest) -> None:
    """Write the rows that end by a batch, as they last were."""
    names = ", ".join(quoted(column) for column in table.column_names)
    lineage = dict(LINEAGE_COLUMNS)
    connection.execute(f"""
        copy (
            select {names}, {literal(manifest.batch_id)}::{lineage["batch_id"]} as batch_id,
                {literal(manifest.ingested_at)}::timestamptz as ingested_at,
                {literal(manifest.files[0].name)} as source_file, 0::{lineage["source_row"]} as source_row,
                true as is_ended
            from ended
        ) to {literal(str(path))} (format parquet, compression zstd)
    """)
