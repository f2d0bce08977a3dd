"""The contract of the raw tables and the texts made from it."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from orchestration.cli.main import cli
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.contract import CONTRACT_FILE, load_contract, table_named
from orchestration.ingest.contract_texts import contract_markdown, movement_json_schema, template_csv
from orchestration.ingest.errors import ContractError
from orchestration.ingest.staging import Events

TABLES = [pytest.param(table, id=table.name) for table in load_contract()]
MOVEMENT = {
    "source": "pos",
    "document": "536365",
    "line": 1,
    "occurred_at": "2011-12-01T10:00:00Z",
    "sku": "85123A",
    "location_id": "UKN",
    "movement_type": "sale",
    "quantity_units": -6,
}


def test_the_contract_holds_the_fifteen_raw_tables():
    assert [table.name for table in load_contract()] == [
        "products",
        "locations",
        "suppliers",
        "supplier_terms",
        "stock_movements",
        "daily_sales",
        "purchase_order_lines",
        "stock_lots",
        "transfer_lanes",
        "reservations",
        "prices",
        "product_seasons",
        "product_links",
        "calendar_events",
        "product_photos",
    ]


def test_five_tables_are_required():
    required = [table.name for table in load_contract() if table.required]
    assert required == ["products", "locations", "suppliers", "supplier_terms", "stock_movements"]
    assert table_named("stock_movements").needed == "required, or daily_sales"


@pytest.mark.parametrize("table", TABLES)
def test_every_key_column_is_a_column(table):
    assert set(table.key) <= set(table.column_names)


@pytest.mark.parametrize("table", TABLES)
def test_a_template_is_the_header_of_every_column(table):
    assert next(csv.reader(io.StringIO(template_csv(table)))) == list(table.column_names)


@pytest.mark.parametrize("table", TABLES)
def test_the_markdown_describes_every_column(table):
    text = contract_markdown([table])
    assert f"### `{table.name}`" in text
    assert all(column.description in text for column in table.columns)


def test_the_markdown_is_the_same_every_time():
    assert contract_markdown(load_contract()) == contract_markdown(load_contract())


def test_an_unknown_table_is_named_with_those_there_are():
    with pytest.raises(ContractError, match=r"'sales'; there are products, locations"):
        table_named("sales")


def broken_contract(folder: Path, old: str, new: str) -> Path:
    text = CONTRACT_FILE.read_text(encoding="utf-8")
    assert old in text
    path = folder / "sources.yml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_a_type_that_cannot_be_read_is_named(tmp_path):
    path = broken_contract(tmp_path, "name: sku, data_type: varchar", "name: sku, data_type: blob")
    with pytest.raises(ContractError, match=r"products\.sku has data_type 'blob'"):
        load_contract(path)


def test_a_kind_of_arrival_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ContractError, match="products has arrival 'rows'"):
        load_contract(broken_contract(tmp_path, "arrival: versions", "arrival: rows"))


def test_a_key_that_is_no_column_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"key of products names \['code'\]"):
        load_contract(broken_contract(tmp_path, "key: [sku]", "key: [code]"))


def test_the_schema_takes_a_movement():
    jsonschema.validate(MOVEMENT, movement_json_schema(load_contract()))


@pytest.mark.parametrize(
    "change",
    [
        {"movement_type": "theft"},
        {"sku": ""},
        {"sku": None},
        {"line": 1.5},
        {"line": -1},
        {"quantity_units": "six"},
        {"quantity_units": "1.2345"},
        {"unit_price": "1,5"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_the_schema_refuses(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**MOVEMENT, **change}, movement_json_schema(load_contract()))


@pytest.mark.parametrize("name", ["source", "document", "line", "occurred_at", "sku", "location_id", "quantity_units"])
def test_the_schema_asks_for(name):
    without = {key: value for key, value in MOVEMENT.items() if key != name}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(without, movement_json_schema(load_contract()))


def test_a_movement_that_the_schema_takes_is_accepted_by_ingest(tmp_path):
    movement = {**MOVEMENT, "sequence": 1}
    report = ingest_table(
        "stock_movements",
        landing=tmp_path / "landing",
        raw=tmp_path / "raw",
        ingested_at=datetime(2026, 11, 23, tzinfo=UTC),
        events=Events([movement], 1, 1),
    )
    assert report.rows.accepted == 1


def test_the_schema_is_json():
    schema = movement_json_schema(load_contract())
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("form", "made"),
    [
        ("markdown", lambda: contract_markdown(load_contract())),
        ("json-schema", lambda: json.dumps(movement_json_schema(load_contract()), indent=2)),
    ],
)
def test_the_command_prints_the_contract_as_it_is(form, made):
    assert CliRunner().invoke(cli, ["schema", "--format", form]).output.strip() == made().strip()


def test_the_templates_of_a_home_are_the_contract_as_it_is(tmp_path):
    assert CliRunner().invoke(cli, ["init", str(tmp_path)]).exit_code == 0
    templates = {path.parent.name: path.read_text() for path in tmp_path.glob("landing/*/*.template")}
    assert templates == {table.name: template_csv(table) for table in load_contract()}
