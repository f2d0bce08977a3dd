"""The end of a season in the restock decision: no demand, no arrival after it, and what it leaves is charged."""

import numpy as np
import pandas as pd
import pytest
from test_restock_recommendation import constant, decide, poisson

from ml.restock import recommend
from ml.restock.plan import World
from ml.restock.scenarios import Scenario, what_if

COST = {"target_type": "cost", "target_value": np.nan, "unmet_demand": "lost_sales", "holding_cost": 1e-6}


def test_nothing_is_ordered_that_would_arrive_after_the_last_day_of_sale():
    # An order of now arrives with period 3.
    in_time, _, _ = decide(constant(10), terms={"last_sale_period": 3.0})
    late, steps, _ = decide(constant(10), terms={"last_sale_period": 2.0})
    assert (in_time["order_units"], late["order_units"]) == (30, 0)
    assert steps["after_last_sale"] == -20


@pytest.mark.parametrize("rule", ["order_up_to", "reorder_point_order_up_to", "reorder_point_quantity", "min_max"])
@pytest.mark.parametrize("target", ["cost", "cycle_service_level", "fill_rate", "make_to_order"])
def test_whatever_the_target_and_the_rule(target: str, rule: str):
    policy = {**COST, "target_type": target, "target_value": 0.9, "shortage_cost": 5.0, "order_rule": rule}
    policy |= {"order_quantity_units": 12, "min_units": 20, "max_units": 40}
    late, _, _ = decide(constant(10), policy=policy, terms={"last_sale_period": 2.0, "moq_units": 6})
    assert late["order_units"] == 0


def test_demand_counts_up_to_the_last_day_of_sale_whatever_the_paths_say():
    line, _, _ = decide(constant(10), terms={"last_sale_period": 4.0, "review_periods": 5})
    assert (line["expected_demand_units"], line["order_units"]) == (40, 40)


def test_no_demand_goes_on_beyond_the_forecast_once_the_season_is_over():
    late = {"review_periods": 3, "lead_time_samples": [2, 60]}
    season, _, _ = decide(constant(10), terms={**late, "last_sale_period": 9.0})
    none, _, _ = decide(constant(10), terms=late)
    assert season["order_up_to_units"] == 90
    assert none["order_up_to_units"] > 500


def test_a_season_that_ends_beyond_the_forecast_changes_nothing_yet():
    plain, _, _ = decide(poisson(5))
    season, _, _ = decide(poisson(5), terms={"last_sale_period": 15.0})
    pd.testing.assert_series_equal(plain, season)


@pytest.mark.parametrize("salvage", [0.0, 1.5])
def test_the_last_order_of_a_season_is_the_newsvendors(salvage: float):
    # Sold from period 3 to 10: a unit short loses 3, one left loses its cost of 2 less what it still brings.
    paths = poisson(6)
    policy = {**COST, "shortage_cost": 3.0, "salvage_value": salvage}
    terms = {"last_sale_period": 10.0, "review_periods": 12, "unit_cost": 2.0}
    line, _, _ = decide(paths, policy=policy, terms=terms)
    demand = paths[0, :, 2:10].sum(axis=1)
    ratio = 3.0 / (3.0 + 2.0 - salvage)
    assert line["order_units"] == pytest.approx(np.quantile(demand, ratio, method="inverted_cdf"), abs=1)
    assert line["remainder_units"] == pytest.approx(np.maximum(line["order_units"] - demand, 0).mean(), abs=0.01)


def test_the_remainder_is_all_that_is_left_of_stock_and_orders():
    line, _, _ = decide(constant(1), on_hand=12, due=[(2, 3.0), (9, 4.0)], terms={"last_sale_period": 5.0})
    assert (line["order_units"], line["remainder_units"]) == (0, 14)


def test_of_a_season_that_is_over_everything_is_left_and_without_one_nothing_is_said():
    over, _, _ = decide(constant(1), on_hand=12, terms={"last_sale_period": -3.0})
    none, _, _ = decide(constant(1), on_hand=12)
    assert (over["order_units"], over["remainder_units"], over["expected_demand_units"]) == (0, 12, 0)
    assert np.isnan(none["remainder_units"])


def test_the_benefit_of_a_pack_is_less_where_it_may_be_left():
    policy = {**COST, "shortage_cost": 3.0}
    _, _, plain = decide(poisson(6), policy=policy, terms={"review_periods": 8, "unit_cost": 2.0})
    terms = {"review_periods": 8, "unit_cost": 2.0, "last_sale_period": 10.0}
    _, _, season = decide(poisson(6), policy=policy, terms=terms)
    last = season[season["in_order"]].iloc[-1]
    assert last["benefit"] / last["units"] < (plain["benefit"] / plain["units"]).max()


def test_a_longer_lead_time_expects_nothing_after_the_season_either():
    keys = pd.DataFrame({"sku": ["A"], "location_id": ["L1"]})
    world = World(
        position=keys.assign(on_hand_units=0.0, reserved_units=0.0, backordered_units=0.0),
        open_orders=keys.assign(periods_ahead=1, units=0.0),
        terms=keys.assign(supplier_id="S", lead_time_periods=2, review_periods=8, unit_cost=1.0, last_sale_period=9.0),
        policy=keys.assign(target_type="cycle_service_level", target_value=0.9, holding_cost=0.01, shortage_cost=1.0),
    )

    def paths_of(_: pd.DataFrame):
        yield keys, constant(10).astype(np.float32)

    table = what_if(paths_of, world, [Scenario("longer", extra_lead_periods=5)])
    # Of 90 units until the season ends those of the lead time are lost.
    assert table["order_units"].tolist() == [70, 20]


def test_a_season_of_one_item_leaves_the_others_as_they_are():
    keys = pd.DataFrame({"sku": ["A", "B"], "location_id": "L1"})
    paths = poisson(5, items=2, n=200).astype(np.float32)
    frames = (keys.assign(on_hand_units=3.0), keys.assign(periods_ahead=1, units=2.0))
    terms = keys.assign(supplier_id="S", lead_time_periods=2, review_periods=3, unit_cost=1.0)
    policy = keys.assign(**{**COST, "shortage_cost": 3.0})
    plain = recommend(keys, paths, *frames, terms, policy)[0]
    season = recommend(keys, paths, *frames, terms.assign(last_sale_period=[3.0, np.nan]), policy)[0]
    pd.testing.assert_series_equal(plain.iloc[1], season.iloc[1])
    assert season.loc[0, "order_units"] < plain.loc[0, "order_units"]
