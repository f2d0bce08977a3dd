"""Rows become verdicts: typed and accepted, duplicate, or quarantined with the rule they break.

Belongs here: reading text as types, defaults, row rules, identity within a batch and against earlier batches; all of
it as SQL in one in-memory DuckDB that spills to the work folder. Does not: finding files (files), committing
(batches).

Identity: for facts, the same key with the same content as any row before is a duplicate, with other content a
conflict; a later revision has another key. For versions, the same content as the current version of the key is a
duplicate, other content a new version. A key that occurs twice in one file with different content is a conflict in
every kind of table: the first row stands, the later one is quarantined. "Content" is every column of the contract but
the key and `recorded_at`: when a source wrote a fact down is not part of what happened.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.ingest.contract import LINEAGE_COLUMNS, Column, Table
from orchestration.ingest.files import (
    CsvText,
    Layout,
    Record,
    csv_relation,
    file_columns,
    originals,
    readable_relation,
    rewrite,
    source_expression,
)
from orchestration.ingest.manifests import Counts
from orchestration.ingest.parsing import Reading, text_of
from orchestration.ingest.suites import Suite, broken_table_rule, literal, quoted

QUARANTINE_COLUMNS = (
    ("batch_id", "varchar"),
    ("ingested_at", "timestamp with time zone"),
    ("source_file", "varchar"),
    ("source_row", "integer"),
    ("original_text", "varchar"),
    ("rule", "varchar"),
    ("reason", "varchar"),
)
"""Columns of `quarantined.parquet`."""

_MEMORY = "2GB"
_CHUNK_ROWS = 50_000
_NOT_CONTENT = {"recorded_at"}


@dataclass(frozen=True)
class _Origin:
    """Where staged rows came from and how to read one of them again."""

    name: str
    first_row: int
    offset: int
    text: CsvText | None = None
    layout: Layout | None = None
    is_plain: bool = True
    parquet: Path | None = None


class RowValidator:
    """Splits the rows of one arrival batch. Add sources, settle identities, then write.

    Args:
        table: table of the contract.
        suite: its compiled suite.
        work: folder for temporary copies and for rows beyond 2 GB of memory; must exist.
        ingested_at: instant of the arrival, aware.
    """

    def __init__(self, table: Table, suite: Suite, work: Path, ingested_at: datetime) -> None:
        self._table = table
        self._suite = suite
        self._work = work
        self._ingested_at = ingested_at
        self._origins: list[_Origin] = []
        self._staged_rows = 0
        self._rules = [f"{column.name}_unreadable" for column in table.columns] + [
            rule.name for rule in suite.row_rules
        ]
        spill = work / "spill"
        self.connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(spill)})
        self.connection.execute("set TimeZone = 'UTC'")
        self.connection.execute(
            "create table broken (origin integer, source_row integer, original_text varchar, rule varchar, "
            "reason varchar)"
        )

    def __enter__(self) -> "RowValidator":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    # --- adding sources

    def add_csv(self, name: str, text: CsvText, layout: Layout) -> tuple[str, ...]:
        """Stage the rows of a CSV file; returns notices.

        DuckDB reads it when it can read every line; the rows it read must then be as many as the lines of the file.
        Otherwise the file is read line by line, and broken lines are set aside.
        """
        relation = csv_relation(text.path, file_columns(layout), layout.delimiter)
        comma = self._has_decimal_comma(relation, layout)
        rows = self._stage(relation, self._text_readings(layout, comma), line="null::integer")
        is_plain = rows is not None and rows + 1 == text.lines
        if not is_plain:
            broken: list[Record] = []
            copy = self._work / f"{name}.readable"
            rewrite(text, layout, copy, broken)
            readable = readable_relation(copy, layout)
            comma = self._has_decimal_comma(readable, layout)
            rows = self._stage(readable, self._text_readings(layout, comma), line='"line"::integer')
            self._set_aside(broken)
        self._keep(_Origin(name, self._staged_rows, 2, text=text, layout=layout, is_plain=is_plain), rows or 0)
        return (f"{name}: a comma was read as the decimal point",) if comma else ()

    def add_parquet(self, name: str, path: Path, layout: Layout) -> None:
        """Stage the rows of a Parquet file; rows count from 1."""
        relation = f"read_parquet({literal(str(path))})"
        types = {name: kind.lower() for name, kind, *_ in self.connection.sql(f"describe from {relation}").fetchall()}
        readings = []
        for column in self._table.columns:
            source = layout.sources.get(column.name)
            if source is None:
                readings.append(Reading(column, None))
            elif types[source] == column.data_type:
                readings.append(Reading(column, quoted(source), is_typed=True))
            else:
                readings.append(Reading(column, f"{quoted(source)}::varchar"))
        rows = self._stage(relation, readings, line="null::integer")
        self._keep(_Origin(name, self._staged_rows, 1, parquet=path, layout=layout), rows or 0)

    def add_rows(self, name: str, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> None:
        """Stage rows given as mappings of contract columns, with a number each (the ledger sequence, say)."""
        names = self._table.column_names
        columns = {key: [text_of(row.get(key)) for row in rows] for key in names}
        arrays = {key: pa.array(values, pa.string()) for key, values in columns.items()}
        path = self._work / f"rows-{len(self._origins)}.parquet"
        given = pa.table({**arrays, "·line": pa.array(numbers, pa.int64())})
        self.connection.register("given", given)
        self.connection.execute(f"copy given to {literal(str(path))} (format parquet)")
        self.connection.unregister("given")
        readings = [Reading(column, quoted(column.name)) for column in self._table.columns]
        count = self._stage(f"read_parquet({literal(str(path))})", readings, line='"·line"::integer')
        layout = Layout(names, {key: key for key in names}, ())
        self._keep(_Origin(name, self._staged_rows, 0, parquet=path, layout=layout, is_plain=False), count or 0)

    def _text_readings(self, layout: Layout, comma: bool) -> list[Reading]:
        return [
            Reading(column, source_expression(layout, column.name), decimal_comma=comma)
            for column in self._table.columns
        ]

    def _has_decimal_comma(self, relation: str, layout: Layout) -> bool:
        """Tell whether a file delimited by semicolons writes 1,5 and never 1.5."""
        if layout.delimiter != ";":
            return False
        decimals = [
            source_expression(layout, column.name)
            for column in self._table.columns
            if column.data_type.startswith("decimal") and column.name in layout.sources
        ]
        if not decimals:
            return False
        tests = [f"coalesce(bool_or(regexp_matches({value}, '^\\s*[+-]?\\d*,\\d+\\s*$')), false)" for value in decimals]
        points = [f"coalesce(bool_or(contains({value}, '.')), false)" for value in decimals]
        try:
            found = self.connection.sql(
                f"select {' or '.join(tests)}, {' or '.join(points)} from {relation}"
            ).fetchall()[0]
        except duckdb.InvalidInputException:
            return False
        return bool(found[0]) and not found[1]

    def _stage(self, relation: str, readings: Sequence[Reading], *, line: str) -> int | None:
        """Type and judge the rows of a relation into the table `part`; None when a line cannot be read."""
        self.connection.execute("drop table if exists part")
        try:
            self.connection.execute(f"create table part as {self._judging_sql(relation, readings, line)}")
        except duckdb.InvalidInputException:
            return None
        return int(self.connection.sql("select count(*) from part").fetchall()[0][0])

    def _judging_sql(self, relation: str, readings: Sequence[Reading], line: str) -> str:
        given = ", ".join(reading.given_sql() for reading in readings if reading.source is not None)
        typed = ", ".join(reading.typed_sql() for reading in readings)
        defaulted = ", ".join(
            f"{self._defaulted(column)} as {quoted(column.name)}"
            for column in self._table.columns
            if column.default is not None
        )
        replaced = f" replace ({defaulted})" if defaulted else ""
        fallible = [(number, reading) for number, reading in enumerate(readings) if reading.can_fail]
        rules = list(enumerate(self._suite.row_rules, start=len(readings)))
        unread = " ".join(f"when {reading.is_unreadable()} then {number}" for number, reading in fallible)
        unreadable = f"case {unread} end" if unread else "null::integer"
        broken = " ".join(f"when not {rule.predicate} then {number}" for number, rule in rules)
        reasons = " ".join(
            [f"when {number} then {reading.reason_sql()}" for number, reading in fallible]
            + [f"when {number} then {rule.reason}" for number, rule in rules]
        )
        derived = "".join(f", {sql} as {quoted(name)}" for name, sql in self._suite.derived.items())
        names = ", ".join(quoted(name) for name in self._table.column_names)
        return f"""
            with given as (select {given}, {line} as "·line" from {relation}),
            typed as (select *, {typed}, {literal(self._ingested_at.isoformat())}::timestamptz as ingested_at
                      from given),
            read as (select *, {unreadable} as "·unreadable" from typed),
            complete as (select *{replaced} from read),
            derived as (select *{derived} from complete),
            judged as (select *, coalesce("·unreadable", case {broken} end)::usmallint as "·failed" from derived)
            select {len(self._origins)}::integer as "·origin", "·line", {names}, "·failed",
                   case when "·failed" is not null then case "·failed" {reasons} end end as "·reason"
            from judged
        """

    def _defaulted(self, column: Column) -> str:
        """Return SQL of a column with its default, which is a value or the name of another column."""
        assert column.default is not None
        is_column = column.default in self._table.column_names
        default = quoted(column.default) if is_column else f"{literal(column.default)}::{column.data_type}"
        return f"coalesce({quoted(column.name)}, {default})"

    def _keep(self, origin: _Origin, rows: int) -> None:
        if self._origins:
            self.connection.execute("insert into staged select * from part")
            self.connection.execute("drop table part")
        else:
            self.connection.execute("alter table part rename to staged")
        self._origins.append(origin)
        self._staged_rows += rows

    def _set_aside(self, broken: Sequence[Record]) -> None:
        origin = len(self._origins)
        for start in range(0, len(broken), _CHUNK_ROWS):
            chunk = broken[start : start + _CHUNK_ROWS]
            lines = pa.table(
                {
                    "origin": pa.array([origin] * len(chunk), pa.int32()),
                    "source_row": pa.array([record.line for record in chunk], pa.int32()),
                    "original_text": pa.array([record.text for record in chunk], pa.string()),
                    "rule": pa.array([record.rule for record in chunk], pa.string()),
                    "reason": pa.array([record.reason for record in chunk], pa.string()),
                }
            )
            self.connection.register("lines", lines)
            self.connection.execute("insert into broken select * from lines")
            self.connection.unregister("lines")

    # --- identity

    def settle(self, earlier: Sequence[Path]) -> None:
        """Find duplicates and conflicts, within the batch and against the accepted rows of earlier batches."""
        if not self._origins:
            self._stage_nothing()
        self.connection.execute("create table settled (row bigint, is_duplicate boolean, reason varchar)")
        if earlier and self._table.arrival == "facts":
            self._settle_against(self._accepted(earlier), survivors="true")
            self._settle_within("rowid not in (select row from settled)")
        else:
            self._settle_within("true")
            if earlier and self._table.arrival == "versions":
                key = ", ".join(quoted(name) for name in self._table.key)
                current = f"select distinct on ({key}) * from ({self._accepted(earlier)}) order by {key}, batch_id desc"
                self._settle_against(current, survivors="rowid not in (select row from settled)", only_same=True)

    def _accepted(self, batches: Sequence[Path]) -> str:
        """Return a query of what batches accepted; those from before a column was in the contract lack it."""
        columns = ", ".join(f"null::{column.data_type} as {quoted(column.name)}" for column in self._table.columns)
        listed = ", ".join(literal(str(path)) for path in batches)
        return f"""
            select {columns} where false
            union all by name
            select * from read_parquet([{listed}], union_by_name = true)
        """

    def _stage_nothing(self) -> None:
        columns = ", ".join(f"{quoted(column.name)} {column.data_type}" for column in self._table.columns)
        self.connection.execute(
            f'create table staged ("·origin" integer, "·line" integer, {columns}, "·failed" usmallint, '
            '"·reason" varchar)'
        )

    def _same(self, left: str, right: str) -> str:
        content = [name for name in self._table.column_names if name not in {*self._table.key, *_NOT_CONTENT}]
        tests = [f"{left}.{quoted(name)} is not distinct from {right}.{quoted(name)}" for name in content]
        return " and ".join(tests) or "true"

    def _joined(self, left: str, right: str) -> str:
        nullable = {column.name for column in self._table.columns if not column.required}
        return " and ".join(
            f"{left}.{quoted(name)} {'is not distinct from' if name in nullable else '='} {right}.{quoted(name)}"
            for name in self._table.key
        )

    def _settle_against(self, earlier: str, *, survivors: str, only_same: bool = False) -> None:
        """Settle staged rows that meet an earlier row; of several earlier ones an equal one decides."""
        shown = "'batch ' || earlier.batch_id || ' (' || earlier.source_file || ', row ' || earlier.source_row || ')'"
        same = self._same("staged", "earlier")
        wanted = f"and {same}" if only_same else ""
        self.connection.execute(f"""
            insert into settled
            select staged.rowid, bool_or({same}), {_CONFLICT}any_value({shown}) || {_REMEDY}
            from staged inner join ({earlier}) as earlier on {self._joined("staged", "earlier")}
            where staged."·failed" is null and {survivors.replace("rowid", "staged.rowid")} {wanted}
            group by staged.rowid
        """)

    def _settle_within(self, survivors: str) -> None:
        key = ", ".join(quoted(name) for name in self._table.key)
        self.connection.execute(f"""
            create table repeated as
            select {key}, min(rowid) as first_row from staged
            where "·failed" is null and {survivors}
            group by {key} having count(*) > 1
        """)
        (repeated,) = self.connection.sql("select count(*) from repeated").fetchall()[0]
        if not repeated:
            return
        nullable = " and ".join(
            f"later.{quoted(name)} is not distinct from repeated.{quoted(name)}" for name in self._table.key
        )
        self.connection.execute(f"""
            insert into settled
            select later.rowid, {self._same("later", "earlier")},
                   {_CONFLICT}{self._origin_sql("earlier")} || ', row ' || {self._row_sql("earlier")} || {_REMEDY}
            from staged as later
            inner join repeated on {nullable}
            inner join staged as earlier on earlier.rowid = repeated.first_row
            where later."·failed" is null and later.rowid > repeated.first_row
              and {survivors.replace("rowid", "later.rowid")}
        """)

    def _origin_sql(self, relation: str) -> str:
        if len(self._origins) < 2:
            return literal(self._origins[0].name if self._origins else "")
        names = ", ".join(literal(origin.name) for origin in self._origins)
        return f'[{names}][{relation}."·origin" + 1]'

    def _row_sql(self, relation: str) -> str:
        shifts = [str(origin.offset - origin.first_row) for origin in self._origins] or ["0"]
        shift = shifts[0] if len(shifts) == 1 else f'[{", ".join(shifts)}][{relation}."·origin" + 1]'
        return f'coalesce({relation}."·line", ({relation}.rowid + {shift})::integer)'

    # --- verdicts

    def update_rows(self, column: str, rows: pa.Table) -> None:
        """Apply verdicts found outside SQL: a frame `value, filled, rule, reason` per value of a column.

        `filled` names the columns of `rows` beside these four that are written into the table; a row with a rule is
        quarantined under it.
        """
        self.connection.register("verdicts", rows)
        filled = [name for name in rows.column_names if name not in {"value", "rule", "reason"}]
        for rule in sorted({rule for rule in rows.column("rule").to_pylist() if rule}):
            self._rules.append(rule)
            self.connection.execute(f"""
                update staged set "·failed" = {len(self._rules) - 1}, "·reason" = verdicts.reason from verdicts
                where staged."·failed" is null and verdicts.rule = {literal(rule)}
                  and staged.{quoted(column)} = verdicts.value
            """)
        for name in filled:
            self.connection.execute(f"""
                update staged set {quoted(name)} = coalesce(staged.{quoted(name)}, verdicts.{quoted(name)})
                from verdicts where staged."·failed" is null and staged.{quoted(column)} = verdicts.value
            """)
        self.connection.unregister("verdicts")

    def accepted_values(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the distinct values of columns in the rows that no rule has refused."""
        names = ", ".join(quoted(name) for name in columns)
        return self.connection.sql(f'select distinct {names} from staged where "·failed" is null').fetchall()

    def counts(self) -> dict[str, Counts]:
        """Return what became of the rows of each source."""
        found = self.connection.sql("""
            select "·origin", count(*),
                   count(*) filter ("·failed" is null and settled.row is null),
                   count(*) filter ("·failed" is null and settled.is_duplicate),
                   count(*) filter ("·failed" is not null or not settled.is_duplicate)
            from staged left join settled on staged.rowid = settled.row group by "·origin"
        """).fetchall()
        broken = dict(self.connection.sql("select origin, count(*) from broken group by origin").fetchall())
        by_origin = {origin: Counts(*numbers) for origin, *numbers in found}
        return {
            origin.name: by_origin.get(number, Counts())
            + Counts(rows_in=broken.get(number, 0), quarantined=broken.get(number, 0))
            for number, origin in enumerate(self._origins)
        }

    def quarantined_by_rule(self) -> dict[str, int]:
        """Return the number of quarantined rows per rule, most first."""
        rules = ", ".join(literal(rule) for rule in self._rules)
        found = self.connection.sql(f"""
            with rules as (
                select [{rules}]["·failed" + 1] as rule from staged where "·failed" is not null
                union all select 'conflict' from settled where not is_duplicate
                union all select rule from broken
            )
            select rule, count(*) as rows from rules group by rule order by rows desc, rule
        """).fetchall()
        return dict(found)

    def first_reason(self) -> str:
        """Return one reason for which a row was quarantined, with its place; empty when there is none."""
        found = self.connection.sql(f"""
            select {self._origin_sql("staged")} || ', row ' || {self._row_sql("staged")} || ': ' || "·reason"
            from staged where "·failed" is not null limit 1
        """).fetchone()
        if found is None:
            found = self.connection.sql("select 'row ' || source_row || ': ' || reason from broken limit 1").fetchone()
        return found[0] if found else ""

    def broken_table_rule(self, *, rows_before: int) -> str | None:
        """Return why the batch may not be committed, or None; `rows_before` counts the table's earlier rows."""
        batch = f"({self._accepted_sql('')})"
        (rows,) = self.connection.sql(f"select count(*) from {batch}").fetchall()[0]
        return broken_table_rule(self._suite, self.connection, batch, state_rows=rows_before + rows, is_settled=True)

    # --- writing

    def write_accepted(self, path: Path, batch_id: str) -> None:
        """Write the accepted rows: the columns of the contract and those of lineage."""
        sql = f"copy ({self._accepted_sql(batch_id)}) to {literal(str(path))} (format parquet, compression zstd)"
        self.connection.execute(sql)

    def _accepted_sql(self, batch_id: str) -> str:
        names = ", ".join(quoted(name) for name in self._table.column_names)
        source = f"{self._origin_sql('staged')} as source_file, {self._row_sql('staged')} as source_row"
        (settled,) = self.connection.sql("select count(*) from settled").fetchall()[0]
        unsettled = "and staged.rowid not in (select row from settled)" if settled else ""
        lineage = dict(LINEAGE_COLUMNS)
        return f"""
            select {names}, {literal(batch_id)}::{lineage["batch_id"]} as batch_id,
                   {literal(self._ingested_at.isoformat())}::timestamptz as ingested_at, {source}
            from staged where "·failed" is null {unsettled}
        """

    def write_quarantined(self, path: Path, batch_id: str) -> None:
        """Write the quarantined rows with their original text, which is read from their source once more."""
        rules = ", ".join(literal(rule) for rule in self._rules)
        self.connection.execute(f"""
            create table refused as
            select "·origin" as origin, {self._row_sql("staged")} as source_row,
                   case when "·failed" is null then 'conflict' else [{rules}]["·failed" + 1] end as rule,
                   coalesce(staged."·reason", settled.reason) as reason
            from staged left join settled on staged.rowid = settled.row
            where "·failed" is not null or not settled.is_duplicate
        """)
        self.connection.execute("create table texts (origin integer, source_row integer, original_text varchar)")
        for number, origin in enumerate(self._origins):
            self._read_again(number, origin)
        sources = self._origin_sql("quarantined")
        self.connection.execute(f"""
            copy (
                with quarantined as (
                    select refused.origin as "·origin", refused.source_row, texts.original_text, refused.rule,
                           refused.reason
                    from refused left join texts using (origin, source_row)
                    union all
                    select origin as "·origin", source_row, original_text, rule, reason from broken
                )
                select {literal(batch_id)}::varchar as batch_id,
                       {literal(self._ingested_at.isoformat())}::timestamptz as ingested_at,
                       {sources}::varchar as source_file, source_row, original_text, rule, reason
                from quarantined order by "·origin", source_row
            ) to {literal(str(path))} (format parquet, compression zstd)
        """)

    def _read_again(self, number: int, origin: _Origin) -> None:
        wanted = [
            row
            for (row,) in self.connection.sql(
                f"select source_row from refused where origin = {number} order by source_row"
            ).fetchall()
        ]
        if not wanted:
            return
        if origin.text is not None and origin.layout is not None:
            self._insert_texts(number, originals(origin.text, origin.layout, wanted, is_plain=origin.is_plain))
            return
        assert origin.parquet is not None and origin.layout is not None
        shown = ", ".join(f"{literal(name)}: {quoted(name)}" for name in origin.layout.columns)
        row = "file_row_number + 1" if origin.is_plain else '"·line"'
        self.connection.execute(f"""
            insert into texts
            select {number}, source_row, original_text from (
                select ({row})::integer as source_row, to_json({{{shown}}})::varchar as original_text
                from read_parquet({literal(str(origin.parquet))}, file_row_number = true)
            ) inner join refused using (source_row)
            where refused.origin = {number}
        """)

    def _insert_texts(self, number: int, texts: Iterator[tuple[int, str]]) -> None:
        chunk: list[tuple[int, str]] = []
        while True:
            found = next(texts, None)
            if found is not None:
                chunk.append(found)
            if chunk and (found is None or len(chunk) >= _CHUNK_ROWS):
                rows = pa.table(
                    {
                        "source_row": pa.array([row for row, _ in chunk], pa.int32()),
                        "original_text": pa.array([text for _, text in chunk], pa.string()),
                    }
                )
                self.connection.register("chunk", rows)
                self.connection.execute(f"insert into texts select {number}, source_row, original_text from chunk")
                self.connection.unregister("chunk")
                chunk = []
            if found is None:
                return


_CONFLICT = "'the same identity has other content in ' || "
_REMEDY = "': send a correction under a higher revision, or discard this row'"
