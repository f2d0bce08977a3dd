"""Totals of sales by day: each counts as the sales of its day, unless movements have them; corrections are followed."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from test_ingest_business_day import batch, located
from test_warehouse import (
    FACTS,
    FIRST_ARRIVAL,
    FIRST_DAY,
    FIRST_NOON,
    SECOND_ARRIVAL,
    Row,
    Warehouse,
    arrive,
    corrected,
    location,
    movement,
    product,
)

from orchestration.ingest.business_day import read_clock
from orchestration.warehouse.build import begin_build

SELECT = (
    *("run", "--select", *(f"+{fact}" for fact in FACTS), "+fct_quarantined_rows", "+fct_doubtful_movements"),
    *("+fct_daily_sales", "+fct_stock_position"),
)


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def total(number: int, units: float, *, sku: str = "a", at: str = "x", source: str = "daily_sales") -> Row:
    revenue = Decimal(str(units * 9))
    named = {"source": source, "sku": sku, "location_id": at, "day": day(number)}
    return named | {"units": Decimal(str(units)), "revenue": revenue}


def sale(document: str, number: int, units: float) -> dict[str, object]:
    return movement(document, "sale", -units, FIRST_NOON + timedelta(days=number))


TOTALS = [
    *(total(n, 3) for n in range(10) if n not in (5, 7)),
    total(5, -2),
    *(total(7, units, source=source) for units, source in ((2, "till 1"), (4, "till 2"))),
    *(total(n, 1, at="y") for n in range(10)),
    total(3, 4, sku="late"),
]
MOVEMENTS = [
    movement("K", "count", 100, FIRST_NOON - timedelta(hours=3)),
    sale("same", 3, 3),
    sale("other", 4, 2),
    sale("other 2", 4, 3),
    movement("closing", "count", 40, FIRST_NOON + timedelta(days=8, hours=8), location="y"),
]
MASTER = {
    "products": [product("a")],
    "locations": [location("x"), location("y", time_zone="America/New_York") | {"day_ends_at": "15:30"}],
}


def build(home: Warehouse, *also: str) -> None:
    home.build(*SELECT, *also, **json.loads(begin_build(run_id="r", clock=read_clock(home.raw), fence=1).dbt_vars))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    made = Warehouse(tmp_path_factory.mktemp("totals") / "home")
    arrive(made.raw, FIRST_ARRIVAL, MASTER | {"stock_movements": MOVEMENTS, "daily_sales": TOTALS})
    build(made)
    return made


def demand(home: Warehouse, place: str = "x") -> dict[int, float]:
    query = f"select day, demand_units from marts.fct_daily_demand where sku = 'a' and location_id = '{place}'"
    return {(when - FIRST_DAY).days: float(units) for when, units in home.rows(query)}


def stock(home: Warehouse) -> dict[str, float]:
    return dict(home.rows("select location_id, on_hand_units::double from marts.fct_stock_position"))


def test_a_total_is_the_demand_of_its_day_and_movements_win_where_they_have_sales(home: Warehouse):
    assert demand(home) == dict.fromkeys(range(10), 3) | {4: 5, 5: 0, 7: 6}


def test_the_last_day_with_a_total_is_the_business_day(home: Warehouse):
    assert read_clock(home.raw).as_of == day(9)


def test_totals_take_from_stock_at_the_end_of_their_day_and_net_returns_add_to_it(home: Warehouse):
    # At y a count after closing stands, and the day after it took 1.
    assert stock(home) == {"x": 100 - sum(demand(home).values()) + 2, "y": 40 - 1}


def test_a_price_is_the_revenue_of_a_unit(home: Warehouse):
    query = "select distinct unit_price::double from marts.fct_stock_movements where document like 'daily total%'"
    assert home.rows(query) == [(9,)]


def test_a_total_that_movements_contradict_is_named_and_one_that_they_repeat_is_not(home: Warehouse):
    found = home.rows("select day, reference, doubt, reason from marts.fct_doubtful_movements")
    assert [row[:3] for row in found] == [(day(4), "shop", "total_differs")]
    assert found[0][3] == (
        f"3 are the total of {day(4)}, and 5 were booked sale by sale (shop): these count, and the total does not. "
        "Send the sales that are missing among the movements, or the total again with the units that were booked"
    )


def test_a_total_of_an_unknown_product_waits(home: Warehouse):
    query = "select table_name, rule, source_row from marts.fct_quarantined_rows"
    assert home.rows(query) == [("daily_sales", "unknown_sku", len(TOTALS))]


def test_a_day_sent_again_replaces_its_total_and_a_withdrawn_sale_gives_way_to_it(home: Warehouse, tmp_path: Path):
    withdrawn = [corrected(row, quantity_units=Decimal(0)) for row in MOVEMENTS if "other" in str(row["document"])]
    again = {
        "stock_movements": withdrawn,
        "daily_sales": [total(2, 7), total(6, 0), total(10, 3), total(10, 1, at="y")],
        "products": [product("late")],
        # The day of y now ends after the count.
        "locations": [location("y", time_zone="America/New_York")],
    }
    arrive(home.raw, SECOND_ARRIVAL, again)
    build(home)
    assert demand(home) == dict.fromkeys(range(11), 3) | {2: 7, 5: 0, 6: 0, 7: 6}
    assert stock(home)["y"] == 40 - 3
    assert (
        home.rows("select 1 from marts.fct_quarantined_rows union all select 1 from marts.fct_doubtful_movements") == []
    )
    followed = home.content()
    build(home, "--full-refresh")
    assert home.content() == followed


def test_codes_mapped_to_one_item_add_up_and_each_is_corrected_alone(home: Warehouse, tmp_path: Path):
    made = Warehouse(tmp_path / "mapped", home.manifest)
    arrive(made.raw, FIRST_ARRIVAL, MASTER | {"daily_sales": [total(4, 2, sku="A-OLD"), total(4, 3)]})
    build(made)
    mapped = {"column_name": "sku", "code": "A-OLD", "meaning": "a", "said_by": "mia", "said_at": "2024-01-01"}
    (made.raw / "mapped_codes.json").write_text(json.dumps([mapped]))
    query = "select sku, units::double, revenue::double from marts.fct_daily_sales"
    build(made)
    assert (made.rows(query), demand(made)[4]) == ([("a", 5, 45)], 5)
    arrive(made.raw, SECOND_ARRIVAL, {"daily_sales": [total(4, 1, sku="A-OLD")]})
    build(made)
    assert (made.rows(query), demand(made)[4]) == ([("a", 4, 36)], 4)


def test_a_return_by_line_is_part_of_the_total_of_its_day(home: Warehouse, tmp_path: Path):
    made = Warehouse(tmp_path / "returns", home.manifest)
    back = movement("back", "return", 1, FIRST_NOON + timedelta(days=6))
    taken = movement("taken", "return", 2, FIRST_NOON + timedelta(days=5))
    totals = [*(total(n, 3) for n in range(10) if n != 5), total(5, -2), total(6, 2, source="till 2")]
    arrive(made.raw, FIRST_ARRIVAL, MASTER | {"stock_movements": [MOVEMENTS[0], back], "daily_sales": totals})
    build(made)
    assert stock(made) == {"x": 100 - 9 * 3 + 2 - 2}
    arrive(made.raw, SECOND_ARRIVAL, {"stock_movements": [taken]})
    build(made)
    assert stock(made) == {"x": 100 - 9 * 3 + 2 - 2}
    assert made.rows("select day from marts.fct_daily_sales where not is_counted") == [(day(5),)]


def test_a_total_that_came_before_its_day_was_over_does_not_end_it(tmp_path: Path):
    located(tmp_path, "Europe/London", at="x")

    def arrives(on: str, at: str) -> date:
        row = f"'till' as source, 'a' as sku, 'x' as location_id, date '{on}' as day, timestamptz '{at}' as ingested_at"
        batch(tmp_path, "daily_sales", f"select {row}, 1 as units, 'f' as source_file", at)
        return read_clock(tmp_path).as_of

    assert arrives("2011-03-21", "2011-03-22 06:00:00+00") == date(2011, 3, 21)
    assert arrives("2011-03-22", "2011-03-22 17:00:00+00") == date(2011, 3, 21)
    assert arrives("2011-03-22", "2011-03-23 06:00:00+00") == date(2011, 3, 22)
