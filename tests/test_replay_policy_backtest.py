"""What a policy backtest makes of replayed orders."""

import pandas as pd

from ml.replay.policy_backtest import with_order_costs


def test_the_items_ordered_on_one_day_share_the_fixed_cost_of_their_supplier():
    keys = [("a", "L", "S"), ("b", "L", "S"), ("c", "L", "S"), ("d", "L", "other")]
    terms = pd.DataFrame(keys, columns=["sku", "location_id", "supplier_id"])
    terms["fixed_order_cost"] = [30.0, 30.0, 30.0, None]
    rows = terms[["sku", "location_id"]].merge(pd.DataFrame({"period_start": [1, 2]}), how="cross")
    rows = rows.assign(order_units=[5.0, 0.0, 1.0, 0.0, 0.0, 2.0, 4.0, 4.0], order_cost=0.0, cost=1.0)
    charged = with_order_costs(rows, terms)
    assert charged["order_cost"].tolist() == [15.0, 0.0, 15.0, 0.0, 0.0, 30.0, 0.0, 0.0]
    assert charged["cost"].tolist() == [16.0, 1.0, 16.0, 1.0, 1.0, 31.0, 1.0, 1.0]
