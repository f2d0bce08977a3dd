"""SQL sources: pulled past their cursor, explained when they cannot be."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.errors import ContractError, SourceUnavailable
from orchestration.ingest.manifests import read_manifests
from orchestration.ingest.sql_sources import SqlSource, load_sources, pull, try_source

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
SOURCE = """
sources:
  - name: erp
    table: stock_movements
    url: ERP_URL
    query: select * from movements;
    cursor: changed_at
    overlap: 2 hours
    columns: {quantity_units: qty}
"""


class Database:
    """A SQLite database with movements, and a home that pulls them."""

    def __init__(self, folder: Path) -> None:
        self.path, self.raw, self.folder = folder / "erp.sqlite", folder / "raw", folder
        self.hour = 0
        self.run(
            "create table movements (source text, document text, line integer, occurred_at text, sku text, "
            "location_id text, movement_type text, qty numeric, changed_at text)"
        )

    def run(self, sql: str, *values: object) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(sql, values)
        connection.close()

    def sell(self, document: int, qty: object = -1, hour: int = 10) -> None:
        at = f"2011-12-01 {hour:02d}:00:00"
        self.run(
            "insert into movements values ('erp', ?, 1, '2011-12-01T10:00:00Z', 'A', 'UKN', 'sale', ?, ?)",
            str(document),
            qty,
            at,
        )

    def source(self, **options) -> SqlSource:
        text = SOURCE
        (self.folder / "sources.yml").write_text(text)
        (source,) = load_sources(self.folder / "sources.yml", {"ERP_URL": f"sqlite:///{self.path}"})
        return SqlSource(**{**vars(source), **options})

    def ingest(self, **options) -> ArrivalReport:
        self.hour += 1
        return ingest_table(
            "stock_movements",
            landing=self.folder / "landing",
            raw=self.raw,
            ingested_at=MORNING + timedelta(hours=self.hour),
            sources=[self.source(**options)],
        )

    def documents(self) -> list[str]:
        found = duckdb.sql(
            f"select document from '{self.raw}/stock_movements/*/accepted.parquet' order by 1"
        ).fetchall()
        return [document for (document,) in found]


@pytest.fixture
def database(tmp_path) -> Database:
    return Database(tmp_path)


def test_rows_of_a_query_are_taken_in_under_the_name_of_the_source(database):
    database.sell(1, -2.5)
    report = database.ingest()
    assert (report.rows.accepted, report.batches[0].channel) == (1, "sql:erp")
    files = f"{database.raw}/stock_movements/*/accepted.parquet"
    found = duckdb.sql(f"select source_file, source_row, quantity_units::varchar from '{files}'")
    assert found.fetchall() == [("sql:erp", 1, "-2.500")]


def test_only_rows_past_the_cursor_are_pulled_again(database):
    database.sell(1, hour=1)
    database.sell(2, hour=10)
    database.ingest()
    database.sell(3, hour=11)
    rows = database.ingest().rows
    assert (rows.rows_in, rows.accepted, rows.duplicate) == (2, 1, 1)


def test_a_row_written_late_within_the_overlap_is_not_missed(database):
    database.sell(1, hour=10)
    database.ingest()
    database.sell(2, hour=9)
    assert database.ingest().rows.accepted == 1


def test_without_anything_new_there_is_no_batch(database):
    database.sell(1)
    database.ingest()
    assert database.ingest().batches == ()


def test_the_cursor_is_kept_in_the_manifest(database):
    database.sell(1, hour=7)
    database.ingest()
    (manifest,) = read_manifests(database.raw / "stock_movements")
    assert manifest.files[0].cursor == "text:2011-12-01 07:00:00"


def test_a_number_is_a_cursor_too(database):
    for document in range(8, 12):
        database.sell(document)
    database.ingest(cursor="rowid", query="select rowid, * from movements", overlap=0)
    database.sell(12)
    rows = database.ingest(cursor="rowid", query="select rowid, * from movements", overlap=0).rows
    assert (rows.rows_in, rows.accepted) == (1, 1)


def test_a_source_without_cursor_is_read_whole_and_makes_no_batch_of_duplicates(database):
    database.sell(1)
    database.ingest(cursor=None)
    assert database.ingest(cursor=None).batches == ()
    database.sell(2)
    rows = database.ingest(cursor=None).rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


def test_a_bad_row_is_quarantined_with_its_values(database):
    database.sell(1)
    database.sell(2, "many")
    assert database.ingest().quarantined_by_rule == {"quantity_units_unreadable": 1}
    ((text,),) = duckdb.sql(
        f"select original_text from '{database.raw}/stock_movements/*/quarantined.parquet'"
    ).fetchall()
    assert '"quantity_units":"many"' in text


def test_a_bad_row_is_quarantined_once_not_at_every_pull(database):
    database.sell(1)
    database.sell(2, "many")
    database.ingest()
    assert database.ingest().batches == ()


def test_a_pull_writes_one_batch_of_rows_after_another(database, tmp_path, monkeypatch):
    monkeypatch.setattr("orchestration.ingest.sql_sources._ROWS_AT_ONCE", 10)
    for document in range(25):
        database.sell(document)
    pull(database.source(), tmp_path / "pulled.parquet", since=None)
    assert duckdb.sql(f"select count(*) from '{tmp_path}/pulled.parquet'").fetchall() == [(25,)]


def test_an_unknown_column_of_a_source_is_left_out_with_a_notice(database):
    database.sell(1)
    report = database.ingest(query="select *, 'red' as colour from movements")
    assert (report.rows.accepted, "colour" in report.notices[0]) == (1, True)


def test_a_source_that_lost_a_required_column_stops_alone(database):
    database.sell(1)
    landing = database.folder / "landing" / "stock_movements"
    landing.mkdir(parents=True)
    (landing / "a.csv").write_text(
        "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
        "pos,9,1,2011-12-01T10:00:00Z,A,UKN,sale,-1\n"
    )
    report = database.ingest(query="select document, changed_at from movements")
    assert (report.rows.accepted, report.failed) == (1, None)
    assert "sql:erp: " in report.unavailable[0] and "lacks the columns source" in report.unavailable[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": None}, "the environment variable ERP_URL is not set"),
        ({"url": "sqlite:////nowhere/erp.sqlite"}, "unable to open database file"),
        ({"query": "select * from absent_table"}, "no such table: absent_table"),
        ({"query": "selec"}, "syntax error"),
        ({"cursor": "changed"}, "the query has no column 'changed' to be the cursor"),
        ({"url": "what"}, "it is not a database URL"),
    ],
    ids=["no URL", "no database", "no table", "no SQL", "no cursor", "URL that is none"],
)
def test_a_source_that_cannot_be_read_is_explained(database, tmp_path, options, message):
    with pytest.raises(SourceUnavailable) as raised:
        pull(database.source(**options), tmp_path / "pulled.parquet", since=None, pause=lambda _: None)
    assert message in str(raised.value)


def test_a_database_that_cannot_be_reached_is_tried_three_times_with_growing_pauses(database, tmp_path):
    pauses: list[float] = []
    with pytest.raises(SourceUnavailable):
        pull(database.source(url="sqlite:////nowhere/x"), tmp_path / "p", since=None, pause=pauses.append)
    assert pauses == [0.5, 1.0]


def test_a_password_is_never_shown(database, tmp_path):
    source = database.source(url="postgresql://planner:s3cret@127.0.0.1:1/erp?connect_timeout=1")
    with pytest.raises(SourceUnavailable) as raised:
        pull(source, tmp_path / "p", since=None, pause=lambda _: None)
    assert "ERP_URL (postgresql://planner:***@127.0.0.1:1/erp" in str(raised.value)
    assert "s3cret" not in str(raised.value) + repr(source)


def test_a_source_is_never_written_to(database):
    database.sell(1)
    assert not try_source(database.source(query="delete from movements returning *")).works
    assert sqlite3.connect(database.path).execute("select count(*) from movements").fetchall() == [(1,)]


def test_trying_a_source_says_that_it_works(database):
    database.sell(1)
    trial = try_source(database.source())
    assert (trial.works, trial.message) == (True, "works")


def test_trying_a_source_without_rows_says_so(database):
    trial = try_source(database.source())
    assert (trial.works, trial.message) == (True, "works, and has no rows")


def test_trying_a_source_names_the_columns_that_are_left_out(database):
    trial = try_source(database.source(query="select *, 'red' as colour from movements"))
    assert (trial.works, trial.message) == (
        True,
        "works, and has no rows; columns that are not part of the contract are left out: colour",
    )


def test_trying_a_database_that_cannot_be_reached_is_patient(tmp_path):
    pauses = []
    source = SqlSource("erp", "stock_movements", "ERP_URL", "select 1", url=f"sqlite:///{tmp_path}/absent/erp.sqlite")
    assert "cannot be read" in try_source(source, pause=pauses.append).message
    assert pauses == [0.5, 1.0]


def test_trying_a_source_names_the_columns_it_lacks(database):
    trial = try_source(database.source(columns={}))
    assert not trial.works
    assert trial.message.startswith("lacks quantity_units; the query has source, document")


def test_trying_a_source_says_what_is_wrong_with_it(database):
    assert "no such table" in try_source(database.source(query="select * from absent_table")).message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: erp", "name: ERP 1", "must be a word"),
        ("table: stock_movements", "table: sales", "'sales' is not a raw table"),
        ("url: ERP_URL", "url: postgresql://u:p@h/d", "not the URL itself"),
        ("quantity_units: qty", "quantity: qty", "has no column 'quantity'"),
        ("overlap: 2 hours", "overlap: long", "overlap 'long' is neither"),
        ("cursor: changed_at", "cursr: changed_at", "unknown option 'cursr'"),
        ("query: select * from movements;", "", "give either query or from"),
        ("url: ERP_URL", "", "url is missing"),
        ("sources:\n", "", "has no list `sources:`; `inventorybot sources example` shows one"),
    ],
)
def test_a_mistake_in_the_sources_file_is_named(tmp_path, old, new, message):
    (tmp_path / "sources.yml").write_text(SOURCE.replace(old, new))
    with pytest.raises(ContractError) as raised:
        load_sources(tmp_path / "sources.yml", {})
    assert message in str(raised.value)


def test_no_sources_file_is_no_sources(tmp_path):
    assert load_sources(tmp_path / "sources.yml", {}) == ()
