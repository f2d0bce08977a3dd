"""The body of an invocation, in MLflow's scoring protocol: checked and turned into a frame.

Here: JSON and CSV to a frame of the model's declared types, and a frame back to JSON. Not here: HTTP (app.py), models
(models.py). Messages name columns that the model declares and rows by number from 0, never a value that came in: a body
can hold anything.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")

# Photos in base64 are longer than the 128 KB that csv allows a field; the size of a body is capped before it gets here.
csv.field_size_limit(sys.maxsize)


class MalformedBodyError(ValueError):
    """A body that is not an invocation of this model; the message says what to send instead."""


@dataclass(frozen=True)
class Column:
    """A column or parameter that a model declares.

    Attributes:
        name: as in the model's signature.
        type: MLflow's name of the type: string, double, boolean, datetime, long ...
        required: whether every row must have a value (a double may be missing: not observed).
    """

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Invocation:
    """What a model is asked.

    Attributes:
        rows: the declared columns that came, in the types declared.
        parameters: params of the invocation.
        ignored_columns: number of columns that the model does not declare.
    """

    rows: pd.DataFrame
    parameters: dict[str, Any]
    ignored_columns: int


def parse_json(body: bytes, columns: Sequence[Column], parameters: Sequence[Column]) -> Invocation:
    """Read `dataframe_split`, `dataframe_records`, `instances` or `inputs`, and `params`.

    Raises:
        MalformedBodyError: anything that is not one of these, NaN and Infinity included; null means not observed.
    """
    try:
        content = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8 at byte {error.start}; encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"the body is not JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise MalformedBodyError("the body is nested too deeply; rows are flat") from None
    except MalformedBodyError:
        raise
    except ValueError:
        raise MalformedBodyError("the body holds a number with too many digits") from None
    one_of = f"send a JSON object with exactly one of {', '.join(FORMATS)}, and optionally params"
    if not isinstance(content, dict):
        raise MalformedBodyError(f"the body is not a JSON object; {one_of}")
    present = [form for form in FORMATS if form in content]
    if len(present) != 1:
        raise MalformedBodyError(f"the body has {len(present)} of the formats; {one_of}")
    if set(content) - {*FORMATS, "params"}:
        raise MalformedBodyError(f"the body has a field that is not part of the protocol; {one_of}")
    given, count = _READERS[present[0]](content[present[0]])
    return Invocation(
        _frame(given, count, columns),
        _parameters(content.get("params"), parameters),
        len(set(given) - {column.name for column in columns}),
    )


def parse_csv(body: bytes, columns: Sequence[Column]) -> Invocation:
    """Read a CSV with a header row; an empty field means no value.

    Raises:
        MalformedBodyError: no UTF-8, no header, a row of another length, a field that is not of the declared type.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8 at byte {error.start}; encode it as UTF-8") from None
    except csv.Error:
        raise MalformedBodyError("the body is not CSV: a quote is not closed or stands in the wrong place") from None
    lines = [line for line in lines if line]
    if not lines:
        raise MalformedBodyError("the body is empty; send a header row and at least one row")
    header, rows = lines[0], lines[1:]
    if len(set(header)) != len(header):
        raise MalformedBodyError("the header names a column twice")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise MalformedBodyError(f"row {number} has {len(row)} fields, the header has {len(header)}")
    declared = {column.name: column for column in columns}
    given = {
        name: [_from_text(row[place], declared[name], number) for number, row in enumerate(rows)]
        for place, name in enumerate(header)
        if name in declared
    }
    return Invocation(_frame(given, len(rows), columns), {}, len(set(header) - set(declared)))


def to_json(predictions: pd.DataFrame) -> str:
    """Return `{"predictions": [...]}`, one object per row; a missing number is null, an instant is ISO 8601."""
    records = predictions.to_json(orient="records", date_format="iso", double_precision=15)
    return f'{{"predictions": {records}}}'


def quotes(text: str, invocation: Invocation) -> bool:
    """Whether a text repeats a text that came in with an invocation."""
    columns = [invocation.rows[name] for name in invocation.rows if invocation.rows[name].dtype == object]
    came_in = {cell for column in columns for cell in column.unique() if cell}
    came_in.update(value for value in invocation.parameters.values() if isinstance(value, str) and value)
    return any(cell in text for cell in came_in)


def _refuse_constant(_: str) -> Any:
    raise MalformedBodyError("the body has NaN or Infinity, which are not JSON; send null for a missing number")


def _from_split(content: Any) -> tuple[dict[str, list[Any]], int]:
    if not isinstance(content, dict) or not {"columns", "data"} <= set(content) <= {"columns", "data", "index"}:
        raise MalformedBodyError("dataframe_split is an object with columns and data")
    names, rows = content["columns"], content["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise MalformedBodyError("columns of dataframe_split is a list of different texts")
    if not isinstance(rows, list):
        raise MalformedBodyError("data of dataframe_split is a list of rows")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise MalformedBodyError(f"row {number} is not a list of {len(names)} values, one per column")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}, len(rows)


