"""Commands of planners: restock policies, proposals for the ERP, what-if and the reproduction of past decisions."""

import getpass
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.options import Day
from orchestration.home.environment import read_settings
from orchestration.home.settings import Settings
from orchestration.planning.erp_export import csv_text, upsert_postgresql, write_csv

if TYPE_CHECKING:
    from orchestration.planning.decision import Saved
    from serving.store import PolicyOverride, Proposal, Store

_OPEN = ("proposed", "approved", "exported", "acknowledged")
_STATES = (*_OPEN, "received", "rejected", "superseded", "expired", "cancelled")
_EVERY = 1_000_000


def home_settings() -> Settings:
    """Return the settings of the home.

    Raises:
        click.ClickException: a variable of the environment cannot be read.
    """
    try:
        return read_settings()
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def opened_store() -> Iterator["Store"]:
    """Open the online store of the home; its errors are shown without a traceback."""
    from serving.store import Store, StoreError

    try:
        with Store.open(home_settings().store_url) as opened:
            yield opened
    except StoreError as error:
        raise click.ClickException(str(error)) from error


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


def business_day() -> date:
    """Return the business day of the current generation, today where nothing is published yet."""
    from orchestration.publishing.generations import current_manifest

    manifest = current_manifest(home_settings().published)
    return datetime.now(UTC).date() if manifest is None else date.fromisoformat(manifest["as_of"])


