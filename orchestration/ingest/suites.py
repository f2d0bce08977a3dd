"""What a row and a table must obey: suites of expectations, run by two engines to one verdict.

A suite is `great_expectations/raw/<table>.json`. Its row expectations are compiled here to SQL, which splits accepted
from quarantined rows; Great Expectations then runs the same suite on what was accepted. Belongs here: reading,
compiling and running suites. Does not: types and presence of columns in files (validator, files).

A suite may declare derived columns in `meta.derived_columns`, a SQL expression per name over the columns of the table
and `ingested_at`: rules that compare with a tolerance are written on them, and both engines see the same values.
Regular expressions must mean the same in RE2 and in Python; text is trimmed before rules see it, which removes the one
difference that matters ($ before a final line break).
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.settings import PROJECT_FOLDER
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table
from orchestration.ingest.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

SUITES = PROJECT_FOLDER / "great_expectations"
SAMPLE_ROWS = 1_000_000
SAMPLE_SEED = 7
_SHOWN_VALUES = 20


@dataclass(frozen=True)
class RowRule:
    """One row expectation, compiled.

    Attributes:
        name: name of the rule, as quarantined rows carry it.
        predicate: SQL that is true for a row that obeys, never null.
        reason: SQL text expression that says what is wrong with a row that does not.
        position: place of the expectation in the suite.
    """

    name: str
    predicate: str
    reason: str
    position: int


@dataclass(frozen=True)
class Suite:
    """The expectations of one table.

    Attributes:
        table: table of the contract.
        document: the JSON document, as Great Expectations takes it.
        derived: SQL expression per derived column.
        row_rules: compiled row expectations in the order of the suite; the first that fails names the reason.
        table_rules: expectations about the table as a whole.
    """

    table: Table
    document: Mapping[str, Any]
    derived: Mapping[str, str]
    row_rules: tuple[RowRule, ...]
    table_rules: tuple[Mapping[str, Any], ...]

    def allowed_values(self, column: str) -> list[Any]:
        """Return the values that the suite allows in a column.

        Raises:
            ContractError: the suite has no unconditional `expect_column_values_to_be_in_set` on it.
        """
        for expectation in self.document["expectations"]:
            kwargs = expectation["kwargs"]
            if (
                expectation["type"] == "expect_column_values_to_be_in_set"
                and kwargs["column"] == column
                and "row_condition" not in kwargs
            ):
                return list(_value_set(kwargs))
        raise ContractError(f"suite {self.document['name']} does not say which values {column} may have")


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


@lru_cache(maxsize=64)
def load_suite(table: Table, folder: Path = SUITES) -> Suite:
    """Read and compile the suite of a table.

    Raises:
        ContractError: the suite is missing, or holds an expectation that cannot be compiled; the message names it.
    """
    path = folder / "raw" / f"{table.name}.json"
    if not path.exists():
        raise ContractError(f"{table.name} has no suite: write {path}")
    document = json.loads(path.read_text(encoding="utf-8"))
    derived = dict(document.get("meta", {}).get("derived_columns", {}))
    known = {*table.column_names, *derived, *(name for name, _ in LINEAGE_COLUMNS)}
    rows, tables = [], []
    for position, expectation in enumerate(document["expectations"]):
        kind = expectation["type"]
        if kind in _TABLE_EXPECTATIONS:
            tables.append(expectation)
        elif kind in _COMPILERS:
            rows.append(_compile(expectation, position, known, path))
        else:
            supported = ", ".join(sorted({*_COMPILERS, *_TABLE_EXPECTATIONS}))
            raise ContractError(f"{path.name}: {kind} cannot be compiled to SQL; supported are {supported}")
    return Suite(table, document, derived, tuple(rows), tuple(tables))


@lru_cache(maxsize=1)
def suite_parameters() -> dict[str, tuple[str, ...]]:
    """Return the values that suites name as `{"$PARAMETER": …}`: IANA time zones and ISO 3166-1 alpha-2 countries.

    Both come from the tzdata package, so every machine has the same ones.
    """
    data = files("tzdata")
    zones = data.joinpath("zones").read_text(encoding="utf-8").split()
    countries = data.joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8").splitlines()
    return {
        "iana_time_zones": tuple(sorted(zones)),
        "iso_countries": tuple(sorted(line.split("\t")[0] for line in countries if not line.startswith("#"))),
    }


def broken_table_rule(
    suite: Suite, connection: duckdb.DuckDBPyConnection, batch: str, *, state_rows: int, is_settled: bool = False
) -> str | None:
    """Return why a batch may not be committed, or None.

    Args:
        suite: suite of the table.
        connection: connection that knows `batch`.
        batch: relation with the accepted rows of the batch.
        state_rows: rows of the table once the batch is committed, earlier batches included.
        is_settled: whether identities are known to be distinct, so that they need not be counted again.
    """
    for expectation in suite.table_rules:
        kind, kwargs = expectation["type"], expectation["kwargs"]
        reason = expectation.get("meta", {}).get("reason", kind)
        if kind == "expect_table_row_count_to_be_between":
            if not kwargs.get("min_value", 0) <= state_rows <= kwargs.get("max_value", state_rows):
                return f"{suite.table.name} would have {state_rows} rows: {reason}"
        elif kind == "expect_table_columns_to_match_set":
            found = {name for name, *_ in connection.sql(f"describe {batch}").fetchall()}
            if found != set(kwargs["column_set"]):
                odd = ", ".join(sorted(found ^ set(kwargs["column_set"])))
                return f"{suite.table.name} differs from its contract in the columns {odd}: {reason}"
        elif not is_settled:
            columns = ", ".join(quoted(name) for name in kwargs.get("column_list", [kwargs.get("column")]))
            repeated = connection.sql(
                f"select {columns} from {batch} group by {columns} having count(*) > 1 limit 1"
            ).fetchone()
            if repeated is not None:
                return f"{suite.table.name} has {columns} = {repeated} more than once: {reason}"
    return None


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
            listed = ", ".join(literal(str(path)) for path in paths)
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


def quoted(name: str) -> str:
    """Return a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a SQL literal of text, a number, a truth value or null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


