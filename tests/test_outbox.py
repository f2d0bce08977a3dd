"""The outbox beside a run: what counts as on order, and until when."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from orchestration.outbox import announced_proposals, open_proposals, order_lines, outbox_of
from orchestration.settings import Settings
from orchestration.warehouse import Build
from serving.store import Store

AS_OF = date(2011, 12, 8)
BUILD = Build("run", AS_OF.isoformat(), "2011-12-09T06:00:00+00:00", 1, "code")
ORDERED = "timestamptz '2011-12-08 12:00:00+00'"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    settings.predictions.mkdir(parents=True)
    write(settings.exports / "marts" / "dim_locations.parquet", "select 'N' as location_id, 'Asia/Tokyo' as time_zone")
    lines(settings, "20111209T050000.000000Z", "PO-1", None)
    return settings


def write(path: Path, query: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet)")


def lines(settings: Settings, batch: str, order: str, proposal: str | None, ordered: str = ORDERED) -> None:
    """Write an arrival of one purchase order line."""
    named = repr(proposal) if proposal else "null::varchar"
    write(
        settings.raw / "purchase_order_lines" / batch / "accepted.parquet",
        f"select '{batch}' as batch_id, 1 as source_row, '{order}' as purchase_order_id, 1 as line, "
        f"'N' as location_id, {ordered} as ordered_at, {named} as proposal_id",
    )


def approved(store: Store, day: date = AS_OF, **more: object) -> str:
    """Propose 48 mugs, approve them, and return the id."""
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48, **more}
    detail = {"detail": {"expected_arrival_date": "2011-12-15"}}
    (proposal_id,) = store.propose(day, [order | detail], seen_version=0, author="run").proposed
    store.decide_proposal(proposal_id, "approved", event_id="a", author="ann")
    return proposal_id


def test_an_approved_proposal_counts_as_on_order_until_its_arrival(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    found = open_proposals(settings, BUILD, store)
    columns = ["proposal_id", "open_units", "periods_ahead", "state"]
    assert found[columns].to_numpy().tolist() == [[proposal_id, 48.0, 7, "approved"]]


def test_once_its_order_line_is_seen_only_the_line_counts(settings: Settings, store: Store) -> None:
    lines(settings, "20111209T050001.000000Z", "PO-2", approved(store))
    assert open_proposals(settings, BUILD, store).empty


def test_an_order_placed_after_the_business_day_is_not_seen_yet(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    # 16:00 in London is the next day in Tokyo.
    lines(settings, "20111209T050001.000000Z", "PO-2", proposal_id, "timestamptz '2011-12-08 16:00:00+00'")
    assert order_lines(settings, BUILD) == {}
    assert len(open_proposals(settings, BUILD, store)) == 1


def test_a_line_that_arrived_after_the_run_looked_is_not_seen(settings: Settings, store: Store) -> None:
    lines(settings, "20111209T070000.000000Z", "PO-2", approved(store))
    assert order_lines(settings, BUILD) == {}


def test_the_latest_version_of_a_line_names_its_proposal(settings: Settings, store: Store) -> None:
    lines(settings, "20111209T050001.000000Z", "PO-1", approved(store))
    assert list(order_lines(settings, BUILD).values()) == ["PO-1:1"]


def test_what_was_approved_and_not_exported_in_time_counts_no_longer(settings: Settings, store: Store) -> None:
    approved(store, date(2011, 12, 1), expires_date=date(2011, 12, 7))
    assert open_proposals(settings, BUILD, store).empty


def test_what_was_exported_counts_also_after_its_last_day(settings: Settings, store: Store) -> None:
    approved(store, date(2011, 12, 1), expires_date=date(2011, 12, 7))
    store.pull_proposals(author="erp")
    assert len(open_proposals(settings, BUILD, store)) == 1


def test_a_proposal_of_a_later_day_did_not_exist_on_the_business_day(settings: Settings, store: Store) -> None:
    approved(store, date(2011, 12, 9))
    assert open_proposals(settings, BUILD, store).empty


def test_what_is_announced_is_what_publication_proposes(settings: Settings, store: Store) -> None:
    write(
        settings.predictions / "restock_lines.parquet",
        "select 'MUG' as sku, 'N' as location_id, 'S' as supplier_id, 48.0 as order_units, 'order' as status",
    )
    write(
        settings.exports / "marts" / "fct_replenishment_terms.parquet",
        "select 'MUG' as sku, 'N' as location_id, 1.25::decimal(18, 4) as unit_cost",
    )
    open_proposals(settings, BUILD, store)
    (announced,) = announced_proposals(settings, BUILD, store)["proposal_id"]
    write(
        settings.exports / "reporting" / "purchase_order_proposals.parquet",
        f"""
        select '{announced}' as proposal_id, 'proposed' as state, 'MUG' as sku, 'N' as location_id, 'S' as supplier_id,
            48::decimal(18, 3) as order_units, 1.25::decimal(18, 4) as unit_cost, date '2011-12-12' as order_by_date,
            date '2011-12-15' as expected_arrival_date, 'r' as recommendation_id
        """,
    )
    fence = store.claim("generation", "run")
    report = store.publish("generation", fence, "g1", {}, outbox_of(settings, BUILD, store))
    assert report.proposed == [announced]
    (made,) = store.proposals()
    assert (made.order_units, made.expires_date) == (Decimal("48.000"), date(2011, 12, 12))


def test_a_past_day_that_is_made_again_proposes_nothing(settings: Settings, store: Store) -> None:
    approved(store, date(2011, 12, 9))
    write(
        settings.exports / "reporting" / "purchase_order_proposals.parquet",
        """
        select '' as proposal_id, '' as state, '' as sku, '' as location_id, '' as supplier_id, 0 as order_units,
            0 as unit_cost, null::date as order_by_date, null::date as expected_arrival_date, '' as recommendation_id
        where false
        """,
    )
    open_proposals(settings, BUILD, store)
    assert outbox_of(settings, BUILD, store).lines is None
