"""Transfers beside a run: counted once, from the approval to the shelf, and only where somebody has approved them."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_planning_proposals import lines, nothing_moves, wants, write

from orchestration.home.settings import Settings
from orchestration.planning.proposals import misnamed_proposals, open_proposals, outbox_of, seen_outbox
from orchestration.planning.transfers import (
    listed_transfers,
    misnamed_movements,
    open_transfers,
    rejected_transfers,
)
from orchestration.warehouse.build import Build
from orchestration.warehouse.handoff import write_predictions
from orchestration.warehouse.restock_frames import open_orders, promises, stock_position
from orchestration.warehouse.restock_frames import rejected_transfers as rejected_moves
from serving.store import Store

AS_OF = date(2011, 12, 8)
BUILD = Build("run", AS_OF.isoformat(), "2011-12-09T06:00:00+00:00", 1, "code")
MOVE = {
    "sku": "MUG",
    "location_id": "S",
    "from_location_id": "N",
    "order_units": 24,
    "unit_cost": "0.04",
    "order_by_date": "2011-12-10",
    "expires_date": "2011-12-10",
    "expected_date": "2011-12-11",
    "detail": {"lead_time_days": "2"},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    settings.predictions.mkdir(parents=True)
    lines(settings, ("PO-1", None))
    write(settings.exports / "marts" / "dim_products.parquet", "select 'MUG' as sku, true as is_active")
    write(
        settings.exports / "marts" / "dim_transfer_lanes.parquet",
        "select 'N' as from_location_id, 'S' as to_location_id, 2 as lead_time_days, 0.04::decimal(18, 4) as unit_cost",
    )
    for name in TABLES:
        write(settings.exports / "marts" / f"{name}.parquet", TABLES[name])
    wants(settings, None)
    nothing_moves(settings)
    would_move(settings)
    return settings


TABLES = {
    "fct_open_orders": """
        select '' as sku, '' as location_id, 1 as periods_ahead, 0.0 as open_units, false as is_late, 0 as days_late,
            false as is_doubtful, '' as purchase_order_id, 1 as line
        where false
    """,
    "fct_reservations": """
        select '' as sku, '' as location_id, '' as document, 1 as days_until_due, 0.0 as reserved_units,
            0.0 as backordered_units
        where false
    """,
    "fct_stock_position": """
        select 'MUG' as sku, location_id, 100.0 as on_hand_units, 0.0 as sold_since_units, 3.0 as reserved_units,
            0.0 as backordered_units
        from (values ('N'), ('S')) as places(location_id)
    """,
}


def would_move(settings: Settings, *moves: tuple[int, bool]) -> None:
    """Let the run decide to move so many mugs from N to S; true = a rejection holds them back."""
    rows = ", ".join(f"({units}::double, {is_rejected})" for units, is_rejected in moves) or "(0.0::double, null)"
    write(
        settings.predictions / "stock_transfers.parquet",
        f"select 'MUG' as sku, 'N' as from_location_id, 'S' as to_location_id, units, is_rejected "
        f"from (values {rows}) as moves(units, is_rejected) where is_rejected is not null",
    )


def moved(
    settings: Settings, *rows: tuple[str | None, str, str, float] | tuple[str | None, str, str, float, str]
) -> None:
    """Let movements tell: reference (a word before a slash is the document), type, location, units and day of December.

    Without a day what left did so on the ninth, and what came on the tenth.
    """
    told = []
    for number, (named, kind, place, units, *day) in enumerate(rows):
        document, _, reference = (named or "").rpartition("/")
        on = day[0] if day else {"transfer_out": "09", "transfer_in": "10"}[kind]
        told.append(
            f"('wms', '{document or f'D{number}'}', 1, nullif('{reference}', ''), 'MUG', '{place}', '{kind}', "
            f"{units}::decimal(18, 3), date '2011-12-{on}')"
        )
    names = "source, document, line, reference, sku, location_id, movement_type, units, day"
    rows_told = f"from (values {', '.join(told)}) as t({names})"
    write(settings.exports / "marts" / "fct_transfer_movements.parquet", rows_told)


def approved(store: Store, **more: Any) -> str:
    version = store.open_orders().version
    (proposal_id,) = store.propose(AS_OF, [MOVE | more], seen_version=version, author="run").proposed
    store.decide_proposal(proposal_id, "approved", event_id=f"approve {proposal_id}", author="ann")
    return proposal_id


def at(day: str) -> Build:
    return replace(BUILD, as_of=day)


def counted(settings: Settings, store: Store, build: Build = BUILD) -> dict[str, Any]:
    """Return what the decision sees: coming to S and when, reserved at N of the 3 promised, and what leaves N."""
    write_predictions(settings, "open_transfers", open_transfers(settings, build, store), build, None)
    write_predictions(settings, "open_proposals", open_proposals(settings, build, store), build, None)
    orders, stock = open_orders(settings), stock_position(settings, promises(settings)).set_index("location_id")
    return {
        "coming": orders[["location_id", "units", "periods_ahead", "arrives_as_planned"]].to_numpy().tolist(),
        "reserved": stock.loc["N", "reserved_units"],
        "leaving": stock.loc["N", "transfer_out_units"],
    }


NOTHING = {"coming": [], "reserved": 3.0, "leaving": 0.0}


def test_a_proposed_transfer_counts_nowhere(settings: Settings, store: Store) -> None:
    store.propose(AS_OF, [MOVE], seen_version=0, author="run")
    assert counted(settings, store) == NOTHING


def test_an_approved_transfer_is_on_order_where_it_goes_and_reserved_where_it_leaves(
    settings: Settings, store: Store
) -> None:
    approved(store)
    assert counted(settings, store) == {"coming": [["S", 24.0, 3, True]], "reserved": 27.0, "leaving": 24.0}
    # What has not left by the tenth cannot come on the eleventh.
    late = {"coming": [["S", 24.0, 3, True]], "reserved": 27.0, "leaving": 24.0}
    assert counted(settings, store, at("2011-12-10")) == late


def test_what_the_erp_sends_of_it_counts(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    store.acknowledge_proposal(proposal_id, "T-1", author="erp", ordered_units=Decimal(18))
    assert counted(settings, store) == {"coming": [["S", 18.0, 3, True]], "reserved": 21.0, "leaving": 18.0}


def test_what_was_shipped_is_on_its_way_and_reserved_no_longer(settings: Settings, store: Store) -> None:
    moved(settings, (approved(store), "transfer_out", "N", 24))
    # It left on the ninth and is two days on the way.
    assert counted(settings, store, at("2011-12-09")) == NOTHING | {"coming": [["S", 24.0, 2, True]]}


def test_a_transfer_on_two_trucks_keeps_its_rest_until_the_second_one(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    first = (proposal_id, "transfer_out", "N", 18)
    moved(settings, first)
    # What has not left on the ninth leaves on the tenth at the earliest, and is two days on the way.
    rest = {"coming": [["S", 18.0, 2, True], ["S", 6.0, 3, True]], "reserved": 9.0, "leaving": 6.0}
    assert counted(settings, store, at("2011-12-09")) == rest
    publish(settings, store, at("2011-12-09"))
    assert counted(settings, store, at("2011-12-09")) == rest
    moved(settings, first, (proposal_id, "transfer_out", "N", 6, "10"), (proposal_id, "transfer_in", "S", 18, "11"))
    assert counted(settings, store, at("2011-12-11")) == NOTHING | {"coming": [["S", 6.0, 1, True]]}
    moved(settings, first, (proposal_id, "transfer_in", "S", 18, "11"))
    assert counted(settings, store, at("2011-12-11")) == rest | {"coming": [["S", 6.0, 3, True]]}
    (row,) = listed(settings, store, at("2011-12-11"))
    assert (row["state"], row["shipped_units"], row["received_units"]) == ("acknowledged", 18.0, 18.0)


def test_the_erp_closes_the_rest_of_a_transfer_with_the_units_it_sent(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    store.acknowledge_proposal(proposal_id, "T-1", author="erp")
    moved(settings, (proposal_id, "transfer_out", "N", 18), (proposal_id, "transfer_in", "S", 18))
    publish(settings, store, at("2011-12-10"))
    assert counted(settings, store, at("2011-12-10"))["leaving"] == 6.0
    store.acknowledge_proposal(proposal_id, "T-1", author="erp", ordered_units=Decimal(18))
    assert counted(settings, store, at("2011-12-10")) == NOTHING
    assert publish(settings, store, at("2011-12-10")).ended == [(proposal_id, "18 units came by 2011-12-10")]


def test_a_cancelled_transfer_sends_no_more_and_what_was_shipped_still_comes(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    moved(settings, (proposal_id, "transfer_out", "N", 18))
    publish(settings, store, at("2011-12-09"))
    (outcome,) = store.decide_proposals([proposal_id], "cancelled", event_ids=["c"], author="ann", reason="sold out")
    assert outcome.message.startswith("cancelled: no more of it is sent, what was shipped counts until it has come")
    assert counted(settings, store, at("2011-12-09")) == NOTHING | {"coming": [["S", 18.0, 2, True]]}
    assert [made.proposal_id for made in store.withdrawn_proposals()] == [proposal_id]


def test_the_rest_that_is_not_sent_in_time_ends(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "N", 18), (proposal_id, "transfer_in", "S", 18))
    publish(settings, store)
    assert counted(settings, store, at("2011-12-25"))["leaving"] == 6.0
    assert counted(settings, store, at("2011-12-26")) == NOTHING
    why = "18 units came by 2011-12-10; the rest of 6 was not sent by 2011-12-25, and is expected no more"
    assert publish(settings, store, at("2011-12-26")).ended == [(proposal_id, why)]
    # The same day, run again, tells the same.
    (row,) = listed(settings, store, at("2011-12-26"))
    assert (row["state"], row["cause"]) == ("received", why)


def test_of_a_transfer_that_nobody_approved_only_what_was_shipped_counts(settings: Settings, store: Store) -> None:
    (proposal_id,) = store.propose(AS_OF, [MOVE], seen_version=0, author="run").proposed
    moved(settings, (proposal_id, "transfer_out", "N", 18))
    shipped = NOTHING | {"coming": [["S", 18.0, 2, True]]}
    assert counted(settings, store, at("2011-12-09")) == shipped
    publish(settings, store, at("2011-12-09"))
    assert store.proposal(proposal_id)[0].state == "acknowledged"
    assert counted(settings, store, at("2011-12-09")) == shipped


@pytest.mark.parametrize("named", ["T-1", "T-1/", "T-1/other"])
def test_movements_that_name_the_number_of_the_erp_are_of_its_transfer(
    settings: Settings, store: Store, named: str
) -> None:
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    store.acknowledge_proposal(proposal_id, "T-1", author="erp")
    moved(settings, (named, "transfer_out", "N", 24))
    assert counted(settings, store, at("2011-12-09")) == NOTHING | {"coming": [["S", 24.0, 2, True]]}
    publish(settings, store, at("2011-12-09"))
    assert store.proposal(proposal_id)[0].has_order_line
    # A document of the same number, from before the transfer was proposed, is another one.
    moved(settings, (named, "transfer_out", "N", 24, "07"))
    assert counted(settings, store)["leaving"] == 24.0


def test_two_transfers_under_one_number_share_its_movements(settings: Settings, store: Store) -> None:
    ids = [approved(store), approved(store)]
    assert len(set(ids)) == 2
    store.pull_proposals(author="erp")
    for proposal_id in ids:
        store.acknowledge_proposal(proposal_id, "T-1", author="erp")
    moved(settings, ("T-1", "transfer_out", "N", 30))
    found = counted(settings, store, at("2011-12-09"))
    assert (found["leaving"], sum(units for _, units, _, _ in found["coming"])) == (18.0, 48.0)
    assert sorted(row["shipped_units"] for row in listed(settings, store, at("2011-12-09"))) == [6.0, 24.0]


def test_movements_that_nearly_are_a_transfer_are_told_with_what_to_do(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, ("D-7/typo", "transfer_out", "N", 20), ("D-8/", "transfer_in", "S", 5))
    assert counted(settings, store, at("2011-12-09"))["leaving"] == 24.0
    (row,) = listed(settings, store, at("2011-12-09"))
    assert row["nearly_matched"] == (
        "a transfer_out of 20 MUG at N on 2011-12-09 names no transfer and is nearly this one, which still counts as "
        f"to be sent: if it is part of it, send line 1 of document D-7 again with reference {proposal_id} and the next "
        "revision"
    )
    for other in (("D-7/", "transfer_out", "N", 17), ("D-7/", "transfer_out", "N", 24, "07")):
        moved(settings, other)
        assert [row["nearly_matched"] for row in listed(settings, store, at("2011-12-09"))] == [None]


def test_a_corrected_shipment_counts_as_corrected(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "N", 18))
    publish(settings, store)
    moved(settings, (proposal_id, "transfer_out", "N", 20))
    corrected = [["S", 20.0, 2, True], ["S", 4.0, 3, True]]
    assert counted(settings, store, at("2011-12-09"))["coming"] == corrected
    nothing_moves(settings)
    waits_again = {"coming": [["S", 24.0, 3, True]], "reserved": 27.0, "leaving": 24.0}
    assert counted(settings, store, at("2011-12-09")) == waits_again
    publish(settings, store)
    assert store.proposal(proposal_id)[0].has_order_line is False


def test_what_has_come_is_stock_and_the_rest_still_on_its_way(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "N", 24), (proposal_id, "transfer_in", "S", 12))
    assert counted(settings, store, at("2011-12-10")) == NOTHING | {"coming": [["S", 12.0, 1, True]]}
    moved(settings, (proposal_id, "transfer_out", "N", 24), (proposal_id, "transfer_in", "S", 24))
    assert counted(settings, store, at("2011-12-10")) == NOTHING
    assert publish(settings, store).ended == [(proposal_id, "24 units came by 2011-12-10")]
    assert store.proposal(proposal_id)[0].state == "received"


def test_what_came_without_a_shipment_stays_reserved_where_the_record_still_has_it(
    settings: Settings, store: Store
) -> None:
    moved(settings, (approved(store), "transfer_in", "S", 24))
    assert counted(settings, store) == NOTHING | {"reserved": 27.0, "leaving": 24.0}


def test_what_never_comes_ends_and_is_told(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "N", 24), (proposal_id, "transfer_in", "S", 18))
    publish(settings, store)
    late = at("2011-12-26")
    assert counted(settings, store, at("2011-12-25"))["coming"] == [["S", 6.0, 1, True]]
    assert counted(settings, store, late) == NOTHING
    (row,) = listed(settings, store, late)
    why = "6 of 24 units have not come by 2011-12-25: count both shelves"
    assert (row["state"], row["cause"]) == ("expired", why)
    assert publish(settings, store, late).ended == [(proposal_id, why)]


def test_an_approved_transfer_that_nobody_sends_ends(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    store.pull_proposals(author="erp")
    assert counted(settings, store, at("2011-12-25"))["leaving"] == 24.0
    assert counted(settings, store, at("2011-12-26")) == NOTHING
    told = [(proposal_id, "expected on 2011-12-11, and no shipment by 2011-12-25")]
    assert publish(settings, store, at("2011-12-26")).ended == told


def test_on_a_day_looked_back_at_what_left_later_has_not_left(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "N", 24), (proposal_id, "transfer_in", "S", 24))
    publish(settings, store)
    nothing_moves(settings)
    back = replace(BUILD, data_as_of="2011-12-10")
    assert counted(settings, store, back)["leaving"] == 24.0
    assert counted(settings, store, replace(back, as_of="2011-12-07")) == NOTHING


def test_movements_of_another_item_or_place_are_told_and_not_counted(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    moved(settings, (proposal_id, "transfer_out", "S", 24), (proposal_id, "transfer_in", "S", 4))
    assert counted(settings, store)["coming"] == [["S", 20.0, 3, True]]
    (told,) = misnamed_movements(settings, store)
    assert told.startswith(
        f"a transfer_out of 24 MUG at S on 2011-12-09 names proposal {proposal_id}, "
        "which is the transfer of MUG from N to S"
    )


def test_a_purchase_order_line_stands_for_no_transfer(settings: Settings, store: Store) -> None:
    proposal_id = approved(store)
    lines(settings, ("PO-2", proposal_id))
    assert counted(settings, store)["leaving"] == 24.0
    assert len(misnamed_proposals(settings, store)) == 1


def test_transfers_are_listed_as_the_outbox_stands(settings: Settings, store: Store) -> None:
    would_move(settings, (24, False))
    (announced,) = listed(settings, store)
    assert (announced["state"], announced["from_location_id"]) == ("proposed", "N")
    proposal_id = approved(store)
    assert proposal_id == announced["proposal_id"]
    # Approved while the run worked: it is in the list as it stands, and not proposed a second time.
    again = listed_transfers(settings, BUILD, store, seen_outbox(settings))
    assert again[["state", "order_units"]].to_numpy().tolist() == [["approved", 24.0]]


def test_a_rejected_transfer_holds_its_move_back_and_is_listed_with_the_cause(settings: Settings, store: Store) -> None:
    (proposal_id,) = store.propose(AS_OF, [MOVE], seen_version=0, author="run").proposed
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann", reason="the truck is full")
    write_predictions(settings, "rejected_transfers", rejected_transfers(BUILD, store), BUILD, None)
    assert rejected_moves(settings).to_dict("records") == [
        {"sku": "MUG", "from_location_id": "N", "to_location_id": "S", "rejected_up_to_units": 36.0}
    ]
    would_move(settings, (30, True))
    open_proposals(settings, BUILD, store)
    (row,) = listed(settings, store)
    assert (row["proposal_id"], row["state"]) == (proposal_id, "rejected")
    assert row["cause"] == (
        "rejected by ann until 2012-01-05 or until more than 36 are needed: the truck is full; this run would move 30"
    )


def listed(settings: Settings, store: Store, build: Build = BUILD) -> list[dict[str, Any]]:
    write_predictions(settings, "rejected_transfers", rejected_transfers(build, store), build, None)
    open_proposals(settings, build, store)
    return listed_transfers(settings, build, store, seen_outbox(settings)).to_dict("records")


def publish(settings: Settings, store: Store, build: Build = BUILD) -> Any:
    """Publish a run that wants nothing and has seen what movements tell."""
    write(
        settings.exports / "reporting" / "purchase_order_proposals.parquet",
        """
        select '' as proposal_id, '' as state, '' as sku, '' as location_id, '' as supplier_id, 0 as order_units,
            0 as unit_cost, current_date as order_by_date, current_date as expected_arrival_date,
            '' as recommendation_id, '' as supplier_name, '' as product_name, '' as location_name, '' as supplier_sku,
            '' as unit_of_measure, 1 as pack_units, 0 as minimum_order_value, current_date as stockout_date,
            0 as lost_margin_avoided, '' as reason
        where false
        """,
    )
    open_proposals(settings, build, store)
    fence = store.claim("generation", "run")
    return store.publish("generation", fence, f"g{fence}", {}, outbox_of(settings, build, store))


def test_the_frames_of_an_earlier_archive_know_no_transfers(settings: Settings) -> None:
    write(
        settings.predictions / "open_proposals.parquet",
        "select '' as sku, '' as location_id, 1 as periods_ahead, 0.0 as open_units, current_date as as_of_date, "
        "current_date as expected_date, '' as proposal_id where false",
    )
    assert open_orders(settings).empty
    assert stock_position(settings, promises(settings))["transfer_out_units"].tolist() == [0.0, 0.0]
    assert rejected_moves(settings).empty
