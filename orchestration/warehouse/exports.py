"""Exports: the relations of the warehouse as Parquet files, which every step after dbt reads.

A relation is one file, ordered by its grain; a large fact is a folder of months. A month's file carries the hash of its
content in its name and is never changed: a new day makes one new file, and generations and archives share the others.

Belongs here: writing, finding and hashing those files. Does not: what is in them (dbt_project/).
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal, path_literal

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

ALL_MONTHS = "*.parquet"
"""Name of the pattern that stands for the files of a fact."""

_SUM_BITS = 96
_MEMORY = "4GB"


@dataclass(frozen=True)
class Relation:
    """A relation to export.

    Attributes:
        name: schema and table, as in marts.dim_products.
        grain: columns that tell its rows apart; the rows are ordered by them.
        in_months: column with the day whose months it is cut into: a folder with a file for each, rows in no order;
            None = one file.
        description: what a row is.
        columns: description of each column.
        derived: columns that follow from others of the row, so that a hash need not look at them.
        compares: columns that tell what has changed since the generation before; they are no part of the content, which
            does not depend on what was published when. All columns = the whole relation is such a comparison.
    """

    name: str
    grain: tuple[str, ...]
    in_months: str | None
    description: str
    columns: Mapping[str, str]
    derived: tuple[str, ...] = ()
    compares: tuple[str, ...] = ()


def read_relations(manifest: Path) -> list[Relation]:
    """Return the marts and reporting tables in the manifest that `dbt parse` wrote, by name."""
    return relations_of(json.loads(manifest.read_text())["nodes"].values())


def source_tables(manifest: Path, source: str, layers: Collection[str]) -> list[str]:
    """Return the tables of a source that models in some folders of `models/` read, by name.

    Args:
        manifest: as `dbt parse` wrote it.
        source: name of the source.
        layers: such as marts and reporting.
    """
    parsed = json.loads(manifest.read_text())
    models = {name: node["fqn"][1] for name, node in parsed["nodes"].items() if node["resource_type"] == "model"}
    return sorted(
        node["name"]
        for name, node in parsed["sources"].items()
        if node["source_name"] == source and any(models.get(child) in layers for child in parsed["child_map"][name])
    )


def relations_of(nodes: Iterable[Mapping[str, Any]]) -> list[Relation]:
    """Return the marts and reporting tables among the nodes of a dbt manifest, by name."""
    found = []
    for node in nodes:
        if node["resource_type"] != "model" or node["schema"] not in ("marts", "reporting"):
            continue
        meta = node["config"]["meta"]
        columns = {column["name"]: column["description"] for column in node["columns"].values()}
        name = f"{node['schema']}.{node['name']}"
        grain, derived, compares = tuple(meta["grain"]), tuple(meta.get("derived", ())), meta.get("compares", ())
        compares = tuple(columns) if compares == "all" else tuple(compares)
        in_months = meta.get("in_months")
        found.append(Relation(name, grain, in_months, node["description"], columns, derived, compares))
    return sorted(found, key=lambda relation: relation.name)


def export_relations(warehouse: Path, exports: Path, relations: Iterable[Relation]) -> None:
    """Write relations of the warehouse to `<exports>/<schema>/`; what is there already is not written again.

    Everything is written aside first: a failure leaves the exports as they were, and whoever is killed between leaves
    a relation that is missing, never one that is torn.

    Args:
        warehouse: database, which nothing else may have open for writing.
        exports: folder of the exports.
        relations: what to export.

    Raises:
        OSError: the disk is full or not writable.
    """
    aside = exports.parent / f"{exports.name}.aside"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            connection.execute(f"set TimeZone = 'UTC'; set threads = 2; set memory_limit = '{_MEMORY}'")
            connection.execute(f"set temp_directory = {literal(f'{warehouse}.tmp')}")
            connection.execute("set preserve_insertion_order = false")
            made = [_write(connection, relation, exports, aside) for relation in relations]
        for written, kept in made:
            _replace(kept, written)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def share(source: Path, target: Path) -> None:
    """Give a file that is never changed a second name; where the file system has no links, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write(connection: "DuckDBPyConnection", relation: Relation, exports: Path, aside: Path) -> tuple[Path, Path]:
    schema, table = relation.name.split(".")
    (aside / schema).mkdir(parents=True, exist_ok=True)
    if relation.in_months:
        _write_months(connection, relation, aside / schema / table, exports / schema / table)
        return aside / schema / table, exports / schema / table
    target = aside / schema / f"{table}.parquet"
    rows = f"select * from {relation.name} order by {', '.join(relation.grain)}"
    connection.execute(f"copy ({rows}) to {literal(target)} (format parquet, compression zstd)")
    return target, exports / schema / target.name


