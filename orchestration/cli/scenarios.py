"""The command `what-if`: the next orders under other conditions."""

from typing import Any

import click

from orchestration.cli.home import demand_champion
from orchestration.cli.output import listing


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
    from ml.restock import Scenario
    from orchestration.planning.decision import compare_scenarios

    if demand is not None and demand <= -100:
        raise click.ClickException(f"--demand {demand:g} leaves no demand; give more than -100")
    if lead_time is not None and lead_time < 0:
        raise click.ClickException(f"--lead-time {lead_time} is negative; give whole days from 0 on")
    if service is not None and not 0 < service < 1:
        raise click.ClickException(
            f"--service {service:g} is not a service level; give one between 0 and 1, such as 0.98"
        )
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
    with demand_champion() as (settings, forecaster):
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
