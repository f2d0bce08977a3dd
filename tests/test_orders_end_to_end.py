"""What people bring and what they get: items of which each has one thing that goes wrong, from the files to the orders.

The items sell alike, so that the plain one says what is right for the others; those of a season are a few days before
their third.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import inventorybot
from support.lived_days import read
from support.small_landing import MOVEMENT_COLUMNS, SKUS, add_file, write_landing

FIRST_DAY, LAST_DAY = datetime(2022, 10, 1, tzinfo=UTC), date(2024, 11, 24)
DAYS, ALIKE_DAYS = 786, 200
STARTS, ENDS = date(2024, 11, 27), date(2024, 12, 24)
SEASONAL = ("candle", "star", "wreath")
ALIKE = ("plain", "low", "overdue", "promised", "in_lots", "nearly_received", "at_once", "cancelled_twice", "used")
LOOK_ALIKE = ("plain.0", "'plain", '="plain"', "plain\u00ad", "\uff50lain")
A_DAY, EVERYDAY, ON_HAND = 10, 5, 40
EVENING, MORNING_AFTER = DAYS * 24 - 3, DAYS * 24 + 9


class Till:
    """Movements of one location in the order in which they are told."""

    columns = (*MOVEMENT_COLUMNS, "lot_id", "reference", "reason")

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []

    def move(self, sku: str, hour: float, kind: str, units: int, **told: Any) -> None:
        at = FIRST_DAY + timedelta(hours=hour)
        row = {"source": "till", "document": f"D{len(self.rows)}", "line": 1, "occurred_at": at.isoformat()}
        row |= {"sku": sku, "location_id": "L1", "movement_type": kind, "quantity_units": units} | told
        self.rows.append([row.get(name, "") for name in self.columns])

    def sell(self, sku: str, first: int, sold: np.ndarray, kind: str = "sale") -> None:
        """Count 40, then sell, and receive in the next hour what was sold."""
        self.move(sku, first * 24, "count", ON_HAND)
        for day, units in enumerate(sold.tolist(), first):
            if units:
                self.move(sku, day * 24 + 12, kind, -units, unit_price=2.75)
                self.move(sku, day * 24 + 13, "receipt", units)


def movements() -> Till:
    """Return everyday items, those of a season and those that sell alike, up to the morning after the last day."""
    random_source, till = np.random.default_rng(23), Till()
    days = [FIRST_DAY + timedelta(days=day) for day in range(DAYS)]
    is_season = np.array([(11, 27) <= (day.month, day.day) <= (12, 24) for day in days])
    for sku in SKUS:
        till.sell(sku, 0, random_source.poisson(EVERYDAY, DAYS))
    for sku in SEASONAL:
        till.sell(sku, 0, random_source.poisson(A_DAY, DAYS) * is_season)
    sold = random_source.poisson(EVERYDAY, ALIKE_DAYS)
    for sku in ALIKE:
        till.sell(sku, DAYS - ALIKE_DAYS, sold, "adjustment" if sku == "used" else "sale")
    for sku in ("low", "overdue"):
        till.move(sku, EVENING, "count", 1)
    for line, units in enumerate((15, 25), start=1):
        till.move("in_lots", EVENING, "count", units, document="STOCKTAKE", line=line, lot_id=f"lot {line}")
    till.move("nearly_received", EVENING - 1, "receipt", 60, reference="PO-60")
    till.move("nearly_received", EVENING, "count", ON_HAND)
    till.move("cancelled_twice", EVENING - 99, "sale", -10, document="SOLD", unit_price=2.75)
    for hour in (98, 97):
        till.move("cancelled_twice", EVENING - hour, "cancellation", 10, reference="till:SOLD:1", unit_price=2.75)
    till.move("cancelled_twice", EVENING, "count", ON_HAND)
    till.move("flour", 20 * 24, "sale", -3, document="INV-1")
    for document, sku in enumerate(LOOK_ALIKE):
        till.move(sku, EVENING, "sale", -2, document=f"ALIKE {document}")
    till.move("apple", MORNING_AFTER, "sale", -1)
    till.move("apple", MORNING_AFTER + 366 * 24, "sale", -1, document="A YEAR AHEAD")
    till.move("apple", -122 * 366 * 24, "adjustment", 10, document="OPENING")
    return till


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after its first run."""
    made = tmp_path_factory.mktemp("orders") / "home"
    landing = write_landing(made / "landing")
    for table in ("stock_movements", "purchase_order_lines"):
        next((landing / table).iterdir()).unlink()
    names = ["sku", "product_name", "category", "unit_cost", "unit_price"]
    products = [[sku, sku.title(), "gifts" if sku in SEASONAL else "food", "1", "2.75"] for sku in (*ALIKE, *SEASONAL)]
    damaged = [["4.01E+12", name, "food", "1", "2.75"] for name in ("Tea", "Coffee")]
    add_file(landing / "products" / "more.csv", names, [*products, *damaged])
    for number in (2, 10):
        add_file(landing / "products" / f"products_{number}.csv", names, [["apple", "Apple", "food", "1", f"{number}"]])
    boxes = ["flour", "Flour", "food", "18", "33", "box of 12"]
    add_file(landing / "products" / "units.csv", [*names, "unit_of_measure"], [boxes])
    names = ["sku", "location_id", "supplier_id", "lead_time_days", "unit_cost"]
    terms = [[sku, "L1", "S1", "0" if sku == "at_once" else "5", "1"] for sku in (*ALIKE, *SEASONAL)]
    add_file(landing / "supplier_terms" / "more.csv", names, terms)
    names = ["purchase_order_id", "line", "supplier_id", "sku", "location_id", "ordered_at", "expected_date"]
    orders = [
        ["PO-500", "1", "S1", "overdue", "L1", "2023-03-20T09:00:00Z", "2023-04-12", "500", "open"],
        ["PO-60", "1", "S1", "nearly_received", "L1", "2024-11-20T09:00:00Z", "2024-11-26", "60", "open"],
    ]
    add_file(landing / "purchase_order_lines" / "open.csv", [*names, "ordered_units", "status"], orders)
    names = ["sku", "location_id", "document", "reserved_units", "due_date"]
    add_file(landing / "reservations" / "far.csv", names, [["promised", "L1", "SO-1", "40", "2025-05-24"]])
    add_file(landing / "stock_movements" / "2024" / "11.csv", list(Till.columns), movements().rows)
    again = Till()
    again.move("flour", 120 * 24, "sale", -9, document="INV-1")
    add_file(landing / "stock_movements" / "2024" / "12.csv", list(Till.columns), again.rows)
    thousands = ";".join(Till.columns) + "\ntill;T1;1;2024-11-20T12:00:00Z;flour;L1;sale;-1.234;;;;\n"
    (landing / "stock_movements" / "thousands.csv").write_text(thousands)
    answer = inventorybot(made, "run")
    assert answer.returncode == 0, answer.stdout[-2000:]
    return made


