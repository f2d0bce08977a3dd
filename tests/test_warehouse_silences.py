"""Sales that have not arrived: which days are silent, and that the facts leave them out whatever the history."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
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
SELECT = (
    "run",
    "--select",
    *(f"+{fact}" for fact in FACTS),
    "+fct_stock_position",
    "+dim_locations",
    "+dim_calendar",
    "+int_source_silences",
)


def sold(place: str, days: list[int], *, stock: int = 2000, sku: str = "a", source: str = "shop") -> list[Row]:
    """Return a receipt on the first day and a sale of 2 on some days, counted from FIRST_DAY."""
    made = [("receipt", stock, min(0, *days), -3), *(("sale", -2, n, 0) for n in days)]
    instants = [FIRST_NOON + timedelta(days=n, hours=hour) for _, _, n, hour in made]
    return [
        movement(f"{kind}{sku}{place}{n}", kind, units, at, sku=sku, location=place, source=source)
        for (kind, units, n, _), at in zip(made, instants, strict=True)
    ]


def count(place: str, units: int, number: int, *, sku: str = "a") -> Row:
    at = FIRST_NOON + timedelta(days=number, hours=-4)
    return movement(f"count{place}{number}", "count", units, at, sku=sku, location=place)


def left(days: list[int], stock: int = 2000) -> int:
    return stock - 2 * len(days)


def except_for(days: list[int], *pauses: tuple[int, int]) -> list[int]:
    """Leave out pauses, each of a first day and a number of days."""
    return [n for n in days if not any(start <= n < start + length for start, length in pauses)]


def until(last: int) -> list[int]:
    return list(range(last))


SILENT_FROM = DAYS - STOPPED
UNTIL_STOPPED = until(SILENT_FROM)
YEAR_BEFORE = SILENT_FROM - 364
TWO_YEARS = list(range(YEAR_BEFORE - 60, SILENT_FROM))
EVERY_SECOND = UNTIL_STOPPED[::2]
MISSING = {
    "stopped": sold("stopped", UNTIL_STOPPED),
    "stopped and counted": [
        *sold("stopped and counted", UNTIL_STOPPED),
        count("stopped and counted", left(UNTIL_STOPPED) - 6, DAYS - 2),
    ],
    "counted too early": [
        *sold("counted too early", UNTIL_STOPPED),
        count("counted too early", left(UNTIL_STOPPED), SILENT_FROM + 4),
    ],
    "counted empty": [
        *sold("counted empty", UNTIL_STOPPED, stock=left([], 2 * SILENT_FROM + 3)),
        count("counted empty", 0, DAYS - 2),
    ],
    "counted with a surplus": [
        *sold("counted with a surplus", UNTIL_STOPPED),
        count("counted with a surplus", left(UNTIL_STOPPED) + 30, DAYS - 2),
    ],
    "seldom sold counted": [
        *sold("seldom sold counted", UNTIL_STOPPED),
        *sold("seldom sold counted", UNTIL_STOPPED[::7], sku="b"),
        count("seldom sold counted", left(UNTIL_STOPPED[::7]), DAYS - 2, sku="b"),
    ],
    "till alone stopped": [
        *sold("till alone stopped", UNTIL_STOPPED),
        movement("R2", "receipt", 9, FIRST_NOON + timedelta(days=DAYS - 2), location="till alone stopped"),
    ],
    "paused once": sold("paused once", except_for(UNTIL_STOPPED, (60, 20))),
    "paused twice for less": sold("paused twice for less", except_for(UNTIL_STOPPED, (10, 5), (70, 5))),
    "shorter last year": sold("shorter last year", except_for(TWO_YEARS, (YEAR_BEFORE, 5))),
    "lost before": [
        *sold("lost before", except_for(TWO_YEARS, (YEAR_BEFORE, 9))),
        count("lost before", left(list(range(YEAR_BEFORE - 60, YEAR_BEFORE))) - 16, YEAR_BEFORE + 8),
    ],
}
RESTING = {
    "counted": [*sold("counted", UNTIL_STOPPED), count("counted", left(UNTIL_STOPPED) - 2, DAYS - 2)],
    "counted this morning": [
        *sold("counted this morning", UNTIL_STOPPED),
        count("counted this morning", left(UNTIL_STOPPED), DAYS),
    ],
    "counted in part": [
        *sold("counted in part", UNTIL_STOPPED),
        *sold("counted in part", EVERY_SECOND, sku="b"),
        count("counted in part", left(EVERY_SECOND), DAYS - 1, sku="b"),
    ],
    "a habit": sold("a habit", except_for(UNTIL_STOPPED, (10, 6), (70, 12))),
    "a season": sold("a season", except_for(TWO_YEARS, (YEAR_BEFORE + 5, 20))),
}
PLACES = {
    "going": sold("going", until(DAYS)),
    **MISSING,
    **RESTING,
    "long weekend": sold("long weekend", until(DAYS - 4)),
    "quiet": sold("quiet", [n for n in until(DAYS - 20) if n % 9 in (0, 4)]),
    "closed on two weekdays": sold("closed on two weekdays", [n for n in until(DAYS - 2) if n % 7 not in (4, 5)]),
    "closed by the calendar": sold("closed by the calendar", UNTIL_STOPPED),
    "closed by itself": sold("closed by itself", UNTIL_STOPPED),
    "sold out": sold("sold out", UNTIL_STOPPED, stock=2 * SILENT_FROM),
    "young": sold("young", [SILENT_FROM - n for n in range(1, 9)]),
    "begun again": sold("begun again", except_for(until(DAYS), (30, STOPPED))),
    "begun again and counted": [
        *sold("begun again and counted", except_for(until(DAYS), (30, STOPPED))),
        count("begun again and counted", left(until(30)), 30 + STOPPED),
    ],
    "several tills": [
        *sold("several tills", until(DAYS)),
        *sold("several tills", except_for(UNTIL_STOPPED, (20, 2)), source="stopped"),
        *sold("several tills", except_for(UNTIL_STOPPED, (20, 6), (60, 9)), source="often away"),
        *sold("several tills", until(60), source="old"),
        *sold("several tills", UNTIL_STOPPED[::4], source="seldom"),
    ],
    "new till": [
        *sold("new till", UNTIL_STOPPED, source="replaced"),
        *sold("new till", [SILENT_FROM + n for n in range(STOPPED)], source="its successor"),
    ],
    "ended": sold("ended", UNTIL_STOPPED),
    "ended long ago": sold("ended long ago", until(DAYS - 30)),
}
ENDED = {"ended": DAYS - 3, "ended long ago": DAYS - 30}


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def closed_by_itself() -> dict[str, Any]:
    """Return days on which one location alone is closed, of the country of them all, and until after the last day."""
    days = range(SILENT_FROM, DAYS + STOPPED)
    closed = {"location_id": "closed by itself"}
    return {"calendar_events": [event(str(day(number)), "GB", "closed") | closed for number in days]}


def forget_location_ids(raw: Path) -> None:
    """Write calendar events as they were before the contract had a location."""
    for path in raw.glob("calendar_events/*/accepted.parquet"):
        old = path.with_suffix(".old")
        duckdb.execute(f"copy (select * exclude (location_id) from '{path}') to '{old}' (format parquet)")
        old.replace(path)


def master() -> dict[str, Any]:
    """Return the locations; the calendar closes one of them for its last days."""
    places = [
        location(name, country="DE" if "calendar" in name else "GB")
        | {"valid_to": day(ENDED[name] - 1) if name in ENDED else None}
        for name in PLACES
    ]
    closed = [event(str(day(number)), "DE", "closed") for number in range(DAYS - STOPPED, DAYS)]
    return {"products": [product("a"), product("b")], "locations": places, "calendar_events": closed}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """All places on the last day."""
    made = Warehouse(tmp_path_factory.mktemp("silences") / "home")
    arrive(made.raw, FIRST_ARRIVAL, master() | {"stock_movements": [row for rows in PLACES.values() for row in rows]})
    arrive(made.raw, SECOND_ARRIVAL, closed_by_itself())
    made.build(*SELECT, as_of=str(AS_OF), running_day=True)
    return made


def test_sales_are_known_until_they_stop_for_longer_than_is_plausible(home: Warehouse):
    known = home.rows("select location_id, sales_known_until_date from marts.dim_locations")
    assert {name: found for name, found in known if found} == dict.fromkeys(MISSING, day(SILENT_FROM - 1))


def test_a_location_rests_where_a_count_or_earlier_pauses_show_it(home: Warehouse):
    closed = (
        "select location_id, min(day), max(day) from marts.dim_calendar where not is_open and day >= ? group by all"
    )
    found = {name: rest for name, *rest in home.rows(closed.replace("?", f"date '{day(SILENT_FROM)}'"))}
    last = home.rows("select max(day) from marts.dim_calendar")[0][0]
    assert found == {
        "closed by the calendar": [day(SILENT_FROM), AS_OF],
        "closed by itself": [day(SILENT_FROM), day(DAYS + STOPPED - 1)],
        "counted": [day(SILENT_FROM), last],  # until it sells again
        "counted this morning": [day(SILENT_FROM), last],
        "counted in part": [day(SILENT_FROM), last],
        "a habit": [day(SILENT_FROM), day(SILENT_FROM + 11)],  # the longer of the two
        "a season": [day(SILENT_FROM), day(SILENT_FROM + 24)],  # as it opened last year, on the same weekday
    }


def test_a_day_whose_sales_have_not_arrived_has_no_demand_instead_of_none(home: Warehouse):
    query = """
        select location_id, count(*), sum(demand_units)::int, max(day)
        from marts.fct_daily_demand where sku = 'a' group by all
    """
    found = {name: rest for name, *rest in home.rows(query)}
    assert found["stopped"] == [SILENT_FROM, 2 * SILENT_FROM, day(SILENT_FROM - 1)]
    assert found["begun again"] == [SILENT_FROM, 2 * SILENT_FROM, AS_OF]
    assert found["a habit"] == [DAYS - 12, 2 * (SILENT_FROM - 18), AS_OF]  # the third time it is one
    assert found["counted"] == [DAYS, 2 * SILENT_FROM, AS_OF]
    year_and_more = (AS_OF - day(TWO_YEARS[0])).days + 1
    assert found["a season"] == [year_and_more, 2 * (len(TWO_YEARS) - 20), AS_OF]  # so was the first
    full = {"going", "long weekend", "quiet", "closed on two weekdays", "closed by the calendar", "sold out", "young"}
    full |= {"several tills", "new till"}
    full |= {
        "closed by itself",
        "counted",
        "counted this morning",
        "counted in part",
        "begun again and counted",
        "ended long ago",
    }
    assert {name for name, (days, _, last) in found.items() if days == DAYS and last == AS_OF} == full


def test_a_location_that_has_ended_is_silent_until_its_end_at_most(home: Warehouse):
    query = "select location_id, count(*) from marts.fct_daily_demand where location_id like 'ended%' group by all"
    assert dict(home.rows(query)) == {"ended": DAYS - 5, "ended long ago": DAYS}


def test_such_a_day_is_not_out_of_stock(home: Warehouse):
    query = "select location_id, count(*) from marts.fct_daily_stock where is_stocked_out group by all order by all"
    assert home.rows(query) == [("sold out", STOPPED + 1)]


def test_the_position_says_for_how_many_days_its_sales_are_not_recorded(home: Warehouse):
    query = "select location_id, unrecorded_days from marts.fct_stock_position where unrecorded_days > 0 and sku = 'a'"
    counted = {"stopped and counted": 1, "counted too early": 3, "counted empty": 1, "counted with a surplus": 1}
    assert dict(home.rows(query)) == dict.fromkeys(MISSING, STOPPED) | counted


def test_the_longest_pause_before_is_told(home: Warehouse):
    with duckdb.connect(str(home.folder / "build.duckdb"), read_only=True) as connection:
        found = connection.execute("""
            select location_id, longest_before_days, longest_before_day, round(lacking_share, 2)
            from intermediate.int_location_silences where is_ongoing
        """).fetchall()
    told = {name: rest for name, *rest in found}
    assert told["stopped"] == [None, None, None]
    assert told["paused once"] == [20, day(60), None]
    assert told["stopped and counted"] == [None, None, 0.5]
    assert set(told) == {*MISSING, *RESTING}


def test_one_of_several_sources_that_stops_alone_is_named_unless_it_was_taken_out_of_use(home: Warehouse):
    with duckdb.connect(str(home.folder / "build.duckdb"), read_only=True) as connection:
        found = connection.execute("from intermediate.int_source_silences").fetchall()
    assert found == [("several tills", "stopped", day(SILENT_FROM - 1), STOPPED, 2)]


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
    forget_location_ids(stepwise.raw)
    arrive(at_once.raw, SECOND_ARRIVAL, closed_by_itself() | {"stock_movements": [*lost, *more]})
    later = str(AS_OF + timedelta(days=2))
    for as_of in (str(day(DAYS - STOPPED + 1)), str(AS_OF)):
        stepwise.build(*SELECT, as_of=as_of)
    arrive(stepwise.raw, SECOND_ARRIVAL, closed_by_itself() | {"stock_movements": [*lost, *more]})
    stepwise.build(*SELECT, as_of=later)
    at_once.build(*SELECT, as_of=later)
    assert stepwise.content() == at_once.content()
    days = "select count(*) from marts.fct_daily_demand where location_id = "
    assert stepwise.rows(f"{days} 'stopped'") == [(DAYS - 4,)]
    assert stepwise.rows(f"{days} 'till alone stopped'") == [(DAYS - STOPPED + 2,)]
    assert stepwise.rows(f"{days} 'closed by itself'") == [(DAYS + 2,)]
