"""The end of a week lived in a small home: approvals, orders before the run, a mistyped date, a restored store."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.commands import inventorybot
from support.lived_days import INVARIANTS, Life, copied, read, recommendations
from support.outside_world import Item, Row, World, fold, retyped, write_day
from support.small_landing import DAYS, FIRST_DAY, MOVEMENT_COLUMNS, SKUS, movements

DAY = timedelta(days=1)
THURSDAY = (FIRST_DAY + (DAYS - 1) * DAY).date()


@pytest.fixture(scope="module")
def life(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Live the Friday and the Saturday after a home has run for the first time."""
    folder = tmp_path_factory.mktemp("week")
    life = moved_in(copied(trained_home, folder / "home"))
    saturday(life, *friday(life))
    return life


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_after_each_day(life: Life, invariant: str) -> None:
    assert life.broken[invariant] == []


def moved_in(home: Path) -> Life:
    """Return the life of a home that has run before."""
    told = [
        dict(zip(MOVEMENT_COLUMNS, row, strict=True)) | {"revision": 0, "reference": "", "quantity_units": int(row[7])}
        for row in movements()
    ]
    items = [
        Item(sku, "L1", "S1", daily_units=4.0, lead_days=5, pack=6, moq=12, cost=1.5, price=2.75)
        for sku in (*SKUS, "ginger")
    ]
    world = World(items, seed=13, closed_weekdays=(), zone=ZoneInfo("Europe/London"))
    world.shelf |= fold(told, world.at(THURSDAY + DAY, 0))
    life = Life(home, world)
    life.told += told
    apples = world.order(items[0], 24, world.at(THURSDAY - DAY, 10), number="P9")
    life.told_lines["P9"] = apples.row
    world.changed_lines([])
    return life


def friday(life: Life) -> tuple[Path, Row, list[Row]]:
    """One of the proposed orders is placed before the run, and a sale is dated ten days ahead.

    The store is backed up before the run. In the evening everything that waits is approved, pulled and ordered.

    Returns:
        A twin of the home that gets the right date; the sale; order lines that are not delivered yet.
    """
    day = life.begin_day(THURSDAY + DAY)
    life.approve(life.undecided())
    life.order(life.pull(), hour=6)
    life.back_up(life.home.parent / "backup")
    rows, lines = life.collect()
    twin = copied(life.home, life.home.parent / "twin")
    write_day(twin / "landing", f"{day}", rows, lines[:1])
    life.deliver([retyped(rows[0], days=10), *rows[1:]], lines[:1])
    life.run("refresh", expected_day=THURSDAY)
    life.approve(life.undecided())
    life.order(life.pull(), hour=18)
    return twin, rows[0], lines[1:]


def saturday(life: Life, twin: Path, mistyped: Row, late_lines: list[Row]) -> None:
    """The store is lost and that of Friday morning takes its place; a higher revision puts the date right."""
    life.restore(life.home.parent / "backup")
    day = life.begin_day(life.day + DAY)
    rows, lines = life.collect()
    write_day(twin / "landing", f"{day}", rows, late_lines + lines)
    life.deliver([*rows, mistyped | {"revision": 1}], late_lines + lines)
    life.run("refresh", expected_day=day - DAY)
    assert inventorybot(twin, "refresh").returncode == 0
    life.check_correction(twin)
    life.check_reproduced(*life.archived_days())


@pytest.fixture(scope="module")
def rejecting(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The home in which both of its orders are rejected and nothing else has happened yet when it runs again."""
    life = moved_in(copied(trained_home, tmp_path_factory.mktemp("rejecting") / "home"))
    friday = life.begin_day(THURSDAY + DAY)
    too_many, not_yet = sorted(life.undecided(), key=lambda made: made.sku == "ginger")
    life.reject([not_yet], "not yet", "--until", f"{friday}")
    life.reject([too_many], "too many", "--until-grows", "50")
    life.run("refresh", expected_day=THURSDAY - DAY)
    return life


def test_what_is_rejected_is_no_order_until_the_rejection_ends(rejecting: Life) -> None:
    life = rejecting
    with life.store() as store:
        made = {each.change_reason: each for each in store.proposals(state="rejected")}

    def rows() -> dict[str, Row]:
        found = recommendations(life.home)
        return {reason: found[each.sku, each.location_id] for reason, each in made.items()}

    for reason, row in rows().items():
        assert (row["status"], row["order_units"], row["order_by_date"]) == ("no_order", 0, None)
        assert f", less {made[reason].order_units.normalize():f} rejected by ann until " in row["reason"]
        assert f": {reason}." in row["reason"]
    listed = read(life.home, "select proposal_id from reporting.purchase_order_proposals where state = 'rejected'")
    assert {row["proposal_id"] for row in listed} == {each.proposal_id for each in made.values()}

    saturday = life.begin_day(life.day + DAY)
    life.deliver(*life.collect())
    life.run("refresh", expected_day=saturday - DAY)
    assert {reason: row["status"] for reason, row in rows().items()} == {"not yet": "order", "too many": "no_order"}
    assert [each.sku for each in life.undecided()] == [made["not yet"].sku]
    life.check_reproduced(*life.archived_days())
    assert dict(life.broken) == {}
