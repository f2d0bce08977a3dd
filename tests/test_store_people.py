"""Accounts, sessions, keys, the audit list, answers that are kept, jobs, alerts and snoozes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from serving.store import Fenced, Store, StoreError, UnknownRow, WrongState, accounts, alerts, audit, idempotency, jobs
from serving.store.accounts import Account, ApiKey, Credential, Session
from serving.store.alerts import Alert
from serving.store.audit import AuditEntry
from serving.store.idempotency import Answer, OtherBody

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)
ANN = Account("ann", "Ann", "planner", ("NORTH", "SOUTH"), Decimal("500.0000"))
SESSION = Session("s1", "ann", "phone", used_at=1, expires_at=100)
STOCK_OUT = Alert("a1", "stock_out", "open", Decimal("12.5000"), "MUG", "NORTH", detail={"days": 3})


def event(event_type: str, event_id: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "event_id": event_id, "occurred_at": NOON, "author": "ann", **fields}


def test_an_account_is_added_and_changed(store):
    with store.writing() as connection:
        accounts.put_account(connection, ANN, "root", 1)
        accounts.put_account(connection, replace(ANN, role="manager", sites=None, approval_limit=None), "root", 2)
        assert accounts.account(connection, "ann") == Account("ann", "Ann", "manager")
        assert [each.account_id for each in accounts.all_accounts(connection)] == ["ann"]
        with pytest.raises(UnknownRow, match="no account 'bob'"):
            accounts.account(connection, "bob")


def test_a_session_is_valid_until_it_expires_is_revoked_or_its_account_is_disabled(store):
    with store.writing() as connection:
        accounts.put_account(connection, ANN, "root", 1)
        accounts.open_session(connection, SESSION, "hash", 1)
        assert accounts.session_of(connection, "hash", 99) == SESSION
        assert accounts.session_of(connection, "hash", 100) is None
        assert accounts.session_of(connection, "other", 99) is None
        accounts.put_account(connection, replace(ANN, state="disabled"), "root", 2)
        assert accounts.session_of(connection, "hash", 99) is None
        with pytest.raises(StoreError, match="disabled"):
            accounts.open_session(connection, replace(SESSION, session_id="s2"), "hash2", 1)
        accounts.put_account(connection, ANN, "root", 3)
        assert accounts.revoke(connection, "account", "ann", 4)
        assert accounts.sessions_of(connection, "ann", 5) == []
        assert not accounts.revoke(connection, "session", "s1", 6)


def test_an_invitation_serves_once_and_a_password_again(store):
    with store.writing() as connection:
        accounts.put_account(connection, ANN, "root", 1)
        accounts.add_credential(connection, Credential("c1", "ann", "invitation", "h", {}, expires_at=50), 1)
        accounts.add_credential(connection, Credential("c2", "ann", "passkey", "k", {"count": 1}), 2)
        assert [each.credential_id for each in accounts.credentials_of(connection, "ann", 10)] == ["c1", "c2"]
        assert [accounts.use_once(connection, "c1", 10) for _ in range(2)] == [True, False]
        accounts.use_credential(connection, "c2", {"count": 2}, 11)
        (left,) = accounts.credentials_of(connection, "ann", 12)
        assert (left.credential_id, left.detail) == ("c2", {"count": 2})


def test_a_key_is_valid_until_it_expires_or_is_revoked(store):
    made = ApiKey("k1", "sha", "erp", "erp", ("NORTH",), expires_at=100)
    with store.writing() as connection:
        accounts.add_key(connection, made, "root", 1)
        assert accounts.key(connection, "k1", 99) == made
        assert accounts.key(connection, "k1", 100) is None
        assert accounts.revoke(connection, "key", "k1", 5)
        assert accounts.key(connection, "k1", 99) is None


def test_the_audit_list_is_a_chain_that_verify_checks(store):
    entries = [AuditEntry("ann", "login", "session s1", "done", "s1", "10.0.0.7", f"r{n}") for n in range(3)]
    with store.writing() as connection:
        assert [audit.add(connection, entry, n) for n, entry in enumerate(entries)] == [1, 2, 3]
        assert audit.rows(connection, 1, 10) == [(2, 1, entries[1]), (3, 2, entries[2])]
    assert store.verify().is_whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE audit SET outcome = 'refused' WHERE audit_id = 2", "entry 2 has other content"),
        ("DELETE FROM audit WHERE audit_id = 2", "entry 3 does not follow entry 1"),
        ("DELETE FROM audit WHERE audit_id = 3", "names audit entry 3, the list ends at entry 2"),
    ],
)
def test_an_audit_entry_that_is_changed_or_removed_is_found(store, change, told):
    with store.writing() as connection:
        for number in range(3):
            audit.add(connection, AuditEntry("ann", "login", "s", "done"), number)
    with store.writing() as connection:
        connection.exec_driver_sql(change)
    assert told in " ".join(store.verify().problems)


def test_a_request_that_comes_again_gets_the_same_answer(store):
    answer = Answer(207, b'{"accepted": 1}')
    with store.writing() as connection:
        assert idempotency.begin(connection, "ann", "k", "body", 1) is None
        with pytest.raises(WrongState, match="at work"):
            idempotency.begin(connection, "ann", "k", "body", 2)
        idempotency.finish(connection, "ann", "k", answer)
        assert idempotency.begin(connection, "ann", "k", "body", 3) == answer
        with pytest.raises(OtherBody, match="another request"):
            idempotency.begin(connection, "ann", "k", "other body", 4)
        assert idempotency.begin(connection, "bob", "k", "other body", 5) is None
        idempotency.give_up(connection, "bob", "k")
        assert idempotency.begin(connection, "bob", "k", "third body", 6) is None
        assert idempotency.forget(connection, 2) == 1
        assert idempotency.begin(connection, "ann", "k", "body", 7) is None


def test_a_job_is_done_by_one_worker(store):
    with store.writing() as connection:
        jobs.add(connection, "j1", "what_if", {"service": 0.9}, "ann", 1)
        slow = jobs.take(connection, "slow", 10, given_up_before=0)
        assert (slow.state, slow.request, jobs.take(connection, "other", 11, given_up_before=0)) == (
            *("running", {"service": 0.9}),
            None,
        )
        quick = jobs.take(connection, "quick", 20, given_up_before=15)
        with pytest.raises(Fenced, match="another worker"):
            jobs.finish(connection, slow, "done", {"orders": 1}, 21)
        jobs.finish(connection, quick, "done", {"orders": 2}, 22)
        assert jobs.job(connection, "j1").answer == {"orders": 2}
        with pytest.raises(UnknownRow):
            jobs.job(connection, "j2")


def test_an_alert_keeps_owner_and_history_until_it_opens_again(store):
    with store.writing() as connection:
        alerts.put(connection, [STOCK_OUT], "run-1", 1)
    store.append(
        [
            event("alert_action", "1", alert_id="a1", action="assign", owner="bob"),
            event("alert_action", "2", alert_id="a1", action="acknowledge", reason="called"),
        ],
        source="console",
    )
    with store.writing() as connection:
        alerts.put(connection, [replace(STOCK_OUT, money=Decimal("20.0000"))], "run-2", 2)
        (found,) = alerts.rows(connection, ["open"], ["NORTH"], "", 10)
        assert (found.owner, found.acknowledged_by, found.money) == ("bob", "ann", 20)
        alerts.put(connection, [replace(STOCK_OUT, state="cleared")], "run-3", 3)
        alerts.put(connection, [STOCK_OUT], "run-4", 4)
        (found,) = alerts.rows(connection, None, None, "", 10)
        assert (found.owner, found.acknowledged_by) == ("bob", None)
        told = [step["action"] for step in alerts.steps(connection, "a1")]
    assert told == ["open", "assign", "acknowledge", "cleared", "open"]


def test_what_is_done_to_an_alert_or_proposal_that_is_unknown_is_refused(store):
    given = [
        event("alert_action", "1", alert_id="none", action="comment", reason="?"),
        event("snooze", "2", subject="proposal", subject_id="none", until_date="2011-03-05"),
    ]
    outcomes = store.append(given, source="console").outcomes
    assert [(each.result, each.rule) for each in outcomes] == [
        ("refused", "unknown_alert"),
        ("refused", "unknown_proposal"),
    ]


def test_the_latest_snooze_holds_until_its_day(store):
    with store.writing() as connection:
        alerts.put(connection, [STOCK_OUT], "run-1", 1)
    for number, until in enumerate(("2011-03-20", "2011-03-05")):
        snooze = event("snooze", str(number), subject="alert", subject_id="a1", until_date=until, until_money="25")
        store.append([snooze], source="console")
    with store.reading() as connection:
        held = alerts.snoozed(connection, "alert", date(2011, 3, 4))["a1"]
        assert (held.sequence, held.until_money, held.author) == (2, 25, "ann")
        assert alerts.snoozed(connection, "alert", date(2011, 3, 5)) == {}
        assert alerts.snoozed(connection, "proposal", date(2011, 3, 4)) == {}


ITEM = {"sku": "MUG", "location_id": "NORTH"}
FORECAST = {"scope": "item", **ITEM, "method": "scale", "value": "1.2", "reason": "fair"}
DAYS = {"valid_from": "2011-03-05", "valid_to": "2011-03-09"}


@pytest.mark.parametrize(
    ("event_type", "fields", "rule"),
    [
        ("forecast_override", FORECAST | DAYS, None),
        ("forecast_override", FORECAST | DAYS | {"value": "-1"}, "value_type"),
        ("forecast_override", FORECAST | DAYS | {"category": "mugs"}, "scope"),
        ("forecast_override", FORECAST | DAYS | {"valid_to": "2011-03-01"}, "valid_to"),
        ("forecast_override", FORECAST, "valid_from_missing"),
        ("manual_order", ITEM | {"supplier_id": "ACME", "order_units": 6, "reason": "fair"}, None),
        ("manual_order", ITEM | {"supplier_id": "ACME", "order_units": 0, "reason": "fair"}, "order_units_type"),
        ("manual_order", ITEM | {"supplier_id": "ACME", "order_units": 6}, "reason_missing"),
        ("alert_action", {"alert_id": "a1", "action": "assign"}, "owner"),
        ("alert_action", {"alert_id": "a1", "action": "comment", "owner": "bob"}, "owner"),
        ("alert_action", {"alert_id": "a1", "action": "delete"}, "action_type"),
        ("snooze", {"subject": "alert", "subject_id": "a1"}, "until_missing"),
    ],
)
def test_what_people_decide_is_checked(store, event_type, fields, rule):
    (outcome,) = store.append([event(event_type, "1", **fields)], source="console").outcomes
    assert outcome.rule == (rule or "")
    assert (outcome.result == "accepted") == (rule is None)


def test_a_backup_holds_people_and_alerts(store, tmp_path):
    with store.writing() as connection:
        accounts.put_account(connection, ANN, "root", 1)
        accounts.open_session(connection, SESSION, "hash", 1)
        audit.add(connection, AuditEntry("ann", "login", "s1", "done"), 1)
        alerts.put(connection, [STOCK_OUT], "run-1", 1)
        jobs.add(connection, "j1", "what_if", {}, "ann", 1)
        idempotency.begin(connection, "ann", "k", "body", 1)
    store.backup(tmp_path / "backup.sqlite")
    copy_url = f"sqlite:///{tmp_path}/copy.sqlite"
    assert Store.restore(tmp_path / "backup.sqlite", copy_url).is_whole
    with Store.open(copy_url) as copy, copy.reading() as connection:
        assert accounts.session_of(connection, "hash", 2) == SESSION
        assert len(audit.rows(connection, 0, 10)) == len(alerts.rows(connection, None, None, "", 10)) == 1
        assert jobs.job(connection, "j1").state == "queued"
