"""Policies and the outbox: which value holds, and that an order is proposed, pulled and made once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from serving.store import Outbox, Store, StoreError, UnknownRow, WrongState

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
    with pytest.raises(WrongState, match="buy it twice"):
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
    announced = store.announce_proposals(DAY, [line()])
    assert announced == {("MUG", "NORTH"): propose(store, [line()]).proposed[0]}
    assert store.announce_proposals(DAY, [line()]) == announced


def test_a_line_whose_announced_id_was_taken_in_between_is_skipped(store):
    announced = store.announce_proposals(DAY, [line()])["MUG", "NORTH"]
    propose(store, [line(units=60)])
    report = propose(store, [line(proposal_id=announced)])
    assert (report.proposed, report.skipped[0][:2]) == ([], ("MUG", "NORTH"))


def test_what_was_rejected_is_not_proposed_again_for_the_same_day(store):
    (proposal_id,) = propose(store, [line()]).proposed
    store.decide_proposal(proposal_id, "rejected", event_id="r", author="ann", reason="too dear")
    assert store.announce_proposals(DAY, [line()]) == {}
    assert propose(store, [line()]).proposed == []
    assert len(propose(store, [line()], NEXT_DAY).proposed) == 1


def test_an_undecided_proposal_that_is_wanted_again_takes_the_dates_of_the_later_run(store):
    (proposal_id,) = propose(store, [line()]).proposed
    assert propose(store, [line(expires_date="2011-03-20")], NEXT_DAY).unchanged == [proposal_id]
    found = store.proposal(proposal_id)[0]
    assert (found.as_of_date, found.expires_date) == (NEXT_DAY, date(2011, 3, 20))


def test_a_past_day_that_is_made_again_is_told_that_it_proposes_nothing(store):
    (proposal_id,) = propose(store, [line()], NEXT_DAY).proposed
    approve(store, proposal_id)
    assert store.announce_proposals(DAY, [line()]) is None


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