# --- compiling -------------------------------------------------------------------------------------------------------

_TABLE_EXPECTATIONS = {
    "expect_table_row_count_to_be_between",
    "expect_table_columns_to_match_set",
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
}
_OPERATORS = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_SETTLED_KWARGS = {"row_condition", "column", "column_A", "column_B", "column_list"}


def _compile(expectation: Mapping[str, Any], position: int, known: set[str], path: Path) -> RowRule:
    kind, kwargs, meta = expectation["type"], expectation["kwargs"], expectation.get("meta", {})
    place = f"{path.name}: expectation {position + 1} ({kind})"
    compiler, understood = _COMPILERS[kind]
    strange = set(kwargs) - _SETTLED_KWARGS - understood
    if strange:
        raise ContractError(f"{place}: the option {sorted(strange)[0]!r} cannot be compiled to SQL")
    columns = kwargs.get("column_list") or [
        kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs
    ]
    for column in columns:
        if column not in known:
            raise ContractError(f"{place}: there is no column {column!r}")
    if "rule" not in meta or "reason" not in meta:
        raise ContractError(f"{place}: give it meta.rule, the name of the rule, and meta.reason, what to do")
    predicate = f"coalesce({compiler(kwargs)}, true)"
    if kwargs.get("row_condition") is not None:
        predicate = f"(not {_condition(kwargs['row_condition'], place)} or {predicate})"
    if kind == "expect_column_values_to_not_be_null":
        reason = literal(f"{columns[0]} is missing: {meta['reason']}")
    else:
        shown = " || ', ' || ".join(
            f"{literal(column + ' is ')} || coalesce(left({quoted(column)}::varchar, 80), 'empty')"
            for column in columns
        )
        reason = f"{shown} || {literal(': ' + meta['reason'])}"
    return RowRule(meta["rule"], predicate, reason, position)


