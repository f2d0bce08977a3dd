"""Which rows say the same again, and which contradict one another: duplicates and conflicts, with what to do.

Belongs here: comparing staged rows with one another and with what earlier batches accepted, as SQL. Does not: whether a
row can be read (parsing) or obeys the rules (suites).

Identity: for facts, the same key with the same content as any row before is a duplicate, with other content a
conflict; a later revision has another key. For versions, the same content as the current version of the key is a
duplicate, other content a new version. A key that occurs twice in one file with different content is a conflict in
every kind of table: the first row stands, the later one is quarantined. "Content" is every column of the contract but
the key and `recorded_at`: when a source wrote a fact down is not part of what happened.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.contract import Table

_NOT_CONTENT = {"recorded_at"}
_CORRECTION_DAYS = 7
_CONFLICT = "'the same identity has other content in ' || "


def settle(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    earlier: Sequence[Path],
    origin_sql: str,
    row_sql: str,
    current: str | None = None,
) -> None:
    """Fill the table `settled`: staged row, whether it is a duplicate, and why it is a conflict where it is none.

    Args:
        connection: one that holds the table `staged`.
        table: table of the contract.
        earlier: `accepted.parquet` of earlier batches; of facts.
        origin_sql: SQL of the name of the file that a staged row `earlier` came in.
        row_sql: SQL of its row there.
        current: of versions, the relation of those that count: a row that ended and comes again holds again.
    """
    connection.execute("create table settled (row bigint, is_duplicate boolean, reason varchar)")
    if earlier and table.arrival == "facts":
        _against(connection, table, rows_of(table, earlier), survivors="true")
        _within(connection, table, "rowid not in (select row from settled)", origin_sql, row_sql)
        return
    _within(connection, table, "true", origin_sql, row_sql)
    if current is not None:
        _against(
            connection, table, f"from {current}", survivors="rowid not in (select row from settled)", only_same=True
        )


def current_versions(table: Table, earlier: Sequence[Path], ended: Sequence[Path], counts: str = "true") -> str:
    """Return a query of the latest version of each key that has not ended, with its lineage.

    Args:
        table: table of the contract.
        earlier: `accepted.parquet` of earlier batches, at least one.
        ended: `ended.parquet` of earlier batches.
        counts: SQL condition on accepted rows that are versions at all.
    """
    key = ", ".join(quoted(name) for name in table.key)
    versions = f"select *, false as is_ended from ({rows_of(table, earlier)}) where {counts}"
    if ended:
        versions += f" union all by name select * from ({rows_of(table, ended)})"
    return f"""
        select * exclude (is_ended) from (
            select distinct on ({key}) * from ({versions}) order by {key}, batch_id desc
        ) where not is_ended
    """


def rows_of(table: Table, batches: Sequence[Path]) -> str:
    """Return a query of rows that batches keep; those from before a column was in the contract lack it."""
    columns = ", ".join(f"null::{column.data_type} as {quoted(column.name)}" for column in table.columns)
    listed = ", ".join(path_literal(path) for path in batches)
    return f"""
        select {columns} where false
        union all by name
        select * from read_parquet([{listed}], union_by_name = true)
    """


def _same(table: Table, left: str, right: str) -> str:
    content = [name for name in table.column_names if name not in {*table.key, *_NOT_CONTENT}]
    tests = [f"{left}.{quoted(name)} is not distinct from {right}.{quoted(name)}" for name in content]
    return " and ".join(tests) or "true"


def joined_on_key(table: Table, left: str, right: str) -> str:
    """Return the SQL condition that rows of two relations have the same key."""
    nullable = {column.name for column in table.columns if not column.required}
    return " and ".join(
        f"{left}.{quoted(name)} {'is not distinct from' if name in nullable else '='} {right}.{quoted(name)}"
        for name in table.key
    )


def _remedy(table: Table, later: str, earlier: str) -> str:
    """Return SQL of what to do about a row whose identity another row has with other content.

    A row of the same item within a week of the other one may correct it. One of another item or another season is
    another fact under a used number: as a correction it would delete the first.
    """
    if table.arrival != "facts":
        keep = "correct the list" if table.arrival == "snapshot" else "keep the right one of the two rows"
        return literal(f": {keep} and send the file again, or discard this row")
    corrects = f"""
        {later}.sku = {earlier}.sku and {later}.location_id = {earlier}.location_id
        and {later}.movement_type = {earlier}.movement_type
        and abs(epoch({later}.occurred_at) - epoch({earlier}.occurred_at)) <= {_CORRECTION_DAYS * 86_400}
    """
    own = "--set 'document={document}/{year}'"
    return f"""case when {corrects}
        then ': if it corrects that row, give it the next revision, `quarantine fix REFERENCE --set revision='
            || ({later}.revision + 1) || '`; if it is another movement, give it a document of its own, as in '
            || {literal(own)}
        else ': another movement under a number that is used already, so no correction of that row: number the '
            || 'documents by year in the source, and give this row such a number, `quarantine fix REFERENCE '
            || {literal(f"{own}`")}
        end"""


def _against(
    connection: duckdb.DuckDBPyConnection, table: Table, earlier: str, *, survivors: str, only_same: bool = False
) -> None:
    """Settle staged rows that meet an earlier row; of several earlier ones an equal one decides."""
    shown = "'batch ' || earlier.batch_id || ' (' || earlier.source_file || ', row ' || earlier.source_row || ')'"
    same = _same(table, "staged", "earlier")
    wanted = f"and {same}" if only_same else ""
    connection.execute(f"""
        insert into settled
        select staged.rowid, bool_or({same}), any_value({_CONFLICT}{shown} || {_remedy(table, "staged", "earlier")})
        from staged inner join ({earlier}) as earlier on {joined_on_key(table, "staged", "earlier")}
        where staged."·failed" is null and {survivors.replace("rowid", "staged.rowid")} {wanted}
        group by staged.rowid
    """)


def _within(connection: duckdb.DuckDBPyConnection, table: Table, survivors: str, origin_sql: str, row_sql: str) -> None:
    key = ", ".join(quoted(name) for name in table.key)
    connection.execute(f"""
        create table repeated as
        select {key}, min(rowid) as first_row from staged
        where "·failed" is null and {survivors}
        group by {key} having count(*) > 1
    """)
    (repeated,) = connection.sql("select count(*) from repeated").fetchall()[0]
    if not repeated:
        return
    nullable = " and ".join(f"later.{quoted(name)} is not distinct from repeated.{quoted(name)}" for name in table.key)
    connection.execute(f"""
        insert into settled
        select later.rowid, {_same(table, "later", "earlier")},
               {_CONFLICT}{origin_sql} || ', row ' || {row_sql} || {_remedy(table, "later", "earlier")}
        from staged as later
        inner join repeated on {nullable}
        inner join staged as earlier on earlier.rowid = repeated.first_row
        where later."·failed" is null and later.rowid > repeated.first_row
          and {survivors.replace("rowid", "later.rowid")}
    """)
