"""Commands on what comes in: SQL sources, and what became of each file.

Belongs here: what these commands read, call and print. Does not: what they do to data (ingest, serving/store).
"""

import getpass
import sys
from typing import TYPE_CHECKING

import click

from orchestration.cli.home import FAILED, errors_shown, has_store, open_store
from orchestration.cli.options import FormerCommands
from orchestration.ingest.names import shown

if TYPE_CHECKING:
    from orchestration.ingest.formats import Decimal, Delivery, Format


@click.group(cls=FormerCommands, former={"hand-over": "transfer"})
def sources() -> None:
    """Show and test the SQL databases that fill raw tables. <home>/sources.yml names them."""


@sources.command("list")
def list_sources() -> None:
    """List the sources and how far each has been read. Also who owns movements, formats of files and mapped codes."""
    from orchestration.ingest.codes import load_codes
    from orchestration.ingest.formats import load_formats
    from orchestration.ingest.manifests import last_cursor, read_manifests
    from orchestration.ingest.sql_sources import read_sources

    with errors_shown() as settings:
        declared = read_sources(settings)
        for source in declared:
            manifests = read_manifests(settings.raw / source.table)
            rows = sum(manifest.rows.accepted for manifest in manifests if manifest.channel == source.channel)
            url = "set" if source.url else "NOT SET"
            read = f"{rows:,} rows so far"
            if source.cursor:
                read += f", {source.cursor} up to {last_cursor(manifests, source.channel) or 'nothing'}"
            click.echo(f"{source.name}  fills {source.table}, URL in {source.url_variable} ({url}), {read}")
        if not declared:
            click.echo(
                f"{settings.sources_file} names no source; `inventorybot sources example` shows how to write one"
            )
        if has_store(settings):
            with open_store(settings) as store:
                for name, channel in store.authorities().items():
                    click.echo(f"movements of {name!r} are owned by channel {channel}")
        for known in load_formats(settings.formats_file):
            click.echo(_told(known))
        for one in load_codes(settings.raw):
            click.echo(f"{one.column_name} {one.code!a} stands for {one.meaning!a} ({shown(one.said_by)})")


@sources.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def test_sources(names: tuple[str, ...]) -> None:
    """Read a few rows of each source, and explain errors. Default: all sources."""
    from orchestration.ingest.sql_sources import read_sources, try_source

    with errors_shown() as settings:
        declared = read_sources(settings)
        absent = sorted(set(names) - {source.name for source in declared})
        if absent:
            known = ", ".join(source.name for source in declared) or "none"
            raise click.ClickException(f"{settings.sources_file} names no source {absent[0]!r}; there are: {known}")
        if not declared:
            click.echo(
                f"{settings.sources_file} names no source; `inventorybot sources example` shows how to write one"
            )
        broken = 0
        for source in declared:
            if not names or source.name in names:
                trial = try_source(source)
                click.echo(f"{source.name}: {trial.message}", err=not trial.works)
                broken += not trial.works
    if broken:
        sys.exit(FAILED)


@sources.command("example")
def example_source() -> None:
    """Print an example of a sources file."""
    from orchestration.ingest.sql_sources import EXAMPLE

    click.echo(EXAMPLE, nl=False)


