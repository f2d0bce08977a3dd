"""The command `picture`: one item of the published generation, drawn.

Belongs here: reading what is published of the item. Does not: drawing it (ml/restock/plots.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.cli.home import home_settings

if TYPE_CHECKING:
    import pandas as pd

_PAST = """
    select
        day::timestamp as day, demand_units::double as demand_units, closing_units::double as closing_units
    from marts.fct_daily_demand
    inner join marts.fct_daily_stock using (sku, location_id, day)
    where sku = ? and location_id = ?
"""
_FORECAST = """
    select
        day::timestamp as day, mean_units::double as mean_units, q10_units::double as q10_units,
        q90_units::double as q90_units
    from reporting.fct_demand_forecasts
    where sku = ? and location_id = ?
"""
# An overdue order may come on the first day ahead.
_OPEN_ORDERS = """
    select
        greatest(expected_date, as_of_date + 1)::timestamp as day, open_units::double as open_units
    from marts.fct_open_orders
    inner join reporting.restock_recommendations using (sku, location_id)
    where sku = ? and location_id = ? and not is_doubtful
"""
_TRANSFERS = """
    select
        transfer_units::double as units, from_location_id, to_location_id, order_by_date::timestamp as order_by_date,
        expected_arrival_date::timestamp as expected_arrival_date
    from reporting.stock_transfers
    where sku = $1 and $2 in (from_location_id, to_location_id) and state = 'proposed'
    order by expected_arrival_date, from_location_id, to_location_id
"""
_LINE = """
    select
        product_name, sku, location_id, on_hand_units::double as on_hand_units, order_units::double as order_units,
        order_by_date, expected_arrival_date
    from reporting.restock_recommendations
    where sku = ? and location_id = ?
"""


@click.command()
@click.argument("sku")
@click.argument("location")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="PNG to write; default: SKU_LOCATION.png."
)
def picture(sku: str, location: str, output: Path | None) -> None:
    """Draw the order of SKU at LOCATION as PNG.

    Demand with its forecast, and stock at mean demand with and without the order and the proposed transfers, as
    published.
    """
    import duckdb

    from ml.restock import order_outlook

    settings = home_settings()
    database = settings.published / "current.duckdb"
    if not database.exists():
        raise click.ClickException(f"nothing is published in {settings.home} yet: run `inventorybot run` first")
    with duckdb.connect(str(database.resolve()), read_only=True) as connection:

        def read(query: str) -> "pd.DataFrame":
            return connection.execute(query, [sku, location]).df()

        line = read(_LINE)
        if line.empty:
            raise click.ClickException(
                f"no recommendation is published for sku {sku!r} at {location!r}: name an item of"
                " reporting.restock_recommendations"
            )
        figure = order_outlook(read(_PAST), read(_FORECAST), read(_OPEN_ORDERS), line.iloc[0], read(_TRANSFERS))
    file = output or Path(f"{sku}_{location}.png")
    try:
        figure.savefig(file, format="png", dpi=90, bbox_inches="tight", metadata={"Software": None})
    except OSError as error:
        raise click.ClickException(
            f"{file} cannot be written ({error.strerror}): name a file that you may write"
        ) from error
    click.echo(f"{file}: open it in a browser")
