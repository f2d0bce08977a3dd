"""The tables of analysts after a second day with corrections, and the questions of dbt_project/QUESTIONS.md.

The answers are worked out here from the landed rows and the archive, by other means than the warehouse's SQL.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from support.commands import inventorybot
from support.small_landing import DAYS, MOVEMENT_COLUMNS, SKUS, add_file, movements

from orchestration.cli.dictionary import Question, questions

FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
PRICE, COST, COST_NEXT = 2.75, 1.5, 2.0
LATE_SALE = ["pos", "late", "1", "2024-05-01T15:00:00Z", "bread", "L1", "sale", "-4", "2.75"]
PROMOTED = pd.date_range("2024-04-15", "2024-04-17")
# order, line, sku, ordered, expected, ordered units, received units, received, status
LINES = [
    ("P1", 1, "apple", "2024-04-01", "2024-04-08", 24, 24, "2024-04-07", "received"),
    ("P1", 2, "bread", "2024-04-01", "2024-04-08", 24, 24, "2024-04-10", "received"),
    ("P2", 1, "cocoa", "2024-04-02", "2024-04-09", 24, 20, "2024-04-09", "received"),
    ("P3", 1, "dates", "2024-04-03", "2024-04-10", 12, 0, "", "cancelled"),
    ("P4", 1, "eggs", "2024-04-04", "2024-04-11", 12, 12, "2024-04-11", "received"),
]
QUESTIONS = questions()


@pytest.fixture(scope="module")
def home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after its second business day, with a late sale of the first one, a cleared shelf and another cost."""
    copy = tmp_path_factory.mktemp("copy") / "home"
    shutil.copytree(trained_home, copy, symlinks=True)
    land_second_day(copy / "landing")
    result = inventorybot(copy, "refresh")
    assert result.returncode == 0, result.stderr
    return copy


def land_second_day(landing: Path) -> None:
    moved = [*movements(DAYS, DAYS + 1), LATE_SALE, cleared()]
    add_file(landing / "stock_movements" / "second.csv", MOVEMENT_COLUMNS, moved)
    add_file(
        landing / "supplier_terms" / "dearer.csv",
        ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"],
        [["apple", "L1", "S1", "5", "12", "6", str(COST_NEXT)]],
    )
    add_file(
        landing / "purchase_order_lines" / "past.csv",
        [
            *("purchase_order_id", "line", "sku", "ordered_at", "expected_date", "ordered_units", "received_units"),
            *("received_at", "status", "supplier_id", "location_id"),
        ],
        [
            [
                *(order, str(line), sku, f"{ordered}T09:00:00Z", expected, str(units), str(came)),
                *(f"{received}T09:00:00Z" if received else "", status, "S1", "L1"),
            ]
            for order, line, sku, ordered, expected, units, came, received, status in LINES
        ],
    )
    add_file(
        landing / "prices" / "past.csv",
        ["sku", "from_date", "to_date", "unit_price", "is_promotion", "promotion_name"],
        [["apple", "2024-04-15", "2024-04-17", "1.95", "true", "Spring"]],
    )
    add_file(
        landing / "reservations" / "list.csv",
        ["sku", "location_id", "document", "reserved_units"],
        [["apple", "L1", "C1", "5"], ["apple", "L1", "C2", "1"], ["dates", "L1", "C2", "3"]],
    )


def cleared() -> list[str]:
    """Return a write-off of all dates that is left after the sale of the second day."""
    left = sum(int(row[7]) for row in movements(0, DAYS) if row[4] == "dates" and row[3][:10] <= str(SECOND))
    return ["wms", "clear", "1", f"{SECOND}T13:00:00Z", "dates", "L1", "write_off", str(-left), ""]


def read(home: Path, query: str, name: str = "current.duckdb") -> list[tuple[object, ...]]:
    with duckdb.connect(str((home / "published" / name).resolve()), read_only=True) as connection:
        return connection.sql(query).fetchall()


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    """Each item's days up to the second one, added up by hand: demand, closing units, whether demand is known whole."""
    rows = [*movements(0, DAYS + 1), LATE_SALE, cleared()]
    moved = pd.DataFrame([(row[4], date.fromisoformat(row[3][:10]), row[6], int(row[7])) for row in rows])
    moved.columns = ["sku", "day", "kind", "units"]
    moved = moved[moved["day"] <= SECOND]
    sold = -moved[moved["kind"] == "sale"].groupby(["sku", "day"])["units"].sum().rename("demand")
    closing = moved.groupby(["sku", "day"])["units"].sum().groupby("sku").cumsum().rename("closing")
    found = pd.concat([sold, closing], axis=1).reset_index()
    found["is_whole"] = found["closing"] > 0
    found["estimate"] = [estimate(found, row) for row in found.itertuples()]
    return found


def estimate(found: pd.DataFrame, row: object) -> float:
    """Return the demand of a day, or what the eight weeks before a stock-out say of it."""
    sku, day, demand, is_whole = (getattr(row, name) for name in ("sku", "day", "demand", "is_whole"))
    before = found[(found["sku"] == sku) & (found["day"] < day) & (found["day"] >= day - timedelta(days=56))]
    like = before[before["is_whole"] & (before["demand"] >= demand)]["demand"]
    return float(demand) if is_whole or like.empty else round(float(like.mean()), 3)