def _from_records(content: Any) -> tuple[dict[str, list[Any]], int]:
    if not isinstance(content, list):
        raise MalformedBodyError("rows come as a list of objects, one per row")
    names: dict[str, None] = {}
    for number, row in enumerate(content):
        if not isinstance(row, dict):
            raise MalformedBodyError(f"row {number} is not an object of column and value")
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in content] for name in names}, len(content)


def _from_inputs(content: Any) -> tuple[dict[str, list[Any]], int]:
    if isinstance(content, list):
        return _from_records(content)
    if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
        raise MalformedBodyError("inputs is an object of column and list of values, or a list of objects")
    lengths = {len(values) for values in content.values()}
    if len(lengths) > 1:
        raise MalformedBodyError("the columns of inputs differ in length")
    return content, max(lengths, default=0)


_READERS: dict[str, Callable[[Any], tuple[dict[str, list[Any]], int]]] = {
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
    "instances": _from_records,
    "inputs": _from_inputs,
}


def _frame(given: Mapping[str, list[Any]], count: int, columns: Sequence[Column]) -> pd.DataFrame:
    if count == 0:
        raise MalformedBodyError("there are no rows; send at least one")
    missing = [column.name for column in columns if column.required and column.name not in given]
    if missing:
        takes = ", ".join(column.name + ("" if column.required else " (optional)") for column in columns)
        raise MalformedBodyError(f"the rows lack {', '.join(missing)}; the model takes {takes}")
    return pd.DataFrame({column.name: _typed(given[column.name], column) for column in columns if column.name in given})


def _typed(values: list[Any], column: Column) -> pd.Series:
    if column.type in ("double", "float"):
        numbers = [math.nan if value is None else _finite(value) for value in values]
        if None in numbers:
            raise _unlike(column, numbers.index(None), "a finite number or null")
        return pd.Series(numbers, dtype="float64")
    if column.type in ("long", "integer"):
        whole = [_whole(value) for value in values]
        if None in whole:
            raise _unlike(column, whole.index(None), "a whole number")
        return pd.Series(whole, dtype="int64")
    if column.type == "boolean":
        for row, value in enumerate(values):
            if not isinstance(value, bool):
                raise _unlike(column, row, "true or false")
        return pd.Series(values, dtype="bool")
    for row, value in enumerate(values):
        if not (_encodes(value) or (value is None and not column.required)):
            raise _unlike(column, row, "an ISO 8601 date" if column.type == "datetime" else "text")
    return _instants(values, column) if column.type == "datetime" else pd.Series(values, dtype="object")


def _instants(values: list[Any], column: Column) -> pd.Series:
    parsed = pd.to_datetime(pd.Series(values, dtype="object"), format="ISO8601", errors="coerce", utc=True)
    for row, (value, instant) in enumerate(zip(values, parsed, strict=True)):
        if value is not None and pd.isna(instant):
            raise _unlike(column, row, "an ISO 8601 date between 1678 and 2261")
    return parsed.dt.tz_localize(None).astype("datetime64[ns]")


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if whole else None


def _from_text(text: str, column: Column, row: int) -> Any:
    if text == "":
        return None
    if column.type == "boolean":
        words = {"true": True, "false": False, "1": True, "0": False}
        if text.lower() not in words:
            raise _unlike(column, row, "true or false")
        return words[text.lower()]
    if column.type in ("double", "float", "long", "integer"):
        # float() would also take nan, inf and 1_000.
        if not set(text) <= set("0123456789+-.eE"):
            raise _unlike(column, row, "a finite number or empty")
        try:
            return int(text) if column.type in ("long", "integer") else float(text)
        except ValueError:
            raise _unlike(column, row, "a number") from None
    return text


def _encodes(value: Any) -> bool:
    """Whether it is text that can be written out: JSON can escape half a surrogate pair, which no encoding takes."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


_PARAMETER_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("text", _encodes),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "double": ("a finite number", lambda value: _finite(value) is not None),
    "float": ("a finite number", lambda value: _finite(value) is not None),
    "long": ("a whole number", lambda value: _whole(value) is not None),
    "integer": ("a whole number", lambda value: _whole(value) is not None),
}


def _parameters(content: Any, declared: Sequence[Column]) -> dict[str, Any]:
    if content is None:
        return {}
    names = ", ".join(column.name for column in declared) or "none"
    if not isinstance(content, dict):
        raise MalformedBodyError(f"params is an object; the model has {names}")
    expected = {column.name: column.type for column in declared}
    if set(content) - set(expected):
        raise MalformedBodyError(f"params has one that the model does not have; it has {names}")
    for name, value in content.items():
        kind, is_wanted = _PARAMETER_KINDS[expected[name]]
        if not is_wanted(value):
            raise MalformedBodyError(f"params: {name} is not {kind}")
    return content


def _unlike(column: Column, row: int, expected: str) -> MalformedBodyError:
    return MalformedBodyError(f"row {row}: {column.name} is not {expected}")
