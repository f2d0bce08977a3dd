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
from orchestration.cli.output import listing, proposal_table, urgent_first, worklist
from orchestration.planning.erp_export import (
    COLUMNS,
    Handout,
    acknowledgements_postgresql,
    csv_text,
    line_rows,
    read_acknowledgements,
    upsert_postgresql,
    write_csv,
    write_folder,
)

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
    """Decide on proposed orders and transfers; export them.

    \b
      inventorybot proposals list
      inventorybot proposals approve 20111208-1f0c...-1-1
      inventorybot proposals reject 20111208-1f0c...-1-1 --until 2012-01-15 --reason "too dear"
      inventorybot proposals export --csv orders.csv
      inventorybot proposals export --folder orders
      inventorybot proposals acknowledge 20111208-1f0c...-1-1 PO-4711
      inventorybot proposals acknowledge --csv acknowledged.csv
      inventorybot proposals cancel 20111208-1f0c...-1-1 --reason "supplier is out of stock"

    A proposal is approved or rejected. An approved one is exported, and acknowledged with the order number of the ERP.
    It counts as on order until a purchase order line with its proposal_id arrives. It ends when that line is received
    or cancelled, or 14 days after its expected day if no line arrives. A transfer between locations is decided and
    exported alike: the movements that ship and receive it name it as their reference, as an order's line does.
    """  # noqa: D301


@proposals.command("list")
@click.option(
    "--state",
    type=click.Choice(_STATES),
    help="Show proposals in this state; default: all that are open.",
)
def list_proposals(state: str | None) -> None:
    """List proposals, most urgent first. Orders and transfers, with product, money, reason and from where.

    The money of a transfer is what moving it costs.
    """
    with proposal_store() as store:
        found = [found for wanted in ([state] if state else _OPEN) for found in _every_proposal(store, wanted)]
    if not state:
        found = [made for made in found if not made.has_order_line]
    if not found:
        click.echo(f"No proposal is {state or 'proposed, approved, exported or acknowledged'}.")
        return
    currency = home_settings().currency or ""
    click.echo(worklist(urgent_first(found), currency))
    money = sum((made.coming_units * (made.unit_cost or 0) for made in found), Decimal(0))
    click.echo(f"{len(found):,} proposals, {money:,.2f} {currency}".rstrip())


@proposals.command("show")
@click.argument("proposal_id", metavar="PROPOSAL")
def show_proposal(proposal_id: str) -> None:
    """Show a proposal with its history. Who decided what, when and why."""
    from serving.store import units_text

    with proposal_store() as store:
        found, steps = store.proposal(proposal_id)
    click.echo(proposal_table([found]))
    if found.held_reason:
        click.echo(f"not exported: {found.held_reason}")
    if found.adjusted_units is not None:
        click.echo(f"adjusted by {found.adjusted_by}: {units_text(found.adjusted_units)} units are ordered")
    if found.detail.get("reason"):
        click.echo(f"\n{found.detail['reason']}")
    rows = [[f"{step['recorded_at']:%Y-%m-%d %H:%M}", step["state"], step["author"], step["reason"]] for step in steps]
    click.echo("\n" + listing(["at (UTC)", "state", "author", "reason"], rows))


author_option = click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")


