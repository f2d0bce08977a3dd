"""The store in PostgreSQL keeps the same promises as in SQLite. Needs POSTGRES_URL; run by make test-services."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from support.earlier_store import earlier_store

from serving.store import (
    Acknowledgement,
    Fenced,
    GroupWriter,
    Outbox,
    Store,
    StoreNotEmpty,
    StoreOutdated,
    StoreUnavailable,
    fold,
)
from serving.store.schema import VERSION, metadata

pytestmark = pytest.mark.services

START = datetime(2011, 3, 1, tzinfo=UTC)


@pytest.fixture
def url() -> Iterator[str]:
    """A database of its own for each test."""
    server = os.environ.get("POSTGRES_URL")
    if server is None:
        pytest.fail(
            "POSTGRES_URL names no PostgreSQL server; start one and set it, as postgresql://user@host/postgres."
        )
    name = f"store_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    Store.migrate(url)
    with Store.open(url) as store:
        yield store


def movement(number: int, rng: Random, **fields: Any) -> dict[str, Any]:
    kind = rng.choice(["sale", "sale", "receipt", "count"])
    return {
        "source": "pos",
        "document": f"D{number}",
        "line": 1,
        "revision": 0,
        "occurred_at": START + timedelta(hours=rng.randint(0, 50)),
        "sku": rng.choice(["MUG", "cup", "Ünï", "Zebra"]),
        "location_id": "NORTH",
        "movement_type": kind,
        "quantity_units": rng.randint(1, 9) * (-1 if kind == "sale" else 1),
        **fields,
    }


def history(seed: int, size: int) -> list[dict[str, Any]]:
    rng = Random(seed)
    made = [movement(number, rng) for number in range(size)]
    return made + [{**event, "revision": 1, "lot_id": "L1"} for event in rng.sample(made, size // 8)]


def assert_equals_fold(store: Store, events: list[dict[str, Any]]) -> None:
    for live in store.live_stocks():
        assert live.on_hand_units == fold(event for event in events if event["sku"] == live.sku)


def test_migrating_twice_at_once_makes_one_store(url):
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(Store.migrate, [url] * 4)) == {int(VERSION)}
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_an_empty_database_is_outdated(url):
    with pytest.raises(StoreOutdated, match="inventorybot store migrate"):
        Store.open(url)


def test_redelivery_in_any_order_gives_the_same_stock(store):
    rng = Random(1)
    events = history(1, 120)
    deliveries = [event for event in events for _ in range(rng.randint(1, 4))]
    rng.shuffle(deliveries)
    accepted = 0
    while deliveries:
        accepted += store.append(deliveries[:37], source="api").accepted
        del deliveries[:37]
    assert accepted == len(events)
    assert_equals_fold(store, events)
    assert store.verify().is_whole


def test_sequence_is_commit_order_over_many_writers(url):
    Store.migrate(url)

    def write(writer: int) -> None:
        rng = Random(writer)
        with Store.open(url) as store:
            for number in range(8):
                store.append([movement(number, rng, source=f"w{writer}")], source="api")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with Store.open(url) as store:
        (batch,) = store.events_since(0)
        assert batch.columns["sequence"] == list(range(1, 49))
        assert store.verify().is_whole


def test_a_reader_never_sees_a_gap_in_the_sequence(store):
    done = threading.Event()

    def write() -> None:
        rng = Random(0)
        for number in range(60):
            store.append([movement(2 * number, rng), movement(2 * number + 1, rng)], source="api")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[int] = []
    while not done.is_set() or (seen[-1] if seen else 0) < 120:
        for batch in store.events_since(seen[-1] if seen else 0):
            seen += batch.columns["sequence"]
    writer.join()
    assert seen == list(range(1, 121))


def test_conflicts_and_refusals_are_quarantined_and_counts_add_up(store):
    rng = Random(0)
    event = movement(1, rng, movement_type="sale", quantity_units=-1)
    store.append([event], source="api")
    report = store.append([event, {**event, "quantity_units": -2}, {**event, "sku": "a\x00b"}], source="api")
    assert (report.duplicate, report.conflict, report.invalid) == (1, 1, 1)
    assert [row.rule for row in store.quarantine()] == ["sku_type", "identity_conflict"]


def test_fencing_holds_between_processes(url):
    Store.migrate(url)
    with Store.open(url) as one, Store.open(url) as other:
        early, late = one.claim("generation", "run-1"), other.claim("generation", "run-2")
        other.advance("generation", late, "wh_2")
        with pytest.raises(Fenced):
            one.advance("generation", early, "wh_1")


def test_published_movements_of_other_doors_join_the_live_stock(store):
    at = {"sku": "MUG", "location_id": "NORTH", "movement_type": "receipt", "quantity_units": 5, "line": 1}
    store.append([{**at, "source": "api", "document": "a", "occurred_at": START}], source="api")
    published = {**at, "on_hand_units": 10, "counted_at": None, "last_occurred_at": START + timedelta(hours=2)}
    cup = {**published, "sku": "cup"}
    assert store.rebase_stock([published, cup]) == 2
    count = {**at, "source": "api", "document": "c", "movement_type": "count", "quantity_units": 3}
    store.append([{**count, "occurred_at": START + timedelta(hours=1)}], source="api")
    assert not store.live_stock("MUG", "NORTH").is_settled
    assert store.rebase_stock([published], units_after=lambda *_: 4) == 1
    live = store.live_stock("MUG", "NORTH")
    assert (live.on_hand_units, live.is_settled, store.live_stock("cup", "NORTH")) == (7, True, None)


def test_two_runs_at_once_make_one_proposal(url):
    Store.migrate(url)
    line = {"sku": "MUG", "location_id": "NORTH", "supplier_id": "ACME", "order_units": 48}

    def run(number: int) -> int:
        with Store.open(url) as store:
            return len(store.propose(date(2011, 3, 1), [line], seen_version=0, author=f"run-{number}").proposed)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [0, 0, 0, 1]


def test_proposals_of_the_first_version_are_kept(url):
    with earlier_store(url, "0001") as connection:
        connection.execute(
            text(
                "INSERT INTO proposals (proposal_id, as_of_date, supplier_id, sku, location_id, order_thousandths, "
                "detail, state, has_order_line, version, proposed_at, changed_at) VALUES "
                "('p', '2011-03-01', 'ACME', 'MUG', 'NORTH', 48000, '{}', 'rejected', FALSE, 1, 1, 1)"
            )
        )
        connection.execute(text("INSERT INTO proposal_steps VALUES ('p', 1, 'rejected', 'ann', 'too dear', 1)"))
    assert Store.migrate(url) == int(VERSION)
    with Store.open(url) as store:
        assert store.proposal("p")[0].rejection == "rejected by ann until 2011-03-02: too dear"


def test_a_publication_replaces_what_was_proposed_and_keeps_its_history(store):
    def publish(units: int) -> Any:
        lines = [{"sku": f"S{n}", "location_id": "N", "supplier_id": "A", "order_units": units} for n in range(1_200)]
        outbox = Outbox(date(2011, 3, 1), lines, store.open_orders().version, {})
        return store.publish("generation", store.claim("generation", "run"), f"g{units}", {}, outbox)

    publish(6)
    report = publish(12)
    assert (len(report.proposed), len(report.superseded)) == (1_200, 1_200)
    assert {made.order_units for made in store.proposals(state="proposed", limit=2_000)} == {Decimal(12)}
    _, steps = store.proposal(report.superseded[0])
    assert [step["state"] for step in steps] == ["proposed", "superseded"]
    assert store.verify().is_whole


def test_many_are_decided_in_one_step_and_an_order_goes_from_proposal_to_receipt(store):
    lines = [{"sku": f"S{n}", "location_id": "N", "supplier_id": "ACME", "order_units": 48} for n in range(700)]
    ids = store.propose(date(2011, 3, 1), lines, seen_version=0, author="run").proposed
    outcomes = store.decide_proposals([*ids, "none"], "approved", event_ids=[*ids, "of none"], author="ann")
    assert [outcome.proposal_id for outcome in outcomes if outcome.is_refused] == ["none"]
    store.decide_proposals(ids, "approved", event_ids=ids, author="ann")
    first, second, *_ = ids
    assert len(store.pull_proposals(author="erp")) == 700
    store.decide_proposal(first, "cancelled", event_id="c", author="ann")
    found = store.open_orders()
    fence = store.claim("generation", "run")
    outbox = Outbox(date(2011, 3, 2), [], found.version, {second: "PO:1"}, {second: "received"}, {ids[2]: "gone"})
    assert store.publish("generation", fence, "g", {}, outbox).ended == [
        (second, "its purchase order line was received")
    ]
    assert [store.proposal(named)[0].state for named in ids[:3]] == ["cancelled", "received", "exported"]
    assert len(store.pull_proposals(author="erp")) == 697
    assert store.verify().is_whole


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_writer_loses_and_doubles_nothing(url, seed):
    Store.migrate(url)
    rng = Random(seed)
    events = history(seed, 80)
    child = os.fork()
    if child == 0:
        with suppress(BaseException), Store.open(url) as store:
            for event in events:
                store.append([event], source="api")
        os._exit(0)
    with Store.open(url) as store:
        while store.head()[0] < rng.randint(1, 40):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # The server may still finish what the killed client had asked of it.
        report = store.append(events, source="api")
        assert (report.accepted + report.duplicate, store.head()[0]) == (len(events), len(events))
        assert_equals_fold(store, events)
        assert store.verify().is_whole


def test_a_connection_that_the_server_ended_is_unavailable_and_then_replaced(url, store):
    rng = Random(0)
    store.append([movement(1, rng)], source="api")
    with pytest.raises(StoreUnavailable), store._database.write() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        connection.exec_driver_sql("SELECT 1")
    store.append([movement(2, rng)], source="api")
    assert store.head()[0] == 2


def unversioned(store: Store) -> list[Any]:
    return [replace(item, version=0) for item in store.live_stocks()]


def test_many_callers_share_a_commit(store):
    with GroupWriter(store) as writer, ThreadPoolExecutor(8) as pool:
        made = history(3, 40)
        reports = list(pool.map(lambda event: writer.append([event], source="api"), [*made, *made]))
    assert (sum(report.accepted for report in reports), sum(report.duplicate for report in reports)) == (len(made),) * 2
    assert store.verify().is_whole


def test_a_backup_travels_from_postgresql_to_sqlite_and_back(url, store, tmp_path: Path):
    events = history(5, 60)
    store.append([*events, {**events[0], "sku": "other"}], source="api", offsets={("t", 0): 4})
    report = store.backup(tmp_path / "backup.sqlite")
    assert (report.sequence, report.chain_hash) == store.head()
    with pytest.raises(StoreNotEmpty):
        Store.restore(tmp_path / "backup.sqlite", url)
    copy_url = f"sqlite:///{tmp_path}/copy.sqlite"
    assert Store.restore(tmp_path / "backup.sqlite", copy_url).chain_hash == report.chain_hash
    with Store.open(copy_url) as copy:
        assert copy.quarantine() == store.quarantine()
        # After a restore every item counts as changed.
        assert len(copy.live_stocks(since_version=store.stock_version())) == len(store.live_stocks())
        assert unversioned(copy) == unversioned(store)
        assert copy.offsets("api") == {("t", 0): 4}
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        store.close()
        Store.restore(tmp_path / "backup.sqlite", url)
        with Store.open(url) as again:
            assert unversioned(again) == unversioned(copy)
            assert again.append([movement(900, Random(0))], source="api").accepted == 1


def test_orders_are_acknowledged_in_bulk_and_withdrawals_known(store: Store) -> None:
    lines = [
        {"sku": sku, "location_id": "N", "supplier_id": "ACME", "order_units": 48, "unit_cost": "1.25"}
        for sku in ("CUP", "JUG", "MUG")
    ]
    ids = store.propose(date(2011, 3, 1), lines, seen_version=0, author="run").proposed
    store.decide_proposals(ids, "approved", event_ids=ids, author="ann")
    assert len({made.order_id for made in store.pull_proposals(author="erp")}) == 1
    store.decide_proposals(ids[2:], "cancelled", event_ids=["c"], author="ann")
    told = [
        Acknowledgement(ids[0], "PO-1"),
        Acknowledgement(ids[1], "PO-1", Decimal(12)),
        Acknowledgement(ids[2], None, Decimal(0)),
    ]
    assert [made.proposal_id for made in store.withdrawn_proposals()] == ids[2:]
    assert [outcome.is_refused for outcome in store.acknowledge_proposals(told, author="erp")] == [False] * 3
    assert store.withdrawn_proposals() == []
    assert {made.sku: made.coming_units for made in store.open_orders().proposals} == {"CUP": 48, "JUG": 12}
    assert all(outcome.is_known for outcome in store.acknowledge_proposals(told, author="erp"))
