"""The warehouse: what dbt makes of raw arrivals, on small panels with everything that can come late or be corrected."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROJECT = Path(__file__).parents[1] / "dbt_project"
CONTRACT = {
    table["name"]: {column["name"]: column["data_type"] for column in table["columns"]}
    for table in yaml.safe_load((PROJECT / "models" / "sources.yml").read_text())["sources"][0]["tables"]
}
LINEAGE = {
    "batch_id": "varchar",
    "ingested_at": "timestamp with time zone",
    "source_file": "varchar",
    "source_row": "integer",
}
FACTS = ("fct_stock_movements", "fct_daily_stock", "fct_daily_demand")
INCREMENTAL = (
    "int_stock_movements int_as_of int_folded_movements int_item_location_spans int_location_days int_daily_balances"
    " int_daily_demand fct_stock_movements fct_daily_stock fct_daily_demand"
).split()

Row = Mapping[str, Any]


def batch_id(arrived: datetime) -> str:
    return arrived.strftime("%Y%m%dT%H%M%S.%fZ")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def arrive(raw: Path, arrived: datetime, tables: Mapping[str, list[Row]]) -> None:
    """Write one arrival batch of each table, as ingest leaves it."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, rows in tables.items():
            types = CONTRACT[name] | LINEAGE
            columns = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
            connection.execute(f"create or replace table arrived ({columns})")
            if rows:
                lineage = {"batch_id": batch_id(arrived), "ingested_at": arrived, "source_file": f"{name}.csv"}
                values = [
                    [(dict(row) | lineage | {"source_row": number}).get(column) for column in types]
                    for number, row in enumerate(rows, start=1)
                ]
                connection.executemany(f"insert into arrived values ({', '.join('?' * len(types))})", values)
            folder = raw / name / batch_id(arrived)
            folder.mkdir(parents=True)
            connection.execute(f"copy arrived to '{folder}/accepted.parquet' (format parquet)")


def movement(
    document: str,
    kind: str,
    units: float,
    at: str | datetime,
    *,
    sku: str = "a",
    location: str = "x",
    source: str = "shop",
    line: int = 1,
    revision: int = 0,
    reference: str | None = None,
) -> dict[str, Any]:
    instant = utc(at) if isinstance(at, str) else at
    return {
        "source": source,
        "document": document,
        "line": line,
        "revision": revision,
        "occurred_at": instant,
        "recorded_at": instant,
        "sku": sku,
        "location_id": location,
        "movement_type": kind,
        "quantity_units": Decimal(str(units)),
        "reference": reference,
    }


def product(sku: str, *, price: float = 10, is_active: bool = True) -> dict[str, Any]:
    return {
        "sku": sku,
        "product_name": f"Product {sku}",
        "category": "things",
        "unit_of_measure": "each",
        "unit_cost": Decimal("4"),
        "unit_price": Decimal(str(price)),
        "is_active": is_active,
    }


def location(name: str, *, country: str = "GB", time_zone: str = "Europe/London") -> dict[str, Any]:
    return {
        "location_id": name,
        "location_name": f"Depot {name}",
        "location_type": "warehouse",
        "country": country,
        "time_zone": time_zone,
    }


