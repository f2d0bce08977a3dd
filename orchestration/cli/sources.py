"""Commands on what comes in: SQL sources, quarantined rows, the stream.

Belongs here: what these commands read, call and print. Does not: what they do to data (ingest, serving/store).
"""

import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from orchestration.home.environment import read_settings
from orchestration.home.settings import Settings

if TYPE_CHECKING:
    from orchestration.ingest.batches import ArrivalReport
    from orchestration.ingest.quarantine import QuarantinedRow, Status
    from serving.store import QuarantinedRow as HeldRow
    from serving.store import Store

_FAILED = 1
_ONLINE = "online_store/"
_SCHEMA_FILE = "movement_schema.json"


@contextmanager
def _told() -> Iterator[Settings]:
    """Give the settings, and show errors without a traceback."""
    from orchestration.home.lock import HomeError
    from orchestration.ingest.errors import IngestError
    from serving.store import StoreError

    try:
        yield read_settings()
    except (HomeError, IngestError, StoreError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.group()
def sources() -> None:
    """Show and test the SQL databases that fill raw tables. <home>/sources.yml names them."""


@sources.command("list")
def list_sources() -> None:
    """List the sources and how far each has been read. Also the channel that owns each source of movements."""
    from orchestration.ingest.manifests import last_cursor, read_manifests
    from orchestration.ingest.sql_sources import read_sources

    with _told() as settings:
        declared = read_sources(settings)
        for source in declared:
            manifests = read_manifests(settings.raw / source.table)
            rows = sum(manifest.rows.accepted for manifest in manifests if manifest.door == source.door)
            url = "set" if source.url else "NOT SET"
            read = f"{rows:,} rows so far"
            if source.cursor:
                read += f", {source.cursor} up to {last_cursor(manifests, source.door) or 'nothing'}"
            click.echo(f"{source.name}  fills {source.table}, URL in {source.url_variable} ({url}), {read}")
        if not declared:
            click.echo(f"{settings.sources_file} names no source; how to write one: `inventorybot sources example`")
        if _has_store(settings):
            with _store(settings) as store:
                for name, door in store.authorities().items():
                    click.echo(f"movements of {name!r} are owned by channel {door}")


@sources.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def test_sources(names: tuple[str, ...]) -> None:
    """Read a few rows of each source, and explain errors. Default: all sources."""
    from orchestration.ingest.sql_sources import read_sources, try_source

    with _told() as settings:
        declared = read_sources(settings)
        absent = sorted(set(names) - {source.name for source in declared})
        if absent:
            known = ", ".join(source.name for source in declared) or "none"
            raise click.ClickException(f"{settings.sources_file} names no source {absent[0]!r}; there are: {known}")
        if not declared:
            click.echo(f"{settings.sources_file} names no source; how to write one: `inventorybot sources example`")
        broken = 0
        for source in declared:
            if not names or source.name in names:
                trial = try_source(source)
                click.echo(f"{source.name}: {trial.message}", err=not trial.works)
                broken += not trial.works
    if broken:
        sys.exit(_FAILED)


@sources.command("example")
def example_source() -> None:
    """Print an example of a sources file."""
    from orchestration.ingest.sql_sources import EXAMPLE

    click.echo(EXAMPLE, nl=False)


@sources.command("hand-over")
@click.argument("source")
@click.argument("door", metavar="CHANNEL")
def hand_over(source: str, door: str) -> None:
    """Transfer movements of SOURCE to CHANNEL.

    Channels are landing, online_store and sql:NAME. From then on, movements of SOURCE on other channels are refused.
    """
    from orchestration.ingest.sql_sources import read_sources

    with _told() as settings:
        doors = {"landing", "online_store", *(declared.door for declared in read_sources(settings))}
        if door not in doors:
            raise click.ClickException(f"there is no channel {door!r}; there are {', '.join(sorted(doors))}")
        with _store(settings) as store:
            before = store.authorities().get(source, "none")
            store.take_authority(source, door, hand_over=True)
    click.echo(f"movements of {source!r} are owned by channel {door} (before: {before})")


@click.command()
@click.option("--table", help="Show this raw table only; default: all.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Number of loads to show.")
def arrivals(table: str | None, limit: int) -> None:
    """List loads with their results. A load is a file, a pull or a range of events; the latest comes first."""
    from orchestration.ingest.contract import load_contract, table_named
    from orchestration.ingest.manifests import read_manifests

    with _told() as settings:
        names = [table_named(table).name] if table else [declared.name for declared in load_contract()]
        found = [
            (manifest, file)
            for name in names
            for manifest in read_manifests(settings.raw / name)
            for file in manifest.files
        ]
        found.sort(key=lambda arrival: arrival[0].batch_id, reverse=True)
        for manifest, file in found[:limit]:
            rows, outcome = file.rows, file.outcome.replace("_", " ")
            counts = f"{rows.accepted:,} accepted, {rows.duplicate:,} duplicate, {rows.quarantined:,} quarantined"
            click.echo(f"{manifest.ingested_at}  {manifest.table}/{file.name}  {outcome}: {file.reason or counts}")
            for notice in file.notices:
                click.echo(f"    {notice}")
        if not found:
            click.echo(
                f"nothing has arrived in {settings.raw}: put files into {settings.landing} and run `inventorybot run`"
            )


@click.group()
def quarantine() -> None:
    """Show, correct and discard refused and waiting rows.

    They come from files, SQL sources and the online store. The reference of a row, as `list` shows it, is
    table/batch/row/file or online_store/number.
    """


_references = click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
_author = click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")


@quarantine.command("list")
@click.option("--table", help="Show rows of this raw table, or online_store; default: all.")
@click.option("--rule", help="Show rows that broke this rule; default: all.")
@click.option(
    "--status",
    type=click.Choice(["open", "waiting", "released", "discarded", "superseded", "all"]),
    help=(
        "Show rows with this status; default: open rows, and rows that wait for a delivery. waiting: accepted, and"
        " tried again at every run. superseded: part of a list, such as reservations, that a later list has replaced."
    ),
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Number of rows to show of each kind."
)
@click.option("--references", is_flag=True, help="Print references only, one per line, as input of another command.")
def list_rows(table: str | None, rule: str | None, status: str | None, limit: int, references: bool) -> None:
    """List quarantined and waiting rows, with a balance of the counts. The latest comes first."""
    from orchestration.ingest.quarantine import DAYS_TO_COME, counts, list_quarantined, list_waiting

    wanted = cast("Status | None", None if status == "all" else status or "open")
    with _told() as settings:
        lines = []
        if table in (None, "online_store") and _has_store(settings):
            with _store(settings) as store:
                state = "held" if wanted == "open" else wanted
                held = [] if state in ("superseded", "waiting") else _held_rows(store, state, rule, limit)
                lines += [(f"{_ONLINE}{row.quarantine_id}", row.rule, row.reason) for row in held]
        if table != "online_store":
            rows = list_quarantined(settings.raw, table=table, rule=rule, status=wanted, limit=limit)
            found = _waiting_rows(settings)
            if status in (None, "waiting", "all"):
                rows += list_waiting(settings.raw, found, table=table, rule=rule, limit=limit)
            if rule is None and status in ("waiting", "all"):
                rows += list_waiting(settings.raw, found, table=table, rule=DAYS_TO_COME, limit=limit)
            lines += [(row.reference, f"{'waits, ' * (row.status == 'waiting')}{row.rule}", row.reason) for row in rows]
        for reference, broken, reason in lines:
            click.echo(reference if references else f"{reference}\n    {broken}: {reason}")
        if references:
            return
        batch = counts(settings.raw)
        _balance("files and SQL sources", batch.added, batch.open, batch.released, batch.discarded, batch.superseded)
        _tell_waiting(settings)
        if _has_store(settings):
            with _store(settings) as store:
                online = store.quarantine_counts()
            _balance("online store", online["added"], online["held"], online["released"], online["discarded"])


@quarantine.command()
@_references
def show(references: tuple[str, ...]) -> None:
    """Show rows in full. With place, rule, reason, original text and history."""
    with _told() as settings:
        numbers, rows = _found(settings, references)
        for row in rows:
            _show_row(settings, row)
        if numbers:
            with _store(settings) as store:
                for number in numbers:
                    _show_held(store, number)


@quarantine.command()
@_references
@click.option(
    "--set", "given", multiple=True, metavar="COLUMN=VALUE", help="Corrected value; repeat the option for more columns."
)
@click.option("--text", help="Whole event as JSON, for a row of the online store; default: --set.")
@click.option("--reason", required=True, help="Reason; kept for ever.")
@_author
def fix(references: tuple[str, ...], given: tuple[str, ...], text: str | None, reason: str, author: str) -> None:
    """Correct values of rows and check them again. All checks of new rows apply."""
    corrections = dict(_corrections(given))
    if not corrections and text is None:
        raise click.UsageError("nothing is corrected: give --set COLUMN=VALUE, or --text for a whole event")
    with _told() as settings:
        numbers, rows = _found(settings, references)
        if rows and text is not None:
            raise click.UsageError(f"{rows[0].reference} is a row of a table: correct it with --set COLUMN=VALUE")
        waiting, rows = _parted(rows)
        held_again = _withdraw_rows(settings, waiting, corrections, f"{author}: {reason}")
        held_again += _release_rows(settings, rows, corrections, f"{author}: {reason}")
        if numbers:
            with _store(settings) as store:
                for number in numbers:
                    row, _ = store.quarantine_show(number)
                    corrected = text if text is not None else _corrected(row, corrections)
                    store.quarantine_fix(number, corrected, author=author, reason=reason)
                held_again += _release_held(store, numbers, author, reason)
    if held_again:
        sys.exit(_FAILED)


@quarantine.command()
@_references
@click.option("--reason", required=True, help="Reason; kept for ever.")
@_author
def release(references: tuple[str, ...], reason: str, author: str) -> None:
    """Check rows again without a correction. Use it after a change of rules, a transfer of a source or a late photo."""
    with _told() as settings:
        numbers, rows = _found(settings, references)
        waiting, rows = _parted(rows)
        for row in waiting:
            click.echo(f"{row.reference} needs no release, every run tries it again: {row.reason}")
        held_again = _release_rows(settings, rows, {}, f"{author}: {reason}")
        if numbers:
            with _store(settings) as store:
                held_again += _release_held(store, numbers, author, reason)
    if held_again:
        sys.exit(_FAILED)


@quarantine.command()
@_references
@click.option("--reason", required=True, help="Reason; kept for ever.")
@_author
def discard(references: tuple[str, ...], reason: str, author: str) -> None:
    """Discard rows. They stay readable with their reason and count as discarded."""
    from orchestration.ingest import quarantine as batch
    from orchestration.ingest.landing import open_landing

    with _told() as settings:
        numbers, rows = _found(settings, references)
        waiting, rows = _parted(rows)
        _withdraw_rows(settings, waiting, {}, f"{author}: {reason}")
        for group in _grouped(rows, lambda row: row.table):
            now = datetime.now(UTC)
            batch.discard(settings.raw, open_landing(settings), group, reason=f"{author}: {reason}", ingested_at=now)
        if numbers:
            with _store(settings) as store:
                for number in numbers:
                    store.quarantine_discard(number, author=author, reason=reason)
    click.echo(f"{len(references)} discarded")


@click.command()
@click.option("--bootstrap-servers", required=True, metavar="HOST:PORT,...", help="Brokers of the Kafka cluster.")
@click.option(
    "--topic", "topics", multiple=True, required=True, help="Topic to read; repeat the option for more topics."
)
@click.option("--group-id", default="inventorybot", show_default=True, help="Consumer group in Kafka.")
@click.option(
    "--door", default="stream", show_default=True, help="Name under which offsets and quarantined messages are stored."
)
@click.option(
    "--batch-messages", type=click.IntRange(1), default=1_000, show_default=True, help="Messages in one transaction."
)
@click.option(
    "--client-settings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with settings of librdkafka, such as TLS and SASL; default: none.",
)
@click.option(
    "--go-on-at",
    "positions",
    multiple=True,
    metavar="TOPIC/PARTITION@OFFSET",
    help="Continue at this offset, also backwards, after lost messages or a new topic; repeat for more partitions.",
)
@click.option(
    "--connect-seconds",
    type=click.FloatRange(0.1),
    default=15.0,
    show_default=True,
    help="Seconds to wait for the brokers.",
)
@click.option(
    "--report-seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds between two reports of rate and lag.",
)
def stream(
    bootstrap_servers: str,
    topics: tuple[str, ...],
    group_id: str,
    door: str,
    batch_messages: int,
    client_settings: Path | None,
    positions: tuple[str, ...],
    connect_seconds: float,
    report_seconds: float,
) -> None:
    """Read stock movements from Kafka into the online store. Each exactly once, until Ctrl-C or SIGTERM."""
    from orchestration.home.prepare import make_store
    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import movement_json_schema

    with _told() as settings:
        settings.home.mkdir(parents=True, exist_ok=True)
        make_store(settings)
        _go_on_at(settings, door, positions)
        schema = settings.home / _SCHEMA_FILE
        beside = schema.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(movement_json_schema(load_contract()), indent=2), encoding="utf-8")
        beside.replace(schema)
    # By the environment, not as an argument: an address may hold a password, and arguments are seen by everyone.
    os.execve(
        sys.executable,
        [
            *(sys.executable, "-m", "serving", "stream"),
            *("--store-url-variable", "INVENTORYBOT_STORE_URL", "--schema", str(schema)),
            *("--bootstrap-servers", bootstrap_servers, "--group-id", group_id, "--door", door),
            *("--batch-messages", str(batch_messages), "--report-seconds", str(report_seconds)),
            *("--connect-seconds", str(connect_seconds)),
            *(["--client-settings", str(client_settings)] if client_settings else []),
            *(argument for topic in topics for argument in ("--topic", topic)),
        ],
        os.environ | {"INVENTORYBOT_STORE_URL": settings.store_url},
    )


