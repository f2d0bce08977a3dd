"""The outbox beside a run: what counts as on order, and until when."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.home.settings import Settings
from orchestration.planning.proposals import (
    listed_proposals,
    misnamed_proposals,
    open_proposals,
    order_lines,
    outbox_of,
    rejected_needs,
    turn_back,
)
from orchestration.warehouse.build import Build
from orchestration.warehouse.handoff import write_predictions
from orchestration.warehouse.restock_frames import rejections
from serving.store import Decision, Outbox, Store

AS_OF = date(2011, 12, 8)
LINE_COLUMNS = (
    "purchase_order_id, line, sku, location_id, progress, proposal_id, supplier_id, ordered_units, ordered_date"
)
TOLD = """
    'r' as recommendation_id, 'Sons' as supplier_name, 'Mug' as product_name, 'North' as location_name,
    'S-1' as supplier_sku, 'piece' as unit_of_measure, 6::decimal(18, 3) as pack_units,
    100::decimal(18, 4) as minimum_order_value, date '2011-12-13' as stockout_date,
    3.5::decimal(18, 4) as lost_margin_avoided, '61 expected.' as reason
"""
BUILD = Build("run", AS_OF.isoformat(), "2011-12-09T06:00:00+00:00", 1, "code")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    settings.predictions.mkdir(parents=True)
    lines(settings, ("PO-1", None))
    write(settings.exports / "marts" / "dim_products.parquet", "select 'MUG' as sku, true as is_active")
    wants(settings, None)
    nothing_moves(settings)
    return settings


def nothing_moves(settings: Settings) -> None:
    """Let no movement tell of a transfer, and the run propose none."""
    write(
        settings.exports / "marts" / "fct_transfer_movements.parquet",
        "select '' as source, '' as document, 1 as line, '' as reference, '' as sku, '' as location_id, "
        "'' as movement_type, 0::decimal(18, 3) as units, current_date as day where false",
    )
    texts = (
        *("proposal_id", "state", "sku", "from_location_id", "from_location_name", "to_location_id"),
        *("to_location_name", "product_name", "unit_of_measure", "reason"),
    )
    numbers = ("transfer_units", "unit_cost", "pack_units", "lead_time_days", "lost_margin_avoided")
    days = ("order_by_date", "expected_arrival_date", "stockout_date")
    columns = [f"'' as {name}" for name in texts] + [f"0::decimal(18, 3) as {name}" for name in numbers]
    columns += [f"current_date as {name}" for name in days]
    write(settings.exports / "reporting" / "stock_transfers.parquet", f"select {', '.join(columns)} where false")


def write(path: Path, query: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet)")


def lines(
    settings: Settings,
    *orders: tuple[str, str | None],
    sku: str = "MUG",
    progress: str = "open",
    units: float = 6,
    day: date = AS_OF,
) -> None:
    """Write purchase orders of one line each, by the proposal they name."""
    rows = ", ".join(
        f"('{order}', 1, '{sku}', 'N', '{progress}', {repr(proposal) if proposal else 'null::varchar'}, 'S', "
        f"{units}::decimal(18, 3), date '{day}')"
        for order, proposal in orders
    )
    write(settings.exports / "marts" / "fct_purchase_order_lines.parquet", f"from (values {rows}) as t({LINE_COLUMNS})")


def approved(store: Store, day: date = AS_OF, **more: object) -> str:
    """Propose 48 mugs, approve them, and return the id."""
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48, **more}
    expected = {"expected_date": "2011-12-15"}
    (proposal_id,) = store.propose(day, [order | expected], seen_version=0, author="run").proposed
    store.decide_proposal(proposal_id, "approved", event_id="a", author="ann")
    return proposal_id


def test_an_approved_proposal_counts_as_on_order_until_its_arrival(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    found = open_proposals(settings, BUILD, store)
    columns = ["proposal_id", "open_units", "periods_ahead", "state"]
    assert found[columns].to_numpy().tolist() == [[proposal_id, 48.0, 7, "approved"]]


def test_what_the_erp_ordered_of_it_counts_not_what_was_proposed(settings: Settings, store: Store) -> None:
    proposal_id = exported(store)
    store.acknowledge_proposal(proposal_id, "PO-9", author="erp", ordered_units=Decimal(36))
    assert open_proposals(settings, BUILD, store)["open_units"].tolist() == [36.0]
    (row,) = listed(settings, store)
    assert (row["order_units"], row["acknowledged_units"]) == (48.0, 36.0)


def adjusted(store: Store, units: int = 36) -> str:
    """Propose 48 mugs, approve fewer or more, hand them out, and return the id."""
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48, "expected_date": "2011-12-15"}
    (proposal_id,) = store.propose(AS_OF, [order], seen_version=0, author="run").proposed
    store.decide([Decision(proposal_id, "approved", "a", "ann", order_units=Decimal(units))])
    store.pull_proposals(author="erp")
    return proposal_id


@pytest.mark.parametrize("units", [36, 60])
def test_what_an_approval_orders_counts_not_what_was_proposed(settings: Settings, store: Store, units: int) -> None:
    adjusted(store, units)
    assert open_proposals(settings, BUILD, store)["open_units"].tolist() == [units]
    (row,) = listed(settings, store)
    assert (row["order_units"], row["adjusted_units"], row["adjusted_by"]) == (48.0, units, "ann")


def test_where_nobody_adjusted_that_is_null_in_the_file(settings: Settings, store: Store) -> None:
    approved(store)
    wants(settings, None)
    open_proposals(settings, BUILD, store)
    write_predictions(settings, "order_proposals", listed_proposals(settings, BUILD, store), BUILD, None)
    found = duckdb.sql(f"select adjusted_units, adjusted_by from '{settings.predictions}/order_proposals.parquet'")
    (row,) = found.fetchall()
    assert row[1] is None and (row[0] is None or row[0] != row[0])


@pytest.mark.parametrize("names", [True, False])
def test_a_line_of_what_was_approved_covers_all_of_its_proposal(settings: Settings, store: Store, names: bool) -> None:
    proposal_id = adjusted(store)
    lines(settings, ("PO-2", proposal_id if names else None), units=36, day=date(2011, 12, 9))
    for _ in range(2):
        assert order_lines(settings, store) == {proposal_id: "PO-2:1"}
        assert open_proposals(settings, NEXT_DAY, store).empty
        assert misnamed_proposals(settings, store) == []
        publish(settings, store, NEXT_DAY)
    made = store.proposal(proposal_id)[0]
    assert (made.state, made.has_order_line, made.acknowledged_units) == ("acknowledged", True, None)
    assert len(store.proposals()) == 1


def test_a_line_of_what_was_proposed_is_not_of_what_was_approved(settings: Settings, store: Store) -> None:
    adjusted(store)
    lines(settings, ("PO-2", None), units=48, day=date(2011, 12, 9))
    assert order_lines(settings, store) == {}
    assert open_proposals(settings, NEXT_DAY, store)["open_units"].tolist() == [36.0]


@pytest.mark.parametrize("progress", ["open", "received", "cancelled"])
def test_once_its_order_line_is_known_only_the_line_counts(settings: Settings, store: Store, progress: str) -> None:
    lines(settings, ("PO-2", approved(store)), progress=progress)
    assert open_proposals(settings, BUILD, store).empty


def test_a_proposal_split_over_two_lines_is_stood_for_by_the_first(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    lines(settings, ("PO-2", proposal_id), ("PO-3", proposal_id))
    assert order_lines(settings, store) == {proposal_id: "PO-2:1"}
    assert open_proposals(settings, BUILD, store).empty


@pytest.mark.parametrize("was_seen", [False, True])
def test_on_a_day_that_ends_before_the_order_line_the_proposal_counts(
    settings: Settings, store: Store, was_seen: bool
) -> None:
    proposal_id = approved(store)
    if was_seen:
        store.order_lines_appeared({proposal_id: "PO-2:1"}, author="run")
    lines(settings, ("PO-2", proposal_id), progress="later")
    assert order_lines(settings, store) == {}
    assert open_proposals(settings, BUILD, store)["proposal_id"].tolist() == [proposal_id]


def test_a_line_of_another_item_stands_for_no_proposal_and_is_told(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    lines(settings, ("PO-2", proposal_id), sku="CUP")
    assert order_lines(settings, store) == {}
    assert len(open_proposals(settings, BUILD, store)) == 1
    (told,) = misnamed_proposals(settings, store)
    assert f"line PO-2:1 orders CUP for N and names proposal {proposal_id}, which is MUG for N" in told


def test_an_open_line_of_a_proposal_that_there_is_not_is_told(settings: Settings, store: Store) -> None:
    lines(settings, ("PO-2", "gone"))
    (told,) = misnamed_proposals(settings, store)
    assert told.startswith("purchase order line PO-2:1 names proposal 'gone', which does not exist")


def test_lines_that_name_their_own_proposals_or_none_are_no_matter(settings: Settings, store: Store) -> None:
    lines(settings, ("PO-1", None), ("PO-2", approved(store)))
    assert misnamed_proposals(settings, store) == []


def test_a_line_that_comes_before_the_approval_is_known_all_the_same(settings: Settings, store: Store) -> None:
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48}
    (proposal_id,) = store.propose(AS_OF, [order], seen_version=0, author="run").proposed
    lines(settings, ("PO-2", proposal_id))
    store.order_lines_appeared(order_lines(settings, store), author="run")
    assert store.proposal(proposal_id)[0].state == "acknowledged"


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


def test_what_was_exported_and_never_delivered_counts_until_two_weeks_after_its_day(
    settings: Settings, store: Store
) -> None:
    approved(store, date(2011, 11, 1))
    store.pull_proposals(author="erp")
    for as_of, count in (("2011-12-29", 1), ("2011-12-30", 0)):
        assert len(open_proposals(settings, replace(BUILD, as_of=as_of), store)) == count


NEXT_DAY = replace(BUILD, as_of="2011-12-09")


def exported(store: Store) -> str:
    """Propose 48 mugs, approve them, hand them out, and return the id."""
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    return proposal_id


@pytest.mark.parametrize("progress", ["open", "received"])
def test_an_order_line_that_can_be_for_one_proposal_alone_stands_for_it(
    settings: Settings, store: Store, progress: str
) -> None:
    proposal_id = exported(store)
    lines(settings, ("PO-2", None), units=48, day=date(2011, 12, 9), progress=progress)
    assert order_lines(settings, store) == {proposal_id: "PO-2:1"}
    for _ in range(2):
        assert open_proposals(settings, NEXT_DAY, store).empty
        assert misnamed_proposals(settings, store) == []
        publish(settings, store, NEXT_DAY)
        made = store.proposal(proposal_id)[0]
        assert (made.state, made.erp_order) == ({"open": "acknowledged"}.get(progress, progress), "PO-2:1")
    told = [step["reason"] for step in store.proposal(proposal_id)[1]]
    assert "purchase order line PO-2:1 appeared without its proposal_id, matched by order number or units" in told


@pytest.mark.parametrize(
    "line",
    [{"units": 47}, {"day": AS_OF}, {"sku": "CUP"}, {"progress": "cancelled"}],
    ids=["other units", "ordered on the day it was proposed for", "another item", "cancelled"],
)
def test_a_line_that_differs_from_the_proposal_does_not_stand_for_it(
    settings: Settings, store: Store, line: dict[str, Any]
) -> None:
    exported(store)
    lines(settings, ("PO-2", None), **{"units": 48, "day": date(2011, 12, 9), **line})
    assert order_lines(settings, store) == {}
    assert len(open_proposals(settings, NEXT_DAY, store)) == 1


def test_what_was_not_handed_out_is_not_matched(settings: Settings, store: Store) -> None:
    approved(store)
    lines(settings, ("PO-2", None), units=48, day=date(2011, 12, 9))
    assert order_lines(settings, store) == {}


def test_two_lines_that_may_be_for_one_proposal_are_told_and_all_count(settings: Settings, store: Store) -> None:
    proposal_id = exported(store)
    lines(settings, ("PO-2", None), ("PO-3", None), units=48, day=date(2011, 12, 9))
    assert order_lines(settings, store) == {}
    assert len(open_proposals(settings, NEXT_DAY, store)) == 1
    told = misnamed_proposals(settings, store)
    assert [sentence.split(",")[0] for sentence in told] == [
        f"purchase order line PO-{number}:1 names no proposal and may belong to {proposal_id}" for number in (2, 3)
    ]


def test_the_number_that_the_erp_told_finds_the_line_whatever_it_orders(settings: Settings, store: Store) -> None:
    proposal_id = exported(store)
    store.acknowledge_proposal(proposal_id, "PO-3", author="erp")
    lines(settings, ("PO-2", None), ("PO-3", None), units=36)
    assert order_lines(settings, store) == {proposal_id: "PO-3:1"}


def test_a_line_stands_for_one_proposal_also_after_that_has_ended(settings: Settings, store: Store) -> None:
    first = exported(store)
    lines(settings, ("PO-2", None), units=48, day=date(2011, 12, 12), progress="received")
    open_proposals(settings, NEXT_DAY, store)
    publish(settings, store, NEXT_DAY)
    publish(settings, store, NEXT_DAY)
    assert store.proposal(first)[0].state == "received"
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48}
    version = store.open_orders().version
    (second,) = store.propose(date(2011, 12, 9), [order], seen_version=version, author="run").proposed
    store.decide_proposal(second, "approved", event_id="b", author="ann")
    store.pull_proposals(author="erp")
    assert second not in order_lines(settings, store)


def test_how_long_an_export_waits_for_its_line_is_the_homes_to_say(settings: Settings, store: Store) -> None:
    exported(store)
    for as_of, count in (("2011-12-18", 1), ("2011-12-19", 0)):
        found = open_proposals(replace(settings, proposal_overdue_days=3), replace(BUILD, as_of=as_of), store)
        assert len(found) == count
    late = replace(BUILD, as_of="2011-12-19")
    assert publish(settings, store, late).ended == []
    assert len(publish(replace(settings, proposal_overdue_days=3), store, late).ended) == 1


def wants(settings: Settings, units: float | None, *, held_back: float = 0, rejection: str | None = None) -> None:
    """Let the run need so many mugs, or none, of which the budget holds some back, or a rejection all."""
    ordered = 0 if rejection else (units or 0) - held_back
    write(
        settings.predictions / "restock_lines.parquet",
        f"select 'MUG' as sku, 'N' as location_id, 'S' as supplier_id, {ordered}::double as order_units, "
        f"'{'order' if ordered else 'no_order'}' as status",
    )
    steps = {"moq": units or 0, "rejected": -(units or 0) if rejection else 0, "held_back": -held_back}
    rows = ", ".join(f"('MUG', 'N', '{term}', {change}::double)" for term, change in steps.items() if change)
    rows = rows or "('', '', '', 0.0::double)"
    write(
        settings.predictions / "restock_terms.parquet",
        f"from (values {rows}) as t(sku, location_id, term, units)",
    )
    write(
        settings.predictions / "rejected_needs.parquet",
        f"select 'MUG' as sku, 'N' as location_id, '{rejection}' as proposal_id where {bool(rejection)}",
    )
    write(
        settings.exports / "marts" / "fct_replenishment_terms.parquet",
        "select 'MUG' as sku, 'N' as location_id, 1.25::decimal(18, 4) as unit_cost, "
        "6::decimal(18, 3) as order_multiple_units",
    )


def listed(settings: Settings, store: Store, build: Build = BUILD) -> list[dict[str, Any]]:
    return listed_proposals(settings, build, store).to_dict("records")


def publish(settings: Settings, store: Store, build: Build = BUILD) -> Any:
    """Publish what is listed, as the reporting pass would have it; return what became of its lines."""
    write(
        settings.exports / "reporting" / "purchase_order_proposals.parquet",
        f"""
        select listed.proposal_id, listed.state, 'MUG' as sku, 'N' as location_id, 'S' as supplier_id,
            lines.order_units::decimal(18, 3) as order_units, 1.25::decimal(18, 4) as unit_cost,
            date '2011-12-12' as order_by_date, date '2011-12-15' as expected_arrival_date, {TOLD}
        from (values {
            ", ".join(f"('{row['proposal_id']}', '{row['state']}')" for row in listed(settings, store, build))
            or "('', '')"
        }) as listed (proposal_id, state)
        cross join read_parquet('{settings.predictions}/restock_lines.parquet') as lines
        """,
    )
    fence = store.claim("generation", "run")
    return store.publish("generation", fence, f"g{fence}", {}, outbox_of(settings, build, store))


def test_what_is_announced_is_what_publication_proposes(settings: Settings, store: Store) -> None:
    wants(settings, 48)
    open_proposals(settings, BUILD, store)
    (announced,) = listed(settings, store)
    report = publish(settings, store)
    assert (announced["state"], report.proposed) == ("proposed", [announced["proposal_id"]])
    (made,) = store.proposals()
    assert (made.order_units, made.expires_date) == (Decimal("48.000"), date(2011, 12, 12))
    assert (made.expected_date, made.detail["pack_units"]) == (date(2011, 12, 15), "6.000")


def test_what_is_approved_while_a_run_works_is_in_its_list_and_not_proposed_again(
    settings: Settings, store: Store
) -> None:
    wants(settings, 48)
    open_proposals(settings, BUILD, store)
    assert listed(settings, store)[0]["state"] == "proposed"
    proposal_id = approved(store)
    (row,) = listed(settings, store)
    assert (row["proposal_id"], row["state"], row["order_units"]) == (proposal_id, "approved", 48.0)
    assert row["decided_until"] == store.proposal(proposal_id)[0].changed_at
    assert publish(settings, store).proposed == []


def test_a_rejected_need_is_listed_with_the_rejection_and_what_the_run_would_order(
    settings: Settings, store: Store
) -> None:
    proposal_id = approved(store)
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann", reason="too dear")
    wants(settings, 49)
    open_proposals(settings, BUILD, store)
    (row,) = listed(settings, store)
    assert (row["proposal_id"], row["state"], row["order_units"]) == (proposal_id, "rejected", 48.0)
    assert row["cause"] == (
        "rejected by ann until 2012-01-05 or until more than 72 are needed: too dear; this run would order 49"
    )
    assert publish(settings, store).proposed == []


def test_a_need_that_the_decision_took_off_is_listed_with_its_rejection_and_proposes_nothing(
    settings: Settings, store: Store
) -> None:
    proposal_id = approved(store)
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann", reason="too dear")
    wants(settings, 49, rejection=proposal_id)
    open_proposals(settings, BUILD, store)
    (row,) = listed(settings, store)
    assert (row["proposal_id"], row["state"]) == (proposal_id, "rejected")
    assert row["cause"].endswith("too dear; this run would order 49")
    assert publish(settings, store).proposed == []


def test_what_is_approved_after_the_decision_took_it_off_is_listed_once(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann", reason="too dear")
    wants(settings, 49, rejection=proposal_id)
    open_proposals(settings, BUILD, store)
    store.decide_proposal(proposal_id, "approved", event_id="again", author="ann")
    assert [row["state"] for row in listed(settings, store)] == ["approved"]


def test_a_rejection_holds_for_what_is_needed_whatever_the_budget_held_back_of_it(
    settings: Settings, store: Store
) -> None:
    wants(settings, 48, held_back=36)
    open_proposals(settings, BUILD, store)
    (proposal_id,) = publish(settings, store).proposed
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann")
    assert store.proposal(proposal_id)[0].rejected_until_units == Decimal("72.000")
    for needed, held_back, count in ((72, 0, 0), (73, 70, 1)):
        wants(settings, needed, held_back=held_back)
        open_proposals(settings, BUILD, store)
        assert len(publish(settings, store).proposed) == count


@pytest.mark.parametrize(
    ("as_of", "held"), [("2011-12-07", 0), ("2011-12-08", 1), ("2011-12-31", 1), ("2012-01-05", 0)]
)
def test_the_decision_knows_the_rejections_that_hold_on_its_day(
    settings: Settings, store: Store, as_of: str, held: int
) -> None:
    store.decide_proposal(approved(store), "rejected", event_id="r", author="ann", reason="too dear")
    found = rejected_needs(replace(BUILD, as_of=as_of), store)
    assert len(found) == held
    if held:
        assert found["rejection"].tolist() == [
            "rejected by ann until 2012-01-05 or until more than 72 are needed: too dear"
        ]
        write_predictions(settings, "rejected_needs", found, BUILD, None)
        assert rejections(settings).to_numpy().tolist() == [["MUG", "N", 72.0]]


def test_a_rejection_until_a_day_alone_is_of_any_quantity(settings: Settings, store: Store) -> None:
    decided = {"event_ids": ["r"], "author": "ann", "until_date": date(2011, 12, 20)}
    store.decide_proposals([approved(store)], "rejected", **decided)
    write_predictions(settings, "rejected_needs", rejected_needs(BUILD, store), BUILD, None)
    assert rejections(settings)["rejected_up_to_units"].tolist() == [float("inf")]


def test_an_archive_of_before_knows_no_rejections(settings: Settings) -> None:
    (settings.predictions / "rejected_needs.parquet").unlink()
    assert rejections(settings).empty


def test_what_expires_is_named_by_the_run_that_ends_it_and_by_its_repetition(settings: Settings, store: Store) -> None:
    proposal_id = approved(store, date(2011, 12, 1), expires_date=date(2011, 12, 7))
    for ended in ([(proposal_id, "approved, and not exported by 2011-12-07")], []):
        open_proposals(settings, BUILD, store)
        (row,) = listed(settings, store)
        assert (row["state"], row["cause"]) == ("expired", "approved, and not exported by 2011-12-07")
        assert publish(settings, store).ended == ended
    later = replace(BUILD, as_of="2011-12-09")
    open_proposals(settings, later, store)
    assert listed(settings, store, later) == []


@pytest.mark.parametrize("progress", ["open", "received", "cancelled"])
def test_a_proposal_ends_when_its_order_line_has_ended(settings: Settings, store: Store, progress: str) -> None:
    proposal_id = approved(store)
    lines(settings, ("PO-2", proposal_id), progress=progress)
    for _ in range(2):
        open_proposals(settings, BUILD, store)
        publish(settings, store)
    assert store.proposal(proposal_id)[0].state == {"open": "acknowledged"}.get(progress, progress)
    told = [(row["state"], row["cause"]) for row in listed(settings, store)]
    assert told == ([] if progress == "open" else [(progress, f"its purchase order line was {progress}")])


def test_a_proposal_split_over_two_lines_ends_with_the_last(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    ordered = "'S', 24::decimal(18, 3), date '2011-12-08'"
    rows = f"('PO-2', 1, 'MUG', 'N', '{{}}', '{{}}', {ordered}), ('PO-3', 1, 'MUG', 'N', 'received', '{{}}', {ordered})"
    for progress, state in (("open", "acknowledged"), ("cancelled", "received")):
        write(
            settings.exports / "marts" / "fct_purchase_order_lines.parquet",
            f"from (values {rows.format(progress, proposal_id, proposal_id)}) as t({LINE_COLUMNS})",
        )
        open_proposals(settings, BUILD, store)
        publish(settings, store)
        assert store.proposal(proposal_id)[0].state == state


def test_what_a_discontinued_product_would_order_is_listed_and_not_handed_out(settings: Settings, store: Store) -> None:
    approved(store)
    write(settings.exports / "marts" / "dim_products.parquet", "select 'MUG' as sku, false as is_active")
    open_proposals(settings, BUILD, store)
    (row,) = listed(settings, store)
    assert (row["state"], row["cause"]) == ("approved", "product MUG is discontinued: not exported")
    publish(settings, store)
    assert store.pull_proposals(author="erp") == []


def test_a_past_day_that_is_made_again_proposes_nothing(settings: Settings, store: Store) -> None:
    approved(store, date(2011, 12, 9))
    write(
        settings.exports / "reporting" / "purchase_order_proposals.parquet",
        f"""
        select '' as proposal_id, '' as state, '' as sku, '' as location_id, '' as supplier_id, 0 as order_units,
            0 as unit_cost, null::date as order_by_date, null::date as expected_arrival_date, {TOLD}
        where false
        """,
    )
    open_proposals(settings, BUILD, store)
    assert outbox_of(settings, BUILD, store).lines is None


LATER = date(2011, 12, 15)


def published(store: Store, told: date, as_of: date | None = None) -> None:
    """Publish a generation of a day, with the business day that the movements told then."""
    detail = {"as_of": (as_of or told).isoformat(), "data_as_of": told.isoformat()}
    store.publish("generation", store.claim("generation", "run"), f"g{told}{as_of}", detail, Outbox(told, None, 0, {}))


def test_where_the_movements_no_longer_tell_of_a_later_day_an_approval_stands_again(
    settings: Settings, store: Store
) -> None:
    proposal_id = approved(store, expires_date=date(2011, 12, 12))
    store.expire_proposals(LATER, author="run")
    published(store, LATER)
    assert turn_back(settings, replace(BUILD, data_as_of=AS_OF.isoformat()), store) == [proposal_id]
    assert open_proposals(settings, BUILD, store)["proposal_id"].tolist() == [proposal_id]


@pytest.mark.parametrize(
    ("told_before", "told_now"),
    [(AS_OF, AS_OF), (LATER, LATER), (date(2011, 12, 1), AS_OF)],
    ids=["the same day", "a day looked back at", "the next day"],
)
def test_otherwise_what_has_ended_has_ended(
    settings: Settings, store: Store, told_before: date, told_now: date
) -> None:
    approved(store, expires_date=date(2011, 12, 12))
    store.expire_proposals(LATER, author="run")
    published(store, told_before)
    assert turn_back(settings, replace(BUILD, data_as_of=told_now.isoformat()), store) == []


def test_the_day_that_the_movements_told_counts_not_the_one_that_was_published(
    settings: Settings, store: Store
) -> None:
    proposal_id = approved(store, expires_date=date(2011, 12, 12))
    store.expire_proposals(LATER, author="run")
    published(store, LATER, as_of=date(2011, 12, 1))
    assert turn_back(settings, replace(BUILD, data_as_of=AS_OF.isoformat()), store) == [proposal_id]


def test_after_the_day_went_back_a_run_proposes_again(settings: Settings, store: Store) -> None:
    order = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 48}
    store.propose(LATER, [order], seen_version=0, author="run")
    published(store, LATER)
    turn_back(settings, replace(BUILD, data_as_of=AS_OF.isoformat()), store)
    (standing,) = store.proposals()
    assert store.propose(AS_OF, [order], seen_version=0, author="run").unchanged == [standing.proposal_id]
    assert standing.as_of_date == AS_OF
