"""Segments of items by predicate, as in `abc_class=A and unit_cost>100`: who a policy of a segment speaks of.

Here belongs reading a predicate. Which policy wins is decided where policies are kept.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

SEGMENT_COLUMNS = (
    "abc_class",
    "xyz_class",
    "demand_class",
    "category",
    "supplier_id",
    "location_id",
    "location_type",
    "unit_cost",
    "unit_price",
    "mean_daily_demand_units",
)
_NUMBERS = frozenset({"unit_cost", "unit_price", "mean_daily_demand_units"})
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# A value may hold ` and ` itself where it stands in quotes.
_CONDITION = re.compile(r'\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*("[^"]+"|[^"]*?)\s*')
_AND = re.compile(r'(?<!\S)and(?!\S)(?=(?:[^"]*"[^"]*")*[^"]*$)', re.IGNORECASE)


def segment_conditions(segment: str) -> list[tuple[str, str, str]]:
    """Return column, comparison and value of each condition of a segment; an item belongs where all of them hold.

    Args:
        segment: conditions joined by `and`; a value that holds this word stands in double quotes. Text columns
            (`abc_class`, `xyz_class`, `demand_class`, `category`, `supplier_id`, `location_id`, `location_type`) know =
            and !=; numbers (`unit_cost`, `unit_price`, `mean_daily_demand_units`) also <, <=, >, >=.

    Raises:
        ValueError: the text cannot be read; the message names the part and what it may be.
    """
    conditions = []
    for part in _AND.split(segment):
        found = _CONDITION.fullmatch(part)
        if found is None or not found[3]:
            problem = f"{part.strip()!r} is not a condition" if part.strip() else "a condition is missing"
            raise ValueError(
                f"segment {segment!r}: {problem}; write abc_class=A; put a value with `and` in double quotes"
            )
        column, comparison, value = found[1], found[2], found[3].strip('"')
        if column not in SEGMENT_COLUMNS:
            raise ValueError(f"segment {segment!r} names {column!r}; the columns are {', '.join(SEGMENT_COLUMNS)}")
        if column not in _NUMBERS and comparison not in ("=", "!="):
            raise ValueError(f"segment {segment!r}: {column} is text; compare it with = or !=")
        if column in _NUMBERS and not _is_number(value):
            raise ValueError(f"segment {segment!r}: {value!r} is not a number, and {column} is compared with one")
        conditions.append((column, comparison, value))
    return conditions


def segment_members(segment: str, items: pd.DataFrame) -> "pd.Series[bool]":
    """Return for each item whether it belongs to a segment.

    Args:
        segment: as of `segment_conditions`.
        items: one row per sku and location with the columns that segments may name.

    Raises:
        ValueError: as of `segment_conditions`.
    """
    members = pd.Series(True, index=items.index)
    for column, comparison, value in segment_conditions(segment):
        wanted = float(value) if column in _NUMBERS else value
        members &= _COMPARISONS[comparison](items[column], wanted).fillna(False).astype(bool)
    return members


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
