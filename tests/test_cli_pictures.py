"""The command `picture`, on a published database of one item."""

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from orchestration.cli.main import cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def published(home: Path) -> Path:
    (home / "published").mkdir()
    with duckdb.connect(str(home / "published" / "current.duckdb")) as connection:
        connection.execute(
            """
            create schema marts;
            create schema reporting;
            create table marts.fct_daily_demand as
                select 'A' as sku, 'UKN' as location_id, day::date as day, 2 as demand_units
                from range(date '2011-12-01', date '2011-12-09', interval 1 day) as days (day);
            create table marts.fct_daily_stock as
                select sku, location_id, day, 5 as closing_units from marts.fct_daily_demand;
            create table marts.fct_open_orders as
                select 'A' as sku, 'UKN' as location_id, date '2011-11-30' as expected_date, 3 as open_units,
                    false as is_doubtful;
            create table reporting.fct_demand_forecasts as
                select 'A' as sku, 'UKN' as location_id, day::date as day, 2 as mean_units, 0 as q10_units,
                    4 as q90_units
                from range(date '2011-12-09', date '2011-12-20', interval 1 day) as days (day);
            create table reporting.stock_transfers as
                select 'A' as sku, 'UKS' as from_location_id, 'UKN' as to_location_id, 'proposed' as state,
                    4 as transfer_units, date '2011-12-09' as order_by_date, date '2011-12-10' as expected_arrival_date;
            create table reporting.restock_recommendations as
                select 'A' as sku, 'UKN' as location_id, 'BOWL' as product_name, date '2011-12-08' as as_of_date,
                    5 as on_hand_units, 6 as order_units, date '2011-12-09' as order_by_date,
                    date '2011-12-12' as expected_arrival_date;
            """
        )
    return home


def picture(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["picture", *arguments])


def test_an_item_is_drawn_as_png(published: Path) -> None:
    file = published / "order.png"
    result = picture("A", "UKN", "--output", str(file))
    assert result.output == f"{file}: open it in a browser\n"
    assert file.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_item_is_named(published: Path) -> None:
    result = picture("B", "UKN")
    assert result.exit_code == 1
    assert "no recommendation is published for sku 'B' at 'UKN'" in result.output


def test_a_file_that_cannot_be_written_is_named(published: Path) -> None:
    result = picture("A", "UKN", "--output", str(published / "absent" / "order.png"))
    assert result.exit_code == 1
    assert f"{published / 'absent' / 'order.png'} cannot be written" in result.output


def test_a_home_without_a_publication_is_named(home: Path) -> None:
    assert f"nothing is published in {home} yet" in picture("A", "UKN").output
