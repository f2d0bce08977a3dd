"""Transfers in the outbox: proposed, decided, handed out, shipped and received, beside the orders of the same item."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from serving.store import Acknowledgement, Outbox, Published, Shipment, Store, StoreError

DAY = date(2011, 3, 1)
NEXT_DAY = DAY + timedelta(days=1)
ORDER = {"sku": "MUG", "location_id": "SOUTH", "supplier_id": "ACME", "order_units": 24, "unit_cost": "1.25"}
MOVE = {"sku": "MUG", "location_id": "SOUTH", "from_location_id": "NORTH", "order_units": 12, "unit_cost": "0.04"}


def propose(store: Store, *lines: dict[str, Any], day: date = DAY, **more: Any) -> Any:
    more = {"seen_version": store.open_orders().version} | more
    return store.propose(day, lines, author="run", **more)


def decide(store: Store, *ids: str, decision: str = "approved") -> list[str]:
    events = [f"{decision} {each} {datetime.now(UTC)}" for each in ids]
    outcomes = store.decide_proposals(ids, decision, event_ids=events, author="ann", reason="so be it")
    assert not any(each.is_refused for each in outcomes), outcomes
    return [each.message for each in outcomes]


def states(store: Store) -> dict[str, str]:
    return {made.from_location_id or "supplier": made.state for made in store.proposals()}


def settle(store: Store, day: date = NEXT_DAY, **more: Any) -> Any:
    claim = store.claim("generation", "run", {})
    outbox = Outbox(day, more.pop("lines", None), store.open_orders().version, more.pop("order_lines", {}), **more)
    return store.publish("generation", claim, None, {}, outbox)


def test_an_item_has_one_undecided_order_and_one_transfer_from_each_location(store: Store) -> None:
    west = MOVE | {"from_location_id": "WEST"}
    report = propose(store, ORDER, MOVE, west)
    assert len(set(report.proposed)) == 3
    assert propose(store, ORDER, MOVE, west).unchanged == sorted(report.proposed, key=report.proposed.index)
    assert propose(store, MOVE).superseded
    with pytest.raises(StoreError, match="Two lines propose 'MUG' for 'SOUTH' from 'NORTH'"):
        propose(store, MOVE, MOVE)
    with pytest.raises(StoreError, match="from 'NORTH' to itself"):
        propose(store, MOVE | {"location_id": "NORTH"})


def test_the_id_of_a_transfer_is_made_from_where_it_leaves_too(store: Store) -> None:
    ids = [propose(store, MOVE | {"from_location_id": origin}).proposed[0] for origin in ("NORTH", "WEST")]
    assert len({each.split("-")[1] for each in ids}) == 2


def test_approving_the_order_and_the_transfers_of_one_run_leaves_each_other(store: Store) -> None:
    order, move = both(store, needed="36")
    decide(store, move)
    assert states(store) == {"supplier": "proposed", "NORTH": "approved"}
    decide(store, order)
    assert states(store) == {"supplier": "approved", "NORTH": "approved"}


@pytest.mark.parametrize(("approved", "needed", "left"), [("order", "24", "superseded"), ("order", "24.5", "proposed")])
def test_an_order_that_covers_the_whole_need_supersedes_the_transfer(
    store: Store, approved: str, needed: str, left: str
) -> None:
    order, move = both(store, needed)
    (told,) = decide(store, order if approved == "order" else move)
    assert states(store)["NORTH"] == left
    assert ("; supersedes the transfer from NORTH of 12" in told) == (left == "superseded")


def test_a_transfer_that_covers_the_whole_need_supersedes_the_order(store: Store) -> None:
    _, move = both(store, needed="12")
    (told,) = decide(store, move)
    assert states(store) == {"supplier": "superseded", "NORTH": "approved"}
    assert "supersedes the order of 24" in told
    (order,) = store.proposals(state="superseded")
    assert order.change_reason == f"{move} is approved, 12 units: 12 are needed"


def test_a_rejected_transfer_that_is_approved_later_supersedes_the_order_made_without_it(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move, decision="rejected")
    propose(store, ORDER)
    decide(store, move)
    assert states(store) == {"supplier": "superseded", "NORTH": "approved"}
    (order,) = store.proposals(state="superseded")
    assert order.change_reason == f"decided without {move}, which is approved: the next run proposes what is needed"


def test_a_rejected_order_that_is_approved_later_supersedes_the_transfer_made_without_it(store: Store) -> None:
    (order,) = propose(store, ORDER).proposed
    decide(store, order, decision="rejected")
    propose(store, MOVE)
    decide(store, order)
    assert states(store) == {"supplier": "approved", "NORTH": "superseded"}


def test_proposals_approved_together_supersede_none_of_each_other(store: Store) -> None:
    decide(store, *both(store, needed="12"))
    assert states(store) == {"supplier": "approved", "NORTH": "approved"}


def test_a_rejected_transfer_stays_away_from_its_lane_alone(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move, decision="rejected")
    west = MOVE | {"from_location_id": "WEST"}
    report = propose(store, ORDER, MOVE, west, day=NEXT_DAY)
    assert [reason for _, _, reason in report.skipped] == [f"rejected as proposal {move}"]
    assert states(store) == {"NORTH": "rejected", "supplier": "proposed", "WEST": "proposed"}
    assert propose(store, MOVE | {"order_units": 36}, day=NEXT_DAY).proposed  # it has grown by more than half


def test_a_run_that_has_not_seen_an_approval_proposes_nothing_of_that_place_and_nothing_more_from_that_origin(
    store: Store,
) -> None:
    seen = store.open_orders().version
    order, move = both(store, needed="36")
    decide(store, move)
    other, east = MOVE | {"location_id": "EAST"}, MOVE | {"location_id": "EAST", "from_location_id": "WEST"}
    report = propose(store, ORDER | {"order_units": 36}, other, east, seen_version=seen)
    assert {made.location_id: made.from_location_id for made in store.proposals(state="proposed")} == {
        "SOUTH": "",
        "EAST": "WEST",
    }
    assert len(report.skipped) == 2
    (standing,) = [made for made in store.proposals(state="proposed") if made.location_id == "SOUTH"]
    assert (standing.proposal_id, standing.order_units) == (order, 24)


def test_transfers_are_handed_out_as_orders_of_their_own(store: Store) -> None:
    decide(store, *propose(store, ORDER, MOVE, MOVE | {"sku": "CUP"}).proposed)
    handed = store.pull_proposals(author="erp")
    assert len({made.order_id for made in handed}) == 2
    assert {made.order_id for made in handed if made.is_transfer} == {
        made.order_id for made in handed if (made.order_id or "").startswith("20110301-NORTH-SOUTH-")
    }


def test_a_transfer_is_acknowledged_with_another_quantity_corrected_or_refused(store: Store) -> None:
    ids = propose(store, MOVE, MOVE | {"sku": "CUP"}).proposed
    decide(store, *ids)
    store.pull_proposals(author="erp")
    said = [Acknowledgement(ids[0], "T-1", Decimal(6)), Acknowledgement(ids[1], None, Decimal(0))]
    assert not any(each.is_refused for each in store.acknowledge_proposals(said, author="erp"))
    assert [(made.state, made.coming_units) for made in map(store.proposals_named(ids).get, ids) if made] == [
        *(("acknowledged", Decimal(6)), ("cancelled", Decimal(12))),
    ]
    store.acknowledge_proposal(ids[0], "T-1", author="erp", ordered_units=Decimal(9))
    assert store.proposal(ids[0])[0].coming_units == 9
    (other,) = store.acknowledge_proposals([Acknowledgement(ids[0], "T-2")], author="erp")
    assert "would move the goods twice" in other.message


def test_what_was_shipped_stands_for_its_transfer_which_sends_no_more_when_it_is_cancelled(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move)
    settle(store, shipments={move: Shipment(Decimal(10), "10 units on 2011-03-02")})
    made, _ = store.proposal(move)
    assert (made.state, made.has_order_line, made.change_reason) == (
        *("acknowledged", True, "shipped: 10 units on 2011-03-02"),
    )
    assert store.open_orders().proposals == []
    (told,) = store.decide_proposals([move], "cancelled", event_ids=["c"], author="ann", reason="no")
    assert told.message.startswith("cancelled: no more of it is sent")


def test_what_has_come_ends_its_transfer(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move)
    settle(store, shipments={move: Shipment(Decimal(10), "10 units on 2011-03-02")})
    ended = settle(
        store, shipments={move: Shipment(Decimal(10), "-")}, ended_transfers={move: ("received", "10 units came")}
    ).ended
    assert ended == [(move, "10 units came")]
    assert store.proposal(move)[0].state == "received"


def test_a_shipment_counts_whatever_was_decided(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move, decision="rejected")
    settle(store, shipments={move: Shipment(Decimal(9), "9 units on 2011-03-02")})
    made, _ = store.proposal(move)
    # Nobody has approved more than that.
    assert (made.state, made.coming_units, made.change_reason) == (
        *("acknowledged", 9, "shipped: 9 units on 2011-03-02, although it was rejected"),
    )


def test_a_shipment_that_is_corrected_to_nothing_lets_the_transfer_wait_again(store: Store) -> None:
    (move,) = propose(store, MOVE).proposed
    decide(store, move)
    settle(store, shipments={move: Shipment(Decimal(12), "12 units on 2011-03-02")})
    settle(store, unshipped=[move])
    assert [made.proposal_id for made in store.open_orders().proposals] == [move]


def test_a_restore_puts_transfers_back_under_their_ids(store: Store) -> None:
    move = {**MOVE, "proposal_id": "20110301-0123456789abcdef-1-1", "as_of_date": DAY.isoformat(), "state": "approved"}
    found = store.reconcile(Published("generation", "g1", {}, [move]))
    (made,) = found.put_back
    assert (made.item, made.supplier_id, made.state) == (("MUG", "SOUTH", "NORTH"), "", "approved")
    assert propose(store, MOVE | {"sku": "CUP"}).proposed[0].split("-")[2] == "2"


def both(store: Store, needed: str) -> tuple[str, str]:
    """Propose an order of 24 and a transfer of 12 that one run decided together, and return their ids."""
    ids = announced(store)
    lines = [
        line | {"proposal_id": ids[kind], "detail": {"beside": [ids[other]], "place_needed_units": needed}}
        for line, kind, other in ((ORDER, "", "NORTH"), (MOVE, "NORTH", ""))
    ]
    assert not propose(store, *lines).skipped
    return ids[""], ids["NORTH"]


def announced(store: Store) -> dict[str, str]:
    made = store.announce_proposals(DAY, [ORDER, MOVE], seen_version=store.open_orders().version)
    assert made is not None
    return {origin: proposal_id for (_, _, origin), proposal_id in made.ids.items()}