def _condition(condition: Any, place: str) -> str:
    """Return a row condition as SQL, never null; a comparison with null is false as it is in pandas."""
    kind = condition.get("type") if isinstance(condition, dict) else None
    if kind in ("and", "or"):
        return "(" + f" {kind} ".join(_condition(part, place) for part in condition["conditions"]) + ")"
    if kind == "nullity":
        return f"({quoted(condition['column']['name'])} is {'' if condition['is_null'] else 'not '}null)"
    if kind == "comparison":
        column, operator, parameter = condition["column"]["name"], condition["operator"], condition["parameter"]
        if operator in _OPERATORS:
            return f"coalesce({quoted(column)} {_OPERATORS[operator]} {literal(parameter)}, false)"
        if operator == "IN":
            return f"coalesce({quoted(column)} in ({', '.join(literal(value) for value in parameter)}), false)"
    raise ContractError(f"{place}: the row condition {condition!r} cannot be compiled to SQL")


def _value_set(kwargs: Mapping[str, Any]) -> Iterable[Any]:
    values = kwargs["value_set"]
    if isinstance(values, dict):
        name = values["$PARAMETER"]
        if name not in suite_parameters():
            raise ContractError(f"there is no suite parameter {name!r}; there are {', '.join(suite_parameters())}")
        return suite_parameters()[name]
    return list(values)


def _not_null(kwargs: Mapping[str, Any]) -> str:
    return f"{quoted(kwargs['column'])} is not null"


def _limits(expression: str, kwargs: Mapping[str, Any]) -> str:
    parts = []
    for limit, strict, sign in (("min_value", "strict_min", ">"), ("max_value", "strict_max", "<")):
        if kwargs.get(limit) is not None:
            parts.append(f"{expression} {sign}{'' if kwargs.get(strict) else '='} {literal(kwargs[limit])}")
    return f"({' and '.join(parts)})"


def _between(kwargs: Mapping[str, Any]) -> str:
    return _limits(quoted(kwargs["column"]), kwargs)


def _length_between(kwargs: Mapping[str, Any]) -> str:
    return _limits(f"length({quoted(kwargs['column'])})", kwargs)


def _in_set(kwargs: Mapping[str, Any]) -> str:
    return f"{quoted(kwargs['column'])} in ({', '.join(literal(value) for value in _value_set(kwargs))})"


def _not_in_set(kwargs: Mapping[str, Any]) -> str:
    return f"not {_in_set(kwargs)}"


def _matches(kwargs: Mapping[str, Any]) -> str:
    return f"regexp_matches({quoted(kwargs['column'])}, {literal(kwargs['regex'])})"


def _does_not_match(kwargs: Mapping[str, Any]) -> str:
    return f"not {_matches(kwargs)}"


def _pair_ordered(kwargs: Mapping[str, Any]) -> str:
    sign = ">=" if kwargs.get("or_equal") else ">"
    return f"{quoted(kwargs['column_A'])} {sign} {quoted(kwargs['column_B'])}"


def _distinct_within_row(kwargs: Mapping[str, Any]) -> str:
    first, second = kwargs["column_list"]
    return f"{quoted(first)} <> {quoted(second)}"


_COMPILERS: dict[str, tuple[Callable[[Mapping[str, Any]], str], set[str]]] = {
    "expect_column_values_to_not_be_null": (_not_null, set()),
    "expect_column_values_to_be_between": (_between, {"min_value", "max_value", "strict_min", "strict_max"}),
    "expect_column_value_lengths_to_be_between": (
        _length_between,
        {"min_value", "max_value", "strict_min", "strict_max"},
    ),
    "expect_column_values_to_be_in_set": (_in_set, {"value_set"}),
    "expect_column_values_to_not_be_in_set": (_not_in_set, {"value_set"}),
    "expect_column_values_to_match_regex": (_matches, {"regex"}),
    "expect_column_values_to_not_match_regex": (_does_not_match, {"regex"}),
    "expect_column_pair_values_a_to_be_greater_than_b": (_pair_ordered, {"or_equal", "ignore_row_if"}),
    "expect_select_column_values_to_be_unique_within_record": (_distinct_within_row, {"ignore_row_if"}),
}
