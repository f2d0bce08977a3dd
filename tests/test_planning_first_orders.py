"""How much of an item that has never sold may be ordered: the policy's days of its forecast."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from support.small_marts import AS_OF, build_of, read_mart, small_home

from orchestration.home.settings import Settings
from orchestration.planning.policies import effective_policies, standard_policy
from orchestration.warehouse.demand_frames import demand_history
from orchestration.warehouse.handoff import write_predictions
from orchestration.warehouse.restock_frames import policies_in_force, restock_terms, supplier_terms

NEW, OLD = "p01", "p00"
DAILY = 0.45


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Items that are expected to sell 0.45 a day; one of them never has."""
    settings = small_home(tmp_path_factory.mktemp("home"), days=5, series=3)
    settings.predictions.mkdir(parents=True)
    demand = read_mart(settings, "fct_daily_demand")
    demand.loc[demand["sku"] == NEW, "demand_units"] = 0.0
    duckdb.from_df(demand).write_parquet(str(settings.exports / "marts/fct_daily_demand.parquet"))
    forecast = read_mart(settings, "fct_planned_days")[["sku", "location_id", "day"]]
    forecast = forecast.rename(columns={"day": "period_start"}).assign(mean_units=DAILY)
    write_predictions(settings, "demand_forecasts", forecast, build_of(), "1")
    return settings


def limits(home: Settings, **changed: float) -> pd.Series:
    """Return the largest position of each item under a policy."""
    standard = standard_policy(home, supplier_terms(home))
    policies, _ = effective_policies(standard.assign(**changed), standard, [])
    policies = policies.assign(**{name: value for name, value in changed.items() if name not in standard})
    write_predictions(home, "restock_policies", policies, build_of(), None)
    return held_limits(home)


def held_limits(home: Settings) -> pd.Series:
    sold = demand_history(home).query("demand_units > 0")[["sku", "location_id"]].drop_duplicates()
    return restock_terms(home, policies_in_force(home), sold).set_index("sku")["order_up_to_max_units"]


def test_an_item_without_sales_is_ordered_up_to_a_fortnight_of_its_forecast(home):
    assert limits(home)[NEW] == 7.0


def test_an_item_that_sells_is_not_limited(home):
    assert pd.isna(limits(home)[OLD])


def test_the_policy_says_how_many_days(home):
    assert limits(home, first_order_days=30.0)[NEW] == 14.0


def test_days_beyond_the_horizon_are_those_of_the_forecast(home):
    assert limits(home, first_order_days=100.0)[NEW] == 45.0


def test_the_lower_of_two_limits_holds(home):
    assert limits(home, order_up_to_max_units=3.0)[NEW] == 3.0
    assert limits(home, order_up_to_max_units=300.0)[NEW] == 7.0


def test_a_minimum_order_may_be_ordered_although_it_is_more(home):
    terms = read_mart(home, "fct_replenishment_terms").assign(moq_units=24)
    path = home.exports / "marts/fct_replenishment_terms.parquet"
    kept = path.read_bytes()
    duckdb.from_df(terms).write_parquet(str(path))
    try:
        assert limits(home)[NEW] == 24.0
    finally:
        path.write_bytes(kept)


def test_the_days_of_a_first_order_count_from_the_launch(home):
    forecast = pd.read_parquet(home.predictions / "demand_forecasts.parquet")
    is_before = (forecast["sku"] == NEW) & (forecast["periods_ahead"] < 5)
    terms = read_mart(home, "fct_replenishment_terms")
    terms["first_sale_in_days"] = np.where(terms["sku"] == NEW, 5, None)
    paths = home.exports / "marts/fct_replenishment_terms.parquet", home.predictions / "demand_forecasts.parquet"
    kept = [path.read_bytes() for path in paths]
    frames = terms, forecast.assign(mean_units=forecast["mean_units"].mask(is_before, 0.0))
    for frame, path in zip(frames, paths, strict=True):
        duckdb.from_df(frame).write_parquet(str(path))
    try:
        assert limits(home)[NEW] == 7.0
    finally:
        for content, path in zip(kept, paths, strict=True):
            path.write_bytes(content)


def test_a_first_order_lasts_until_the_order_after_it_where_that_comes_late(home):
    terms = read_mart(home, "fct_replenishment_terms").assign(review_period_days=30)
    path = home.exports / "marts/fct_replenishment_terms.parquet"
    kept = path.read_bytes()
    duckdb.from_df(terms).write_parquet(str(path))
    try:
        assert standard_policy(home, supplier_terms(home))["first_order_days"].unique() == [30.0]
    finally:
        path.write_bytes(kept)


def test_an_archive_without_days_for_first_orders_limits_none(home):
    limits(home)
    policies = pd.read_parquet(home.predictions / "restock_policies.parquet").drop(
        columns=["first_order_days", "as_of_date"]
    )
    write_predictions(home, "restock_policies", policies, build_of(AS_OF), None)
    assert pd.isna(held_limits(home)[NEW])
