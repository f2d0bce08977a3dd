"""Deliveries of master data and orders: what a full list lacks has ended, and a list that lacks much is held."""

import shlex
import sqlite3
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from orchestration.cli.main import cli
from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.errors import ContractError
from orchestration.ingest.formats import Format, load_formats
from orchestration.ingest.limits import FileRules
from orchestration.ingest.sql_sources import load_sources

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
HEADER = "sku,location_id,supplier_id,lead_time_days,unit_cost\n"
TEN = [f"H{number:02}" for number in range(10)]


class Home:
    """A landing folder and a raw folder, with a clock that an hour passes on between two arrivals."""

    def __init__(self, folder: Path) -> None:
        self.landing, self.raw = folder / "landing", folder / "raw"
        self.now = datetime(2026, 11, 23, 6, tzinfo=UTC)
        self.said: tuple[Format, ...] = ()

    def land(
        self, rows: list[str], name: str = "terms.csv", table: str = "supplier_terms", header: str = HEADER
    ) -> None:
        path = self.landing / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + "".join(f"{row}\n" for row in rows))

    def ingest(self, table: str = "supplier_terms", **options) -> ArrivalReport:
        self.now += timedelta(hours=1)
        given = {"landing": self.landing, "raw": self.raw, "ingested_at": self.now, "settle_seconds": 0, **options}
        return ingest_table(table, files=FileRules(formats=self.said), **given)

    def say(self, delivery: str | None = "full", files: str = "*", accepts: str | None = None) -> None:
        self.said = (*self.said, Format("supplier_terms", files, delivery=delivery, accepts=accepts))

    def ended(self, table: str = "supplier_terms") -> list[str]:
        """Return the skus of what has ended."""
        files = list(map(str, self.raw.glob(f"{table}/*/ended.parquet")))
        return [sku for (sku,) in duckdb.read_parquet(files).order("sku").project("sku").fetchall()] if files else []


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def terms(*skus: str, cost: int = 6) -> list[str]:
    return [f"{sku},W1,SUP1,7,{cost}" for sku in skus]


def code_of(report: ArrivalReport) -> str:
    assert report.failed is not None
    return report.failed.split("--accept ")[1][:8]


def test_what_a_file_no_longer_has_when_it_comes_again_has_ended(home):
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[2:]))
    report = home.ingest()
    assert (report.ended, report.failed, home.ended()) == (2, None, ["H00", "H01"])
    assert report.notices == ("supplier_terms: 2 rows ended, terms.csv lacks them (H00, W1, SUP1; H01, W1, SUP1)",)
    assert home.ingest().batches == ()


def test_what_ended_holds_again_when_it_comes_again(home):
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[1:]))
    home.ingest()
    home.land(terms(*TEN))
    report = home.ingest()
    assert (report.rows.accepted, report.rows.duplicate, report.ended) == (1, 9, 0)
    home.land([*terms(*TEN[1:]), "H99,W1,SUP1,7,6"])
    assert home.ingest().ended == 1


def test_a_file_of_another_name_adds_and_asks_where_it_looks_like_a_full_list(home):
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms("H77"), "more.csv")
    report = home.ingest()
    assert (report.ended, report.notices) == (0, ())
    home.land(terms(*TEN[1:], "H77", cost=7), "terms_2.csv")
    (asked,) = home.ingest().notices
    assert "terms_2.csv lacks 1 of 11 rows (H00, W1, SUP1), which still count" in asked
    assert "`inventorybot sources format supplier_terms --files terms_2.csv --delivery full`" in asked
    home.land(terms(*TEN[1:], "H77", cost=8), "it's [2]*.csv")
    (asked,) = home.ingest().notices
    pattern = shlex.split(asked.split("`")[1])[5]
    assert fnmatchcase("it's [2]*.csv", pattern) and not fnmatchcase("it's 2.csv", pattern)
    # Following it ends nothing that files of other names brought, and leaves them to be read.
    home.say("full", pattern)
    assert home.ingest().ended == 0
    home.land(terms(*TEN[2:], "H77", cost=8), "it's [2]*.csv")
    assert (home.ingest().ended, home.ended()) == (1, ["H01"])
    home.land(terms("H78"), "more.csv")
    assert home.ingest().rows.accepted == 1


def test_the_newest_of_dated_full_lists_counts_as_soon_as_somebody_says_that_they_are(home):
    home.land(terms(*TEN), "terms_2024-05-01.csv")
    home.ingest()
    home.land(terms(*TEN[1:]), "terms_2024-05-02.csv")
    assert home.ingest().ended == 0
    home.say("full")
    report = home.ingest()
    assert (report.ended, home.ended()) == (1, ["H00"])
    assert home.ingest().batches == ()
    home.land(terms(*TEN[2:]), "terms_2024-05-03.csv")
    home.ingest()
    assert home.ended() == ["H00", "H01"]


