"""Pulling from PostgreSQL, as Arrow. Needs POSTGRES_URL; run by make test-services."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb
import psycopg
import pytest
from sqlalchemy.engine import make_url

from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.errors import SourceUnavailable
from orchestration.ingest.sql_sources import SqlSource, pull, try_source

pytestmark = pytest.mark.services
MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)


@pytest.fixture
def table() -> Iterator[str]:
    """A table of movements of its own for each test."""
    server = os.environ.get("POSTGRES_URL")
    if server is None:
        pytest.fail(
            "POSTGRES_URL names no PostgreSQL server; start one and set it, as postgresql://user@host/postgres."
        )
    name = f"movements_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            f"create table {name} (source text, document text, line integer, occurred_at timestamptz, sku text, "
            "location_id text, movement_type text, quantity_units numeric, changed_at timestamptz)"
        )
        yield name
        connection.execute(f"drop table {name}")


def sell(table: str, *documents: int, quantity: str = "-1.5", hour: int = 10) -> None:
    with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"insert into {table} values ('erp', %s, 1, '2011-12-01T10:00:00+01', 'A', 'UKN', 'sale', %s, "
            f"'2011-12-01T{hour:02d}:00:00Z')",
            [(str(document), quantity) for document in documents],
        )


def source(table: str, **options) -> SqlSource:
    given = {"cursor": "changed_at", "overlap": 3600.0, "url": os.environ["POSTGRES_URL"], **options}
    return SqlSource("erp", "stock_movements", "ERP_URL", f"select * from {table}", **given)


def ingest(folder: Path, source: SqlSource, hour: int = 1) -> ArrivalReport:
    return ingest_table(
        "stock_movements",
        landing=folder / "landing",
        raw=folder / "raw",
        ingested_at=MORNING + timedelta(hours=hour),
        sources=[source],
    )


def test_numbers_and_instants_arrive_exactly(table, tmp_path):
    sell(table, 1, quantity="-12345678.125")
    assert ingest(tmp_path, source(table)).rows.accepted == 1
    found = duckdb.sql(
        f"select quantity_units::varchar, epoch(occurred_at) from '{tmp_path}/raw/stock_movements/*/accepted.parquet'"
    ).fetchall()
    assert found == [("-12345678.125", datetime(2011, 12, 1, 9, tzinfo=UTC).timestamp())]


def test_only_rows_past_the_cursor_and_its_overlap_are_pulled_again(table, tmp_path):
    sell(table, 1, hour=1)
    sell(table, 2, hour=10)
    ingest(tmp_path, source(table))
    sell(table, 3, hour=11)
    rows = ingest(tmp_path, source(table), hour=2).rows
    assert (rows.rows_in, rows.accepted, rows.duplicate) == (2, 1, 1)


def test_a_not_a_number_is_quarantined(table, tmp_path):
    sell(table, 1)
    sell(table, 2, quantity="NaN")
    assert ingest(tmp_path, source(table)).quarantined_by_rule == {"quantity_units_unreadable": 1}


def test_many_rows_are_streamed(table, tmp_path):
    sell(table, *range(20_000))
    assert ingest(tmp_path, source(table)).rows.accepted == 20_000


def test_trying_a_source_says_that_it_works(table):
    sell(table, 1)
    assert try_source(source(table)).message == "works"


@pytest.mark.parametrize("query", ["select * from absent_table", "selec", "select 1/0 as source"])
def test_a_query_that_fails_is_explained(table, tmp_path, query):
    with pytest.raises(SourceUnavailable, match="cannot be read: "):
        pull(SqlSource(**{**vars(source(table)), "query": query}), tmp_path / "p", since=None, pause=lambda _: None)


def test_a_source_is_not_written_to(table):
    sell(table, 1)
    assert not try_source(SqlSource(**{**vars(source(table)), "query": f"delete from {table} returning *"})).works
    with psycopg.connect(os.environ["POSTGRES_URL"]) as connection:
        assert connection.execute(f"select count(*) from {table}").fetchall() == [(1,)]


def test_revoked_rights_are_told_and_the_password_is_not(table, tmp_path):
    role = f"reader_{uuid4().hex[:8]}"
    url = make_url(os.environ["POSTGRES_URL"]).set(username=role, password="hidden").render_as_string(False)
    with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'hidden'; grant select on {table} to {role}")
        sell(table, 1)
        assert ingest(tmp_path, source(table, url=url)).rows.accepted == 1
        connection.execute(f"revoke select on {table} from {role}")
        (refused,) = ingest(tmp_path, source(table, url=url), hour=2).unavailable
        connection.execute(f"drop role {role}")
        (gone,) = ingest(tmp_path, source(table, url=url), hour=3).unavailable
    assert "permission denied" in refused
    assert "does not exist" in gone
    assert "hidden" not in refused + gone
