"""kill -9 at every statement of an append, and backups under writes: nothing lost, nothing doubled, nothing torn."""

import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import event
from support.killed import killed

from serving.store import Store, StoreError, StoreNotEmpty, StoreUnavailable, fold

START = datetime(2011, 3, 1, tzinfo=UTC)


def movement(number: int, rng: Random) -> dict[str, Any]:
    kind = rng.choice(["sale", "sale", "receipt", "count"])
    return {
        "source": "pos",
        "document": f"D{number}",
        "line": 1,
        "revision": 0,
        "occurred_at": START + timedelta(hours=number, minutes=rng.randint(-600, 600)),
        "sku": rng.choice(["MUG", "CUP"]),
        "location_id": "NORTH",
        "movement_type": kind,
        "quantity_units": rng.randint(1, 9) * (-1 if kind == "sale" else 1),
    }


def stream(seed: int, batches: int, size: int) -> list[list[dict[str, Any]]]:
    """Batches that each bring one known event, one conflict and one broken event besides the fresh ones."""
    rng = Random(seed)
    made = []
    for batch in range(batches):
        events = [movement(batch * size + row, rng) for row in range(size)]
        if made:
            events += [made[-1][0], {**made[-1][1], "lot_id": "other"}, {**made[-1][2], "sku": None}]
        made.append(events)
    return made


def die_at(store: Store, point: int) -> None:
    """Kill this process at the given one of all statements and commits from here on."""
    passed = iter(range(point))

    def pass_point(*_: object) -> None:
        if next(passed, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(store._database.engine, name, pass_point)


def consume(store: Store, made: list[list[dict[str, Any]]]) -> None:
    """Append what the stored offset has not reached yet, as a consumer does after a start."""
    for number in range(store.offsets("stream").get(("movements", 0), 0), len(made)):
        store.append(made[number], source="stream", offsets={("movements", 0): number + 1})


def assert_complete(url: str, made: list[list[dict[str, Any]]]) -> None:
    with Store.open(url) as store:
        consume(store, made)
        fresh = [event for events in made for event in events if event["sku"] and "lot_id" not in event]
        unique = {event["document"]: event for event in fresh}
        stored = [document for batch in store.events_since(0) for document in batch.columns["document"]]
        assert stored == list(unique)
        assert store.verify().is_whole
        assert store.quarantine_counts()["added"] == 2 * (len(made) - 1)
        for sku in ("MUG", "CUP"):
            events = [event for event in unique.values() if event["sku"] == sku]
            assert store.live_stock(sku, "NORTH").on_hand_units == fold(events)


@pytest.mark.parametrize("point", [*range(0, 60, 4), 71, 85, 100, 119, 137])
def test_kill_at_a_statement_loses_and_doubles_nothing(url, point):
    made = stream(point, batches=6, size=5)

    def work() -> None:
        with Store.open(url) as store:
            die_at(store, point)
            consume(store, made)

    killed(work)
    assert_complete(url, made)


@pytest.mark.deep
@pytest.mark.parametrize("point", range(137))
def test_kill_at_every_statement_loses_and_doubles_nothing(url, point):
    test_kill_at_a_statement_loses_and_doubles_nothing(url, point)


def kill_at_random_instants(url: str, seed: int, kills: int) -> None:
    rng = Random(seed)
    made = stream(seed, batches=8 * kills, size=5)

    def work() -> None:
        with Store.open(url) as store:
            threading.Timer(rng.uniform(0.002, 0.08), os.kill, (os.getpid(), signal.SIGKILL)).start()
            for _ in range(10**6):
                consume(store, made)

    for _ in range(kills):
        rng.random()
        killed(work)
        with Store.open(url) as store:
            assert store.verify().is_whole
    assert_complete(url, made)


def test_kills_at_random_instants_lose_and_double_nothing(url):
    kill_at_random_instants(url, seed=1, kills=10)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(10))
def test_many_kills_at_random_instants_lose_and_double_nothing(url, seed):
    kill_at_random_instants(url, seed, kills=50)


def test_two_users_posting_at_once_both_get_through(url):
    def post(name: str) -> None:
        rng = Random(name)
        with Store.open(url) as store:
            for number in range(25):
                store.append([{**movement(number, rng), "source": name}], source="console")

    users = [threading.Thread(target=post, args=(name,)) for name in ("ann", "bob")]
    for user in users:
        user.start()
    for user in users:
        user.join()
    with Store.open(url) as store:
        assert store.head()[0] == 50
        assert store.verify().is_whole


