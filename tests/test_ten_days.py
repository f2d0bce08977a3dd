"""Ten business days lived with 40 products in two shops: deliveries, decisions, corrections, a kill, a restore."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from support.commands import Command, inventorybot
from support.lived_days import INVARIANTS, Life, copied
from support.outside_world import (
    Row,
    World,
    make_history,
    make_items,
    retyped,
    write_day,
    write_locations,
    write_masters,
    write_products,
)

pytestmark = pytest.mark.deep

FIRST_DAY, HISTORY_DAYS = date(2024, 4, 28), 127
DISCONTINUED = "P04"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Live from a Tuesday to the Friday of the week after."""
    return ten_days(tmp_path_factory.mktemp("ten_days"), products=40)


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_after_each_of_ten_days(life: Life, invariant: str) -> None:
    assert life.broken[invariant] == []


def test_what_each_day_came_to(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    table = life.table()
    with capsys.disabled():
        print(f"\n{table}")
    assert len(table.splitlines()) == 1 + len(life.records) == 12


def ten_days(folder: Path, products: int) -> Life:
    """Live ten business days in a new home, a closed Sunday among them."""
    world = World(make_items(products, ("A", "B"), seed=13), seed=13)
    life = Life(folder / "home", world)
    opening(life)
    approvals_of_the_same_need(life)
    orders_before_the_run(life)
    mistyped = mistyped_dates(life)
    their_correction(life, *mistyped)
    a_late_feed_and_an_early_truck(life)
    after_a_closed_sunday(life)
    a_discontinued_product_and_a_killed_run(life)
    a_restored_store(life)
    an_ordinary_day(life)
    the_last_day(life)
    return life


def opening(life: Life) -> None:
    """Monday: the home is filled with four months of history and runs for the first time."""
    make_history(life.world, FIRST_DAY, HISTORY_DAYS)
    write_masters(life.landing, life.world.items, FIRST_DAY, HISTORY_DAYS)
    life.command("prepare")
    day = life.begin_day(FIRST_DAY + HISTORY_DAYS * DAY)
    life.deliver(*life.collect())
    life.run("run", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)


def approvals_of_the_same_need(life: Life) -> None:
    """Tuesday: every order is approved, and nothing else happens before the second run.

    The ERP orders half of what it pulls at once, the other half on the next morning.
    """
    day = life.begin_day(life.day + DAY)
    life.deliver(*life.collect())
    life.run("refresh", expected_day=day - DAY)
    approved = life.undecided()
    life.approve(approved)
    life.run("refresh", expected_day=day - DAY)
    life.check_nothing_more(approved)
    life.order(life.pull()[::2], hour=18)


def orders_before_the_run(life: Life) -> None:
    """Wednesday: the ERP orders at twenty to seven, and its lines are there when the home runs.

    What is approved in the evening is not pulled before Friday.
    """
    day = life.begin_day(life.day + DAY)
    life.order(life.pull(), hour=6)
    life.deliver(*life.collect())
    life.run("refresh", expected_day=day - DAY)
    life.plan()


def mistyped_dates(life: Life) -> tuple[Path, list[Row]]:
    """Thursday: one sale is dated ten days ahead, another a year; a twin of the home gets them as they were.

    Nobody decides or orders on this day.
    """
    twin = copied(life.home, life.home.parent / "twin")
    day = life.begin_day(life.day + DAY)
    rows, lines = life.collect()
    write_day(twin / "landing", f"{life.day}", rows, lines)
    sales = [row for row in rows if row["movement_type"] == "sale"]
    mistyped = [sales[3], sales[-3]]
    wrong = [retyped(mistyped[0], days=10), retyped(mistyped[1], days=365)]
    life.deliver([row for row in rows if row not in mistyped] + wrong, lines)
    life.run("refresh", expected_day=day - DAY)
    assert inventorybot(twin, "refresh").returncode == 0
    return twin, mistyped


def their_correction(life: Life, twin: Path, mistyped: list[Row]) -> None:
    """Friday: a higher revision puts the dates right.

    The ERP orders in the evening without telling its numbers: the lines name the proposals.
    """
    day = life.begin_day(life.day + DAY)
    rows, lines = life.collect()
    write_day(twin / "landing", f"{life.day}", rows, lines)
    life.deliver(rows + [row | {"revision": 1} for row in mistyped], lines)
    life.run("refresh", expected_day=day - DAY)
    assert inventorybot(twin, "refresh").returncode == 0
    life.check_correction(twin)
    life.plan()
    life.order(life.pull(), hour=18, tells=False)


def a_late_feed_and_an_early_truck(life: Life) -> None:
    """Saturday: one shop sends nothing yet, the other books a truck at six, and the ERP has cancelled an order."""
    ours = [line for line in life.world.lines.values() if line.proposal_id and not line.unloaded]
    cancelled, early = [line for line in ours if line.item.location_id == "A"][:2]
    life.world.cancel(cancelled.number)
    life.world.receive_early(early, life.day + DAY)
    day = life.begin_day(life.day + DAY)
    life.deliver(*life.collect(silent="B"))
    life.run("refresh", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)


def after_a_closed_sunday(life: Life) -> None:
    """Monday: nobody has booked anything since Saturday; the late feed is there, with a count that is mistaken.

    From here on the shops declare when their day ends, and send at midnight. In the evening the store is backed up.
    """
    item = life.world.items[7]
    life.world.book(item, "count", life.world.shelf[item.key] - 2, life.world.at(life.day, 20))
    write_locations(life.landing, "with_an_end_of_day", life.world.items, day_ends_at="20:30")
    life.feed_time = (0, 0)
    day = life.begin_day(life.day + 2 * DAY)
    life.deliver(*life.collect())
    life.run("run", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)
    life.back_up(life.home.parent / "backup")


def a_discontinued_product_and_a_killed_run(life: Life) -> None:
    """Tuesday: a product is ordered no longer, the count is put right, and the first run is killed."""
    count = next(row for row in reversed(life.told) if row["movement_type"] == "count")
    item = life.world.items[7]
    life.world.shelf[item.key] += 2
    day = life.begin_day(life.day + DAY)
    rows, lines = life.collect()
    life.deliver([*rows, count | {"revision": 1, "quantity_units": count["quantity_units"] + 2}], lines)
    write_products(life.landing, "discontinued", life.world.items, [DISCONTINUED])
    life.discontinued.add(DISCONTINUED)
    before = (life.home / "published" / "current.duckdb").readlink()
    killed = Command(life.home, "refresh")
    killed.wait_until("reporting ...")
    killed.kill()
    assert (life.home / "published" / "current.duckdb").readlink() == before
    life.run("refresh", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)


def a_restored_store(life: Life) -> None:
    """Wednesday: the store is lost; that of Monday evening takes its place."""
    life.restore(life.home.parent / "backup")
    day = life.begin_day(life.day + DAY)
    life.deliver(*life.collect())
    life.run("refresh", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)


def an_ordinary_day(life: Life) -> None:
    day = life.begin_day(life.day + DAY)
    life.deliver(*life.collect())
    life.run("run", expected_day=day - DAY)
    life.plan()
    life.order(life.pull(), hour=18)


def the_last_day(life: Life) -> None:
    """Friday: everything is approved before a second run, and every day is made again."""
    day = life.begin_day(life.day + DAY)
    life.order(life.pull(), hour=6)
    life.deliver(*life.collect())
    life.run("refresh", expected_day=day - DAY)
    approved = life.undecided()
    life.approve(approved)
    life.run("refresh", expected_day=day - DAY)
    life.check_nothing_more(approved)
    life.check_reproduced(*life.archived_days())
