"""The stream consumer, against librdkafka's own mock cluster in another process."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sqlalchemy.engine import make_url
from support.mock_broker import mock_broker

from orchestration.ingest.contract import load_contract
from orchestration.ingest.contract_texts import movement_json_schema
from serving.store import OffsetsLost, Store
from serving.stream.consumer import (
    MovementSchema,
    StreamConsumer,
    StreamSettings,
    StreamUnavailable,
    read_message,
    run_until_signal,
)

TOPIC = "movements"
SCHEMA = movement_json_schema(load_contract())


def movement(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "source": "pos",
        "document": f"D{number}",
        "line": 1,
        "occurred_at": "2011-03-01T12:00:00Z",
        "sku": f"SKU-{number % 3}",
        "location_id": "NORTH",
        "movement_type": "receipt",
        "quantity_units": 1,
        **fields,
    }


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A real broker where KAFKA_BOOTSTRAP names one; it must create topics of 4 partitions by itself."""
    if "KAFKA_BOOTSTRAP" in os.environ:
        yield os.environ["KAFKA_BOOTSTRAP"]
        return
    with mock_broker() as address:
        yield address


@pytest.fixture
def settings(broker: str, request: pytest.FixtureRequest) -> StreamSettings:
    # A topic and a group of its own for each test.
    topic = f"{request.node.name.split('[')[0]}_{uuid4().hex[:8]}"
    return StreamSettings(broker, (topic,), group_id=topic, batch_seconds=0.1, batch_messages=50)


def produce(settings: StreamSettings, values: list[bytes | None], partitions: int = 2) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for number, value in enumerate(values):
        producer.produce(settings.topics[0], value=value, partition=number % partitions)
    assert producer.flush(30) == 0


def encoded(*events: dict[str, Any]) -> list[bytes | None]:
    return [json.dumps(event).encode() for event in events]


@contextmanager
def consuming(store: Store, settings: StreamSettings) -> Iterator[StreamConsumer]:
    consumer = StreamConsumer(store, MovementSchema(SCHEMA), settings)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield consumer
    finally:
        consumer.stop()
        thread.join()


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def next_offsets(store: Store) -> int:
    return sum(store.offsets("stream").values())


def test_messages_become_events_and_offsets_in_one_store(store, settings):
    produce(settings, encoded(*(movement(number) for number in range(120))))
    with consuming(store, settings) as consumer:
        until(lambda: store.head()[0] == 120)
    assert sorted(store.offsets("stream").values()) == [60, 60]
    assert [live.on_hand_units for live in store.live_stocks()] == [40, 40, 40]
    assert (consumer.state.accepted, consumer.state.messages) == (120, 120)


POISON: list[tuple[bytes | None, str]] = [
    (None, "empty_message"),
    (b"", "empty_message"),
    (b"\xff\xfe\x00", "not_utf8"),
    (b"{", "not_json"),
    (b"[" * 100_000, "not_json"),
    (b'{"quantity_units": NaN}', "not_json"),
    (b'{"line": 1, "line": 2}', "not_json"),
    (b"[]", "schema"),
    (b"7", "schema"),
    (json.dumps(movement(1, quantity_units="many")).encode(), "schema"),
    (json.dumps(movement(1, colour="red")).encode(), "schema"),
    (json.dumps({"sku": "MUG"}).encode(), "schema"),
    (json.dumps(movement(1, occurred_at="yesterday")).encode(), "occurred_at_type"),
    (json.dumps(movement(1, quantity_units=-1)).encode(), "incoming_not_positive"),
    (json.dumps(movement(1)).encode().replace(b": 1}", b": 1e400}"), "quantity_units_type"),
    (b" " * 3_000 + b"{}", "message_too_large"),
]


