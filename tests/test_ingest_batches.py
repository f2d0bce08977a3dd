"""Arrival batches: what is new, what is committed, what is remembered."""

import json
import os
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.contract import LINEAGE_COLUMNS, load_contract, table_named
from orchestration.ingest.errors import IngestError
from orchestration.ingest.expectations import validate
from orchestration.ingest.manifests import ledger_watermark, read_manifests, rejected_files
from orchestration.ingest.staging import Events
from orchestration.ingest.validator import QUARANTINE_COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
PRODUCTS = "sku,product_name,category,unit_cost,unit_price\n"
RESERVATIONS = "sku,location_id,document,reserved_units\n"
TABLES = [pytest.param(table, id=table.name) for table in load_contract()]


class Home:
    """A landing folder and a raw folder, with a clock that an hour passes on between two arrivals."""

    def __init__(self, folder: Path) -> None:
        self.landing, self.raw, self.now = folder / "landing", folder / "raw", MORNING

    def land(self, table: str, name: str, text: str) -> Path:
        path = self.landing / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def ingest(self, table: str, **options) -> ArrivalReport:
        self.now += timedelta(hours=1)
        given = {"landing": self.landing, "raw": self.raw, "ingested_at": self.now, "settle_seconds": 0, **options}
        return ingest_table(table, **given)

    def rows(self, table: str, columns: str = "*", file: str = "accepted") -> list[tuple]:
        return duckdb.sql(f"select {columns} from '{self.raw}/{table}/*/{file}.parquet' order by all").fetchall()


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def sale(document: str, units: str = "-1", sku: str = "A") -> str:
    return f"pos,{document},1,2011-12-01T10:00:00Z,{sku},UKN,sale,{units}\n"


# --- what is new


