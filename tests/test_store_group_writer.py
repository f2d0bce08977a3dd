"""Many callers share one commit, and each gets the answer to what it handed in."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.store import GroupWriter, Store, StoreError
from serving.store.outcomes import parts

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def movement(document: str, units: Any = -1, **fields: Any) -> dict[str, Any]:
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


def test_many_callers_are_answered_each_for_its_own(store):
    def work(client: int) -> list[str]:
        results = []
        for number in range(20):
            units = "many" if number % 5 == 4 else -1
            given = [movement(f"{client}-{number}", units), movement("shared")]
            results += [outcome.result for outcome in writer.append(given, source="api").outcomes]
        return results

    with GroupWriter(store) as writer, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    own = [each[::2] for each in results]
    assert all(each == (["accepted"] * 4 + ["refused"]) * 4 for each in own)
    assert sum(result == "accepted" for each in results for result in each[1::2]) == 1
    assert store.live_stock("MUG", "NORTH").on_hand_units == -(8 * 16 + 1)
    assert store.quarantine_counts()["added"] == 8 * 4
    assert store.verify().is_whole


def test_what_waits_is_appended_together(store):
    with GroupWriter(store) as writer, ThreadPoolExecutor(40) as pool:
        with store._database.write():
            # While another writes, everybody waits.
            calls = [pool.submit(writer.append, [movement(f"d{n}")], source="api") for n in range(40)]
            threading.Event().wait(0.3)
        assert {call.result().accepted for call in calls} == {1}
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM batches").scalar_one() <= 3


def test_channels_are_kept_apart(store):
    with GroupWriter(store) as writer, ThreadPoolExecutor(8) as pool, store._database.read() as connection:
        for call in [pool.submit(writer.append, [movement(f"d{n}")], source="ab"[n % 2]) for n in range(8)]:
            call.result()
        found = connection.exec_driver_sql("SELECT DISTINCT door FROM batches ORDER BY door").scalars().all()
    assert found == ["a", "b"]


def test_an_error_reaches_the_caller_and_the_writer_goes_on(store):
    with GroupWriter(store) as writer:
        with store._database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE batches RENAME TO hidden")
        with pytest.raises(Exception, match="batches"):
            writer.append([movement("a")], source="api")
        with store._database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE hidden RENAME TO batches")
        assert writer.append([movement("a")], source="api").accepted == 1


def test_what_one_call_breaks_is_its_own_error(store, monkeypatch):
    append = Store.append_delivered

    def fail(store: Store, delivered: Any) -> Any:
        if any(event["document"] == "bad" for event in delivered.given):
            raise OverflowError("too large")
        return append(store, delivered)

    monkeypatch.setattr(Store, "append_delivered", fail)
    with GroupWriter(store) as writer, ThreadPoolExecutor(8) as pool:
        with store._database.write():
            first = pool.submit(writer.append, [movement("first")], source="api")
            threading.Event().wait(0.2)
            named = ["a", "bad", "b"]
            calls = [pool.submit(writer.append, [movement(name)], source="api") for name in named]
            threading.Event().wait(0.2)
        assert [call.result().accepted for call in (first, calls[0], calls[2])] == [1, 1, 1]
        with pytest.raises(OverflowError):
            calls[1].result()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_fails_answers_whoever_waits_and_takes_no_more(store, monkeypatch):
    def end(*_: object) -> None:
        raise RuntimeError("no report")

    monkeypatch.setattr("serving.store.group_writer.parts", end)
    with GroupWriter(store) as writer, ThreadPoolExecutor(1) as pool:
        with pytest.raises(StoreError, match="has failed"):
            pool.submit(writer.append, [movement("a")], source="api").result(20)
        with pytest.raises(StoreError, match="is closed"):
            writer.append([movement("b")], source="api")


def test_a_writer_writes_until_its_callers_end(store, url):
    code = """
import sys, threading, time
from serving.store import GroupWriter, Store
writer = GroupWriter(Store.open(sys.argv[1]))
def work():
    threading.main_thread().join()
    time.sleep(0.2)
    print(writer.append([{"event_type": "none"}], source="api").invalid)
threading.Thread(target=work).start()
"""
    run = subprocess.run([sys.executable, "-c", code, url], timeout=60, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("1\n", "")


def test_a_writer_is_of_one_process(store, monkeypatch):
    with GroupWriter(store) as writer:
        with monkeypatch.context() as other:
            other.setattr("serving.store.group_writer.os.getpid", lambda: -1)
            with pytest.raises(StoreError, match="Make one in this process"):
                writer.append([movement("a")], source="api")
            writer.close()
        assert writer.append([movement("a")], source="api").accepted == 1


def test_what_cannot_be_read_is_an_error_of_its_caller_alone(store):
    with GroupWriter(store) as writer:
        with pytest.raises(TypeError):
            writer.append(None, source="api")  # type: ignore[arg-type]
        assert writer.append([movement("a")], source="api").accepted == 1


def test_a_writer_that_is_closed_has_written_all_and_takes_no_more(store):
    writer = GroupWriter(store)
    assert writer.append([movement("a")], source="api").accepted == 1
    writer.close()
    with pytest.raises(StoreError, match="is closed"):
        writer.append([movement("b")], source="api")
    assert store.head()[0] == 1


@pytest.mark.parametrize("sizes", [[2, 3], [3, 2]])
def test_a_report_in_parts_adds_up(store, sizes):
    given = [movement("a"), movement("b", "many"), movement("b", "many"), movement("a", -2), movement("a")]
    report = store.append(given, source="api")
    first, second = parts(report, sizes)
    assert first.outcomes + second.outcomes == report.outcomes
    for name in ("received", "accepted", "duplicate", "conflict", "invalid", "quarantined"):
        assert getattr(first, name) + getattr(second, name) == getattr(report, name)
    assert first.quarantine_ids + second.quarantine_ids == report.quarantine_ids
