"""Commands on quarantined and waiting rows: look, correct, release, discard.

Belongs here: what these commands read, call and print. Does not: what they do to data (ingest, serving/store).
"""

import getpass
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from orchestration.cli.home import FAILED, errors_shown, has_store, open_store
from orchestration.home.settings import Settings
from orchestration.ingest.names import shown

if TYPE_CHECKING:
    from orchestration.ingest.batches import ArrivalReport
    from orchestration.ingest.quarantine import QuarantinedRow, Status
    from serving.store import QuarantinedRow as HeldRow
    from serving.store import Store


_ONLINE = "online_store/"


@click.group()
def quarantine() -> None:
    """Show, correct and discard refused and waiting rows.

    They come from files, SQL sources and the online store. The reference of a row, as `list` shows it, is
    table/batch/row/file or online_store/number.
    """


_references = click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
_reason = click.option("--reason", required=True, help="Reason; kept for ever.")
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
    with errors_shown() as settings:
        lines = []
        if table in (None, "online_store") and has_store(settings):
            with open_store(settings) as store:
                held = [] if wanted in ("superseded", "waiting") else _held_rows(store, wanted, rule, limit)
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
            click.echo(shown(reference) if references else f"{shown(reference)}\n    {broken}: {shown(reason)}")
        if references:
            return
        batch = counts(settings.raw)
        _balance("files and SQL sources", batch.added, batch.open, batch.released, batch.discarded, batch.superseded)
        _tell_waiting(settings)
        if has_store(settings):
            with open_store(settings) as store:
                online = store.quarantine_counts()
            _balance("online store", online["added"], online["open"], online["released"], online["discarded"])


@quarantine.command()
@_references
def show(references: tuple[str, ...]) -> None:
    """Show rows in full. With place, rule, reason, original text and history."""
    with _named(references) as rows:
        for row in rows.of_tables:
            _show_row(rows.settings, row)
        for store, number in rows.of_the_store():
            _show_held(store, number)


@quarantine.command()
@_references
@click.option(
    "--set", "given", multiple=True, metavar="COLUMN=VALUE", help="Corrected value; repeat the option for more columns."
)
@click.option("--text", help="Whole event as JSON, for a row of the online store; default: --set.")
@_reason
@_author
def fix(references: tuple[str, ...], given: tuple[str, ...], text: str | None, reason: str, author: str) -> None:
    """Correct values of rows and check them again. All checks of new rows apply."""
    corrections = dict(_corrections(given))
    if not corrections and text is None:
        raise click.UsageError("no correction is given: use --set COLUMN=VALUE, or --text for a whole event")
    with _named(references) as rows:
        if rows.of_tables and text is not None:
            first = rows.of_tables[0].reference
            raise click.UsageError(f"{first} is a row of a table: correct it with --set COLUMN=VALUE")
        held_again = _withdraw_rows(rows.settings, rows.waiting, corrections, f"{author}: {reason}")
        held_again += _release_rows(rows.settings, rows.refused, corrections, f"{author}: {reason}")
        for store, number in rows.of_the_store():
            row, _ = store.quarantine_show(number)
            corrected = text if text is not None else _corrected(row, corrections)
            store.quarantine_fix(number, corrected, author=author, reason=reason)
        held_again += sum(_release_held(store, number, author, reason) for store, number in rows.of_the_store())
    if held_again:
        sys.exit(FAILED)


@quarantine.command("map")
@_references
@click.argument("code")
@_reason
@_author
def map_code(references: tuple[str, ...], code: str, reason: str, author: str) -> None:
    """Say that the unknown code of rows stands for CODE, for good.

    All rows of files and SQL sources that have it then count as rows of CODE, those to come included. `sources list`
    shows mapped codes, `quarantine unmap` takes one back.
    """
    from orchestration.ingest import codes
    from orchestration.ingest.quarantine import values_of

    with _named(references) as rows:
        wrong = [row for row in rows.of_tables if row.rule not in codes.COLUMN_OF_RULE or row.status != "waiting"]
        if wrong or rows.numbers:
            place = shown(wrong[0].reference) if wrong else f"{_ONLINE}{rows.numbers[0]}"
            raise click.ClickException(f"{place} does not wait for a product, a location or a supplier")
        raw, said_by = rows.settings.raw, f"{author}: {reason}"
        for row in rows.of_tables:
            column = codes.COLUMN_OF_RULE[row.rule]
            found = values_of(raw, row)[column] or ""
            codes.map_code(raw, column, found, code, said_by=said_by, said_at=datetime.now(UTC))
            click.echo(f"{column} {found!a} stands for {code!a}; the next run counts its rows")