def listing(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as text in columns."""
    texts = [list(header), *(["-" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts
    )


@click.group()
def policy() -> None:
    """Set restock policies. A policy holds for all items, a segment, or one item at one location.

    \b
      inventorybot policy set target_value 0.98 --segment "abc_class=A" --reason "key items"
      inventorybot policy set max_order_units 24 --sku 85123A --location UK1 --reason "shelf is small"
      inventorybot policy list
      inventorybot policy score
      inventorybot policy end 17 --reason "season is over"

    The next run uses them. An item policy overrides a segment policy, and both override the default.
    """  # noqa: D301


@policy.command("set", epilog="Settings and what they mean: inventorybot policy settings")
@click.argument("setting")
@click.argument("value")
@click.option("--segment", help='Segment of items, such as "abc_class=A and unit_cost>100"; default: all items.')
@click.option("--sku", help="Item, with --location; default: all items.")
@click.option("--location", help="Location of the item, with --sku; default: all items.")
@click.option("--from", "first", type=Day(), metavar="DAY", help="First day; default: the current business day.")
@click.option("--to", "last", type=Day(), metavar="DAY", help="Last day; default: until further notice.")
@click.option("--reason", required=True, help="Reason.")
@click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")
def set_policy(
    setting: str,
    value: str,
    segment: str | None,
    sku: str | None,
    location: str | None,
    first: date | None,
    last: date | None,
    reason: str,
    author: str,
) -> None:
    """Set SETTING to VALUE from a day on. Default: for all items."""
    from ml.restock.policy_segments import segment_conditions
    from orchestration.planning.policies import read_setting

    if segment is not None and (sku or location):
        raise click.ClickException("give --segment, or --sku with --location, not both: an override has one scope")
    if bool(sku) != bool(location):
        raise click.ClickException("--sku and --location belong together: an item is a sku at a location")
    try:
        read_setting(setting, value)
        if segment is not None:
            segment_conditions(segment)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    scope = "segment" if segment is not None else "item" if sku else "default"
    target = {"scope": scope, "segment": segment, "sku": sku, "location_id": location}
    valid_from = first or business_day()
    number = _append_override(target, setting, value, valid_from, last, reason, author)
    click.echo(f"override {number}: {setting} {value} for {_scope_text(scope, segment, sku, location)}")
    for hint in _hints(number, valid_from):
        click.echo(f"hint: {hint}", err=True)


@policy.command("settings")
def settings_of_policies() -> None:
    """List the settings of a policy with their meaning."""
    from orchestration.planning.policies import SETTINGS

    click.echo(listing(["setting", "meaning"], [[name, setting.meaning] for name, setting in SETTINGS.items()]))


@policy.command("list")
@click.option("--day", type=Day(), metavar="DAY", help="Day to show; default: the current business day.")
@click.option("--all", "every", is_flag=True, help="Show every override ever made, oldest first.")
def list_policies(day: date | None, every: bool) -> None:
    """List the overrides that hold on a day."""
    on_day = day or business_day()
    with opened_store() as store:
        found = store.policy_overrides(None if every else on_day)
    if not found:
        click.echo(f"No override holds on {on_day}: the settings of the home apply.")
        return
    header = ["number", "for", "setting", "value", "from", "to", "author", "reason"]
    click.echo(listing(header, [_override_row(override) for override in found]))


@policy.command("score")
@click.argument("number", type=int, required=False)
def score_policies(number: int | None) -> None:
    """Show the value of overrides. Replays the orders of the last eleven weeks with and without each override.

    Default: all overrides that hold on the business day. Both replays use the current forecaster, which has seen those
    weeks.
    """
    from orchestration.training.policy_backtest import ITEMS, score_overrides

    with opened_store() as store:
        held = store.policy_overrides(None if number else business_day())
    chosen = [override for override in held if number in (None, override.sequence) and override.value is not None]
    if not chosen:
        missing = f"there is no override {number}" if number else "no override holds"
        raise click.ClickException(f"{missing}; `inventorybot policy list --all` shows every override")
    with _champion() as (settings, forecaster):
        table = score_overrides(settings, forecaster, chosen)
    header = ["number", "for", "setting", "items", "cost with", "without", "worth", "fill rate with", "without"]
    rows = []
    for made, found in zip(chosen, table.to_dict("records"), strict=True):
        scope = _scope_text(made.scope, made.segment, made.sku, made.location_id)
        money = [f"{found['cost_with']:,.2f}", f"{found['cost_without']:,.2f}", f"{found['value_added']:+,.2f}"]
        rates = [f"{found['fill_rate_with']:.4f}", f"{found['fill_rate_without']:.4f}"]
        figures = [*money, *rates] if found["items"] else ["-"] * 5
        rows.append([made.sequence, scope, f"{made.setting} {made.value}", f"{found['items']:,}", *figures])
    click.echo(listing(header, rows))
    click.echo(
        f"cost: holding and lost margin of the weeks replayed, of at most {ITEMS} items that stand for all;"
        " worth: what the override saves"
    )


@policy.command("end")
@click.argument("number", type=int)
@click.option(
    "--from", "first", type=Day(), metavar="DAY", help="First day without the override; default: the business day."
)
@click.option("--reason", required=True, help="Reason.")
@click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")
def end_policy(number: int, first: date | None, reason: str, author: str) -> None:
    """End override NUMBER from a day on. `policy list` shows the numbers."""
    with opened_store() as store:
        found = next((made for made in store.policy_overrides() if made.sequence == number), None)
    if found is None or found.value is None:
        raise click.ClickException(f"there is no override {number}; `inventorybot policy list --all` shows them")
    ends = max(first or business_day(), found.valid_from)
    if found.valid_to is not None and found.valid_to < ends:
        raise click.ClickException(f"override {number} holds until {found.valid_to} only; it has ended by {ends}")
    target = {"scope": found.scope, "segment": found.segment, "sku": found.sku, "location_id": found.location_id}
    _append_override(target, found.setting, None, ends, found.valid_to, reason, author)
    click.echo(f"override {number} ends: from {ends} on it sets {found.setting} no longer")


def _append_override(
    target: dict[str, str | None],
    setting: str,
    value: str | None,
    first: date,
    last: date | None,
    reason: str,
    author: str,
) -> int:
    event: dict[str, Any] = {
        "event_type": "policy_override",
        "event_id": f"policy-{uuid.uuid4()}",
        "occurred_at": datetime.now(UTC),
        **{name: text for name, text in target.items() if text is not None},
        "setting": setting,
        "valid_from": first.isoformat(),
        **({} if last is None else {"valid_to": last.isoformat()}),
        **({} if value is None else {"value": value}),
        "author": author,
        "reason": reason,
    }
    with opened_store() as store:
        report = store.append([event], source="command")
        if report.quarantine_ids:
            row, _ = store.quarantine_show(report.quarantine_ids[0])
            store.quarantine_discard(row.quarantine_id, author=author, reason="shown to its author by the command")
            raise click.ClickException(row.reason)
    return report.sequence


def _hints(number: int, day: date) -> list[str]:
    """Return why the next run cannot follow an override as it stands; nothing is known before the first build."""
    from orchestration.planning.policies import effective_policies, standard_policy
    from orchestration.warehouse.build import read_build
    from orchestration.warehouse.frames import segmented_items, supplier_terms

    settings = home_settings()
    try:
        read_build(settings)
    except FileNotFoundError:
        return []
    with opened_store() as store:
        held = store.policy_overrides(day)
    standard = standard_policy(settings, supplier_terms(settings))
    _, exceptions = effective_policies(standard, segmented_items(settings), held)
    return exceptions.loc[exceptions["policy_sequence"] == number, "exception"].tolist()


def _override_row(override: "PolicyOverride") -> list[object]:
    scope = _scope_text(override.scope, override.segment, override.sku, override.location_id)
    value = "(ended)" if override.value is None else override.value
    dates = [override.valid_from, override.valid_to or "-"]
    return [override.sequence, scope, override.setting, value, *dates, override.author, override.reason]


def _scope_text(scope: str, segment: str | None, sku: str | None, location: str | None) -> str:
    return {"segment": f"segment {segment}", "item": f"{sku} at {location}"}.get(scope, "every item")


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
        click.echo(f"not handed out: {found.held_reason}")
    rows = [[f"{step['recorded_at']:%Y-%m-%d %H:%M}", step["state"], step["author"], step["reason"]] for step in steps]
    click.echo("\n" + listing(["at (UTC)", "state", "author", "reason"], rows))


def proposal_table(found: Sequence["Proposal"]) -> str:
    """Return proposals as text in columns."""
    from serving.store import units_text

    def why(made: "Proposal") -> str:
        reason = made.rejection if made.state == "rejected" else made.change_reason
        return "; ".join(filter(None, [reason, made.held_reason and f"not handed out: {made.held_reason}"])) or "-"

    header = ["proposal", "state", "supplier", "sku", "at", "units", "order by", "ERP order", "by", "reason"]
    rows = [
        [
            *(made.proposal_id, made.state, made.supplier_id, made.sku, made.location_id, units_text(made.order_units)),
            *(made.order_by_date, made.erp_order, made.changed_by, why(made)),
        ]
        for made in found
    ]
    return listing(header, rows)


_author_option = click.option("--author", default=getpass.getuser, help="Person who decides; default: your user name.")


@proposals.command("approve")
@click.argument("proposal_ids", nargs=-1, metavar="PROPOSAL...")
@click.option("--all", "every", is_flag=True, help="Approve every undecided proposal.")
@click.option("--supplier", help="Approve every undecided proposal to this supplier; default: those named.")
@click.option("--reason", default="", help="Reason; default: none.")
@_author_option
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
@_author_option
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
@_author_option
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
@_author_option
def confirm(held: tuple[str, ...], reason: str, author: str) -> None:
    """Confirm, after a restore, what the ERP holds. These proposals count as exported, and exports continue."""
    with proposal_store() as store:
        if store.restored_at() is None:
            click.echo("nothing waits to be confirmed: no restore since the last confirmation")
            return
        confirmed = store.confirm_restored(held, author=author, reason=reason)
    if confirmed:
        click.echo(proposal_table(confirmed))
    click.echo(f"{len(confirmed):,} are held by the ERP; exports go on")


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
                f"the database of INVENTORYBOT_EXPORT_URL took nothing ({str(error).strip()}); "
                "nothing is lost, export again"
            ) from error
    if file is None and not postgresql:
        click.echo(csv_text(handed_out), nl=False)
    for made in held:
        click.echo(
            f"not handed out: {made.proposal_id}, {units_text(made.order_units)} of {made.sku}: {made.held_reason}; "
            "cancel it",
            err=True,
        )
    click.echo(f"{len(handed_out):,} proposals handed out", err=True)


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
            f"{refused:,} of {len(outcomes):,} cannot be {decision}: nothing was changed. Leave those out, or decide "
            "on what stands in their place"
        )
    changed = sum(not outcome.is_known for outcome in outcomes)
    known = len(outcomes) - changed
    click.echo(f"{changed:,} {decision}{f', {known:,} were so before' if known else ''}")


def _every_proposal(store: "Store", state: str) -> list["Proposal"]:
    found: list[Proposal] = []
    while page := store.proposals(state=state, after=found[-1].proposal_id if found else ""):
        found += page
    return found


def _published_home() -> Settings:
    from orchestration.publishing.generations import current_manifest

    settings = home_settings()
    if current_manifest(settings.published) is None:
        raise click.ClickException(f"nothing is published in {settings.home} yet: run `inventorybot run` first")
    return settings


@contextmanager
def _champion() -> Iterator[tuple[Settings, "Saved"]]:
    """Load the champion of demand; what is missing is shown without a traceback."""
    from ml.forecast import load
    from ml.tracking import FolderHashError, Tracking

    settings = _published_home()
    tracking = Tracking(settings.tracking_uri, settings.artifact_root)
    champion = tracking.champion("demand_forecast")
    if champion is None:
        raise click.ClickException("demand_forecast has no champion yet: run `inventorybot run` first")
    try:
        yield settings, load(tracking.load_folder(champion))
    except (FileNotFoundError, FolderHashError) as error:
        raise click.ClickException(str(error)) from error


@click.command("what-if")
@click.option(
    "--demand", type=float, metavar="PERCENT", help="Change of demand in percent, such as 20 or -10; default: 0."
)
@click.option("--lead-time", type=int, metavar="DAYS", help="Days added to every lead time; default: 0.")
@click.option(
    "--service", type=float, metavar="LEVEL", help="Service level to aim at, such as 0.98; default: the policies."
)
@click.option(
    "--price", type=float, metavar="PERCENT", help="Change of selling prices in percent, such as 5 or -5; default: 0."
)
@click.option("--budget", type=float, metavar="MONEY", help="Money for all orders together; default: unchanged.")
def what_if(
    demand: float | None, lead_time: int | None, service: float | None, price: float | None, budget: float | None
) -> None:
    """Compare the next orders under other conditions. Nothing is changed.

    Shows each condition by itself, and all of them together. A price changes the margin of a lost unit; give its effect
    on customers with --demand.
    """
    from ml.restock.scenarios import Scenario
    from orchestration.planning.decision import compare_scenarios

    if demand is not None and demand <= -100:
        raise click.ClickException(f"--demand {demand:g} leaves no demand; give more than -100")
    if lead_time is not None and lead_time < 0:
        raise click.ClickException(f"--lead-time {lead_time} is negative; give whole days from 0 on")
    if service is not None and not 0 < service < 1:
        raise click.ClickException(f"--service {service:g} is no service level; give one between 0 and 1, as in 0.98")
    if price is not None and price <= -100:
        raise click.ClickException(f"--price {price:g} leaves no price; give more than -100")
    if budget is not None and budget <= 0:
        raise click.ClickException(
            f"--budget {budget:g} buys nothing; give money above 0, or leave it out for no limit"
        )
    changes: dict[str, dict[str, Any]] = {}
    if demand is not None:
        changes[f"demand {demand:+g} %"] = {"demand_factor": 1 + demand / 100}
    if lead_time is not None:
        changes[f"lead time {lead_time:+d} days"] = {"extra_lead_periods": lead_time}
    if service is not None:
        changes[f"service level {service:g}"] = {"target_value": service}
    if price is not None:
        changes[f"prices {price:+g} %"] = {"price_factor": 1 + price / 100}
    if budget is not None:
        changes[f"budget {budget:,.2f}"] = {"budget": budget}
    if not changes:
        raise click.ClickException("give at least one of --demand, --lead-time, --service, --price and --budget")
    if len(changes) > 1:
        changes["all at once"] = {name: value for change in changes.values() for name, value in change.items()}
    scenarios = [Scenario(name, **change) for name, change in changes.items()]
    with _champion() as (settings, forecaster):
        table = compare_scenarios(settings, forecaster, scenarios)
    header = [
        "",
        "lines",
        "units",
        "spend",
        "change",
        "expected stock-outs",
        "lost units",
        "excess units",
        "exceptions",
    ]
    rows = [
        [
            *(row.scenario, f"{row.order_lines:,}", f"{row.order_units:,.0f}", f"{row.order_cost:,.2f}"),
            *(f"{row.order_cost_change:+,.2f}", f"{row.expected_stockouts:,.1f}", f"{row.expected_lost_units:,.0f}"),
            *(f"{row.excess_units:,.0f}", f"{row.exception_lines:,}"),
        ]
        for row in table.itertuples()
    ]
    click.echo(listing(header, rows))


@click.command()
@click.option(
    "--as-of",
    metavar="DAY",
    type=Day(),
    help="Business day whose latest archive to use; default: the current generation.",
)
@click.option(
    "--generation",
    metavar="GENERATION",
    help="Published generation, as `inventorybot status` names it; default: the current one.",
)
def reproduce(as_of: date | None, generation: str | None) -> None:
    """Reproduce archived recommendations. From their archived inputs, with a comparison of every column.

    Exits with code 1 if something differs.
    """
    from ml.tracking import FolderHashError, Tracking
    from orchestration.planning import decision as decisions
    from orchestration.planning.archive import archive_of_day

    if as_of and generation:
        raise click.ClickException("give --as-of or --generation, not both")
    settings = _published_home()
    tracking = Tracking(settings.tracking_uri, settings.artifact_root)
    try:
        archive = archive_of_day(settings, as_of.isoformat()) if as_of else _archive_of_generation(settings, generation)
        found = decisions.reproduce(settings, archive, tracking)
    except (FileNotFoundError, FolderHashError) as error:
        raise click.ClickException(str(error)) from error
    count = sum(found.differences.values()) + found.only_archived + found.only_made_again
    click.echo(f"{found.archive}: {found.lines:,} recommendations reproduced from their archived inputs")
    click.echo(f"columns: {', '.join(found.columns)}")
    click.echo(
        "code: the same version"
        if found.code_then == found.code_now
        else f"code: {found.code_then} then, {found.code_now} now"
    )
    for column, cells in found.differences.items():
        click.echo(f"  {column}: {cells:,} lines differ")
    if found.only_archived or found.only_made_again:
        click.echo(f"  {found.only_archived:,} lines are missing now, {found.only_made_again:,} are new")
    click.echo(f"{count:,} differences")
    if not found.is_equal:
        raise SystemExit(1)


def _archive_of_generation(settings: Settings, generation: str | None) -> str:
    from orchestration.planning.archive import archive_of_day
    from orchestration.publishing.generations import current_manifest

    if generation is None:
        manifest = current_manifest(settings.published)
        if manifest is None:
            raise click.ClickException(f"nothing is published in {settings.home} yet: run `inventorybot run` first")
    else:
        file = settings.published / f"wh_{generation}.json"
        if not file.exists():
            kept = ", ".join(sorted(path.stem.removeprefix("wh_") for path in settings.published.glob("wh_*.json")))
            raise click.ClickException(
                f"generation {generation!r} is not kept; kept are {kept or 'none'}. Name its day with --as-of"
            )
        manifest = json.loads(file.read_text())
    return str(manifest.get("archive") or archive_of_day(settings, manifest["as_of"]))
