"""What an order costs whatever its size: how long orders last because of it, and when a supplier's order waits."""

import numpy as np
import pandas as pd
import pytest

from ml.replay import State, replay
from ml.restock import Plan, World, plan_orders, reviews_per_order
from ml.schema import KEYS

HOLDING, SHORTAGE, LEAD, DAYS = 0.02, 2.0, 2, 40
NO_ORDERS = pd.DataFrame({"sku": [], "location_id": [], "periods_ahead": [], "units": []})


def family(items: int = 3, cost: float | None = None, review: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return terms and policy of items that one supplier delivers."""
    keys = pd.DataFrame({"sku": [f"s{item}" for item in range(items)], "location_id": "L"})
    terms = keys.assign(supplier_id="S", lead_time_periods=LEAD, review_periods=review, unit_cost=1.0)
    policy = keys.assign(
        target_type="cost", target_value=np.nan, unmet_demand="lost_sales", holding_cost=HOLDING, shortage_cost=SHORTAGE
    )
    return (terms if cost is None else terms.assign(fixed_order_cost=cost)), policy


def planned(
    terms: pd.DataFrame, policy: pd.DataFrame, on_hand: float | np.ndarray, coming: pd.DataFrame = NO_ORDERS
) -> Plan:
    """Decide one day of items that sell about four a day."""
    keys = terms[KEYS]
    paths = np.random.default_rng(5).poisson(4, (len(keys), 60, 40)).astype(np.float32)

    def paths_of(asked: pd.DataFrame) -> list[tuple[pd.DataFrame, np.ndarray]]:
        rows = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(asked[KEYS]))
        return [(asked.reset_index(drop=True), paths[rows])]

    position = keys.assign(on_hand_units=on_hand)
    return plan_orders(paths_of, World(position, coming, terms, policy))


@pytest.mark.parametrize("cost", [0.05, 0.5, 3.0, 8.0])
@pytest.mark.parametrize("review", [1, 2, 7])
def test_an_order_lasts_as_many_reviews_as_cost_least(cost: float, review: int):
    terms, policy = family(cost=cost, review=review)
    asked = terms[KEYS].assign(target_type="cost", expected_demand_units=40.0, protection_periods=10, status="order")
    reviews = np.arange(1, 28 // review + 1)
    per_review = cost / reviews + reviews * review**2 * HOLDING * 4.0 * len(terms) / 2
    assert (reviews_per_order(asked, terms, policy) == reviews[per_review.argmin()]).all()


def test_no_order_lasts_longer_than_four_weeks_for_its_fixed_cost():
    terms, policy = family(cost=1e6, review=5)
    asked = terms[KEYS].assign(target_type="cost", expected_demand_units=40.0, protection_periods=10, status="order")
    assert reviews_per_order(asked, terms, policy).tolist() == [5, 5, 5]


def test_without_a_fixed_cost_nothing_changes():
    absent, policy = family()
    plain = planned(absent, policy, 5.0)
    for terms in (absent.assign(fixed_order_cost=0.0), absent.assign(fixed_order_cost=np.nan)):
        free = planned(terms, policy, 5.0)
        pd.testing.assert_frame_equal(free.lines, plain.lines)
        pd.testing.assert_frame_equal(free.terms, plain.terms)
    assert plain.lines["waiting_cost"].isna().all()


def test_an_order_lasts_longer_where_it_has_a_fixed_cost_and_no_longer_than_the_forecast_sees():
    lines = planned(*family(cost=3.0), on_hand=0.0).lines
    assert lines["order_interval_periods"].tolist() == [5, 5, 5]
    assert (lines["protection_periods"] == LEAD + 5).all()
    assert (lines["order_units"] > planned(*family(), on_hand=0.0).lines["order_units"]).all()
    assert planned(*family(cost=1e6), on_hand=0.0).lines["order_interval_periods"].tolist() == [28, 28, 28]
    late = family(cost=1e6)[0].assign(lead_time_periods=30)
    assert planned(late, family()[1], on_hand=0.0).lines["order_interval_periods"].tolist() == [10, 10, 10]


def test_an_order_that_is_not_worth_its_fixed_cost_waits_and_says_so():
    terms, policy = family(cost=60.0, review=7)
    assert (planned(terms.drop(columns="fixed_order_cost"), policy, 33.0).lines["order_units"] > 0).all()
    waits = planned(terms, policy, 33.0)
    assert waits.lines["status"].tolist() == ["no_order"] * 3
    assert 0 < waits.lines["waiting_cost"].sum() < 20.0  # the order lasts three reviews: each saves a third by waiting
    steps = waits.terms.query("term == 'fixed_cost'")
    assert (steps["units"] < 0).all() and len(steps) == 3
    assert waits.terms.groupby("sku")["units"].sum().round(9).tolist() == [0.0] * 3
    assert waits.lines["reduced_units"].tolist() == (-steps["units"]).tolist()


def test_one_item_that_is_worth_it_brings_the_others_along():
    terms, policy = family(cost=60.0, review=7)
    lines = planned(terms, policy, np.array([0.0, 36.0, 60.0])).lines
    assert lines["waiting_cost"].clip(lower=0.0).sum() > 20.0
    assert (lines["order_units"] > 0).all()


def test_what_is_made_to_order_does_not_wait():
    terms, policy = family(items=1, cost=60.0, review=7)
    order = policy.assign(target_type="make_to_order")
    position = terms[KEYS].assign(on_hand_units=0.0, backordered_units=2.0)
    paths = np.zeros((1, 20, 30), np.float32)
    plan = plan_orders(lambda keys: [(keys, paths)], World(position, NO_ORDERS, terms, order))
    assert plan.lines["order_units"].tolist() == [2.0]


def test_what_is_ordered_is_not_ordered_again():
    terms, policy = family(cost=3.0)
    first = planned(terms, policy, 0.0).lines
    assert (first["order_units"] > 0).all()
    coming = first[KEYS].assign(periods_ahead=first["arrival_period"].astype(int), units=first["order_units"])
    assert planned(terms, policy, 0.0, coming).lines["order_units"].tolist() == [0.0] * 3


def test_orders_that_know_their_fixed_cost_cost_less():
    """Days replayed with holding, lost sales and the fixed cost of each day on which the supplier is ordered from."""
    cost, (terms, policy) = 4.0, family()
    demand = terms[KEYS].merge(pd.DataFrame({"period_start": pd.date_range("2024-01-01", periods=DAYS)}), how="cross")
    demand["demand_units"] = np.random.default_rng(3).poisson(4, len(demand)).astype(float)
    start = terms[KEYS].assign(periods_ahead=0, units=20.0)
    priced = terms.assign(holding_cost=HOLDING, shortage_cost=SHORTAGE)

    def total(known: pd.DataFrame) -> float:
        def decide(t: int, state: State, seen: object) -> np.ndarray:
            return planned(known, policy, state.on_hand, state.open_orders()).lines["order_units"].to_numpy()

        rows = replay(demand, start, priced, decide)
        order_days = rows.loc[rows["order_units"] > 0, "period_start"].nunique()
        return float(rows["cost"].sum() + cost * order_days)

    assert total(terms.assign(fixed_order_cost=cost)) < 0.6 * total(terms)
