"""Decisions in bulk with an outcome for each, and approvals that order other units than proposed."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from serving.store import Acknowledgement, Decision, Outbox, Published, Store, StoreError
from serving.store.outcomes import parts
from serving.store.schema import events

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
    assert [store.decide([each])[0].is_known for each in (made[0], made[3])] == [True, True]
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


@pytest.mark.parametrize("units", [Decimal(18), None])
def test_other_units_than_are_approved_are_refused_and_the_remedy_orders_them(store, units):
    (made,) = propose(store, "MUG")
    seen = store.proposal(made)[0].version
    # Bob looked at the proposal of 24 units before Ann approved it.
    store.decide([approve(made, order_units=None if units else Decimal(18))])
    bob = Decision(made, "approved", "b", "bob", order_units=units, seen_version=seen)
    (outcome,) = store.decide([bob])
    standing, wanted = ("24", "18") if units else ("18", "24")
    assert (outcome.is_refused, outcome.is_known) == (True, False)
    assert f"approved with {standing} by ann: to order {wanted}, reject it and approve it" in outcome.message
    store.decide([Decision(made, "rejected", "r", "bob")])
    store.decide([Decision(made, "approved", "c", "bob", order_units=units)])
    assert [str(each.final_units) for each in store.pull_proposals(author="erp")] == [f"{wanted}.000"]


def test_who_approves_the_units_that_are_approved_is_right(store):
    (made,) = propose(store, "MUG")
    seen = store.proposal(made)[0].version
    store.decide([approve(made, order_units=Decimal(18))])
    for number, fields in enumerate([{"order_units": Decimal(18), "seen_version": seen}, {}]):
        (outcome,) = store.decide([approve(made, str(number), **fields)])
        assert outcome.is_known and outcome.message.startswith("approved already: ")


def test_units_of_what_the_erp_has_are_changed_there(store):
    (made,) = propose(store, "MUG")
    store.decide([approve(made)])
    store.pull_proposals(author="erp")
    (outcome,) = store.decide([approve(made, "b", order_units=Decimal(18))])
    assert outcome.is_refused and "change the order in the ERP and acknowledge it with 18" in outcome.message
    store.acknowledge_proposals([Acknowledgement(made, "PO-1", Decimal(18))], author="erp")
    assert store.proposal(made)[0].coming_units == 18


def test_an_approval_event_without_effect_says_so(store):
    mug, cup = propose(store, "MUG", "CUP")
    store.decide([approve(mug)])
    event = {"event_type": "approval", "occurred_at": "2011-03-01T10:00:00Z", "decision": "approved", "author": "bob"}
    known = {**event, "event_id": "k", "proposal_id": cup}
    late = {**event, "event_id": "l", "proposal_id": mug, "order_units": "18"}
    store.append([known], source="api")
    report = store.append([known, late, {**event, "event_id": "n", "proposal_id": "none"}], source="api")
    assert [each.result for each in report.outcomes] == ["duplicate", "accepted", "refused"]
    assert (report.outcomes[1].rule, report.accepted) == ("without_effect", 1)
    assert "approved with 24 by ann" in report.outcomes[1].reason
    assert parts(report, [1, 2])[1].outcomes == report.outcomes[1:]


def beside(store: Store, units: int = 48) -> list[str]:
    """Propose an order and a transfer that add up to the 60 units needed, and an order of another item."""
    lines: list[dict[str, Any]] = [
        {"sku": "MUG", "location_id": "N", "supplier_id": "ACME", "order_units": units},
        {"sku": "MUG", "location_id": "N", "from_location_id": "S", "order_units": 12},
        {"sku": "CUP", "location_id": "N", "supplier_id": "ACME", "order_units": 5},
    ]
    ids = store.announce_proposals(DAY, lines, seen_version=0).ids
    order, move, other = ids[("MUG", "N", "")], ids[("MUG", "N", "S")], ids[("CUP", "N", "")]
    lines[0]["detail"] = {"beside": [move], "place_needed_units": "60"}
    lines[1]["detail"] = {"beside": [order], "place_needed_units": "60"}
    store.propose(DAY, lines, seen_version=0, author="run")
    return [order, move, other]


@pytest.mark.parametrize("is_all_or_none", [False, True])
def test_decisions_of_one_call_are_judged_one_after_the_other(store, is_all_or_none):
    order, move, other = beside(store)
    made = [approve(order, order_units=Decimal(60)), Decision(other, "rejected", "r", "ann"), approve(move)]
    outcomes = store.decide(made, is_all_or_none=is_all_or_none)
    assert [each.is_refused for each in outcomes] == [False, False, True]
    assert "superseded by ann" in outcomes[2].message
    states = ["proposed"] * 3 if is_all_or_none else ["approved", "superseded", "rejected"]
    assert [store.proposal(each)[0].state for each in (order, move, other)] == states
    assert len(store.decisions_since(0)) == (0 if is_all_or_none else 2)
    assert store.verify().is_whole


@pytest.mark.parametrize(("proposed", "approved", "is_needless"), [(48, 60, True), (60, 48, False), (60, None, True)])
def test_what_an_approval_supersedes_is_told_as_it_happens(store, proposed, approved, is_needless):
    order, move, _ = beside(store, proposed)
    (outcome,) = store.decide([approve(order, order_units=None if approved is None else Decimal(approved))])
    assert (f"supersedes the transfer from S of 12 ({move})" in outcome.message) == is_needless
    assert (store.proposal(move)[0].state == "superseded") == is_needless


def test_what_a_call_decides_twice_is_refused(store):
    mug, cup = propose(store, "MUG", "CUP")
    outcomes = store.decide([approve(mug, "e"), approve(cup, "e"), Decision(mug, "rejected", "r", "ann")])
    assert [each.is_refused for each in outcomes] == [False, True, True]
    assert "event_id 'e' names another decision of the call" in outcomes[1].message
    assert "decide of each proposal once" in outcomes[2].message
    assert [store.proposal(each)[0].state for each in (mug, cup)] == ["approved", "proposed"]
    assert store.quarantine_counts()["added"] == 0
    with pytest.raises(StoreError, match="decide of each proposal once"):
        store.decide([approve(cup, "a"), approve(cup, "b", order_units=Decimal(3))], is_all_or_none=True)


def test_an_approval_of_as_many_as_proposed_adjusts_nothing(store):
    (made,) = propose(store, "MUG")
    store.decide([approve(made, order_units=Decimal(24))])
    assert store.proposal(made)[0].adjusted_units is None


def test_what_stands_in_its_place_is_named_with_its_approved_units(store):
    (first,) = propose(store, "MUG")
    seen = store.open_orders().version
    line = {"sku": "MUG", "location_id": "NORTH", "supplier_id": "ACME", "order_units": 30}
    (second,) = store.propose(NEXT_DAY, [line], seen_version=seen, author="run").proposed
    store.decide([approve(second, order_units=Decimal(18))])
    (outcome,) = store.decide([approve(first)])
    assert f"{second} (18 units, approved) stands in its place" in outcome.message


@pytest.mark.parametrize("state", ["approved", "exported"])
@pytest.mark.parametrize("was_known", [True, False])
def test_a_restore_brings_back_what_an_approval_adjusted_and_the_approval(url, tmp_path, was_known, state):
    with Store.open(url) as store:
        made, other = propose(store, "MUG", "CUP")
        if was_known:
            store.backup(tmp_path / "backup.sqlite")
        named = store.proposal(made)[0]
        store.decide([approve(made, order_units=Decimal(18)), approve(other, order_units=Decimal(9))])
        sequence = store.head()[0]
    lines = [
        {"proposal_id": made, "as_of_date": named.as_of_date, "sku": named.sku, "location_id": "NORTH"}
        | {"supplier_id": "ACME", "order_units": Decimal(24), "state": state}
        | {"adjusted_units": Decimal(18), "adjusted_by": "ann"}
    ]
    restored = f"sqlite:///{tmp_path}/restored.sqlite"
    if was_known:
        Store.restore(tmp_path / "backup.sqlite", restored)
    else:
        Store.migrate(restored)
    with Store.open(restored) as store:
        for _ in range(2):
            store.reconcile(Published("generation", "g", {}, lines, sequence))
        assert store.verify().is_whole
        found = store.proposal(made)[0]
        assert (found.order_units, found.adjusted_units, found.adjusted_by) == (24, 18, "ann")
        assert found.state == state
        with store.reading() as connection:
            (logged,) = connection.execute(select(events).where(events.c.event_type == "approval")).all()
        assert (logged.author, json.loads(logged.payload)["proposal_id"]) == ("ann", made)
        assert logged.sequence > sequence
        store.confirm_restored(author="bob")
        (pulled,) = store.pull_proposals(author="erp")
        assert pulled.final_units == 18


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


def test_a_rejection_until_more_than_can_be_counted_is_refused_or_held_to_what_can(store):
    (made,) = propose(store, "MUG", units=10**15 - 1)
    (outcome,) = store.decide([Decision(made, "rejected", "a", "ann", until_grows_percent=Decimal(999_999_999))])
    assert outcome.is_refused and "until_grows_percent 999999999" in outcome.message
    (outcome,) = store.decide([Decision(made, "rejected", "b", "ann", until_grows_percent=Decimal(10_000))])
    assert not outcome.is_refused


@pytest.mark.parametrize("event", ["x", None, 5])
def test_what_is_no_event_at_all_is_refused(store, event):
    (outcome,) = store.append([event], source="api").outcomes
    assert (outcome.result, outcome.rule) == ("refused", "not_an_object")


@pytest.mark.parametrize(
    ("decided", "column", "value"),
    [
        # Of what was approved, rejected and approved again the last approval counts.
        ([("approved", 90), ("rejected", None), ("approved", 18)], "adjusted_thousandths", 90_000),
        ([("approved", 90), ("rejected", None), ("approved", None)], "adjusted_thousandths", 90_000),
        ([("approved", 18)], "adjusted_thousandths", None),
        ([("approved", 18)], "adjusted_by", "bob"),
        # The second approval comes too late.
        ([("approved", None), ("approved", 90)], "adjusted_thousandths", 90_000),
        ([("approved", 18), ("approved", 90)], "adjusted_thousandths", 90_000),
    ],
)
@pytest.mark.parametrize("reason", ["", "shelf"])
def test_units_are_those_of_the_last_approval_that_had_an_effect(store, decided, column, value, reason):
    (made,) = propose(store, "MUG")
    for number, (decision, units) in enumerate(decided):
        event = {"event_type": "approval", "occurred_at": "2011-03-01T10:00:00Z", "author": "ann", "reason": reason}
        event |= {"event_id": f"{number}", "proposal_id": made, "decision": decision, "order_units": units}
        store.append([event], source="api")
    assert store.verify().is_whole
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE proposals SET adjusted_by = 'ann'")
        set_to = "NULL" if value is None else repr(value)
        connection.exec_driver_sql(f"UPDATE proposals SET {column} = {set_to}")
    assert "orders other units than its approval says" in store.verify().problems[0]
    if value is not None:
        with pytest.raises(StoreError, match="other units than its approval"):
            store.pull_proposals(author="erp")
