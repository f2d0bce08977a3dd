"""The same need is ordered once: a decision made again with its order on the way orders nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.restock import recommend
from ml.restock.lead_times import draw_arrivals
from ml.schema import KEYS

ITEMS, PATHS, HORIZON = 24, 80, 45
NOTHING = pd.DataFrame({"sku": [], "location_id": [], "periods_ahead": [], "units": []})

World = tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]


def random_world(seed: int) -> World:
    """Smooth to lumpy items with every target, order rule and kind of lead time, and several orders on the way.

    Some have a last period of sale.
    """
    rng = np.random.default_rng(seed)
    keys = pd.DataFrame({"sku": [f"s{i}" for i in range(ITEMS)], "location_id": "L1"})
    mean = rng.gamma(0.5, 8, (ITEMS, 1, 1))
    size = rng.choice([1.0, 10.0, 0.1], (ITEMS, 1, 1))
    happens = rng.random((ITEMS, PATHS, HORIZON)) < rng.choice([1.0, 0.3, 0.05], (ITEMS, 1, 1))
    paths = (rng.poisson(mean, (ITEMS, PATHS, HORIZON)) * size * happens).astype(np.float32)
    position = keys.assign(
        on_hand_units=np.round(rng.gamma(0.7, 60, ITEMS), 1),
        reserved_units=rng.choice([0.0, 0.0, 4.0], ITEMS),
        backordered_units=rng.choice([0.0, 0.0, 9.0], ITEMS),
    )
    coming = keys.iloc[rng.integers(0, ITEMS, 2 * ITEMS)].assign(
        periods_ahead=rng.integers(1, 40, 2 * ITEMS),
        units=rng.integers(1, 60, 2 * ITEMS).astype(float),
        overdue_periods=rng.choice([0, 0, 0, 3, 30], 2 * ITEMS),
    )
    lead = rng.integers(0, 19, ITEMS)
    kinds = [(None, [a, a + 2.0, a + 6.0], [max(a - 3.0, 1.0), a + 1.0], [float(a)] * 4) for a in lead]
    samples = [kind[rng.integers(0, 4)] for kind in kinds]
    terms = keys.assign(
        supplier_id="S",
        lead_time_periods=lead,
        lead_time_mean_periods=lead + rng.choice([0.0, 1.5], ITEMS),
        lead_time_sd_periods=rng.choice([0.0, 1.0, 4.0], ITEMS),
        lead_time_samples=pd.Series(samples, dtype=object),
        review_periods=rng.integers(0, 9, ITEMS),
        next_order_in_periods=rng.choice([0, 0, 3], ITEMS),
        moq_units=rng.choice([0.0, 25.0], ITEMS),
        order_multiple_units=rng.choice([1.0, 6.0, 0.5], ITEMS),
        shelf_life_periods=rng.choice([np.nan, 20.0], ITEMS),
        order_up_to_max_units=rng.choice([np.nan, np.nan, 90.0], ITEMS),
        last_sale_period=rng.choice([np.nan, np.nan, 12.0, 30.0], ITEMS),
        unit_cost=2.0,
    )
    policy = keys.assign(
        target_type=rng.choice(["cost", "cost", "cycle_service_level", "fill_rate", "make_to_order"], ITEMS),
        target_value=rng.choice([0.8, 0.95, 0.99], ITEMS),
        unmet_demand=rng.choice(["lost_sales", "backorders"], ITEMS),
        holding_cost=rng.choice([0.0005, 0.05], ITEMS),
        shortage_cost=rng.choice([0.3, 2.0], ITEMS),
        order_rule=rng.choice(
            ["order_up_to", "order_up_to", "reorder_point_order_up_to", "reorder_point_quantity", "min_max"], ITEMS
        ),
        order_quantity_units=rng.choice([10.0, 40.0], ITEMS),
        min_units=20.0,
        max_units=rng.choice([30.0, 80.0], ITEMS),
        dampener_units=rng.choice([0.0, 3.0], ITEMS),
        line_cost=rng.choice([0.0, 0.0, 3.0], ITEMS),
        no_order_above_periods=rng.choice([np.nan, np.nan, 20.0], ITEMS),
        held_until_sold=rng.choice([1.0, 0.0], ITEMS),
        hold_level_within=0.3,
        held_order_up_to_units=rng.choice([np.nan, 15.0, 60.0, 240.0], ITEMS),
    )
    return keys, paths, position, coming, terms, policy


def placed(lines: pd.DataFrame) -> pd.DataFrame:
    ordered = lines[lines["order_units"] > 0]
    return ordered[KEYS].assign(
        periods_ahead=ordered["arrival_period"].astype(int), units=ordered["order_units"].astype(float)
    )


@settings(deadline=None, database=None, max_examples=60)
@given(seed=st.integers(0, 10**9))
def test_the_decision_made_again_with_its_order_on_the_way_orders_nothing(seed: int):
    keys, paths, position, coming, terms, policy = random_world(seed)
    first, _, _ = recommend(keys, paths, position, coming, terms, policy, seed=seed)
    both = pd.concat([coming, placed(first)], ignore_index=True)
    # Later on the same day the levels of the day before still hold; the day after, those of the first decision do.
    held = policy["held_order_up_to_units"] if seed % 2 else first["order_up_to_units"]
    policy = policy.assign(held_order_up_to_units=held)
    again, _, _ = recommend(keys, paths, position, both, terms, policy, seed=seed)
    twice = (again["order_units"] > 0) & (first["order_units"] > 0)
    assert again.loc[twice, [*KEYS, "target_type", "order_units"]].to_dict("records") == []


def one_item(samples: list[float] | None, **changes: object) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    keys = pd.DataFrame({"sku": ["a"], "location_id": ["x"]})
    terms = keys.assign(supplier_id="s", lead_time_periods=18, review_periods=7, next_order_in_periods=0, unit_cost=1.0)
    if samples:
        terms["lead_time_samples"] = [samples]
    policy = keys.assign(
        target_type="cost", target_value=np.nan, unmet_demand="lost_sales", holding_cost=0.25 / 365, shortage_cost=1.0
    )
    return keys, terms.assign(**changes), policy


@pytest.mark.parametrize("samples", [None, [17.0, 18.0, 19.0], [12.0, 18.0, 24.0]], ids=["fixed", "narrow", "wide"])
def test_approving_every_morning_until_the_order_day_orders_the_need_once(samples: list[float] | None):
    keys, terms, policy = one_item(samples)
    rng = np.random.default_rng(2)
    on_hand, due, ordered = 150.0, NOTHING, []
    for days_left in range(5, -1, -1):
        paths = rng.poisson(10, (1, 400, 55)).astype(np.float32)
        position = keys.assign(on_hand_units=[on_hand], reserved_units=0.0, backordered_units=0.0)
        told = terms.assign(next_order_in_periods=days_left)
        lines, _, _ = recommend(keys, paths, position, due, told, policy)
        ordered.append(float(lines.loc[0, "order_units"]))
        due = pd.concat([due, placed(lines)], ignore_index=True)
        due["periods_ahead"] -= 1
        on_hand -= 10.0
    assert sum(ordered) < 1.25 * ordered[0]
    assert ordered[0] > 50


def test_an_order_that_would_lift_the_position_by_less_than_a_hundredth_waits():
    keys, terms, policy = one_item(None, order_multiple_units=6.0)
    paths = np.full((1, 20, 40), 4.0, np.float32)
    service = policy.assign(target_type="cycle_service_level", target_value=0.95, unmet_demand="backorders")
    short = {}
    for on_hand in (99.996, 98.0):
        position = keys.assign(on_hand_units=[on_hand], reserved_units=0.0, backordered_units=0.0)
        short[on_hand] = float(recommend(keys, paths, position, NOTHING, terms, service)[0].loc[0, "order_units"])
    assert short == {99.996: 0.0, 98.0: 6.0}


def test_a_doubtful_order_is_shown_and_not_counted():
    keys, terms, policy = one_item([17.0, 18.0, 19.0])
    paths = np.random.default_rng(1).poisson(10, (1, 200, 55)).astype(np.float32)
    position = keys.assign(on_hand_units=[100.0], reserved_units=0.0, backordered_units=0.0)
    zombie = keys.assign(periods_ahead=1, units=500.0, overdue_periods=592, is_doubtful=True)
    without, _, _ = recommend(keys, paths, position, NOTHING, terms, policy)
    doubted, _, _ = recommend(keys, paths, position, zombie, terms, policy)
    assert doubted.loc[0, "order_units"] == without.loc[0, "order_units"] > 0
    assert doubted.loc[0, "on_order_doubtful_units"] == 500.0
    assert doubted.loc[0, "on_order_units"] == 0.0


def arrivals(leads: list[int], due: list[int], *, planned: int = 4, **changes: list) -> tuple[list, list]:
    count = len(due)
    given = {"expected": np.maximum(due, 1), "as_planned": np.zeros(count, dtype=bool)} | changes
    new, found = draw_arrivals(
        np.array([leads], np.int32),
        np.array([planned], np.int32),
        np.array([0], np.int32),
        np.zeros(count, np.int64),
        np.array(due, np.int32),
        np.asarray(given["expected"], np.int32),
        np.asarray(given["as_planned"], bool),
    )
    return new[0].tolist(), found.tolist()


def test_an_order_placed_today_arrives_as_the_one_that_would_be_placed_now():
    new, found = arrivals([3, 7, 4, 5], due=[5])
    assert found == [new] == [[4, 8, 5, 6]]


def test_an_open_order_comes_as_late_as_the_draw_says():
    assert arrivals([4, 4, 6, 9], due=[2])[1] == [[2, 2, 4, 7]]


def test_an_overdue_order_comes_as_late_as_its_supplier_brings_orders_that_are_that_late():
    # Due two periods before the coming one: lateness of 3 and above is left, 3 and 6.
    assert arrivals([4, 5, 7, 10], due=[-2])[1] == [[1, 1, 4, 4]]


def test_an_order_later_than_any_draw_comes_when_it_is_expected():
    assert arrivals([4, 5, 7, 10], due=[-30], expected=[3])[1] == [[3, 3, 3, 3]]


def test_a_transfer_keeps_to_its_date():
    assert arrivals([4, 5, 7, 10], due=[2], as_planned=[True])[1] == [[2, 2, 2, 2]]


def test_orders_do_not_overtake_one_another():
    new, found = arrivals([4, 4, 4, 14], due=[-5, 2])
    assert found == [[5, 5, 5, 5], [5, 5, 5, 12]]
    assert new == [5, 5, 5, 15]