def test_poison_goes_to_quarantine_with_its_place_and_bytes_and_the_stream_goes_on(store, settings):
    poison = [value for value, _ in POISON]
    produce(settings, [*poison, *encoded(movement(900))], partitions=1)
    with consuming(store, settings) as consumer:
        until(lambda: store.head()[0] == 1)
    found = {row.position: row.original for row in store.quarantine()}
    assert found == {f"{settings.topics[0]}/0@{offset}": value or b"" for offset, value in enumerate(poison)}
    assert consumer.state.quarantined == len(poison)


@pytest.mark.parametrize(("value", "rule"), POISON)
def test_every_kind_of_poison_has_its_rule(store, value, rule):
    read = read_message(value, MovementSchema(SCHEMA), largest_bytes=2_000 if rule == "message_too_large" else 200_000)
    if isinstance(read, tuple):
        assert read[0] == rule
    else:
        store.append([read], source="stream")
        assert store.quarantine()[0].rule == rule


def test_a_fraction_in_json_is_exact():
    read = read_message(b'{"quantity_units": 0.1}', MovementSchema({}), 100)
    assert read == {"quantity_units": Decimal("0.1")}


def test_a_start_goes_on_where_the_store_stands_not_where_the_group_does(store, settings):
    produce(settings, encoded(*(movement(number) for number in range(10))), partitions=1)
    with consuming(store, settings):
        until(lambda: store.head()[0] == 10)
    produce(settings, encoded(*(movement(number) for number in range(10, 20))), partitions=1)
    with consuming(store, replace(settings, group_id="another")) as consumer:
        until(lambda: store.head()[0] == 20)
    assert consumer.state.messages == 10


def test_two_consumers_of_a_group_write_every_message_once(url, settings):
    with Store.open(url) as store, Store.open(url) as other:
        produce(settings, encoded(*(movement(number) for number in range(200))), partitions=4)
        with consuming(store, settings):
            until(lambda: store.head()[0] > 0)
            with consuming(other, settings):
                produce(settings, encoded(*(movement(number) for number in range(200, 400))), partitions=4)
                until(lambda: next_offsets(store) == 400)
        assert store.head()[0] == 400
        assert store.verify().is_whole


def test_redelivered_messages_change_nothing(store, settings):
    events = [movement(number) for number in range(30)]
    deliveries = encoded(*events) * 3
    Random(0).shuffle(deliveries)
    produce(settings, deliveries)
    with consuming(store, settings) as consumer:
        until(lambda: next_offsets(store) == 90)
    assert (store.head()[0], consumer.state.duplicate) == (30, 60)


def test_lag_and_rate_are_visible(store, settings):
    produce(settings, encoded(*(movement(number) for number in range(40))), partitions=1)
    seen = []
    consumer = StreamConsumer(store, MovementSchema(SCHEMA), replace(settings, batch_messages=10), on_batch=seen.append)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    until(lambda: store.head()[0] == 40 and consumer.state.lag.get((settings.topics[0], 0)) == 0)
    consumer.stop()
    thread.join()
    assert max(state.rate for state in seen) > 0
    assert any(state.lag.get((settings.topics[0], 0), 0) > 0 for state in seen)


def test_a_locked_database_holds_the_stream_back_and_loses_nothing(url, store, settings):
    produce(settings, encoded(*(movement(number) for number in range(20))))
    with Store.open(url) as other, ExitStack() as lock:
        lock.enter_context(other._database.write())
        with consuming(store, settings):
            time.sleep(1.0)
            assert store.head()[0] == 0
            lock.close()
            until(lambda: store.head()[0] == 20)


def test_an_assignment_waits_for_a_store_that_does_not_answer(store, settings, tmp_path):
    store.append([], source="stream", offsets={("t", 0): 5})
    store._database.engine.dispose()
    away = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}_away"))
    threading.Timer(0.3, lambda: away.rename(tmp_path)).start()
    assert StreamConsumer(store, MovementSchema(SCHEMA), settings)._stored_offsets() == {("t", 0): 5}


def test_a_topic_made_anew_is_loud(store, settings):
    store.append([], source="stream", offsets={(settings.topics[0], 0): 50})
    produce(settings, encoded(movement(1)), partitions=1)
    with pytest.raises(OffsetsLost, match=r"should continue at offset 50, and it holds offsets 0 to 0"):
        StreamConsumer(store, MovementSchema(SCHEMA), settings).run()


