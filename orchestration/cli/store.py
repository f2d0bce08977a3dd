"""Commands on the online store: migrate, verify, back up, restore, reconcile.

Belongs here: what these commands call and print. Does not: what they do to the store (serving/store), what is published
(publishing).
"""

import sys
from pathlib import Path

import click

from orchestration.cli.home import FAILED, home_settings
from orchestration.cli.options import FormerOptions
from orchestration.cli.output import proposal_table
from orchestration.home.settings import Settings


@click.group()
def store() -> None:
    """Check, save and restore the online store. It holds the ledger of events, quarantine, policies and proposals."""


@store.command(cls=FormerOptions, former={"--begin-anew": "--start-empty"})
@click.option("--start-empty", is_flag=True, help="Make an empty store although the home holds data; default: refuse.")
def migrate(start_empty: bool) -> None:
    """Create the store, or migrate it to the current schema. If a store is lost, restore its backup instead."""
    from orchestration.home.lock import HomeError
    from orchestration.home.prepare import make_store
    from serving.store import Store

    settings = home_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    is_new = not Store.exists(settings.store_url)
    try:
        click.echo(f"schema version {make_store(settings, start_empty=start_empty)}")
    except HomeError as error:
        raise click.ClickException(str(error)) from error
    if is_new and start_empty:
        _reconcile(settings)


@store.command()
def verify() -> None:
    """Verify the hash chain of the ledger. Compares it with the heads recorded by the published generations."""
    from orchestration.publishing.generations import anchors
    from serving.store import Store

    settings = home_settings()
    with Store.open(settings.store_url) as opened:
        report = opened.verify(anchors(settings.published))
    click.echo(f"{report.events:,} events in {report.batches:,} batches, head {report.sequence} {report.chain_hash}")
    for problem in report.problems:
        click.echo(problem, err=True)
    if not report.is_whole:
        sys.exit(FAILED)


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Write a checked snapshot of the store to FILE. Others may write at the same time."""
    from serving.store import Store

    with Store.open(home_settings().store_url) as opened:
        report = opened.backup(file)
    click.echo(f"{file}: {report.events:,} events, head {report.sequence}")


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Restore an empty or missing store from FILE. Lists what the ERP may hold that is not in the snapshot."""
    from serving.store import Store

    settings = home_settings()
    report = Store.restore(file, settings.store_url)
    click.echo(f"restored {report.events:,} events, head {report.sequence}")
    _reconcile(settings)


@store.command()
def reconcile() -> None:
    """Bring an older store up to the published generation. Recovers published proposals and movements."""
    _reconcile(home_settings())


def _reconcile(settings: Settings) -> None:
    """Recover what is published, and print what the ERP may hold."""
    from orchestration.publishing import reconciliation
    from serving.store import Store

    with Store.open(settings.store_url) as opened:
        found, taken_back = reconciliation.reconcile(settings, opened)
        waits = opened.restored_at() is not None
        lost = reconciliation.lost_policies(settings, opened)
    if found.was_behind:
        click.echo("the store was older than the published generation and is now up to date with it")
    if found.lost_events:
        click.echo(
            f"{found.lost_events:,} events after the backup are lost, except {taken_back:,} movements that runs had "
            "loaded and that are recovered"
        )
    click.echo(f"new proposals get ids of epoch {found.epoch}, which were never used before")
    for what, proposals in (
        ("recovered: they are published and were not in the store", found.put_back),
        ("set to the state in which they are published", found.advanced),
        ("that the ERP may hold, if they were approved or exported after the backup", found.doubtful),
    ):
        if proposals:
            click.echo(f"\n{len(proposals):,} proposals {what}:\n{proposal_table(proposals)}")
    if lost:
        click.echo("\npolicy overrides that the published orders follow and that are lost; set them again:")
        for override, items in lost.items():
            more = f" and {len(items) - 3:,} more" if len(items) > 3 else ""
            click.echo(f"  {override}: {', '.join(items[:3])}{more}")
    click.echo(
        "\nRejections that the last publication knew are back. Policy overrides, rejections and approvals made after\n"
        "the backup that no published run has seen are lost and not listed: ask who made them."
    )
    if waits:
        click.echo(
            "\nNothing is exported before a check. Compare `inventorybot proposals list` with the ERP. Run\n"
            "  inventorybot proposals confirm [--held PROPOSAL]...\n"
            "with --held for each proposal that the ERP holds and that is proposed or approved here, and\n"
            "  inventorybot proposals cancel PROPOSAL... --reason WHY\n"
            "for each that is exported or acknowledged here and that the ERP does not hold."
        )
