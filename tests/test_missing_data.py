"""What has not arrived, from the files to the orders: sales that stopped, stock never counted."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import inventorybot
from support.lived_days import read
from support.small_landing import FIRST_DAY, MOVEMENT_COLUMNS, SKUS, add_file, write_landing

DAYS, STOPPED = 112, 8
STALL_CLOSED = range(DAYS - STOPPED, DAYS + 8)
RATES = dict(zip(SKUS, (1, 2, 4, 5, 6, 8), strict=True))
GRAMS = 10_000
TERMS = ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"]


def movements(place: str, days: int, *, is_counted: bool, counted_again: int | None = None) -> list[list[Any]]:
    """Return sales of all items, where they are counted with weekly receipts, and a later count of what is left."""
    random_source, made = np.random.default_rng(sum(map(ord, place))), []

    def move(day: int, hour: int, sku: str, kind: str, units: int) -> None:
        at = FIRST_DAY + timedelta(days=day, hours=hour)
        row = {"source": "till", "document": f"{place}{len(made)}", "line": 1, "occurred_at": at.isoformat()}
        row |= {"sku": sku, "location_id": place, "movement_type": kind, "quantity_units": units, "unit_price": 2.75}
        made.append([row.get(name, "") for name in MOVEMENT_COLUMNS])

    for sku, rate in (RATES | ({"salt": GRAMS} if place == "L1" else {})).items():
        sold = random_source.poisson(rate, days)
        for day, units in enumerate(sold):
            if is_counted and day % 7 == 0:
                move(day, 6, sku, "receipt" if day else "count", int(sold[day - 7 : day].sum()) if day else 10 * rate)
            if units:
                move(day, 12, sku, "sale", -int(units))
        if counted_again:
            came = sum(int(sold[day - 7 : day].sum()) for day in range(7, days, 7))
            move(counted_again, 6, sku, "count", 10 * rate + came - int(sold.sum()))
    return made


def write_closed_days(landing: Path, days: range) -> None:
    """Declare that the stall alone is closed, and of a location that nobody knows too."""
    rows = [
        [(FIRST_DAY + timedelta(days=day)).date(), "GB", "Winter", "closed", place]
        for day in days
        for place in ("STALL", "STALLS")
    ]
    names = ["date", "country", "event_name", "event_type", "location_id"]
    add_file(landing / "calendar_events" / f"{len(days)}.csv", names, rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after its first run: one location has everything, two fell silent, one was counted, one only ever sold."""
    made = tmp_path_factory.mktemp("missing") / "home"
    landing = write_landing(made / "landing")
    for table in ("stock_movements", "purchase_order_lines"):
        next((landing / table).iterdir()).unlink()
    places = ("SILENT", "CLOSED", "STALL", "SALES")
    names = ["location_id", "location_name", "location_type", "country", "time_zone"]
    rows = [[place, place.title(), "store", "GB", "Europe/London"] for place in places]
    add_file(landing / "locations" / "more.csv", names, rows)
    names = ["sku", "product_name", "category", "unit_of_measure", "unit_cost", "unit_price"]
    add_file(landing / "products" / "more.csv", names, [["salt", "Salt", "food", "g", "0.002", "0.004"]])
    rows = [[sku, place, "S1", "5", "", "1", "1.50"] for sku in SKUS for place in places]
    rows.append(["salt", "L1", "S1", "5", "", "1", "0.002"])
    add_file(landing / "supplier_terms" / "more.csv", TERMS, rows)
    rows = [
        *movements("L1", DAYS, is_counted=True),
        *movements("SILENT", DAYS - STOPPED, is_counted=True),
        *movements("CLOSED", DAYS - STOPPED, is_counted=True, counted_again=DAYS - 2),
        *movements("SALES", DAYS, is_counted=False),
    ]
    rows += movements("STALL", DAYS - STOPPED, is_counted=True)
    add_file(landing / "stock_movements" / "all.csv", MOVEMENT_COLUMNS, rows)
    write_closed_days(landing, STALL_CLOSED)
    answer = inventorybot(made, "run")
    assert answer.returncode == 0, answer.stdout[-2000:]
    return made


def test_every_location_is_forecast_at_what_it_sells(home: Path):
    query = """
        select location_id, sum(mean_units) / count(distinct day) as units
        from reporting.fct_demand_forecasts where periods_ahead <= 7 and sku <> 'salt' group by all
    """
    found = {row["location_id"]: float(row["units"]) for row in read(home, query)}
    sold = pytest.approx(sum(RATES.values()), rel=0.12)
    assert found == {"L1": sold, "SILENT": sold, "SALES": sold, "CLOSED": 0, "STALL": 0}


