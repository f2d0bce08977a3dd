"""What a row and a table must obey: suites of expectations, run by two engines to one verdict.

A suite is what the contract says of a table (its columns, those that may not be empty, its identity, whether it may be
without rows) and what `great_expectations/raw/<table>.json` adds, such as allowed values; a rule there replaces the one
of the same name that the contract gives. Row expectations are compiled here to SQL, which splits accepted from
quarantined rows; Great Expectations then runs the same suite on what was accepted (expectations). Belongs here: putting
together and compiling suites. Does not: types and presence of columns in files (validator, files).

The JSON may declare derived columns in `meta.derived_columns`, a SQL expression per name over the columns of the table
and `ingested_at`: rules that compare with a tolerance are written on them, and both engines see the same values.
Regular expressions must mean the same in RE2 and in Python; text is trimmed before rules see it, which removes the one
difference that matters ($ before a final line break).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home.settings import PROJECT_FOLDER
from orchestration.home.sql_text import literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table
from orchestration.ingest.errors import ContractError

SUITES = PROJECT_FOLDER / "great_expectations"
MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class RowRule:
    """One row expectation, compiled.

    Attributes:
        name: name of the rule, as quarantined rows carry it.
        predicate: SQL that is true for a row that obeys, never null.
        reason: SQL text expression that says what is wrong with a row that does not.
        columns: columns that it looks at.
    """

    name: str
    predicate: str
    reason: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """The expectations of one table.

    Attributes:
        table: table of the contract.
        document: as Great Expectations takes it.
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


@lru_cache(maxsize=64)
def load_suite(table: Table, folder: Path = SUITES) -> Suite:
    """Put together and compile the suite of a table.

    Raises:
        ContractError: the JSON is missing, or holds an expectation that cannot be compiled; the message names it.
    """
    path = folder / "raw" / f"{table.name}.json"
    if not path.exists():
        raise ContractError(f"{table.name} has no suite: write {path}")
    written = json.loads(path.read_text(encoding="utf-8"))
    meta = written.get("meta", {})
    derived = {"longest_text_characters": _longest_text(table), **meta.get("derived_columns", {})}
    own = {f"{path.name}: expectation {number}": entry for number, entry in enumerate(written["expectations"], start=1)}
    replaced = {entry.get("meta", {}).get("rule") for entry in own.values()}
    given = {
        f"the rule {rule} that the contract gives {table.name}": entry
        for entry in _expectations_of_contract(table)
        if (rule := entry["meta"]["rule"]) not in replaced
    }
    of_rows = {place: entry for place, entry in given.items() if entry["type"] not in _TABLE_EXPECTATIONS}
    of_table = {place: entry for place, entry in given.items() if entry["type"] in _TABLE_EXPECTATIONS}
    expectations = {**of_rows, **own, **of_table}

    known = {*table.column_names, *derived, *(name for name, _ in LINEAGE_COLUMNS)}
    rows, tables = [], []
    for place, expectation in expectations.items():
        kind = expectation["type"]
        if kind in _TABLE_EXPECTATIONS:
            tables.append(expectation)
        elif kind in _COMPILERS:
            rows.append(_compile(expectation, place, known))
        else:
            supported = ", ".join(sorted({*_COMPILERS, *_TABLE_EXPECTATIONS}))
            raise ContractError(f"{place}: {kind} cannot be compiled to SQL; supported are {supported}")
    document = {"name": written["name"], "expectations": list(expectations.values()), "meta": meta}
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


_TABLE_EXPECTATIONS = {
    "expect_table_row_count_to_be_between",
    "expect_table_columns_to_match_set",
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
}
_OPERATORS = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_SETTLED_KWARGS = {"row_condition", "column", "column_A", "column_B", "column_list"}


def _longest_text(table: Table) -> str:
    """Return as SQL how many characters the longest text of a row has."""
    texts = [column.name for column in table.columns if column.data_type == "varchar"]
    return f"greatest({', '.join(f'length({name})' for name in texts)})"


def _expectations_of_contract(table: Table) -> Iterator[dict[str, Any]]:
    """Yield what the contract says of a table, as expectations."""
    for column in table.columns:
        if column.required:
            kind, rule = "expect_column_values_to_not_be_null", f"{column.name}_missing"
            yield _expectation(kind, rule, "it may not be empty", column=column.name)
    yield _expectation(
        "expect_column_values_to_be_between",
        "text_too_long",
        f"a text has at most {MOST_CHARACTERS} characters: a missing quotation mark or delimiter?",
        column="longest_text_characters",
        max_value=MOST_CHARACTERS,
    )
    yield _expectation(
        "expect_table_columns_to_match_set",
        "columns",
        "every column of the contract and those that say where a row came from",
        column_set=[*table.column_names, *(name for name, _ in LINEAGE_COLUMNS)],
        exact_match=True,
    )
    if table.required:
        reason = "without a row of it nothing can be computed"
        yield _expectation("expect_table_row_count_to_be_between", "rows", reason, min_value=1)
    yield _expectation(
        "expect_compound_columns_to_be_unique",
        "identity",
        "within one arrival an identity occurs once",
        column_list=[*table.key, "batch_id"],
        ignore_row_if="never",
    )


def _expectation(kind: str, rule: str, reason: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {"rule": rule, "reason": reason}}


def _compile(expectation: Mapping[str, Any], place: str, known: set[str]) -> RowRule:
    kind, kwargs, meta = expectation["type"], expectation["kwargs"], expectation.get("meta", {})
    place = f"{place} ({kind})"
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
    return RowRule(meta["rule"], predicate, reason, tuple(columns))


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
