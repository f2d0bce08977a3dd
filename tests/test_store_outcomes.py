"""What became of each event of a call, in the order given."""

from datetime import UTC, datetime
from typing import Any

from serving.store import Place, Refusal, Store

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def movement(document: str, units: Any = -3, **fields: Any) -> dict[str, Any]:
    return {
        "source": "pos",
        "document": document,
        "line": 1,
        "occurred_at": NOON,
        "sku": "MUG",
        "location_id": "NORTH",
        "movement_type": "sale",
        "quantity_units": units,
        **fields,
    }


def approval(proposal_id: str, event_id: str = "a") -> dict[str, Any]:
    named = {"event_type": "approval", "event_id": event_id, "occurred_at": NOON, "proposal_id": proposal_id}
    return {**named, "decision": "approved", "author": "ann"}


def test_each_event_has_its_outcome_in_the_order_given(store):
    store.append([movement("known")], source="api")
    given = [movement("broken", "many"), movement("known"), movement("new"), movement("known", -4), movement("new")]
    refusal = Refusal(Place("topic/0@7", b"\xff"), "not_json", "it is no JSON")
    report = store.append(given, source="api", refusals=[refusal])
    results = [outcome.result for outcome in report.outcomes]
    assert results == ["refused", "duplicate", "accepted", "conflict", "duplicate", "refused"]
    broken, _, _, conflict, _, unreadable = report.outcomes
    assert (broken.rule, unreadable.rule, unreadable.reason) == ("quantity_units_type", "not_json", "it is no JSON")
    assert conflict.rule == "identity_conflict" and "-3000" in conflict.reason
    for outcome in (broken, conflict, unreadable):
        row, _ = store.quarantine_show(outcome.quarantine_id)
        assert (row.rule, row.reason) == (outcome.rule, outcome.reason)
    assert report.received == report.accepted + report.duplicate + report.conflict + report.invalid == 6


def test_an_event_that_comes_again_gets_the_same_answer(store):
    first = store.append([movement("d", "many")], source="api").outcomes
    again = store.append([movement("d", "many")], source="api")
    assert again.outcomes == first
    assert (again.duplicate, again.quarantine_ids) == (1, ())


def test_an_approval_of_an_unknown_proposal_is_refused(store):
    (outcome,) = store.append([approval("none")], source="console").outcomes
    assert (outcome.result, outcome.rule) == ("refused", "unknown_proposal")
    assert store.head()[0] == 0
    assert store.quarantine()[0].rule == "unknown_proposal"


def test_an_approval_that_an_earlier_version_took_stays_known(store, url):
    (made,) = store.propose(
        NOON.date(),
        [{"sku": "MUG", "location_id": "NORTH", "supplier_id": "ACME", "order_units": 6}],
        seen_version=0,
        author="run",
    ).proposed
    store.append([approval(made)], source="console")
    with Store.open(url) as other, other._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM proposal_steps")
        connection.exec_driver_sql("DELETE FROM proposals")
    assert [outcome.result for outcome in store.append([approval(made)], source="console").outcomes] == ["duplicate"]
