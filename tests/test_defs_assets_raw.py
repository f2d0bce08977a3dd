"""The raw assets on a small home: every way in, and what one broken way does to the others."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from dagster import ExecuteInProcessResult, materialize
from support.small_landing import movements, write_landing

from orchestration.defs.assets.raw import RAW_TABLES
from orchestration.defs.resources import HomeResource, StoreResource
from serving.store import Store

# A parser that Great Expectations brings along imports a module that Python has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SOURCES = """
sources:
  - name: erp
    table: stock_movements
    url: ERP_URL
    from: movements
  - name: gone
    table: stock_movements
    url: GONE_URL
    from: movements
"""
COLUMNS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units"


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder / 'online_store.sqlite'}"

    def ingest(self) -> ExecuteInProcessResult:
        assets = [table for table in RAW_TABLES if table.key.path == ["raw", "stock_movements"]]
        return materialize(assets, resources={"home": HomeResource(), "store": StoreResource(url=self.url)})

    def channels(self) -> list[tuple[str, int]]:
        files = f"{self.folder}/raw/stock_movements/*/accepted.parquet"
        return duckdb.sql(f"select source_file, count(*) from '{files}' group by all order by all").fetchall()

    def sell(self, source: str) -> None:
        connection = sqlite3.connect(self.folder / "erp.sqlite")
        with connection:
            connection.execute(f"create table if not exists movements ({COLUMNS})")
            connection.execute(
                "insert into movements values (?, 'X1', 1, '2024-04-01T10:00:00Z', 'apple', 'L1', 'sale', -1)",
                [source],
            )
        connection.close()


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, ExecuteInProcessResult]]:
    """A home whose files bring the source pos and whose database brings erp, and pos by a second channel."""
    home = Home(tmp_path_factory.mktemp("home"))
    Store.migrate(home.url)
    write_landing(home.folder / "landing")
    (home.folder / "sources.yml").write_text(SOURCES)
    home.sell("erp")
    home.sell("pos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVENTORYBOT_HOME", str(home.folder))
        patch.delenv("INVENTORYBOT_LANDING", raising=False)
        patch.setenv("ERP_URL", f"sqlite:///{home.folder}/erp.sqlite")
        patch.delenv("GONE_URL", raising=False)
        yield home, home.ingest()


Ingested = tuple[Home, ExecuteInProcessResult]


def test_a_run_pulls_what_the_sources_file_names_beside_the_files(ingested: Ingested) -> None:
    assert ingested[0].channels() == [("movements.csv", len(movements())), ("sql:erp", 1)]


def test_a_source_that_cannot_be_read_stops_alone_and_is_told(ingested: Ingested) -> None:
    checks = {check.check_name: check for check in ingested[1].get_asset_check_evaluations()}
    assert (checks["sources"].passed, checks["expectations"].passed) == (False, True)
    assert "sql:gone: the environment variable GONE_URL is not set" in str(checks["sources"].metadata["failures"].value)


def test_a_sale_of_a_source_that_comes_by_files_is_refused_by_another_door(ingested: Ingested) -> None:
    files = f"{ingested[0].folder}/raw/stock_movements/*/quarantined.parquet"
    ((rule, reason),) = duckdb.sql(f"select rule, reason from '{files}'").fetchall()
    assert rule == "second_channel"
    assert "source 'pos' is owned by channel landing" in reason


def test_a_second_ingest_of_unchanged_sources_makes_no_batch(ingested: Ingested) -> None:
    home, _ = ingested
    before = sorted((home.folder / "raw" / "stock_movements").iterdir())
    assert home.ingest().success
    assert sorted((home.folder / "raw" / "stock_movements").iterdir()) == before