@proposals.command("approve")
@click.argument("proposal_ids", nargs=-1, metavar="PROPOSAL...")
@click.option("--all", "every", is_flag=True, help="Approve every undecided proposal.")
@click.option("--supplier", help="Approve every undecided proposal to this supplier; default: those named.")
@click.option("--transfers", is_flag=True, help="Approve every undecided transfer between locations.")
@click.option("--reason", default="", help="Reason; default: none.")
@author_option
def approve(
    proposal_ids: tuple[str, ...], every: bool, supplier: str | None, transfers: bool, reason: str, author: str
) -> None:
    """Approve proposals, all named or none. They count as on order from now on.

    The next export contains them. A rejected proposal can be approved later, unless another one has replaced it. An
    undecided proposal of the item at its location that this makes needless is superseded.
    """
    if sum([bool(proposal_ids), every, supplier is not None, transfers]) != 1:
        raise click.ClickException(
            "name the proposals to approve, or give --all, --supplier or --transfers; one of the four"
        )
    with proposal_store() as store:
        if not proposal_ids:
            undecided = _every_proposal(store, "proposed")
            suppliers = sorted({made.supplier_id for made in undecided if not made.is_transfer})
            if supplier is not None and supplier not in suppliers:
                waiting = ", ".join(suppliers) or "nobody"
                raise click.ClickException(f"no proposal for supplier {supplier!r} waits; there are some for {waiting}")
            proposal_ids = tuple(
                made.proposal_id
                for made in undecided
                if supplier in (None, made.supplier_id)
                and (made.is_transfer or not transfers)
                and made.held_reason is None
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
    help="File to write the order lines to, atomically; default: the terminal.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write purchase_orders.csv, purchase_order_lines.csv and withdrawals.csv to; default: none.",
)
@click.option("--postgresql", is_flag=True, help="Write to the database of INVENTORYBOT_EXPORT_URL (upsert).")
@click.option("--url", envvar="INVENTORYBOT_EXPORT_URL", hidden=True)
@click.option("--author", default=getpass.getuser, help="Person or system that pulls; default: your user name.")
def export(file: Path | None, folder: Path | None, postgresql: bool, url: str | None, author: str) -> None:
    """Export approved proposals as orders. One order per supplier or origin and location, as CSV or to PostgreSQL.

    proposal_type says whether a line is an order or a transfer, and from_location_id where a transfer leaves.
    A proposal is exported again under the same proposal_id until it is acknowledged or its order line arrives: repeat
    an interrupted export. The receiver must make one order line per proposal_id. What was cancelled or has expired
    since is exported as a withdrawal until it is acknowledged with 0 units. Orders of discontinued products are not
    exported. After a restore, nothing is exported before `inventorybot proposals confirm`.
    """
    from serving.store import units_text

    url = _export_url(url) if postgresql else None
    with proposal_store() as store:
        lines = store.pull_proposals(author=author, limit=_EVERY)
        orders = store.proposals_in_orders({made.order_id for made in lines if made.order_id})
        handout = Handout(lines, orders, store.withdrawn_proposals(), home_settings().currency)
        held = [made for made in store.open_orders().proposals if made.held_reason and made.state != "acknowledged"]
    for place, write in ((file, _write_lines), (folder, write_folder)):
        if place is None:
            continue
        try:
            write(place, handout)
        except OSError as error:
            raise click.ClickException(
                f"{place} cannot be written ({error.strerror}); nothing is lost, export again elsewhere"
            ) from error
    if url:
        with _database_errors(), proposal_store() as store:
            upsert_postgresql(url, handout, store.proposals_named)
    if file is None and folder is None and not postgresql:
        click.echo(csv_text(COLUMNS, line_rows(handout.lines, handout.currency)), nl=False)
    for made in held:
        click.echo(
            f"not exported: {made.proposal_id}, {units_text(made.final_units)} of {made.sku}: {made.held_reason}; "
            "cancel it",
            err=True,
        )
    report = f"{len(lines):,} proposals exported"
    if handout.withdrawn:
        report += f", {len(handout.withdrawn):,} withdrawn since they were"
        report += "" if folder or postgresql else "; only --folder and --postgresql say which"
    click.echo(report, err=True)


@proposals.command("acknowledge")
@click.argument("proposal_id", metavar="[PROPOSAL", required=False)
@click.argument("erp_order", metavar="[ERP_ORDER]]", required=False)
@click.option(
    "--units",
    type=Decimal,
    help="Units that the ERP ordered, 0 = none; what it did not order is proposed again where it is needed; default:"
    " as proposed.",
)
@click.option(
    "--csv",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the columns proposal_id, erp_order and optionally ordered_units; default: none.",
)
@click.option(
    "--postgresql",
    is_flag=True,
    help="Read what the ERP wrote into purchase_order_acknowledgements in the database of INVENTORYBOT_EXPORT_URL.",
)
@click.option("--url", envvar="INVENTORYBOT_EXPORT_URL", hidden=True)
@click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")
def acknowledge(
    proposal_id: str | None,
    erp_order: str | None,
    units: Decimal | None,
    file: Path | None,
    postgresql: bool,
    url: str | None,
    author: str,
) -> None:
    """Record the orders that the ERP made. For one proposal or many, with their units.

    Repeat it as often as you like; the same order number with other units corrects what was recorded. A line that is
    refused keeps no other from being recorded. 0 units and no order number: the ERP orders nothing of the proposal, or
    knows that it was withdrawn.
    """
    from serving.store import Acknowledgement

    if sum([proposal_id is not None, file is not None, postgresql]) != 1:
        raise click.ClickException("name a proposal and its order, or give --csv, or --postgresql; one of the three")
    if proposal_id is not None:
        said = [Acknowledgement(proposal_id, erp_order, units)]
    elif file is not None:
        try:
            said = read_acknowledgements(file)
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    else:
        with _database_errors():
            said = acknowledgements_postgresql(_export_url(url))
    with proposal_store() as store:
        outcomes = store.acknowledge_proposals(said, author=author)
    for outcome in outcomes:
        if outcome.is_refused or len(outcomes) == 1:
            prefix = "REFUSED, " if outcome.is_refused else ""
            click.echo(f"{outcome.proposal_id}: {prefix}{outcome.message}", err=outcome.is_refused)
    refused = sum(outcome.is_refused for outcome in outcomes)
    known = sum(outcome.is_known for outcome in outcomes)
    click.echo(f"{len(outcomes) - refused - known:,} recorded, {known:,} known before, {refused:,} refused")
    if refused:
        raise click.ClickException(f"{refused:,} of {len(outcomes):,} were refused; the others are recorded")


def _export_url(url: str | None) -> str:
    if not url:
        raise click.ClickException(
            "INVENTORYBOT_EXPORT_URL is not set; set it to the database, as in postgresql://user@host/database"
        )
    return url


def _write_lines(file: Path, handout: Handout) -> None:
    write_csv(file, COLUMNS, line_rows(handout.lines, handout.currency))


@contextmanager
def _database_errors() -> Iterator[None]:
    """Show errors of the ERP's database without a traceback."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise click.ClickException(
            f"the database of INVENTORYBOT_EXPORT_URL took or gave nothing ({str(error).strip()}); "
            "nothing is lost, try again"
        ) from error


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
