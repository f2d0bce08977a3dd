"""The store as a whole: migration, append, chain, epochs. Everything else has its own file."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from support.earlier_store import earlier_store

from serving.store import Fenced, Place, Refusal, Store, StoreError, StoreOutdated, StoreUnavailable, migrations
from serving.store.database import Database
from serving.store.schema import VERSION, metadata

START = datetime(2011, 3, 1, 9, tzinfo=UTC)


def movement(document: str = "d1", units: Any = -3, *, hours: float = 0, **fields: Any) -> dict[str, Any]:
    return {
        "source": "pos",
        "document": document,
        "line": 1,
        "revision": 0,
        "occurred_at": START + timedelta(hours=hours),
        "sku": "MUG",
        "location_id": "NORTH",
        "movement_type": "sale",
        "quantity_units": units,
        **fields,
    }


def test_migrating_twice_at_once_makes_one_store(tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Store.migrate, [url, url])) == [int(VERSION)] * 2
    with Store.open(url) as store:
        assert store.head() == (0, "0" * 64)


def test_first_connections_at_once_wait_for_each_other(tmp_path):
    def connect(barrier: Barrier, url: str) -> None:
        database = Database(url)
        barrier.wait()
        database.engine.connect().close()
        database.close()

    with ThreadPoolExecutor(4) as pool:
        for number in range(60):
            url, barrier = f"sqlite:///{tmp_path}/{number}.sqlite", Barrier(4)
            list(pool.map(connect, [barrier] * 4, [url] * 4))


def test_the_migrations_make_exactly_the_tables_of_the_schema(url):
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_last_migration_is_the_version_the_software_expects():
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == VERSION


def test_a_store_of_the_first_version_keeps_its_proposals_and_their_history(tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with earlier_store(url, "0001") as connection:
        for state, detail in (("rejected", "{}"), ("exported", '{"expected_arrival_date": "2011-03-09"}')):
            connection.execute(
                text(
                    "INSERT INTO proposals (proposal_id, as_of_date, supplier_id, sku, location_id, order_thousandths, "
                    "detail, state, has_order_line, version, proposed_at, changed_at) VALUES "
                    "(:state, '2011-02-28', 'ACME', :state, 'NORTH', 48000, :detail, :state, FALSE, 1, 1, 1)"
                ),
                {"state": state, "detail": detail},
            )
            connection.execute(
                text("INSERT INTO proposal_steps VALUES (:state, 1, :state, 'ann', 'too dear', 1)"), {"state": state}
            )
    assert Store.migrate(url) == int(VERSION)
    with Store.open(url) as store:
        exported, rejected = store.proposals()
        assert exported.expected_date == date(2011, 3, 9)
        assert rejected.rejection == "rejected by ann until 2011-03-01: too dear"
        assert store.verify().is_whole


def test_a_store_of_the_third_version_sends_no_withdrawal_of_what_ended_before(tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with earlier_store(url, "0003") as connection:
        for state in ("cancelled", "exported", "approved"):
            connection.execute(
                text(
                    "INSERT INTO proposals (proposal_id, as_of_date, supplier_id, sku, location_id, order_thousandths, "
                    "detail, state, has_order_line, version, proposed_at, changed_at, changed_by, change_reason) VALUES"
                    " (:state, '2011-02-28', 'ACME', :state, 'NORTH', 48000, '{}', :state, FALSE, 1, 1, 9, '', '')"
                ),
                {"state": state},
            )
            steps = {"cancelled": ["exported", "cancelled"]}.get(state, [state])
            for number, step in enumerate(steps, 1):
                connection.execute(
                    text("INSERT INTO proposal_steps VALUES (:id, :number, :step, 'ann', '', :number)"),
                    {"id": state, "number": number, "step": step},
                )
    Store.migrate(url)
    with Store.open(url) as store:
        assert store.withdrawn_proposals() == []
        exported = {made.state: made.exported_at is not None for made in store.proposals()}
        assert exported == {"approved": False, "cancelled": True, "exported": True}
        assert [made.state for made in store.pull_proposals(author="erp")] == ["exported", "exported"]
        store.decide_proposals(["approved"], "cancelled", event_ids=["c"], author="ann")
        assert [made.proposal_id for made in store.withdrawn_proposals()] == ["approved"]
        assert store.verify().is_whole


def test_migration_works_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store.migrate(f"sqlite:///{tmp_path}/store.sqlite") == int(VERSION)


def test_an_absent_store_is_to_be_restored_before_one_is_made(tmp_path):
    assert not Store.exists(f"sqlite:///{tmp_path}/none.sqlite")
    with pytest.raises(StoreOutdated, match=r"store restore FILE.*for a home that never had one.*store migrate"):
        Store.open(f"sqlite:///{tmp_path}/none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(("found", "remedy"), [("0000", "inventorybot store migrate"), ("9999", "later one")])
def test_another_schema_version_is_outdated_and_names_the_remedy(url, found, remedy):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    engine.dispose()
    with pytest.raises(StoreOutdated, match=remedy):
        Store.open(url)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match="folder exists"):
        Store.migrate(f"sqlite:///{tmp_path}/none/store.sqlite")


@pytest.mark.parametrize("use", [Store.open, Store.migrate, lambda url: Store.restore(Path(url[10:]), url)])
def test_a_file_that_is_no_database_is_named_with_the_remedy(tmp_path, use):
    path = tmp_path / "store.sqlite"
    path.write_text("a letter")
    with pytest.raises(StoreUnavailable, match=f"{path} cannot be read: file is not a database.*store restore"):
        use(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/x", "no url"])
def test_a_url_that_cannot_hold_a_store_is_refused(url):
    with pytest.raises(StoreError, match="online store"):
        Store.migrate(url)


def test_a_password_is_never_shown():
    with pytest.raises(StoreUnavailable) as caught:
        Store.open("postgresql://user:secret@localhost:1/none?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_the_database_syncs_every_commit_to_a_write_ahead_log(store):
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2


def test_counts_of_a_mixed_batch_add_up(store):
    store.append([movement("d1")], source="api")
    report = store.append(
        [movement("d1"), movement("d1", -9), movement("d2"), movement("d2"), movement("d3", "many")],
        source="api",
        refusals=[Refusal(Place("t/0@7", b"\xff"), "json", "not JSON")],
    )
    assert (report.received, report.accepted, report.duplicate, report.conflict, report.invalid) == (6, 1, 2, 1, 2)


def test_the_same_identity_under_another_event_id_is_a_duplicate(store):
    store.append([movement(event_id="a")], source="api")
    assert store.append([movement(event_id="b")], source="api").duplicate == 1


def test_one_event_id_for_two_identities_is_a_conflict(store):
    store.append([movement("d1", event_id="a")], source="api")
    store.append([movement("d2", event_id="a")], source="api")
    assert store.quarantine()[0].rule == "event_id_conflict"


def test_a_conflict_delivered_again_is_a_duplicate_of_its_quarantined_row(store):
    store.append([movement()], source="api")
    store.append([movement(units=-9)], source="api")
    report = store.append([movement(units=-9)], source="api")
    assert (report.duplicate, report.conflict) == (1, 0)
    assert store.quarantine_counts()["added"] == 1


def test_another_recorded_at_is_not_other_content(store):
    store.append([movement(recorded_at=START)], source="api")
    assert store.append([movement(recorded_at=START + timedelta(days=1))], source="api").duplicate == 1


def test_sequence_is_commit_order_over_threads(store):
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda n: store.append([movement(f"d{n}")], source="api"), range(40)))
    assert sorted(report.sequence for report in reports) == list(range(1, 41))
    assert store.verify().is_whole


def test_movements_come_back_as_they_went_in(store):
    store.append(
        [
            movement("d1", "-2.125", unit_price="1.99", lot_id="L7", reason="ünïcode"),
            {
                "event_type": "restock_request",
                "event_id": "r1",
                "occurred_at": START,
                "sku": "MUG",
                "location_id": "NORTH",
                "requested_units": 4,
                "author": "ann",
            },
            movement("d2", 5, movement_type="count", hours=1),
        ],
        source="api",
    )
    (batch,) = store.events_since(0)
    assert batch.columns["quantity_units"] == [Decimal("-2.125"), Decimal("5.000")]
    assert batch.columns["unit_price"] == [Decimal("1.9900"), None]
    assert batch.columns["occurred_at"] == [START, START + timedelta(hours=1)]
    assert batch.columns["reason"] == ["ünïcode", None]
    assert (batch.first_sequence, batch.last_sequence) == (1, 3)
    assert store.decisions_since(0)[0]["requested_units"] == "4.000"


def test_reading_on_from_the_last_sequence_gives_every_movement_once(store):
    for n in range(7):
        store.append([movement(f"d{n}-{k}") for k in range(3)], source="api")
    seen, sequence = [], 0
    while batches := list(store.events_since(sequence, 4)):
        seen += batches[0].columns["document"]
        sequence = batches[-1].last_sequence
    assert seen == [f"d{n}-{k}" for n in range(7) for k in range(3)]


def test_ingested_at_never_runs_backwards(url):
    clock = iter([START + timedelta(hours=2), START])
    with Store.open(url, clock=lambda: next(clock)) as store:
        store.append([movement("d1")], source="api")
        store.append([movement("d2")], source="api")
        (batch,) = store.events_since(0)
    assert batch.columns["ingested_at"] == [START + timedelta(hours=2)] * 2


def test_offsets_are_kept_with_the_events_and_never_move_backwards(store):
    store.append([movement()], source="stream", offsets={("movements", 0): 8})
    store.append([], source="stream", offsets={("movements", 0): 5, ("movements", 1): 1})
    assert store.offsets("stream") == {("movements", 0): 8, ("movements", 1): 1}
    store.reset_offset("stream", "movements", 0, 2)
    assert store.offsets("stream")["movements", 0] == 2


def _change(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE events SET quantity_thousandths = 1 WHERE sequence = 2", "was changed"),
        ("DELETE FROM events WHERE sequence = 2", "removed or added"),
        ("DELETE FROM events WHERE sequence = 5", "removed or added"),
        ("DELETE FROM batches WHERE batch = 1", "a batch is missing"),
        ("UPDATE batches SET ingested_at = 1 WHERE batch = 1", "was changed"),
        ("UPDATE ledger_head SET sequence = 4", "The head names event 4"),
        (
            "INSERT INTO events (sequence, event_id, event_type, source, occurred_at, recorded_at) "
            "VALUES (6, 'x', 'movement', 'x', 0, 0)",
            "after the last batch",
        ),
    ],
)
def test_verify_notices_every_kind_of_tampering(url, store, statement, finding):
    store.append([movement("d1"), movement("d2"), movement("d3")], source="api")
    store.append([movement("d4"), movement("d5")], source="api")
    assert store.verify().is_whole
    _change(url, statement)
    assert any(finding in problem for problem in store.verify().problems)


def test_an_anchor_tells_a_truncated_log_from_a_short_one(url, store):
    store.append([movement("d1")], source="api")
    short = store.head()
    store.append([movement("d2")], source="api")
    anchor = store.head()
    _change(url, "DELETE FROM events WHERE sequence = 2")
    _change(url, "DELETE FROM batches WHERE batch = 2")
    _change(url, f"UPDATE ledger_head SET sequence = 1, batch = 1, chain_hash = '{short[1]}'")
    assert store.verify().is_whole
    assert "its tail is gone" in store.verify([anchor]).problems[0]
    assert store.verify([short]).is_whole


def test_an_anchor_notices_a_rewritten_history(store):
    store.append([movement("d1")], source="api")
    assert "rewritten" in store.verify([(1, "f" * 64)]).problems[0]


def test_a_later_claim_fences_an_earlier_one(store):
    early = store.claim("generation", "run-1", {})
    late = store.claim("generation", "run-2", {"pid": 7})
    assert late > early
    assert store.advance("generation", late, "wh_2", {"rows": 3}).number == 1
    with pytest.raises(Fenced, match="run-2"):
        store.advance("generation", early, "wh_1", {})
    assert store.epoch("generation").value == "wh_2"


def test_advancing_again_with_the_same_value_changes_nothing(store):
    fence = store.claim("champion/demand_forecast", "run-1", {})
    first = store.advance("champion/demand_forecast", fence, "3", {})
    assert store.advance("champion/demand_forecast", fence, "3", {}) == first
    store.advance("champion/demand_forecast", fence, "4", {})
    assert [epoch.value for epoch in store.epochs("champion/demand_forecast")] == ["3", "4"]


def test_claims_of_one_name_leave_other_names_alone(store):
    fence = store.claim("generation", "run-1", {})
    store.claim("champion/demand_forecast", "run-2", {})
    assert store.advance("generation", fence, "wh_1", {}).run_id == "run-1"


def test_a_fence_nobody_was_given_is_refused(store):
    with pytest.raises(StoreError, match="claim the name first"):
        store.advance("generation", 1, "wh_1", {})


def test_an_epoch_carries_the_time_of_the_given_clock(url):
    with Store.open(url, clock=lambda: START) as store:
        assert store.advance("generation", store.claim("generation", "run-1", {}), "wh_1", {}).recorded_at == START
