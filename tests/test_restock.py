"""The restock decision: identities, targets, packs, limits, exceptions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.restock import LINE_COLUMNS, recommend


def item(sku: str = "A", location: str = "L1", **columns: object) -> dict[str, object]:
    return {"sku": sku, "location_id": location, **columns}


def decide(
    paths: np.ndarray,
    *,
    on_hand: float = 0.0,
    reserved: float = 0.0,
    backordered: float = 0.0,
    due: list[tuple[int, float]] | None = None,
    lots: pd.DataFrame | None = None,
    terms: dict[str, object] | None = None,
    policy: dict[str, object] | None = None,
) -> tuple[pd.Series, dict[str, float], pd.DataFrame]:
    """Recommend for one item; return its line, its terms by name and its benefit blocks."""
    keys = pd.DataFrame([item()])
    lines, steps, benefit = recommend(
        keys,
        paths.astype(np.float32),
        pd.DataFrame([item(on_hand_units=on_hand, reserved_units=reserved, backordered_units=backordered)]),
        pd.DataFrame([item(periods_ahead=p, units=u) for p, u in due or []] or None, columns=open_order_columns()),
        pd.DataFrame(
            [
                item(
                    **(
                        {"supplier_id": "S", "lead_time_periods": 2, "review_periods": 1, "unit_cost": 1.0}
                        | (terms or {})
                    )
                )
            ]
        ),
        pd.DataFrame(
            [
                item(
                    **(
                        {"target_type": "cycle_service_level", "target_value": 0.95, "unmet_demand": "backorders"}
                        | (policy or {})
                    )
                )
            ]
        ),
        lots=lots,
    )
    return lines.iloc[0], dict(zip(steps["term"], steps["units"], strict=True)), benefit


def open_order_columns() -> list[str]:
    return ["sku", "location_id", "periods_ahead", "units"]


def constant(units: float, periods: int = 10, n: int = 20) -> np.ndarray:
    return np.full((1, n, periods), units)


def poisson(mean: float, periods: int = 14, n: int = 4000, items: int = 1) -> np.ndarray:
    return np.random.default_rng(1).poisson(mean, (items, n, periods)).astype(float)


def random_world(seed: int, items: int = 30) -> tuple[pd.DataFrame, ...]:
    rng = np.random.default_rng(seed)
    keys = pd.DataFrame({"sku": [f"s{i}" for i in range(items)], "location_id": "L1"})
    paths = rng.poisson(rng.gamma(1, 3, (items, 1, 1)), (items, 60, 20)) * rng.choice([1.0, 0.125], (items, 1, 1))
    position = keys.assign(
        on_hand_units=rng.integers(0, 80, items) / 4,
        reserved_units=rng.integers(0, 4, items),
        backordered_units=rng.integers(0, 3, items),
    )
    orders = keys.assign(periods_ahead=rng.integers(1, 25, items), units=rng.integers(1, 30, items)).iloc[::2]
    terms = keys.assign(
        supplier_id="S",
        lead_time_periods=rng.integers(1, 9, items),
        review_periods=rng.integers(1, 8, items),
        next_order_in_periods=rng.integers(0, 3, items),
        lead_time_sd_periods=rng.choice([0.0, 1.5], items),
        moq_units=rng.choice([0.0, 5.0, 12.0], items),
        order_multiple_units=rng.choice([1.0, 6.0, 0.5], items),
        order_up_to_max_units=rng.choice([np.nan, 40.0], items),
        max_order_units=rng.choice([np.nan, 30.0], items),
        max_stock_units=rng.choice([np.nan, 60.0], items),
        shelf_life_periods=rng.choice([np.nan, 5.0], items),
        unit_cost=2.0,
    )
    target = rng.choice(["cost", "cycle_service_level", "fill_rate", "do_not_stock", "make_to_order"], items)
    policy = keys.assign(
        target_type=target,
        target_value=0.9,
        unmet_demand=rng.choice(["lost_sales", "backorders"], items),
        holding_cost=0.1,
        shortage_cost=1.0,
    )
    return keys, paths.astype(np.float32), position, orders, terms, policy


def test_lines_have_the_contracts_columns():
    lines, _, _ = recommend(*random_world(0))
    assert list(lines.columns) == LINE_COLUMNS


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_identities_of_a_line_hold_to_the_thousandth(seed: int):
    lines, terms, _ = recommend(*random_world(seed))
    whole = {
        name: np.rint(lines[name].fillna(0) * 1000).astype(int) for name in lines.columns if name.endswith("_units")
    }
    fine = lines["status"] != "exception"
    assert (whole["safety_stock_units"] == whole["order_up_to_units"] - whole["expected_demand_units"]).all()
    assert (
        whole["inventory_position_units"]
        == whole["on_hand_units"] + whole["on_order_units"] - whole["backordered_units"] - whole["reserved_units"]
    ).all()
    shortfall = (whole["order_up_to_units"] - whole["inventory_position_units"]).clip(lower=0)
    assert (whole["shortfall_units"][fine] == shortfall[fine]).all()
    added = whole["moq_added_units"] + whole["multiple_added_units"]
    assert (whole["order_units"] == whole["shortfall_units"] + added - whole["reduced_units"]).all()
    assert all(
        (whole[name] >= 0).all() for name in ("order_units", "moq_added_units", "multiple_added_units", "reduced_units")
    )
    summed = (
        terms.groupby(["sku", "location_id"])["units"]
        .sum()
        .reindex(pd.MultiIndex.from_frame(lines[["sku", "location_id"]]))
    )
    assert np.allclose(summed.fillna(0).to_numpy(), lines["order_units"], atol=1e-9)


def test_expected_demand_is_the_mean_of_the_paths_over_lead_time_and_review():
    line, _, _ = decide(poisson(2.0), terms={"lead_time_periods": 3, "review_periods": 4})
    assert line["expected_demand_units"] == round(float(poisson(2.0)[0, :, :7].mean(axis=0).sum()), 3)


def test_order_up_to_is_the_joint_quantile_not_the_sum_of_quantiles():
    line, _, _ = decide(poisson(2.0, n=20_000), terms={"lead_time_periods": 13})
    assert line["order_up_to_units"] == 37  # the fourteen daily 95 % quantiles add up to 70


def test_an_open_order_after_the_protection_interval_is_not_counted():
    line, _, _ = decide(constant(1.0), due=[(3, 5.0), (4, 7.0)])
    assert (line["on_order_units"], line["on_order_not_counted_units"]) == (5.0, 7.0)


def test_nothing_is_ordered_when_the_position_covers_the_level():
    line, _, _ = decide(constant(1.0), on_hand=3.0)
    assert (line["status"], line["order_units"]) == ("no_order", 0.0)


def test_an_order_arrives_in_the_period_after_its_lead_time():
    line, _, _ = decide(constant(1.0), terms={"lead_time_periods": 2})
    assert line["arrival_period"] == 3


def test_a_wait_for_the_order_day_lengthens_the_protection_interval():
    line, _, _ = decide(constant(1.0), terms={"next_order_in_periods": 2})
    assert (line["protection_periods"], line["arrival_period"]) == (5, 5)


def test_one_more_item_changes_no_others_line():
    world = random_world(3)
    whole, _, _ = recommend(*world)
    keys, paths, *rest = world
    part, _, _ = recommend(keys.iloc[5:9], paths[5:9], *rest)
    pd.testing.assert_frame_equal(part, whole.iloc[5:9].reset_index(drop=True))


@pytest.mark.parametrize(("position", "ordered"), [(10.0, 30.0), (8.0, 36.0), (11.0, 0.0)])
def test_min_max_orders_at_or_below_the_minimum_up_to_the_maximum_in_whole_packs(position: float, ordered: float):
    line, _, _ = decide(
        constant(1.0),
        on_hand=position,
        terms={"order_multiple_units": 6},
        policy={"order_rule": "min_max", "min_units": 10, "max_units": 40},
    )
    assert line["order_units"] == ordered


@pytest.mark.parametrize(
    ("terms", "policy", "remedy"),
    [
        ({"lead_time_periods": None}, {}, "give lead_time_days"),
        ({"lead_time_periods": 0}, {}, "at least 1"),
        ({"lead_time_periods": 30}, {}, "forecast further"),
        ({"moq_units": 10, "max_order_units": 5}, {}, "raise the maximum"),
        ({"order_multiple_units": 0}, {}, "above 0"),
        ({}, {"target_value": 1.0}, "between 0 and 1"),
        ({}, {"target_type": "service"}, "use one of"),
        ({}, {"target_type": "cost", "holding_cost": 0.0, "shortage_cost": 1.0}, "both above 0"),
    ],
)
def test_bad_terms_become_an_exception_with_the_remedy(terms: dict, policy: dict, remedy: str):
    line, _, _ = decide(constant(1.0), terms=terms, policy=policy)
    assert (line["status"], line["order_units"]) == ("exception", 0.0)
    assert remedy in line["exception"]


def test_negative_stock_on_hand_asks_for_a_count():
    line, _, _ = decide(constant(1.0), on_hand=-3.0)
    assert line["exception"] == "on hand is -3 units: count the shelf and book the count"


def test_an_item_without_supplier_terms_is_an_exception_and_the_rest_goes_on():
    keys, paths, position, orders, terms, policy = random_world(1)
    lines, _, _ = recommend(keys, paths, position, orders, terms.iloc[1:], policy)
    assert lines["exception"].iloc[0].startswith("no supplier terms: add")
    assert (lines["status"].iloc[1:] == "order").any()


def test_two_policy_rows_for_an_item_are_contradictory():
    keys, paths, position, orders, terms, policy = random_world(1)
    lines, _, _ = recommend(keys, paths, position, orders, terms, pd.concat([policy, policy.iloc[:1]]))
    assert "contradictory overrides" in lines["exception"].iloc[0]
