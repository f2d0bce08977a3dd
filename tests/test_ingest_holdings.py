"""What sources hold: a row ends when no source delivers it any more, whoever changed it last."""

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_ingest_deliveries import TEN, Home, terms

from orchestration.ingest.deliveries import questions_of_home
from orchestration.ingest.formats import Format, load_formats, save_format
from orchestration.ingest.quarantine import QuarantinedRow, withdraw
from orchestration.ingest.sql_sources import load_sources

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
PRICES = "sku,location_id,from_date,to_date,unit_price\n"
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("cost", [6, 7])
def test_a_row_of_two_files_ends_when_the_last_of_them_drops_it(home: Home, cost: int):
    home.land(terms(*TEN), "a.csv")
    home.land(terms("H00", *(f"J{number}" for number in range(10)), cost=cost), "b.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "a.csv")
    assert home.ingest().ended == 0
    home.land(terms(*(f"J{number}" for number in range(10)), cost=cost), "b.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_a_row_of_two_files_stays_with_the_one_that_did_not_change_it_last(home: Home):
    home.land(terms(*TEN), "a.csv")
    home.land(terms(*TEN, cost=7), "b.csv")
    home.ingest()
    home.land(terms(*TEN[1:], cost=7), "b.csv")
    assert home.ingest().ended == 0
    home.land(terms(*TEN[1:]), "a.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_two_files_with_the_same_content_both_deliver_it(home: Home):
    home.land(terms(*TEN), "a.csv")
    home.land(terms(*TEN), "b.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "a.csv")
    assert home.ingest().ended == 0


def test_what_a_file_of_changes_corrected_still_ends_by_its_list(home: Home):
    home.say("changes", "fix_*")
    home.land(terms(*TEN, "H10", "H11"))
    home.ingest()
    home.land(terms("H00", cost=9), "fix_1.csv")
    home.ingest()
    home.land(terms(*TEN[1:], "H10", "H11"))
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])
    # What changes bring after that, no list has ended.
    home.land(terms("H00", cost=8), "fix_2.csv")
    home.ingest()
    home.land(terms(*TEN[1:9], "H10", "H11"))
    assert (home.ingest().ended, home.ended()) == (1, ["H00", "H09"])


def test_a_renamed_file_goes_on_as_the_list_that_it_was(home: Home):
    home.land(terms(*TEN))
    home.ingest()
    folder = home.landing / "supplier_terms"
    (folder / "terms.csv").rename(folder / "erp.csv")
    assert home.ingest().batches == ()
    home.land(terms(*TEN[1:]), "erp.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_a_file_that_was_archived_after_it_was_read_is_followed_by_the_next_of_its_name(home: Home):
    home.land(terms(*TEN))
    home.ingest()
    folder = home.landing / "supplier_terms"
    (folder / "done").mkdir()
    (folder / "terms.csv").rename(folder / "done" / "terms.csv")
    assert home.ingest().batches == ()
    home.land(terms(*TEN[1:]))
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])
    assert home.ingest().batches == ()


def test_a_file_that_is_moved_aside_and_comes_back_changes_nothing(home: Home):
    home.land(terms(*TEN))
    home.ingest()
    path = home.landing / "supplier_terms" / "terms.csv"
    path.rename(home.landing.parent / "aside.csv")
    assert home.ingest().batches == ()
    (home.landing.parent / "aside.csv").rename(path)
    assert home.ingest().batches == ()
    home.land(terms(*TEN[1:]))
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


@pytest.mark.parametrize("first", [True, False])
def test_a_row_that_moves_to_another_file_has_not_ended(home: Home, first: bool):
    north, south = terms(*TEN), terms(*(f"J{number}" for number in range(10)))
    home.land(north if first else south, "1.csv")
    home.land(south if first else north, "2.csv")
    home.ingest()
    home.land(north[1:] if first else [*south, north[0]], "1.csv")
    home.land([*south, north[0]] if first else north[1:], "2.csv")
    assert (home.ingest().ended, home.ended()) == (0, [])
    # It is of the other file now.
    home.land(south, "2.csv" if first else "1.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_rows_that_two_files_exchange_have_not_ended(home: Home):
    home.land(terms(*TEN), "1.csv")
    home.land(terms(*(f"J{number}" for number in range(10))), "2.csv")
    home.ingest()
    home.land(terms(*TEN[1:], "J0"), "1.csv")
    home.land(terms(*(f"J{number}" for number in range(1, 10)), "H00"), "2.csv")
    assert (home.ingest().ended, home.ended()) == (0, [])


def test_each_of_two_declared_lists_keeps_what_the_other_drops(home: Home):
    home.say("full", "north_*")
    home.say("full", "south_*")
    home.land(terms(*TEN), "north_1.csv")
    home.land(terms(*TEN), "south_1.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "north_2.csv")
    assert home.ingest().ended == 0
    home.land(terms(*TEN[1:]), "south_2.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_rows_of_files_that_a_wider_declaration_takes_in_end_by_it(home: Home):
    home.say("full", "north_*")
    home.land(terms(*TEN[:9]), "north_1.csv")
    home.land(terms("H09"), "south_1.csv")
    home.ingest()
    home.say("full", "*")
    home.land(terms(*TEN[:9]), "terms_2.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H09"])


def test_a_query_holds_what_a_file_brought_first_and_commits_nothing_twice(home: Home, tmp_path: Path):
    database, path = tmp_path / "erp.db", tmp_path / "sources.yml"
    connection = sqlite3.connect(database)
    connection.execute("create table terms (sku, location_id, supplier_id, lead_time_days, unit_cost)")
    connection.executemany("insert into terms values (?, 'W1', 'SUP1', 7, 6)", [*((sku,) for sku in TEN), (None,)])
    connection.commit()
    path.write_text("sources: [{name: erp, table: supplier_terms, url: ERP, from: terms}]")
    erp = load_sources(path, {"ERP": f"sqlite:///{database}"})
    assert home.ingest(sources=erp).rows.accepted == 10
    assert home.ingest(sources=erp).batches == ()
    home.land(terms(*TEN, "H77"))
    home.ingest(sources=erp)
    # The query has it too by now, and so has not lost it when the file has.
    connection.execute("insert into terms values ('H77', 'W1', 'SUP1', 7, 6)")
    connection.commit()
    home.ingest(sources=erp)
    home.land(terms(*TEN))
    assert home.ingest(sources=erp).ended == 0
    connection.close()


def test_a_home_from_before_sources_held_rows_goes_on(home: Home):
    home.land(terms(*TEN))
    home.land(terms("H77"), "more.csv")
    home.ingest()
    for path in home.raw.glob("*/*/keys.parquet"):
        path.unlink()
    home.land(terms(*TEN[1:]))
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_an_older_list_that_is_read_late_changes_nothing_and_says_so(home: Home):
    home.say("full")
    home.land(terms(*TEN[1:]), "terms_10.csv")
    home.ingest()
    (home.landing / "supplier_terms" / "terms_10.csv").unlink()
    home.land(terms(*TEN, cost=5), "terms_9.csv")
    report = home.ingest()
    assert report.batches == ()
    assert "terms_9.csv was not read, and changes nothing: terms_10.csv" in report.notices[0]
    assert "is the newer full list, by its name" in report.notices[0]
    # The remedy.
    (home.landing / "supplier_terms" / "terms_9.csv").rename(home.landing / "supplier_terms" / "terms_11.csv")
    assert home.ingest().rows.accepted == 10


@pytest.mark.parametrize("declared", [True, False])
def test_of_one_name_the_list_that_was_written_later_counts(home: Home, declared: bool):
    if declared:
        home.say("full")
    home.land(terms(*TEN[1:]))
    home.ingest()
    home.land(terms(*TEN, cost=5))
    os.utime(home.landing / "supplier_terms" / "terms.csv", (1, 1))
    report = home.ingest()
    assert report.batches == () and "newer full list, by the time it was written" in report.notices[0]
    home.land(terms(*TEN, cost=5))
    assert home.ingest().rows.accepted == 10


def test_lists_of_two_declarations_may_have_the_same_content(home: Home):
    home.say("full", "north_*")
    home.say("full", "south_*")
    home.land(terms(*TEN), "north_1.csv")
    home.land(terms(*TEN, "J0"), "south_1.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "north_2.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "south_2.csv")
    assert (home.ingest().ended, home.ended()) == (2, ["H00", "J0"])


def test_what_is_over_is_told_by_the_business_day(home: Home):
    """The data is of 2011; the flyer that a list of later weeks leaves out still runs then."""
    home.said = (Format("prices", delivery="full"),)
    moved = [f"pos,D{day},1,2011-11-{day:02}T12:00:00Z,A,W1,sale,-1" for day in range(1, 21)]
    home.land(moved, "moved.csv", "stock_movements", MOVEMENTS)
    home.ingest("stock_movements")
    weeks = [f"A,,2011-11-{day:02},2011-11-{day + 6:02},9" for day in (7, 14, 21)]
    home.land(weeks, "prices_1.csv", "prices", PRICES)
    home.ingest("prices")
    home.land(weeks[2:], "prices_2.csv", "prices", PRICES)
    # The first week is over, the second ends with the 20th, which is under way.
    assert home.ingest("prices").notices == ("prices: 1 rows ended, prices_2.csv lacks them (A, , 2011-11-14)",)


def test_what_is_over_by_now_waits_for_movements_that_come_a_day_later(home: Home):
    home.now = datetime(2011, 11, 21, 6, tzinfo=UTC)
    home.said = (Format("prices", delivery="full"),)
    moved = [f"pos,D{day},1,2011-11-{day:02}T12:00:00Z,A,W1,sale,-1" for day in range(1, 20)]
    home.land(moved, "moved.csv", "stock_movements", MOVEMENTS)
    home.ingest("stock_movements")
    flyers = [f"{sku},,2011-11-{{}},2011-11-{{}},9" for sku in TEN]
    home.land([row.format("14", "20") for row in flyers], "prices_1.csv", "prices", PRICES)
    home.ingest("prices")
    home.land([row.format("21", "27") for row in flyers], "prices_2.csv", "prices", PRICES)
    report = home.ingest("prices")
    assert (report.failed, report.ended, report.notices) == (None, 0, ())
    more = [f"pos,D{day},1,2011-11-{day:02}T12:00:00Z,A,W1,sale,-1" for day in range(20, 24)]
    home.land(more, "moved_2.csv", "stock_movements", MOVEMENTS)
    home.ingest("stock_movements")
    home.land(
        [row.format("28", "30") for row in flyers] + [row.format("21", "27") for row in flyers],
        "prices_3.csv",
        "prices",
        PRICES,
    )
    assert home.ingest("prices").ended == 10


def test_a_question_stands_until_somebody_answers_it(home: Home):
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[1:], cost=7), "terms_2.csv")
    (asked,) = home.ingest().notices
    assert home.ingest().notices == (asked,)
    assert questions_of_home(home.raw, home.said) == [asked]
    home.say("changes", "terms_2.csv")
    assert home.ingest().notices == ()
    assert questions_of_home(home.raw, home.said) == []


def test_to_accept_leaves_the_order_of_patterns(tmp_path: Path):
    path = tmp_path / "formats.yml"
    save_format(path, Format("supplier_terms", "*", decimal="comma", delivery="full"))
    save_format(path, Format("supplier_terms", "north_*", delivery="changes", accepts="aaaaaaaa"))
    before = load_formats(path)
    kept = save_format(path, Format("supplier_terms", "*", accepts="bbbbbbbb"))
    assert [one.files for one in kept] == [one.files for one in before] == ["*", "north_*"]
    assert kept[0].delivery == "full" and kept[0].accepts == "bbbbbbbb"
    save_format(path, Format("supplier_terms", "*", accepts="cccccccc"))
    assert load_formats(path)[0].accepted == ("bbbbbbbb", "cccccccc")
    # Another answer for all files is later for what it says alone.
    kept = save_format(path, Format("supplier_terms", "*", decimal="point"))
    assert [(one.files, one.decimal, one.delivery) for one in kept] == [
        ("*", None, "full"),
        ("north_*", None, "changes"),
        ("*", "point", None),
    ]


def test_a_code_is_accepted_whatever_pattern_it_was_said_of(home: Home):
    home.say("full", "*")
    home.say("full", "north_*", accepts="aaaaaaaa")
    home.land(terms(*TEN), "north_1.csv")
    home.ingest()
    home.land(terms(*TEN[5:]), "north_2.csv")
    failed = home.ingest().failed
    assert failed is not None
    code = failed.split("--accept ")[1][:8]
    home.said = (Format("supplier_terms", "*", delivery="full", accepts=code), home.said[1])
    assert home.ingest().ended == 5


def test_a_row_that_only_a_file_holds_that_is_not_sent_any_more_is_told_until_that_file_is_retired(home: Home):
    home.land(terms(*TEN), "a.csv")
    home.land(terms("H00", *(f"J{number}" for number in range(10))), "b.csv")
    home.ingest()
    (home.landing / "supplier_terms" / "b.csv").unlink()
    home.land(terms(*TEN[1:]), "a.csv")
    report = home.ingest()
    assert report.ended == 0 and "1 rows that a.csv lacks (H00, W1, SUP1) still count, as b.csv" in report.notices[0]
    assert "`inventorybot sources format supplier_terms --files b.csv --delivery changes`" in report.notices[0]
    home.say("changes", "b.csv")
    home.land(terms(*TEN[1:], cost=7), "a.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])


def test_a_sql_source_that_is_declared_no_more_holds_nothing(home: Home, tmp_path: Path):
    database, path = tmp_path / "erp.db", tmp_path / "sources.yml"
    connection = sqlite3.connect(database)
    connection.execute("create table terms (sku, location_id, supplier_id, lead_time_days, unit_cost)")
    connection.executemany("insert into terms values (?, 'W1', 'SUP1', 7, 6)", [(sku,) for sku in TEN])
    connection.commit()
    sources = []
    for name in ("erp", "erp_2"):
        path.write_text(f"sources: [{{name: {name}, table: supplier_terms, url: ERP, from: terms}}]")
        sources.append(load_sources(path, {"ERP": f"sqlite:///{database}"}))
        home.ingest(sources=sources[-1])
    connection.execute("delete from terms where sku = 'H00'")
    connection.commit()
    assert (home.ingest(sources=sources[1]).ended, home.ended()) == (1, ["H00"])
    connection.close()


def test_an_unchanged_list_that_was_not_read_again_is_not_named(home: Home):
    home.say("full", "terms_*")
    for day, cost in ((1, 6), (2, 6), (3, 7)):
        home.land(terms(*TEN, cost=cost), f"terms_{day}.csv")
        report = home.ingest()
    assert (report.rows.accepted, report.notices, home.ingest().notices) == (10, (), ())


def test_a_row_whose_latest_version_was_withdrawn_still_ends(home: Home):
    home.say("full")
    home.land(terms(*TEN))
    home.ingest()
    home.land([*terms(*TEN[1:]), "H00,W1,SUP1,7,99"])
    (manifest,) = home.ingest().batches
    row = QuarantinedRow("supplier_terms", manifest.batch_id, "terms.csv", 11, "", "unknown_sku", "", "waiting")
    home.now += timedelta(hours=1)
    withdraw(home.raw, home.landing, row, corrections={}, ingested_at=home.now, reason="a slip")
    home.land(terms(*TEN[1:]))
    assert (home.ingest().ended, home.ended()) == (1, ["H00"])