def _go_on_at(settings: Settings, door: str, positions: Sequence[str]) -> None:
    """Set from which offset each partition goes on; refuses all where one is no position."""
    found = [re.fullmatch(r"(?P<topic>[\w.-]+)/(?P<partition>\d+)@(?P<offset>\d+)", text) for text in positions]
    wrong = [text for text, match in zip(positions, found, strict=True) if match is None]
    if wrong:
        raise click.UsageError(
            f"--go-on-at {wrong[0]!r} is no position: write TOPIC/PARTITION@OFFSET, as in sales/0@17"
        )
    with _store(settings) as store:
        for match in filter(None, found):
            topic, partition, offset = match["topic"], int(match["partition"]), int(match["offset"])
            before = store.offsets(door).get((topic, partition), "the beginning")
            store.reset_offset(door, topic, partition, offset)
            click.echo(f"{topic}/{partition} goes on at offset {offset} (before: {before})")


def _has_store(settings: Settings) -> bool:
    """Return whether there is an online store: showing rows does not make one."""
    from sqlalchemy import make_url

    url = make_url(settings.store_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


@contextmanager
def _store(settings: Settings) -> "Iterator[Store]":
    from serving.store import Store

    with Store.open(settings.store_url) as opened:
        yield opened


def _balance(place: str, added: int, held: int, released: int, discarded: int, superseded: int = 0) -> None:
    if added != held + released + discarded + superseded:
        raise click.ClickException(
            f"the quarantine of {place} does not balance: {added} rows came, {held} are open, {released} were "
            f"released, {discarded} discarded and {superseded} superseded. Restore it from a backup."
        )
    by_later_lists = f" + {superseded:,} superseded by later lists" if superseded else ""
    told = f"{held:,} open + {released:,} released + {discarded:,} discarded{by_later_lists}"
    click.echo(f"{place}: {added:,} quarantined = {told}")


def _waiting_rows(settings: Settings) -> Path:
    """Return the file in which the latest build wrote what waits; it may not be there."""
    return settings.exports / "marts" / "fct_quarantined_rows.parquet"


def _tell_waiting(settings: Settings) -> None:
    from orchestration.ingest.quarantine import DAYS_TO_COME, list_waiting

    most, held = 2**31, _waiting_rows(settings)
    known = len(list_waiting(settings.raw, held, limit=most))
    days = len(list_waiting(settings.raw, held, rule=DAYS_TO_COME, limit=most))
    if known or days:
        click.echo(
            f"waiting as of the latest run: {known:,} rows for something to be delivered, {days:,} for their day"
            " (--status waiting lists these too)"
        )


def _held_rows(store: "Store", state: str | None, rule: str | None, limit: int) -> "list[HeldRow]":
    found: list[HeldRow] = []
    after = 0
    while page := store.quarantine(state=state, after=after):
        found += [row for row in page if rule in (None, row.rule)]
        after = page[-1].quarantine_id
    return found[::-1][:limit]


def _found(settings: Settings, references: Sequence[str]) -> "tuple[list[int], list[QuarantinedRow]]":
    """Return the numbers of rows of the online store and the rows of tables; refuses all where one is not there."""
    from orchestration.ingest.quarantine import find

    online = [reference.removeprefix(_ONLINE) for reference in references if reference.startswith(_ONLINE)]
    wrong = [number for number in online if not number.isdigit()]
    if wrong:
        raise click.ClickException(f"no quarantined row is called {_ONLINE}{wrong[0]}: look at `quarantine list`")
    numbers = sorted({int(number) for number in online})
    if numbers:
        with _store(settings) as store:
            for number in numbers:
                store.quarantine_show(number)
    tables = [reference for reference in dict.fromkeys(references) if not reference.startswith(_ONLINE)]
    return numbers, find(settings.raw, tables, _waiting_rows(settings))


def _show_row(settings: Settings, row: "QuarantinedRow") -> None:
    from orchestration.ingest.errors import IngestError
    from orchestration.ingest.manifests import read_manifests
    from orchestration.ingest.quarantine import values_of

    click.echo(f"{row.reference}\n  {row.status}, channel {row.door}\n  {row.rule}: {row.reason}")
    if row.original_text:
        click.echo(f"  as it came: {row.original_text}")
    try:
        for name, value in values_of(settings.raw, row).items():
            click.echo(f"    {name} = {'' if value is None else value}")
    except IngestError as error:
        click.echo(f"  {error}")
    for manifest in read_manifests(settings.raw / row.table):
        for settled in manifest.settled:
            if (settled.batch_id, settled.source_file, settled.source_row) == (
                row.batch_id,
                row.source_file,
                row.source_row,
            ):
                click.echo(f"  {settled.how} at {manifest.ingested_at}: {settled.reason}")


def _show_held(store: "Store", number: int) -> None:
    row, steps = store.quarantine_show(number)
    click.echo(f"{_ONLINE}{number}\n  {'open' if row.state == 'held' else row.state}, channel {row.door}")
    click.echo(f"  place: {row.position}, at {row.ingested_at.isoformat()}\n  {row.rule}: {row.reason}")
    click.echo(f"  as it came: {row.original.decode('utf-8', 'backslashreplace')}")
    if row.corrected is not None:
        click.echo(f"  corrected: {row.text}")
    for step in steps:
        click.echo(f"  {step['action']} at {step['recorded_at'].isoformat()} by {step['author']}: {step['reason']}")


def _corrections(given: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.UsageError(f"--set {pair!r} is no correction: write COLUMN=VALUE, as in quantity_units=-5")
        yield name.strip(), value or None


def _corrected(row: "HeldRow", corrections: Mapping[str, str | None]) -> str:
    """Return the event of a row with corrected values, as JSON."""
    from orchestration.ingest.contract import table_named

    try:
        event = json.loads(row.text)
    except ValueError as error:
        raise click.ClickException(
            f"{_ONLINE}{row.quarantine_id} is no JSON event ({error}): give the whole event with --text"
        ) from error
    if not isinstance(event, dict):
        raise click.ClickException(f"{_ONLINE}{row.quarantine_id} is no JSON object: give the whole event with --text")
    whole = {column.name for column in table_named("stock_movements").columns if column.data_type == "integer"}
    for name, value in corrections.items():
        is_whole = name in whole and value is not None and value.lstrip("-").isdigit()
        event[name] = int(value) if is_whole and value is not None else value
    return json.dumps(event)


def _grouped(rows: "Sequence[QuarantinedRow]", key: "Callable[[QuarantinedRow], Any]") -> "list[list[QuarantinedRow]]":
    groups: dict[Any, list[QuarantinedRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _parted(rows: "Sequence[QuarantinedRow]") -> "tuple[list[QuarantinedRow], list[QuarantinedRow]]":
    """Part the rows that wait from those that were refused."""
    return [row for row in rows if row.status == "waiting"], [row for row in rows if row.status != "waiting"]


def _withdraw_rows(
    settings: Settings, rows: "Sequence[QuarantinedRow]", corrections: Mapping[str, str | None], reason: str
) -> int:
    """Take rows back that wait, and bring them again corrected; returns how many were refused then."""
    from orchestration.ingest import quarantine as batch
    from orchestration.ingest.landing import open_landing
    from orchestration.ingest.online_store import claims_of
    from serving.store import Store

    if not rows:
        return 0
    Store.migrate(settings.store_url)
    refused = 0
    with _store(settings) as store:
        for row in rows:
            report = batch.withdraw(
                *(settings.raw, open_landing(settings), row),
                corrections=corrections,
                ingested_at=datetime.now(UTC),
                reason=reason,
                claim=claims_of(store),
            )
            if report.failed is not None:
                raise click.ClickException(f"{report.failed}; nothing was changed")
            refused += _tell_corrected(settings, row, report) if corrections else 0
    return refused


def _tell_corrected(settings: Settings, row: "QuarantinedRow", report: "ArrivalReport") -> int:
    """Say what became of a corrected row that had waited; returns how many were refused."""
    from orchestration.ingest.quarantine import list_quarantined

    told = report.rows
    click.echo(
        f"{row.reference}: {told.accepted} accepted, {told.duplicate} known already, {told.quarantined} refused"
        f"{'; the next run takes it up' if told.accepted else ''}"
    )
    for made in report.batches:
        for found in list_quarantined(settings.raw, table=row.table, batches={made.batch_id}):
            click.echo(f"{found.reference}\n    {found.rule}: {found.reason}", err=True)
    return told.quarantined


def _release_rows(
    settings: Settings, rows: "Sequence[QuarantinedRow]", corrections: Mapping[str, str | None], reason: str
) -> int:
    """Judge rows of tables again; returns how many were refused again."""
    from orchestration.home.prepare import make_store
    from orchestration.ingest import quarantine as batch
    from orchestration.ingest.landing import open_landing
    from orchestration.ingest.online_store import claims_of

    if not rows:
        return 0
    make_store(settings)
    refused = 0
    with _store(settings) as store:
        for group in _grouped(rows, lambda row: (row.table, row.door)):
            report = batch.release(
                *(settings.raw, open_landing(settings), group),
                corrections=corrections,
                ingested_at=datetime.now(UTC),
                reason=reason,
                claim=claims_of(store),
            )
            if report.failed is not None:
                raise click.ClickException(f"{report.failed}; nothing was changed")
            told = report.rows
            click.echo(
                f"{group[0].table}: {told.accepted} accepted, {told.duplicate} known already, "
                f"{told.quarantined} refused again{'; the next run takes them up' if told.accepted else ''}"
            )
            for made in report.batches:
                batches = {made.batch_id}
                for row in batch.list_quarantined(settings.raw, table=group[0].table, batches=batches):
                    click.echo(f"{row.reference}\n    {row.rule}: {row.reason}", err=True)
            refused += told.quarantined
    return refused


def _release_held(store: "Store", numbers: Sequence[int], author: str, reason: str) -> int:
    """Append rows of the online store; returns how many were refused again."""
    from serving.store import StillRefused

    refused = 0
    for number in numbers:
        row, _ = store.quarantine_show(number)
        check = _movement_objection if store.offsets(row.door) else None
        try:
            report = store.quarantine_release(number, author=author, reason=reason, check=check)
        except StillRefused as error:
            refused += 1
            click.echo(str(error), err=True)
            continue
        click.echo(f"{_ONLINE}{number}: {'accepted' if report.accepted else 'known already'}")
    return refused


def _movement_objection(event: Mapping[str, Any]) -> str | None:
    """Return why an event breaks the schema of a movement, which the stream checks before the store does."""
    from jsonschema import Draft202012Validator

    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import movement_json_schema

    validator = Draft202012Validator(movement_json_schema(load_contract()))
    errors = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(event)]
    return min(errors, default=None)
