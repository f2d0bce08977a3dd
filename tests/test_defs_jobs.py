"""Sensors: a run for what arrived, once; a message for what failed."""

import base64
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    SkipReason,
    build_run_status_sensor_context,
    build_sensor_context,
    job,
    op,
)

from orchestration.cli.runs import bury_dead_runs
from orchestration.defs import jobs as automation
from orchestration.defs.jobs import LAUNCHED_BY_COMMAND, arrivals, run_failures, stream_lag
from orchestration.defs.resources import HomeResource, NotifierResource, StoreResource
from orchestration.home.environment import read_settings
from orchestration.home.lock import claimed
from orchestration.home.prepare import configure_instance
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.online_store import events_behind
from orchestration.notifications import (
    EmailNotifier,
    NotificationFailed,
    RunFailure,
    WebhookNotifier,
    notify_all,
    read_notifiers,
)
from serving.store import Store

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
SALE = {
    "source": "shop",
    "document": "D1",
    "line": 1,
    "occurred_at": "2011-12-01T10:00:00Z",
    "sku": "A",
    "location_id": "UKN",
    "movement_type": "sale",
    "quantity_units": -1,
}
MOVEMENTS = ",".join(SALE) + "\n"
FAILURE = RunFailure("daily_restock", "run-7", "/home", MORNING, ("marts: no disk",))


class Home:
    """A home with an online store, and the sensor `arrivals` that keeps its cursor from tick to tick."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url, self.cursor = folder, f"sqlite:///{folder / 'online_store.sqlite'}", None

    def land(self, name: str, document: int, age_seconds: float = 60) -> None:
        path = self.folder / "landing" / "stock_movements" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MOVEMENTS + f"pos,{document},1,2011-12-01T10:00:00Z,A,UKN,sale,-1\n")
        written = path.stat().st_mtime - age_seconds
        os.utime(path, (written, written))

    def append(self, document: str) -> None:
        with Store.open(self.url) as store:
            store.append([SALE | {"document": document}], source="api")

    def ingest(self) -> None:
        with Store.open(self.url) as store:
            ingest_table(
                "stock_movements",
                landing=self.folder / "landing",
                raw=self.folder / "raw",
                ingested_at=MORNING,
                events=events_behind(store, self.folder / "raw"),
            )

    def tick(self, instance: DagsterInstance) -> list[RunRequest]:
        context = build_sensor_context(
            instance=instance,
            cursor=self.cursor,
            resources={"home": HomeResource(), "store": StoreResource(url=self.url)},
        )
        result = arrivals(context)
        if isinstance(result, SkipReason):
            return []
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])


@pytest.fixture
def home(home_folder: Path) -> Home:
    return Home(home_folder)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def test_an_empty_home_asks_for_no_run(home: Home, instance: DagsterInstance) -> None:
    assert home.tick(instance) == []


def test_a_file_that_has_landed_asks_for_one_run(home: Home, instance: DagsterInstance) -> None:
    home.land("a.csv", 1)
    (request,) = home.tick(instance)
    assert request.tags["inventorybot/waiting"] == "stock_movements/a.csv"
    assert home.tick(instance) == []


def test_an_event_of_the_online_store_asks_for_one_run(home: Home, instance: DagsterInstance) -> None:
    home.append("D1")
    (request,) = home.tick(instance)
    assert request.tags["inventorybot/waiting"] == "1 events"
    assert home.tick(instance) == []


def test_every_arrival_has_a_run_key_of_its_own(home: Home, instance: DagsterInstance) -> None:
    keys = []
    for number in range(4):
        home.land(f"{number}.csv", number) if number % 2 else home.append(f"D{number}")
        keys += [request.run_key for request in home.tick(instance)]
        home.ingest()
        keys += [request.run_key for request in home.tick(instance)]
    assert len(set(keys)) == len(keys) == 4


def test_a_lost_cursor_asks_for_no_run_of_what_is_in_a_batch(home: Home, instance: DagsterInstance) -> None:
    home.land("a.csv", 1)
    home.append("D1")
    home.ingest()
    assert home.tick(instance) == []


def test_a_file_that_is_still_written_waits_for_a_later_look(home: Home, instance: DagsterInstance) -> None:
    home.land("a.csv", 1, age_seconds=0)
    assert home.tick(instance) == []
    home.land("a.csv", 1)
    assert len(home.tick(instance)) == 1


def test_what_comes_while_a_run_works_is_taken_up_after_it(home: Home, instance: DagsterInstance) -> None:
    home.land("a.csv", 1)
    under_way = instance.create_run_for_job(_daily_restock, status=DagsterRunStatus.STARTED)
    assert home.tick(instance) == []
    instance.delete_run(under_way.run_id)
    assert len(home.tick(instance)) == 1


def test_a_run_whose_command_was_killed_holds_nothing_up(home: Home, instance: DagsterInstance) -> None:
    home.land("a.csv", 1)
    instance.create_run_for_job(_daily_restock, status=DagsterRunStatus.STARTED, tags=LAUNCHED_BY_COMMAND)
    with claimed(replace(read_settings(), home=home.folder)):
        assert home.tick(instance) == []
    # The lock is free, whatever process has the number of the dead one today.
    (home.folder / "run.lock").write_text(f"process {os.getpid()}")
    assert len(home.tick(instance)) == 1


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[DagsterInstance]:
    """Return an instance as homes have it."""
    configure_instance(tmp_path / "dagster")
    with DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        yield instance


def claims(instance: DagsterInstance, run_id: str) -> bool:
    """Claim a slot of the warehouse's pool for a run."""
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("warehouse")
    return storage.claim_concurrency_slot("warehouse", run_id, "marts").is_claimed


