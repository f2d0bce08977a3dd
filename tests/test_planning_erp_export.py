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

from orchestration.planning.erp_export import (
    ACKNOWLEDGEMENT_COLUMNS,
    COLUMNS,
    SCHEMA,
    Handout,
    acknowledgements_postgresql,
    header_rows,
    line_rows,
    read_acknowledgements,
    upsert_postgresql,
    withdrawal_rows,
    write_csv,
    write_folder,
)
from serving.store import Acknowledgement, Proposal

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
    order_id="20111208-S, Sons-N-1",
)
TOLD = {
    "supplier_name": "Sons & Co", "supplier_sku": "X-1", "product_name": "Mug", "location_name": "North",
    "unit_of_measure": "piece", "pack_units": "6.000", "minimum_order_value": "100.0000", "reason": "61 expected.",
}  # fmt: skip


def handout(*lines: Proposal) -> Handout:
    return Handout(lines, lines, (), "EUR")


def test_a_csv_file_has_a_row_per_proposal(tmp_path: Path) -> None:
    write_csv(tmp_path / "orders.csv", COLUMNS, line_rows([PROPOSAL]))
    with (tmp_path / "orders.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(COLUMNS)
    assert (row["supplier_id"], row["order_units"], row["unit_cost"]) == ("S, Sons", "48.000", "")
    assert row["expected_arrival_date"] == "2011-12-15"


def test_a_line_says_names_unit_packs_currency_and_why() -> None:
    (row,) = line_rows([replace(PROPOSAL, detail=TOLD, unit_cost=Decimal("1.25"))], "EUR")
    assert [row[name] for name in COLUMNS[10:]] == [
        *("20111208-S, Sons-N-1", "Sons & Co", "X-1", "Mug", "North", "piece", Decimal("6.000"), Decimal(8)),
        *(Decimal("60.0000"), "EUR", "61 expected.", "order", None, None),
    ]


def test_an_adjusted_line_orders_what_was_approved_and_its_reason_adds_up() -> None:
    adjusted = replace(
        PROPOSAL, detail=TOLD, unit_cost=Decimal("1.25"), adjusted_units=Decimal("36.000"), adjusted_by="ann"
    )
    (row,) = line_rows([adjusted], "EUR")
    assert [row[name] for name in ("order_units", "order_packs", "order_value")] == [36, 6, Decimal("45.0000")]
    assert row["reason"] == "61 expected. 48 − 12 adjusted by ann = 36."


def test_a_transfer_is_marked_as_one_with_its_origin_in_lines_headers_and_withdrawals() -> None:
    told = {**TOLD, "supplier_name": None, "from_location_name": "Depot", "minimum_order_value": None}
    move = replace(PROPOSAL, supplier_id="", from_location_id="D", detail=told, unit_cost=Decimal("0.05"), order_id="t")
    south = replace(move, proposal_id="2", location_id="S", order_id="u")
    marked = {"proposal_type": "transfer", "from_location_id": "D", "from_location_name": "Depot", "supplier_id": ""}
    headers = header_rows([move, south], "EUR")
    for row in (*line_rows([move], "EUR"), *headers, *withdrawal_rows([replace(move, state="cancelled")])):
        assert marked == {name: row[name] for name in marked}
    # Two origins or goals share no supplier, and so no minimum.
    assert [(row["order_value"], row["supplier_order_value"]) for row in headers] == [
        (Decimal("2.4"), Decimal("2.4"))
    ] * 2


def test_an_order_has_a_header_and_its_supplier_counts_the_minimum_over_all_locations() -> None:
    north = replace(PROPOSAL, detail=TOLD, unit_cost=Decimal("1.25"))
    more = replace(north, proposal_id="2", sku="CUP", expected_date=date(2011, 12, 20))
    south = replace(north, proposal_id="3", location_id="S", order_id="b", order_units=Decimal(4))
    first, second = header_rows([north, more, south], "EUR")
    assert (first["order_id"], first["line_count"], first["order_value"]) == (north.order_id, 2, Decimal(120))
    assert (first["expected_arrival_date"], first["minimum_order_value"]) == (date(2011, 12, 20), Decimal(100))
    assert (second["order_value"], second["supplier_order_value"], second["is_below_minimum"]) == (5, 125, False)
    (alone,) = header_rows([south], "EUR")
    assert (alone["supplier_order_value"], alone["is_below_minimum"]) == (5, True)


def test_a_withdrawal_says_what_is_withdrawn_by_whom_and_why() -> None:
    (row,) = withdrawal_rows([replace(PROPOSAL, state="cancelled", changed_by="ann", change_reason="too dear")])
    assert (row["proposal_id"], row["withdrawn_by"], row["reason"]) == ("20111208-1-1", "ann", "too dear")


def test_a_withdrawal_names_the_units_that_were_handed_out() -> None:
    adjusted = replace(PROPOSAL, adjusted_units=Decimal("36.000"), adjusted_by="ann")
    (line,), (row,) = line_rows([adjusted]), withdrawal_rows([replace(adjusted, state="cancelled")])
    assert row["order_units"] == line["order_units"] == 36


def test_a_folder_holds_orders_their_lines_and_withdrawals(tmp_path: Path) -> None:
    write_folder(tmp_path / "orders", Handout([PROPOSAL], [PROPOSAL], [replace(PROPOSAL, proposal_id="2")]))
    rows = {path.name: len(path.read_text().splitlines()) - 1 for path in (tmp_path / "orders").iterdir()}
    assert rows == {"purchase_orders.csv": 1, "purchase_order_lines.csv": 1, "withdrawals.csv": 1}


def test_acknowledgements_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "told.csv"
    file.write_text("proposal_id,erp_order,ordered_units\na,PO-1,\nb,PO-2,12.5\nc,,0\n")
    assert read_acknowledgements(file) == [
        *(Acknowledgement("a", "PO-1"), Acknowledgement("b", "PO-2", Decimal("12.5"))),
        Acknowledgement("c", None, Decimal(0)),
    ]


def test_a_copy_of_the_export_with_the_orders_filled_in_is_read(tmp_path: Path) -> None:
    line = line_rows([PROPOSAL])[0] | {"erp_order": "PO-1"}
    write_csv(tmp_path / "lines.csv", (*COLUMNS, "erp_order"), [line])
    (read,) = read_acknowledgements(tmp_path / "lines.csv")
    assert read == Acknowledgement(PROPOSAL.proposal_id, "PO-1", PROPOSAL.order_units)
    both = line | {"order_units": 7, "ordered_units": ""}
    write_csv(tmp_path / "lines.csv", (*COLUMNS, *ACKNOWLEDGEMENT_COLUMNS[1:], ""), [both | {"": ""}])
    assert read_acknowledgements(tmp_path / "lines.csv") == [Acknowledgement(PROPOSAL.proposal_id, "PO-1", Decimal(7))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("proposal_id\na\n", "told.csv has no column erp_order"),
        ("proposal_id,erp_order,units\na,PO-1,6\n", "told.csv has the column 'units', which nothing reads: call the"),
        ("proposal_id,erp_order,ordered_units\na,PO-1,many\n", "told.csv, row 1: ordered_units 'many' is not a number"),
        ("proposal_id,erp_order\na,PO-1\n,PO-2\n", "told.csv, row 2 names no proposal_id"),
    ],
)
def test_an_acknowledgement_that_cannot_be_read_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "told.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_acknowledgements(tmp_path / "told.csv")


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "orders.csv", COLUMNS, line_rows([PROPOSAL]))
    before = (tmp_path / "orders.csv").read_bytes()
    with pytest.raises(ValueError, match="not in fieldnames"):
        write_csv(tmp_path / "orders.csv", COLUMNS, [*line_rows([PROPOSAL]), {"unknown": 1}])
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
def test_a_withdrawal_is_sent_and_what_the_erp_wrote_is_left_alone(url: str) -> None:
    import psycopg

    told = replace(PROPOSAL, proposal_id="20111208-2-1", sku="CUP")
    silent = replace(PROPOSAL, proposal_id="20111208-3-1", sku="JUG")
    upsert_postgresql(url, handout(PROPOSAL, told, silent), nothing)
    with psycopg.connect(url) as connection:
        connection.execute(f"update {SCHEMA}.purchase_order_proposals set state = 'PO-7' where sku in ('MUG', 'CUP')")
        connection.execute(f"insert into {SCHEMA}.purchase_order_acknowledgements values ('20111208-1-1', 'PO-7', 12)")
    ended = {
        made.proposal_id: replace(made, state="cancelled", changed_by="ann", change_reason="too dear")
        for made in (told, silent)
    }
    upsert_postgresql(url, handout(PROPOSAL), lambda ids: {named: ended[named] for named in ids if named in ended})
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            f"select sku, state, withdrawn_reason from {SCHEMA}.purchase_order_proposals order by sku"
        ).fetchall()
    why = "cancelled by ann: too dear"
    assert rows == [("CUP", "PO-7", why), ("JUG", "withdrawn", why), ("MUG", "PO-7", None)]
    assert acknowledgements_postgresql(url) == [Acknowledgement("20111208-1-1", "PO-7", Decimal(12))]