def _write_months(connection: "DuckDBPyConnection", relation: Relation, written: Path, kept: Path) -> None:
    names, shape = _columns(connection, relation.name, relation.derived)
    day, month_of_day = relation.in_months, f"strftime({relation.in_months}, '%Y-%m')"
    days = f"select {day}, sum(hash({names})::hugeint) as total from {relation.name} group by {day}"
    counted = f"select {month_of_day} as month, sum(total) as total from ({days}) as days group by month"
    digests = {month: f"{month}_{_digest(shape, total)}" for month, total in connection.sql(counted).fetchall()}
    written.mkdir()
    for path in kept.glob(ALL_MONTHS):
        if _month_and_digest(path) in digests.values():
            share(path, written / path.name)
    if not digests:
        empty = literal(written / f"none_{_digest(shape, 0)}.0.parquet")
        connection.execute(f"copy {relation.name} to {empty} (format parquet)")
    here = {_month_and_digest(path) for path in written.glob(ALL_MONTHS)}
    missing = sorted(month for month, name in digests.items() if name not in here)
    if not missing:
        return
    listed = ", ".join(f"'{month}'" for month in missing)
    rows = f"select *, {month_of_day} as month from {relation.name} where {month_of_day} in ({listed})"
    options = "format parquet, compression zstd, partition_by (month), overwrite_or_ignore true"
    connection.execute(f"copy ({rows}) to {literal(written)} ({options})")
    for folder in sorted(written.glob("month=*")):
        for number, path in enumerate(sorted(folder.glob(ALL_MONTHS))):
            path.rename(written / f"{digests[folder.name.removeprefix('month=')]}.{number}.parquet")
        folder.rmdir()


def _replace(kept: Path, written: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    if written.is_dir():
        kept.with_name(f"{kept.name}.parquet").unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
    written.replace(kept)


def export_path(settings: Settings, relation: str) -> Path:
    """Return the Parquet of a relation of the latest build, as `parquet_of` does.

    Raises:
        FileNotFoundError: it has not been built; the message says how to make it.
    """
    try:
        return parquet_of(settings.exports, relation)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{relation} has not been built in {settings.home}: run `inventorybot run` first"
        ) from error


def parquet_of(exports: Path, relation: str) -> Path:
    """Return the Parquet of a relation such as `marts.fct_daily_demand`: its file, or the pattern of its months.

    Raises:
        FileNotFoundError: there is neither.
    """
    folder = exports / relation.replace(".", "/")
    whole = folder.with_name(f"{folder.name}.parquet")
    if folder.is_dir():
        return folder / ALL_MONTHS
    if not whole.exists():
        raise FileNotFoundError(f"{whole} does not exist")
    return whole


def is_exported(settings: Settings, relation: str) -> bool:
    """Return whether a relation has been exported."""
    try:
        return bool(files_of(parquet_of(settings.exports, relation)))
    except FileNotFoundError:
        return False


def read_sql(parquet: Path) -> str:
    """Return the SQL that reads Parquet at a path that `export_path` or `parquet_of` returned."""
    is_fact = parquet.name == ALL_MONTHS
    return f"read_parquet({path_literal(parquet.parent, ALL_MONTHS) if is_fact else path_literal(parquet)})"


def files_of(parquet: Path) -> list[Path]:
    """Return the files behind a path that `export_path` returned."""
    return sorted(parquet.parent.glob(parquet.name))


def parquet_rows(parquet: Path) -> int:
    """Return the rows of Parquet, as its footers tell."""
    return int(duckdb.execute(f"select count(*) from {read_sql(parquet)}").fetchall()[0][0])


def read_frame(query: str, **frames: "pd.DataFrame") -> "pd.DataFrame":
    """Return the answer to a query of Parquet files, and of frames by their names."""
    with duckdb.connect() as connection:
        for name, frame in frames.items():
            connection.register(name, frame)
        return connection.execute(query).df()


def read_rows(query: str) -> list[Mapping[str, Any]]:
    """Return the rows of a query over files, each by the names of its columns."""
    with duckdb.connect() as connection:
        answer = connection.execute(query)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def content_hash(parquet: Path, left_out: Iterable[str] = ()) -> tuple[int, str]:
    """Return rows and content hash of exported Parquet; the order of rows does not matter.

    Every column counts but those of `left_out`, which a folder of months cannot leave out.

    The hash is the sum of 64-bit row hashes behind a hash of the column names and types. That of a folder of months is
    the sum of what the names of its files say.
    """
    with duckdb.connect() as connection:
        source = read_sql(parquet)
        if parquet.name != ALL_MONTHS:
            names, shape = _columns(connection, source, left_out)
            rows, total = connection.sql(
                f"select count(*), coalesce(sum(hash({names})::hugeint), 0) from {source}"
            ).fetchall()[0]
            return rows, _digest(shape, total)
        digests = [name.rsplit("_", 1)[1] for name in {_month_and_digest(path) for path in files_of(parquet)}]
        rows = connection.sql(f"select count(*) from {source}").fetchall()[0][0]
    return rows, _digest(digests[0][:8], sum(int(digest[8:], 16) for digest in digests))


def _columns(connection: "DuckDBPyConnection", source: str, left_out: Iterable[str] = ()) -> tuple[str, str]:
    columns = connection.sql(f"describe select * from {source}").fetchall()
    shape = connection.execute("select md5(?)", [repr([column[:2] for column in columns])]).fetchall()[0][0]
    skipped = set(left_out)
    return ", ".join(f'"{name}"' for name, *_ in columns if name not in skipped), shape[:8]


def _digest(shape: str, total: int) -> str:
    return f"{shape}{total % (1 << _SUM_BITS):024x}"


def _month_and_digest(path: Path) -> str:
    """Return month and digest of a file `2011-12_<digest>.0.parquet`."""
    return path.name.split(".", 1)[0]
