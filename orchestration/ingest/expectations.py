"""Great Expectations on accepted rows: the same suites that SQL has split them by, run to a verdict for people.

Belongs here: the frame that Great Expectations gets, running it, reading its result. Does not: reading and compiling
suites (suites).
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.sql_text import path_literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table
from orchestration.ingest.suites import Suite, load_suite, suite_parameters

if TYPE_CHECKING:
    import pandas as pd


SAMPLE_ROWS = 1_000_000
SAMPLE_SEED = 7
_SHOWN_VALUES = 20


@dataclass(frozen=True)
class ExpectationResult:
    """What Great Expectations found for one expectation.

    Attributes:
        rule: name of the rule, or the type of the expectation where it has none.
        type: type of the expectation.
        column: column or columns it speaks of, comma-separated; empty for the whole table.
        success: whether it holds.
        unexpected_count: rows that break it; 0 for an expectation about the whole table.
        observed: observed value or up to 20 offending values, as text.
    """

    rule: str
    type: str
    column: str
    success: bool
    unexpected_count: int
    observed: str


@dataclass(frozen=True)
class Validation:
    """The verdict of Great Expectations on a table.

    Attributes:
        success: whether every expectation holds.
        rows: rows of the table.
        rows_checked: rows looked at; fewer than `rows` when a sample was drawn.
        evaluated: expectations evaluated.
        successful: expectations that hold.
        results: one per expectation.
        document: the whole result as Great Expectations writes it to JSON.
    """

    success: bool
    rows: int
    rows_checked: int
    evaluated: int
    successful: int
    results: tuple[ExpectationResult, ...]
    document: dict[str, Any]

    def markdown(self) -> str:
        """Return the results as a Markdown table."""
        lines = ["| rule | columns | holds | broken by | observed |", "|---|---|---|---|---|"]
        for result in self.results:
            holds = "yes" if result.success else "**no**"
            lines.append(
                f"| {result.rule} | {result.column} | {holds} | {result.unexpected_count} | {result.observed} |"
            )
        return "\n".join(lines)


def validate(table: Table, rows: "Path | Iterable[Path] | pd.DataFrame") -> Validation:
    """Run Great Expectations on accepted rows.

    Args:
        table: table of the contract.
        rows: accepted rows as `accepted.parquet` of one or several batches, or as a frame with the same columns.

    Returns:
        The verdict. Above a million rows a seeded sample is checked.
    """
    suite = load_suite(table)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        if hasattr(rows, "columns"):
            # A column of nulls has no type of its own in a frame.
            types = [*((column.name, column.data_type) for column in table.columns), *LINEAGE_COLUMNS]
            columns = ", ".join(f"{quoted(name)}::{kind} as {quoted(name)}" for name, kind in types)
            connection.register("given", rows)
            connection.execute(f"create view accepted as select {columns} from given")
        else:
            paths = [rows] if isinstance(rows, Path) else rows
            listed = ", ".join(path_literal(path) for path in paths)
            connection.execute(f"create view accepted as select * from read_parquet([{listed}])")
        (count,) = connection.sql("select count(*) from accepted").fetchall()[0]
        frame = frame_for_expectations(suite, connection, "accepted", sampled=count > SAMPLE_ROWS)
    document = run_suite(suite, frame)
    statistics = document["statistics"]
    return Validation(
        success=bool(document["success"]),
        rows=count,
        rows_checked=len(frame),
        evaluated=int(statistics["evaluated_expectations"]),
        successful=int(statistics["successful_expectations"]),
        results=tuple(_result(entry) for entry in document["results"]),
        document=document,
    )


def frame_for_expectations(
    suite: Suite, connection: duckdb.DuckDBPyConnection, relation: str, *, sampled: bool = False
) -> "pd.DataFrame":
    """Return a relation as the frame that Great Expectations gets: numbers as doubles, derived columns computed."""
    numeric = {column.name for column in suite.table.columns if column.data_type.startswith(("decimal", "integer"))}
    names = [*suite.table.column_names, *(name for name, _ in LINEAGE_COLUMNS)]
    columns = [f"{quoted(name)}::double as {quoted(name)}" if name in numeric else quoted(name) for name in names]
    derived = [f"{expression} as {quoted(name)}" for name, expression in suite.derived.items()]
    sample = f" using sample reservoir({SAMPLE_ROWS} rows) repeatable ({SAMPLE_SEED})" if sampled else ""
    sql = f"select {', '.join([*columns, *derived])} from {relation}{sample}"
    return connection.sql(sql).df()


def run_suite(suite: Suite, frame: "pd.DataFrame", *, result_format: str = "SUMMARY") -> dict[str, Any]:
    """Run Great Expectations on a frame and return its result document.

    Args:
        suite: suite of the table.
        frame: as `frame_for_expectations` returns it.
        result_format: how much it says: `SUMMARY`, or `COMPLETE` with the index of every offending row.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    from great_expectations.data_context.types.base import ProgressBarsConfig

    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("raw")
        .add_dataframe_asset(suite.table.name)
        .add_batch_definition_whole_dataframe("arrival")
    )
    expectations = context.suites.add(gx.ExpectationSuite(**_with_derived_columns(suite)))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=suite.table.name, data=batch, suite=expectations)
    )
    result: Any = definition.run(
        batch_parameters={"dataframe": frame},
        expectation_parameters={name: list(values) for name, values in suite_parameters().items()},
        result_format={"result_format": result_format},
    )
    document: dict[str, Any] = result.to_json_dict()
    return document


def _with_derived_columns(suite: Suite) -> dict[str, Any]:
    """Return the suite with derived columns added to the expected column set: the frame carries them as well."""
    document = json.loads(json.dumps(suite.document))
    for expectation in document["expectations"]:
        if expectation["type"] == "expect_table_columns_to_match_set":
            expectation["kwargs"]["column_set"] += list(suite.derived)
    return {"name": document["name"], "expectations": document["expectations"], "meta": document.get("meta", {})}


def _result(entry: Mapping[str, Any]) -> ExpectationResult:
    config, found = entry["expectation_config"], entry["result"]
    kwargs = config["kwargs"]
    columns = kwargs.get("column_list") or [
        kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs
    ]
    observed = found.get("observed_value", found.get("partial_unexpected_list", []))
    if entry.get("exception_info", {}).get("raised_exception"):
        observed = entry["exception_info"]["exception_message"]
    shown = observed[:_SHOWN_VALUES] if isinstance(observed, list) else observed
    return ExpectationResult(
        rule=config.get("meta", {}).get("rule", config["type"]),
        type=config["type"],
        column=", ".join(columns),
        success=bool(entry["success"]),
        unexpected_count=int(found.get("unexpected_count", 0)),
        observed=", ".join(str(value) for value in shown) if isinstance(shown, list) else str(shown),
    )
