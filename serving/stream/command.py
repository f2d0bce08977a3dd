"""The command behind `inventorybot stream`: the consumer in a process of its own, telling how it goes."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.store import Store, StoreError
from serving.stream.consumer import (
    MovementSchema,
    StreamConsumer,
    StreamSettings,
    StreamState,
    StreamUnavailable,
    run_until_signal,
)

_FAILED = 1


def main(arguments: list[str]) -> int:
    """Consume until SIGINT or SIGTERM; the batch under way is finished first.

    Returns:
        The exit code: 0 when told to stop, 1 when broker, topic, store or settings cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m serving stream", description="Read movements from Kafka.")
    parser.add_argument("--bootstrap-servers", required=True, help="brokers, host:port,host:port")
    parser.add_argument("--topic", action="append", required=True, help="topic to read; may be given again")
    parser.add_argument("--store-url-variable", required=True, help="environment variable that holds the store's URL")
    parser.add_argument("--schema", type=Path, required=True, help="JSON Schema of a movement")
    parser.add_argument("--group-id", default="inventorybot", help="consumer group (default inventorybot)")
    parser.add_argument("--channel", default="stream", help="name of this stream in the store (default stream)")
    parser.add_argument("--batch-messages", type=int, default=1_000, help="messages of one transaction (default 1000)")
    parser.add_argument("--client-settings", type=Path, help="JSON file with settings of librdkafka")
    parser.add_argument("--connect-seconds", type=float, default=15.0, help="to wait for the broker (default 15)")
    parser.add_argument("--report-seconds", type=float, default=10.0, help="seconds between two reports (default 10)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    try:
        settings = StreamSettings(
            bootstrap_servers=given.bootstrap_servers,
            topics=tuple(given.topic),
            group_id=given.group_id,
            channel=given.channel,
            batch_messages=given.batch_messages,
            connect_seconds=given.connect_seconds,
            # What librdkafka has to say comes by its callback; its own lines would say it twice.
            client={"log_level": 0, **_client_settings(given.client_settings)},
        )
        schema = MovementSchema.from_file(given.schema)
        with Store.open(os.environ[given.store_url_variable]) as store:
            consumer = StreamConsumer(store, schema, settings, on_batch=reporter(given.report_seconds))
            state = run_until_signal(consumer)
    except (StreamUnavailable, StoreError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return _FAILED
    print(f"stopped: {told(state)}", flush=True)
    return 0


def reporter(seconds: float) -> Callable[[StreamState], None]:
    """Return a callback that prints the state every so many seconds, and at once when it begins or ends to wait."""
    last: list[tuple[float, str]] = []

    def report(state: StreamState) -> None:
        now = time.monotonic()
        if not last or now - last[0][0] >= seconds or state.waiting != last[0][1]:
            last[:] = [(now, state.waiting)]
            print(told(state), flush=True)

    return report


def told(state: StreamState) -> str:
    """Return the state as one line: counts, messages a second, messages behind the end by partition."""
    behind = ", ".join(f"{topic}/{partition} {lag:,}" for (topic, partition), lag in sorted(state.lag.items()))
    line = (
        f"{state.messages:,} messages: {state.accepted:,} accepted, {state.duplicate:,} already known, "
        f"{state.quarantined:,} quarantined; {state.rate:,.1f} a second; "
        f"lag {sum(state.lag.values()):,} ({behind or 'no partition yet'})"
    )
    return f"{line}; waiting: {state.waiting}" if state.waiting else line


def _client_settings(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error}): write the settings of librdkafka as one object") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} is not a JSON object: write the settings of librdkafka as one object")
    return settings
