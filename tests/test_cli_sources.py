"""The commands on what comes in: SQL sources, quarantined rows, the stream."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from support.mock_broker import mock_broker

from orchestration.cli.main import cli
from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.contract import load_contract
from orchestration.ingest.contract_texts import movement_json_schema
from orchestration.ingest.manifests import still_counts
from orchestration.ingest.quarantine import list_quarantined
from serving.store import Store
from serving.stream.command import main, reporter
from serving.stream.consumer import StreamState

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
SOURCES = """
sources:
  - name: erp
    table: stock_movements
    url: ERP_URL
    query: select * from movements
    cursor: changed_at
  - name: gone
    table: products
    url: GONE_URL
    from: products
"""


class Home:
    """A home with an online store, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw, self.url = folder, folder / "raw", f"sqlite:///{folder / 'online_store.sqlite'}"

    def command(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments))

    def succeed(self, *arguments: str) -> str:
        result = self.command(*arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def refused(self, *arguments: str) -> str:
        result = self.command(*arguments)
        assert result.exit_code != 0, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.output

    def land(self, rows: str) -> ArrivalReport:
        path = self.folder / "landing" / "stock_movements" / "a.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MOVEMENTS + rows)
        return ingest_table(
            "stock_movements", landing=self.folder / "landing", raw=self.raw, ingested_at=MORNING, settle_seconds=0
        )

    def append(self, *events: dict[str, object]) -> None:
        with Store.open(self.url) as store:
            store.append(events, source="api")

    def on_hand(self) -> list[str]:
        with Store.open(self.url) as store:
            return [f"{live.sku} {live.on_hand_units:f}" for live in store.live_stocks()]


@pytest.fixture
def home(home_folder: Path) -> Home:
    return Home(home_folder)


def sale(document: int | str, units: str = "-1") -> str:
    return f"pos,{document},1,2011-12-01T10:00:00Z,A,UKN,sale,{units}\n"


def event(document: str, units: object, source: str = "shop") -> dict[str, object]:
    names = MOVEMENTS.strip().split(",")
    values = sale(document).strip().split(",")
    return {**dict(zip(names, values, strict=True)), "source": source, "line": 1, "quantity_units": units}


@pytest.fixture
def databases(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A database with one sale, and a second that is not there, in the sources file."""
    connection = sqlite3.connect(home.folder / "erp.sqlite")
    connection.executescript(
        f"""
        create table movements ({MOVEMENTS.strip()}, changed_at);
        insert into movements values ('erp', 'D1', 1, '2011-12-01T10:00:00Z', 'A', 'UKN', 'sale', -1, '2011-12-01')
        """
    )
    connection.close()
    (home.folder / "sources.yml").write_text(SOURCES)
    monkeypatch.setenv("ERP_URL", f"sqlite:///{home.folder}/erp.sqlite")
    monkeypatch.setenv("GONE_URL", "postgresql://planner:s3cret@127.0.0.1:1/shop?connect_timeout=1")
    return home


def test_testing_sources_tells_what_works_and_what_does_not_without_the_password(databases: Home) -> None:
    told = databases.refused("sources", "test")
    assert "erp: works\n" in told
    assert "gone: the database of GONE_URL (postgresql://planner:***@127.0.0.1:1/shop) cannot be read" in told
    assert "s3cret" not in told


def test_testing_one_source_leaves_the_others_alone(databases: Home) -> None:
    assert databases.succeed("sources", "test", "erp") == "erp: works\n"


def test_testing_a_source_that_is_not_there_names_those_there_are(databases: Home) -> None:
    assert "names no source 'crm'; there are: erp, gone" in databases.refused("sources", "test", "crm")


def test_a_mistake_in_the_sources_file_is_told_without_a_traceback(databases: Home) -> None:
    (databases.folder / "sources.yml").write_text(SOURCES.replace("table: products", "table: sales"))
    assert "source gone: 'sales' is not a raw table" in databases.refused("sources", "list")


def test_the_list_of_sources_says_what_each_fills_and_where_its_address_comes_from(databases: Home) -> None:
    assert "erp  fills stock_movements, URL in ERP_URL (set), 0 rows so far" in databases.succeed("sources", "list")


def test_a_source_without_its_variable_is_listed_as_such(databases: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GONE_URL")
    assert "URL in GONE_URL (NOT SET)" in databases.succeed("sources", "list")


def test_the_example_of_a_sources_file_can_be_read(home: Home) -> None:
    (home.folder / "sources.yml").write_text(home.succeed("sources", "example"))
    assert "erp  fills stock_movements" in home.succeed("sources", "list")


def test_a_source_of_movements_is_handed_over_to_another_door(databases: Home) -> None:
    databases.append(event("d", -1))
    assert databases.succeed("sources", "transfer", "shop", "sql:erp") == (
        "movements of 'shop' are owned by channel sql:erp (before: online_store)\n"
    )
    assert "movements of 'shop' are owned by channel sql:erp" in databases.succeed("sources", "list")


def test_a_door_that_is_not_there_is_refused(databases: Home) -> None:
    assert "there is no channel 'sql:crm'" in databases.refused("sources", "transfer", "pos", "sql:crm")


@pytest.fixture
def refused_rows(home: Home) -> list[str]:
    """References of a row of a file and of a row of the online store."""
    home.land(sale(1) + sale(2, "5"))
    home.append(event("d", "many"))
    references = home.succeed("quarantine", "list", "--references").split()
    assert len(references) == 2
    return references


def test_the_list_shows_rows_of_files_and_of_the_online_store_and_balances(home: Home, refused_rows: list[str]) -> None:
    told = home.succeed("quarantine", "list")
    assert "outgoing_not_negative: quantity_units is 5.000" in told
    assert "'many' is not a number" in told
    assert "files and SQL sources: 1 quarantined = 1 open + 0 released + 0 discarded" in told
    assert "online store: 1 quarantined = 1 open + 0 released + 0 discarded" in told


def test_the_list_can_be_narrowed(home: Home, refused_rows: list[str]) -> None:
    assert home.succeed("quarantine", "list", "--table", "online_store", "--references") == "online_store/1\n"
    assert home.succeed("quarantine", "list", "--rule", "outgoing_not_negative", "--references").count("\n") == 1
    assert home.succeed("quarantine", "list", "--status", "released", "--references") == ""


def test_a_row_is_shown_with_its_place_text_and_values(home: Home, refused_rows: list[str]) -> None:
    told = home.succeed("quarantine", "show", *refused_rows)
    assert f"original text: {sale(2, '5').strip()}" in told
    assert "quantity_units = 5\n" in told
    assert '"quantity_units": "many"' in told


def test_fixed_rows_of_both_kinds_are_accepted(home: Home, refused_rows: list[str]) -> None:
    told = home.succeed("quarantine", "fix", *refused_rows, "--set", "quantity_units=-5", "--reason", "typing error")
    assert "stock_movements: 1 accepted, 0 already known, 0 refused again" in told
    assert "online_store/1: accepted" in told


def test_a_fixed_row_of_a_file_keeps_who_and_why(home: Home, refused_rows: list[str]) -> None:
    row = next(reference for reference in refused_rows if not reference.startswith("online_store"))
    home.succeed("quarantine", "fix", row, "--set", "quantity_units=-5", "--reason", "typing error", "--author", "ann")
    assert ": ann: typing error: quantity_units = -5" in home.succeed("quarantine", "show", row)
    assert "1 quarantined = 0 open + 1 released + 0 discarded" in home.succeed("quarantine", "list")


def test_a_fixed_event_is_accepted_and_moves_stock(home: Home) -> None:
    home.append(event("d", "many"))
    told = home.succeed("quarantine", "fix", "online_store/1", "--set", "quantity_units=-7", "--reason", "typing")
    assert told == "online_store/1: accepted\n"
    assert home.on_hand() == ["A -7.000"]


def test_a_row_that_is_still_wrong_stays_open_and_the_command_fails(home: Home, refused_rows: list[str]) -> None:
    told = home.refused("quarantine", "fix", *refused_rows, "--set", "quantity_units=x", "--reason", "hope")
    assert "1 refused again" in told
    assert "Quarantined row 1 is refused again" in told
    told = home.succeed("quarantine", "list")
    assert "2 quarantined = 1 open + 1 released + 0 discarded" in told
    assert "online store: 1 quarantined = 1 open" in told


def test_a_row_released_as_it_is_passes_the_same_checks(home: Home, refused_rows: list[str]) -> None:
    assert "outgoing_not_negative" in home.refused("quarantine", "release", *refused_rows, "--reason", "hope")
    assert home.on_hand() == []


def test_a_released_message_of_the_stream_obeys_its_schema(home: Home) -> None:
    with Store.open(home.url) as store:
        store.append([], source="stream", offsets={("movements", 0): 1})
        store.quarantine_add(
            source="stream", position="movements/0@0", original=json.dumps(event("d", -1)), rule="schema", reason="x"
        )
    told = home.refused("quarantine", "fix", "online_store/1", "--set", "colour=red", "--reason", "hope")
    assert "'colour' was unexpected" in told
    text = json.dumps(event("d", -1))
    assert home.succeed("quarantine", "fix", "online_store/1", "--text", text, "--reason", "x").endswith("accepted\n")


def test_a_row_of_a_second_channel_is_released_after_the_source_was_handed_over(home: Home) -> None:
    home.land(sale(1) + sale(2, "5"))
    home.append(event("d", -1, "pos"))
    (row,) = list_quarantined(home.raw)
    fix = ("quarantine", "fix", row.reference, "--set", "quantity_units=-5", "--reason", "typing")
    assert "count facts twice" in home.refused(*fix)
    home.succeed("sources", "transfer", "pos", "landing")
    (row,) = list_quarantined(home.raw)
    assert "1 accepted" in home.succeed("quarantine", "release", row.reference, "--reason", "handed over")


def test_discarded_rows_count_as_discarded_and_keep_their_reason(home: Home, refused_rows: list[str]) -> None:
    assert home.succeed("quarantine", "discard", *refused_rows, "--reason", "a test sale") == "2 discarded\n"
    told = home.succeed("quarantine", "list")
    assert told.count("1 quarantined = 0 open + 0 released + 1 discarded") == 2
    assert home.succeed("quarantine", "show", *refused_rows).count("a test sale") == 2


def test_a_reference_that_names_nothing_changes_nothing(home: Home, refused_rows: list[str]) -> None:
    told = home.refused("quarantine", "discard", *refused_rows, "online_store/9", "--reason", "x")
    assert "There is no quarantined row 9" in told
    assert "no quarantined or waiting row 'what'" in home.refused("quarantine", "discard", "what", "--reason", "x")
    assert home.succeed("quarantine", "list").count("= 1 open") == 2


def test_a_fix_without_a_correction_is_refused(home: Home, refused_rows: list[str]) -> None:
    assert "no correction is given" in home.refused("quarantine", "fix", *refused_rows, "--reason", "x")
    assert "write COLUMN=VALUE" in home.refused("quarantine", "fix", *refused_rows, "--set", "x", "--reason", "x")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with mock_broker() as address:
        yield address


@contextmanager
def streaming(home: Home, address: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(Path(sys.executable).parent / "inventorybot"), "stream", "--topic", "movements"]
    process = subprocess.Popen(
        [*command, "--bootstrap-servers", address, "--report-seconds", "0.1", *more],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_stream_writes_events_shows_rate_and_lag_and_ends_well(home: Home, broker: str) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for document in range(20):
        producer.produce("movements", json.dumps(event(f"D{document}", -1)).encode())
    producer.produce("movements", b"poison")
    assert producer.flush(30) == 0
    with streaming(home, broker) as process, Store.open(home.url) as store:
        deadline = time.monotonic() + 60
        while sum(store.offsets("stream").values()) < 21:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        told, errors = process.communicate(timeout=60)
        assert (process.returncode, store.head()[0]) == (0, 20), errors
    assert "stopped: 21 messages: 20 accepted, 0 already known, 1 quarantined; " in told
    assert "a second; lag 0 (movements/" in told


@pytest.fixture
def consume(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The consumer's command in this process, as `inventorybot stream` starts it."""
    (home.folder / "schema.json").write_text(json.dumps(movement_json_schema(load_contract())))
    monkeypatch.setenv("STORE", home.url)
    kept = ["--store-url-variable", "STORE", "--schema", str(home.folder / "schema.json"), "--topic", "movements"]
    return lambda *more: main([*kept, "--connect-seconds", "0.5", *more])


def test_the_stream_names_a_broker_that_cannot_be_reached_and_fails(
    consume: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert consume("--bootstrap-servers", "127.0.0.1:1") == 1
    assert "Error: Kafka at 127.0.0.1:1 cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"colour": "red"}', 'No such configuration property: "colour"'),
    ],
)
def test_a_mistake_in_the_settings_of_the_client_is_told(
    home: Home, consume: Callable[..., int], capsys: pytest.CaptureFixture[str], settings: str, message: str
) -> None:
    (home.folder / "client.json").write_text(settings)
    assert consume("--bootstrap-servers", "a:1", "--client-settings", str(home.folder / "client.json")) == 1
    assert message in capsys.readouterr().err


def test_the_state_of_the_stream_is_told_every_few_seconds_and_when_it_begins_to_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = reporter(60)
    state = StreamState(messages=3, accepted=3, rate=1.5, lag={("movements", 0): 7})
    for shown in (state, state, replace(state, waiting="the database is locked")):
        report(shown)
    assert capsys.readouterr().out.splitlines() == [
        "3 messages: 3 accepted, 0 already known, 0 quarantined; 1.5 a second; lag 7 (movements/0 7)",
        "3 messages: 3 accepted, 0 already known, 0 quarantined; 1.5 a second; lag 7 (movements/0 7); "
        "waiting: the database is locked",
    ]


def test_a_password_in_the_address_of_the_store_is_no_argument(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda program, arguments, env: started.append((arguments, env)))
    home.succeed("stream", "--bootstrap-servers", "a:1", "--topic", "t")
    arguments, surroundings = started[0]
    assert not any(str(home.folder / "online_store") in argument for argument in arguments)
    assert surroundings["INVENTORYBOT_STORE_URL"] == home.url


def test_after_lost_messages_the_stream_is_told_where_to_go_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execve", lambda *_: None)
    with Store.open(home.url) as store:
        store.append([], source="stream", offsets={("sales", 1): 50})
    given = ["stream", "--bootstrap-servers", "a:1", "--topic", "sales"]
    assert "sales/1 continues at offset 7 (before: 50)" in home.succeed(*given, "--continue-at", "sales/1@7")
    with Store.open(home.url) as store:
        assert store.offsets("stream") == {("sales", 1): 7}
    assert "is not a position: write TOPIC/PARTITION@OFFSET" in home.command(*given, "--continue-at", "sales:1").output


@pytest.mark.parametrize(
    ("former", "name"),
    [
        (("arrivals",), "loads"),
        (("sources", "hand-over", "shop", "landing"), "transfer"),
        (("store", "migrate", "--begin-anew"), "--start-empty"),
        (("stream", "--bootstrap-servers", "a:1", "--topic", "t", "--door=tills"), "--channel"),
        (("stream", "--bootstrap-servers", "a:1", "--topic", "t", "--go-on-at", "t/0@7"), "--continue-at"),
    ],
)
def test_a_former_name_of_a_command_or_option_still_works_with_a_warning(
    home: Home, monkeypatch: pytest.MonkeyPatch, former: tuple[str, ...], name: str
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, arguments, env: started.append(arguments))
    result = home.command(*former)
    assert result.exit_code == 0, result.output
    assert f"is now called {name}; the next version no longer knows the former name" in result.stderr
    assert "--door=tills" not in former or started[0][started[0].index("--channel") + 1] == "tills"


@pytest.mark.parametrize("command", [("quarantine", "list"), ("sources", "list")])
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    home: Home, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("INVENTORYBOT_STORE_URL", "postgresql://ann:hidden@127.0.0.1:1/stock")
    result = home.command(*command)
    assert result.exit_code == 1
    assert "ann:***@127.0.0.1:1/stock does not answer" in result.output
    assert "hidden" not in result.output


def test_what_became_of_each_file_is_told(home: Home) -> None:
    assert "nothing has been loaded" in home.succeed("loads")
    home.land(sale(1) + sale(2, "5"))
    (home.folder / "landing" / "stock_movements" / "b.csv").write_text("")
    home.land(sale(1) + sale(2, "5") + sale(3))
    told = home.succeed("loads", "--table", "stock_movements")
    assert "stock_movements/a.csv  partly quarantined: 1 accepted, 0 duplicate, 1 quarantined" in told
    assert "stock_movements/a.csv  partly quarantined: 1 accepted, 1 duplicate, 1 quarantined" in told
    assert "stock_movements/b.csv  rejected: stock_movements/b.csv is empty" in told
    assert home.succeed("loads", "--limit", "1").count("stock_movements/") == 1


@pytest.fixture
def waiting(home: Home) -> list[str]:
    """Two sales that the latest run let wait, one for its location and one for its day; their references."""
    home.land("pos,1,1,2011-12-01T10:00:00Z,A,MARS,sale,-2\npos,2,1,2011-12-02T10:00:00Z,A,UKN,sale,-3\n")
    held = home.folder / "warehouse" / "exports" / "marts" / "fct_quarantined_rows.parquet"
    held.parent.mkdir(parents=True)
    rules = "case location_id when 'MARS' then 'unknown_location' else 'after_as_of' end"
    duckdb.sql(
        f"""
        select 'stock_movements' as table_name, batch_id, ingested_at, source_file, source_row,
            'a row' as original_text, {rules} as rule, 'deliver ' || location_id as reason, true as is_waiting
        from '{home.raw}/stock_movements/*/accepted.parquet'
        """
    ).write_parquet(str(held))
    batch = next((home.raw / "stock_movements").iterdir()).name
    return [f"stock_movements/{batch}/{row}/a.csv" for row in (2, 3)]


def accepted(home: Home) -> list[tuple[object, ...]]:
    """Return the movements that still count, whatever they wait for."""
    folder = home.raw / "stock_movements"
    return duckdb.sql(
        f"""
        select document, revision, location_id, quantity_units::integer from '{folder}/*/accepted.parquet'
        where {still_counts(folder)} order by all
        """
    ).fetchall()


def test_rows_that_wait_for_a_location_are_listed_with_their_remedy(home: Home, waiting: list[str]) -> None:
    told = home.succeed("quarantine", "list")
    assert f"{waiting[0]}\n    waits, unknown_location: deliver MARS\n" in told
    assert waiting[1] not in told
    assert "waiting as of the latest run: 1 rows for a product, location or supplier, 1 for the end of" in told
    assert home.succeed("quarantine", "list", "--status", "waiting", "--references").split() == waiting
    assert waiting[0] not in home.succeed("quarantine", "list", "--status", "open")


def test_a_row_that_waits_is_shown_with_its_values(home: Home, waiting: list[str]) -> None:
    told = home.succeed("quarantine", "show", waiting[0])
    assert "  waiting, channel landing\n" in told
    assert "    location_id = MARS\n" in told


def test_a_row_that_waits_is_corrected_by_its_next_revision(home: Home, waiting: list[str]) -> None:
    told = home.succeed("quarantine", "fix", waiting[0], "--set", "location_id=UKN", "--reason", "a typing error")
    assert "1 accepted, 0 already known, 0 refused; the next run counts it" in told
    assert accepted(home) == [("1", 1, "UKN", -2), ("2", 0, "UKN", -3)]
    assert waiting[0] not in home.succeed("quarantine", "list")
    assert ": a typing error: location_id = UKN" in home.succeed("quarantine", "show", waiting[0])
    assert "is withdrawn" in home.refused("quarantine", "discard", waiting[0], "--reason", "twice")


def test_a_row_that_waits_is_given_up_and_counts_no_longer(home: Home, waiting: list[str]) -> None:
    home.succeed("quarantine", "discard", *waiting, "--reason", "no stock of ours")
    assert accepted(home) == []
    assert "0 quarantined = 0 open + 0 released + 0 discarded" in home.succeed("quarantine", "list")


def test_a_row_that_waits_needs_no_release(home: Home, waiting: list[str]) -> None:
    told = home.succeed("quarantine", "release", waiting[0], "--reason", "please")
    assert "needs no release; every run tries it again: deliver MARS" in told
    assert len(accepted(home)) == 2


def test_a_correction_that_breaks_a_rule_is_refused_and_open(home: Home, waiting: list[str]) -> None:
    told = home.refused("quarantine", "fix", waiting[0], "--set", "quantity_units=5", "--reason", "why not")
    assert "outgoing_not_negative" in told
    assert "1 quarantined = 1 open" in home.succeed("quarantine", "list")


def test_an_event_that_waits_is_corrected_where_it_came_from(home: Home, waiting: list[str]) -> None:
    held = home.folder / "warehouse" / "exports" / "marts" / "fct_quarantined_rows.parquet"
    duckdb.sql(f"select * replace ('online_store' as source_file) from '{held}'").write_parquet(f"{held}.new")
    Path(f"{held}.new").replace(held)
    told = home.refused("quarantine", "discard", waiting[0].replace("a.csv", "online_store"), "--reason", "a test")
    assert "whose ledger never changes: send the event again" in told