def test_the_same_file_twice_is_taken_in_once(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    assert len(home.ingest("stock_movements").batches) == 1
    assert home.ingest("stock_movements").batches == ()


def test_the_same_content_under_another_name_is_nothing_new(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1"))
    assert home.ingest("stock_movements").batches == ()


def test_two_copies_of_a_file_at_once_are_taken_in_once(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1"))
    rows = home.ingest("stock_movements").rows
    assert (rows.rows_in, rows.accepted) == (1, 1)


def test_a_touched_file_is_nothing_new(home):
    path = home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    os.utime(path)
    assert home.ingest("stock_movements").batches == ()


def test_a_file_changed_in_place_with_its_old_time_is_noticed(home):
    path = home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    before = path.stat()
    home.ingest("stock_movements")
    path.write_text(MOVEMENTS + sale("2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert home.ingest("stock_movements").rows.accepted == 1


def test_a_file_that_grew_brings_only_its_new_rows(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2"))
    rows = home.ingest("stock_movements").rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


@pytest.mark.parametrize("name", ["a.csv.tmp", "a.csv.part", "a.parquet.crdownload", "a.csv~"])
def test_a_file_with_an_unfinished_name_waits(home, name):
    home.land("stock_lots", name, "sku")
    report = home.ingest("stock_lots")
    assert (report.waiting, report.batches) == ((name,), ())


def test_a_file_that_grows_while_it_is_looked_at_waits(home):
    path = home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    pid = os.fork()
    if pid == 0:
        for _ in range(100):
            with path.open("a") as file:
                file.write(sale("2"))
            os.sched_yield()
            time.sleep(0.02)
        os._exit(0)
    report = home.ingest("stock_movements", settle_seconds=0.5)
    os.waitpid(pid, 0)
    assert report.waiting == ("a.csv",)
    assert report.batches == ()


def test_hidden_files_templates_and_licences_are_no_files_of_a_table(home):
    for name in (".DS_Store", "stock_lots.csv.template", "README.md", "LICENSE"):
        home.land("stock_lots", name, "x")
    report = home.ingest("stock_lots")
    assert (report.notices, report.rejected, report.waiting) == ((), (), ())


def test_a_workbook_is_named_with_what_to_do(home):
    home.land("stock_lots", "lots.xlsx", "x")
    (notice,) = home.ingest("stock_lots").notices
    assert (
        notice
        == "stock_lots/lots.xlsx is neither CSV nor Parquet and was not read: save it as lots.csv or lots.parquet"
    )


def test_a_folder_named_almost_like_a_table_is_pointed_out(home):
    home.land("stock_movement", "a.csv", "x")
    home.land("truth", "a.csv", "x")
    assert home.ingest("stock_lots").notices == ()
    (notice,) = home.ingest("stock_movements").notices
    assert notice.endswith("stock_movement is not a raw table and was not read: rename it to stock_movements?")


def test_a_file_beside_the_folder_of_its_table_is_pointed_out(home):
    home.land("", "stock_lots.csv", "x")
    home.land("", "README.md", "x")
    (notice,) = home.ingest("stock_lots").notices
    assert notice.endswith("stock_lots.csv lies in no table's folder and was not read: move it into stock_lots/?")


# --- facts


def test_facts_of_two_batches_are_both_there(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("2"))
    home.ingest("stock_movements")
    assert home.rows("stock_movements", "document, source_file") == [("1", "a.csv"), ("2", "b.csv")]


def test_a_fact_that_came_before_is_a_duplicate_whatever_file_it_is_in(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1") + sale("2"))
    rows = home.ingest("stock_movements").rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


def test_a_fact_that_came_before_with_other_content_is_a_conflict_that_names_it(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    batch_id = home.ingest("stock_movements").batches[0].batch_id
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1", "-2"))
    assert home.ingest("stock_movements").quarantined_by_rule == {"conflict": 1}
    ((reason, text),) = home.rows("stock_movements", "reason, original_text", "quarantined")
    assert f"batch {batch_id} (a.csv, row 2)" in reason
    assert text == sale("1", "-2").strip()


def test_a_conflict_does_not_hide_a_duplicate_behind_it(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements")
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1", "-2") + sale("1"))
    rows = home.ingest("stock_movements").rows
    assert (rows.accepted, rows.duplicate, rows.quarantined) == (0, 1, 1)


def test_every_order_of_arrival_accepts_the_same_facts(home, tmp_path):
    texts = [MOVEMENTS + sale("1") + sale("2"), MOVEMENTS + sale("2") + sale("3"), MOVEMENTS + sale("3") + sale("1")]
    found = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        other = Home(tmp_path / "-".join(map(str, order)))
        for number in order:
            other.land("stock_movements", f"{number}.csv", texts[number])
            other.ingest("stock_movements")
        found.append(other.rows("stock_movements", "document, quantity_units"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


# --- versions


def product(sku: str, price: str) -> str:
    return f"{sku},Lamp,homeware,1.20,{price}\n"


def test_a_changed_row_is_a_new_version_and_an_equal_one_a_duplicate(home):
    home.land("products", "a.csv", PRODUCTS + product("A", "2.00") + product("B", "3.00"))
    home.ingest("products")
    home.land("products", "b.csv", PRODUCTS + product("A", "2.50") + product("B", "3.00"))
    rows = home.ingest("products").rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


@pytest.mark.parametrize(
    ("table", "column", "header", "row"),
    [
        ("products", "case_pack_units", PRODUCTS, lambda name: product(name, "2.00")),
        ("stock_movements", "lot_id", MOVEMENTS, sale),
    ],
)
def test_batches_from_before_a_column_was_in_the_contract_are_compared_too(home, table, column, header, row):
    home.land(table, "a.csv", header + row("A"))
    home.ingest(table)
    (batch,) = home.raw.glob(f"{table}/*/accepted.parquet")
    duckdb.sql(f"copy (select * exclude ({column}) from read_parquet('{batch}')) to '{batch}.older' (format parquet)")
    batch.with_name("accepted.parquet.older").replace(batch)
    home.land(table, "b.csv", header + row("A") + row("B"))
    rows = home.ingest(table).rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


@pytest.mark.parametrize("names", [["a.csv"] * 3, ["1.csv", "2.csv", "3.csv"]], ids=["same name", "other names"])
def test_a_file_that_goes_back_to_an_earlier_price_is_a_version_too(home, names):
    for name, price in zip(names, ["2.00", "2.50", "2.00"], strict=True):
        home.land("products", name, PRODUCTS + product("A", price))
        assert home.ingest("products").rows.accepted == 1
    assert home.rows("products", "arg_max(unit_price, batch_id)::varchar") == [("2.0000",)]


def test_files_that_lie_side_by_side_are_not_taken_in_again(home):
    home.land("products", "1.csv", PRODUCTS + product("A", "2.00"))
    home.land("products", "2.csv", PRODUCTS + product("A", "2.50"))
    home.ingest("products")
    assert home.ingest("products").batches == ()


def test_a_renamed_file_of_versions_is_not_a_later_arrival(home):
    path = home.land("products", "1.csv", PRODUCTS + product("A", "2.00"))
    home.land("products", "2.csv", PRODUCTS + product("A", "2.50"))
    home.ingest("products")
    path.rename(path.with_name("old.csv"))
    assert home.ingest("products").batches == ()


def test_several_files_of_versions_are_several_batches_in_the_order_of_their_names(home):
    home.land("products", "2.csv", PRODUCTS + product("A", "2.50"))
    home.land("products", "1.csv", PRODUCTS + product("A", "2.00"))
    report = home.ingest("products")
    assert [batch.files[0].name for batch in report.batches] == ["1.csv", "2.csv"]
    assert [batch.batch_id for batch in report.batches] == sorted(batch.batch_id for batch in report.batches)
    latest = home.rows("products", "arg_max(unit_price, batch_id)::varchar")
    assert latest == [("2.5000",)]


# --- snapshots


def test_a_snapshot_batch_holds_every_file_present(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,5\n")
    home.ingest("reservations")
    home.land("reservations", "b.csv", RESERVATIONS + "B,UKN,2,6\n")
    report = home.ingest("reservations")
    assert report.rows.accepted == 2
    assert "2 files together are the whole list" in report.notices[0]


def test_an_unchanged_snapshot_is_nothing_new(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,5\n")
    home.ingest("reservations")
    assert home.ingest("reservations").batches == ()


def test_an_empty_snapshot_empties_the_list(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,5\n")
    home.ingest("reservations")
    home.land("reservations", "a.csv", RESERVATIONS)
    report = home.ingest("reservations")
    assert (len(report.batches), report.table_rows, report.failed) == (1, 0, None)


def test_a_snapshot_that_returns_to_an_earlier_list_is_new(home):
    for units, count in (("5", 1), ("6", 2), ("5", 3)):
        home.land("reservations", "a.csv", f"{RESERVATIONS}A,UKN,1,{units}\n")
        home.ingest("reservations")
        assert len(read_manifests(home.raw / "reservations")) == count


def test_a_snapshot_of_bad_rows_only_leaves_the_list_before(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,5\n")
    home.ingest("reservations")
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,-5\n")
    report = home.ingest("reservations")
    assert "none of 1 rows was accepted, so the list before stays (a.csv, row 2: reserved_units is -5" in report.failed
    assert (report.batches, report.table_rows) == ((), 1)


def test_a_snapshot_with_an_unreadable_file_leaves_the_list_before(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,5\n")
    home.ingest("reservations")
    home.land("reservations", "b.csv", "what\n1\n")
    report = home.ingest("reservations")
    assert (report.batches, report.table_rows) == ((), 1)
    assert "reservations/b.csv lacks the columns" in report.rejected[0].reason


# --- batches


@pytest.mark.parametrize("table", TABLES)
def test_a_table_without_files_has_one_empty_batch_with_the_columns_of_the_contract(home, table):
    home.ingest(table.name)
    home.ingest(table.name)
    (folder,) = (home.raw / table.name).iterdir()
    wanted = [(c.name, c.data_type) for c in table.columns] + list(LINEAGE_COLUMNS)
    described = duckdb.sql(f"describe from '{folder}/accepted.parquet'").fetchall()
    assert [(name, kind.lower()) for name, kind, *_ in described] == wanted
    described = duckdb.sql(f"describe from '{folder}/quarantined.parquet'").fetchall()
    assert [(name, kind.lower()) for name, kind, *_ in described] == list(QUARANTINE_COLUMNS)


def test_a_batch_is_named_after_its_instant(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest("stock_movements", ingested_at=datetime(2026, 11, 23, 5, 46, 12, 123456, tzinfo=UTC))
    assert [path.name for path in (home.raw / "stock_movements").iterdir()] == ["20261123T054612.123456Z"]


def test_a_clock_that_goes_back_does_not_reorder_batches(home):
    home.land("products", "1.csv", PRODUCTS + product("A", "2.00"))
    home.ingest("products")
    home.land("products", "2.csv", PRODUCTS + product("A", "2.50"))
    home.ingest("products", ingested_at=MORNING - timedelta(days=1))
    assert [m.files[0].name for m in read_manifests(home.raw / "products")] == ["1.csv", "2.csv"]


def test_rows_say_where_they_came_from(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2"))
    report = home.ingest("stock_movements")
    found = home.rows("stock_movements", "document, batch_id, epoch_us(ingested_at), source_file, source_row")
    instant = int(home.now.timestamp() * 1e6)
    batch_id = report.batches[0].batch_id
    assert found == [("1", batch_id, instant, "a.csv", 2), ("2", batch_id, instant, "a.csv", 3)]


def test_rows_in_are_accepted_duplicate_and_quarantined_rows(home):
    home.land(
        "stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("1") + sale("1", "-2") + sale("2", "x") + "pos,3\n"
    )
    rows = home.ingest("stock_movements").rows
    assert (rows.rows_in, rows.accepted, rows.duplicate, rows.quarantined) == (5, 1, 1, 3)


def test_every_file_has_its_own_counts_in_the_manifest(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1") + sale("2", "x"))
    (batch,) = home.ingest("stock_movements").batches
    assert [(f.name, f.outcome, f.rows.accepted, f.rows.duplicate, f.rows.quarantined) for f in batch.files] == [
        ("a.csv", "processed", 1, 0, 0),
        ("b.csv", "partly_quarantined", 0, 1, 1),
    ]


def test_a_manifest_is_read_as_it_was_written(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    report = home.ingest("stock_movements")
    assert tuple(read_manifests(home.raw / "stock_movements")) == report.batches


def test_a_manifest_of_the_first_version_says_its_channel_too(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    (made,) = home.ingest("stock_movements").batches
    path = home.raw / "stock_movements" / made.batch_id / "manifest.json"
    path.write_text(path.read_text().replace('"channel": "landing"', '"door": "landing"'))
    assert read_manifests(home.raw / "stock_movements") == [made]


def test_what_was_accepted_satisfies_great_expectations(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2", "5"))
    report = home.ingest("stock_movements")
    assert validate(table_named("stock_movements"), report.accepted).success


def test_a_glob_over_batches_never_meets_one_that_is_being_prepared(home):
    home.ingest("stock_lots")
    prepared = home.raw / ".arriving" / "stock_lots" / "20261123T000000.000000Z.1" / "batch"
    prepared.mkdir(parents=True)
    (prepared / "accepted.parquet").write_text("half")
    found = duckdb.sql(f"select file from glob('{home.raw}/*/*/accepted.parquet')").fetchall()
    assert len(found) == 1


def test_what_a_killed_process_left_is_removed(home):
    left = home.raw / ".arriving" / "stock_lots" / "20261123T000000.000000Z.1"
    left.mkdir(parents=True)
    home.ingest("stock_lots")
    assert not left.exists()
    assert [path.name for path in left.parent.iterdir()] == ["lock"]


# --- required tables and rejected files


def test_a_required_table_without_files_fails_and_says_where_to_put_one(home):
    report = home.ingest("products")
    assert report.failed.startswith("products has no rows and nothing can be computed without it: put a CSV or Parquet")
    assert str(home.landing / "products") in report.failed
    assert "sku, product_name, category, unit_cost, unit_price" in report.failed


def test_an_optional_table_without_files_does_not_fail(home):
    assert home.ingest("prices").failed is None


def test_a_required_table_whose_only_file_is_unreadable_fails_with_the_reason(home):
    home.land("products", "a.csv", "skuu,product_name,category,unit_cost,unit_price\n")
    report = home.ingest("products")
    assert "products/a.csv lacks the column sku (rename skuu?)" in report.failed


def test_a_required_table_whose_first_rows_are_all_bad_fails_and_keeps_nothing(home):
    home.land("products", "a.csv", PRODUCTS + product("A", "-1"))
    report = home.ingest("products")
    assert "products would have 0 rows" in report.failed and "a.csv, row 2: unit_price is -1" in report.failed
    assert report.batches == ()


def test_a_bad_delivery_leaves_the_accepted_state(home):
    home.land("products", "a.csv", PRODUCTS + product("A", "1"))
    home.ingest("products")
    home.land("products", "b.csv", PRODUCTS + product("B", "-1"))
    report = home.ingest("products")
    assert (report.failed, report.table_rows, report.rows.quarantined) == (None, 1, 1)


def test_an_unreadable_file_is_told_again_until_it_is_gone_and_not_read_again(home):
    path = home.land("products", "b.csv", "what\n1\n")
    home.land("products", "a.csv", PRODUCTS + product("A", "1"))
    assert len(home.ingest("products").rejected) == 1
    report = home.ingest("products")
    assert (len(report.rejected), report.batches) == (1, ())
    path.unlink()
    assert home.ingest("products").rejected == ()


def test_a_repaired_file_is_taken_in(home):
    home.land("products", "a.csv", "what\n1\n")
    home.ingest("products")
    home.land("products", "a.csv", PRODUCTS + product("A", "1"))
    report = home.ingest("products")
    assert (report.rejected, report.table_rows, report.failed) == ((), 1, None)


def test_a_file_counts_as_rejected_until_it_is_taken_in(home):
    home.land("products", "a.csv", "what\n1\n")
    home.ingest("products")
    assert [(table, file.name) for table, file in rejected_files(home.raw)] == [("products", "a.csv")]
    home.land("products", "a.csv", PRODUCTS + product("A", "1"))
    home.ingest("products")
    assert rejected_files(home.raw) == []


def test_a_readable_file_goes_on_beside_an_unreadable_one(home):
    home.land("stock_movements", "a.csv", "what\n1\n")
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1"))
    report = home.ingest("stock_movements")
    assert (report.rows.accepted, [file.name for file in report.rejected]) == (1, ["a.csv"])


# --- the online store


def movement(sequence: int, document: str = "1", units: str = "-1") -> dict:
    values = ["pos", document, 1, "2011-12-01T10:00:00Z", "A", "UKN", "sale", units]
    return {**dict(zip(MOVEMENTS.strip().split(","), values, strict=True)), "sequence": sequence}


def test_movements_of_the_online_store_become_a_batch_with_a_watermark(home):
    home.ingest("stock_movements", events=Events([movement(3), movement(5, "2")], 1, 7))
    assert ledger_watermark(home.raw) == 7
    assert home.rows("stock_movements", "source_file, source_row") == [("online_store", 3), ("online_store", 5)]


def test_a_range_without_movements_moves_the_watermark(home):
    home.ingest("stock_movements", events=Events([movement(1)], 1, 1))
    home.ingest("stock_movements", events=Events([], 2, 9))
    assert ledger_watermark(home.raw) == 9


def test_the_watermark_of_an_empty_home_is_zero(home):
    assert ledger_watermark(home.raw) == 0


def test_movements_delivered_twice_are_duplicates(home):
    home.ingest("stock_movements", events=Events([movement(1)], 1, 1))
    assert home.ingest("stock_movements", events=Events([movement(1)], 1, 1)).rows.duplicate == 1


def test_a_movement_that_breaks_a_rule_is_quarantined_with_its_sequence(home):
    home.ingest("stock_movements", events=Events([movement(4, units="5"), movement(5, "2")], 4, 5))
    ((file, row, text),) = home.rows("stock_movements", "source_file, source_row, original_text", "quarantined")
    assert (file, row) == ("online_store", 4)
    assert json.loads(text)["quantity_units"] == "5"


def test_a_second_channel_for_a_source_is_refused_with_an_explanation(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2").replace("pos", "wms"))
    asked = []

    def claim(sources, channel):
        asked.append((sources, channel))
        return {"pos": "source 'pos' comes by online_store"}

    report = home.ingest("stock_movements", claim=claim)
    assert asked == [(frozenset({"pos", "wms"}), "landing")]
    assert (report.rows.accepted, report.quarantined_by_rule) == (1, {"second_channel": 1})
    assert home.rows("stock_movements", "reason", "quarantined") == [("source 'pos' comes by online_store",)]


def test_the_online_store_is_not_asked_for_its_own_sources(home):
    def claim(sources, channel):
        raise AssertionError(channel)

    assert home.ingest("stock_movements", events=Events([movement(1)], 1, 1), claim=claim).rows.accepted == 1


# --- what can go wrong outside


def test_an_unwritable_home_is_named_with_a_remedy(tmp_path):
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(IngestError, match=r"raw cannot be written .*give it to your user"):
        ingest_table("stock_lots", landing=tmp_path, raw=tmp_path / "raw", ingested_at=MORNING)


def test_a_link_that_leads_nowhere_is_named_and_stops_nothing(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    (home.landing / "stock_movements" / "b.csv").symlink_to(home.landing / "nowhere.csv")
    report = home.ingest("stock_movements")
    assert report.rows.accepted == 1
    assert report.rejected[0].reason.startswith("stock_movements/b.csv is a link and was not followed: ")
    again = home.ingest("stock_movements")
    assert [file.name for file in again.rejected] == ["b.csv"]
    assert len(read_manifests(home.raw / "stock_movements")) == 2


def test_a_disk_that_takes_no_more_commits_nothing_and_says_so(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + "".join(sale(str(n)) for n in range(20_000)))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            home.ingest("stock_movements")
        except IngestError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    message = os.read(reading, 10_000).decode()
    assert message.startswith(f"{home.raw} cannot be written (")
    assert "nothing was committed" in message
    assert read_manifests(home.raw / "stock_movements") == []
    assert home.ingest("stock_movements").rows.accepted == 20_000


def test_a_file_that_changes_while_it_is_read_waits_and_the_others_go_on(home):
    path = home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("3"))

    def claim(sources, channel):
        path.write_text(MOVEMENTS + sale("2"))
        return {}

    report = home.ingest("stock_movements", claim=claim)
    assert (report.waiting, report.rows.accepted) == (("a.csv",), 1)
    assert home.ingest("stock_movements").rows.accepted == 1


def test_a_second_process_finds_what_the_first_took_in(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + "".join(sale(str(n)) for n in range(200)))
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            home.ingest("stock_movements")
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert len(read_manifests(home.raw / "stock_movements")) == 1
    assert len(home.rows("stock_movements")) == 200


def test_reports_are_plain_values(home):
    report = home.ingest("stock_lots")
    assert replace(report) == report


@pytest.mark.parametrize("table", ["stock_movements", "locations"])
def test_what_arrived_before_a_column_was_introduced_is_known_again(tmp_path: Path, table: str):
    texts = {
        "stock_movements": MOVEMENTS + "pos,1,1,2011-12-01T10:00:00Z,A,UKN,sale,-1\n",
        "locations": "location_id,location_name,location_type,country,time_zone\nUKN,North,store,GB,Europe/London\n",
    }
    folder = tmp_path / "landing" / table
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text(texts[table])
    options = {"landing": tmp_path / "landing", "raw": tmp_path / "raw", "settle_seconds": 0}
    ingest_table(table, ingested_at=MORNING, **options)
    (arrived,) = (tmp_path / "raw" / table).glob("*/accepted.parquet")
    introduced = "reason" if table == "stock_movements" else "day_ends_at"
    duckdb.sql(f"select * exclude ({introduced}) from '{arrived}'").write_parquet(f"{arrived}.new")
    Path(f"{arrived}.new").replace(arrived)
    (folder / "b.csv").write_text(texts[table] + "\n")
    report = ingest_table(table, ingested_at=MORNING + timedelta(hours=1), **options)
    assert (report.rows.accepted, report.rows.duplicate, report.failed) == (0, 1, None)