@pytest.fixture(scope="module")
def lines(home: Path) -> dict[str, dict[str, Any]]:
    """Recommendations by sku."""
    return {row["sku"]: row for row in read(home, "select * from reporting.restock_recommendations")}


def test_what_sold_in_two_seasons_is_forecast_for_the_third_from_its_first_day_on(home: Path):
    rows = read(home, "select * from reporting.fct_demand_forecasts where sku in ('candle', 'star', 'wreath')")
    season = [row for row in rows if STARTS <= row["day"] <= ENDS]
    assert {row["day"] for row in season} >= {STARTS + timedelta(days=day) for day in range(10)}
    assert np.mean([float(row["mean_units"]) for row in season]) == pytest.approx(A_DAY, rel=0.15)
    assert min(float(row["q95_units"]) for row in season) > A_DAY
    assert max(float(row["mean_units"]) for row in rows if row["day"] < STARTS) < A_DAY


def test_what_sells_all_year_is_forecast_as_before(home: Path):
    query = "select avg(mean_units) as units from reporting.fct_demand_forecasts where sku in ('apple', 'flour')"
    assert float(read(home, query)[0]["units"]) == pytest.approx(EVERYDAY, rel=0.15)


@pytest.mark.parametrize("sku", SEASONAL)
def test_a_season_is_ordered_for_before_it_begins_and_the_reason_says_so(lines: dict, sku: str):
    line = lines[sku]
    days = line["protection_days"] - (STARTS - LAST_DAY).days + 1
    assert (line["status"], float(line["on_hand_units"])) == ("order", ON_HAND)
    assert float(line["expected_demand_units"]) == pytest.approx(days * A_DAY, rel=0.2)
    assert "forecast at the smaller of two seasons" in line["reason"]


@pytest.fixture(scope="module")
def held(home: Path) -> dict[str, list[str]]:
    """Reasons of the rows that wait, by rule."""
    reasons: dict[str, list[str]] = {}
    for row in read(home, "select rule, reason from marts.fct_quarantined_rows"):
        reasons.setdefault(row["rule"], []).append(row["reason"])
    return reasons


