"""What a policy backtest makes of replayed orders."""

import numpy as np
import pandas as pd

from ml.replay.policy_backtest import BacktestSetup, backtest_orders, with_order_costs
from ml.schema import KEYS


def test_the_items_ordered_on_one_day_share_the_fixed_cost_of_their_supplier():
    keys = [("a", "L", "S"), ("b", "L", "S"), ("c", "L", "S"), ("d", "L", "other")]
    terms = pd.DataFrame(keys, columns=["sku", "location_id", "supplier_id"])
    terms["fixed_order_cost"] = [30.0, 30.0, 30.0, None]
    rows = terms[["sku", "location_id"]].merge(pd.DataFrame({"period_start": [1, 2]}), how="cross")
    rows = rows.assign(order_units=[5.0, 0.0, 1.0, 0.0, 0.0, 2.0, 4.0, 4.0], order_cost=0.0, cost=1.0)
    charged = with_order_costs(rows, terms)
    assert charged["order_cost"].tolist() == [15.0, 0.0, 15.0, 0.0, 0.0, 30.0, 0.0, 0.0]
    assert charged["cost"].tolist() == [16.0, 1.0, 16.0, 1.0, 1.0, 31.0, 1.0, 1.0]


def _setup(**terms: float) -> BacktestSetup:
    """Three items of one supplier, Poisson(2) a day, for 20 weeks."""
    days = pd.date_range("2026-01-05", periods=140)
    items = pd.DataFrame({"sku": ["a", "b", "c"], "location_id": "L"})
    demand = items.merge(pd.DataFrame({"period_start": days}), how="cross")
    demand["demand_units"] = np.random.default_rng(1).poisson(2, len(demand)).astype(float)
    asked = items.assign(
        supplier_id="S",
        lead_time_periods=3,
        moq_units=1.0,
        order_multiple_units=1.0,
        **{"unit_cost": 5.0, "unit_price": 12.0, **terms},
    )
    policy = items.assign(
        target_type="cost", target_value=np.nan, holding_cost=0.02, shortage_cost=7.0, hold_level_within=0.0
    )
    return BacktestSetup(
        demand=demand.assign(is_in_stock=True),
        future=items.iloc[:0],
        terms=asked,
        policy=policy,
        horizon=42,
        first_order=days[20],
    )


def _sampled(setup: BacktestSetup) -> dict[pd.Timestamp, tuple[pd.DataFrame, np.ndarray]]:
    keys = setup.terms[KEYS]
    draw = np.random.default_rng(2)
    return {day: (keys, draw.poisson(2, (len(keys), 100, 42)).astype(np.float32)) for day in setup.order_days}


def _orders(setup: BacktestSetup) -> tuple[int, float, pd.DataFrame]:
    """Return the supplier orders of the days that count, what these days cost, and the orders of items."""
    rows = backtest_orders(_sampled(setup), setup).rows
    scored = rows[rows["is_scored"]]
    ordered = scored[scored["order_units"] > 0]
    return ordered["period_start"].nunique(), float(scored["cost"].sum()), ordered


def test_orders_that_cost_a_fixed_sum_last_longer_in_the_replay_too():
    dear, plain = _setup(fixed_order_cost=60.0), _setup()
    few, cost, _ = _orders(dear)
    many, unaware, _ = _orders(plain)
    assert 2 * few <= many
    # What the same orders as without a fixed cost would have cost.
    assert cost < unaware + 60.0 * many


def test_an_order_reaches_its_suppliers_minimum_value_in_the_replay_too():
    _, _, ordered = _orders(_setup(minimum_order_value=400.0))
    value = (ordered["order_units"] * 5.0).groupby(ordered["period_start"]).sum()
    assert len(value) > 1 and value.min() >= 400.0
    _, _, plain = _orders(_setup())
    assert (plain["order_units"] * 5.0).groupby(plain["period_start"]).sum().min() < 400.0
