"""Policies and the outbox: which value holds, and that an order is proposed, pulled and made once."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from serving.store import Acknowledgement, Outbox, Store, StoreError, UnknownRow, WrongState

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)
DAY = date(2011, 3, 1)
NEXT_DAY = date(2011, 3, 2)


def override(event_id: str, value: Any, scope: str = "default", **fields: Any) -> dict[str, Any]:
    return {
        "event_type": "policy_override",
        "event_id": event_id,
        "occurred_at": NOON,
        "scope": scope,
        "setting": "target_value",
        "value": value,
        "valid_from": "2011-01-01",
        "author": "ann",
        "reason": "season",
        **fields,
    }


def effective(store: Store, day: date = DAY, segments: tuple[str, ...] = ("A", "X")) -> str | None:
    found = store.effective_policy(sku="MUG", location_id="NORTH", segments=segments, day=day)
    return found["target_value"].value if found else None


def test_without_an_override_nothing_holds(store):
    assert effective(store) is None


def test_an_item_overrides_its_segment_and_that_the_default(store):
    item = override("3", "0.99", "item", sku="MUG", location_id="NORTH")
    store.append([item, override("2", "0.97", "segment", segment="A"), override("1", "0.95")], source="console")
    found = store.effective_policy(sku="MUG", location_id="NORTH", segments=["A"], day=DAY)["target_value"]
    assert (found.value, found.source.scope, found.source.author, found.source.reason) == (
        "0.99",
        "item",
        "ann",
        "season",
    )
    other = store.effective_policy(sku="CUP", location_id="NORTH", segments=["A"], day=DAY)["target_value"]
    assert (other.value, other.source.scope) == ("0.97", "segment")
    assert (
        store.effective_policy(sku="CUP", location_id="NORTH", segments=["B"], day=DAY)["target_value"].value == "0.95"
    )


def test_an_override_holds_from_its_first_to_its_last_day(store):
    promotion = override("2", "0.99", valid_from="2011-03-05", valid_to="2011-03-07")
    store.append([override("1", "0.95"), promotion], source="console")
    days = [date(2011, 3, day) for day in range(4, 9)]
    assert [effective(store, day) for day in days] == ["0.95", "0.99", "0.99", "0.99", "0.95"]


def test_of_two_for_the_same_target_the_later_one_holds(store):
    store.append([override("1", "0.95"), override("2", "0.90")], source="console")
    assert effective(store) == "0.90"


def test_an_override_without_a_value_withdraws_what_its_scope_set(store):
    store.append([override("1", "0.95"), override("2", "0.99", "segment", segment="A")], source="console")
    assert effective(store) == "0.99"
    store.append([override("3", None, "segment", segment="A")], source="console")
    assert effective(store) == "0.95"


def test_contradicting_segments_are_named_with_the_value(store):
    store.append(
        [override("1", "0.97", "segment", segment="A"), override("2", "0.90", "segment", segment="X")], source="console"
    )
    found = store.effective_policy(sku="MUG", location_id="NORTH", segments=["A", "X"], day=DAY)["target_value"]
    assert (found.value, [other.segment for other in found.contradicts]) == ("0.90", ["A"])


def test_every_override_that_was_ever_made_can_be_read(store):
    store.append([override("1", "0.95"), override("2", "0.90")], source="console")
    assert [made.value for made in store.policy_overrides()] == ["0.95", "0.90"]
    assert [made.value for made in store.policy_overrides(DAY)] == ["0.90"]


def line(sku: str = "MUG", units: Any = 48, **fields: Any) -> dict[str, Any]:
    return {
        "sku": sku,
        "location_id": "NORTH",
        "supplier_id": "ACME",
        "order_units": units,
        "unit_cost": "1.25",
        "expires_date": "2011-03-08",
        "detail": {"reason": "61 expected"},
        **fields,
    }


def propose(store: Store, lines: list[dict[str, Any]], day: date = DAY) -> Any:
    return store.propose(day, lines, seen_version=store.open_orders().version, author="run-1")


def announce(store: Store, lines: list[dict[str, Any]], day: date = DAY) -> Any:
    return store.announce_proposals(day, lines, seen_version=store.open_orders().version)


def approve(store: Store, proposal_id: str) -> None:
    store.decide_proposal(proposal_id, "approved", event_id=f"approve {proposal_id}", author="ann")


def test_a_rerun_proposes_the_same_order_under_the_same_id(store):
    first = propose(store, [line()])
    again = propose(store, [line(detail={"reason": "other words"})])
    assert (again.unchanged, again.proposed) == (first.proposed, [])


def test_an_id_is_the_same_in_a_store_with_the_same_history(tmp_path, store):
    other_url = f"sqlite:///{tmp_path}/other.sqlite"
    Store.migrate(other_url)
    with Store.open(other_url) as other:
        assert propose(other, [line()]).proposed == propose(store, [line()]).proposed


def test_another_quantity_supersedes_the_undecided_proposal(store):
    (old,) = propose(store, [line()]).proposed
    report = propose(store, [line(units=60)], NEXT_DAY)
    assert report.superseded == [old]
    assert [proposal.order_units for proposal in store.proposals(state="proposed")] == [Decimal("60.000")]
    assert [step["state"] for step in store.proposal(old)[1]] == ["proposed", "superseded"]


def test_an_order_no_longer_wanted_is_superseded(store):
    (old,) = propose(store, [line()]).proposed
    assert propose(store, []).superseded == [old]


def test_what_is_approved_counts_as_on_order_until_its_line_appears(store):
    (proposal_id,) = propose(store, [line()]).proposed
    assert store.open_orders().proposals == []
    approve(store, proposal_id)
    assert [proposal.order_units for proposal in store.open_orders().proposals] == [Decimal("48.000")]
    store.pull_proposals(author="erp")
    store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    assert len(store.open_orders().proposals) == 1
    assert store.order_lines_appeared({proposal_id: "PO-7:1", "unknown": "PO-8:1"}, author="run-2") == [proposal_id]
    assert store.open_orders().proposals == []
    assert store.order_lines_appeared({proposal_id: "PO-7:1"}, author="run-3") == []


def test_a_run_that_looked_before_an_approval_does_not_order_again(store):
    seen = store.open_orders().version
    (proposal_id,) = store.propose(DAY, [line()], seen_version=seen, author="run-1").proposed
    approve(store, proposal_id)
    report = store.propose(DAY, [line(units=60)], seen_version=seen, author="run-2")
    assert (report.proposed, report.skipped[0][:2]) == ([], ("MUG", "NORTH"))


def test_a_run_that_looked_after_an_approval_may_order_more(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    assert len(propose(store, [line(units=12)], NEXT_DAY).proposed) == 1


def test_two_runs_at_once_make_one_proposal(url):
    def run(number: int) -> Any:
        with Store.open(url) as store:
            return store.propose(DAY, [line()], seen_version=0, author=f"run-{number}")

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(run, range(2)))
    assert sorted(len(report.proposed) for report in reports) == [0, 1]


def test_twenty_pulls_make_one_order_line(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    erp = {}
    for _ in range(20):
        for proposal in store.pull_proposals(author="erp"):
            erp[proposal.proposal_id] = proposal.order_units
    assert erp == {proposal_id: Decimal("48.000")}
    assert [step["state"] for step in store.proposal(proposal_id)[1]] == ["proposed", "approved", "exported"]


def test_a_crash_between_export_and_acknowledgement_replays(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    store.pull_proposals(author="erp")
    (again,) = store.pull_proposals(author="erp")
    assert again.proposal_id == proposal_id
    first = store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    assert store.acknowledge_proposal(proposal_id, "PO-7", author="erp") == first
    assert store.pull_proposals(author="erp") == []


def test_an_acknowledgement_that_was_lost_is_made_up_by_the_order_line(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    store.pull_proposals(author="erp")
    store.order_lines_appeared({proposal_id: "PO-7:1"}, author="run-2")
    assert store.pull_proposals(author="erp") == []
    assert store.proposal(proposal_id)[0].state == "acknowledged"


def test_a_second_order_number_for_one_proposal_is_refused(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    store.pull_proposals(author="erp")
    store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    with pytest.raises(WrongState, match="buy the goods twice"):
        store.acknowledge_proposal(proposal_id, "PO-8", author="erp")


def test_only_an_exported_proposal_can_be_acknowledged(store):
    (proposal_id,) = propose(store, [line()]).proposed
    with pytest.raises(WrongState, match="only an exported"):
        store.acknowledge_proposal(proposal_id, "PO-7", author="erp")


def test_an_undecided_proposal_is_never_pulled(store):
    propose(store, [line()])
    assert store.pull_proposals(author="erp") == []


def test_a_superseded_proposal_cannot_be_approved(store):
    (old,) = propose(store, [line()]).proposed
    propose(store, [line(units=60)])
    with pytest.raises(WrongState, match="superseded"):
        approve(store, old)


def test_a_decision_is_an_event_and_repeating_it_is_harmless(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    approve(store, proposal_id)
    assert [event["event_type"] for event in store.decisions_since(0)] == ["approval"]


def test_an_approval_from_the_stream_that_comes_too_late_moves_nothing(store):
    (old,) = propose(store, [line()]).proposed
    propose(store, [line(units=60)])
    late = {"event_type": "approval", "event_id": "a1", "occurred_at": NOON, "author": "bob"}
    store.append([{**late, "proposal_id": old, "decision": "approved"}], source="stream")
    proposal, steps = store.proposal(old)
    assert (proposal.state, steps[-1]["reason"]) == ("superseded", "approved too late.")


def test_a_proposal_that_was_not_ordered_in_time_expires(store):
    propose(store, [line("MUG"), line("CUP", expires_date=None)])
    assert store.expire_proposals(date(2011, 3, 8), author="run-2") == []
    assert len(store.expire_proposals(date(2011, 3, 9), author="run-2")) == 1
    assert [proposal.sku for proposal in store.proposals(state="proposed")] == ["CUP"]


def test_an_announced_id_is_the_one_that_is_proposed(store):
    announced = announce(store, [line()])
    assert announced.ids == {("MUG", "NORTH", ""): propose(store, [line()]).proposed[0]}
    assert announce(store, [line()]) == announced


def test_a_line_whose_announced_id_was_taken_in_between_is_skipped(store):
    announced = announce(store, [line()]).ids["MUG", "NORTH", ""]
    propose(store, [line()])
    propose(store, [line(units=60)])
    report = propose(store, [line(proposal_id=announced)])
    assert (report.proposed, report.skipped[0][:2]) == ([], ("MUG", "NORTH"))


def reject(store: Store, proposal_id: str, reason: str = "too dear", **until: Any) -> None:
    ids = {"event_ids": [f"reject {proposal_id} {until}"], "author": "ann", "reason": reason}
    (outcome,) = store.decide_proposals([proposal_id], "rejected", **ids, **until)
    assert not outcome.is_refused, outcome


def days(later: int) -> date:
    return DAY + timedelta(days=later)


@pytest.mark.parametrize(
    ("until", "later", "units", "is_held"),
    [
        ({}, 0, 48, True),
        ({}, 27, 72, True),
        ({}, 27, 73, False),
        ({}, 28, 48, False),
        ({"until_date": DAY + timedelta(days=90)}, 89, 4_000, True),
        ({"until_date": DAY + timedelta(days=90)}, 90, 1, False),
        ({"until_grows_percent": Decimal(10)}, 400, 52, True),
        ({"until_grows_percent": Decimal(10)}, 1, 53, False),
    ],
)
def test_a_rejection_holds_until_its_day_or_until_the_need_has_grown(store, until, later, units, is_held):
    (proposal_id,) = propose(store, [line()]).proposed
    reject(store, proposal_id, **until)
    announced = announce(store, [line(units=units)], days(later))
    assert (len(announced.ids), len(announced.rejected)) == ((0, 1) if is_held else (1, 0))
    assert len(propose(store, [line(units=units)], days(later)).proposed) == (not is_held)


@pytest.mark.parametrize(("pack", "same", "larger"), [(None, 2, 3), ("6", 7, 8)])
def test_a_need_that_moves_by_a_unit_or_a_pack_is_the_rejected_need(store, pack, same, larger):
    (proposal_id,) = propose(store, [line(units=1, detail={"pack_units": pack})]).proposed
    reject(store, proposal_id)
    assert propose(store, [line(units=same)], NEXT_DAY).proposed == []
    assert len(propose(store, [line(units=larger)], NEXT_DAY).proposed) == 1


def test_a_rejection_is_told_with_author_terms_and_reason(store):
    (proposal_id,) = propose(store, [line()]).proposed
    reject(store, proposal_id)
    (held,) = announce(store, [line(units=49)], NEXT_DAY).rejected.values()
    assert held.rejection == "rejected by ann until 2011-03-29 or until more than 72 are needed: too dear"


def test_a_rejection_that_was_outgrown_holds_no_longer(store):
    (proposal_id,) = propose(store, [line()]).proposed
    reject(store, proposal_id)
    propose(store, [line(units=100)], NEXT_DAY)
    assert len(propose(store, [line(units=50)], days(2)).proposed) == 1


def test_a_rejected_proposal_can_be_approved_after_all_and_is_told_who_had_rejected_it(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    reject(store, proposal_id)
    (outcome,) = store.decide_proposals([proposal_id], "approved", event_ids=["again"], author="bob")
    assert "approved; before: rejected by ann at" in outcome.message
    assert "(too dear)" in outcome.message
    assert [step["state"] for step in store.proposal(proposal_id)[1]] == [
        "proposed",
        "approved",
        "rejected",
        "approved",
    ]


def test_a_rejected_proposal_cannot_be_approved_beside_the_one_in_its_place(store):
    (old,) = propose(store, [line()]).proposed
    reject(store, old)
    (new,) = propose(store, [line(units=100)], NEXT_DAY).proposed
    with pytest.raises(WrongState, match=f"{new} .100 units, proposed. stands in its place"):
        approve(store, old)


def test_of_two_rejected_proposals_of_an_item_only_the_later_one_can_be_approved(store):
    (old,) = propose(store, [line()]).proposed
    reject(store, old)
    (new,) = propose(store, [line(units=100)], NEXT_DAY).proposed
    reject(store, new)
    outcomes = store.decide_proposals([old, new], "approved", event_ids=["a", "b"], author="bob")
    assert [outcome.is_refused for outcome in outcomes] == [True, False]
    assert store.open_orders().proposals == []


def test_decisions_on_many_are_all_or_nothing(store):
    first, second = propose(store, [line("CUP"), line("MUG")]).proposed
    outcomes = store.decide_proposals([first, "none", second], "approved", event_ids=["a", "b", "c"], author="ann")
    assert [outcome.is_refused for outcome in outcomes] == [False, True, False]
    assert {made.state for made in store.proposals()} == {"proposed"}
    assert store.decisions_since(0) == []


def test_two_planners_who_approve_at_once_are_both_right(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    (outcome,) = store.decide_proposals([proposal_id], "approved", event_ids=["bob"], author="bob")
    assert (outcome.is_refused, outcome.is_known) == (False, True)
    assert outcome.message.startswith("approved already: approved by ann at")
    assert len(store.decisions_since(0)) == 1


def test_many_are_approved_in_one_step_of_the_log(store):
    lines = [line(f"S{number}") for number in range(1_200)]
    ids = propose(store, lines).proposed
    store.decide_proposals(ids, "approved", event_ids=ids, author="ann")
    assert {made.state for made in store.proposals(limit=1_200)} == {"approved"}
    assert store.verify().batches == 1


def exported(store: Store, **fields: Any) -> str:
    (proposal_id,) = propose(store, [line(**fields)]).proposed
    approve(store, proposal_id)
    store.pull_proposals(author="erp")
    return str(proposal_id)


@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_what_the_erp_will_not_order_is_cancelled_and_needed_again(store, is_acknowledged):
    proposal_id = exported(store)
    if is_acknowledged:
        store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    store.decide_proposal(proposal_id, "cancelled", event_id="c", author="ann", reason="out of stock there")
    assert (store.open_orders().proposals, store.pull_proposals(author="erp")) == ([], [])
    assert len(propose(store, [line()], NEXT_DAY).proposed) == 1


def test_what_was_handed_out_is_cancelled_and_not_rejected(store):
    proposal_id = exported(store)
    with pytest.raises(WrongState, match="inventorybot proposals cancel"):
        store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann")


def test_what_has_its_order_line_is_cancelled_in_the_erp(store):
    proposal_id = exported(store)
    store.order_lines_appeared({proposal_id: "PO-7:1"}, author="run")
    with pytest.raises(WrongState, match="PO-7:1 exists: cancel the line in the ERP"):
        store.decide_proposal(proposal_id, "cancelled", event_id="c", author="ann")


def publish(store: Store, day: date, lines: list[dict[str, Any]], **found: Any) -> Any:
    fence, seen = store.claim("generation", "run"), store.open_orders().version
    outbox = Outbox(day, lines, seen, found.pop("order_lines", {}), **found)
    return store.publish("generation", fence, f"g{fence}", {}, outbox)


@pytest.mark.parametrize("end", ["received", "cancelled"])
def test_a_proposal_ends_with_its_purchase_order_line(store, end):
    proposal_id = exported(store)
    seen = {"order_lines": {proposal_id: "PO-7:1"}, "ended_lines": {proposal_id: end}}
    assert publish(store, NEXT_DAY, [], **seen).ended == [(proposal_id, f"its purchase order line was {end}")]
    assert publish(store, NEXT_DAY, [], **seen).ended == []
    found = store.proposal(proposal_id)[0]
    assert (found.state, found.ended_date) == (end, NEXT_DAY)
    assert store.proposals_ended_on(NEXT_DAY) == [found]


@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_what_was_never_delivered_ends_two_weeks_after_its_day_and_says_so(store, is_acknowledged):
    proposal_id = exported(store, expected_date="2011-03-10")
    if is_acknowledged:
        store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    assert publish(store, date(2011, 3, 24), []).ended == []
    reason = "expected on 2011-03-10, and no purchase order line by 2011-03-24"
    assert publish(store, date(2011, 3, 25), []).ended == [(proposal_id, reason)]
    assert store.proposal(proposal_id)[0].state == "expired"


def test_a_line_that_appears_after_the_end_is_known_again(store):
    proposal_id = exported(store, expected_date="2011-03-10")
    publish(store, date(2011, 3, 25), [])
    publish(store, date(2011, 3, 26), [], order_lines={proposal_id: "PO-7:1"})
    assert store.proposal(proposal_id)[0].state == "acknowledged"
    assert "although it was expired" in store.proposal(proposal_id)[1][-1]["reason"]


def test_what_is_held_is_not_handed_out_until_it_is_held_no_longer(store):
    proposal_id = exported(store)
    publish(store, NEXT_DAY, [], held={proposal_id: "product MUG is discontinued"})
    assert store.pull_proposals(author="erp") == []
    assert store.open_orders().proposals[0].held_reason == "product MUG is discontinued"
    publish(store, NEXT_DAY, [])
    assert len(store.pull_proposals(author="erp")) == 1


def test_an_order_that_was_counted_and_exported_meanwhile_is_no_reason_to_leave_its_item_out(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    seen = store.open_orders().version
    store.pull_proposals(author="erp")
    more = {"seen_version": seen, "author": "run-2"}
    assert store.propose(NEXT_DAY, [line(units=12)], **more).proposed == []
    assert len(store.propose(NEXT_DAY, [line(units=12)], **more, counted=[proposal_id]).proposed) == 1


def test_an_id_is_made_from_what_it_orders(store):
    first = propose(store, [line()]).proposed + propose(store, [line(units=60)]).proposed
    again = propose(store, [line()]).proposed + propose(store, [line(unit_cost="1.30")]).proposed
    assert len({proposal_id.rsplit("-", 1)[0] for proposal_id in first + again}) == 3
    assert first[0].endswith("-1") and again[0] == f"{first[0][:-1]}2"


def _change(store: Store, statement: str) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql(statement)


def test_a_quantity_that_was_changed_from_outside_is_not_handed_out(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    _change(store, "UPDATE proposals SET order_thousandths = 9400000000")
    with pytest.raises(StoreError, match="9400000 of 'MUG', which does not match its id"):
        store.pull_proposals(author="erp")
    assert store.verify().problems == [f"Proposal {proposal_id} orders something else than its id was made for."]


def test_verify_notices_an_approval_that_nobody_made(store):
    (proposal_id,) = propose(store, [line()]).proposed
    _change(store, "UPDATE proposals SET state = 'approved'")
    assert store.verify().problems == [f"Proposal {proposal_id} is approved, its history says proposed."]


def test_an_undecided_proposal_that_is_wanted_again_takes_the_dates_of_the_later_run(store):
    (proposal_id,) = propose(store, [line()]).proposed
    assert propose(store, [line(expires_date="2011-03-20")], NEXT_DAY).unchanged == [proposal_id]
    found = store.proposal(proposal_id)[0]
    assert (found.as_of_date, found.expires_date) == (NEXT_DAY, date(2011, 3, 20))


def test_a_past_day_that_is_made_again_is_told_that_it_proposes_nothing(store):
    (proposal_id,) = propose(store, [line()], NEXT_DAY).proposed
    approve(store, proposal_id)
    assert announce(store, [line()]) is None


def test_a_publication_expires_what_was_approved_and_not_exported_in_time(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    fence, seen = store.claim("generation", "run-2"), store.open_orders().version
    later = Outbox(date(2011, 3, 9), [line(expires_date="2011-03-20")], seen, {})
    assert len(store.publish("generation", fence, "g2", {}, later).proposed) == 1
    assert store.proposal(proposal_id)[0].state == "expired"


def test_an_order_line_that_appeared_is_no_reason_to_leave_its_item_out(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    store.pull_proposals(author="erp")
    fence, seen = store.claim("generation", "run-2"), store.open_orders().version
    later = Outbox(NEXT_DAY, [line(units=12)], seen, {proposal_id: "PO-7:1"})
    assert len(store.publish("generation", fence, "g2", {}, later).proposed) == 1
    assert store.open_orders().proposals == []


def test_a_run_of_an_earlier_day_may_not_replace_later_proposals(store):
    propose(store, [line()], NEXT_DAY)
    with pytest.raises(StoreError, match="earlier day"):
        propose(store, [line()], DAY)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line(), line()], "Two lines propose"),
        ([line(units=0)], "more than zero"),
        ([line(units=2.5)], "float"),
        ([line(supplier_id=None)], "supplier_id is missing"),
    ],
)
def test_a_malformed_line_is_refused_and_nothing_is_proposed(store, lines, words):
    with pytest.raises(StoreError, match=words):
        propose(store, lines)
    assert store.proposals() == []


def test_an_unknown_proposal_is_named(store):
    with pytest.raises(UnknownRow, match="'none'"):
        store.proposal("none")


LATER = date(2011, 3, 20)


@pytest.mark.parametrize("state", ["approved", "exported", "acknowledged"])
def test_what_ended_for_a_later_day_alone_stands_again_as_it_was(store, state):
    (proposal_id,) = propose(store, [line(expected_date="2011-03-04")]).proposed
    approve(store, proposal_id)
    if state != "approved":
        store.pull_proposals(author="erp")
    if state == "acknowledged":
        store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    assert store.expire_proposals(LATER, author="run") == [proposal_id]
    assert store.turn_back(DAY, author="run") == [proposal_id]
    made, steps = store.proposal(proposal_id)
    assert (made.state, made.ended_date, steps[-1]["state"]) == (state, None, state)
    assert store.turn_back(DAY, author="run") == []


def test_what_has_ended_by_the_right_day_too_stays_so(store):
    (proposal_id,) = propose(store, [line()]).proposed
    approve(store, proposal_id)
    store.expire_proposals(LATER, author="run")
    assert store.turn_back(date(2011, 3, 9), author="run") == []
    assert store.proposal(proposal_id)[0].state == "expired"


def test_what_somebody_committed_to_in_its_place_stands_alone(store):
    (first,) = propose(store, [line()]).proposed
    approve(store, first)
    store.expire_proposals(LATER, author="run")
    (second,) = propose(store, [line(units=60, expires_date="2011-03-28")], LATER).proposed
    approve(store, second)
    assert store.turn_back(DAY, author="run") == []
    assert [made.proposal_id for made in store.open_orders().proposals] == [second]
    assert store.proposal(second)[0].as_of_date == DAY


def test_what_nobody_had_decided_upon_does_not_come_back(store):
    propose(store, [line()])
    store.expire_proposals(LATER, author="run")
    assert store.turn_back(DAY, author="run") == []


def handed_out(store: Store, *skus: str) -> list[str]:
    """Propose 48 of each sku, approve and export them; return the ids."""
    ids = propose(store, [line(sku) for sku in skus]).proposed
    store.decide_proposals(ids, "approved", event_ids=ids, author="ann")
    store.pull_proposals(author="erp")
    return ids


def said(store: Store, *told: tuple[Any, ...]) -> list[tuple[str, bool, bool]]:
    outcomes = store.acknowledge_proposals([Acknowledgement(*each) for each in told], author="erp")
    return [(outcome.decision, outcome.is_refused, outcome.is_known) for outcome in outcomes]


def test_orders_are_acknowledged_in_bulk_each_line_by_itself(store):
    cup, jug, mug = handed_out(store, "CUP", "JUG", "MUG")
    told = [(cup, "PO-1"), (jug, "PO-1", Decimal(12)), (mug, None, Decimal(0)), ("gone", "PO-1"), (cup, "PO-2")]
    assert said(store, *told) == [
        *(("acknowledged", False, False), ("acknowledged", False, False), ("cancelled", False, False)),
        *(("acknowledged", True, False), ("acknowledged", True, False)),
    ]
    standing = {made.sku: made.coming_units for made in store.open_orders().proposals}
    assert standing == {"CUP": 48, "JUG": 12}
    assert said(store, *told[:3]) == [
        *(("acknowledged", False, True), ("acknowledged", False, True), ("withdrawn", False, True)),
    ]


def test_the_same_order_number_with_other_units_corrects_what_was_said(store):
    (mug,) = handed_out(store, "MUG")
    for units in (Decimal(12), Decimal(60), None):
        assert said(store, (mug, "PO-1", units)) == [("acknowledged", False, False)]
        assert store.open_orders().proposals[0].coming_units == (units or 48)
    (outcome,) = store.acknowledge_proposals([Acknowledgement(mug, "PO-2")], author="erp")
    assert outcome.is_refused
    assert "would buy the goods twice" in outcome.message


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((None,), "an order number is missing"),
        (("PO-1", Decimal(-1)), "below zero"),
        (("PO-1", Decimal("0.0001")), "thousandths|decimals|places"),
    ],
)
def test_an_acknowledgement_that_makes_no_sense_is_refused(store, told, why):
    (mug,) = handed_out(store, "MUG")
    (outcome,) = store.acknowledge_proposals([Acknowledgement(mug, *told)], author="erp")
    assert outcome.is_refused
    assert re.search(why, outcome.message)
    assert store.proposal(mug)[0].state == "exported"


def test_what_is_cancelled_after_it_was_handed_out_is_withdrawn_until_the_erp_says_it_knows(store):
    _, mug = handed_out(store, "CUP", "MUG")
    assert store.withdrawn_proposals() == []
    store.decide_proposals([mug], "cancelled", event_ids=["c"], author="bob", reason="too dear")
    assert [made.proposal_id for made in store.withdrawn_proposals()] == [mug]
    (outcome,) = store.acknowledge_proposals([Acknowledgement(mug, "PO-1")], author="erp")
    assert outcome.message.startswith("it was cancelled by bob (too dear): cancel order PO-1 in the ERP")
    assert said(store, (mug, None, Decimal(0))) == [("withdrawn", False, False)]
    assert store.withdrawn_proposals() == []
    assert store.proposal(mug)[0].state == "cancelled"
    assert store.verify().is_whole


def test_what_was_never_handed_out_is_not_withdrawn(store):
    (mug,) = propose(store, [line()]).proposed
    store.decide_proposals([mug], "approved", event_ids=["a"], author="ann")
    store.decide_proposals([mug], "cancelled", event_ids=["c"], author="bob")
    assert store.withdrawn_proposals() == []
    assert said(store, (mug, None, Decimal(0))) == [("acknowledged", True, False)]


def test_what_goes_to_a_supplier_for_a_location_together_is_one_order_and_stays_so(store):
    handed_out(store, "CUP", "MUG")
    first = {made.order_id for made in store.pull_proposals(author="erp")}
    assert len(first) == 1
    assert re.fullmatch(r"20110301-ACME-NORTH-[0-9a-f]{12}", *first)
    (jug,) = propose(store, [line("JUG")], NEXT_DAY).proposed
    store.decide_proposals([jug], "approved", event_ids=["j"], author="ann")
    orders = {made.sku: made.order_id for made in store.pull_proposals(author="erp")}
    assert {orders["CUP"], orders["MUG"]} == first
    assert orders["JUG"] not in first
    store.acknowledge_proposals([Acknowledgement(jug, "PO-1")], author="erp")
    assert [made.sku for made in store.proposals_in_orders([orders["JUG"]])] == ["JUG"]


def test_approved_rejected_and_approved_again_it_is_handed_out_and_each_planner_is_told_of_the_other(store):
    (mug,) = propose(store, [line()]).proposed
    told = []
    for number, (author, decision) in enumerate(
        [("ann", "approved"), ("bob", "approved"), ("bob", "rejected"), ("ann", "rejected"), ("ann", "approved")]
    ):
        (outcome,) = store.decide_proposals(
            [mug], decision, event_ids=[f"{number}"], author=author, reason=f"because {number}"
        )
        assert not outcome.is_refused
        told.append((outcome.is_known, outcome.message))
    assert told[1][0]
    assert told[1][1].startswith("approved already: approved by ann at ")
    assert "rejected; before: approved by ann" in told[2][1]
    assert "approved; before: rejected by ann" in told[4][1]
    (made,) = store.pull_proposals(author="erp")
    assert made.proposal_id == mug
    (outcome,) = store.decide_proposals([mug], "rejected", event_ids=["late"], author="bob", reason="too late")
    assert outcome.is_refused
    assert "inventorybot proposals cancel" in outcome.message
