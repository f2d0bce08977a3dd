"""What people and programs read of the input contract: Markdown, CSV templates, the JSON Schema of a movement.

Belongs here: making these texts. Does not: what they say, which the contract and the suites declare.
"""

from collections.abc import Iterable
from typing import Any

from orchestration.ingest.contract import ARRIVALS, ENDS, Column, Table, table_named
from orchestration.ingest.suites import load_suite

_TYPE_WORDS = {"varchar": "text", "timestamp with time zone": "instant (ISO 8601, UTC where no offset is given)"}


def contract_markdown(contract: Iterable[Table]) -> str:
    """Return the contract as Markdown, one table of columns per raw table."""
    return "\n".join(_table_markdown(table) for table in contract)


def _table_markdown(table: Table) -> str:
    lines = [
        f"### `{table.name}` ({table.needed})",
        "",
        f"{table.description} {ARRIVALS[table.arrival]} {ENDS[table.ends]}".strip(),
        "",
        "| Column | Type | Needed | Meaning |",
        "|---|---|---|---|",
    ]
    for column in table.columns:
        name = f"**{column.name}**" if column.name in table.key else column.name
        kind = _TYPE_WORDS.get(column.data_type, column.data_type)
        lines.append(f"| {name} | {kind} | {_needed(column)} | {column.description} |")
    return "\n".join([*lines, ""])


def _needed(column: Column) -> str:
    if column.default is not None:
        return f"no: `{column.default}`"
    return "yes" if column.required else "no"


def template_csv(table: Table) -> str:
    """Return the header line of a CSV file of the table; every column of the contract, none filled in."""
    return ",".join(table.column_names) + "\n"


def movement_json_schema(contract: Iterable[Table]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one stock movement, as the stream and the HTTP interface take it.

    Types and presence come from the contract; the allowed values of `movement_type` and the sign of a quantity from
    the suite of the table.
    """
    table = table_named("stock_movements", contract)
    suite = load_suite(table)
    properties = {column.name: _json_property(column) for column in table.columns}
    properties["movement_type"] = {
        "type": "string",
        "enum": suite.allowed_values("movement_type"),
        "description": table.column("movement_type").description,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stock movement",
        "description": table.description,
        "type": "object",
        "properties": properties,
        "required": [column.name for column in table.columns if column.must_be_present],
        "additionalProperties": False,
    }


def _json_property(column: Column) -> dict[str, Any]:
    empty = [] if column.must_be_present else ["null"]
    described: dict[str, Any] = {"description": column.description}
    if column.data_type == "varchar":
        shortest = {"minLength": 1} if column.must_be_present else {}
        return {"type": ["string", *empty] if empty else "string", **shortest, "maxLength": 1000, **described}
    if column.data_type == "integer":
        whole = {"minimum": 0, "maximum": 2**31 - 1}
        return {"type": ["integer", *empty] if empty else "integer", **whole, **described}
    if column.data_type == "timestamp with time zone":
        return {"type": ["string", *empty] if empty else "string", "format": "date-time", **described}
    digits = column.data_type.removeprefix("decimal(").removesuffix(")").split(",")
    whole_digits, decimals = int(digits[0]) - int(digits[1]), int(digits[1])
    pattern = rf"^[+-]?\d{{1,{whole_digits}}}(\.\d{{1,{decimals}}})?$"
    return {"type": ["number", "string", *empty], "pattern": pattern, **described}