@pytest.mark.services
def test_a_table_of_an_earlier_version_gets_the_columns_it_lacks(url: str) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f"create schema {SCHEMA}")
        connection.execute(
            f"create table {SCHEMA}.purchase_order_proposals (proposal_id text primary key, state text not null, "
            "as_of_date date not null, supplier_id text not null, sku text not null, location_id text not null, "
            "order_units numeric(18, 3) not null, unit_cost numeric(18, 4), order_by_date date, "
            "expected_arrival_date date, exported_at timestamptz not null default now())"
        )
    upsert_postgresql(url, handout(replace(PROPOSAL, detail=TOLD)), nothing)
    with psycopg.connect(url) as connection:
        found = connection.execute(f"select product_name, currency from {SCHEMA}.purchase_order_proposals").fetchall()
        orders = connection.execute(f"select order_id, line_count from {SCHEMA}.purchase_orders").fetchall()
    assert (found, orders) == ([("Mug", "EUR")], [(PROPOSAL.order_id, 1)])


@pytest.mark.services
def test_twenty_exports_leave_one_row_per_proposal(url: str) -> None:
    import psycopg

    for _ in range(20):
        upsert_postgresql(url, handout(PROPOSAL, replace(PROPOSAL, proposal_id="20111208-2-1", sku="CUP")), nothing)
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
            list(pool.map(lambda order: upsert_postgresql(url, handout(*both[::order]), nothing), [1, -1] * 4))
        with psycopg.connect(url) as connection:
            assert connection.execute(f"select count(*) from {SCHEMA}.purchase_order_proposals").fetchone() == (2,)


@pytest.mark.services
def test_an_export_that_fails_half_way_leaves_nothing(url: str) -> None:
    import psycopg

    broken = replace(PROPOSAL, proposal_id="20111208-3-1", order_by_date="no day")
    with pytest.raises(psycopg.Error):
        upsert_postgresql(url, handout(PROPOSAL, broken), nothing)
    with psycopg.connect(url) as connection:
        found = connection.execute(f"select to_regclass('{SCHEMA}.purchase_order_proposals')").fetchone()
    assert found == (None,)
