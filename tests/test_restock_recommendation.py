"""The restock decision: identities, targets, packs, limits, exceptions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.restock import LINE_COLUMNS, allocate, recommend, transfer
from ml.restock.allocation import allocate_each
from ml.restock.plan import Plan, World, plan_orders
from ml.restock.transfers import own_demand

# A loaded disk makes the database of examples dearer than the tests.
QUICK = settings(deadline=None, database=None)


def item(sku: str = "A", location: str = "L1", **columns: object) -> dict[str, object]:
    return {"sku": sku, "location_id": location, **columns}


def decide(
    paths: np.ndarray,
    *,
    on_hand: float = 0.0,
    sold_since: float = 0.0,
    unrecorded: int = 0,
    is_unknown: bool = False,
    reserved: float = 0.0,
    backordered: float = 0.0,
    due: list[tuple[int, float]] | None = None,
    lots: pd.DataFrame | None = None,
    promised: list[tuple[int, float]] | None = None,
    terms: dict[str, object] | None = None,
    policy: dict[str, object] | None = None,
) -> tuple[pd.Series, dict[str, float], pd.DataFrame]:
    """Recommend for one item; return its line, its terms by name and its benefit blocks."""
    keys = pd.DataFrame([item()])
    lines, steps, benefit = recommend(
        keys,
        paths.astype(np.float32),
        pd.DataFrame(
            [
                item(
                    on_hand_units=on_hand,
                    sold_since_units=sold_since,
                    unrecorded_periods=unrecorded,
                    is_stock_unknown=is_unknown,
                    reserved_units=reserved,
                    backordered_units=backordered,
                )
            ]
        ),
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
        promises=pd.DataFrame([item(due_in_periods=p, reserved_units=u, backordered_units=0.0) for p, u in promised])
        if promised
        else None,
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
        largest_order_units=rng.choice([np.nan, 3.0], items),
        allocated_units=rng.choice([np.nan, np.nan, 0.0, 12.0], items),
    )
    return keys, paths.astype(np.float32), position, orders, terms, policy


def test_lines_have_the_contracts_columns():
    lines, _, _ = recommend(*random_world(0))
    assert list(lines.columns) == LINE_COLUMNS


LOST_SALES: dict[str, object] = {"unmet_demand": "lost_sales"}


def test_a_promise_for_after_the_protection_interval_changes_nothing_but_is_shown():
    plain, terms, _ = decide(constant(5), on_hand=30)
    later, with_promise, _ = decide(constant(5), on_hand=30, promised=[(9, 40)])
    assert later["promised_later_units"] == 40
    assert later.drop("promised_later_units").equals(plain.drop("promised_later_units"))
    assert with_promise == terms


def test_a_promise_that_a_new_order_can_serve_is_demand_of_its_day():
    plain, _, _ = decide(constant(5), on_hand=15, policy=LOST_SALES)
    line, terms, _ = decide(constant(5), on_hand=15, promised=[(3, 40)], policy=LOST_SALES)
    assert (line["reserved_units"], terms["reserved"]) == (40, 40)
    assert line["order_units"] == plain["order_units"] + 40
    # Until that day the shelf is for everyone; without an order the promise is not kept.
    assert (plain["stockout_period_50"], line["stockout_period_50"]) == (4, 3)


@pytest.mark.parametrize("due", [1, 2])
def test_a_promise_that_no_new_order_can_serve_is_kept_for_from_now_on(due: int):
    now, now_terms, _ = decide(constant(5), on_hand=15, reserved=12, policy=LOST_SALES)
    dated, terms, _ = decide(constant(5), on_hand=15, promised=[(due, 12)], policy=LOST_SALES)
    assert dated.equals(now)
    assert terms == now_terms


def test_the_terms_of_an_order_with_promises_add_up():
    world = random_world(3)
    rng = np.random.default_rng(3)
    promises = pd.concat([world[0]] * 3).assign(
        due_in_periods=rng.integers(1, 25, 90), reserved_units=rng.integers(0, 9, 90), backordered_units=1.0
    )
    lines, terms, _ = recommend(*world, promises=promises)
    sums = terms.groupby("sku")["units"].sum().reindex(lines["sku"], fill_value=0.0).to_numpy()
    np.testing.assert_allclose(sums, lines["order_units"])
    position = lines["on_hand_units"] + lines["on_order_units"] - lines["reserved_units"] - lines["backordered_units"]
    np.testing.assert_allclose(position, lines["inventory_position_units"])
    given = world[2][["reserved_units", "backordered_units"]].sum().sum()
    promised = promises["reserved_units"].sum() + 90 + given
    counted = ["reserved_units", "backordered_units", "promised_later_units"]
    assert lines[counted].sum().sum() == promised


@given(seed=st.integers(0, 10_000))
@settings(QUICK, max_examples=40)
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
    added = whole["moq_added_units"] + whole["multiple_added_units"] + whole["supplier_minimum_added_units"]
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


@pytest.mark.parametrize(("sold", "still_expected"), [(0, 15), (3, 12), (9, 10)])
def test_what_the_running_period_has_sold_is_no_longer_expected_of_it(sold: float, still_expected: float):
    line, _, _ = decide(constant(5), on_hand=20 - sold, sold_since=sold)
    assert (line["expected_demand_units"], line["order_up_to_units"]) == (still_expected, still_expected)


def test_a_sale_that_was_expected_leaves_the_order_as_it_was():
    before, _, _ = decide(constant(5), on_hand=4)
    after, _, _ = decide(constant(5), on_hand=1, sold_since=3)
    assert before["order_units"] == after["order_units"] == 11


@pytest.mark.parametrize(("unmet", "sold"), [("lost_sales", 40), ("backorders", 45)])
def test_periods_without_a_record_have_sold_what_as_many_coming_ones_ask(unmet: str, sold: float):
    known, _, _ = decide(constant(5), on_hand=0, backordered=sold - 40, policy={"unmet_demand": unmet})
    line, steps, _ = decide(constant(5), on_hand=40, unrecorded=9, policy={"unmet_demand": unmet})
    assert line["unrecorded_sales_units"] == steps["unrecorded_sales"] == sold
    same = ["inventory_position_units", "order_up_to_units", "order_units", "stockout_probability_without_order"]
    assert line[same].tolist() == known[same].tolist()


@pytest.mark.parametrize(("assumed", "stock"), [("empty", 0), ("covers_lead_time", 10)])
def test_stock_that_is_not_known_is_what_the_policy_says(assumed: str, stock: float):
    line, _, _ = decide(constant(5), on_hand=-90, is_unknown=True, policy={"unknown_stock": assumed})
    known, _, _ = decide(constant(5), on_hand=stock)
    pd.testing.assert_series_equal(line, known)


def test_what_they_have_sold_is_as_uncertain_as_demand():
    sure, _, _ = decide(poisson(5.0), on_hand=60)
    line, _, _ = decide(poisson(5.0), on_hand=100, unrecorded=8)
    assert line["unrecorded_sales_units"] == pytest.approx(40, abs=0.5)
    spread = sure["safety_stock_units"] * np.sqrt((8 + 3) / 3)  # three periods to cover
    assert line["safety_stock_units"] == pytest.approx(spread, abs=1)


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
        ({"lead_time_periods": -1}, {}, "0 = on the shelf"),
        ({"lead_time_periods": 30}, {}, "forecast more periods"),
        ({"moq_units": 10, "max_order_units": 5}, {}, "raise the maximum"),
        ({"order_multiple_units": 0}, {}, "above 0"),
        ({}, {"target_value": 1.0}, "above 0 and below 1"),
        ({}, {"target_type": "service"}, "use one of"),
        ({}, {"target_type": "cost", "holding_cost": 0.0, "shortage_cost": 1.0}, "both above 0"),
    ],
)
def test_bad_terms_become_an_exception_with_the_remedy(terms: dict, policy: dict, remedy: str):
    line, _, _ = decide(constant(1.0), terms=terms, policy=policy)
    assert (line["status"], line["order_units"]) == ("exception", 0.0)
    assert remedy in line["exception"]


def test_a_record_below_zero_counts_as_an_empty_shelf():
    negative, _, _ = decide(constant(1.0), on_hand=-3.0)
    empty, _, _ = decide(constant(1.0), on_hand=0.0)
    pd.testing.assert_series_equal(negative, empty)
    assert (negative["status"], negative["on_hand_units"]) == ("order", 0.0)


def test_an_item_without_supplier_terms_is_an_exception_and_the_rest_goes_on():
    keys, paths, position, orders, terms, policy = random_world(1)
    lines, _, _ = recommend(keys, paths, position, orders, terms.iloc[1:], policy)
    assert lines["exception"].iloc[0].startswith("no supplier terms: add")
    assert (lines["status"].iloc[1:] == "order").any()


def test_two_policy_rows_for_an_item_are_contradictory():
    keys, paths, position, orders, terms, policy = random_world(1)
    lines, _, _ = recommend(keys, paths, position, orders, terms, pd.concat([policy, policy.iloc[:1]]))
    assert "contradicting overrides" in lines["exception"].iloc[0]


def blocks(*rows: tuple[str, str, int, float, float], in_order: bool = True) -> pd.DataFrame:
    """Benefit blocks from (sku, supplier, block, cost, benefit); a block is one unit."""
    return pd.DataFrame(
        [
            item(sku, supplier_id=supplier, block=block, units=1.0, order_cost=cost, benefit=benefit, in_order=in_order)
            for sku, supplier, block, cost, benefit in rows
        ]
    )


def lines_of(benefits: pd.DataFrame) -> pd.DataFrame:
    units = benefits["units"].where(benefits["in_order"], 0.0)
    grouped = units.groupby([benefits[name] for name in ("sku", "location_id", "supplier_id")]).sum()
    return grouped.rename("order_units").reset_index()


NO_MINIMUM = pd.DataFrame({"supplier_id": ["S", "T"], "minimum_order_value": [0.0, 0.0]})


def random_blocks(seed: int, skus: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(skus):
        cost = float(rng.integers(1, 9))
        gains = np.sort(rng.uniform(0.1, 10, 2))[::-1]
        rows += [
            (f"s{place}", "S" if place % 2 else "T", block + 1, cost, float(gain)) for block, gain in enumerate(gains)
        ]
    return blocks(*rows)


def best_benefit(benefits: pd.DataFrame, budget: float) -> float:
    """Best benefit by trying every number of blocks of every line."""
    best = {0.0: 0.0}
    for _, own in benefits.groupby("sku"):
        chains = [(0.0, 0.0), *zip(own["order_cost"].cumsum(), own["benefit"].cumsum(), strict=True)]
        options: dict[float, float] = {}
        for spent, gained in best.items():
            for cost, gain in chains:
                if spent + cost <= budget:
                    options[spent + cost] = max(options.get(spent + cost, 0.0), gained + gain)
        best = options
    return max(best.values())


@given(seed=st.integers(0, 10_000), budget=st.integers(1, 60))
@settings(QUICK, max_examples=40)
def test_allocation_is_within_the_first_unfitting_block_of_the_optimum(seed: int, budget: int):
    benefits = random_blocks(seed)
    plan = allocate(lines_of(benefits), benefits, NO_MINIMUM, budget)
    assert plan["order_cost"].sum() <= budget
    ranked = benefits.assign(ratio=benefits["benefit"] / benefits["order_cost"]).sort_values("ratio", ascending=False)
    unfitting = ranked[ranked["order_cost"].cumsum() > budget]["benefit"].head(1).sum()
    # Each of up to eight lines is rounded to a millionth.
    assert plan["benefit"].sum() >= best_benefit(benefits, budget) - unfitting - 8e-6


@given(seed=st.integers(0, 10_000), minimum=st.sampled_from([0.0, 8.0, 25.0]))
@settings(QUICK, max_examples=25)
def test_plans_nest_as_the_budget_grows(seed: int, minimum: float):
    benefits = random_blocks(seed)
    suppliers = pd.DataFrame({"supplier_id": ["S", "T"], "minimum_order_value": [minimum, 0.0]})
    before = np.zeros(8)
    for plan in allocate_each(lines_of(benefits), benefits, suppliers, (3, 6, 12, 20, 35, 60, 200)):
        units = plan["allocated_units"].to_numpy()
        assert (units >= before).all()
        before = units


def test_a_plan_among_many_budgets_is_the_plan_of_that_budget():
    benefits = random_blocks(5)
    budgets = [0, 12, 35, None]
    plans = allocate_each(lines_of(benefits), benefits, NO_MINIMUM, budgets)
    for budget, plan in zip(budgets, plans, strict=True):
        pd.testing.assert_frame_equal(plan, allocate(lines_of(benefits), benefits, NO_MINIMUM, budget))


def test_without_a_budget_every_line_gets_what_it_wants():
    benefits = random_blocks(1)
    plan = allocate(lines_of(benefits), benefits, NO_MINIMUM)
    assert (plan["allocated_units"] == plan["order_units"]).all()


def test_a_supplier_below_its_minimum_is_topped_up_when_that_is_worth_it():
    benefits = pd.concat([blocks(("A", "S", 1, 10.0, 8.0)), blocks(("A", "S", 2, 10.0, -1.0), in_order=False)])
    suppliers = pd.DataFrame({"supplier_id": ["S"], "minimum_order_value": [15.0]})
    plan = allocate(lines_of(benefits), benefits, suppliers)
    assert plan["allocated_units"].iloc[0] == 2
    assert plan["reason"].iloc[0] == "raised to reach the supplier's minimum order value"


def test_a_supplier_that_cannot_reach_its_minimum_waits():
    benefits = blocks(("A", "S", 1, 10.0, 8.0))
    suppliers = pd.DataFrame({"supplier_id": ["S"], "minimum_order_value": [15.0]})
    plan = allocate(lines_of(benefits), benefits, suppliers)
    assert (plan["allocated_units"].iloc[0], plan["status"].iloc[0]) == (0, "held")


def test_a_budget_of_zero_is_an_exception_with_the_remedy():
    benefits = random_blocks(2)
    plan = allocate(lines_of(benefits), benefits, NO_MINIMUM, 0)
    assert (plan["status"] == "exception").all()
    assert plan["reason"].iloc[0] == "the budget is 0: give a budget above 0, or none for no limit"


def test_a_suppliers_capacity_ends_its_order():
    benefits = blocks(("A", "S", 1, 10.0, 8.0), ("B", "S", 1, 10.0, 5.0), ("C", "T", 1, 10.0, 1.0))
    suppliers = NO_MINIMUM.assign(max_order_value=[12.0, np.nan])
    plan = allocate(lines_of(benefits), benefits, suppliers).set_index("sku")
    assert plan["allocated_units"].to_dict() == {"A": 1.0, "B": 0.0, "C": 1.0}


def test_benefit_never_rises_from_block_to_block_of_one_size():
    keys, paths, position, orders, terms, policy = random_world(4)
    _, _, benefit = recommend(keys, paths, position, orders, terms.assign(moq_units=0.0), policy)
    each = benefit.assign(each=benefit["benefit"] / benefit["units"]).groupby("sku")["each"].diff().dropna()
    assert (each <= 1e-5).all()


def two_shelves(on_hand: tuple[float, float]) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame]:
    keys = pd.DataFrame([item(location="L1"), item(location="L2")])
    position = keys.assign(on_hand_units=on_hand, reserved_units=0.0, backordered_units=0.0)
    terms = keys.assign(lead_time_periods=2, review_periods=1)
    lanes = pd.DataFrame(
        [
            {"from_location_id": a, "to_location_id": b, "lead_time_periods": 1, "unit_cost": 0.5}
            for a, b in (("L1", "L2"), ("L2", "L1"))
        ]
    )
    return position, np.full((2, 50, 5), 4.0, np.float32), terms, lanes


def test_excess_moves_to_shortage():
    moves = transfer(*two_shelves((30.0, 3.0)))
    assert moves[["from_location_id", "to_location_id", "units", "arrival_period"]].to_numpy().tolist() == [
        ["L1", "L2", 9.0, 2]
    ]


def test_a_transfer_never_makes_a_shortage():
    moves = transfer(*two_shelves((14.0, 3.0)))
    assert moves["units"].sum() == 2.0  # 14 less the 12 that L1 needs itself


def test_nothing_moves_where_nobody_is_short():
    assert transfer(*two_shelves((30.0, 30.0))).empty


@pytest.mark.parametrize(("holding", "moved"), [(1.0, 9.0), (0.25, 9.0), (0.15, 4.0), (0.01, 0.0)])
def test_a_unit_moves_only_where_it_would_lie_longer_than_the_move_costs(holding: float, moved: float):
    position, paths, terms, lanes = two_shelves((30.0, 3.0))
    # 18 units spare; at 4 a period and 0.5 a move, 2 / holding units are sold before the move has paid.
    assert transfer(position, paths, terms.assign(holding_cost=holding), lanes)["units"].sum() == moved


def planned(
    on_hand: tuple[float, float] = (3.0, 3.0),
    lanes: bool = False,
    budget: float | None = None,
    rejected: tuple[float, float] | None = None,
    orders: pd.DataFrame | None = None,
    rejected_transfers: pd.DataFrame | None = None,
    position: dict[str, tuple[float, float]] | None = None,
    promises: pd.DataFrame | None = None,
    **terms: float,
) -> Plan:
    stock, paths, supply, ways = two_shelves(on_hand)
    world = World(
        position=stock.assign(**(position or {})),
        open_orders=pd.DataFrame(columns=open_order_columns()).astype({"periods_ahead": int, "units": float})
        if orders is None
        else orders,
        terms=supply.assign(**({"supplier_id": "S", "order_multiple_units": 1.0, "unit_cost": 2.0} | terms)),
        policy=supply[["sku", "location_id"]].assign(
            target_type="cycle_service_level", target_value=0.9, unmet_demand="backorders", holding_cost=0.5
        ),
        lanes=ways if lanes else None,
        promises=promises,
        budget=budget,
        rejections=None if rejected is None else supply[["sku", "location_id"]].assign(rejected_up_to_units=rejected),
        rejected_transfers=rejected_transfers,
    )
    rows = pd.MultiIndex.from_frame(stock[["sku", "location_id"]])

    def paths_of(keys: pd.DataFrame) -> list[tuple[pd.DataFrame, np.ndarray]]:
        return [(keys, paths[rows.get_indexer(pd.MultiIndex.from_frame(keys))])]

    return plan_orders(paths_of, world)


def test_stock_is_moved_before_more_is_bought():
    lines = planned((30.0, 3.0), lanes=True).lines
    assert planned((30.0, 3.0)).lines["order_units"].tolist() == [0.0, 9.0]
    assert lines["order_units"].tolist() == [0.0, 0.0]


def test_a_proposed_transfer_lessens_the_order_as_a_step_of_its_own_and_counts_nowhere_else():
    plan = planned((30.0, 3.0), lanes=True)
    unmoved, lines = planned((30.0, 3.0)).lines, plan.lines
    for name in ("on_hand_units", "on_order_units", "reserved_units", "inventory_position_units", "shortfall_units"):
        assert lines[name].tolist() == unmoved[name].tolist()
    assert lines["proposed_transfer_in_units"].tolist() == [0.0, 9.0]
    assert lines["proposed_transfer_out_units"].tolist() == [9.0, 0.0]
    steps = plan.terms.query("location_id == 'L2'").set_index("term")["units"]
    assert (steps["proposed_transfers"], steps.sum(), lines["reduced_units"].tolist()) == (-9.0, 0.0, [0.0, 9.0])


def test_what_is_left_of_a_predecessor_is_on_order_and_no_transfer():
    row = item(location="L2", periods_ahead=1, units=9.0, arrives_as_planned=True, is_predecessor_stock=True)
    lines = planned((30.0, 3.0), orders=pd.DataFrame([row])).lines
    assert lines["on_order_units"].tolist() == [0.0, 9.0]
    assert lines["transfer_in_units"].tolist() == [0.0, 0.0]
    assert lines["order_units"].tolist() == [0.0, 0.0]


def test_an_approved_transfer_is_on_order_where_it_goes_and_reserved_where_it_leaves():
    leaving = {"reserved_units": (9.0, 0.0), "transfer_out_units": (9.0, 0.0)}
    coming = pd.DataFrame([item(location="L2", periods_ahead=2, units=9.0, arrives_as_planned=True)])
    plan = planned((30.0, 3.0), lanes=True, orders=coming, position=leaving)
    lines = plan.lines
    assert plan.transfers.empty
    assert lines["order_units"].tolist() == [0.0, 0.0]
    assert lines["transfer_out_units"].tolist() == lines["reserved_units"].tolist() == [9.0, 0.0]
    assert lines["transfer_in_units"].tolist() == lines["on_order_units"].tolist() == [0.0, 9.0]
    assert lines["proposed_transfer_in_units"].tolist() == [0.0, 0.0]


def test_a_location_keeps_its_own_demand_also_where_another_approved_transfer_takes_from_it():
    leaving = {"reserved_units": (12.0, 0.0), "transfer_out_units": (12.0, 0.0)}
    # 30 on the shelf, 12 of them are leaving: of the 18 left it needs 12 itself, and 4 are sold before a move pays.
    assert planned((30.0, 3.0), lanes=True, position=leaving).transfers["units"].tolist() == [2.0]


def test_what_is_set_aside_for_a_later_promise_moves_nowhere():
    later = pd.DataFrame([item(location="L1", due_in_periods=5, reserved_units=10.0, backordered_units=0.0)])
    # Of the 30 on the shelf 10 are promised, it needs 12 itself, and 4 are sold before a move pays.
    assert planned((30.0, 3.0), lanes=True, promises=later).transfers["units"].tolist() == [4.0]
    for due in (later.assign(reserved_units=28.0), later.assign(reserved_units=0.0, backordered_units=28.0)):
        assert planned((30.0, 3.0), lanes=True, promises=due).transfers.empty


def test_a_rejected_transfer_is_not_made_until_more_is_to_be_moved_and_the_need_is_bought():
    way = {"sku": "A", "from_location_id": "L1", "to_location_id": "L2"}
    rejected = planned((30.0, 3.0), lanes=True, rejected_transfers=pd.DataFrame([way | {"rejected_up_to_units": 9.0}]))
    assert rejected.transfers[["units", "is_rejected"]].to_numpy().tolist() == [[9.0, True]]
    assert rejected.lines["order_units"].tolist() == [0.0, 9.0]
    assert rejected.lines["proposed_transfer_out_units"].tolist() == [0.0, 0.0]
    grown = planned((30.0, 3.0), lanes=True, rejected_transfers=pd.DataFrame([way | {"rejected_up_to_units": 8.0}]))
    assert grown.transfers[["units", "is_rejected"]].to_numpy().tolist() == [[9.0, False]]


def test_nothing_is_moved_where_as_much_is_bought_all_the_same():
    # L1 can spare 2 of the 9 that L2 lacks, and the least order is 20.
    (move,) = planned((18.0, 3.0), lanes=True).transfers.to_dict("records")
    assert (move["units"], move["unbought_units"]) == (2.0, 2.0)
    plan = planned((18.0, 3.0), lanes=True, moq_units=20.0)
    assert plan.transfers.empty
    assert plan.lines["order_units"].tolist() == [0.0, 20.0]
    assert plan.lines["proposed_transfer_in_units"].tolist() == [0.0, 0.0]


def test_moves_to_several_places_are_judged_each_by_its_own_whatever_the_order_of_the_answer():
    position, paths, supply, lanes = two_shelves((30.0, 3.0))
    both = [frame.assign(sku=sku) for sku in ("A", "B") for frame in (position,)]
    stock, terms = pd.concat(both, ignore_index=True), pd.concat([supply.assign(sku=sku) for sku in ("A", "B")])
    terms = terms.assign(supplier_id="S", order_multiple_units=1.0, unit_cost=2.0, moq_units=[0.0, 0.0, 0.0, 20.0])
    stock.loc[2, "on_hand_units"] = 18.0
    world = World(
        position=stock,
        open_orders=pd.DataFrame(columns=open_order_columns()).astype({"periods_ahead": int, "units": float}),
        terms=terms,
        policy=terms[["sku", "location_id"]].assign(
            target_type="cycle_service_level", target_value=0.9, unmet_demand="backorders", holding_cost=0.5
        ),
        lanes=lanes,
    )

    def paths_of(keys: pd.DataFrame) -> list[tuple[pd.DataFrame, np.ndarray]]:
        asked = keys.iloc[::-1].reset_index(drop=True)
        return [(asked, np.repeat(paths[:1], len(asked), axis=0))]

    # B can be sent 2 of the 9 it lacks, and its least order is 20 all the same.
    plan = plan_orders(paths_of, world)
    assert plan.transfers[["sku", "units"]].to_numpy().tolist() == [["A", 9.0]]
    ordered = plan.lines.set_index(["sku", "location_id"])["order_units"]
    assert (ordered["A", "L2"], ordered["B", "L2"]) == (0.0, 20.0)


def test_what_would_come_after_a_suppliers_delivery_is_not_moved():
    position, paths, terms, lanes = two_shelves((30.0, 3.0))
    assert transfer(position, paths, terms, lanes.assign(lead_time_periods=2))["units"].tolist() == [9.0]
    assert transfer(position, paths, terms, lanes.assign(lead_time_periods=3)).empty


def test_a_transfer_says_what_its_ends_have():
    (move,) = transfer(*two_shelves((30.0, 3.0))).to_dict("records")
    told = {"short_units": 9.0, "from_free_units": 30.0, "from_kept_units": 12.0, "from_cover_periods": 21 / 4}
    assert {name: move[name] for name in told} == told


def test_a_location_keeps_its_own_demand_until_its_next_planned_supply():
    keys = pd.DataFrame([item()])
    paths = np.full((1, 4, 10), 3.0, dtype=np.float32)
    six, later = np.array([6]), keys.assign(periods_ahead=4, units=100.0)
    assert own_demand(keys, paths, six, later.head(0)).tolist() == [18.0]
    # Three periods pass before what comes in period 4 can be sold.
    assert own_demand(keys, paths, six, later).tolist() == [9.0]
    assert own_demand(keys, paths, six, later.assign(periods_ahead=40)).tolist() == [18.0]
    # Too little comes: what it leaves open is kept besides.
    assert own_demand(keys, paths, six, later.assign(units=4.0)).tolist() == [14.0]


def test_what_is_on_order_for_later_lets_no_shelf_be_emptied_today():
    coming = pd.DataFrame([item(periods_ahead=3, units=100.0, overdue_periods=0)])
    assert planned((10.0, 3.0), lanes=True, orders=coming).transfers["units"].sum() == 2.0  # two periods of 4 are kept
    late = coming.assign(overdue_periods=2)
    assert planned((10.0, 3.0), lanes=True, orders=late).transfers.empty


def test_a_line_raised_to_its_suppliers_minimum_says_by_how_much():
    lines = planned(minimum_order_value=40.0).lines
    assert (lines["order_units"].sum() * 2.0, lines["supplier_minimum_added_units"].sum()) == (40.0, 2.0)


def test_what_is_rejected_is_a_step_of_its_own_and_no_order():
    plan = planned(rejected=(9.0, 8.9))
    assert plan.lines["order_units"].tolist() == [0.0, 9.0]
    assert plan.lines["status"].tolist() == ["no_order", "order"]
    assert plan.lines["reduced_units"].tolist() == [9.0, 0.0]
    assert plan.terms.query("term == 'rejected'")[["location_id", "units"]].to_numpy().tolist() == [["L1", -9.0]]
    assert plan.terms.groupby("location_id")["units"].sum().tolist() == [0.0, 9.0]


def test_a_rejected_order_fills_no_minimum_of_its_supplier_and_uses_no_budget():
    lines = planned(rejected=(np.inf, 0.0), minimum_order_value=22.0, budget=22.0).lines
    assert lines["order_units"].tolist() == [0.0, 11.0]
    assert lines["supplier_minimum_added_units"].tolist() == [0.0, 2.0]


def test_a_rejection_is_of_what_is_bought_not_of_what_is_moved():
    lines = planned((20.0, 3.0), lanes=True, rejected=(np.inf, np.inf)).lines
    assert lines["proposed_transfer_in_units"].tolist() == [0.0, 4.0]
    assert lines["order_units"].tolist() == [0.0, 0.0]


def test_a_budget_is_shared_and_a_budget_of_zero_makes_each_order_an_exception_with_the_remedy():
    assert planned(budget=20.0).lines["order_units"].sum() * 2.0 == 20.0
    lines = planned(budget=0.0).lines
    assert lines["order_units"].tolist() == [0.0, 0.0]
    assert lines["exception"].tolist() == ["the budget is 0: give a budget above 0, or none for no limit"] * 2
    assert lines["status"].tolist() == ["exception"] * 2


def test_a_line_that_waits_for_its_suppliers_minimum_orders_nothing_and_keeps_its_risk():
    lines = planned(minimum_order_value=4_000.0).lines
    assert lines["order_units"].tolist() == [0.0, 0.0]
    assert lines["reduced_units"].tolist() == lines["shortfall_units"].tolist() == [9.0, 9.0]
    assert lines["lost_units_with_order"].tolist() == lines["lost_units_without_order"].tolist() == [9.0, 9.0]


COSTS = {"holding_cost": 0.05, "shortage_cost": 2.0}


@pytest.mark.parametrize("target", ["cost", "cycle_service_level", "fill_rate"])
@pytest.mark.parametrize("unmet", ["lost_sales", "backorders"])
@given(more=st.floats(0, 20), factor=st.floats(1, 3), on_hand=st.integers(0, 12))
@settings(QUICK, max_examples=10)
def test_more_demand_never_orders_less(target: str, unmet: str, more: float, factor: float, on_hand: int):
    policy = {"target_type": target, "target_value": 0.95, "unmet_demand": unmet, **COSTS}
    less, most = (
        decide(paths, on_hand=on_hand, terms={"order_multiple_units": 3}, policy=policy)[0]["order_units"]
        for paths in (poisson(2.0, n=200), poisson(2.0, n=200) * factor + more)
    )
    assert most >= less


@given(shortage=st.floats(0.1, 20), dearer=st.floats(1, 5), on_hand=st.integers(0, 12))
@settings(QUICK, max_examples=20)
def test_a_dearer_shortage_never_orders_less(shortage: float, dearer: float, on_hand: int):
    policy = {"target_type": "cost", "target_value": None, "unmet_demand": "lost_sales", "holding_cost": 0.05}
    orders = [
        decide(
            poisson(2.0, n=200),
            on_hand=on_hand,
            terms={"order_multiple_units": 3},
            policy=policy | {"shortage_cost": cost},
        )[0]["order_units"]
        for cost in (shortage, shortage * dearer)
    ]
    assert orders == sorted(orders)


@pytest.mark.parametrize("target", ["cycle_service_level", "fill_rate"])
@pytest.mark.parametrize("unmet", ["lost_sales", "backorders"])
def test_a_higher_service_target_never_orders_less(target: str, unmet: str):
    orders = [
        decide(
            poisson(2.0, n=500), on_hand=3, policy={"target_type": target, "target_value": value, "unmet_demand": unmet}
        )[0]["order_units"]
        for value in (0.5, 0.7, 0.9, 0.95, 0.99)
    ]
    assert orders == sorted(orders)


def test_a_cost_target_meets_the_newsvendor():
    policy = {"target_type": "cost", "holding_cost": 2.0, "shortage_cost": 18.0, "held_until_sold": 0.0}
    line, _, _ = decide(poisson(40.0, n=20_000), terms={"lead_time_periods": 2}, policy=policy)
    # One period's shortage of backorders: the 18 / (2 + 18) quantile of three periods' Poisson demand.
    assert line["order_up_to_units"] == pytest.approx(poisson_quantile(0.9, 120), abs=1)


def test_a_cost_target_is_the_cheapest_quantity_when_a_unit_is_held_until_it_is_sold():
    holding, shortage, review = 0.02, 1.0, 2
    paths = poisson(0.4, periods=12, n=500)[0]
    policy = {"target_type": "cost", "holding_cost": holding, "shortage_cost": shortage, "unmet_demand": "lost_sales"}
    line, _, _ = decide(paths[None], terms={"lead_time_periods": 1, "review_periods": review}, policy=policy)

    def cost(bought: int) -> float:
        # The shelf is empty and all of the first period is lost; then two periods, then one unit after the other.
        asked = np.cumsum(paths[:, 1 : 1 + review], axis=1)
        left = np.maximum(bought - asked, 0)
        lost = np.maximum(asked[:, -1] - bought, 0)
        until_sold = left[:, -1] ** 2 / (2 * paths.mean())
        return float((holding * (left.sum(axis=1) + until_sold) + shortage * lost).mean())

    assert line["order_units"] == min(range(12), key=cost)


def poisson_quantile(level: float, mean: float) -> float:
    from scipy import stats

    return float(stats.poisson.ppf(level, mean))


def test_demand_lost_before_the_order_arrives_is_not_bought():
    line, terms, _ = decide(constant(5.0), terms={"lead_time_periods": 4}, policy={"unmet_demand": "lost_sales"})
    assert (line["order_units"], terms["lost_before_arrival"]) == (5.0, -20.0)


def test_backorders_and_reservations_are_bought_even_where_new_demand_is_lost():
    line, _, _ = decide(constant(5.0), backordered=7, reserved=3, policy={"unmet_demand": "lost_sales"})
    assert line["order_units"] == 15.0


def test_an_order_below_the_dampener_waits_and_one_above_it_goes_out_whole():
    (small, terms, _), (large, _, _) = (
        decide(constant(5.0), on_hand=held, policy={"dampener_units": 4.0}) for held in (12.0, 11.0)
    )
    assert (small["order_units"], terms["dampened"]) == (0.0, -3.0)
    assert large["order_units"] == 4.0


def test_nothing_is_ordered_for_an_item_that_lasts_longer_than_its_limit():
    (held_up, terms, _), (ordered, _, _) = (
        decide(constant(5.0), on_hand=12.0, policy={"no_order_above_periods": limit}) for limit in (2.0, 3.0)
    )
    assert (held_up["order_units"], terms["covered"]) == (0.0, -3.0)
    assert ordered["order_units"] == 3.0


def test_a_line_waits_until_it_is_worth_its_handling():
    costs = {"target_type": "cost", "holding_cost": 0.01, "shortage_cost": 1.0}
    (cheap, _, _), (dear, terms, _) = (
        decide(constant(5.0), on_hand=12.0, policy=costs | {"line_cost": cost}) for cost in (2.0, 4.0)
    )
    assert cheap["order_units"] == 3.0
    assert (dear["order_units"], terms["not_worth_it"]) == (0.0, -3.0)


def test_an_order_up_to_maximum_is_passed_by_less_than_one_pack():
    line, _, _ = decide(constant(10.0), terms={"order_multiple_units": 6, "order_up_to_max_units": 20})
    assert line["order_units"] == 24.0


def test_a_maximum_order_is_rounded_down_to_packs():
    line, _, _ = decide(constant(10.0), terms={"order_multiple_units": 6, "max_order_units": 20})
    assert line["order_units"] == 18.0


def test_a_maximum_stock_counts_every_open_order():
    line, _, _ = decide(constant(10.0), due=[(9, 5.0)], terms={"max_stock_units": 20})
    assert line["order_units"] == 15.0


def test_a_short_shelf_life_caps_the_order_at_what_can_be_sold():
    line, terms, _ = decide(constant(5.0), terms={"review_periods": 5, "shelf_life_periods": 2})
    assert (line["order_units"], terms["shelf_life"]) == (20.0, -15.0)


def test_lots_that_expire_before_their_use_are_bought_again():
    lots = pd.DataFrame([item(units=12.0, expires_in_periods=1)])
    line, terms, _ = decide(constant(5.0), on_hand=12, lots=lots)
    assert (terms["expiring_lots"], line["order_units"]) == (7.0, 10.0)


def test_one_pack_of_six_never_becomes_more():
    line, _, _ = decide(constant(2.04 / 3 + 4 / 3 + 1e-7), on_hand=0.12, terms={"order_multiple_units": 6})
    assert line["order_packs"] == 1.0


def test_a_random_lead_time_raises_the_level():
    certain, _, _ = decide(poisson(5.0), terms={"lead_time_periods": 5})
    uncertain, _, _ = decide(
        poisson(5.0), terms={"lead_time_periods": 5, "lead_time_mean_periods": 5.0, "lead_time_sd_periods": 2.0}
    )
    assert uncertain["order_up_to_units"] > certain["order_up_to_units"] + 5


def test_the_simulated_level_agrees_with_the_textbook_under_an_uncertain_lead_time():
    rng = np.random.default_rng(0)
    paths = np.maximum(rng.normal(50, 5, (1, 8000, 20)), 0)
    terms = {"lead_time_periods": 6, "lead_time_mean_periods": 6.0, "lead_time_sd_periods": 2.0}
    line, _, _ = decide(paths, terms=terms, policy={"target_value": 0.90})
    # The normal formula says 479.3; a log-normal lead time in whole periods is skewed.
    assert line["order_up_to_units"] == pytest.approx(479.27, rel=0.04)


@pytest.mark.parametrize(("rule", "expected"), [("reorder_point_order_up_to", 16.0), ("reorder_point_quantity", 12.0)])
def test_reorder_point_rules(rule: str, expected: float):
    line, _, _ = decide(constant(2.0), on_hand=2, policy={"order_rule": rule, "order_quantity_units": 12})
    assert line["order_units"] == expected  # reorder point 6, position 2


def test_above_its_reorder_point_an_item_waits():
    line, terms, _ = decide(
        constant(2.0), on_hand=7, policy={"order_rule": "reorder_point_order_up_to", "order_quantity_units": 12}
    )
    assert (line["order_units"], terms["above_reorder_point"]) == (0.0, -11.0)


def test_make_to_order_buys_what_customers_wait_for():
    line, _, _ = decide(constant(5.0), backordered=4, policy={"target_type": "make_to_order"})
    assert line["order_units"] == 4.0


def test_what_is_not_stocked_is_not_ordered():
    line, _, _ = decide(constant(5.0), policy={"target_type": "do_not_stock"})
    assert (line["status"], line["order_units"]) == ("no_order", 0.0)


@pytest.mark.parametrize("model", ["normal", "poisson", "negative_binomial"])
def test_named_demand_models_agree_on_poisson_demand(model: str):
    line, _, _ = decide(poisson(10.0, n=4000), policy={"demand_model": model})
    assert line["order_up_to_units"] == pytest.approx(poisson_quantile(0.95, 30), abs=1.5)


def test_the_paths_stay_as_they_were():
    keys, _, *rest = random_world(0, items=1)
    one_path = np.arange(1, 21, dtype=np.float32).reshape(1, 1, 20)
    recommend(keys, one_path, *rest)
    assert np.array_equal(one_path.ravel(), np.arange(1, 21))


def test_no_item_makes_no_line():
    lines, terms, benefit = recommend(*(part[:0] for part in random_world(0)))
    assert (len(lines), len(terms), len(benefit)) == (0, 0, 0)


def test_the_first_stockout_period_is_when_it_is_likelier_than_not():
    line, _, _ = decide(constant(3.0), on_hand=10)
    assert (line["stockout_period_50"], line["stockout_period_10"]) == (4, 4)


def test_a_stockout_probability_falls_below_the_risk_taken():
    line, _, _ = decide(poisson(2.0, n=500))
    assert line["stockout_probability_without_order"] == 1.0
    assert line["stockout_probability_with_order"] <= 0.05


@pytest.mark.parametrize("samples", [None, [0.0, 0.0, 1.0]], ids=["certain", "measured"])
@pytest.mark.parametrize("unmet_demand", ["lost_sales", "backorders"])
def test_what_is_ordered_tonight_can_be_on_the_shelf_tomorrow(samples: list[float] | None, unmet_demand: str):
    policy = {"target_value": 0.9, "unmet_demand": unmet_demand}
    line, steps, _ = decide(
        constant(5.0),
        on_hand=2.0,
        terms={"lead_time_periods": 0, "review_periods": 0, "lead_time_samples": samples},
        policy=policy,
    )
    assert (line["arrival_period"], line["protection_periods"], line["order_interval_periods"]) == (1, 1, 1)
    # Where an order comes a day late at times, the order before it must last for two days.
    assert line["order_units"] == (3.0 if samples is None else 8.0)
    assert line["stockout_probability_with_order"] == 0.0
    assert sum(steps.values()) == line["order_units"]
