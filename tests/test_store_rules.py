"""The store and the suite of the warehouse agree on every movement: live stock accepts what the batch side accepts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ingest.contract import load_contract, table_named
from orchestration.ingest.suites import Suite, load_suite
from serving.store.events import MOVEMENT_TYPES, typed_row
from serving.store.units import Refused

BATCH_SIDE = duckdb.connect(config={"threads": 1})
BATCH_SIDE.execute("SET TimeZone = 'UTC'")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite(table_named("stock_movements", load_contract()))


def verdict_of_the_suite(suite: Suite, movement: dict[str, Any]) -> str | None:
    """Return the first rule of the suite that the movement breaks."""
    columns = {column.name: column.data_type for column in suite.table.columns}
    typed = ", ".join(f"CAST(${name} AS {data_type}) AS {name}" for name, data_type in columns.items())
    derived = "".join(f", {expression} AS {name}" for name, expression in suite.derived.items())
    values = {**dict.fromkeys(columns), "revision": 0, **movement}
    values["recorded_at"] = values["recorded_at"] or values["occurred_at"]
    verdicts = ", ".join(f"({rule.predicate})" for rule in suite.row_rules)
    row = f"SELECT {typed}, CAST($ingested_at AS timestamptz) AS ingested_at"
    obeyed = BATCH_SIDE.execute(
        f"SELECT {verdicts} FROM (SELECT *{derived} FROM ({row}))", {**values, "ingested_at": NOW}
    ).fetchone()
    assert obeyed is not None
    return next((rule.name for rule, is_obeyed in zip(suite.row_rules, obeyed, strict=True) if not is_obeyed), None)


def verdict_of_the_store(movement: dict[str, Any]) -> str | None:
    try:
        typed_row(movement, "api")
    except Refused as refused:
        return refused.rule
    return None


text = st.sampled_from(["A", "a b", "x:y", "A\tB", "NULL", "nan", "ünï", "x" * 1000, "x" * 1001])
movements = st.fixed_dictionaries(
    {
        "source": text,
        "document": text,
        "line": st.integers(-1, 3),
        "occurred_at": st.just(NOW - timedelta(days=9)),
        "sku": text,
        "location_id": text,
        "movement_type": st.sampled_from([*MOVEMENT_TYPES, "theft"]),
        # DuckDB binds a Decimal written with an exponent as its first digits alone.
        "quantity_units": st.sampled_from(
            [Decimal(n) for n in ("-1000000000.001", "-1000000000", "-2.5", "0", "2.5", "10000000000")]
        ),
    },
    optional={
        "revision": st.integers(-1, 2),
        "recorded_at": st.integers(-26, 26).map(lambda hours: NOW + timedelta(hours=hours, days=-9)),
        "unit_price": st.sampled_from([Decimal("-0.01"), Decimal(0), Decimal("1.5")]),
        "lot_id": text,
        "reference": text,
    },
)


@settings(max_examples=100, deadline=None)
@given(movement=movements)
def test_both_accept_the_same_movements(suite, movement):
    assert (verdict_of_the_suite(suite, movement) is None) == (verdict_of_the_store(movement) is None)


SOUND = {
    "source": "pos",
    "document": "D1",
    "line": 1,
    "occurred_at": NOW,
    "sku": "MUG",
    "location_id": "NORTH",
    "movement_type": "sale",
    "quantity_units": Decimal(-1),
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"source": "a:b"},
        {"sku": "x" * 1001},
        {"sku": "N/A"},
        {"line": -1},
        {"revision": -1},
        {"movement_type": "theft"},
        {"quantity_units": Decimal(1)},
        {"quantity_units": Decimal(0)},
        {"quantity_units": Decimal(-(10**10))},
        {"movement_type": "receipt"},
        {"movement_type": "count"},
        {"unit_price": Decimal(-1)},
        {"recorded_at": NOW - timedelta(days=2)},
    ],
)
def test_both_name_the_broken_rule_alike(suite, change):
    movement = {**SOUND, **change}
    assert verdict_of_the_store(movement) == verdict_of_the_suite(suite, movement)
