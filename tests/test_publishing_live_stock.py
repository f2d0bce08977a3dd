"""Live stock of a home with files and events; test_warehouse holds it to the published fold."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from support.small_landing import SKUS, write_landing

from orchestration.ingest.batches import ingest_table
from orchestration.ingest.online_store import claims_of, events_behind
from orchestration.publishing.live_stock import rebase_live_stock
from serving.store import Store

ARRIVED = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
EVENT = {
    "source": "pos",
    "document": "1",
    "line": 1,
    "occurred_at": "2011-12-01T10:00:00Z",
    "sku": "A",
    "location_id": "N",
    "movement_type": "receipt",
    "quantity_units": 5,
}


TOTAL = (
    "struct(source varchar, document varchar, occurred_at timestamptz, sku varchar, location_id varchar, "
    "counted_units decimal(18, 3), is_counted boolean)"
)


def taken_in(folder: Path, store: Store, totals: list[dict[str, object]] | None = None) -> None:
    """Take in what has arrived, and let live stock stand on it."""
    landing, raw = folder / "landing", folder / "raw"
    for table in ("products", "locations", "stock_movements"):
        events = events_behind(store, raw) if table == "stock_movements" else None
        options = {"landing": landing, "raw": raw, "ingested_at": ARRIVED, "settle_seconds": 0}
        ingest_table(table, events=events, claim=claims_of(store), **options)
    exports = folder / "exports"
    (exports / "marts").mkdir(parents=True, exist_ok=True)
    for table in ("products", "locations"):
        known = duckdb.read_parquet(f"{raw}/{table}/*/accepted.parquet")
        known.write_parquet(f"{exports}/marts/dim_{table}.parquet")
    totals = duckdb.sql(f"select unnest({totals or []}::{TOTAL}[], recursive := true)")
    totals.write_parquet(f"{exports}/marts/fct_daily_sales.parquet")
    rebase_live_stock(raw, exports, datetime(2027, 1, 1, tzinfo=UTC), store)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    files = {
        "products": "sku,product_name,category,unit_cost,unit_price\nA,A,c,1,2\nB,B,c,1,2\n",
        "locations": "location_id,location_name,location_type,country,time_zone\nN,N,store,GB,Europe/London\n",
        "stock_movements": MOVEMENTS + ",".join(map(str, EVENT.values())) + "\n",
    }
    for table, text in files.items():
        (tmp_path / "landing" / table).mkdir(parents=True)
        (tmp_path / "landing" / table / "a.csv").write_text(text)
    return tmp_path


def test_while_the_ledger_is_empty_nothing_is_kept(home: Path, store: Store) -> None:
    taken_in(home, store)
    assert store.live_stocks() == []


def test_a_ledger_without_a_movement_is_no_hindrance(tmp_path: Path, store: Store) -> None:
    override = {"event_id": "p1", "occurred_at": "2024-05-01T10:00:00Z", "scope": "default", "reason": "trial"}
    settings = {"setting": "target_value", "value": "0.98", "valid_from": "2024-05-01", "author": "ann"}
    store.append([{"event_type": "policy_override", **override, **settings}], source="policy")
    write_landing(tmp_path / "landing")
    taken_in(tmp_path, store)
    assert [item.sku for item in store.live_stocks()] == list(SKUS)


def test_files_and_events_add_up(home: Path, store: Store) -> None:
    store.append([{**EVENT, "source": "app"}, {**EVENT, "source": "app", "document": "2", "sku": "B"}], source="api")
    taken_in(home, store)
    assert [(item.sku, item.on_hand_units) for item in store.live_stocks()] == [("A", 10), ("B", 5)]


def test_totals_of_sales_by_day_count_as_the_warehouse_counts_them(home: Path, store: Store) -> None:
    store.append([{**EVENT, "source": "app"}], source="api")
    total = {"source": "till", "occurred_at": "2011-12-01 23:59:59+00", "sku": "A", "location_id": "N"}
    given = [
        {**total, "document": "d1", "counted_units": 3, "is_counted": True},
        {**total, "document": "d2", "counted_units": 4, "is_counted": False},
    ]
    taken_in(home, store, given)
    assert [item.on_hand_units for item in store.live_stocks()] == [Decimal(5 + 5 - 3)]


def test_a_movement_of_a_product_that_came_after_the_build_counts_nowhere_yet(home: Path, store: Store) -> None:
    store.append([{**EVENT, "source": "app", "sku": "B"}], source="api")
    taken_in(home, store)
    products = str(home / "exports/marts/dim_products.parquet")
    duckdb.sql("select 'B' as sku").write_parquet(products)
    rebase_live_stock(home / "raw", home / "exports", datetime(2027, 1, 1, tzinfo=UTC), store)
    assert [(item.sku, item.on_hand_units) for item in store.live_stocks()] == [("B", 5)]


def test_what_a_handed_over_source_tells_again_counts_once(home: Path, store: Store) -> None:
    taken_in(home, store)
    store.take_authority("pos", "online_store", transfer=True)
    store.append([EVENT, {**EVENT, "document": "2"}], source="stream")
    taken_in(home, store)
    (item,) = store.live_stocks()
    assert item.on_hand_units == 10


def test_a_correction_by_a_handed_over_source_replaces_the_line_of_the_file(home: Path, store: Store) -> None:
    taken_in(home, store)
    store.take_authority("pos", "online_store", transfer=True)
    store.append([{**EVENT, "revision": 1, "quantity_units": Decimal(3)}], source="stream")
    taken_in(home, store)
    (item,) = store.live_stocks()
    assert item.on_hand_units == 3
