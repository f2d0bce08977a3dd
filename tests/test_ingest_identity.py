"""Conflicts: what their reasons tell people to do leaves the data right when it is done."""

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from support.small_files import Intake, as_csv, movement, product

from orchestration.cli.main import cli
from orchestration.ingest.codes import meant
from orchestration.ingest.quarantine import list_quarantined

WINTER = movement(document="INV-0001", occurred_at="2024-01-10T10:00:00Z", quantity_units="-3")
SUMMER = movement(document="INV-0001", occurred_at="2024-07-10T10:00:00Z", quantity_units="-9")


def fix(*arguments: str) -> str:
    answered = CliRunner().invoke(cli, ["quarantine", "fix", *arguments, "--reason", "as told", "--author", "Ann"])
    assert answered.exit_code == 0, answered.output
    return answered.output


def open_rows(home: Intake) -> list[str]:
    return [row.reference for row in list_quarantined(home.raw)]


@pytest.fixture
def home(home_folder: Path) -> Intake:
    return Intake(home_folder)


def test_documents_that_start_again_become_two_sales(home):
    later = [movement(**{**SUMMER, "document": f"INV-000{n}"}) for n in (1, 2)]
    home.put("stock_movements", "a.csv", as_csv(WINTER, movement(**{**WINTER, "document": "INV-0002"}), *later))
    home.take_in("stock_movements")
    (reason,) = {row.reason.split(": ", 1)[1] for row in list_quarantined(home.raw)}
    assert reason == (
        "another movement under a number that is used already, so no correction of that row: number the documents by "
        "year in the source, and give this row such a number, `quarantine fix REFERENCE --set "
        "'document={document}/{year}'`"
    )
    fix(*open_rows(home), "--set", "document={document}/{year}")
    assert home.rows("stock_movements", "document, quantity_units::integer") == [
        ("INV-0001", -3),
        ("INV-0002", -3),
        ("INV-0001/2024", -9),
        ("INV-0002/2024", -9),
    ]
    assert open_rows(home) == []


def test_a_line_sent_again_with_another_quantity_becomes_its_correction(home):
    home.put("stock_movements", "a.csv", as_csv(WINTER))
    home.take_in("stock_movements")
    home.put("stock_movements", "b.csv", as_csv({**WINTER, "quantity_units": "-4"}))
    home.take_in("stock_movements")
    (row,) = list_quarantined(home.raw)
    assert (
        "if it corrects that row, give it the next revision, `quarantine fix REFERENCE --set revision=1`" in row.reason
    )
    fix(row.reference, "--set", "revision=1")
    assert home.rows("stock_movements", "revision, quantity_units::integer") == [(0, -3), (1, -4)]


def test_a_product_twice_in_a_file_is_told_what_products_can_do(home):
    home.put("products", "a.csv", as_csv(product(), product(unit_price="3")))
    home.take_in("products")
    (row,) = list_quarantined(home.raw)
    assert row.reason.endswith(": keep the right one of the two rows and send the file again, or discard this row")
    home.put("products", "a.csv", as_csv(product(unit_price="3")))
    home.take_in("products")
    assert home.rows("products", "unit_price::integer")[-1] == (3,)


def test_a_damaged_code_can_be_put_right(home):
    home.put("products", "a.csv", as_csv(product(), product(sku="4.01E+12")))
    home.take_in("products")
    (row,) = list_quarantined(home.raw)
    assert row.rule == "identifier_damaged"
    fix(row.reference, "--set", "sku=4012345678901")
    assert home.rows("products", "sku") == [("A",), ("4012345678901",)]


def test_a_code_that_looks_like_a_known_one_is_mapped_by_one_command(home):
    home.put("products", "a.csv", as_csv(product(sku="H03")))
    home.put("stock_movements", "a.csv", as_csv(movement(sku="H03\u00ad"), movement(document="D2", sku="H03")))
    for table in ("products", "stock_movements"):
        home.take_in(table)
    batch = home.rows("stock_movements", "batch_id")[0][0]
    held = home.raw.parent / "warehouse" / "exports" / "marts" / "fct_quarantined_rows.parquet"
    held.parent.mkdir(parents=True)
    columns = "table_name, batch_id, source_file, source_row, original_text, rule, reason, is_waiting"
    values = f"'stock_movements', '{batch}', 'a.csv', 2, '', 'unknown_sku', '''H03'' exists', true"
    duckdb.sql(f"select * from (values ({values})) as rows({columns})").write_parquet(str(held))
    reference = f"stock_movements/{batch}/2/a.csv"

    def run(*arguments: str) -> str:
        return CliRunner().invoke(cli, arguments).output

    said = ("--reason", "the till", "--author", "Ann")
    assert "sku 'H04' is not among the products" in run("quarantine", "map", reference, "H04", *said)
    assert run("quarantine", "map", reference, "H03", *said) == (
        "sku 'H03\\xad' stands for 'H03'; the next run counts its rows\n"
    )
    assert "sku 'H03\\xad' stands for 'H03' (Ann: the till)" in run("sources", "list")
    row = "select 'H03\u00ad' as sku, 'a.csv' as source_file"
    assert duckdb.sql(f"select {meant(home.raw, 'sku')} from ({row})").fetchall() == [("H03",)]
    assert run("quarantine", "unmap", "sku", "H03\u00ad") == "sku 'H03\\xad' stands for itself again\n"
    assert "stands for" not in run("sources", "list")
