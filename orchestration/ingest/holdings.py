"""What the sources of a versioned table deliver: which rows each holds since its last reading, and which count.

Belongs here: the memory by which ends are judged, made of arrival batches once a call and kept up with every batch of
it. Does not: what a delivery lacks (deliveries), committing (batches).

A source is a file by its name, or a SQL source by its channel. A batch of one keeps the keys that it answers for:

    raw/<table>/<batch_id>/keys.parquet     source_file, batch_id, is_dropped, and the key of each row

These are the rows that it has, the refused ones too, and those that it lacks but that have not ended; `is_dropped`
where they have not because another source holds them. A row ends when
no source holds it any more, whoever changed it last. Where a batch is older than such files, its source holds what it
brought.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table
from orchestration.ingest.identity import current_versions, joined_on_key, rows_of
from orchestration.ingest.manifests import FileOutcome, Manifest, still_counts

KEYS = "keys.parquet"
"""Keys that the source of a batch answers for."""

ENDED = "ended.parquet"
"""Rows that ended by a batch, beside those that it brought."""


@dataclass(frozen=True)
class Reading:
    """When a source was last read.

    Attributes:
        batch_id: batch that it made.
        list_of: pattern of the files whose full list it was declared to be; empty = it was not.
    """

    batch_id: str
    list_of: str


@dataclass
class Holdings:
    """The rows that sources hold, in a database beside the batches that are made.

    Its tables are `current`, `standing`, `held`, `last_ends` and `coming`. `standing` are the rows that
    count, `current` those that a row is compared with that comes again: what was withdrawn
    is still known there.

    Attributes:
        table: versioned table of the contract.
        folder: folder of its batches.
        work: folder of the database; replaced.
        channels: SQL sources that are declared now.
        lying: names of the files that lie there: one that lies beside its new name was copied, not renamed.
        readings: last reading of each source.
        first_names: per name of a renamed file, the name under which it first came.
        groups: what was worked out of names, for deliveries.
    """

    table: Table
    folder: Path
    work: Path
    channels: frozenset[str] = frozenset()
    lying: frozenset[str] = frozenset()
    readings: dict[str, Reading] = field(default_factory=dict)
    first_names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the columns of the key as SQL."""
        return ", ".join(quoted(name) for name in self.table.key)

    @property
    def is_known(self) -> str:
        """Return the SQL condition that a staged row has a key."""
        always_there = [name for name in self.table.key if self.table.column(name).required]
        return " and ".join(f"{quoted(name)} is not null" for name in always_there)

    def load(self, manifests: Iterable[Manifest]) -> None:
        """Read what batches have brought, ended and held."""
        manifests = list(manifests)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        earlier = [self.folder / one.batch_id / "accepted.parquet" for one in manifests if one.rows.accepted]
        ended = [self.folder / one.batch_id / ENDED for one in manifests if one.ended]
        wanted: dict[str, list[str]] = {}
        without_keys: set[str] = set()
        for manifest in manifests:
            has_keys = (self.folder / manifest.batch_id / KEYS).exists()
            self._rename(manifest)
            for file in self._read(manifest):
                if not manifest.settled:
                    self.readings[file.name] = Reading(manifest.batch_id, file.list_of)
                    wanted[file.name] = []
                    (without_keys.discard if has_keys else without_keys.add)(file.name)
                wanted.setdefault(file.name, []).extend([manifest.batch_id] if has_keys else [])
        pairs = [(name, batch_id) for name, batches in wanted.items() for batch_id in batches]
        kept = pa.table({"source_file": [name for name, _ in pairs], "batch_id": [batch for _, batch in pairs]})
        older = pa.table({"source_file": pa.array(sorted(without_keys), pa.string())})
        with duckdb.connect(str(self.work / "known.duckdb")) as connection:
            connection.execute("set TimeZone = 'UTC'")
            columns = ", ".join(f"{quoted(column.name)} {column.data_type}" for column in self.table.columns)
            lineage = ", ".join(f"{name} {kind}" for name, kind in LINEAGE_COLUMNS)
            for name, counts in (("current", "true"), ("standing", still_counts(self.folder))):
                connection.execute(f"create table {name} ({columns}, {lineage})")
                if earlier:
                    versions = current_versions(self.table, earlier, ended, counts)
                    connection.execute(f"insert into {name} by name {versions}")
            connection.execute(
                f"create table held as select source_file, {self.key}, false as is_dropped from current where false"
            )
            connection.execute(f"create table last_ends as select {self.key}, batch_id from current where false")
            connection.execute(f"create table coming as select source_file, {self.key} from held")
            if ended:
                rows = rows_of(self.table, ended)
                connection.execute(f"insert into last_ends select {self.key}, max(batch_id) from ({rows}) group by all")
            connection.register("older", older)
            connection.execute(
                f"insert into held select source_file, {self.key}, false "
                "from current semi join older using (source_file)"
            )
            if pairs:
                batches = [self.folder / one / KEYS for one in dict.fromkeys(batch_id for _, batch_id in pairs)]
                connection.register("kept", kept)
                keys = (
                    f"select null::boolean as is_dropped where false union all by name {rows_of(self.table, batches)}"
                )
                connection.execute(
                    f"insert into held select distinct source_file, {self.key}, coalesce(is_dropped, false) "
                    f"from ({keys}) semi join kept using (source_file, batch_id)"
                )

    @staticmethod
    def _read(manifest: Manifest) -> list[FileOutcome]:
        return [file for file in manifest.files if file.outcome != "rejected" and file.renamed_from is None]

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection see the tables, as those of the database `known`."""
        connection.execute(f"attach {literal(str(self.work / 'known.duckdb'))} as known")

    def _rename(self, manifest: Manifest) -> None:
        for file in manifest.files:
            if file.renamed_from is not None and file.renamed_from not in self.lying:
                self.first_names[file.name] = self.first_names.get(file.renamed_from, file.renamed_from)
                self.groups.pop(file.name, None)

    def write(self, connection: duckdb.DuckDBPyConnection, path: Path, manifest: Manifest, origin: str) -> None:
        """Write the keys that the sources of a batch answer for: of its rows, and of those in the table `answered`.

        Args:
            connection: one that holds the tables `staged` and, where a delivery was compared, `answered`.
            path: file to write.
            manifest: of the batch.
            origin: SQL of the name of the file that a row of `staged` came in.
        """
        batch = f"{literal(manifest.batch_id)} as batch_id"
        (compared,) = connection.sql(
            "select count(*) from duckdb_tables() where table_name = 'answered' and database_name <> 'known'"
        ).fetchall()[0]
        answered = (
            f"union select {literal(manifest.files[0].name)}, {batch}, is_dropped, {self.key} from answered"
            if compared
            else ""
        )
        connection.execute(f"""
            copy (
                select {origin} as source_file, {batch}, false as is_dropped, {self.key}
                from staged where {self.is_known} {answered}
            )
            to {literal(str(path))} (format parquet, compression zstd)
        """)

    def record(self, connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
        """Keep up with a batch that was committed."""
        batch = self.folder / manifest.batch_id
        self._rename(manifest)
        if manifest.rows.accepted:
            brought = f"read_parquet({path_literal(batch / 'accepted.parquet')})"
            for name in ("current", "standing"):
                self._remove(name, brought, connection)
                connection.execute(f"insert into known.{name} by name select * from {brought}")
        if manifest.ended:
            ended = f"read_parquet({path_literal(batch / ENDED)})"
            self._remove("current", ended, connection)
            self._remove("standing", ended, connection)
            self._remove("last_ends", ended, connection)
            connection.execute(f"insert into known.last_ends select {self.key}, batch_id from {ended}")
        for file in self._read(manifest):
            if not manifest.settled:
                if file.name in self.readings:
                    connection.execute(f"delete from known.held where source_file = {literal(file.name)}")
                self.readings[file.name] = Reading(manifest.batch_id, file.list_of)
        if (batch / KEYS).exists():
            keys = f"read_parquet({path_literal(batch / KEYS)})"
            connection.execute(f"insert into known.held select source_file, {self.key}, is_dropped from {keys}")

    def _remove(self, name: str, rows: str, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(f"""
            delete from known.{name} as old using {rows} as come where {joined_on_key(self.table, "come", "old")}
        """)

    def expect(self, connection: duckdb.DuckDBPyConnection, origin: str) -> None:
        """Remember the keys of files that are read later in the same call: what stands in one of them has not ended."""
        connection.execute(
            f"create or replace table known.coming as select distinct {origin} as source_file, {self.key} "
            f"from staged where {self.is_known}"
        )


def sources_relation(rows: Mapping[str, tuple[bool, bool, bool, str]]) -> pa.Table:
    """Return sources as a relation: source_file, is_own, is_declared, is_seen, read_at."""
    columns = list(zip(*((name, *facts) for name, facts in rows.items()), strict=True)) or [()] * 5
    kinds = (pa.string(), pa.bool_(), pa.bool_(), pa.bool_(), pa.string())
    names = ("source_file", "is_own", "is_declared", "is_seen", "read_at")
    return pa.table({name: pa.array(values, kind) for name, values, kind in zip(names, columns, kinds, strict=True)})