def test_a_pool_lets_one_run_in_and_gives_back_what_a_dead_command_held(configured: DagsterInstance) -> None:
    dead = configured.create_run_for_job(
        _daily_restock, status=DagsterRunStatus.STARTED, tags=LAUNCHED_BY_COMMAND
    ).run_id
    assert (claims(configured, dead), claims(configured, "next")) == (True, False)
    bury_dead_runs(configured)
    assert claims(configured, "next")


def test_runs_whose_process_died_are_found_and_tried_again_and_failed_steps_are_not(
    configured: DagsterInstance,
) -> None:
    assert configured.run_monitoring_enabled
    assert (configured.run_retries_enabled, configured.run_retries_max_retries) == (True, 2)
    assert not configured.run_retries_retry_on_asset_or_op_failure


@job(name="daily_restock")
def _daily_restock() -> None:
    pass


def publish_up_to(home: Home, sequence: int) -> None:
    """Leave a current generation that counts the events up to a sequence."""
    published = home.folder / "published"
    published.mkdir(exist_ok=True)
    (published / "wh_1.duckdb").touch()
    (published / "wh_1.json").write_text(json.dumps({"ledger": {"sequence": sequence, "hash": ""}}))
    (published / "current.duckdb").unlink(missing_ok=True)
    (published / "current.duckdb").symlink_to("wh_1.duckdb")


def test_what_arrives_after_a_publication_takes_the_fast_path(home: Home, instance: DagsterInstance) -> None:
    home.append("D1")
    (first,) = home.tick(instance)
    publish_up_to(home, 0)
    home.append("D2")
    (second,) = home.tick(instance)
    assert (first.job_name, second.job_name) == ("daily_restock", "refresh_stock")


def lag_tick(home: Home, instance: DagsterInstance, cursor: str | None) -> tuple[str, str | None]:
    """Return what the sensor `stream_lag` says and its cursor after."""
    context = build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"home": HomeResource(), "store": StoreResource(url=home.url), "notifier": NotifierResource()},
    )
    result = stream_lag(context)
    assert isinstance(result, SkipReason)
    return result.skip_message or "", context.cursor