def test_a_disk_that_takes_no_more_is_told_and_leaves_the_store_whole(url, tmp_path):
    made = stream(seed=0, batches=2, size=300)
    with Store.open(url) as store:
        store.append(made[0], source="stream", offsets={("t", 0): 1})
        engine = store._database.engine
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
        engine.dispose()
        with pytest.raises(StoreUnavailable, match=r"database or disk is full.*has space"):
            store.append(made[1], source="stream", offsets={("t", 0): 2})
    with Store.open(url) as store:
        assert store.head()[0] == 300
        assert store.offsets("stream") == {("t", 0): 1}
        assert store.verify().is_whole
        store.append(made[1], source="stream", offsets={("t", 0): 2})
        assert store.head()[0] == 600


def test_a_backup_under_writes_is_a_whole_store(store, tmp_path):
    rng = Random(0)
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            store.append([movement(number * 3 + row, rng) for row in range(3)], source="stream")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        heads, reports = [], []
        for number in range(4):
            heads.append(store.head()[0])
            reports.append(store.backup(tmp_path / f"backup-{number}.sqlite"))
    finally:
        done.set()
        writer.join()
    assert all(report.sequence >= head for report, head in zip(reports, heads, strict=True))
    assert heads[3] > 0
    url = f"sqlite:///{tmp_path}/restored.sqlite"
    restored = Store.restore(tmp_path / "backup-3.sqlite", url)
    assert (restored.sequence, restored.chain_hash) == (reports[3].sequence, reports[3].chain_hash)
    assert restored.is_whole


def test_a_restored_store_holds_everything_and_goes_on(store, tmp_path):
    made = stream(3, batches=4, size=5)
    consume(store, made[:3])
    store.advance("generation", store.claim("generation", "run-1"), "wh_1")
    store.backup(tmp_path / "backup.sqlite")
    url = f"sqlite:///{tmp_path}/restored.sqlite"
    Store.restore(tmp_path / "backup.sqlite", url)
    with Store.open(url) as restored:
        assert restored.offsets("stream") == store.offsets("stream")
        assert restored.quarantine() == store.quarantine()
        assert restored.epochs("generation") == store.epochs("generation")
        assert [live.on_hand_units for live in restored.live_stocks()] == [
            live.on_hand_units for live in store.live_stocks()
        ]
    assert_complete(url, made)


def test_a_backup_is_a_single_file(store, tmp_path):
    store.backup(tmp_path / "backup.sqlite")
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.sqlite"]


def test_a_backup_never_overwrites(store, tmp_path):
    (tmp_path / "backup.sqlite").write_text("mine")
    with pytest.raises(StoreError, match="never overwrites"):
        store.backup(tmp_path / "backup.sqlite")
    assert (tmp_path / "backup.sqlite").read_text() == "mine"


def test_a_restore_never_overwrites(url, store, tmp_path):
    store.append([movement(1, Random(0))], source="api")
    store.backup(tmp_path / "backup.sqlite")
    with pytest.raises(StoreNotEmpty, match="holds rows in 'authorities'"):
        Store.restore(tmp_path / "backup.sqlite", url)
    assert store.verify().is_whole


def test_a_damaged_backup_is_not_restored(store, tmp_path):
    store.append([movement(1, Random(0))], source="api")
    store.backup(tmp_path / "backup.sqlite")
    with Store.open(f"sqlite:///{tmp_path}/backup.sqlite") as damaged, damaged._database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET sku = 'OTHER'")
    with pytest.raises(StoreError, match="damaged"):
        Store.restore(tmp_path / "backup.sqlite", f"sqlite:///{tmp_path}/restored.sqlite")


@pytest.mark.parametrize("name", ["none.sqlite", "folder/none.sqlite"])
def test_a_missing_backup_or_folder_is_named(store, tmp_path, name):
    with pytest.raises(StoreError, match="There is no backup"):
        Store.restore(tmp_path / name, f"sqlite:///{tmp_path}/restored.sqlite")
    if "/" in name:
        with pytest.raises(StoreError, match="no folder"):
            store.backup(tmp_path / name)
