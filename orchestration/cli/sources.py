"""Commands on what comes in: SQL sources, and what became of each file.

Belongs here: what these commands read, call and print. Does not: what they do to data (ingest, serving/store).
"""

import sys
from typing import TYPE_CHECKING

import click

from orchestration.cli.home import FAILED, errors_shown, has_store, open_store
from orchestration.cli.options import FormerCommands

if TYPE_CHECKING:
    pass


@click.group(cls=FormerCommands, former={"hand-over": "transfer"})
def sources() -> None:
    """Show and test the SQL databases that fill raw tables. <home>/sources.yml names them."""


@sources.command("list")
def list_sources() -> None:
    """List the sources and how far each has been read. Also the channel that owns each source of movements."""
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
            click.echo(f"{manifest.ingested_at}  {manifest.table}/{file.name}  {outcome}: {file.reason or counts}")
            for warning in file.notices:
                click.echo(f"    {warning}")
        if not found:
            click.echo(
                f"nothing has been loaded into {settings.raw} yet: put files into {settings.landing} and run"
                " `inventorybot run`"
            )
