"""Every column of the input contract does something: a model beyond staging names it, or a line of code does."""

import re
from dataclasses import replace
from typing import Any

import pytest

from orchestration.home.settings import PROJECT_FOLDER
from orchestration.ingest.contract import Column, Table, load_contract, table_named
from orchestration.warehouse.dbt import prepare_project, read_parsed

# Read before the models: the business day decides up to when the warehouse is built, and the unit which version of a
# product counts.
READ_BY_CODE = {
    "locations.day_ends_at": PROJECT_FOLDER / "orchestration" / "ingest" / "business_day.py",
    "products.previous_units_per_unit": PROJECT_FOLDER / "dbt_project" / "models" / "staging" / "stg_product_units.sql",
}


@pytest.fixture(scope="module")
def readers() -> dict[str, str]:
    """Return, by raw table, what the models that read its staging model are made of, without comments."""
    prepare_project()
    manifest: Any = read_parsed()

    def text_of(macro: str) -> str:
        found = manifest.macros[macro]
        return found.macro_sql + "".join(text_of(used) for used in found.depends_on.macros if ".inventorybot." in used)

    texts: dict[str, str] = {}
    for node in manifest.nodes.values():
        if node.resource_type != "model" or node.name.startswith("stg_"):
            continue
        own = node.raw_code + "".join(text_of(used) for used in node.depends_on.macros if ".inventorybot." in used)
        for parent in node.depends_on.nodes:
            if ".stg_" in parent:
                table = parent.rsplit(".stg_", 1)[1]
                texts[table] = texts.get(table, "") + re.sub(r"--.*|\{#.*?#\}", "", own)
    return texts


def unread(table: Table, readers: dict[str, str]) -> list[str]:
    def is_read(name: str) -> bool:
        module = READ_BY_CODE.get(f"{table.name}.{name}")
        text = readers.get(table.name, "") if module is None else module.read_text()
        return re.search(rf"\b{name}\b", text) is not None

    return [name for name in table.column_names if not is_read(name)]


@pytest.mark.parametrize("table", load_contract(), ids=lambda table: table.name)
def test_every_column_of_the_contract_is_read_beyond_staging(table: Table, readers: dict[str, str]):
    assert unread(table, readers) == []


def test_a_fresh_column_that_nothing_names_is_found(readers: dict[str, str]):
    fresh = Column("shelf_colour", "varchar", "Colour of the shelf", required=False, default=None)
    suppliers = table_named("suppliers")
    assert unread(replace(suppliers, columns=(*suppliers.columns, fresh)), readers) == ["shelf_colour"]
