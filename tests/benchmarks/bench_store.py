"""How fast the online store accepts movements, by itself and from a stream, beside bare sqlite3; how fast it answers.

Append: batches of 1,000 against `executemany` of ready-made tuples into the same table, with the same indexes and the
same fsyncs; what the store adds is checking, recognising, chaining and folding.
Stream: from a broker (a mock one in another process unless --bootstrap names a real one) into the store, against a bare
loop that consumes, reads the JSON and inserts, batch for batch.
"""

import argparse
import gc
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from orchestration.ingest.contract import load_contract
from orchestration.ingest.contract_texts import movement_json_schema
from serving.store import Store
from serving.store.events import COLUMNS, typed_row
from serving.stream.consumer import MovementSchema, StreamConsumer, StreamSettings, StreamState

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.mock_broker import mock_broker

BATCH_ROWS = 1_000
START = datetime(2011, 1, 1, tzinfo=UTC)
RESULTS = Path(__file__).parent / "results" / "store.txt"


def batches(number: int, seed: int) -> list[list[dict[str, Any]]]:
    """Return batches of sales and receipts, 3,000 items at 3 locations, in time order, 20 lines an invoice."""
    rng = random.Random(seed)
    made = []
    for batch in range(number):
        movements = []
        for row in range(BATCH_ROWS):
            count = batch * BATCH_ROWS + row
            is_sale = rng.random() < 0.95
            movements.append(
                {
                    "source": "pos",
                    "document": f"INV-{500_000 + count // 20}",
                    "line": count % 20,
                    "revision": 0,
                    "occurred_at": START + timedelta(seconds=7 * count),
                    "recorded_at": START + timedelta(seconds=7 * count + 2),
                    "sku": f"SKU-{rng.randrange(3_000):05}",
                    "location_id": f"DEPOT-{rng.randrange(3)}",
                    "movement_type": "sale" if is_sale else "receipt",
                    "quantity_units": Decimal(-rng.randrange(1, 25) if is_sale else rng.randrange(20, 200)),
                    "unit_price": Decimal(rng.randrange(50, 2_000)) / 100,
                }
            )
        made.append(movements)
    return made


