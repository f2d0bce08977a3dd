"""The business clock, and the dates that cannot be right."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.ingest.business_day import read_clock
from orchestration.ingest.errors import IngestError

NOON = datetime(2011, 12, 9, 12, tzinfo=UTC)  # a Friday
MORNING_AFTER = NOON + timedelta(hours=18)
DAY = timedelta(days=1)


def batch(raw: Path, table: str, rows: str, name: str) -> None:
    folder = raw / table / name
    folder.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select *, '{name}' as batch_id, 1 as source_row from ({rows})) to '{folder}/accepted.parquet'"
        )


def moved(
    raw: Path,
    instants: Iterable[datetime],
    location_id: str = "UKN",
    name: str = "b1",
    *,
    arrived: datetime = MORNING_AFTER,
    document: str | None = None,
    revision: int = 0,
) -> None:
    """Write an arrival of movements, each a document of its own where none is given."""
    rows = ", ".join(
        f"('{document or f'{name}-{number}'}', {number}, {revision}, timestamptz '{instant.isoformat()}',"
        f" timestamptz '{arrived.isoformat()}', '{location_id}')"
        for number, instant in enumerate(instants)
    )
    columns = "document, line, revision, occurred_at, ingested_at, location_id"
    batch(raw, "stock_movements", f"select 'pos' as source, * from (values {rows}) as rows({columns})", name)


def located(raw: Path, time_zone: str, name: str = "b1", *, at: str = "UKN", day_ends_at: str | None = None) -> None:
    ends = f"'{day_ends_at}'" if day_ends_at else "null::varchar"
    row = f"'{at}' as location_id, '{time_zone}' as time_zone, 'GB' as country, {ends} as day_ends_at"
    batch(raw, "locations", f"select {row}", name)


def days_before(count: int, latest: datetime = NOON, *, without: Iterable[int] = ()) -> list[datetime]:
    """Return an instant a day, the latest one included, without some weekdays."""
    instants = (latest - n * DAY for n in range(count))
    return [instant for instant in instants if instant.weekday() not in set(without)]


def test_the_day_of_the_latest_movement_is_not_complete(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, [NOON - DAY, NOON])
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_the_day_is_that_of_the_location(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    moved(tmp_path, [NOON])
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


def test_a_day_is_complete_where_it_ends_last(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    located(tmp_path, "America/New_York", "b2", at="US")
    moved(tmp_path, [NOON])
    moved(tmp_path, [NOON - DAY], "US", "b2")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_location_without_a_movement_in_four_weeks_holds_nothing_up(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    located(tmp_path, "America/New_York", "b2", at="US")
    moved(tmp_path, days_before(40))
    moved(tmp_path, [NOON - 30 * DAY], "US", "b2")
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


def test_the_latest_version_of_a_location_counts(tmp_path):
    located(tmp_path, "Pacific/Auckland", "b1")
    located(tmp_path, "Europe/London", "b2")
    moved(tmp_path, [NOON])
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_where_no_location_is_known_days_are_those_of_utc(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    moved(tmp_path, [NOON], location_id="MARS")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_an_unknown_location_holds_up_no_known_one(tmp_path):
    located(tmp_path, "Pacific/Auckland")
    moved(tmp_path, [NOON])
    moved(tmp_path, [NOON], "MARS", "b2")
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


def test_locations_from_before_their_day_could_end_are_read(tmp_path):
    row = "select 'UKN' as location_id, 'Pacific/Auckland' as time_zone, 'NZ' as country"
    batch(tmp_path, "locations", row, "b1")
    moved(tmp_path, [NOON])
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        [NOON + 346 * DAY],
        [NOON + 346 * DAY, NOON + 400 * DAY, NOON + 3000 * DAY],
        [NOON + 30 * DAY],
        [NOON + 9 * DAY],
        [NOON + 365 * DAY - n * DAY for n in range(5)],
    ],
    ids=["a year ahead", "three, years ahead", "a month ahead", "the wrong day", "five days in a row, a year ahead"],
)
def test_a_few_wrong_dates_do_not_move_the_clock(tmp_path, wrong):
    moved(tmp_path, [instant - timedelta(minutes=n) for instant in days_before(60) for n in range(4)])
    moved(tmp_path, wrong, name="b2")
    clock = read_clock(tmp_path)
    assert (clock.as_of, clock.counts_until) == (date(2011, 12, 8), datetime(2011, 12, 10, tzinfo=UTC))


def test_two_wrong_dates_do_not_move_the_clock_of_a_home_of_ten_days(tmp_path):
    moved(tmp_path, days_before(10))
    moved(tmp_path, [NOON + 300 * DAY, NOON + 400 * DAY], name="b2")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_document_of_many_lines_is_one_mistake(tmp_path):
    moved(tmp_path, days_before(60))
    moved(tmp_path, [NOON + 365 * DAY] * 500, name="b2", document="B1")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_lines_of_documents_that_lie_elsewhere_vouch_for_no_date(tmp_path):
    moved(tmp_path, days_before(60), document="month")
    moved(tmp_path, [NOON + (9 + n) * DAY for n in range(4)], name="b2", document="month")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


@pytest.mark.parametrize("document", [None, "OPEN"])
def test_opening_balances_of_another_century_are_held(tmp_path, document):
    moved(tmp_path, days_before(120))
    moved(tmp_path, [datetime(1900, 1, 1, tzinfo=UTC)] * 200, name="b2", document=document)
    clock = read_clock(tmp_path)
    assert (clock.as_of, clock.counts_from) == (date(2011, 12, 8), datetime(2011, 8, 12, tzinfo=UTC))


def test_an_opening_count_months_before_the_first_sale_counts(tmp_path):
    moved(tmp_path, days_before(60))
    moved(tmp_path, [NOON - 150 * DAY] * 20, name="b2", document="OPEN")
    assert read_clock(tmp_path).counts_from is None


def test_a_history_before_a_long_pause_counts(tmp_path):
    moved(tmp_path, [*days_before(60), *days_before(30, NOON - 400 * DAY)])
    assert read_clock(tmp_path).counts_from is None


def test_a_shop_that_opens_again_is_believed_on_its_second_day(tmp_path):
    usual = [instant - timedelta(minutes=n) for instant in days_before(60) for n in range(4)]
    again = [NOON + 40 * DAY - timedelta(minutes=n) for n in range(4)]
    moved(tmp_path, [*usual, *again])
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)
    moved(tmp_path, [instant + DAY for instant in again], name="b2")
    clock = read_clock(tmp_path)
    assert (clock.as_of, clock.counts_until) == (date(2012, 1, 18), None)


def test_a_shop_that_opens_again_slowly_is_believed_after_a_week(tmp_path):
    moved(tmp_path, [instant - timedelta(minutes=n) for instant in days_before(60) for n in range(40)])
    moved(tmp_path, days_before(7, NOON + 40 * DAY), name="b2")
    assert read_clock(tmp_path).as_of == date(2012, 1, 17)


def test_the_first_day_after_a_holiday_is_believed_when_it_is_like_others(tmp_path):
    usual = [instant - timedelta(minutes=n) for instant in days_before(60) for n in range(4)]
    moved(tmp_path, [*usual, *(NOON + 10 * DAY - timedelta(minutes=n) for n in range(4))])
    assert read_clock(tmp_path).as_of == date(2011, 12, 18)


def test_a_shop_that_sells_twice_a_month_is_believed(tmp_path):
    moved(tmp_path, [NOON - 14 * n * DAY for n in range(30)])
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_corrected_date_is_as_if_it_had_never_been_wrong(tmp_path):
    days = days_before(60)
    moved(tmp_path, days)
    right = read_clock(tmp_path)
    moved(tmp_path, [NOON + 5 * DAY], name="b2", document="X")
    assert read_clock(tmp_path).as_of == date(2011, 12, 13)
    moved(tmp_path, [NOON - DAY], name="b3", document="X", revision=1)
    assert read_clock(tmp_path) == right


def test_a_day_that_has_ended_is_complete_whoever_books_first_the_next_morning(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(60), arrived=NOON + timedelta(hours=6))
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)
    moved(tmp_path, [NOON + timedelta(hours=18)], name="b2", arrived=NOON + timedelta(hours=18))
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


def test_a_day_is_not_complete_before_it_ends(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(60), arrived=NOON + timedelta(hours=5, minutes=59))
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_day_ends_in_the_zone_of_its_location(tmp_path):
    located(tmp_path, "America/New_York", day_ends_at="18:00")
    moved(tmp_path, days_before(60), arrived=NOON + timedelta(hours=6))
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_day_may_end_at_midnight(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="24:00")
    moved(tmp_path, days_before(60), arrived=NOON + timedelta(hours=12))
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)


def test_a_location_that_declares_no_end_holds_up_the_others(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    located(tmp_path, "Europe/London", "b2", at="S")
    moved(tmp_path, days_before(60))
    moved(tmp_path, [NOON - 2 * DAY], "S", "b2")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


SATURDAY = NOON + DAY
MONDAY_MORNING = NOON + 3 * DAY - timedelta(hours=7)


@pytest.mark.parametrize(("first_booked", "as_of"), [(False, date(2011, 12, 11)), (True, date(2011, 12, 11))])
def test_a_closed_sunday_leaves_monday_with_sunday_whoever_books_first(tmp_path, first_booked, as_of):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(80, SATURDAY, without=[6]), arrived=MONDAY_MORNING)
    if first_booked:
        moved(tmp_path, [MONDAY_MORNING], name="b2", arrived=MONDAY_MORNING)
    assert read_clock(tmp_path).as_of == as_of


def test_a_closed_day_is_complete_only_when_it_is_over(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(80, SATURDAY, without=[6]), arrived=SATURDAY + timedelta(hours=8))
    assert read_clock(tmp_path).as_of == date(2011, 12, 10)


def test_a_day_that_the_calendar_closes_is_complete_without_a_movement(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(80), arrived=NOON + 3 * DAY)
    assert read_clock(tmp_path).as_of == date(2011, 12, 9)
    event = "select date '2011-12-10' as date, 'GB' as country, 'Fair' as event_name, 'closed' as event_type"
    batch(tmp_path, "calendar_events", event, "b1")
    assert read_clock(tmp_path).as_of == date(2011, 12, 10)


def test_a_closed_day_of_one_location_is_its_own_alone(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(80), arrived=NOON + 3 * DAY)
    for number, (place, complete) in enumerate((("ELSEWHERE", 9), ("UKN", 10))):
        event = "select date '2011-12-10' as date, 'GB' as country, 'Fair' as event_name, 'closed' as event_type"
        batch(tmp_path, "calendar_events", f"{event}, '{place}' as location_id", f"b{number}")
        assert read_clock(tmp_path).as_of == date(2011, 12, complete)


def test_a_closed_day_on_which_something_moved_is_like_any_other(tmp_path):
    located(tmp_path, "Europe/London")
    moved(tmp_path, days_before(80), arrived=NOON + 3 * DAY)
    event = "select date '2011-12-09' as date, 'GB' as country, 'Stocktaking' as event_name, 'closed' as event_type"
    batch(tmp_path, "calendar_events", event, "b1")
    assert read_clock(tmp_path).as_of == date(2011, 12, 8)


def test_a_young_shop_has_no_closed_weekdays_yet(tmp_path):
    located(tmp_path, "Europe/London", day_ends_at="18:00")
    moved(tmp_path, days_before(20, SATURDAY, without=[6]), arrived=MONDAY_MORNING)
    assert read_clock(tmp_path).as_of == date(2011, 12, 10)


def test_no_movements_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(IngestError, match="put files into landing/stock_movements"):
        read_clock(tmp_path)


def test_movements_without_a_row_is_the_same_error(tmp_path):
    located(tmp_path, "Europe/London")
    batch(
        tmp_path,
        "stock_movements",
        "select 'pos' as source, '1' as document, 1 as line, 0 as revision, timestamptz '2011-12-09' as occurred_at,"
        " timestamptz '2011-12-09' as ingested_at, 'UKN' as location_id limit 0",
        "b1",
    )
    with pytest.raises(IngestError, match="there are no stock movements"):
        read_clock(tmp_path)


@pytest.mark.parametrize("documents", [1, 3, 500])
@pytest.mark.parametrize("days", [1, 2, 10])
def test_a_year_ahead_moves_no_business_day_whatever_vouches_for_it(tmp_path, days, documents):
    moved(tmp_path, days_before(60))
    ahead = [NOON + (365 + n % days) * DAY for n in range(documents)]
    moved(tmp_path, ahead, name="b2")
    clock = read_clock(tmp_path)
    assert clock.as_of == date(2011, 12, 8)
    assert clock.counts_until == datetime(2011, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize("document", ["OPEN", None])
@pytest.mark.parametrize("days", [1, 2, 8])
def test_balances_from_the_beginning_of_time_lengthen_no_history(tmp_path, days, document):
    moved(tmp_path, days_before(60))
    opening = [datetime(1900, 1, 1, tzinfo=UTC) + (n % days) * DAY for n in range(100)]
    moved(tmp_path, opening, name="b2", document=document)
    assert read_clock(tmp_path).counts_from == datetime(2011, 10, 11, tzinfo=UTC)


def test_a_year_of_movements_after_a_year_of_silence_is_believed(tmp_path):
    moved(tmp_path, [*days_before(200, NOON - 565 * DAY), *days_before(200)])
    clock = read_clock(tmp_path)
    assert (clock.as_of, clock.counts_from, clock.counts_until) == (date(2011, 12, 8), None, None)