@quarantine.command()
@click.argument("column", type=click.Choice(["sku", "location_id", "supplier_id"]))
@click.argument("code")
def unmap(column: str, code: str) -> None:
    """Take back that CODE of COLUMN stands for another code. Its rows wait again from the next run on."""
    from orchestration.ingest import codes

    with errors_shown() as settings:
        codes.forget_code(settings.raw, column, code)
    click.echo(f"{column} {code!a} stands for itself again")


@quarantine.command()
@_references
@_reason
@_author
def release(references: tuple[str, ...], reason: str, author: str) -> None:
    """Check rows again without a correction. Use it after a change of rules, a transfer of a source or a late photo."""
    with _named(references) as rows:
        for row in rows.waiting:
            click.echo(f"{row.reference} needs no release; every run tries it again: {row.reason}")
        held_again = _release_rows(rows.settings, rows.refused, {}, f"{author}: {reason}")
        held_again += sum(_release_held(store, number, author, reason) for store, number in rows.of_the_store())
    if held_again:
        sys.exit(FAILED)


@quarantine.command()
@_references
@_reason
@_author
def discard(references: tuple[str, ...], reason: str, author: str) -> None:
    """Discard rows. They stay readable with their reason and count as discarded."""
    from orchestration.ingest import quarantine as batch
    from orchestration.ingest.landing import open_landing

    with _named(references) as rows:
        raw, landing = rows.settings.raw, open_landing(rows.settings)
        _withdraw_rows(rows.settings, rows.waiting, {}, f"{author}: {reason}")
        for group in _grouped(rows.refused, lambda row: row.table):
            batch.discard(raw, landing, group, reason=f"{author}: {reason}", ingested_at=datetime.now(UTC))
        for store, number in rows.of_the_store():
            store.quarantine_discard(number, author=author, reason=reason)
    click.echo(f"{len(references)} discarded")


def _balance(place: str, added: int, held: int, released: int, discarded: int, superseded: int = 0) -> None:
    if added != held + released + discarded + superseded:
        raise click.ClickException(
            f"the quarantine of {place} does not balance: {added} rows were quarantined, {held} are open, {released} "
            f"were released, {discarded} discarded and {superseded} superseded. Restore it from a backup."
        )
    by_later_lists = f" + {superseded:,} superseded by later lists" if superseded else ""
    sum_of = f"{held:,} open + {released:,} released + {discarded:,} discarded{by_later_lists}"
    click.echo(f"{place}: {added:,} quarantined = {sum_of}")


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
            f"waiting as of the latest run: {known:,} rows for a product, location or supplier, {days:,} for the end"
            " of their day (--status waiting lists these too)"
        )


def _held_rows(store: "Store", state: str | None, rule: str | None, limit: int) -> "list[HeldRow]":
    found: list[HeldRow] = []
    after = 0
    while page := store.quarantine(state=state, after=after):
        found += [row for row in page if rule in (None, row.rule)]
        after = page[-1].quarantine_id
    return found[::-1][:limit]


@dataclass(frozen=True)
class _NamedRows:
    """The rows that a command names: those of tables, and the numbers of those of the online store."""

    settings: Settings
    of_tables: "list[QuarantinedRow]"
    numbers: list[int]

    @property
    def waiting(self) -> "list[QuarantinedRow]":
        """Rows of tables that were accepted and wait."""
        return [row for row in self.of_tables if row.status == "waiting"]

    @property
    def refused(self) -> "list[QuarantinedRow]":
        """Rows of tables that were refused."""
        return [row for row in self.of_tables if row.status != "waiting"]

    def of_the_store(self) -> "Iterator[tuple[Store, int]]":
        """Yield the store and the number of each of its rows; it is opened only where there are any."""
        if self.numbers:
            with open_store(self.settings) as store:
                for number in self.numbers:
                    yield store, number


@contextmanager
def _named(references: Sequence[str]) -> Iterator[_NamedRows]:
    """Yield the rows of some references and show errors; refuses all where one is not there."""
    from orchestration.ingest.quarantine import find

    online = [reference.removeprefix(_ONLINE) for reference in references if reference.startswith(_ONLINE)]
    wrong = [number for number in online if not number.isdigit()]
    if wrong:
        raise click.ClickException(
            f"there is no quarantined row {_ONLINE}{wrong[0]}: `inventorybot quarantine list` shows the references"
        )
    tables = [reference for reference in dict.fromkeys(references) if not reference.startswith(_ONLINE)]
    with errors_shown() as settings:
        found = find(settings.raw, tables, _waiting_rows(settings))
        rows = _NamedRows(settings, found, sorted({int(number) for number in online}))
        for store, number in rows.of_the_store():
            store.quarantine_show(number)
        yield rows