@sources.command("format")
@click.argument("table")
@click.option(
    "--files", default="*", show_default=True, help="Pattern of the names of the files meant, as in pos_*.csv."
)
@click.option("--decimal", type=click.Choice(["point", "comma"]), help="Sign of the decimals; default: as said before.")
@click.option("--time-zone", help="IANA zone of times without an offset; default: as said before, else UTC.")
@click.option(
    "--delivery",
    type=click.Choice(["full", "changes"]),
    help="What each file brings: the full list, so that what the newest one lacks has ended, or changes; default: as "
    "said before, else as the input contract has it.",
)
@click.option("--accept", metavar="CODE", help="Code of a held list: the rows that it lacks have ended; default: none.")
@click.option("--author", default=getpass.getuser, help="Person who says so; default: your user name.")
def say_format(
    table: str,
    files: str,
    decimal: "Decimal | None",
    time_zone: str | None,
    delivery: "Delivery | None",
    accept: str | None,
    author: str,
) -> None:
    """Say how files of TABLE are read: numbers, times, full lists.

    The answer is kept; `sources list` shows it. Files that waited for it are read by the next run. Rows that were
    loaded before stay as they were read.
    """
    from orchestration.ingest.contract import table_named
    from orchestration.ingest.formats import Format, check_delivery, check_zone, save_format

    if all(given is None for given in (decimal, time_zone, delivery, accept)):
        raise click.UsageError("nothing is said: give --decimal, --time-zone, --delivery or --accept")
    with errors_shown() as settings:
        if time_zone is not None:
            check_zone(time_zone)
        check_delivery(table_named(table), delivery)
        settings.home.mkdir(parents=True, exist_ok=True)
        answer = Format(table_named(table).name, files, decimal, time_zone, author, delivery, accept)
        click.echo(_told(save_format(settings.formats_file, answer)[-1]))


def _told(known: "Format") -> str:
    said = [f"a decimal {known.decimal}"] if known.decimal else []
    said += [f"times without an offset in {known.time_zone}"] if known.time_zone else []
    brings = {"full": "are full lists", "changes": "bring changes"}
    answers = [f"have {' and '.join(said)}"] if said else []
    answers += [brings[known.delivery]] if known.delivery else []
    answers += [f"end the rows of code {known.accepts}"] if known.accepts else []
    return f"files {known.table}/{known.files} {', '.join(answers)} (said by {shown(known.said_by)})"


@sources.command("transfer")
@click.argument("source")
@click.argument("channel", metavar="CHANNEL")
def transfer(source: str, channel: str) -> None:
    """Transfer movements of SOURCE to CHANNEL.

    Channels are landing, online_store and sql:NAME. From then on, movements of SOURCE on other channels are refused.
    """
    from orchestration.ingest.sql_sources import read_sources

    with errors_shown() as settings:
        channels = {"landing", "online_store", *(declared.channel for declared in read_sources(settings))}
        if channel not in channels:
            raise click.ClickException(f"there is no channel {channel!r}; there are {', '.join(sorted(channels))}")
        with open_store(settings) as store:
            before = store.authorities().get(source, "none")
            store.take_authority(source, channel, transfer=True)
    click.echo(f"movements of {source!r} are owned by channel {channel} (before: {before})")


@click.command()
@click.option("--table", help="Show this raw table only; default: all.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Number of loads to show.")
def loads(table: str | None, limit: int) -> None:
    """List loads with their results. A load is a file, a pull or a range of events; the latest comes first."""
    from orchestration.ingest.contract import load_contract, table_named
    from orchestration.ingest.manifests import read_manifests

    with errors_shown() as settings:
        names = [table_named(table).name] if table else [declared.name for declared in load_contract()]
        found = [
            (manifest, file)
            for name in names
            for manifest in read_manifests(settings.raw / name)
            for file in manifest.files
        ]
        found.sort(key=lambda load: load[0].batch_id, reverse=True)
        for manifest, file in found[:limit]:
            rows, outcome = file.rows, file.outcome.replace("_", " ")
            counts = f"{rows.accepted:,} accepted, {rows.duplicate:,} duplicate, {rows.quarantined:,} quarantined"
            result = f"{outcome}: {shown(file.reason or counts)}"
            click.echo(f"{manifest.ingested_at}  {manifest.table}/{shown(file.name)}  {result}")
            for warning in file.notices:
                click.echo(f"    {shown(warning)}")
        if not found:
            click.echo(
                f"nothing has been loaded into {settings.raw} yet: put files into {settings.landing} and run"
                " `inventorybot run`"
            )
