"""A publication is in force at once or not at all, and nobody waits for it long."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event, text
from support.killed import killed

from serving.store import Outbox, ProposeReport, Store, staging

DAY, NEXT_DAY = date(2011, 3, 1), date(2011, 3, 2)
ITEMS = 40


@pytest.fixture(autouse=True)
def short_transactions(monkeypatch):
    """Several transactions for few rows."""
    monkeypatch.setattr(staging, "_FIRST_ROWS", 7)
    monkeypatch.setattr(staging, "_FEWEST_ROWS", 7)
    monkeypatch.setattr(staging, "_MOST_ROWS", 7)


def lines(units: int) -> list[dict[str, Any]]:
    """Half the items are wanted in other units each time, half of them as before."""
    return [
        {
            "sku": f"SKU{number}",
            "location_id": "NORTH",
            "supplier_id": "ACME",
            "order_units": units if number % 2 else 6,
            "detail": {"forecast": units},
        }
        for number in range(ITEMS)
    ]


def publish(store: Store, units: int, day: date = DAY) -> ProposeReport:
    fence = store.claim("generation", f"run of {units}")
    outbox = Outbox(day, lines(units), store.open_orders().version, {})
    return store.publish("generation", fence, f"generation of {units}", {}, outbox)


def seen(store: Store) -> tuple[str, set[tuple[Any, ...]]]:
    """Return the current generation and what is proposed, as a reader sees it in one snapshot."""
    with store._database.read() as connection:
        value = connection.execute(text("SELECT value FROM epochs ORDER BY number DESC LIMIT 1")).scalar_one()
        found = connection.execute(staging.seen_proposals.select().where(staging.seen_proposals.c.state == "proposed"))
        return value, {(row.sku, row.order_thousandths // 1000, row.as_of_date, row.detail) for row in found}


def wanted(units: int, day: date = DAY) -> tuple[str, set[tuple[Any, ...]]]:
    rows = {(line["sku"], line["order_units"], day.isoformat(), f'{{"forecast": {units}}}') for line in lines(units)}
    return f"generation of {units}", rows


def test_what_is_published_is_seen_and_has_its_history(store):
    publish(store, 12)
    report = publish(store, 24, NEXT_DAY)
    assert (len(report.proposed), len(report.unchanged), len(report.superseded)) == (ITEMS // 2,) * 3
    assert seen(store) == wanted(24, NEXT_DAY)
    assert len(store.proposals(state="superseded")) == ITEMS // 2
    _, steps = store.proposal(report.superseded[0])
    assert [step["state"] for step in steps] == ["proposed", "superseded"]
    assert store.verify().is_whole
    with store._database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM staged_proposals")).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM staged_steps")).scalar_one() == 0


@pytest.mark.parametrize("point", range(1, 32))
def test_a_kill_leaves_the_earlier_publication_or_the_whole_new_one(url, point):
    with Store.open(url) as store:
        publish(store, 12)
        before = len(store.proposals())

    def die_at_a_commit() -> None:
        with Store.open(url) as store:
            passed = iter(range(point))

            def pass_point(*_: object) -> None:
                if next(passed, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(store._database.engine, "commit", pass_point)
            publish(store, 24, NEXT_DAY)
            os.kill(os.getpid(), signal.SIGKILL)

    killed(die_at_a_commit)
    with Store.open(url) as store:
        found = seen(store)
        assert found in (wanted(12), wanted(24, NEXT_DAY))
        assert store.verify().is_whole
        made = store.proposals()
        assert len(made) == before + (ITEMS // 2 if found == wanted(24, NEXT_DAY) else 0)
        # Whoever decides next folds in what is left, and finds what was seen.
        chosen = next(each for each in made if each.state == "proposed")
        store.decide_proposal(chosen.proposal_id, "approved", event_id="a", author="ann")
        publish(store, 48, NEXT_DAY)
        assert {row for row in wanted(48, NEXT_DAY)[1] if row[0] != chosen.sku} <= seen(store)[1]
        assert store.verify().is_whole


def test_a_reader_never_sees_half_a_publication(url):
    with Store.open(url) as store, Store.open(url) as reader:
        publish(store, 1)
        found: list[tuple[str, set[tuple[Any, ...]]]] = []
        is_over = threading.Event()

        def read() -> None:
            while not is_over.is_set():
                found.append(seen(reader))

        thread = threading.Thread(target=read)
        thread.start()
        for units in range(2, 6):
            publish(store, units, NEXT_DAY)
        is_over.set()
        thread.join()
    whole = [wanted(1), *(wanted(units, NEXT_DAY) for units in range(2, 6))]
    assert all(each in whole for each in found)
    assert len({value for value, _ in found}) > 2


class DecidedMeanwhile(Sequence[dict[str, Any]]):
    """Lines of a run; whenever they are read, a person approves something."""

    def __init__(self, made: list[dict[str, Any]], store: Store, ids: list[str]) -> None:
        self._made, self._store, self._ids = made, store, ids

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._ids:
            chosen = self._ids.pop()
            self._store.decide_proposal(chosen, "approved", event_id=chosen, author="ann")
        return iter(self._made)


@pytest.mark.parametrize("decisions", [1, 2, 3, 5])
def test_what_is_approved_while_a_publication_is_prepared_stands(url, decisions):
    with Store.open(url) as store, Store.open(url) as person:
        publish(store, 12)
        standing = store.proposals(state="proposed")
        ids = [each.proposal_id for each in standing[:decisions]]
        fence = store.claim("generation", "run of 24")
        seen_version = store.open_orders().version
        # The fourth try holds the lock, so that a fifth decision has to wait until it is over.
        approved = ids[:3]
        made = DecidedMeanwhile(lines(24), person, list(approved))
        report = store.publish("generation", fence, "generation of 24", {}, Outbox(NEXT_DAY, made, seen_version, {}))
        assert {each.proposal_id for each in store.proposals(state="approved")} == set(approved)
        assert {sku for sku, _, _ in report.skipped} == {each.sku for each in standing if each.proposal_id in approved}
        assert store.verify().is_whole


def test_a_run_that_is_overtaken_publishes_nothing(store):
    publish(store, 12)
    fence = store.claim("generation", "slow run")
    outbox = Outbox(NEXT_DAY, lines(24), store.open_orders().version, {})
    publish(store, 48)
    with pytest.raises(Exception, match="may no longer set it"):
        store.publish("generation", fence, "generation of 24", {}, outbox)
    assert seen(store) == wanted(48)