def test_a_reset_offset_lets_the_stream_go_on(store, settings):
    store.append([], source="stream", offsets={(settings.topics[0], 0): 50})
    produce(settings, encoded(movement(1)), partitions=1)
    store.reset_offset("stream", settings.topics[0], 0, 0)
    with consuming(store, settings):
        until(lambda: store.head()[0] == 1)


def test_an_unreachable_broker_is_named_with_what_to_check(store):
    settings = StreamSettings("127.0.0.1:1", (TOPIC,), connect_seconds=0.5, client={"log_level": 0})
    with pytest.raises(StreamUnavailable, match=r"127\.0\.0\.1:1 cannot be used.*Check that the broker runs"):
        StreamConsumer(store, MovementSchema(SCHEMA), settings).run()


@contextmanager
def forked_consumer(url: str, settings: StreamSettings) -> Iterator[int]:
    """A consumer in a process of its own, killed at the end where it still runs."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException), Store.open(url) as store:
            run_until_signal(StreamConsumer(store, MovementSchema(SCHEMA), settings))
            os._exit(0)
        os._exit(1)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):  # ended and waited for
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_terminated_consumer_finishes_its_batch_and_ends_well(url, settings):
    produce(settings, encoded(*(movement(number) for number in range(30))))
    with forked_consumer(url, settings) as child, Store.open(url) as store:
        until(lambda: store.head()[0] == 30)
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == 0
        assert next_offsets(store) == 30


def kill_and_restart(url: str, settings: StreamSettings, kills: int, seed: int) -> None:
    rng = Random(seed)
    events = [movement(number) for number in range(150 * kills)]
    with Store.open(url) as store:
        for kill in range(kills):
            # New messages for every consumer: the one before may have read all there were.
            produce(settings, encoded(*events[150 * kill : 150 * (kill + 1)]))
            before = store.head()[0]
            with forked_consumer(url, replace(settings, batch_messages=7, group_id=f"{settings.group_id}-{kill}")):
                until(lambda before=before: store.head()[0] > before)
                time.sleep(rng.uniform(0, 0.2))
            assert store.verify().is_whole
        with consuming(store, replace(settings, group_id=f"{settings.group_id}-last")):
            until(lambda: next_offsets(store) == len(events))
        stored = [document for batch in store.events_since(0) for document in batch.columns["document"]]
        assert sorted(stored) == sorted(event["document"] for event in events)
        assert sum(live.on_hand_units for live in store.live_stocks()) == len(events)


def test_a_killed_consumer_loses_and_doubles_nothing(url, settings):
    kill_and_restart(url, settings, kills=3, seed=0)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(5))
def test_a_consumer_killed_many_times_loses_and_doubles_nothing(url, settings, seed):
    kill_and_restart(url, settings, kills=20, seed=seed)


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**33), 2**33),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.text(max_size=4),
    st.sampled_from(["sale", "1.5", "-2", "1.5555", "2011-03-01T12:00:00Z"]),
    st.lists(st.integers(), max_size=1),
)


@examples(deadline=None)
@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "colour"]), json_values, max_size=4), st.booleans())
def test_the_quick_check_and_the_full_one_agree(changes, is_whole):
    event = {**(movement(1) if is_whole else {}), **changes}
    assert (MovementSchema(SCHEMA).objection(event) is None) == Draft202012Validator(SCHEMA).is_valid(event)


def test_a_sound_movement_needs_no_full_check():
    schema = MovementSchema(SCHEMA)
    assert schema._is_plainly_valid(movement(1, unit_price="1.50", lot_id=None, quantity_units=Decimal("1.5")))


@pytest.mark.parametrize(
    "change",
    [
        {"line": -1},
        {"line": 2**31},
        {"line": True},
        {"line": Decimal(1)},
        {"sku": ""},
        {"sku": "x" * 1001},
        {"sku": None},
        {"movement_type": "theft"},
        {"quantity_units": "1.5555"},
        {"quantity_units": None},
        {"colour": "red"},
    ],
)
def test_the_quick_check_leaves_what_is_wrong_to_the_full_one(change):
    schema = MovementSchema(SCHEMA)
    assert not schema._is_plainly_valid(movement(1, **change))
    assert schema.objection(movement(1, **change)) is not None


def test_a_schema_that_says_more_is_obeyed_in_full():
    schema = MovementSchema({"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 3}}})
    assert (schema.objection({"a": 6}), schema.objection({"a": 7})) == (None, "a: 7 is not a multiple of 3")


def test_a_schema_comes_from_a_file(tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    assert MovementSchema.from_file(tmp_path / "schema.json").objection(movement(1)) is None


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    server = os.environ.get("POSTGRES_URL")
    if server is None:
        pytest.fail(
            "POSTGRES_URL names no PostgreSQL server; start one and set it, as postgresql://user@host/postgres."
        )
    name = f"stream_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def killed_and_restarted(name: str) -> None:
    """Kill a server that `make test-services` started, as a power cut would, and start it again a second later."""
    script, number = os.environ[f"{name}_SERVER"], int(Path(os.environ[f"{name}_PID_FILE"]).read_text().split()[0])
    os.kill(number, signal.SIGKILL)
    time.sleep(1.0)
    subprocess.Popen([script], start_new_session=True)


@pytest.mark.services
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_broker_and_database_killed_and_restarted_in_mid_stream_lose_and_double_nothing(postgresql_url, settings):
    if "KAFKA_SERVER" not in os.environ:
        pytest.skip("the broker of KAFKA_BOOTSTRAP is not ours to kill")
    Store.migrate(postgresql_url)
    produce(settings, encoded(*(movement(number) for number in range(4))), partitions=4)
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    sent = 4

    def send(numbers: range) -> None:
        for number in numbers:
            producer.produce(settings.topics[0], json.dumps(movement(number)).encode(), partition=number % 4)
            producer.poll(0.005)
        producer.flush(120)

    with Store.open(postgresql_url) as store, consuming(store, replace(settings, batch_messages=20)) as consumer:
        for killed in (["KAFKA"], ["POSTGRES"], ["POSTGRES", "KAFKA"]):
            sender = threading.Thread(target=send, args=[range(sent, sent + 500)])
            sender.start()
            until(lambda sent=sent: consumer.state.messages > sent + 100, 120)
            for name in killed:
                killed_and_restarted(name)
            sender.join()
            sent += 500
            until(lambda sent=sent: consumer.state.messages >= sent and not consumer.state.waiting, 120)
        # A batch whose answer was lost may have been written: its messages come again, and are known.
        assert next_offsets(store) == store.head()[0] == sent
        assert store.verify().is_whole
        assert sum(live.on_hand_units for live in store.live_stocks()) == sent


@pytest.mark.services
def test_a_database_that_breaks_off_again_and_again_loses_and_doubles_nothing(postgresql_url, settings):
    Store.migrate(postgresql_url)
    produce(settings, [*encoded(*(movement(number) for number in range(600))), b"poison"])
    with Store.open(postgresql_url) as store, psycopg.connect(postgresql_url, autocommit=True) as administrator:

        def written() -> int:
            row = administrator.execute("SELECT coalesce(sum(next_offset), 0) FROM stream_offsets").fetchone()
            return int(row[0]) if row else 0

        broken = 0
        with consuming(store, replace(settings, batch_messages=5)):
            until(lambda: written() > 0)
            while written() < 601 and broken < 10:
                administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                broken += 1
                time.sleep(0.3)
            until(lambda: written() == 601)
        assert broken > 1
        assert store.head()[0] == 600
        assert store.quarantine_counts()["open"] == 1
        assert store.verify().is_whole
        assert sum(live.on_hand_units for live in store.live_stocks()) == 600
