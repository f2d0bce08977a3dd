"""A publication is in force at once or not at all, and nobody waits for it long."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import event, exc, text
from support.killed import killed

from serving.store import Fenced, Outbox, ProposeReport, Store, publications, staging

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


def staged(store: Store) -> int:
    with store._database.read() as connection:
        counted = "SELECT (SELECT count(*) FROM staged_proposals) + (SELECT count(*) FROM staged_steps)"
        return connection.execute(text(counted)).scalar_one()


def after_turns(monkeypatch: pytest.MonkeyPatch, turns: int, then: Any) -> None:
    """Do something once, after so many short transactions that staged rows."""
    turn, passed = staging.Pace.turn, [0]

    @contextmanager
    def turned(self: staging.Pace, database: Any) -> Iterator[Any]:
        with turn(self, database) as connection:
            yield connection
            count = connection.execute(text("SELECT count(*) FROM staged_proposals")).scalar_one()
        passed[0] += count > 0
        if passed[0] == turns:
            passed[0] += 1
            then()

    monkeypatch.setattr(staging.Pace, "turn", turned)


def test_a_run_that_wakes_up_late_leaves_what_the_valid_one_has_staged(url, monkeypatch):
    with Store.open(url) as store, Store.open(url) as other:
        old = other.claim("generation", "old run")
        publish(store, 12)

        def wake_up() -> None:
            before = staged(other)
            with pytest.raises(Fenced):
                other.publish("generation", old, "old", {}, Outbox(DAY, lines(99), 0, {}))
            assert staged(other) == before

        after_turns(monkeypatch, 3, wake_up)
        publish(store, 24, NEXT_DAY)
        assert seen(store) == wanted(24, NEXT_DAY)
        assert staged(store) == 0
        assert store.verify().is_whole


@pytest.mark.parametrize("table", ["staged_proposals", "staged_steps"])
def test_a_publication_that_has_lost_staged_rows_is_worked_out_again(url, monkeypatch, table):
    with Store.open(url) as store:
        publish(store, 12)
        stage, lost = publications._stage, []

        def lose_some(*given: Any) -> None:
            stage(*given)
            if not lost:
                with store._database.write() as connection:
                    some = f"SELECT proposal_id FROM {table} LIMIT 3"
                    lost.append(connection.execute(text(f"DELETE FROM {table} WHERE proposal_id IN ({some})")).rowcount)

        monkeypatch.setattr(publications, "_stage", lose_some)
        publish(store, 24, NEXT_DAY)
        assert lost[0] >= 3
        assert seen(store) == wanted(24, NEXT_DAY)
        assert store.verify().is_whole
        assert staged(store) == 0


def test_steps_left_without_their_proposal_are_cleared_by_the_next_publication(store):
    publish(store, 12)
    with store._database.write() as connection:
        columns = ", ".join(column.name for column in staging.proposal_steps.c)
        connection.execute(
            text(f"INSERT INTO staged_steps ({columns}, publication) SELECT {columns}, 1 FROM proposal_steps LIMIT 3")
        )
    publish(store, 24, NEXT_DAY)
    assert staged(store) == 0


def test_a_publication_in_force_stands_where_folding_fails(url, monkeypatch, caplog):
    with Store.open(url) as store:
        publish(store, 12)
        fold_some, passed = staging._fold_some, []

        def full(*given: Any) -> bool:
            passed.append(given)
            if len(passed) == 2:
                raise exc.OperationalError("INSERT", {}, Exception("database or disk is full"))
            return fold_some(*given)

        monkeypatch.setattr(staging, "_fold_some", full)
        report = publish(store, 24, NEXT_DAY)
        assert len(report.proposed) == ITEMS // 2
        assert "is in force" in caplog.text
        assert seen(store) == wanted(24, NEXT_DAY)
        assert staged(store) > 0
        # What touches no proposal does not wait for the fold; what does folds first.
        request = {"sku": "SKU0", "location_id": "NORTH", "requested_units": "1", "author": "ann"}
        moment = datetime(2011, 3, 1, 10, tzinfo=UTC).isoformat()
        event_of = {"event_type": "restock_request", "event_id": "r", "occurred_at": moment}
        assert store.append([event_of | request], source="api").accepted == 1
        assert staged(store) > 0
        store.decide_proposal(report.proposed[0], "approved", event_id="a", author="ann")
        assert staged(store) == 0


def test_a_publication_worked_out_again_is_of_the_instant_of_its_last_try(url, monkeypatch):
    instants = [datetime(2026, 12, 1, 10, tzinfo=UTC)]
    with Store.open(url, clock=lambda: instants[-1]) as store:
        publish(store, 12)
        chosen = store.proposals(state="proposed")[0].proposal_id
        stage, tried = publications._stage, []

        def decide_once(*given: Any) -> None:
            if not tried:
                tried.append(1)
                instants.append(datetime(2026, 12, 1, 11, tzinfo=UTC))
                store.decide_proposal(chosen, "approved", event_id="e", author="ann")
            stage(*given)

        monkeypatch.setattr(publications, "_stage", decide_once)
        report = publish(store, 24, NEXT_DAY)
        made = {each.proposal_id: each for each in store.proposals()}
        assert {made[each].proposed_at for each in report.proposed} == {instants[-1]}
