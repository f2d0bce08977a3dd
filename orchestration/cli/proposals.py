"""Commands on proposals: decide on them, hand them to the ERP.

Belongs here: what these commands read, call and print. Does not: what a decision does (serving/store), the files and
tables of an export (planning/erp_export.py).
"""

import getpass
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.cli.home import business_day, home_settings, opened_store
from orchestration.cli.options import Day
from orchestration.cli.output import listing, proposal_table
from orchestration.planning.erp_export import csv_text, upsert_postgresql, write_csv

if TYPE_CHECKING:
    from serving.store import Proposal, Store


_OPEN = ("proposed", "approved", "exported", "acknowledged")
_STATES = (*_OPEN, "received", "rejected", "superseded", "expired", "cancelled")
_EVERY = 1_000_000


@contextmanager
def proposal_store() -> Iterator["Store"]:
    """Open the online store to decide on proposals; one that is older than what is published is refused."""
    from orchestration.publishing.generations import require_known
    from serving.store import StoreBehind

    with opened_store() as store:
        try:
            require_known(home_settings().published, store)
        except StoreBehind as error:
            raise click.ClickException(str(error)) from error
        yield store


@click.group()
def proposals() -> None:
    """Decide on proposed orders, and export them to the ERP.

    \b
      inventorybot proposals list
      inventorybot proposals approve 20111208-1f0c...-1-1
      inventorybot proposals reject 20111208-1f0c...-1-1 --until 2012-01-15 --reason "too dear"
      inventorybot proposals export --csv orders.csv
      inventorybot proposals acknowledge 20111208-1f0c...-1-1 PO-4711
      inventorybot proposals cancel 20111208-1f0c...-1-1 --reason "supplier is out of stock"

    A proposal is approved or rejected. An approved one is exported, and acknowledged with the order number of the ERP.
    It counts as on order until a purchase order line with its proposal_id arrives. It ends when that line is received
    or cancelled, or 14 days after its expected day if no line arrives.
    """  # noqa: D301


@proposals.command("list")
@click.option(
    "--state",
    type=click.Choice(_STATES),
    help="Show proposals in this state; default: all that are open.",
)
def list_proposals(state: str | None) -> None:
    """List proposals with their state."""
    with proposal_store() as store:
        found = [found for wanted in ([state] if state else _OPEN) for found in _every_proposal(store, wanted)]
    if not state:
        found = [made for made in found if not made.has_order_line]
    if not found:
        click.echo(f"No proposal is {state or 'proposed, approved, exported or acknowledged'}.")
        return
    click.echo(proposal_table(found))


@proposals.command("show")
@click.argument("proposal_id", metavar="PROPOSAL")
def show_proposal(proposal_id: str) -> None:
    """Show a proposal with its history. Who decided what, when and why."""
    with proposal_store() as store:
        found, steps = store.proposal(proposal_id)
    click.echo(proposal_table([found]))
    if found.held_reason:
        click.echo(f"not exported: {found.held_reason}")
    rows = [[f"{step['recorded_at']:%Y-%m-%d %H:%M}", step["state"], step["author"], step["reason"]] for step in steps]
    click.echo("\n" + listing(["at (UTC)", "state", "author", "reason"], rows))


author_option = click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")


@proposals.command("approve")
@click.argument("proposal_ids", nargs=-1, metavar="PROPOSAL...")
@click.option("--all", "every", is_flag=True, help="Approve every undecided proposal.")
@click.option("--supplier", help="Approve every undecided proposal to this supplier; default: those named.")
@click.option("--reason", default="", help="Reason; default: none.")
@author_option
def approve(proposal_ids: tuple[str, ...], every: bool, supplier: str | None, reason: str, author: str) -> None:
    """Approve proposals, all named or none. They count as on order from now on.

    The next export contains them. A rejected proposal can be approved later, unless another one has replaced it.
    """
    if sum([bool(proposal_ids), every, supplier is not None]) != 1:
        raise click.ClickException("name the proposals to approve, or give --all, or --supplier; one of the three")
    with proposal_store() as store:
        if not proposal_ids:
            undecided = _every_proposal(store, "proposed")
            suppliers = sorted({made.supplier_id for made in undecided})
            if supplier is not None and supplier not in suppliers:
                waiting = ", ".join(suppliers) or "nobody"
                raise click.ClickException(f"no proposal for supplier {supplier!r} waits; there are some for {waiting}")
            proposal_ids = tuple(
                made.proposal_id
                for made in undecided
                if supplier in (None, made.supplier_id) and made.held_reason is None
            )
        _decide(store, proposal_ids, "approved", author, reason)


@proposals.command("reject")
@click.argument("proposal_ids", nargs=-1, required=True, metavar="PROPOSAL...")
@click.option(
    "--until",
    type=Day(),
    metavar="DAY",
    help="Business day from which the need may be proposed again; default: 28 days after that of the proposal, if"
    " neither option is given.",
)
@click.option(
    "--until-grows",
    type=click.FloatRange(0, 10_000, min_open=True),
    metavar="PERCENT",
    help="Growth of the need in percent, and by more than a unit or pack, after which it is proposed again; default:"
    " 50, if neither option is given.",
)
@click.option("--reason", required=True, help="Reason; shown with the need while the rejection holds.")
@author_option
def reject(
    proposal_ids: tuple[str, ...], until: date | None, until_grows: float | None, reason: str, author: str
) -> None:
    """Reject proposals, all named or none. While a rejection holds, the need is not proposed again.

    It ends at the date or at the growth, whichever comes first; default: 28 days and 50 percent. Reject again to change
    them, or approve the proposal later. An exported proposal cannot be rejected: cancel it.
    """
    if until is not None and until <= business_day():
        raise click.ClickException(
            f"--until {until} is no later than the business day, {business_day()}: the next run would propose it again"
        )
    with proposal_store() as store:
        _decide(store, proposal_ids, "rejected", author, reason, until, until_grows)


