"""Kafka to online store: every message becomes an event or a quarantined row, exactly once, whatever dies when.

Belongs here: the consumer loop, reading a message, and the check against the movement schema, which comes in as data.
Exactly once comes from the store: events and offsets are written in one transaction, and at every assignment of a
partition the position is taken from the store, not from the broker.
"""

import json
import logging
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from serving.store import AppendReport, OffsetsLost, Place, Refusal, Store, StoreUnavailable

logger = logging.getLogger(__name__)

_RATE_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 30.0
_ANNOTATIONS = frozenset({"$schema", "$id", "title", "description", "default", "examples", "format", "$comment"})


class StreamUnavailable(Exception):
    """The broker, or a topic on it, cannot be reached; or it refuses this client for good."""


@dataclass(frozen=True)
class StreamSettings:
    """Where to read and in what portions.

    Attributes:
        bootstrap_servers: brokers, as `host:port,host:port`.
        topics: names of the topics.
        group_id: consumer group; several consumers of one group share the partitions.
        channel: name under which offsets and quarantined messages are kept in the store.
        batch_messages: messages of one transaction, at most.
        batch_seconds: seconds to wait for a full batch; the delay of a lonely message.
        largest_message_bytes: a larger message is quarantined unread.
        connect_seconds: seconds to wait for the broker at the start.
        client: further settings of librdkafka, as for TLS and SASL; never logged.
    """

    bootstrap_servers: str
    topics: tuple[str, ...]
    group_id: str = "inventorybot"
    channel: str = "stream"
    batch_messages: int = 1_000
    batch_seconds: float = 0.5
    largest_message_bytes: int = 1_048_576
    connect_seconds: float = 15.0
    client: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamState:
    """How the stream stands.

    Attributes:
        messages: messages written to the store since the start.
        accepted: of these, events that are new.
        duplicate: of these, known ones.
        quarantined: of these, put into quarantine.
        rate: messages a second, over the last half minute.
        lag: messages behind the end, by (topic, partition); of the partitions this consumer reads.
        waiting: why the store does not take messages at the moment, empty when it does.
    """

    messages: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    rate: float = 0.0
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    waiting: str = ""


class MovementSchema:
    """The JSON Schema of a movement, checked fast where it says yes and by `jsonschema` where it does not.

    Full validation costs about 100 microseconds a message, ten times what storing one does. Types, lengths, ranges,
    enumerations and patterns of a flat object are therefore checked directly; anything that does not pass, or a
    schema that says more, is left to `jsonschema`, which also words the reason.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator

        Draft202012Validator.check_schema(schema)
        self._validator = Draft202012Validator(schema)
        self._required = frozenset(schema.get("required", ()))
        known = {"type", "properties", "required", "additionalProperties"} | _ANNOTATIONS
        properties = schema.get("properties", {})
        self._checks: dict[str, Callable[[Any], bool]] = {}
        is_flat = (
            schema.get("type") == "object" and schema.get("additionalProperties") is False and schema.keys() <= known
        )
        if is_flat:
            self._checks = {name: _quick_check(rules) for name, rules in properties.items()}

    @classmethod
    def from_file(cls, path: str | Path) -> "MovementSchema":
        """Read the schema from a JSON file, as `inventorybot schema` writes it."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))

    def objection(self, event: object) -> str | None:
        """Return why an event breaks the schema, None where it does not."""
        if isinstance(event, dict) and self._is_plainly_valid(event):
            return None
        errors = sorted(self._validator.iter_errors(event), key=lambda error: [str(part) for part in error.path])
        if not errors:
            return None
        where = ".".join(str(part) for part in errors[0].path)
        message = str(errors[0].message)
        return f"{where}: {message}" if where else message

    def _is_plainly_valid(self, event: dict[str, Any]) -> bool:
        checks = self._checks
        return event.keys() >= self._required and all(
            name in checks and checks[name](value) for name, value in event.items()
        )


