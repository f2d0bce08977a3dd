"""The business clock."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.ingest.asof import last_complete_day
from orchestration.ingest.errors import IngestError

NOON = datetime(2011, 12, 9, 12, tzinfo=UTC)


def batch(raw: Path, table: str, name: str, rows: str) -> None:
    folder = raw / table / name
    folder.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"copy (select *, '{name}' as batch_id from ({rows})) to '{folder}/accepted.parquet'")


def moved(raw: Path, instants: list[datetime], location_id: str = "UKN", name: str = "b1") -> None:
    rows = ", ".join(f"(timestamptz '{instant.isoformat()}', '{location_id}')" for instant in instants)
    batch(raw, "stock_movements", name, f"select * from (values {rows}) as rows(occurred_at, location_id)")


def located(raw: Path, time_zone: str, name: str = "b1") -> None:
    batch(raw, "locations", name, f"select 'UKN' as location_id, '{time_zone}' as time_zone")


def test_the_day_of_the_latest_movement_is_not_complete(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, [NOON - timedelta(days=1), NOON])
    assert last_complete_day(tmp_path) == date(2011, 12, 8)


def test_the_day_is_that_of_the_location(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    moved(tmp_path, [NOON])
    assert last_complete_day(tmp_path) == date(2011, 12, 9)


def test_the_latest_version_of_a_location_counts(tmp_path):
    located(tmp_path, "Pacific/Auckland", "b1")
    located(tmp_path, "Europe/London", "b2")
    moved(tmp_path, [NOON])
    assert last_complete_day(tmp_path) == date(2011, 12, 8)


def test_an_unknown_location_counts_in_utc(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    moved(tmp_path, [NOON], location_id="MARS")
    assert last_complete_day(tmp_path) == date(2011, 12, 8)


def test_stray_rows_years_later_do_not_move_the_clock(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, [NOON - timedelta(minutes=n) for n in range(3000)])
    moved(tmp_path, [NOON + timedelta(days=3000), NOON + timedelta(days=400)], name="b2")
    assert last_complete_day(tmp_path) == date(2011, 12, 8)


def test_a_quiet_month_is_no_reason_to_disbelieve_what_follows(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, [NOON - timedelta(minutes=n) for n in range(100)])
    moved(tmp_path, [NOON + timedelta(days=40)], name="b2")
    assert last_complete_day(tmp_path) == date(2012, 1, 17)


def test_a_shop_with_one_movement_a_day_keeps_its_last_day(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, [NOON - timedelta(days=n) for n in range(1200)])
    assert last_complete_day(tmp_path) == date(2011, 12, 8)


def test_no_movements_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(IngestError, match="put them into landing/stock_movements"):
        last_complete_day(tmp_path)


def test_movements_without_a_row_is_the_same_error(tmp_path):
    located(tmp_path, "Europe/London")
    batch(
        tmp_path,
        "stock_movements",
        "b1",
        "select timestamptz '2011-12-09' as occurred_at, 'UKN' as location_id limit 0",
    )
    with pytest.raises(IngestError, match="there are no stock movements"):
        last_complete_day(tmp_path)