@proposals.command("cancel")
@click.argument("proposal_ids", nargs=-1, required=True, metavar="PROPOSAL...")
@click.option("--reason", required=True, help="Reason.")
@author_option
def cancel(proposal_ids: tuple[str, ...], reason: str, author: str) -> None:
    """Cancel approved or exported proposals, all named or none.

    They no longer count as on order, and the next run proposes what is still needed. Once the purchase order line has
    arrived, cancel the line in the ERP instead.
    """
    with proposal_store() as store:
        _decide(store, proposal_ids, "cancelled", author, reason)


@proposals.command("confirm")
@click.option(
    "--held", multiple=True, metavar="PROPOSAL", help="Proposal that the ERP holds; repeat the option for more."
)
@click.option("--reason", default="", help="Reason; default: none.")
@author_option
def confirm(held: tuple[str, ...], reason: str, author: str) -> None:
    """Confirm, after a restore, what the ERP holds. These proposals count as exported, and exports continue."""
    with proposal_store() as store:
        if store.restored_at() is None:
            click.echo("nothing waits to be confirmed: no restore since the last confirmation")
            return
        confirmed = store.confirm_restored(held, author=author, reason=reason)
    if confirmed:
        click.echo(proposal_table(confirmed))
    click.echo(f"{len(confirmed):,} are held by the ERP; exports continue")


@proposals.command("export")
@click.option(
    "--csv",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write atomically; default: the terminal.",
)
@click.option("--postgresql", is_flag=True, help="Write to the database of INVENTORYBOT_EXPORT_URL (upsert).")
@click.option("--url", envvar="INVENTORYBOT_EXPORT_URL", hidden=True)
@click.option("--author", default=getpass.getuser, help="Person or system that pulls; default: your user name.")
def export(file: Path | None, postgresql: bool, url: str | None, author: str) -> None:
    """Export approved proposals. As CSV to the terminal or a file, or to a PostgreSQL schema.

    A proposal is exported again under the same proposal_id until its order line arrives: repeat an interrupted export.
    The receiver must make one order line per proposal_id. Orders of discontinued products are not exported. After a
    restore, nothing is exported before `inventorybot proposals confirm`.
    """
    from serving.store import units_text

    if postgresql and not url:
        raise click.ClickException(
            "INVENTORYBOT_EXPORT_URL is not set; set it to the database, as in postgresql://user@host/database"
        )
    with proposal_store() as store:
        handed_out = store.pull_proposals(author=author, limit=_EVERY)
        held = [made for made in store.open_orders().proposals if made.held_reason and made.state != "acknowledged"]
    if file is not None:
        try:
            write_csv(file, handed_out)
        except OSError as error:
            raise click.ClickException(
                f"{file} cannot be written ({error.strerror}); nothing is lost, export again elsewhere"
            ) from error
    if postgresql and url:
        import psycopg

        try:
            with proposal_store() as store:
                upsert_postgresql(url, handed_out, store.proposals_named)
        except psycopg.Error as error:
            raise click.ClickException(
                f"the database of INVENTORYBOT_EXPORT_URL accepted nothing ({str(error).strip()}); "
                "nothing is lost, export again"
            ) from error
    if file is None and not postgresql:
        click.echo(csv_text(handed_out), nl=False)
    for made in held:
        click.echo(
            f"not exported: {made.proposal_id}, {units_text(made.order_units)} of {made.sku}: {made.held_reason}; "
            "cancel it",
            err=True,
        )
    click.echo(f"{len(handed_out):,} proposals exported", err=True)


@proposals.command("acknowledge")
@click.argument("proposal_id", metavar="PROPOSAL")
@click.argument("erp_order", metavar="ERP_ORDER")
@click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")
def acknowledge(proposal_id: str, erp_order: str, author: str) -> None:
    """Record that the ERP made order ERP_ORDER of PROPOSAL."""
    with proposal_store() as store:
        store.acknowledge_proposal(proposal_id, erp_order, author=author)
    click.echo(f"{proposal_id} is ERP order {erp_order}")


def _decide(
    store: "Store",
    proposal_ids: Sequence[str],
    decision: str,
    author: str,
    reason: str,
    until: date | None = None,
    until_grows: float | None = None,
) -> None:
    """Decide on all proposals or none, with a line for each; ends with code 1 where one is refused."""
    named = list(dict.fromkeys(proposal_ids))
    outcomes = store.decide_proposals(
        named,
        decision,
        event_ids=[f"proposal-{uuid.uuid4()}" for _ in named],
        author=author,
        reason=reason,
        until_date=until,
        until_grows_percent=None if until_grows is None else Decimal(str(until_grows)),
    )
    refused = sum(outcome.is_refused for outcome in outcomes)
    for outcome in outcomes:
        kept = "" if outcome.is_refused or outcome.is_known or not refused else "would be "
        prefix = "REFUSED, " if outcome.is_refused else kept
        click.echo(f"{outcome.proposal_id}: {prefix}{outcome.message}", err=outcome.is_refused)
    if refused:
        raise click.ClickException(
            f"{refused:,} of {len(outcomes):,} cannot be {decision}: nothing was changed. Leave them out, or decide "
            "on what stands in their place"
        )
    changed = sum(not outcome.is_known for outcome in outcomes)
    known = len(outcomes) - changed
    click.echo(f"{changed:,} {decision}{f', {known:,} were already {decision}' if known else ''}")


def _every_proposal(store: "Store", state: str) -> list["Proposal"]:
    found: list[Proposal] = []
    while page := store.proposals(state=state, after=found[-1].proposal_id if found else ""):
        found += page
    return found
