"""Decisions in bulk with an outcome for each, and approvals that order other units than proposed."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from serving.store import Acknowledgement, Decision, Outbox, Published, Store, StoreError

DAY, NEXT_DAY = date(2011, 3, 1), date(2011, 3, 2)


def propose(store: Store, *skus: str, units: int = 24) -> list[str]:
    lines = [
        {"sku": sku, "location_id": "NORTH", "supplier_id": "ACME", "order_units": units, "detail": {"reason": "24"}}
        for sku in skus
    ]
    return store.propose(DAY, lines, seen_version=store.open_orders().version, author="run").proposed


def approve(proposal_id: str, event_id: str = "", **fields: Any) -> Decision:
    return Decision(proposal_id, "approved", event_id or f"approve {proposal_id}", "ann", **fields)


def test_each_decision_has_its_outcome_and_one_that_is_refused_keeps_no_other(store):
    first, second = propose(store, "MUG", "CUP")
    made = [approve(first), approve("none"), approve(second, order_units=Decimal(-1)), approve(first, "again")]
    outcomes = store.decide(made[:3])
    assert [outcome.is_refused for outcome in outcomes] == [False, True, True]
    assert "above zero" in outcomes[2].message
    assert [outcome.is_known for outcome in store.decide([made[0], made[3]])] == [True, True]
    assert [store.proposal(named)[0].state for named in (first, second)] == ["approved", "proposed"]


def test_all_or_none_changes_nothing_where_one_is_refused(store):
    (made,) = propose(store, "MUG")
    outcomes = store.decide([approve(made), approve("none")], is_all_or_none=True)
    assert [outcome.is_refused for outcome in outcomes] == [False, True]
    assert store.proposal(made)[0].state == "proposed"


def test_a_decision_on_what_has_changed_since_it_was_looked_at_is_refused(store):
    (made,) = propose(store, "MUG")
    version = store.proposal(made)[0].version
    store.decide([Decision(made, "rejected", "r", "bob")])
    (outcome,) = store.decide([approve(made, seen_version=version)])
    assert outcome.is_refused and "rejected by bob; look again" in outcome.message
    (outcome,) = store.decide([approve(made, seen_version=store.proposal(made)[0].version)])
    assert not outcome.is_refused


def test_an_approval_may_order_other_units_to_the_end(store):
    (made,) = propose(store, "MUG")
    store.decide([approve(made, order_units=Decimal(18), reason="shelf is small", device="console")])
    (pulled,) = store.pull_proposals(author="erp")
    assert (pulled.order_units, pulled.final_units, pulled.coming_units) == (24, 18, 18)
    assert (pulled.adjusted_by, store.verify().is_whole) == ("ann", True)
    (outcome,) = store.acknowledge_proposals([Acknowledgement(made, "PO-1", Decimal(18))], author="erp")
    assert outcome.message == "ERP order PO-1"
    assert store.proposal(made)[0].acknowledged_units is None
    # What the next run counts as on order is what was approved.
    assert store.open_orders().proposals[0].coming_units == 18
    store.publish(
        "g", store.claim("g", "run"), "1", {}, Outbox(NEXT_DAY, [], store.open_orders().version, {made: "PO-1:1"})
    )
    assert store.proposal(made)[0].adjusted_units == 18


def test_an_approval_of_as_many_as_proposed_adjusts_nothing(store):
    (made,) = propose(store, "MUG")
    store.decide([approve(made, order_units=Decimal(24))])
    assert store.proposal(made)[0].adjusted_units is None


def test_a_rejection_has_no_units(store):
    (made,) = propose(store, "MUG")
    with pytest.raises(StoreError, match=r"order_units 3\.000 go with an approval"):
        store.decide([Decision(made, "rejected", "r", "ann", order_units=Decimal(3))], is_all_or_none=True)


def test_units_that_were_changed_outside_are_found(store):
    (made,) = propose(store, "MUG")
    store.decide([approve(made, order_units=Decimal(18))])
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE proposals SET adjusted_thousandths = 99000")
    assert "orders other units than its approval says" in store.verify().problems[0]
    with pytest.raises(StoreError, match="other units than its approval"):
        store.pull_proposals(author="erp")


def test_proposals_of_a_site_and_a_supplier_are_found(store):
    lines = [
        {"sku": sku, "location_id": place, "supplier_id": supplier, "order_units": 6}
        for sku, place, supplier in (("A", "N", "X"), ("B", "N", "Y"), ("C", "S", "X"), ("D", "W", "X"))
    ]
    store.propose(DAY, lines, seen_version=0, author="run")

    def skus(**filters: Any) -> list[str]:
        return sorted(made.sku for made in store.proposals(**filters))

    assert skus(location_ids=["N"]) == ["A", "B"]
    assert skus(location_ids=["N", "S"], supplier_id="X", state="proposed") == ["A", "C"]
    assert skus(location_ids=[]) == []


def test_what_an_archive_names_in_the_units_that_were_on_order_is_no_change_from_outside(url, tmp_path):
    with Store.open(url) as store:
        (made,) = propose(store, "MUG")
        named = store.proposal(made)[0]
    Store.migrate(f"sqlite:///{tmp_path}/lost.sqlite")
    with Store.open(f"sqlite:///{tmp_path}/lost.sqlite") as store:
        archived = {"proposal_id": made, "as_of_date": named.as_of_date, "sku": "MUG", "location_id": "NORTH"}
        archived |= {"supplier_id": "ACME", "order_units": Decimal(18), "state": "superseded"}
        store.reconcile(Published("generation", None, {}, [archived]))
        assert store.proposal(made)[0].state == "superseded"
        assert store.verify().is_whole
