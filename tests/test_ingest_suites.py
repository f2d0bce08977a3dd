"""The suites of the raw tables: two engines, one verdict."""

import dataclasses
import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.ingest.contract import LINEAGE_COLUMNS, Column, Table, load_contract, table_named
from orchestration.ingest.errors import ContractError
from orchestration.ingest.expectations import frame_for_expectations, run_suite, validate
from orchestration.ingest.suites import SUITES, broken_table_rule, literal, load_suite, quoted, suite_parameters

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

TABLES = [pytest.param(table, id=table.name) for table in load_contract()]
ARRIVED = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
LONGEST, HASH = "x" * 1000, "0" * 64
TEXTS = [
    "4.01E+12",
    "1-May",
    "A1",
    "B2",
    "",
    "a:b",
    "NULL",
    "nan",
    "x|y",
    "tab\there",
    "é",
    LONGEST,
    LONGEST + "x",
    "/etc",
    "a/../b",
    HASH,
]
INSTANTS = [ARRIVED + timedelta(days=days) for days in (-5479, -2, -1.5, -1, 0, 0.5, 1, 1.001, 3)]
DAYS = [date(2026, 11, 20) + timedelta(days=days) for days in (-6000, -2, -1, 0, 1, 2, 3, 4, 6)]
NUMBERS = ["-1000000001", "-7", "-0.001", "0", "0.001", "1", "366", "367", "1000", "1000.001", "1000000001"]


def dirty_values(table: Table, column: str, data_type: str) -> list[str]:
    """SQL literals of good and bad values of a column, null among them."""
    if data_type == "varchar":
        sets = [
            suite_parameters()[values["$PARAMETER"]][:3] if isinstance(values, dict) else values
            for entry in load_suite(table).document["expectations"]
            if entry["type"] == "expect_column_values_to_be_in_set" and entry["kwargs"]["column"] == column
            for values in [entry["kwargs"]["value_set"]]
        ]
        known = [value for values in sets for value in values]
        texts = [*TEXTS, *known, *known, "Mon", "Mon Thu", "mon", "Mon,Thu"]
    elif data_type == "boolean":
        texts = ["true", "false"]
    elif data_type == "date":
        texts = [str(day) for day in DAYS]
    elif data_type == "timestamp with time zone":
        texts = [instant.isoformat() for instant in INSTANTS]
    else:
        texts = [text for text in NUMBERS if data_type != "integer" or "." not in text]
    return [f"null::{data_type}", *(f"{literal(text)}::{data_type}" for text in texts)]


def dirty_table(connection: duckdb.DuckDBPyConnection, table: Table, rows: int) -> None:
    """Create `dirty` with every kind of bad value, seeded, and `judged` with the derived columns beside it."""
    draw = random.Random(table.name)
    pools = [dirty_values(table, column.name, column.data_type) for column in table.columns]
    lineage = f"'b', {literal(ARRIVED.isoformat())}::timestamptz, 'f'"
    lines = [f"({', '.join(draw.choice(pool) for pool in pools)}, {lineage}, {row})" for row in range(rows)]
    names = ", ".join(quoted(name) for name in (*table.column_names, *(name for name, _ in LINEAGE_COLUMNS)))
    derived = "".join(f", {sql} as {quoted(name)}" for name, sql in load_suite(table).derived.items())
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"create table dirty as select * from (values {', '.join(lines)}) as rows({names})")
    connection.execute(f"create view judged as select *{derived} from dirty")


@pytest.mark.parametrize("table", TABLES)
def test_sql_and_great_expectations_agree_on_every_row(table):
    suite = load_suite(table)
    with duckdb.connect() as connection:
        dirty_table(connection, table, rows=400)
        frame = frame_for_expectations(suite, connection, "dirty")
        by_sql = {
            rule.name: connection.sql(f"select source_row from judged where not {rule.predicate}").fetchall()
            for rule in suite.row_rules
        }
    document = run_suite(suite, frame, result_format="COMPLETE")
    by_rule = {entry["expectation_config"]["meta"]["rule"]: entry for entry in document["results"]}
    for rule in suite.row_rules:
        entry = by_rule[rule.name]
        assert not entry["exception_info"]["raised_exception"], entry["exception_info"]
        assert sorted(entry["result"]["unexpected_index_list"]) == sorted(row for (row,) in by_sql[rule.name]), (
            rule.name
        )