def test_a_full_list_that_a_newer_one_keeps_from_being_read_is_named(home):
    home.say("full")
    home.land(terms(*TEN), "north.csv")
    home.land(terms("H77"), "south.csv")
    (told,) = home.ingest().notices
    assert "north.csv was not read: south.csv is the newer full list" in told and "--files north.csv --delivery" in told
    home.say("full", "north.csv")
    report = home.ingest()
    assert (report.rows.accepted, report.ended, report.notices) == (10, 0, ())


def test_each_pattern_of_files_is_a_list_of_its_own(home):
    home.say("full", "north_*")
    home.say("full", "south_*")
    home.land(terms(*TEN[:5]), "north_1.csv")
    home.land(terms(*TEN[5:]), "south_1.csv")
    assert home.ingest().ended == 0
    home.land(terms(*TEN[:4]), "north_2.csv")
    home.ingest()
    assert home.ended() == ["H04"]


def test_a_full_list_that_lacks_more_than_a_fifth_is_held_until_somebody_confirms_these_rows(home):
    home.say("full")
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[5:], cost=9))
    held = home.ingest()
    assert (held.batches, held.ended) == ((), 0)
    assert "terms.csv lacks 5 of 10 rows (H00, W1, SUP1; H01, W1, SUP1; H02, W1, SUP1), more than 20%" in held.failed
    home.say(None, accepts=code_of(held))
    assert home.ingest().ended == 5
    # The confirmation was for those rows alone.
    home.land(terms(*TEN[8:], cost=9))
    assert home.ingest().failed is not None


def test_a_file_that_comes_again_with_little_of_what_it_had_is_no_full_list_and_asks(home):
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[5:], cost=9))
    report = home.ingest()
    assert (report.failed, report.ended, report.rows.accepted) == (None, 0, 5)
    assert "terms.csv lacks 5 of 10 rows" in report.notices[0] and "--delivery changes" in report.notices[0]
    home.say("changes")
    home.land(terms("H09", cost=10))
    assert home.ingest().notices == ()


def test_the_last_row_of_a_list_does_not_end_by_itself(home):
    home.say("full")
    home.land(terms("H00"))
    home.ingest()
    home.land([])
    assert home.ingest().failed is not None


def test_a_refused_row_is_not_missing_and_one_without_a_known_key_ends_nothing(home):
    home.land(terms(*TEN, "H10"))
    home.ingest()
    home.land([*terms(*TEN[2:], "H10"), "H00,W1,SUP1,soon,6"])
    report = home.ingest()
    assert (report.ended, home.ended()) == (1, ["H01"])
    home.land([*terms("H00", *TEN[3:], "H10"), "4.01E+12,W1,SUP1,7,6"])
    report = home.ingest()
    assert report.ended == 0 and "1 rows of it are refused and tell no known key" in report.notices[-1]


def test_master_data_that_carries_history_ends_only_where_somebody_declares_full_lists(home):
    header = "sku,product_name,category,unit_cost,unit_price\n"
    rows = [f"{sku},Name,food,4,10" for sku in TEN]
    home.land(rows, "products.csv", "products", header)
    home.ingest("products")
    home.land(rows[1:], "products.csv", "products", header)
    report = home.ingest("products")
    assert report.ended == 0 and "lacks 1 of 10 rows (H00), which still count" in report.notices[0]
    home.said = (Format("products", delivery="full"),)
    report = home.ingest("products")
    assert (report.ended, home.ended("products")) == (1, ["H00"])


def test_prices_that_were_over_before_the_list_begins_may_be_missing_from_it(home):
    header = "sku,location_id,from_date,to_date,unit_price\n"
    weeks = [f"A,,2024-05-{day:02},2024-05-{day + 6:02},9" for day in (1, 8, 15, 22)]
    home.land([*weeks, "B,,2024-05-22,2024-06-30,8"], "prices.csv", "prices", header)
    home.said = (Format("prices", delivery="full"),)
    home.ingest("prices")
    home.land(weeks[2:], "prices.csv", "prices", header)
    report = home.ingest("prices")
    assert (report.failed, report.notices) == (None, ("prices: 1 rows ended, prices.csv lacks them (B, , 2024-05-22)",))
    assert home.ended("prices") == ["A", "A", "B"]


def test_prices_that_still_run_do_not_end_by_the_list_of_the_next_week(home):
    header = "sku,location_id,from_date,to_date,unit_price\n"
    flyer = [f"{sku},,2026-11-{{}},{{}},9" for sku in TEN]
    home.land([row.format("23", "2026-11-29") for row in flyer], "promotions.csv", "prices", header)
    home.ingest("prices")
    next_week = [row.format("30", "2026-12-06") for row in flyer]
    home.land(next_week, "promotions.csv", "prices", header)
    report = home.ingest("prices")
    assert report.ended == 0 and "promotions.csv lacks 10 of 10 rows" in report.notices[0]
    home.now += timedelta(days=7)
    home.land([row.replace(",9", ",8") for row in next_week], "promotions.csv", "prices", header)
    assert (home.ingest("prices").ended, home.ended("prices")) == (10, TEN)