def _show_row(settings: Settings, row: "QuarantinedRow") -> None:
    from orchestration.ingest.errors import IngestError
    from orchestration.ingest.manifests import read_manifests
    from orchestration.ingest.quarantine import values_of

    click.echo(
        f"{shown(row.reference)}\n  {row.status}, channel {shown(row.channel)}\n  {row.rule}: {shown(row.reason)}"
    )
    if row.original_text:
        click.echo(f"  original text: {shown(row.original_text)}")
    try:
        for name, value in values_of(settings.raw, row).items():
            click.echo(f"    {name} = {'' if value is None else shown(value)}")
    except IngestError as error:
        click.echo(f"  {error}")
    for manifest in read_manifests(settings.raw / row.table):
        for settled in manifest.settled:
            if (settled.batch_id, settled.source_file, settled.source_row) == (
                row.batch_id,
                row.source_file,
                row.source_row,
            ):
                click.echo(f"  {settled.how} at {manifest.ingested_at}: {shown(settled.reason)}")


def _show_held(store: "Store", number: int) -> None:
    row, steps = store.quarantine_show(number)
    click.echo(f"{_ONLINE}{number}\n  {row.state}, channel {row.channel}")
    click.echo(f"  place: {row.position}, at {row.ingested_at.isoformat()}\n  {row.rule}: {shown(row.reason)}")
    click.echo(f"  original text: {shown(row.original.decode('utf-8', 'backslashreplace'))}")
    if row.corrected is not None:
        click.echo(f"  corrected: {row.text}")
    for step in steps:
        by = f"by {shown(step['author'])}: {shown(step['reason'])}"
        click.echo(f"  {step['action']} at {step['recorded_at'].isoformat()} {by}")


def _corrections(given: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.UsageError(f"--set {pair!r} is not a correction: write COLUMN=VALUE, as in quantity_units=-5")
        yield name.strip(), value or None


def _corrected(row: "HeldRow", corrections: Mapping[str, str | None]) -> str:
    """Return the event of a row with corrected values, as JSON."""
    from orchestration.ingest.contract import table_named

    try:
        event = json.loads(row.text)
    except ValueError as error:
        raise click.ClickException(
            f"{_ONLINE}{row.quarantine_id} is not a JSON event ({error}): give the whole event with --text"
        ) from error
    if not isinstance(event, dict):
        raise click.ClickException(
            f"{_ONLINE}{row.quarantine_id} is not a JSON object: give the whole event with --text"
        )
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
    with open_store(settings) as store:
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

    counted = report.rows
    click.echo(
        f"{row.reference}: {counted.accepted} accepted, {counted.duplicate} already known, "
        f"{counted.quarantined} refused{'; the next run counts it' if counted.accepted else ''}"
    )
    for made in report.batches:
        for found in list_quarantined(settings.raw, table=row.table, batches={made.batch_id}):
            click.echo(f"{shown(found.reference)}\n    {found.rule}: {shown(found.reason)}", err=True)
    return counted.quarantined


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
    with open_store(settings) as store:
        for group in _grouped(rows, lambda row: (row.table, row.channel)):
            report = batch.release(
                *(settings.raw, open_landing(settings), group),
                corrections=corrections,
                ingested_at=datetime.now(UTC),
                reason=reason,
                claim=claims_of(store),
            )
            if report.failed is not None:
                raise click.ClickException(f"{report.failed}; nothing was changed")
            counted = report.rows
            click.echo(
                f"{group[0].table}: {counted.accepted} accepted, {counted.duplicate} already known, "
                f"{counted.quarantined} refused again{'; the next run counts them' if counted.accepted else ''}"
            )
            for made in report.batches:
                batches = {made.batch_id}
                for row in batch.list_quarantined(settings.raw, table=group[0].table, batches=batches):
                    click.echo(f"{shown(row.reference)}\n    {row.rule}: {shown(row.reason)}", err=True)
            refused += counted.quarantined
    return refused


def _release_held(store: "Store", number: int, author: str, reason: str) -> bool:
    """Append a row of the online store; returns whether it was refused again."""
    from serving.store import StillRefused

    row, _ = store.quarantine_show(number)
    check = _movement_objection if store.offsets(row.channel) else None
    try:
        report = store.quarantine_release(number, author=author, reason=reason, check=check)
    except StillRefused as error:
        click.echo(str(error), err=True)
        return True
    (outcome,) = report.outcomes
    click.echo(f"{_ONLINE}{number}: {'already known' if outcome.result == 'duplicate' else outcome.result}")
    return False


def _movement_objection(event: Mapping[str, Any]) -> str | None:
    """Return why an event breaks the schema of a movement, which the stream checks before the store does."""
    from jsonschema import Draft202012Validator

    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import movement_json_schema

    validator = Draft202012Validator(movement_json_schema(load_contract()))
    errors = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(event)]
    return min(errors, default=None)