def _quick_check(rules: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return a check that is true only for values that obey the rules of a property."""
    given = rules.keys() - _ANNOTATIONS
    if not given <= {"type", "enum", "minLength", "maxLength", "minimum", "maximum", "pattern"} or "type" not in given:
        return lambda value: False
    names = {rules["type"]} if isinstance(rules["type"], str) else set(rules["type"])
    shortest, longest = rules.get("minLength", 0), rules.get("maxLength", float("inf"))
    least, most = rules.get("minimum", float("-inf")), rules.get("maximum", float("inf"))
    allowed = rules.get("enum")
    pattern = re.compile(rules["pattern"]) if "pattern" in rules else None
    by_type: dict[type, Callable[[Any], bool]] = {}

    def is_text(value: str) -> bool:
        return shortest <= len(value) <= longest and (pattern is None or pattern.search(value) is not None)

    def is_number(value: int | Decimal) -> bool:
        return bool(least <= value <= most)

    if "string" in names:
        by_type[str] = is_text
    if names & {"integer", "number"}:
        by_type[int] = is_number
    if "number" in names:
        by_type[Decimal] = is_number
    if "null" in names:
        by_type[type(None)] = lambda value: True

    def check(value: Any) -> bool:
        of_type = by_type.get(type(value))
        return of_type is not None and of_type(value) and (allowed is None or value in allowed)

    return check


def read_message(value: bytes | None, schema: MovementSchema, largest_bytes: int) -> dict[str, Any] | tuple[str, str]:
    """Return the event in a message, or the rule it breaks and why.

    Args:
        value: bytes of the message.
        schema: what an event must be.
        largest_bytes: a larger message is not read.
    """
    if not value:
        return "empty_message", "the message has no content"
    if len(value) > largest_bytes:
        return "message_too_large", f"the message has {len(value)} bytes, at most {largest_bytes} are read"
    try:
        event = json.loads(
            value.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique
        )
    except UnicodeDecodeError as error:
        return "not_utf8", f"byte {error.start} is no UTF-8"
    except (ValueError, RecursionError) as error:
        return "not_json", f"the message is no JSON: {error}"
    objection = schema.objection(event)
    if objection is not None:
        return "schema", objection[:2_000]
    return dict(event)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        repeated = sorted({name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1})
        raise ValueError(f"the name {repeated[0]!r} occurs twice in one object")
    return named


class StreamConsumer:
    """Reads topics into the store until it is told to stop."""

    def __init__(
        self,
        store: Store,
        schema: MovementSchema,
        settings: StreamSettings,
        *,
        on_batch: Callable[[StreamState], None] | None = None,
    ) -> None:
        """Prepare a consumer; nothing is connected before `run`.

        Args:
            store: where events go.
            schema: what a message must be.
            settings: where they come from.
            on_batch: called after every batch and while waiting, as to show lag and rate.
        """
        self._store = store
        self._schema = schema
        self._settings = settings
        self._on_batch = on_batch
        self._stop = threading.Event()
        self._written: deque[tuple[float, int]] = deque()
        self._state = StreamState()

    @property
    def state(self) -> StreamState:
        """How the stream stands; may be read from another thread."""
        return self._state

    def stop(self) -> None:
        """Ask the loop to end after the batch it is at; may be called from a signal handler or another thread."""
        self._stop.set()

    def run(self) -> StreamState:
        """Consume until `stop`.

        Returns:
            The state at the end.

        Raises:
            StreamUnavailable: broker or topic cannot be reached at the start, or the broker refuses this client.
            OffsetsLost: the topic no longer holds the messages after the last stored offset.
        """
        try:
            consumer = Consumer(self._client_settings())
        except KafkaException as error:
            raise StreamUnavailable(f"A setting of the Kafka client is refused: {error.args[0].str()}.") from error
        try:
            self._require_topics(consumer)
            consumer.subscribe(list(self._settings.topics), on_assign=self._on_assign)
            while not self._stop.is_set():
                messages = consumer.consume(self._settings.batch_messages, timeout=self._settings.batch_seconds)
                self._take(consumer, messages)
        except KafkaException as error:
            raise StreamUnavailable(self._words(error.args[0])) from error
        finally:
            consumer.close()
        return self._state

    def _client_settings(self) -> dict[str, Any]:
        return {
            "queued.max.messages.kbytes": 65_536,
            **self._settings.client,
            "bootstrap.servers": self._settings.bootstrap_servers,
            "group.id": self._settings.group_id,
            # The store keeps the offsets. Where they are gone from the topic, that must be an error, not a jump.
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "error_cb": self._on_error,
        }

    def _require_topics(self, consumer: Consumer) -> None:
        for topic in self._settings.topics:
            found = consumer.list_topics(topic, timeout=self._settings.connect_seconds).topics[topic]
            if found.error is not None:
                raise StreamUnavailable(
                    f"Topic {topic!r} on {self._settings.bootstrap_servers} cannot be read: {found.error.str()}. "
                    "Create it, or name another one."
                )

    def _on_error(self, error: KafkaError) -> None:
        # librdkafka goes on trying by itself, with backoff.
        logger.warning("Kafka at %s: %s", self._settings.bootstrap_servers, error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Start each partition where the store stands."""
        stored = self._stored_offsets()
        for partition in partitions:
            key = (partition.topic, partition.partition)
            low, high = consumer.get_watermark_offsets(partition, timeout=self._settings.connect_seconds)
            offset = stored.get(key)
            if offset is not None and not low <= offset <= high:
                raise OffsetsLost(self._lost(key, offset, f"it holds offsets {low} to {high - 1}"))
            partition.offset = OFFSET_BEGINNING if offset is None else offset
        consumer.assign(partitions)

    def _stored_offsets(self) -> dict[tuple[str, int], int]:
        """Ask the store where it stands, as often as it takes until told to stop; nothing is read meanwhile."""
        wait = 0.5
        while True:
            try:
                return self._store.offsets(self._settings.channel)
            except StoreUnavailable as error:
                if self._stop.is_set():
                    raise
                logger.warning("%s The stream waits %.0f s and asks again.", error, wait)
                self._stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _lost(self, key: tuple[str, int], offset: int, holds: str) -> str:
        topic, partition = key
        return (
            f"Partition {partition} of topic {topic!r} should continue at offset {offset}, and {holds}: messages were "
            "deleted before they were read, or the topic was created again. Find out what is missing; then continue "
            f"with `inventorybot stream ... --continue-at {topic}/{partition}@OFFSET`."
        )

    def _take(self, consumer: Consumer, messages: Sequence["Message[bytes, bytes]"]) -> None:
        events: list[dict[str, Any]] = []
        places: list[Place] = []
        refusals: list[Refusal] = []
        offsets: dict[tuple[str, int], int] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._judge(error, message)
                continue
            value = message.value()
            topic, partition, offset = _where(message)
            place = Place(f"{topic}/{partition}@{offset}", value or b"")
            read = read_message(value, self._schema, self._settings.largest_message_bytes)
            if isinstance(read, tuple):
                refusals.append(Refusal(place, *read))
            else:
                events.append(read)
                places.append(place)
            offsets[topic, partition] = offset + 1
        report = self._append(consumer, events, places, refusals, offsets) if offsets else None
        self._note(consumer, report)

    def _judge(self, error: KafkaError, message: "Message[bytes, bytes]") -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            topic, partition, read = _where(message)
            offset = self._store.offsets(self._settings.channel).get((topic, partition), read)
            raise OffsetsLost(self._lost((topic, partition), offset, "the broker no longer has it"))
        if error.fatal() or error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
        ):
            raise StreamUnavailable(self._words(error))
        logger.warning("Kafka at %s: %s", self._settings.bootstrap_servers, error.str())

    def _append(
        self,
        consumer: Consumer,
        events: list[dict[str, Any]],
        places: list[Place],
        refusals: list[Refusal],
        offsets: Mapping[tuple[str, int], int],
    ) -> AppendReport | None:
        """Write a batch, as often as it takes; None when told to stop while the store did not answer."""
        wait = 0.5
        while True:
            try:
                return self._store.append(
                    events, source=self._settings.channel, offsets=offsets, places=places, refusals=refusals
                )
            except StoreUnavailable as error:
                logger.warning("%s The stream waits %.0f s and tries again.", error, wait)
                self._hold(consumer, str(error), wait)
                if self._stop.is_set():
                    return None
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _hold(self, consumer: Consumer, reason: str, seconds: float) -> None:
        """Wait without reading on, and without being taken for dead by the group."""
        self._state = replace(self._state, waiting=reason)
        if self._on_batch is not None:
            self._on_batch(self._state)
        deadline = time.monotonic() + seconds
        consumer.pause(consumer.assignment())
        while time.monotonic() < deadline and not self._stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                # A partition assigned meanwhile is not paused: step back, so that its message comes again.
                consumer.seek(TopicPartition(*_where(message)))
                consumer.pause(consumer.assignment())
        consumer.resume(consumer.assignment())

    def _note(self, consumer: Consumer, report: AppendReport | None) -> None:
        now = time.monotonic()
        written = 0 if report is None else report.received
        self._written.append((now, written))
        while now - self._written[0][0] > _RATE_SECONDS:
            self._written.popleft()
        elapsed = now - self._written[0][0]
        self._state = StreamState(
            messages=self._state.messages + written,
            accepted=self._state.accepted + (report.accepted if report else 0),
            duplicate=self._state.duplicate + (report.duplicate if report else 0),
            quarantined=self._state.quarantined + (report.quarantined if report else 0),
            rate=sum(count for _, count in self._written) / elapsed if elapsed > 0 else 0.0,
            lag=_lag(consumer),
        )
        if self._on_batch is not None:
            self._on_batch(self._state)

    def _words(self, error: KafkaError) -> str:
        return (
            f"Kafka at {self._settings.bootstrap_servers} cannot be used: {error.str()}. Check that the broker runs, "
            "that the address is right, and that this client may read there."
        )


def _where(message: "Message[bytes, bytes]") -> tuple[str, int, int]:
    """Return topic, partition and offset, which every message from a broker has."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("A message without topic, partition or offset did not come from a broker.")
    return topic, partition, offset


def _lag(consumer: Consumer) -> dict[tuple[str, int], int]:
    lag = {}
    for partition in consumer.position(consumer.assignment()):
        _, high = consumer.get_watermark_offsets(partition, cached=True)
        if high >= 0 and partition.offset >= 0:
            lag[partition.topic, partition.partition] = high - partition.offset
    return lag


def run_until_signal(
    consumer: StreamConsumer, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
) -> StreamState:
    """Run a consumer until the process is asked to end; the batch under way is finished first."""
    previous = {number: signal.signal(number, lambda *_: consumer.stop()) for number in signals}
    try:
        return consumer.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