def archived(home: Path, day: date, table: str) -> pd.DataFrame:
    """Return a table of the last archive of a business day."""
    made = {
        json.loads(path.read_text())["build"]["ingested_until"]: path.parent
        for path in (home / "archive").glob(f"{day}_*/archive.json")
    }
    return pd.read_parquet(made[max(made)] / f"{table}.parquet")


def nearest(value: float) -> int:
    """Return the nearest whole number; half of one goes up, as in SQL."""
    return math.floor(value + 0.5)


def stock_value(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    ends = [date(2024, 4, 30), date(2024, 3, 31)]
    return [(day, nearest(COST * days[days["day"] == day]["closing"].sum())) for day in ends]


def on_time_in_full(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    # P1 has a late line, P2 came short, P3 was cancelled, P4 was as agreed; P9 is open and due later.
    return [("S1", 3, round(1 / 3, 3), round(2 / 3, 3), round((9 + 7 + 7) / 3, 1))]


def ordered(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    units, came = (sum(int(line[place]) for line in LINES) for place in (5, 6))
    april = ("2024-04", 5, nearest(units * COST), round(came / units, 3), round((units - came) / units, 3))
    return [("2024-05", 1, nearest(24 * COST), 0, 0), april]


def whole_weeks(days: pd.DataFrame) -> pd.DataFrame:
    """Return the days of the four weeks before that of 29 April 2024."""
    return days[(days["day"] >= date(2024, 4, 1)) & (days["day"] < date(2024, 4, 29))]


def fill_rate(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    weeks = whole_weeks(days)
    lost = (weeks["estimate"] - weeks["demand"]).sum() * PRICE
    share = round(weeks["demand"].sum() / weeks["estimate"].sum(), 3)
    return [("L1", share, nearest(lost), float((~weeks["is_whole"]).mean()))]


def most_lost(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    return [(sku, "L1", 0, 0) for sku in sorted(SKUS)[:3]]


def changed_costs(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    on_hand = pd.DataFrame([(row[4], int(row[7])) for row in [*movements(0, DAYS + 1), LATE_SALE, cleared()]])
    held = on_hand.groupby(0)[1].sum()
    return [(1, nearest(COST * held.drop("apple").sum() + COST_NEXT * held["apple"]), nearest(COST * held.sum()))]


def promoted(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    apples = days[days["sku"] == "apple"].set_index("day")["demand"]
    during = apples[[day.date() for day in PROMOTED]]
    before = apples[[(PROMOTED[0] - timedelta(days=back)).date() for back in range(1, 29)]]
    return [("Spring", 1, round(during.mean(), 2), round(before.mean(), 2))]


def promises(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    return [(3, 9, 1)]


def weekdays(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    totals = days.groupby("day")["demand"].sum()
    totals.index = pd.to_datetime(totals.index)
    found = totals.groupby(totals.index.day_name()).agg(["count", "mean"]).round(1)
    return sorted(found.itertuples(name=None), key=lambda row: (-row[2], row[0]))[:3]


def accuracy(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    forecasts = archived(home, FIRST, "demand_forecasts")
    forecasts = forecasts[forecasts["periods_ahead"] == 1].set_index("sku")["mean_units"]
    demand = days.set_index(["sku", "day"])["demand"]
    known = days[days["is_whole"]].set_index(["sku", "day"])["demand"]
    errors, naive, actual, scaled = [], [], 0.0, []
    for sku in sorted(set(SKUS) - {"dates"}):
        error = round(forecasts[sku], 6) - demand[sku, SECOND]
        errors.append(error)
        actual += demand[sku, SECOND]
        naive.append(abs(demand[sku, SECOND] - demand[sku, SECOND - timedelta(days=7)]))
        changes = known[sku].to_numpy()
        scaled.append(abs(error) / abs(changes[7:] - changes[:-7]).mean())
    sums = sum(map(abs, errors))
    rounded = (sums / actual, sum(errors) / actual, sums / sum(naive), sum(scaled) / len(scaled))
    return [(1, 5, 1, *(round(one, 3) for one in rounded))]


def revisions(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    forecasts = archived(home, SECOND, "demand_forecasts")
    total = forecasts[forecasts["periods_ahead"] == 1]["mean_units"].sum()
    version = forecasts["model_version"].iloc[0]
    return [(SECOND + timedelta(days=1), 1, SECOND, version, nearest(total))]


def then_and_now(home: Path, days: pd.DataFrame) -> list[tuple[object, ...]]:
    demand = days.groupby("day")["demand"].sum()
    rows = []
    for day, learnt in ((SECOND, 0), (FIRST, 4)):
        position = archived(home, day, "fct_stock_position").set_index("sku")["on_hand_units"].astype(float)
        lines = archived(home, day, "restock_lines").set_index("sku")["order_units"]
        costs = archived(home, day, "dim_item_locations").set_index("sku")["unit_cost"].astype(float)
        values = (nearest((position * costs).sum()), nearest((lines * costs).sum()))
        rows.append((day, *values, demand[day] - learnt, demand[day]))
    return rows


ANSWERS: list[Callable[[Path, pd.DataFrame], list[tuple[object, ...]]]] = [
    *(stock_value, on_time_in_full, ordered, fill_rate, most_lost, changed_costs),
    *(promoted, promises, weekdays, accuracy, revisions, then_and_now),
]


def test_there_are_twelve_questions() -> None:
    assert len(QUESTIONS) == len(ANSWERS) == 12


@pytest.mark.parametrize("number", range(12), ids=[answer.__name__ for answer in ANSWERS])
def test_a_question_is_answered_as_the_landed_rows_and_the_archive_say(
    home: Path, days: pd.DataFrame, number: int
) -> None:
    found = [tuple(map(plain, row)) for row in read(home, QUESTIONS[number].sql)]
    assert found == [tuple(map(plain, row)) for row in ANSWERS[number](home, days)]


def plain(value: object) -> object:
    """Return a number without the type that its source gave it."""
    return value if isinstance(value, str | date | None) else round(float(str(value)), 6)


def test_a_week_with_a_stockout_loses_what_the_weeks_before_say(home: Path, days: pd.DataFrame) -> None:
    week = days[(days["sku"] == "dates") & (days["day"] >= date(2024, 4, 29))]
    asked = """
        select days, out_of_stock_days, served_units::double, demand_units::double, lost_sales_value::double,
            is_censored
        from marts.fct_weekly_service where sku = 'dates' and period_start = '2024-04-29'
    """
    served, demand = float(week["demand"].sum()), float(week["estimate"].sum())
    lost = (demand - served) * PRICE
    assert lost > 0
    assert read(home, asked) == [(len(week), 1, served, pytest.approx(demand), pytest.approx(lost, abs=1e-4), True)]


def test_a_later_run_changes_nothing_of_what_was_published(home: Path, trained_home: Path) -> None:
    for relation, day in (("fct_item_snapshots", "as_known_on"), ("fct_published_forecasts", "as_of_date")):
        query = f"select * from reporting.{relation} where {day} = '{FIRST}' order by all"
        assert read(home, query) == read(trained_home, query) != []


def test_a_published_forecast_is_the_one_that_readers_saw(home: Path, trained_home: Path) -> None:
    columns = "sku, day, as_of_date, periods_ahead, mean_units, q10_units, q50_units, q90_units, model_version"
    seen = f"select {columns} from reporting.fct_demand_forecasts where periods_ahead in (1, 7, 14, 28) order by all"
    kept = f"select {columns} from reporting.fct_published_forecasts where as_of_date = '{FIRST}' order by all"
    assert read(home, kept) == read(trained_home, seen) != []


def test_a_correction_shows_beside_what_was_known_then(home: Path) -> None:
    """The late sale is in the facts of its day, and not in what that day knew."""
    query = f"""
        select earlier.demand_units, facts.demand_units
        from reporting.fct_item_snapshots as earlier
        inner join marts.fct_daily_demand as facts using (sku, location_id)
        where earlier.as_known_on = '{FIRST}' and facts.day = '{FIRST}' and sku = 'bread'
    """
    ((known_then, known_now),) = read(home, query)
    assert known_now == known_then + 4  # type: ignore[operator]


def test_a_cost_that_arrives_leaves_the_value_of_earlier_days(home: Path, trained_home: Path) -> None:
    valued = f"select day, unit_cost, stock_value from marts.fct_daily_stock where sku = 'apple' and day <= '{FIRST}'"
    assert sorted(read(home, valued)) == sorted(read(trained_home, valued)) != []
    costs = "select unit_cost::double from marts.dim_unit_costs where sku = 'apple' order by from_date nulls first"
    assert read(home, costs) == [(COST,), (COST_NEXT,)]


def test_what_was_published_before_is_listed(home: Path, trained_home: Path) -> None:
    before = (trained_home / "published" / "current.duckdb").readlink().stem.removeprefix("wh_")
    assert read(trained_home, "select * from reporting.fct_generations") == []
    assert read(home, "select number, generation, as_of_date from reporting.fct_generations") == [(1, before, FIRST)]


def test_histories_are_not_archived(home: Path) -> None:
    kept = {path.stem for path in (home / "archive").rglob("*.parquet")}
    assert "restock_lines" in kept
    assert kept.isdisjoint({"published_forecasts", "item_snapshots", "generations"})


@pytest.mark.deep
@pytest.mark.skipif(
    "SAMPLE_HOME" not in os.environ, reason="SAMPLE_HOME names no home after its first run of the sample"
)
@pytest.mark.parametrize("question", QUESTIONS, ids=[f"{number}" for number in range(1, len(QUESTIONS) + 1)])
def test_a_question_is_answered_on_the_sample_as_the_document_says(question: Question) -> None:
    found = read(Path(os.environ["SAMPLE_HOME"]), question.sql)
    assert [tuple(map(str, row)) for row in found] == list(question.answer)
