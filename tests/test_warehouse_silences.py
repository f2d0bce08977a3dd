"""Sales that have not arrived: which days are silent, and that the facts leave them out whatever the history."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_warehouse import (
    FACTS,
    FIRST_ARRIVAL,
    FIRST_DAY,
    FIRST_NOON,
    SECOND_ARRIVAL,
    Row,
    Warehouse,
    arrive,
    event,
    location,
    movement,
    product,
)

DAYS = 154
AS_OF = FIRST_DAY + timedelta(days=DAYS - 1)
STOPPED = 8
SELECT = ("run", "--select", *(f"+{fact}" for fact in FACTS), "+fct_stock_position", "+dim_locations")


def sold(place: str, days: list[int], *, stock: int = 1000) -> list[Row]:
    """Return a receipt on the first day and a sale of 2 on some days, counted from it."""
    came = movement(f"R{place}", "receipt", stock, FIRST_NOON - timedelta(hours=3), location=place)
    return [came, *(movement(f"{place}{n}", "sale", -2, FIRST_NOON + timedelta(days=n), location=place) for n in days)]


def until(last: int) -> list[int]:
    return list(range(last))


PLACES = {
    "going": sold("going", until(DAYS)),
    "stopped": sold("stopped", until(DAYS - STOPPED)),
    "stopped and counted": [
        *sold("stopped and counted", until(DAYS - STOPPED)),
        movement("C", "count", 300, FIRST_NOON + timedelta(days=DAYS - 3), location="stopped and counted"),
    ],
    "till alone stopped": [
        *sold("till alone stopped", until(DAYS - STOPPED)),
        movement("R2", "receipt", 9, FIRST_NOON + timedelta(days=DAYS - 2), location="till alone stopped"),
    ],
    "long weekend": sold("long weekend", until(DAYS - 4)),
    "quiet": sold("quiet", [n for n in until(DAYS - 20) if n % 9 in (0, 4)]),
    "closed on two weekdays": sold("closed on two weekdays", [n for n in until(DAYS - 2) if n % 7 not in (4, 5)]),
    "closed by the calendar": sold("closed by the calendar", until(DAYS - STOPPED)),
    "sold out": sold("sold out", until(DAYS - STOPPED), stock=2 * (DAYS - STOPPED)),
    "young": sold("young", [DAYS - STOPPED - n for n in range(1, 9)]),
    "begun again": sold("begun again", [n for n in until(DAYS) if not 30 <= n < 30 + STOPPED]),
    "a habit": sold("a habit", [n for n in until(DAYS - STOPPED) if n not in (*range(10, 18), *range(70, 78))]),
}


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def master() -> dict[str, Any]:
    """Return the locations; the calendar closes one of them for its last days."""
    places = [location(name, country="DE" if "calendar" in name else "GB") for name in PLACES]
    closed = [event(str(day(number)), "DE", "closed") for number in range(DAYS - STOPPED, DAYS)]
    return {"products": [product("a")], "locations": places, "calendar_events": closed}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """All places on the last day."""
    made = Warehouse(tmp_path_factory.mktemp("silences") / "home")
    arrive(made.raw, FIRST_ARRIVAL, master() | {"stock_movements": [row for rows in PLACES.values() for row in rows]})
    made.build(*SELECT, as_of=str(AS_OF))
    return made


def test_sales_are_known_until_they_stop_for_longer_than_is_plausible(home: Warehouse):
    known = home.rows("select location_id, sales_known_until_date from marts.dim_locations")
    last = day(DAYS - STOPPED - 1)
    stopped = ("stopped", "stopped and counted", "till alone stopped")
    assert {name: found for name, found in known if found} == dict.fromkeys(stopped, last)


def test_a_day_whose_sales_have_not_arrived_has_no_demand_instead_of_none(home: Warehouse):
    query = "select location_id, count(*), sum(demand_units)::int, max(day) from marts.fct_daily_demand group by all"
    found = {name: rest for name, *rest in home.rows(query)}
    assert found["stopped"] == [DAYS - STOPPED, 2 * (DAYS - STOPPED), day(DAYS - STOPPED - 1)]
    assert found["begun again"] == [DAYS - STOPPED, 2 * (DAYS - STOPPED), AS_OF]
    assert found["a habit"] == [DAYS - 2 * STOPPED, 2 * (DAYS - 3 * STOPPED), AS_OF]  # the third time it is one
    full = {"going", "long weekend", "quiet", "closed on two weekdays", "closed by the calendar", "sold out", "young"}
    assert {name for name, (days, _, last) in found.items() if days == DAYS and last == AS_OF} == full


def test_such_a_day_is_not_out_of_stock(home: Warehouse):
    query = "select location_id, count(*) from marts.fct_daily_stock where is_stocked_out group by all order by all"
    assert home.rows(query) == [("sold out", STOPPED + 1)]


def test_the_position_says_for_how_many_days_its_sales_are_not_recorded(home: Warehouse):
    query = "select location_id, unrecorded_days from marts.fct_stock_position where unrecorded_days > 0"
    assert dict(home.rows(query)) == {"stopped": STOPPED, "stopped and counted": 2, "till alone stopped": STOPPED}


def test_what_arrives_late_makes_the_facts_what_they_would_have_been(home: Warehouse, tmp_path: Path):
    lost = [
        movement(f"late{n}", "sale", -2, FIRST_NOON + timedelta(days=n), location="stopped")
        for n in range(DAYS - STOPPED, DAYS - 4)
    ]
    more = [
        movement(f"later{n}", "sale", -2, FIRST_NOON + timedelta(days=n), location=name)
        for name in ("going", "till alone stopped", "a habit", "quiet")
        for n in (DAYS, DAYS + 1)
    ]
    stepwise, at_once = Warehouse(tmp_path / "steps", home.manifest), Warehouse(tmp_path / "once", home.manifest)
    first = [row for rows in PLACES.values() for row in rows]
    arrive(stepwise.raw, FIRST_ARRIVAL, master() | {"stock_movements": first})
    arrive(at_once.raw, FIRST_ARRIVAL, master() | {"stock_movements": first})
    arrive(at_once.raw, SECOND_ARRIVAL, {"stock_movements": [*lost, *more]})
    later = str(AS_OF + timedelta(days=2))
    for as_of in (str(day(DAYS - STOPPED + 1)), str(AS_OF)):
        stepwise.build(*SELECT, as_of=as_of)
    arrive(stepwise.raw, SECOND_ARRIVAL, {"stock_movements": [*lost, *more]})
    stepwise.build(*SELECT, as_of=later)
    at_once.build(*SELECT, as_of=later)
    assert stepwise.content() == at_once.content()
    days = "select count(*) from marts.fct_daily_demand where location_id = "
    assert stepwise.rows(f"{days} 'stopped'") == [(DAYS - 4,)]
    assert stepwise.rows(f"{days} 'till alone stopped'") == [(DAYS - STOPPED + 2,)]
