"""Commands on restock policies: set, list, score and end overrides."""

import getpass
import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.home import business_day, demand_champion, home_settings, opened_store
from orchestration.cli.options import Day
from orchestration.cli.output import listing

if TYPE_CHECKING:
    from serving.store import PolicyOverride


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
    from ml.restock import segment_conditions
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
    with demand_champion() as (settings, forecaster):
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
        f"cost: holding cost, lost margin and fixed order costs of the replayed weeks, for at most {ITEMS} items that"
        " represent all; worth: cost that the override saves"
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
        raise click.ClickException(f"override {number} holds until {found.valid_to} and has ended by {ends}")
    target = {"scope": found.scope, "segment": found.segment, "sku": found.sku, "location_id": found.location_id}
    _append_override(target, found.setting, None, ends, found.valid_to, reason, author)
    click.echo(f"override {number} ends: from {ends} on it no longer sets {found.setting}")


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
        (outcome,) = report.outcomes
        if outcome.quarantine_id is not None:
            store.quarantine_discard(outcome.quarantine_id, author=author, reason="the command showed it to its author")
            raise click.ClickException(outcome.reason)
    return report.sequence


def _hints(number: int, day: date) -> list[str]:
    """Return why the next run cannot follow an override as it stands; nothing is known before the first build."""
    from orchestration.planning.policies import effective_policies, standard_policy
    from orchestration.warehouse.build import read_build
    from orchestration.warehouse.restock_frames import segmented_items, supplier_terms

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