@dataclass
class Warehouse:
    """A home's raw folder and the database dbt builds of it, with dbt in this process."""

    folder: Path
    manifest: Any = None
    target: Path = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.folder / "target"
        self.raw.mkdir(parents=True)
        self.predictions.mkdir()
        self.exports.mkdir()

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

    def dbt(self, *arguments: str, **variables: str) -> list[tuple[str, str, str]]:
        """Run dbt and return (node, status, message) of each result."""
        from dbt.cli.main import dbtRunner

        environment = {
            "INVENTORYBOT_WAREHOUSE": str(self.folder / "build.duckdb"),
            "INVENTORYBOT_RAW": str(self.raw),
            "INVENTORYBOT_PREDICTIONS": str(self.predictions),
            "INVENTORYBOT_EXPORTS": str(self.exports),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        options = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(self.target)]
        quiet = ["--quiet", "--log-level-file", "none", "--no-use-colors"]
        with (
            contextlib.chdir(PROJECT),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            pytest.MonkeyPatch.context() as patch,
        ):
            warnings.simplefilter("ignore")  # dbt's own
            for name, value in environment.items():
                patch.setenv(name, value)
            runner = dbtRunner(manifest=self.manifest)
            if self.manifest is None:
                self.manifest = runner.invoke([*quiet, "parse", *options]).result
                runner = dbtRunner(manifest=self.manifest)
            result = runner.invoke([*quiet, *arguments, *options, "--vars", json.dumps(variables)])
        if result.exception is not None:
            raise result.exception
        return [(outcome.node.name, str(outcome.status), outcome.message or "") for outcome in result.result]

    def build(self, *arguments: str, **variables: str) -> None:
        """Run dbt and fail unless every step passed."""
        results = self.dbt(*arguments, **variables)
        assert results
        failed = [result for result in results if result[1] not in ("success", "pass")]
        assert not failed, failed[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Query the exported Parquet files; a relation is written as marts.fct_daily_stock."""
        located = re.sub(r"\b(marts|reporting)\.(\w+)", rf"read_parquet('{self.exports}/\1/\2.parquet')", query)
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(located).fetchall()

    def content(self) -> dict[str, tuple[Any, ...]]:
        """Return rows and sum of row hashes of each fact."""
        return {
            fact: self.rows(f"select count(*), sum(hash(fact)) from marts.{fact} as fact")[0]  # whole rows
            for fact in FACTS
        }


FIRST_DAY = date(2011, 3, 20)  # a week before summer time begins in London, a week after in New York
FIRST_ARRIVAL = utc("2026-11-20 06:00")
SECOND_ARRIVAL = utc("2026-11-21 06:00")
SKUS = [f"s{number}" for number in range(8)]


def random_movements(seed: int, days: int) -> list[dict[str, Any]]:
    """Return a panel with ties, counts, cancellations, returns and movements close to local midnights."""
    random_source = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number in range(days * 22):
        day = FIRST_DAY + timedelta(days=number // 22)
        hour = random_source.choice([0, 3, 4, 5, 9, 9, 12, 12, 16, 22, 23])
        at = datetime(day.year, day.month, day.day, hour, random_source.choice([0, 0, 30, 59]), tzinfo=UTC)
        kind = random_source.choices(
            ["sale", "receipt", "count", "return", "write_off", "transfer_in", "adjustment"], [60, 12, 6, 5, 4, 4, 4]
        )[0]
        size = random_source.choice([1, 2, 3, 5, 12, 0.5])
        units = {"sale": -size, "write_off": -size, "receipt": 6 * size, "adjustment": random_source.choice([-2, 2])}
        made.append(
            movement(
                f"D{number // 3}",
                kind,
                units.get(kind, size),
                at,
                line=number % 3,
                sku=random_source.choice([*SKUS, "late"]),
                location=random_source.choice(["x", "x", "y", "z"]),
                source=random_source.choice(["shop", "wms"]),
            )
        )
    sales = [row for row in made if row["movement_type"] == "sale"]
    for number, sale in enumerate(random_source.sample(sales, 40)):
        made.append(
            movement(
                f"C{number}",
                "cancellation",
                float(random_source.choice([-sale["quantity_units"], 1])),
                sale["occurred_at"] + timedelta(days=random_source.choice([0, 1, 9, 20])),
                sku=sale["sku"],
                location=sale["location_id"],
                reference=f"{sale['source']}:{sale['document']}:{sale['line']}",
            )
        )
    return made


def corrected(row: Row, **changes: Any) -> dict[str, Any]:
    return dict(row) | {"revision": row["revision"] + 1} | changes


def price(sku: str, start: str, end: str, unit_price: float, *, at: str | None = None, promotion: bool = False) -> Row:
    return {
        "sku": sku,
        "location_id": at,
        "from_date": date.fromisoformat(start),
        "to_date": date.fromisoformat(end),
        "unit_price": Decimal(str(unit_price)),
        "is_promotion": promotion,
    }


def event(day: str, country: str, kind: str) -> Row:
    return {"date": date.fromisoformat(day), "country": country, "event_name": f"{kind} {day}", "event_type": kind}


def two_arrivals(raw: Path) -> None:
    """Fill a raw folder with a first arrival, and a second one in which everything that can come late comes late."""
    movements = random_movements(seed=7, days=46)
    random_source = random.Random(11)
    late = {id(row) for row in random_source.sample(movements, 60)}
    known = utc("2011-05-01 02:00")
    first = [row for row in movements if id(row) not in late and row["occurred_at"] < known]
    second = [row for row in movements if id(row) in late or row["occurred_at"] >= known]
    wrong = random_source.sample(first, 9)
    second += [corrected(row, quantity_units=row["quantity_units"] + 1) for row in wrong[:3]]
    second += [corrected(row, sku="s0", location_id="x") for row in wrong[3:6]]
    second += [corrected(row, occurred_at=row["occurred_at"] + timedelta(days=3)) for row in wrong[6:]]
    empty = {name: [] for name in CONTRACT}
    arrive(
        raw,
        FIRST_ARRIVAL,
        empty
        | {
            "products": [product(sku) for sku in SKUS],
            "locations": [location("x"), location("y", country="US", time_zone="America/New_York")],
            "stock_movements": first,
            "prices": [price("s1", "2011-03-25", "2011-04-30", 9), price("s2", "2011-04-10", "2011-05-10", 8, at="x")],
            "calendar_events": [event("2011-04-02", "GB", "closed"), event("2011-04-09", "US", "holiday")],
        },
    )
    arrive(
        raw,
        SECOND_ARRIVAL,
        {
            "products": [product("late"), product("s3", price=11), product("s4", is_active=False)],
            "locations": [location("z", country="US"), location("y", country="US", time_zone="America/Chicago")],
            "stock_movements": [
                *second,
                *(
                    movement("END", "count", 0, "2011-05-02 12:00", sku="s4", line=n, location=at)
                    for n, at in enumerate(("x", "y", "z"))
                ),
            ],
            "prices": [
                price("s1", "2011-03-25", "2011-04-30", 7, promotion=True),
                price("s5", "2011-05-02", "2011-06-30", 6),
            ],
            "calendar_events": [event("2011-04-16", "GB", "closed"), event("2011-05-20", "GB", "closed")],
        },
    )


FIRST_STATE = {"as_of": "2011-04-29", "ingested_until": FIRST_ARRIVAL.isoformat()}
STATES = {
    "late_arrivals_and_two_more_days": {"as_of": "2011-05-01", "ingested_until": SECOND_ARRIVAL.isoformat()},
    "the_next_day": {"as_of": "2011-05-02", "ingested_until": SECOND_ARRIVAL.isoformat()},
    "an_earlier_day": {"as_of": "2011-04-11", "ingested_until": SECOND_ARRIVAL.isoformat()},
    "earlier_knowledge": {"as_of": "2011-05-01", "ingested_until": FIRST_ARRIVAL.isoformat()},
    "back_again": FIRST_STATE,
}


@dataclass(frozen=True)
class History:
    """Content of the facts after each state, reached step by step and by full refresh."""

    stepwise: dict[str, dict[str, tuple[Any, ...]]]
    refreshed: dict[str, dict[str, tuple[Any, ...]]]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("panel"))
    two_arrivals(warehouse.raw)
    warehouse.build("build", "--select", "staging", "intermediate", "marts", **FIRST_STATE)
    return warehouse


@pytest.fixture(scope="module")
def history(panel: Warehouse) -> History:
    stepwise = {"first": panel.content()}
    refreshed = {"back_again": panel.content()}
    for name, state in STATES.items():
        panel.build("run", "--select", *INCREMENTAL, **state)
        stepwise[name] = panel.content()
    for name, state in STATES.items():
        if name not in refreshed:
            panel.build("run", "--full-refresh", "--select", *INCREMENTAL, **state)
            refreshed[name] = panel.content()
    return History(stepwise, refreshed)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fact", FACTS)
def test_an_incremental_build_equals_a_full_refresh(history: History, state: str, fact: str):
    assert history.stepwise[state][fact] == history.refreshed[state][fact]


@pytest.mark.parametrize("fact", FACTS)
def test_the_states_differ_so_that_their_comparison_can_fail(history: History, fact: str):
    assert len({content[fact] for content in history.stepwise.values()}) == len(STATES)
