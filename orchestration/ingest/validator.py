"""Rows become verdicts: typed and accepted, duplicate, or quarantined with the rule they break.

Belongs here: reading text as types, defaults, row rules, identity within a batch and against earlier batches; all of
it as SQL in one in-memory DuckDB that spills to the work folder. Does not: finding files (files), committing
(batches), which rows are the same (identity).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Column, Table
from orchestration.ingest.csv_records import (
    FILE_NUMBER,
    Record,
    csv_relation,
    file_columns,
    join_lines,
    originals,
    readable_relation,
    rewrite,
    source_expression,
)
from orchestration.ingest.csv_text import CsvText
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.formats import AMBIGUOUS, CLEARLY_COMMA, CLEARLY_POINT, Decimal, Format
from orchestration.ingest.identity import settle
from orchestration.ingest.layouts import Layout
from orchestration.ingest.limits import Allowance
from orchestration.ingest.manifests import Counts
from orchestration.ingest.names import shown
from orchestration.ingest.parsing import INSTANT, Reading, text_of
from orchestration.ingest.suites import Suite, broken_table_rule

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

_LASTING = (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.ParserException, duckdb.BinderException)
"""Errors that reading a file line by line does not mend."""

_MEMORY = "2GB"
_CHUNK_ROWS = 50_000
_MOST_SHOWN = 3
_FIRST_ROWS = 1_000


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


@dataclass(frozen=True)
class _Scanned:
    """SQL of the first rows of what was staged last, of all rows of small files, and of the origin of each."""

    first_rows: str
    origin: str


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
        self._scanned = _Scanned("", "")
        self._lenient = [column.name for column in table.columns if column.is_lenient]
        self._rules = [f"{column.name}_unreadable" for column in table.columns] + [
            rule.name for rule in suite.row_rules
        ]
        self.connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(work / "spill")})
        # Rows count in their order, which a join would not keep; a list of values after IN would become one.
        self.connection.execute("set TimeZone = 'UTC'; set disabled_optimizers = 'in_clause'")
        self.connection.execute(
            "create table broken (origin integer, source_row integer, original_text varchar, rule varchar, "
            "reason varchar)"
        )

    def __enter__(self) -> "RowValidator":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    # --- adding sources

    def add_csv(self, name: str, text: CsvText, layout: Layout, known: Format, allowance: Allowance) -> Format:
        """Stage the rows of a CSV file; returns how it writes numbers and times.

        DuckDB reads it when it can read every line; the rows it read must then be as many as the lines of the file.
        Otherwise the file is read line by line, and broken lines are set aside.

        Args:
            name: name of the file.
            text: the file as plain UTF-8.
            layout: its columns.
            known: what people said of its numbers and times.
            allowance: what reading it may cost.

        Raises:
            FileRejected: it takes too long, or nothing tells how it writes its numbers.
        """
        relation = csv_relation(text.path, file_columns(layout), layout.delimiter, header_line=layout.header_line)
        with allowance.watching(self.connection):
            try:
                made = self._with_decimal(known, relation, layout, allowance)
                rows = self._stage(relation, self._text_readings(layout, made), line="null::integer")
                is_plain = rows + layout.header_line == text.lines
            except _LASTING:
                raise
            except duckdb.Error as error:
                if "No space left" in str(error):
                    raise
                rows, is_plain = 0, False
            broken: list[Record] = []
            if not is_plain:
                copy = self._work / f"{len(self._origins)}.readable"
                rewrite(text, layout, copy, broken, allowance)
                readable = readable_relation(copy, layout)
                made = self._with_decimal(known, readable, layout, allowance)
                rows = self._stage(readable, self._text_readings(layout, made), line='"line"::integer')
        if not is_plain:
            self._set_aside(broken)
        first = layout.header_line + 1
        self._keep([_Origin(name, self._staged_rows, first, text=text, layout=layout, is_plain=is_plain)], rows)
        return made

    def add_alike(
        self, files: Sequence[tuple[str, CsvText]], layout: Layout, known: Format, allowance: Allowance
    ) -> bool:
        """Stage the rows of small CSV files with the same columns by one statement: it costs more than their rows do.

        Args:
            files: name and text of each.
            layout: their columns.
            known: what people said of their numbers and times.
            allowance: what reading them may cost together.

        Returns:
            Whether every line of every file is a row of its own. If not, nothing is staged: add them one by one, which
            tells the broken ones from the others.
        """
        is_decided = known.decimal is not None or layout.delimiter == ","
        if self._lenient or not is_decided or len(layout.columns) < 2:
            return False
        first, joined = len(self._origins), self._work / f"{len(self._origins)}.joined"
        counts = join_lines([text for _, text in files], layout, joined, first_number=first)
        starts = [self._staged_rows, *(self._staged_rows + rows for rows in accumulate(counts))]
        relation = csv_relation(joined, (FILE_NUMBER, *file_columns(layout)), layout.delimiter)
        try:
            with allowance.watching(self.connection):
                staged = self._stage(
                    relation, self._text_readings(layout, known), line="null::integer", origin=quoted(FILE_NUMBER)
                )
        except FileRejected:
            return False
        if staged != sum(counts):
            return False
        self._keep(
            [
                _Origin(name, start, layout.header_line + 1, text=text, layout=layout)
                for (name, text), start in zip(files, starts, strict=False)
            ],
            staged,
        )
        return True

    def add_parquet(self, name: str, path: Path, layout: Layout, known: Format, allowance: Allowance) -> None:
        """Stage the rows of a Parquet file; rows count from 1.

        Raises:
            FileRejected: it cannot be decoded, or takes too long.
        """
        relation = f"read_parquet({path_literal(path)})"
        readings = []
        for column in self._table.columns:
            source, kind = layout.sources.get(column.name), layout.types.get(column.name, "VARCHAR")
            if source is None:
                readings.append(Reading(column, None))
            elif kind.lower() == column.data_type:
                readings.append(Reading(column, quoted(source), is_typed=True))
            elif kind == "BLOB":
                readings.append(Reading(column, f"decode({quoted(source)})", time_zone=known.time_zone))
            else:
                # An instant in UTC is written with its offset, so that no zone is added to it.
                readings.append(Reading(column, f"{quoted(source)}::varchar", time_zone=known.time_zone))
        with allowance.watching(self.connection):
            rows = self._stage(relation, readings, line="null::integer")
        self._keep([_Origin(name, self._staged_rows, 1, parquet=path, layout=layout)], rows)

    def add_rows(self, name: str, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> None:
        """Stage rows given as mappings of contract columns, with a number each (the ledger sequence, say)."""
        names = self._table.column_names
        columns = {key: [text_of(row.get(key)) for row in rows] for key in names}
        arrays = {key: pa.array(values, pa.string()) for key, values in columns.items()}
        path = self._work / f"rows-{len(self._origins)}.parquet"
        given = pa.table({**arrays, "·line": pa.array(numbers, pa.int64())})
        self.connection.register("given", given)
        self.connection.execute(f"copy given to {literal(path)} (format parquet)")
        self.connection.unregister("given")
        readings = [Reading(column, quoted(column.name)) for column in self._table.columns]
        count = self._stage(f"read_parquet({path_literal(path)})", readings, line='"·line"::integer')
        layout = Layout(names, {key: key for key in names}, ())
        self._keep([_Origin(name, self._staged_rows, 0, parquet=path, layout=layout, is_plain=False)], count)

    def _text_readings(self, layout: Layout, known: Format) -> list[Reading]:
        return [
            Reading(column, source_expression(layout, column.name), decimal=known.decimal, time_zone=known.time_zone)
            for column in self._table.columns
        ]

    def _with_decimal(self, known: Format, relation: str, layout: Layout, allowance: Allowance) -> Format:
        """Return how a file writes numbers: as people said, or as its numbers show.

        A file whose values are parted by commas has decimal points.
        """
        decimals = [
            source_expression(layout, column.name)
            for column in self._table.columns
            if column.data_type.startswith("decimal") and column.name in layout.sources
        ]
        if known.decimal is not None or layout.delimiter == "," or not decimals:
            return known
        signed = " union all ".join(f"select {value} as value from {relation}" for value in decimals)
        is_comma, is_point, example = self.connection.sql(f"""
            select coalesce(bool_or(regexp_matches(value, {literal(CLEARLY_COMMA)})), false),
                coalesce(bool_or(regexp_matches(value, {literal(CLEARLY_POINT)})), false),
                any_value(value) filter (regexp_matches(value, {literal(AMBIGUOUS)}))
            from ({signed}) where contains(value, ',') or contains(value, '.')
        """).fetchall()[0]
        decimal: Decimal | None = "comma" if is_comma and not is_point else None
        if example is not None and is_comma == is_point:
            found = "its other numbers tell both" if is_comma else "no other number in the file tells"
            raise FileRejected(
                f"{allowance.place}: {shown(example.strip())} may have decimals or thousands, and {found}: say once "
                f"how this source writes numbers, `inventorybot sources format {self._table.name} --decimal point` or "
                "`--decimal comma` (with --files for some of its files only), and run again",
                may_pass=True,
            )
        return replace(known, decimal=decimal)

    def _stage(self, relation: str, readings: Sequence[Reading], *, line: str, origin: str | None = None) -> int:
        """Type and judge the rows of a relation into the table `part`; returns how many there are.

        Args:
            relation: SQL of the rows.
            readings: how each column of the table is read from it.
            line: SQL of the line of a row, null where rows are counted.
            origin: SQL of the origin of a row; None = all are of the next one.
        """
        given = f"{len(self._origins) if origin is None else origin}::integer"
        self.connection.execute("drop table if exists part")
        self.connection.execute(f"create table part as {self._judging_sql(relation, readings, line, given)}")
        self._scanned = _Scanned(relation if origin else f"(from {relation} limit {_FIRST_ROWS})", given)
        return int(self.connection.sql("select count(*) from part").fetchall()[0][0])

    def emptied(self) -> tuple[str, ...]:
        """Return notices of the values of the source added last that could not be used and were taken as empty."""
        if not self._lenient:
            return ()
        origin = len(self._origins) - 1
        found = self.connection.sql(f"""
            select {self._row_sql("staged")}, "·emptied", count(*) over () from staged
            where "·origin" = {origin} and "·emptied" is not null limit {_MOST_SHOWN}
        """).fetchall()
        notices = [
            f"{self._origins[origin].name}, row {row}: {shown(text)}: correct it and send the row again"
            for row, text, _ in found
        ]
        more = found[0][2] - len(found) if found else 0
        return (*notices, f"{more} more rows of {self._origins[origin].name} are like this") if more else tuple(notices)

    def local_times(self) -> dict[str, str]:
        """Return, per source added by the last call, an instant without an offset among its first rows, as given."""
        origin = self._origins[-1]
        column = next((c for c in self._table.columns if c.must_be_present and c.data_type == INSTANT), None)
        if column is None or origin.layout is None or column.name not in origin.layout.sources:
            return {}
        if origin.parquet is not None:
            kind = origin.layout.types[column.name]
            is_local = kind.startswith("TIMESTAMP") and kind != INSTANT.upper()
            return {origin.name: f"those of the type {kind}"} if is_local else {}
        if not origin.is_plain:
            return {}
        value = source_expression(origin.layout, column.name)
        found = self.connection.sql(f"""
            select origin, any_value(value)
            from (select {self._scanned.origin} as origin, {value} as value from {self._scanned.first_rows})
            where length(value) > 10 and not regexp_matches(substr(value, 10), '[A-SU-Za-su-z+-]') group by origin
        """).fetchall()
        return {self._origins[number].name: str(example) for number, example in found}

    def _judging_sql(self, relation: str, readings: Sequence[Reading], line: str, origin: str) -> str:
        given = ", ".join(reading.given_sql() for reading in readings if reading.source is not None)
        typed = ", ".join(reading.typed_sql() for reading in readings)
        defaulted = ", ".join(
            f"{self._defaulted(column)} as {quoted(column.name)}"
            for column in self._table.columns
            if column.default is not None
        )
        replaced = f" replace ({defaulted})" if defaulted else ""
        fallible = [
            (number, reading)
            for number, reading in enumerate(readings)
            if reading.can_fail and not reading.column.is_lenient
        ]
        rules = list(enumerate(self._suite.row_rules, start=len(readings)))
        cleared, emptied = self._clearing_sql(readings)
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
            with given as (select {given}, {line} as "·line", {origin} as "·origin" from {relation}),
            typed as (select *, {typed}, {literal(self._ingested_at.isoformat())}::timestamptz as ingested_at
                      from given),
            read as (select *{cleared}, {unreadable} as "·unreadable" from typed),
            complete as (select *{replaced} from read),
            derived as (select *{derived} from complete),
            judged as (select *, coalesce("·unreadable", case {broken} end)::usmallint as "·failed" from derived)
            select "·origin", "·line", {names}, "·failed",
                   case when "·failed" is not null then case "·failed" {reasons} end end as "·reason"{emptied}
            from judged
        """

    def _clearing_sql(self, readings: Sequence[Reading]) -> tuple[str, str]:
        """Return SQL that empties values of lenient columns that cannot be used, and SQL that says so."""
        if not self._lenient:
            return "", ""
        kept = []
        for name in self._lenient:
            rules = [rule.predicate for rule in self._suite.row_rules if rule.columns == (name,)]
            if rules:
                kept.append(f"case when {' and '.join(rules)} then {quoted(name)} end as {quoted(name)}")
        said = [
            f"case when {reading.given} is not null and {quoted(reading.column.name)} is null then "
            f"{literal(reading.column.name + ' is ')} || left({reading.given}::varchar, 80) || "
            "', which cannot be used, and was taken as empty' end"
            for reading in readings
            if reading.column.is_lenient and reading.source is not None
        ]
        emptied = f"nullif(concat_ws('; ', {', '.join(said)}), '')" if said else "null::varchar"
        return f" replace ({', '.join(kept)})" if kept else "", f', {emptied} as "·emptied"'

    def _defaulted(self, column: Column) -> str:
        """Return SQL of a column with its default, which is a value or the name of another column."""
        assert column.default is not None
        is_column = column.default in self._table.column_names
        default = quoted(column.default) if is_column else f"{literal(column.default)}::{column.data_type}"
        return f"coalesce({quoted(column.name)}, {default})"

    def _keep(self, origins: Sequence[_Origin], rows: int) -> None:
        if self._origins:
            self.connection.execute("insert into staged select * from part")
            self.connection.execute("drop table part")
        else:
            self.connection.execute("alter table part rename to staged")
        self._origins += origins
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

    def settle(self, earlier: Sequence[Path], current: str | None = None) -> None:
        """Find duplicates and conflicts, within the batch and against earlier batches; see `identity.settle`."""
        if not self._origins:
            self._stage_nothing()
        place = self._origin_sql("earlier"), self._row_sql("earlier")
        settle(self.connection, self._table, earlier, *place, current)

    def _stage_nothing(self) -> None:
        columns = ", ".join(f"{quoted(column.name)} {column.data_type}" for column in self._table.columns)
        emptied = ', "·emptied" varchar' if self._lenient else ""
        self.connection.execute(
            f'create table staged ("·origin" integer, "·line" integer, {columns}, "·failed" usmallint, '
            f'"·reason" varchar{emptied})'
        )

    @property
    def origin_sql(self) -> str:
        """Return the SQL of the name of the file that a row of `staged` came in."""
        return self._origin_sql("staged")

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
        sql = f"copy ({self._accepted_sql(batch_id)}) to {literal(path)} (format parquet, compression zstd)"
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
        wanted = self.connection.sql(
            "select origin, list(source_row order by source_row) from refused group by origin order by origin"
        ).fetchall()
        for number, rows in wanted:
            self._read_again(number, self._origins[number], rows)
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
            ) to {literal(path)} (format parquet, compression zstd)
        """)

    def _read_again(self, number: int, origin: _Origin, wanted: Sequence[int]) -> None:
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
                from read_parquet({path_literal(origin.parquet)}, file_row_number = true)
            ) inner join refused using (source_row)
            where refused.origin = {number}
        """)

    def _insert_texts(self, number: int, texts: Iterator[tuple[int, str]]) -> None:
        while chunk := list(islice(texts, _CHUNK_ROWS)):
            columns = zip(*chunk, strict=True)
            rows = pa.table(dict(zip(("source_row", "original_text"), columns, strict=True)))
            self.connection.register("chunk", rows)
            self.connection.execute(f"insert into texts select {number}, source_row, original_text from chunk")
            self.connection.unregister("chunk")
