"""Exported marts of a small home, made with DuckDB alone: what training and monitoring of forecasts read."""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from orchestration.home.settings import Settings
from orchestration.warehouse.build import Build

AS_OF = date(2024, 5, 1)
LOCATIONS = ("north", "south")


def small_home(folder: Path, *, days: int = 77, series: int = 24, planned: int = 14, repeats: bool = False) -> Settings:
    """Write the marts of a home and return its settings.

    Items sell about their mean, more at weekends; with `repeats` they sell the same week after week.
    """
    settings = Settings(folder, folder / "landing", "", "", "")
    generator = np.random.default_rng(0)
    keys = pd.DataFrame({"sku": [f"p{number:02d}" for number in range(series)]})
    keys["location_id"] = [LOCATIONS[number % 2] for number in range(series)]
    keys["level"] = generator.gamma(2.0, 3.0, series)
    period = pd.DataFrame({"day": [AS_OF - timedelta(days=back) for back in range(days - 1, -1, -1)]})
    demand = keys.merge(period, how="cross")
    weekend = pd.to_datetime(demand["day"]).dt.dayofweek >= 5
    mean = demand["level"] * np.where(weekend, 1.8, 0.7)
    demand = demand.assign(
        expected=mean,
        demand_units=(np.rint(mean * 7) if repeats else generator.poisson(mean)).astype(float),
        is_in_stock=True,
        is_open=True,
        is_promotion=weekend & (generator.random(len(demand)) < 0.3),
        event_name=None,
        unit_price=2.5,
    )
    coming = pd.DataFrame({"day": [AS_OF + timedelta(days=ahead) for ahead in range(1, planned + 1)]})
    coming = keys.merge(coming.assign(days_ahead=np.arange(1, planned + 1)), how="cross")
    _export(settings, "fct_daily_demand", demand)
    coming = coming.assign(is_open=True, is_on_sale=True, is_promotion=False, event_name=None, unit_price=2.5)
    coming = coming.assign(expected_uplift=None)
    _export(settings, "fct_planned_days", coming)
    items = keys.assign(category="food", unit_cost=1.0, unit_price=2.5, xyz_class="X", supplier_id="S")
    items = items.assign(mean_daily_demand_units=items["level"])
    _export(settings, "dim_item_locations", items.assign(demand_class="smooth", abc_class="A", location_type="store"))
    terms = keys.assign(lead_time_days=3, review_period_days=4, next_order_in_days=0, supplier_id="S", moq_units=6)
    terms = terms.assign(lead_time_days_mean=3.5, lead_time_days_sd=1.0, order_multiple_units=3, shelf_life_days=None)
    terms = terms.assign(unit_cost=1.0, unit_price=2.5, minimum_order_value=0.0, last_sale_in_days=None)
    terms = terms.assign(first_sale_in_days=None, fixed_order_cost=None)
    _export(settings, "fct_replenishment_terms", terms)
    _export(settings, "fct_supplier_lead_times", keys.assign(lead_time_days=3))
    none = pd.DataFrame({"sku": pd.Series(dtype="string"), "predecessor_sku": pd.Series(dtype="string")})
    _export(settings, "dim_product_links", none.assign(share=0.0))
    return settings


def build_of(as_of: date = AS_OF) -> Build:
    """Return the build that the marts belong to, or one of an earlier business day."""
    return Build("run", as_of.isoformat(), f"{as_of}T06:00:00+00:00", 1, "code")


def read_mart(settings: Settings, table: str) -> pd.DataFrame:
    """Return an exported mart."""
    return duckdb.sql(f"select * from read_parquet('{settings.exports}/marts/{table}.parquet')").df()


def _export(settings: Settings, table: str, frame: pd.DataFrame) -> None:
    folder = settings.exports / "marts"
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        days = "day::date as day, " if "day" in frame else ""
        rest = "* exclude (day)" if "day" in frame else "*"
        connection.execute(f"copy (select {days}{rest} from frame) to '{folder / table}.parquet' (format parquet)")