def test_events_that_wait_too_long_are_told_once(
    home: Home, instance: DagsterInstance, webhook: "Webhook", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORYBOT_NOTIFY_WEBHOOK", webhook.url)
    monkeypatch.setattr(automation, "LONGEST_LAG", timedelta(seconds=-1))
    home.append("D1")
    home.append("D2")
    _, cursor = lag_tick(home, instance, None)
    lag_tick(home, instance, cursor)
    assert [told["events"] for told in webhook.posted] == [2]


def test_events_that_have_just_come_are_no_lag(
    home: Home, instance: DagsterInstance, webhook: "Webhook", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORYBOT_NOTIFY_WEBHOOK", webhook.url)
    home.append("D1")
    said, _ = lag_tick(home, instance, None)
    assert (said, webhook.posted) == ("1 movements wait to be published, for 0 minutes", [])


def test_published_events_are_no_lag(home: Home, instance: DagsterInstance) -> None:
    home.append("D1")
    publish_up_to(home, 1)
    assert lag_tick(home, instance, None)[0] == "every movement is published"


def test_a_decision_waits_for_no_publication(home: Home, instance: DagsterInstance) -> None:
    home.append("D1")
    publish_up_to(home, 1)
    with Store.open(home.url) as store:
        line = {"sku": "MUG", "location_id": "N", "supplier_id": "S", "order_units": 6}
        (made,) = store.propose(date(2011, 12, 8), [line], seen_version=0, author="run").proposed
        store.decide_proposal(made, "approved", event_id="a", author="ann")
    assert lag_tick(home, instance, None)[0] == "every movement is published"
    home.append("D2")
    assert lag_tick(home, instance, None)[0].startswith("1 movements wait")


class Webhook:
    """A local HTTP server that keeps what is posted to it and answers as told."""

    def __init__(self) -> None:
        self.posted: list[dict[str, object]] = []
        self.answers: list[int] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(webhook.answers.pop(0) if webhook.answers else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hooks/s3cret"

    def notifier(self) -> WebhookNotifier:
        return WebhookNotifier(self.url, pause=lambda _: None)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield webhook
    webhook.server.shutdown()
    thread.join()
    webhook.server.server_close()


@op
def marts() -> None:
    raise OSError("no disk left in /home")


@job(name="daily_restock")
def _failing() -> None:
    marts()


def test_a_failed_run_is_told_to_the_webhook_with_its_reason(
    home: Home, instance: DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORYBOT_NOTIFY_WEBHOOK", webhook.url)
    result = _failing.execute_in_process(instance=instance, raise_on_error=False)
    (event,) = [event for event in result.all_events if event.event_type == DagsterEventType.RUN_FAILURE]
    context = build_run_status_sensor_context(
        "run_failures",
        event,
        instance,
        result.dagster_run,
        resources={"home": HomeResource(), "notifier": NotifierResource()},
    )
    run_failures(context.for_run_failure())
    (told,) = webhook.posted
    assert (told["job"], told["run_id"], told["home"]) == ("daily_restock", result.run_id, str(home.folder))
    assert told["reasons"] == ["marts: OSError: no disk left in /home"]
    assert "The generation published before is still the current one." in str(told["text"])


def test_a_webhook_that_is_at_fault_is_tried_again(webhook: Webhook) -> None:
    webhook.answers = [503, 500]
    webhook.notifier().notify(FAILURE)
    assert len(webhook.posted) == 3


def test_a_webhook_that_refuses_is_not_tried_again_and_its_token_not_shown(webhook: Webhook) -> None:
    webhook.answers = [404]
    with pytest.raises(NotificationFailed, match=r"webhook at 127\.0\.0\.1 answered 404") as raised:
        webhook.notifier().notify(FAILURE)
    assert len(webhook.posted) == 1
    assert "s3cret" not in str(raised.value)


def test_one_who_cannot_be_told_does_not_keep_it_from_the_others(webhook: Webhook) -> None:
    absent = WebhookNotifier("http://127.0.0.1:1/s3cret", pause=lambda _: None)
    with pytest.raises(NotificationFailed, match="cannot be reached") as raised:
        notify_all([absent, webhook.notifier()], FAILURE)
    assert len(webhook.posted) == 1
    assert "s3cret" not in str(raised.value)


class MailHandler(socketserver.StreamRequestHandler):
    """As much of a mail server as a client needs."""

    server: "MailServer"

    def handle(self) -> None:
        self.say("220 mail")
        while line := self.rfile.readline().decode().strip():
            match line.split()[0].upper():
                case "EHLO":
                    self.say("250-mail\r\n250 AUTH PLAIN")
                case "AUTH":
                    is_right = line.split()[-1] == base64.b64encode(b"\0ann\0s3 cret").decode()
                    self.say("235 welcome" if is_right else "535 no")
                case "DATA":
                    self.say("354 go on")
                    lines = list(iter(lambda: self.rfile.readline().decode().rstrip(), "."))
                    self.server.received.append("\n".join(lines))
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class MailServer(socketserver.TCPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.received: list[str] = []


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def mail(server: MailServer, user: str) -> EmailNotifier:
    address = f"smtp://{user}@127.0.0.1:{server.server_address[1]}"
    return EmailNotifier(address, "bot@example.org", ("ann@example.org",), pause=lambda _: None)


def test_a_failed_run_is_told_by_mail(mail_server: MailServer) -> None:
    mail(mail_server, "ann:s3%20cret").notify(FAILURE)
    (message,) = mail_server.received
    assert "Subject: InventoryBot: daily_restock failed" in message
    assert "To: ann@example.org" in message
    assert "- marts: no disk" in message


def test_a_wrong_password_of_the_mail_server_is_told_and_not_shown(mail_server: MailServer) -> None:
    with pytest.raises(NotificationFailed, match="refuses user or password") as raised:
        mail(mail_server, "ann:wr0ng").notify(FAILURE)
    assert "wr0ng" not in str(raised.value)


def test_nobody_is_told_where_nobody_is_named(home: Home) -> None:
    assert read_notifiers() == ()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WEBHOOK": "s3cret"}, "INVENTORYBOT_NOTIFY_WEBHOOK holds no address"),
        ({"SMTP": "s3cret:25"}, "INVENTORYBOT_NOTIFY_SMTP holds no address"),
        ({"SMTP": "smtp://s3cret@mail"}, "INVENTORYBOT_NOTIFY_TO is empty"),
    ],
)
def test_a_mistake_in_who_is_told_is_named_without_the_value(
    home: Home, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"INVENTORYBOT_NOTIFY_{name}", value)
    with pytest.raises(ValueError, match=message) as raised:
        read_notifiers()
    assert "s3cret" not in str(raised.value)


def test_the_sender_is_the_first_recipient_unless_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORYBOT_NOTIFY_SMTP", "smtp://mail")
    monkeypatch.setenv("INVENTORYBOT_NOTIFY_TO", "ann@example.org, bo@example.org")
    assert read_notifiers() == (EmailNotifier("smtp://mail", "ann@example.org", ("ann@example.org", "bo@example.org")),)