def test_an_item_in_grams_beside_items_in_pieces_is_forecast_in_grams(home: Path):
    query = "select avg(mean_units) as units from reporting.fct_demand_forecasts where sku = 'salt'"
    assert float(read(home, query)[0]["units"]) == pytest.approx(GRAMS, rel=0.05)


def test_an_order_takes_off_what_a_silent_location_is_likely_to_have_sold_and_says_so(home: Path):
    query = "select * from reporting.restock_recommendations where location_id = 'SILENT'"
    lines = {row["sku"]: row for row in read(home, query)}
    flour = lines["flour"]
    sold = min(RATES["flour"] * (STOPPED - 1), float(flour["on_hand_units"]))
    assert float(flour["unrecorded_sales_units"]) == pytest.approx(sold, rel=0.15)
    assert flour["status"] == "order" and flour["order_units"] > 0
    assert " likely sold without a record " in flour["reason"]
    assert "No sales have arrived from SILENT since " in flour["reason"]
    others = (
        "select count(*) as lines from reporting.restock_recommendations where reason like '%No sales have arrived%'"
    )
    assert read(home, others) == [{"lines": len(SKUS)}]


def test_nothing_is_ordered_for_a_location_that_a_count_shows_to_be_closed_and_every_line_says_why(home: Path):
    query = "select * from reporting.restock_recommendations where location_id = 'CLOSED'"
    lines = read(home, query)
    assert {(row["status"], float(row["unrecorded_sales_units"])) for row in lines} == {("no_order", 0.0)}
    said = "as a count shows: no demand is expected until it sells again."
    assert len(lines) == len(SKUS) and all(said in row["reason"] for row in lines)


def test_a_location_closed_by_the_calendar_is_ordered_for_in_time_for_its_reopening(home: Path):
    query = """
        select day, sum(mean_units) as units
        from reporting.fct_demand_forecasts where location_id = 'STALL' group by day
    """
    units = {row["day"]: float(row["units"]) for row in read(home, query)}
    reopens = (FIRST_DAY + timedelta(days=STALL_CLOSED.stop)).date()
    assert {day for day, forecast in units.items() if forecast == 0} == {day for day in units if day < reopens}
    assert units[reopens] == pytest.approx(sum(RATES.values()), rel=0.25)
    query = """
        select protection_days, expected_demand_units from reporting.restock_recommendations
        where location_id = 'STALL' and sku = 'flour'
    """
    (flour,) = read(home, query)
    days = flour["protection_days"] - (STALL_CLOSED.stop - DAYS)
    assert float(flour["expected_demand_units"]) == pytest.approx(days * RATES["flour"], rel=0.25)


def test_a_closed_day_of_an_unknown_location_waits(home: Path):
    query = "select distinct table_name, rule from marts.fct_quarantined_rows"
    assert read(home, query) == [{"table_name": "calendar_events", "rule": "unknown_location"}]


def test_a_planner_reads_what_is_missing_and_what_to_do(home: Path):
    query = "select location_id, sku, exception_cause, remedy from reporting.restock_exceptions order by all"
    found = [(row["location_id"], row["sku"], row["exception_cause"]) for row in read(home, query)]
    assert found == [
        ("CLOSED", None, "pause_without_end"),
        *(("SALES", sku, "stock_unknown") for sku in SKUS),
        ("SILENT", None, "sales_missing"),
    ]
    remedies = {row["exception_cause"]: row["remedy"] for row in read(home, query)}
    assert remedies["sales_missing"].endswith(
        "send the missing files and run again; if nothing was sold, record a count of the shelf; "
        "if it was closed, add those days to calendar_events as closed, with its location_id"
    )
    assert "record a count of the shelf, or set the policy unknown_stock" in remedies["stock_unknown"]


def test_stock_that_was_never_counted_is_no_stock_out(home: Path):
    query = "select distinct is_in_stock from marts.fct_daily_demand where location_id = 'SALES'"
    assert read(home, query) == [{"is_in_stock": True}]
    assert read(home, "select 1 from reporting.stock_alerts where location_id = 'SALES'") == []


def test_orders_can_stand_on_an_assumption_which_they_name(home: Path):
    inventorybot(home, "policy", "set", "unknown_stock", "covers_lead_time", "--reason", "the count comes on Monday")
    answer = inventorybot(home, "run")
    assert answer.returncode == 0, answer.stdout[-2000:]
    query = "select * from reporting.restock_recommendations where location_id = 'SALES' and sku = 'flour'"
    (flour,) = read(home, query)
    assert (flour["status"], flour["exception_cause"]) == ("order", None)
    assert float(flour["on_hand_units"]) == pytest.approx(5 * RATES["flour"], rel=0.25)
    assert "it is taken to last until an order arrives (policy unknown_stock)" in flour["reason"]
