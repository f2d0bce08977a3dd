"""Proposals in an ERP's hands: a CSV file in one step, one row per proposal in PostgreSQL."""

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from orchestration.planning.erp_export import COLUMNS, SCHEMA, upsert_postgresql, write_csv
from serving.store import Proposal

NOW = datetime(2011, 12, 9, tzinfo=UTC)
PROPOSAL = Proposal(
    proposal_id="20111208-1-1",
    as_of_date=date(2011, 12, 8),
    supplier_id="S, Sons",
    sku="MUG",
    location_id="N",
    order_units=Decimal("48.000"),
    unit_cost=None,
    order_by_date=date(2011, 12, 12),
    expires_date=None,
    expected_date=date(2011, 12, 15),
    detail={},
    state="exported",
    erp_order=None,
    has_order_line=False,
    proposed_at=NOW,
    changed_at=NOW,
    changed_by="erp",
    change_reason="pulled",
    rejected_until_date=None,
    rejected_until_units=None,
    held_reason=None,
    ended_date=None,
)


def test_a_csv_file_has_a_row_per_proposal(tmp_path: Path) -> None:
    write_csv(tmp_path / "orders.csv", [PROPOSAL])
    with (tmp_path / "orders.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(COLUMNS)
    assert (row["supplier_id"], row["order_units"], row["unit_cost"]) == ("S, Sons", "48.000", "")
    assert row["expected_arrival_date"] == "2011-12-15"


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "orders.csv", [PROPOSAL])
    before = (tmp_path / "orders.csv").read_bytes()
    with pytest.raises(AttributeError):
        write_csv(tmp_path / "orders.csv", [PROPOSAL, None])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.fixture
def url() -> Iterator[str]:
    import psycopg

    server = os.environ.get("POSTGRES_URL")
    if not server:
        pytest.fail(
            "POSTGRES_URL names no PostgreSQL server; start one and set it, as postgresql://user@host/postgres."
        )
    yield server
    with psycopg.connect(server) as connection:
        connection.execute(f"drop schema if exists {SCHEMA} cascade")


def nothing(_ids: object) -> dict[str, Proposal]:
    """Know no proposal that was handed out before."""
    return {}


@pytest.mark.services
def test_what_is_cancelled_is_so_for_the_receiver_too(url: str) -> None:
    import psycopg

    other = replace(PROPOSAL, proposal_id="20111208-2-1", sku="CUP")
    upsert_postgresql(url, [PROPOSAL, other], nothing)
    cancelled = {other.proposal_id: replace(other, state="cancelled")}
    upsert_postgresql(url, [PROPOSAL], lambda ids: {named: cancelled[named] for named in ids})
    with psycopg.connect(url) as connection:
        rows = connection.execute(f"select sku, state from {SCHEMA}.purchase_order_proposals order by sku").fetchall()
    assert rows == [("CUP", "cancelled"), ("MUG", "exported")]


@pytest.mark.services
def test_twenty_exports_leave_one_row_per_proposal(url: str) -> None:
    import psycopg

    for _ in range(20):
        upsert_postgresql(url, [PROPOSAL, replace(PROPOSAL, proposal_id="20111208-2-1", sku="CUP")], nothing)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            f"select sku, order_units from {SCHEMA}.purchase_order_proposals order by sku"
        ).fetchall()
    assert rows == [("CUP", Decimal("48.000")), ("MUG", Decimal("48.000"))]


@pytest.mark.services
def test_exports_at_once_leave_one_row_per_proposal_also_where_the_schema_is_new(url: str) -> None:
    import psycopg

    both = [PROPOSAL, replace(PROPOSAL, proposal_id="20111208-2-1", sku="CUP")]
    for _ in range(5):
        with psycopg.connect(url) as connection:
            connection.execute(f"drop schema if exists {SCHEMA} cascade")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda order: upsert_postgresql(url, both[::order], nothing), [1, -1] * 4))
        with psycopg.connect(url) as connection:
            assert connection.execute(f"select count(*) from {SCHEMA}.purchase_order_proposals").fetchone() == (2,)


@pytest.mark.services
def test_an_export_that_fails_half_way_leaves_nothing(url: str) -> None:
    import psycopg

    broken = replace(PROPOSAL, proposal_id="20111208-3-1", expected_date="no day")
    with pytest.raises(psycopg.Error):
        upsert_postgresql(url, [PROPOSAL, broken], nothing)
    with psycopg.connect(url) as connection:
        found = connection.execute(f"select to_regclass('{SCHEMA}.purchase_order_proposals')").fetchone()
    assert found == (None,)