@pytest.mark.parametrize("table", TABLES)
def test_every_row_rule_can_fail(table):
    suite = load_suite(table)
    with duckdb.connect() as connection:
        dirty_table(connection, table, rows=1500)
        tests = ", ".join(f"bool_or(not {rule.predicate}), bool_or({rule.predicate})" for rule in suite.row_rules)
        (found,) = connection.sql(f"select {tests} from judged").fetchall()
    never = [rule.name for rule, fails in zip(suite.row_rules, found[::2], strict=True) if not fails]
    always = [rule.name for rule, holds in zip(suite.row_rules, found[1::2], strict=True) if not holds]
    assert (never, always) == ([], [])


@pytest.mark.parametrize("table", TABLES)
def test_rule_names_are_distinct_within_a_suite(table):
    names = [entry["meta"]["rule"] for entry in load_suite(table).document["expectations"]]
    assert len(names) == len(set(names))


def test_there_is_one_suite_per_raw_table_and_nothing_else():
    found = {path.relative_to(SUITES).as_posix() for path in SUITES.rglob("*") if path.is_file()}
    assert found == {f"raw/{table.name}.json" for table in load_contract()}


def suite_with(folder: Path, **expectation) -> Path:
    document = {"name": "raw/stock_lots", "expectations": [expectation] if expectation else []}
    (folder / "raw").mkdir()
    (folder / "raw" / "stock_lots.json").write_text(json.dumps(document))
    return folder


def test_a_suite_needs_no_word_of_what_the_contract_says(tmp_path):
    table = table_named("stock_lots")
    wider = dataclasses.replace(table, columns=(*table.columns, Column("grade", "varchar", "", True, None)))
    suite = load_suite(wider, suite_with(tmp_path))
    missing = ["sku_missing", "location_id_missing", "lot_id_missing", "expires_date_missing", "grade_missing"]
    assert [rule.name for rule in suite.row_rules] == [*missing, "text_too_long"]
    assert [rule["meta"]["rule"] for rule in suite.table_rules] == ["columns", "identity"]
    assert "grade" in suite.table_rules[0]["kwargs"]["column_set"]
    assert "length(grade)" in suite.derived["longest_text_characters"]


def test_a_rule_of_the_suite_takes_the_place_of_that_of_the_contract(tmp_path):
    meta = {"rule": "sku_missing", "reason": "say which"}
    folder = suite_with(tmp_path, type="expect_column_values_to_not_be_null", kwargs={"column": "sku"}, meta=meta)
    (rule,) = [rule for rule in load_suite(table_named("stock_lots"), folder).row_rules if rule.name == "sku_missing"]
    assert "say which" in rule.reason


def test_an_expectation_that_cannot_be_compiled_is_named(tmp_path):
    folder = suite_with(tmp_path, type="expect_column_values_to_be_json_parseable", kwargs={"column": "sku"})
    with pytest.raises(ContractError, match="expect_column_values_to_be_json_parseable cannot be compiled"):
        load_suite(table_named("stock_lots"), folder)


def test_an_option_that_cannot_be_compiled_is_named(tmp_path):
    folder = suite_with(
        tmp_path, type="expect_column_values_to_not_be_null", kwargs={"column": "sku", "mostly": 0.9}, meta={}
    )
    with pytest.raises(ContractError, match="the option 'mostly' cannot be compiled"):
        load_suite(table_named("stock_lots"), folder)