def alternated(
    store: Store, folder: Path, made: list[list[dict[str, Any]]], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of each batch of the store and bare; both grow alike, in turns, as the machine is noisy."""
    url = f"sqlite:///{folder}/bare.sqlite"
    Store.migrate(url)
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    # The settings of the store's own connections.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA wal_autocheckpoint=8192")
    ours: list[float] = []
    bare: list[float] = []
    size = -(-len(made) // rounds)
    for start in range(0, len(made), size):
        part = made[start : start + size]
        ours += store_seconds(store, part)
        bare += bare_seconds(connection, part, start * BATCH_ROWS)
    connection.close()
    return ours, bare


def bare_seconds(connection: sqlite3.Connection, made: list[list[dict[str, Any]]], sequence: int) -> list[float]:
    """Return the seconds of each bare batch, one transaction each."""
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    statement = f"INSERT INTO events (sequence, {', '.join(COLUMNS)}) VALUES ({marks})"
    seconds = []
    for movements in made:
        rows = []
        for movement in movements:
            sequence += 1
            rows.append((sequence, *typed_row(movement, "bench")))
        begin = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")
        seconds.append(time.perf_counter() - begin)
    return seconds


def store_seconds(store: Store, made: list[list[dict[str, Any]]]) -> list[float]:
    """Return the seconds of each `append`."""
    seconds = []
    for movements in made:
        begin = time.perf_counter()
        report = store.append(movements, source="bench")
        seconds.append(time.perf_counter() - begin)
        assert report.accepted == len(movements)
    return seconds


def live_stock_milliseconds(store: Store, reads: int) -> list[float]:
    """Return sorted milliseconds of reads of one item that 100,000 events lie behind."""
    for part in range(100):
        store.append(
            [
                {
                    "source": "wms",
                    "document": f"D{part}",
                    "line": line,
                    "occurred_at": START + timedelta(seconds=part * 1_000 + line),
                    "sku": "BUSY",
                    "location_id": "DEPOT-0",
                    "movement_type": "sale",
                    "quantity_units": -1,
                }
                for line in range(1_000)
            ],
            source="bench",
        )
    seconds = []
    for _ in range(reads):
        begin = time.perf_counter()
        stock = store.live_stock("BUSY", "DEPOT-0")
        seconds.append((time.perf_counter() - begin) * 1_000)
        assert stock is not None
        assert stock.on_hand_units == -100_000
    return sorted(seconds)


def produce(address: str, topic: str, made: list[list[dict[str, Any]]]) -> None:
    """Write the movements of all batches to partition 0 of a topic as JSON."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    for movements in made:
        for movement in movements:
            text = json.dumps(
                movement, default=lambda value: value.isoformat() if hasattr(value, "isoformat") else str(value)
            )
            producer.produce(topic, value=text.encode(), partition=0)
        producer.poll(0)
    producer.flush()


def bare_stream_seconds(address: str, topic: str, path: Path, number: int) -> float:
    """Return the seconds from the first message to the last of a loop that consumes, reads and inserts."""
    Store.migrate(f"sqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA wal_autocheckpoint=8192")
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    statement = f"INSERT INTO events (sequence, {', '.join(COLUMNS)}) VALUES ({marks})"
    consumer = Consumer({"bootstrap.servers": address, "group.id": "bare", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    done = 0
    begin = 0.0
    while done < number:
        messages = consumer.consume(BATCH_ROWS, timeout=0.5)
        begin = begin or time.perf_counter()
        rows = []
        for message in messages:
            event = json.loads(message.value() or b"")
            done += 1
            identity = (event["source"], event["document"], event["line"], event["revision"])
            rows.append(
                (
                    *(done, ":".join(map(str, identity)), "movement", *identity),
                    *(event["occurred_at"], event["recorded_at"], event["sku"], event["location_id"]),
                    *(event["movement_type"], event["quantity_units"], event["unit_price"], None, None, None, None),
                )
            )
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - begin
    consumer.close()
    connection.close()
    return seconds


def our_stream_seconds(address: str, topic: str, path: Path, number: int) -> float:
    """Return the seconds from the first batch to the last of the stream consumer."""
    Store.migrate(f"sqlite:///{path}")
    schema = MovementSchema(movement_json_schema(load_contract()))
    instants: list[tuple[float, int]] = []
    with Store.open(f"sqlite:///{path}") as store:

        def watch(state: StreamState) -> None:
            instants.append((time.perf_counter(), state.messages))
            if state.messages >= number:
                consumer.stop()

        consumer = StreamConsumer(store, schema, StreamSettings(address, (topic,)), on_batch=watch)
        consumer.run()
        assert store.head()[0] == number
    first = next(index for index, (_, messages) in enumerate(instants) if messages)
    start, already = instants[first]
    # From the end of the first batch on, so that joining the group is left out; scaled to all messages.
    return (instants[-1][0] - start) * number / (number - already)


def main() -> None:
    """Print the figures and keep them in results/store.txt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200, help="batches of 1,000 on each side")
    parser.add_argument("--rounds", type=int, default=20, help="the batches are parted in so many alternating rounds")
    parser.add_argument("--bootstrap", help="a real broker, as host:port")
    # The mock broker keeps 5 MiB of a partition and drops what is older.
    parser.add_argument("--messages", type=int, default=10, help="thousands of messages through the stream")
    parser.add_argument("--folder", help="where the databases are made; a memory disk leaves the fsyncs out")
    parser.add_argument("--note", default="", help="what to say of the machine, as that others were at work on it")
    arguments = parser.parse_args()
    told = [
        f"SQLite {sqlite3.sqlite_version}, SQLAlchemy {version('sqlalchemy')}, confluent-kafka "
        f"{version('confluent-kafka')}, Python {platform.python_version()}, {os.cpu_count()} cores {arguments.note}",
        "Ratios of one run; process start-up, connecting and joining the group are left out.",
        "",
    ]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        told += [*store_figures(Path(folder), batches(arguments.batches, seed=0), arguments.rounds), ""]
        with nullcontext(arguments.bootstrap) if arguments.bootstrap else mock_broker() as address:
            told += stream_figures(Path(folder), address, arguments.messages, arguments.bootstrap is not None)
    print("\n".join(told))
    RESULTS.write_text("\n".join(told) + "\n", encoding="utf-8")


def store_figures(folder: Path, made: list[list[dict[str, Any]]], rounds: int) -> list[str]:
    """Return what appending, reading live stock and verifying came to."""
    gc.freeze()
    url = f"sqlite:///{folder}/store.sqlite"
    Store.migrate(url)
    with Store.open(url) as store:
        ours, bare = alternated(store, folder, made, rounds)
        told = [f"append, {len(made)} batches of {BATCH_ROWS:,} on each side, in turns, median and mean of a batch:"]
        for name, seconds in (("bare executemany", bare), ("Store.append", ours)):
            middle, mean = statistics.median(seconds) * 1e3, statistics.mean(seconds) * 1e3
            told.append(f"  {name:<16} {middle:7.1f} ms {mean:7.1f} ms, {1e6 / middle:10,.0f} rows/s")
        middle, mean = (of(bare) / of(ours) for of in (statistics.median, statistics.mean))
        again = store_seconds_of_duplicates(store, made[:20])
        told += [
            f"  ratio            {middle:7.2f}    {mean:7.2f}    (at least 0.50)",
            f"  all duplicates    {again / len(made[:20]) / BATCH_ROWS * 1e6:7.1f} us a row",
        ]
        reads = live_stock_milliseconds(store, 1_000)
        begin = time.perf_counter()
        report = store.verify()
        return [
            *told,
            "live stock of one item with 100,000 tail events, 1,000 reads:",
            f"  median {reads[500]:.2f} ms, p99 {reads[990]:.2f} ms (under 20 ms)",
            f"verify: {report.events:,} events in {time.perf_counter() - begin:.1f} s, whole: {report.is_whole}",
        ]


def stream_figures(folder: Path, address: str, thousands: int, is_real: bool) -> list[str]:
    """Return what reading a topic into the store came to."""
    topic, number = f"bench_{uuid4().hex[:8]}", thousands * BATCH_ROWS
    produce(address, topic, batches(thousands, seed=1))
    bare = bare_stream_seconds(address, topic, folder / "bare_stream.sqlite", number)
    ours = our_stream_seconds(address, topic, folder / "stream.sqlite", number)
    return [
        f"stream, {number:,} messages from {'a real' if is_real else 'librdkafka mock'} broker:",
        f"  bare loop        {number / bare:10,.0f} messages/s",
        f"  StreamConsumer   {number / ours:10,.0f} messages/s",
        f"  ratio            {bare / ours:10.2f} (at least 0.30)",
    ]


def store_seconds_of_duplicates(store: Store, made: list[list[dict[str, Any]]]) -> float:
    """Return the seconds of appending what is known already."""
    begin = time.perf_counter()
    for movements in made:
        assert store.append(movements, source="bench").duplicate == len(movements)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