def test_a_correction_of_a_few_rows_that_nobody_declared_ends_nothing_and_asks(home):
    home.land(terms("H00", "H01"))
    home.ingest()
    home.land(terms("H00", cost=7))
    report = home.ingest()
    assert report.ended == 0 and "terms.csv lacks 1 of 2 rows (H01, W1, SUP1), which still count" in report.notices[0]
    home.say("full")
    report = home.ingest()
    assert (report.ended, home.ended()) == (1, ["H01"])


def test_a_code_serves_once(home):
    home.say("full")
    home.land(terms(*TEN))
    home.ingest()
    home.land(terms(*TEN[5:]))
    home.say(None, accepts=code_of(home.ingest()))
    assert home.ingest().ended == 5
    home.land(terms(*TEN))
    assert home.ingest().rows.accepted == 5
    home.land(terms(*TEN[5:]))
    assert home.ingest().failed is not None


def test_order_lines_that_are_closed_may_leave_the_list_of_open_ones(home):
    header = "purchase_order_id,line,supplier_id,sku,location_id,ordered_at,expected_date,ordered_units,status\n"
    line = "P{0},1,S,H0{0},W1,2024-05-01T08:00Z,2024-05-09,6,{1}".format
    lines = [line(number, "received") for number in range(6)] + [line(number, "open") for number in range(6, 9)]
    home.said = (Format("purchase_order_lines", delivery="full"),)
    home.land(lines, "lines.csv", "purchase_order_lines", header)
    home.ingest("purchase_order_lines")
    home.land(lines[7:], "lines.csv", "purchase_order_lines", header)
    assert (home.ingest("purchase_order_lines").ended, home.ended("purchase_order_lines")) == (1, ["H06"])


def test_a_query_without_a_cursor_is_a_full_list(home, tmp_path):
    database = tmp_path / "erp.db"
    connection = sqlite3.connect(database)
    connection.execute("create table terms (sku, location_id, supplier_id, lead_time_days, unit_cost)")
    connection.executemany("insert into terms values (?, 'W1', 'SUP1', 7, 6)", [(sku,) for sku in TEN])
    connection.commit()
    # What files brought before, the database speaks for from now on.
    home.land(terms("H00", "H77"))
    home.ingest()
    path = tmp_path / "sources.yml"
    declared = "sources: [{name: erp, table: supplier_terms, url: ERP, from: terms%s}]"
    path.write_text(declared % "")
    erp = load_sources(path, {"ERP": f"sqlite:///{database}"})
    home.ingest(sources=erp)
    connection.execute("delete from terms where sku = 'H00'")
    connection.commit()
    report = home.ingest(sources=erp)
    assert (report.ended, home.ended(), report.rows.duplicate) == (1, ["H00"], 9)
    assert home.ingest(sources=erp).batches == ()
    connection.execute("delete from terms where sku > 'H02'")
    connection.commit()
    held = home.ingest(sources=erp)
    assert "write `delivers: changes` for erp in sources.yml" in held.failed
    path.write_text(declared % ", delivers: changes")
    assert home.ingest(sources=load_sources(path, {"ERP": f"sqlite:///{database}"})).failed is None
    path.write_text(declared % ", cursor: sku, delivers: full")
    with pytest.raises(ContractError, match="what is past a cursor is no full list"):
        load_sources(path, {})
    connection.close()


def test_a_query_of_order_lines_is_a_full_list_only_where_that_is_declared(tmp_path):
    path = tmp_path / "sources.yml"
    declared = "sources: [{name: erp, table: purchase_order_lines, url: ERP, from: lines%s}]"
    full = []
    for said in ("", ", delivers: full"):
        path.write_text(declared % said)
        full += [source.is_full for source in load_sources(path, {})]
    assert full == [False, True]


def test_people_say_what_files_bring_and_the_home_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    said = ["sources", "format", "supplier_terms", "--author", "Ann"]
    assert CliRunner().invoke(cli, [*said, "--delivery", "full"]).exit_code == 0
    told = CliRunner().invoke(cli, [*said, "--accept", "3f2a9c1b"]).output
    assert told == "files supplier_terms/* are full lists, end the rows of code 3f2a9c1b (said by Ann)\n"
    assert load_formats(tmp_path / "formats.yml") == (
        Format("supplier_terms", "*", None, None, "Ann", "full", "3f2a9c1b"),
    )
    refused = CliRunner().invoke(cli, ["sources", "format", "reservations", "--delivery", "full"])
    assert refused.exit_code and "reservations always is a full list" in refused.output


def test_facts_and_snapshots_cannot_be_declared(home, tmp_path):
    path = tmp_path / "sources.yml"
    path.write_text("sources: [{name: pos, table: stock_movements, url: ERP, from: moves, delivers: full}]")
    with pytest.raises(ContractError, match="stock_movements has no rows that end"):
        load_sources(path, {})