def test_a_column_that_does_not_exist_is_named(tmp_path):
    folder = suite_with(tmp_path, type="expect_column_values_to_not_be_null", kwargs={"column": "skuu"})
    with pytest.raises(ContractError, match="there is no column 'skuu'"):
        load_suite(table_named("stock_lots"), folder)


def test_a_rule_without_a_reason_is_refused(tmp_path):
    folder = suite_with(tmp_path, type="expect_column_values_to_not_be_null", kwargs={"column": "sku"})
    with pytest.raises(ContractError, match=r"meta\.reason"):
        load_suite(table_named("stock_lots"), folder)


def test_a_table_without_a_suite_is_an_error(tmp_path):
    with pytest.raises(ContractError, match="has no suite"):
        load_suite(table_named("stock_lots"), tmp_path)


def test_a_row_condition_that_cannot_be_compiled_is_named(tmp_path):
    kwargs = {"column": "sku", "row_condition": 'col("sku") == "A"'}
    folder = suite_with(
        tmp_path, type="expect_column_values_to_not_be_null", kwargs=kwargs, meta={"rule": "r", "reason": "s"}
    )
    with pytest.raises(ContractError, match="row condition"):
        load_suite(table_named("stock_lots"), folder)


def test_duckdb_knows_every_time_zone_that_is_allowed():
    known = {name for (name,) in duckdb.sql("select name from pg_timezone_names()").fetchall()}
    assert set(suite_parameters()["iana_time_zones"]) <= known


def lots(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    names = "sku, location_id, lot_id, expires_date, batch_id, ingested_at, source_file, source_row"
    connection.execute(f"create table lots as select * from (values {rows}) as rows({names})")


ONE_LOT = "('A', 'L', '1', date '2026-12-01', 'b', timestamptz '2026-11-23', 'f', 2)"


def test_great_expectations_names_the_rule_that_accepted_rows_break(tmp_path):
    with duckdb.connect() as connection:
        lots(connection, "('A', 'L', null::varchar, date '2026-12-01', 'b', timestamptz '2026-11-23', 'f', 2)")
        connection.execute(f"copy lots to '{tmp_path}/accepted.parquet'")
    validation = validate(table_named("stock_lots"), tmp_path / "accepted.parquet")
    assert not validation.success
    assert [result.rule for result in validation.results if not result.success] == ["lot_id_missing"]
    assert "lot_id_missing" in validation.markdown()


def test_great_expectations_takes_a_frame():
    with duckdb.connect() as connection:
        lots(connection, ONE_LOT)
        frame = connection.sql("from lots").df()
    assert validate(table_named("stock_lots"), frame).success


def test_a_table_rule_holds_for_both_engines_when_a_key_repeats():
    suite = load_suite(table_named("stock_lots"))
    with duckdb.connect() as connection:
        lots(connection, f"{ONE_LOT}, {ONE_LOT}")
        reason = broken_table_rule(suite, connection, "lots", state_rows=2)
        frame = frame_for_expectations(suite, connection, "lots")
    assert reason is not None and "more than once" in reason
    failed = [entry for entry in run_suite(suite, frame)["results"] if not entry["success"]]
    assert [entry["expectation_config"]["meta"]["rule"] for entry in failed] == ["identity"]


def test_two_versions_of_a_key_in_two_arrivals_are_no_repetition():
    with duckdb.connect() as connection:
        lots(connection, ONE_LOT + ", " + ONE_LOT.replace("'b'", "'c'"))
        frame = connection.sql("from lots").df()
    assert validate(table_named("stock_lots"), frame).success


def test_a_required_table_without_rows_breaks_its_row_count():
    suite = load_suite(table_named("suppliers"))
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        columns = ", ".join(
            f"null::{kind} as {quoted(name)}"
            for name, kind in [*((c.name, c.data_type) for c in suite.table.columns), *LINEAGE_COLUMNS]
        )
        connection.execute(f"create table none as select {columns} limit 0")
        reason = broken_table_rule(suite, connection, "none", state_rows=0)
    assert reason == "suppliers would have 0 rows: without a row of it nothing can be computed"