def test_a_date_that_cannot_be_right_is_held_and_moves_no_calendar(home: Path, lines: dict, held: dict):
    assert {line["as_of_date"] for line in lines.values()} == {LAST_DAY}
    days = read(home, "select min(day) as first, max(day) as last from marts.fct_daily_stock")
    assert days == [{"first": FIRST_DAY.date(), "last": LAST_DAY}]
    assert [reason.startswith("check the year: it is dated ") for reason in held["improbable_date"]] == [True, True]


def test_every_row_that_waits_says_what_to_do(held: dict):
    assert {rule: len(reasons) for rule, reasons in held.items()} == {
        "improbable_date": 2,
        "identifier_damaged": 2,
        "unit_changed": 1,
        "conflict": 1,
        "unknown_sku": len(LOOK_ALIKE),
    }
    assert all("take it from the source again, as text" in reason for reason in held["identifier_damaged"])
    assert "'each' and is 'box of 12' here; " in held["unit_changed"][0]
    assert "--set 'document={document}/{year}'" in held["conflict"][0]
    assert all("plain" in reason and "quarantine map" in reason for reason in held["unknown_sku"])


def test_a_product_in_another_unit_keeps_unit_and_price(home: Path):
    query = "select unit_of_measure, unit_price::float as price from marts.dim_products where sku = 'flour'"
    assert read(home, query) == [{"unit_of_measure": "each", "price": 2.75}]


def test_a_file_with_numbers_that_may_be_thousands_waits_for_an_answer(home: Path):
    told = inventorybot(home, "loads").stdout
    assert "thousands.csv" in told and "--decimal comma" in told


def test_the_later_of_two_numbered_files_counts(home: Path):
    assert float(read(home, "select unit_price from marts.dim_products where sku = 'apple'")[0]["unit_price"]) == 10


@pytest.mark.parametrize("sku", ["promised", "in_lots", "cancelled_twice"])
def test_what_is_due_in_half_a_year_counted_by_lot_or_cancelled_twice_is_ordered_like_the_plain_item(
    lines: dict, sku: str
):
    plain, line = lines["plain"], lines[sku]
    assert (plain["status"], float(plain["on_hand_units"])) == ("order", ON_HAND)
    assert (line["status"], float(line["on_hand_units"])) == ("order", ON_HAND)
    assert float(line["order_units"]) == pytest.approx(float(plain["order_units"]), rel=0.1)


def test_an_order_line_that_is_years_late_is_no_supply_and_told(home: Path, lines: dict):
    low, overdue = lines["low"], lines["overdue"]
    assert (overdue["on_order_units"], overdue["on_order_doubtful_units"]) == (0, 500)
    assert float(overdue["order_units"]) == pytest.approx(float(low["order_units"]), rel=0.1)
    assert overdue["order_units"] >= lines["plain"]["order_units"]
    (late,) = read(home, "select * from reporting.risk_late_purchase_orders where sku = 'overdue'")
    assert late["purchase_order_id"] == "PO-500"


def test_what_is_on_the_shelf_tomorrow_is_decided_like_any_other(lines: dict):
    line = lines["at_once"]
    assert line["exception_cause"] is None and line["lead_time_days"] == 0
    assert line["protection_days"] < lines["plain"]["protection_days"]
    assert float(line["expected_demand_units"]) == pytest.approx(line["protection_days"] * EVERYDAY, rel=0.2)


def test_a_reference_that_nearly_fits_and_a_second_cancellation_are_told(home: Path, lines: dict):
    doubts = {row["sku"]: row for row in read(home, "select * from marts.fct_doubtful_movements")}
    assert {sku: row["doubt"] for sku, row in doubts.items()} == {
        "nearly_received": "receives_no_order",
        "cancelled_twice": "cancels_too_much",
    }
    assert "PO-60:1 is one of the same item" in doubts["nearly_received"]["reason"]
    query = "select sku, sum(demand_units)::int as units from marts.fct_daily_demand where sku in ({}) group by 1"
    sold = {row["sku"]: row["units"] for row in read(home, query.format("'plain', 'cancelled_twice'"))}
    assert sold["plain"] == sold["cancelled_twice"]


def test_use_without_a_sale_is_shown_and_no_dead_stock(home: Path, lines: dict):
    assert float(lines["used"]["other_consumption_daily_units"]) == pytest.approx(EVERYDAY, rel=0.2)
    assert float(lines["used"]["days_of_cover_before"]) == pytest.approx(ON_HAND / EVERYDAY, rel=0.3)
    assert read(home, "select sku from reporting.risk_dead_stock where sku = 'used'") == []
