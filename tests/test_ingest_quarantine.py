"""Quarantined rows: looked at, corrected, judged again, given up; the counts balance for ever."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.errors import IngestError
from orchestration.ingest.manifests import Counts, read_manifests
from orchestration.ingest.quarantine import (
    QuarantineCounts,
    QuarantinedRow,
    counts,
    discard,
    find,
    list_quarantined,
    release,
    values_of,
)
from orchestration.ingest.staging import Events

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
PRODUCTS = "sku,product_name,category,unit_cost,unit_price\n"


class Home:
    """A home whose clock passes on an hour between two steps."""

    def __init__(self, folder: Path) -> None:
        self.landing, self.raw, self.now = folder / "landing", folder / "raw", MORNING

    def tick(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now

    def land(self, table: str, name: str, text: str) -> ArrivalReport:
        path = self.landing / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self.ingest(table)

    def ingest(self, table: str, **options) -> ArrivalReport:
        return ingest_table(
            table, landing=self.landing, raw=self.raw, ingested_at=self.tick(), settle_seconds=0, **options
        )

    def quarantined(self, **options) -> list[QuarantinedRow]:
        return list_quarantined(self.raw, **options)

    def release(self, rows: list[QuarantinedRow], **corrections) -> ArrivalReport:
        return release(self.raw, self.landing, rows, corrections=corrections, ingested_at=self.tick())

    def discard(self, rows: list[QuarantinedRow], reason: str = "a test sale") -> ArrivalReport:
        return discard(self.raw, self.landing, rows, reason=reason, ingested_at=self.tick())

    def accepted(self, table: str, columns: str) -> list[tuple]:
        return duckdb.sql(f"select {columns} from '{self.raw}/{table}/*/accepted.parquet' order by all").fetchall()


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def sale(document: int | str, units: str = "-1") -> str:
    return f"pos,{document},1,2011-12-01T10:00:00Z,A,UKN,sale,{units}\n"


def test_an_open_row_is_listed_with_all_that_is_known_of_it(home):
    (batch,) = home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5")).batches
    (row,) = home.quarantined()
    assert row == QuarantinedRow(
        table="stock_movements",
        batch_id=batch.batch_id,
        source_file="a.csv",
        source_row=3,
        original_text=sale(2, "5").strip(),
        rule="outgoing_not_negative",
        reason=row.reason,
        status="open",
    )
    assert row.reason.startswith("quantity_units is 5.000: a sale")


def test_the_list_can_be_narrowed_to_a_table_and_a_rule(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5") + sale(3, "x"))
    assert [row.source_row for row in home.quarantined(table="stock_movements", rule="quantity_units_unreadable")] == [
        4
    ]
    assert home.quarantined(table="products") == []


def test_a_row_is_found_by_its_reference(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    (row,) = home.quarantined()
    assert find(home.raw, [row.reference]) == [row]


@pytest.mark.parametrize("reference", ["", "what", "stock_movements/20261123T070000.000000Z/9/a.csv", "sales/b/1/f"])
def test_a_reference_that_names_nothing_is_told(home, reference):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    with pytest.raises(IngestError, match="no quarantined or waiting row"):
        find(home.raw, [reference])


def test_the_values_of_a_row_are_told_apart(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    (row,) = home.quarantined()
    values = values_of(home.raw, row)
    assert (values["document"], values["quantity_units"], values["sku"]) == ("2", "5", "A")


def test_a_corrected_row_is_accepted_under_its_file_and_row(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    assert home.release(home.quarantined(), quantity_units="-5").rows.accepted == 1
    found = home.accepted("stock_movements", "document, quantity_units::varchar, source_file, source_row")
    assert found == [("1", "-1.000", "a.csv", 2), ("2", "-5.000", "a.csv", 3)]
    assert home.quarantined() == []


def test_a_row_that_is_still_wrong_is_quarantined_again(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    assert home.release(home.quarantined(), quantity_units="x").rows.quarantined == 1
    (row,) = home.quarantined()
    assert row.rule == "quantity_units_unreadable"
    assert home.release([row], quantity_units="-5").rows.accepted == 1
    assert home.quarantined() == []


def test_a_released_row_that_is_known_by_now_is_a_duplicate(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    home.land("stock_movements", "b.csv", MOVEMENTS + sale(2, "-5"))
    assert home.release(home.quarantined(), quantity_units="-5").rows.duplicate == 1


def test_a_conflict_is_released_under_a_higher_revision(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(1, "-2"))
    assert home.release(home.quarantined(), revision="1").rows.accepted == 1
    assert home.accepted("stock_movements", "revision, quantity_units::varchar") == [(0, "-1.000"), (1, "-2.000")]


def test_a_movement_of_the_online_store_is_released_like_a_file(home):
    names = MOVEMENTS.strip().split(",")
    rows = [
        {**dict(zip(names, sale(n, u).strip().split(","), strict=True)), "sequence": n}
        for n, u in ((1, "-1"), (2, "5"))
    ]
    home.ingest("stock_movements", events=Events(rows, 1, 2))
    assert home.release(home.quarantined(), quantity_units="-5").rows.accepted == 1


def test_a_broken_line_is_released_with_every_value_it_needs(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + "pos,2,1\n")
    (row,) = home.quarantined()
    with pytest.raises(IngestError, match="holds 3 values for 8 columns"):
        home.release([row], quantity_units="-5")
    values = dict(zip(MOVEMENTS.strip().split(","), sale(2).strip().split(","), strict=True))
    assert home.release([row], **values).rows.accepted == 1


def test_a_discarded_row_is_no_longer_open_and_keeps_its_reason(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    home.discard(home.quarantined())
    assert home.quarantined() == []
    (row,) = home.quarantined(status="discarded")
    assert row.source_row == 3
    (settled,) = read_manifests(home.raw / "stock_movements")[-1].settled
    assert settled.reason == "a test sale"


def test_a_row_is_not_discarded_without_a_reason(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    with pytest.raises(IngestError, match="say why"):
        home.discard(home.quarantined(), " ")


def test_a_row_is_settled_once(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    home.discard(home.quarantined())
    with pytest.raises(IngestError, match="is discarded already"):
        home.release(home.quarantined(status="discarded"), quantity_units="-5")


def test_a_correction_of_a_column_that_does_not_exist_is_refused(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    with pytest.raises(IngestError, match="no column 'units'"):
        home.release(home.quarantined(), units="-5")


def test_a_stale_version_is_not_released_over_a_later_one(home):
    home.land("products", "1.csv", PRODUCTS + "A,Lamp,home,1,2\nB,Vase,home,1,-2\n")
    home.land("products", "2.csv", PRODUCTS + "B,Vase,home,1,3\n")
    with pytest.raises(IngestError, match="brought a later version of it; discard this row"):
        home.release(home.quarantined(), unit_price="2")


def test_a_row_of_a_list_that_is_replaced_as_a_whole_is_not_settled(home):
    home.land("reservations", "a.csv", "sku,location_id,document,reserved_units\nA,UKN,1,5\nB,UKN,1,-5\n")
    with pytest.raises(IngestError, match="replaced as a whole"):
        home.discard(home.quarantined())


def test_a_later_list_supersedes_the_rows_of_the_one_before(home):
    header = "sku,location_id,document,reserved_units\n"
    home.land("reservations", "a.csv", header + "A,UKN,1,2\nA,UKN,2,many\n")
    assert [row.status for row in home.quarantined()] == ["open"]
    home.land("reservations", "a.csv", header + "A,UKN,1,2\nA,UKN,2,few\n")
    assert [row.original_text for row in home.quarantined()] == ["A,UKN,2,few"]
    assert [row.original_text for row in home.quarantined(status="superseded")] == ["A,UKN,2,many"]
    assert counts(home.raw) == QuarantineCounts(added=2, open=1, released=0, discarded=0, superseded=1)


def test_files_that_arrived_meanwhile_wait_for_the_next_ingest(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale(1) + sale(2, "5"))
    (home.landing / "stock_movements" / "b.csv").write_text(MOVEMENTS + sale(3))
    assert home.release(home.quarantined(), quantity_units="-5").rows.rows_in == 1
    assert home.ingest("stock_movements").rows.accepted == 1


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["land", "release", "refuse", "discard"]), min_size=3, max_size=6))
def test_quarantined_rows_are_open_released_or_discarded_for_ever(steps, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    home.land("stock_movements", "0.csv", MOVEMENTS + sale("first"))
    for number, step in enumerate(steps, 1):
        open_rows = home.quarantined()
        if step == "land" or not open_rows:
            home.land("stock_movements", f"{number}.csv", MOVEMENTS + sale(number, "5") + sale(f"{number}x", "y"))
        elif step == "discard":
            home.discard(open_rows[:1])
        else:
            home.release(open_rows[:1], quantity_units="-5" if step == "release" else "many")
    total = sum((manifest.rows for manifest in read_manifests(home.raw / "stock_movements")), Counts())
    by_status = [home.quarantined(status=status) for status in ("open", "released", "discarded")]
    assert total.is_balanced
    assert sum(map(len, by_status)) == total.quarantined
